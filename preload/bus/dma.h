/*
 * How devices reach RAM: by bus addresses, checked, counted, told to the log.
 * The device's lock is held. Trap or worker context.
 */
#ifndef MMIOSHIM_BUS_DMA_H
#define MMIOSHIM_BUS_DMA_H

#include "bus/bus.h"

/* One transfer of a device, or one that was refused. */
struct bus_dma {
    u32 device;
    u64 addr; /* as the device gave it */
    u64 length;
    bool write; /* to RAM */
    bool ok;
};

/* Who wants to know of transfers; NULL: nobody. */
void bus_dma_watch(void (*log)(const struct bus_dma *dma));

bool bus_dma_read(struct mmioshim_device *dev, u64 addr, void *buf, size_t len);
bool bus_dma_write(struct mmioshim_device *dev, u64 addr, const void *buf, size_t len);
bool bus_dma_fetch(struct mmioshim_device *dev, u64 addr, void *buf, size_t len);
bool bus_dma_store(struct mmioshim_device *dev, u64 addr, const void *buf, size_t len);
const void *bus_dma_direct(struct mmioshim_device *dev, u64 addr, size_t len);

/* A transfer that is made by fetch or store, in parts, and later: is checked and told as a whole. False: refused. */
bool bus_dma_begin(struct mmioshim_device *dev, u64 addr, size_t len, bool write);

/* The disk behind a device, between a position and bus addresses. 0 or -errno. */
u64 bus_disk_size(struct mmioshim_device *dev);
int bus_disk_read(struct mmioshim_device *dev, u64 position, u64 addr, size_t len);
int bus_disk_write(struct mmioshim_device *dev, u64 position, u64 addr, size_t len);
void bus_disk_soon(struct mmioshim_device *dev, u64 position, size_t len);
int bus_disk_control(struct mmioshim_device *dev, enum mmioshim_disk what, u64 position, u64 len);

#endif
