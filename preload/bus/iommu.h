/*
 * IOMMUs in front of devices: who is whose endpoint, DMA on its way through
 * the tables (memory/iommu.h), and those tables for the models that program them.
 */
#ifndef MMIOSHIM_BUS_IOMMU_H
#define MMIOSHIM_BUS_IOMMU_H

#include "bus/bus.h"

/* Who takes locks on this thread; before it is said: nobody but the thread that makes the machine. */
void bus_iommu_who(const struct lock_self *(*who)(void));

/* Makes the endpoints that the device tree has known, once its devices are made. 0, or -1 with one line. Ordinary context. */
int bus_iommu_create(struct machine *machine, struct fmt *error);
/* Finds the endpoint of a device. As above, in every process. */
int bus_iommu_bind(struct bus_device *device, struct fmt *error);

/* One transfer on its way. */
struct bus_passage {
    struct bus_device *device; /* NULL: it did not begin */
    u64 addr;
    size_t left;
    u64 machine, first; /* of its first piece: where, and how long */
    bool write; /* to RAM */
    struct lock_self room;
    const struct lock_self *self;
};

/*
 * Begins a transfer of machine addresses, if there is no IOMMU, else of those that it translates. True: all of it is RAM
 * and may be reached, and stays so until the end. False: it is refused, and the IOMMU told if it was its doing; end it all
 * the same. The device is locked.
 */
bool bus_passage_begin(struct bus_passage *p, struct bus_device *device, u64 addr, size_t len, bool write);
/* Its next piece, that lies in one piece of the machine. 0: it is over. */
size_t bus_passage_next(struct bus_passage *p, u64 *machine);
void bus_passage_end(struct bus_passage *p);

/* For struct mmioshim_host. */
bool bus_translated(const struct mmioshim_device *dev);
extern const struct mmioshim_iommu bus_iommu_ops;

#endif
