/* The services that devices get, implemented over the bus (struct mmioshim_host). */
#ifndef MMIOSHIM_BUS_HOST_H
#define MMIOSHIM_BUS_HOST_H

#include "bus/bus.h"

extern const struct mmioshim_host bus_host;
extern __thread struct bus_requests bus_requests;

static inline struct bus_device *bus_device_of(struct mmioshim_device *dev)
{
    return (struct bus_device *)((char *)dev - offsetof(struct bus_device, dev));
}

#endif
