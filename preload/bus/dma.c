#include "bus/dma.h"

#include <errno.h>

#include "base/debug.h"
#include "base/mem.h"
#include "bus/host.h"
#include "bus/iommu.h"
#include "memory/dma.h"
#include "base/trapsafe.h"

static void (*watch)(const struct bus_dma *dma);

void bus_dma_watch(void (*log)(const struct bus_dma *dma))
{
    watch = log;
}

static void tell(struct mmioshim_device *dev, u64 addr, size_t len, bool write, bool ok)
{
    const struct bus_device *d = bus_device_of(dev);
    struct bus_dma dma = {d->function ? d->owner : dev->index, addr, len, write, ok};

    if (!ok)
        bus_device_of(dev)->shared->refused++;
    if (watch)
        watch(&dma);
}

/* The machine address of what lies wholly in one piece of what the device reaches. */
static bool translate(struct mmioshim_device *dev, u64 addr, size_t len, u64 *machine)
{
    const struct bus_device *d = bus_device_of(dev);
    const struct machine_dma *dma = &d->dma;

    *machine = addr;
    if (d->function && !d->bus->functions->masters(d->function - 1u))
        return false;
    if (likely(dma->all))
        return true;
    for (u32 i = 0; i < dma->count; i++)
        if (range_contains(dma->pieces[i].bus, addr, len)) {
            *machine = dma->pieces[i].machine + (addr - dma->pieces[i].bus.base);
            return true;
        }
    return false;
}

static bool copy_piece(u64 addr, u8 *buf, size_t len, bool write)
{
    return write ? dma_write(addr, buf, len) : dma_read(addr, buf, len);
}

/* Behind an IOMMU: all of it, or nothing. */
static bool copy_translated(struct mmioshim_device *dev, u64 addr, u8 *buf, size_t len, bool write)
{
    struct bus_passage p;
    bool ok = bus_passage_begin(&p, bus_device_of(dev), addr, len, write);
    u64 machine;

    for (size_t n; ok && (n = bus_passage_next(&p, &machine)); buf += n)
        ok = copy_piece(machine, buf, n, write);
    bus_passage_end(&p);
    return ok;
}

static bool from_ram(struct mmioshim_device *dev, u64 addr, void *buf, size_t len)
{
    if (!translate(dev, addr, len, &addr))
        return false;
    return likely(!bus_device_of(dev)->endpoint) ? dma_read(addr, buf, len) : copy_translated(dev, addr, buf, len, false);
}

static bool to_ram(struct mmioshim_device *dev, u64 addr, const void *buf, size_t len)
{
    if (!translate(dev, addr, len, &addr))
        return false;
    return likely(!bus_device_of(dev)->endpoint) ? dma_write(addr, buf, len)
                                                 : copy_translated(dev, addr, (u8 *)(uintptr_t)buf, len, true);
}

bool bus_dma_fetch(struct mmioshim_device *dev, u64 addr, void *buf, size_t len)
{
    if (likely(from_ram(dev, addr, buf, len)))
        return true;
    tell(dev, addr, len, false, false);
    return false;
}

bool bus_dma_store(struct mmioshim_device *dev, u64 addr, const void *buf, size_t len)
{
    if (likely(to_ram(dev, addr, buf, len)))
        return true;
    tell(dev, addr, len, true, false);
    return false;
}

const void *bus_dma_direct(struct mmioshim_device *dev, u64 addr, size_t len)
{
    size_t n = len;
    const void *at;

    if (bus_device_of(dev)->endpoint) /* what is mapped now may be unmapped while it is read: memory/iommu.h */
        return NULL;
    at = translate(dev, addr, len, &addr) ? dma_get(addr, &n, false) : NULL;
    return n == len ? at : NULL;
}

bool bus_dma_read(struct mmioshim_device *dev, u64 addr, void *buf, size_t len)
{
    bool ok = from_ram(dev, addr, buf, len);

    tell(dev, addr, len, false, ok);
    return ok;
}

bool bus_dma_write(struct mmioshim_device *dev, u64 addr, const void *buf, size_t len)
{
    bool ok = to_ram(dev, addr, buf, len);

    tell(dev, addr, len, true, ok);
    return ok;
}

