/*
 * Disks that answer later. Only the worker has transfers with them, in memory
 * of its own: a worker that takes over begins again with what the device finds
 * undone. A helper (backends/backend.h) asks the host end. When it
 * dies another one is made, and asks again for what was not answered.
 */
#ifndef MMIOSHIM_BUS_TRANSFERS_H
#define MMIOSHIM_BUS_TRANSFERS_H

#include "bus/bus.h"

/* What the worker is to look at for input; -1: nothing. */
int transfers_descriptor(const struct bus_device *device);
/* Takes what the helper says. True: the device is to be served. worker, no lock held */
bool transfers_receive(struct bus_device *device);

/* Leaves the helper alone, with what it has: another process is to go on. */
void transfers_drop(struct bus_device *device);

/* Services of devices (mmioshim/device.h), under the device's lock. */
bool transfers_later(struct mmioshim_device *dev);
int transfers_begun(struct mmioshim_device *dev);
bool transfers_begin(struct mmioshim_device *dev, const struct mmioshim_transfer *transfer);
bool transfers_ended(struct mmioshim_device *dev, int *error);
void transfers_forget(struct mmioshim_device *dev);

/* This process is the worker. */
void transfers_start(void);

#endif