bool bus_dma_begin(struct mmioshim_device *dev, u64 addr, size_t len, bool write)
{
    struct bus_passage p = {.device = NULL};
    u64 machine;
    bool ok = translate(dev, addr, len, &machine) && bus_passage_begin(&p, bus_device_of(dev), machine, len, write);

    bus_passage_end(&p);
    tell(dev, addr, len, write, ok);
    return ok;
}

/* --- disks --- */

/* NULL: there is none, or it answers later. */
static const struct backend_disk *disk_of(struct mmioshim_device *dev, struct backend **b)
{
    *b = bus_end(bus_device_of(dev));
    return (*b)->ops && (*b)->ops->disk && !(*b)->ops->disk->serve ? (*b)->ops->disk : NULL;
}

u64 bus_disk_size(struct mmioshim_device *dev)
{
    struct backend *b = &bus_device_of(dev)->backend; /* its descriptors say nothing of it */

    return b->ops && b->ops->disk ? b->ops->disk->size(b) : 0;
}

/* By way of a buffer: RAM that has no mapping of ours. */
static long move_copied(struct backend *b, u64 position, u64 addr, size_t len, bool inwards)
{
    const struct backend_disk *disk = b->ops->disk;
    u8 buf[2048];
    size_t n = MIN(len, sizeof(buf));
    long done;

    if (!inwards)
        return dma_read(addr, buf, n) ? disk->write(b, buf, n, position) : -EFAULT;
    done = disk->read(b, buf, n, position);
    if (done > 0 && !dma_write(addr, buf, (size_t)done))
        return -EFAULT;
    return done;
}

static long move_some(struct backend *b, u64 position, u64 addr, size_t len, bool inwards)
{
    const struct backend_disk *disk = b->ops->disk;
    size_t n = len;
    void *ram = dma_get(addr, &n, inwards);

    if (!ram)
        return move_copied(b, position, addr, len, inwards);
    return inwards ? disk->read(b, ram, n, position) : disk->write(b, ram, n, position);
}

/* Machine addresses, all of them RAM. */
static int move_piece(struct backend *b, u64 position, u64 addr, size_t len, bool inwards)
{
    while (len) {
        long done = move_some(b, position, addr, len, inwards);

        if (done == -EINTR)
            continue;
        if (done <= 0) /* 0: the file ends before its size */
            return done ? (int)done : -EIO;
        position += (u64)done;
        addr += (u64)done;
        len -= (size_t)done;
    }
    return 0;
}

static int move(struct mmioshim_device *dev, u64 position, u64 bus, size_t len, bool inwards)
{
    struct bus_passage p = {.device = NULL};
    struct backend *b;
    u64 addr;
    bool ok = translate(dev, bus, len, &addr) && bus_passage_begin(&p, bus_device_of(dev), addr, len, inwards);
    int ret = !ok ? -EFAULT : disk_of(dev, &b) ? 0 : -ENXIO;

    tell(dev, bus, len, inwards, ok);
    for (size_t n; ret == 0 && (n = bus_passage_next(&p, &addr)); position += n)
        ret = move_piece(b, position, addr, n, inwards);
    bus_passage_end(&p);
    return ret;
}

int bus_disk_read(struct mmioshim_device *dev, u64 position, u64 addr, size_t len)
{
    return move(dev, position, addr, len, true);
}

int bus_disk_write(struct mmioshim_device *dev, u64 position, u64 addr, size_t len)
{
    return move(dev, position, addr, len, false);
}

void bus_disk_soon(struct mmioshim_device *dev, u64 position, size_t len)
{
    struct backend *b = &bus_device_of(dev)->backend;

    if (b->map)
        b->ops->disk->soon(b, position, len);
}

int bus_disk_control(struct mmioshim_device *dev, enum mmioshim_disk what, u64 position, u64 len)
{
    struct backend *b;
    const struct backend_disk *disk = disk_of(dev, &b);

    switch (disk ? what : (enum mmioshim_disk)-1) {
    case MMIOSHIM_DISK_FLUSH:
        return disk->flush(b);
    case MMIOSHIM_DISK_DISCARD:
        return disk->discard(b, position, len);
    case MMIOSHIM_DISK_ZERO:
    case MMIOSHIM_DISK_ZERO_UNMAP:
        return disk->zero(b, position, len, what == MMIOSHIM_DISK_ZERO_UNMAP);
    default:
        return -ENXIO;
    }
}
