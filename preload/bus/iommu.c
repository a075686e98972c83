#include "bus/iommu.h"

#include "base/process.h"
#include "base/sys.h"
#include "bus/host.h"
#include "memory/dma.h"
#include "base/trapsafe.h"

static const struct lock_self *(*this_thread)(void);

void bus_iommu_who(const struct lock_self *(*who)(void))
{
    this_thread = who;
}

static const struct lock_self *myself(struct lock_self *room)
{
    if (likely(this_thread))
        return this_thread();
    *room = (struct lock_self){.tid = (u32)sys_gettid(), .pid = (u32)sys(SYS_getpid)};
    room->start = process_start(room->pid);
    return room;
}

static struct iommu *table_of(const struct bus_device *d)
{
    return arena_iommu(d->bus->machine->arena);
}

/* Owners of endpoints and domains are devices; 0 is nobody. */
static u32 owner_of(const struct mmioshim_device *dev)
{
    return dev->index + 1;
}

bool bus_translated(const struct mmioshim_device *dev)
{
    return bus_device_of((struct mmioshim_device *)(uintptr_t)dev)->endpoint;
}

/* --- transfers --- */

/* The tables say where; whether RAM is there, and no window, is asked each time. */
static bool passable(struct bus_passage *p, struct iommu_fault *fault)
{
    u64 addr = p->addr, n;

    for (size_t left = p->left; left; addr += n, left -= n) {
        u64 machine;

        n = left;
        if (!iommu_translate(table_of(p->device), p->device->endpoint, addr, &n, p->write, &machine, fault) ||
            !dma_reaches(machine, n))
            return false;
        if (!p->first) {
            p->machine = machine;
            p->first = n;
        }
    }
    return true;
}

/* The IOMMU is served when the access is over, and no device is locked. */
static void report(struct bus_device *d, const struct iommu_fault *fault, const struct lock_self *self)
{
    struct arena *arena = d->bus->machine->arena;
    u32 device = fault->owner - 1;

    iommu_report(table_of(d), fault, self);
    if (device >= d->bus->ndevices)
        return;
    clock_ask(arena, device, 0);
    bus_requests.due = true;
}

bool bus_passage_begin(struct bus_passage *p, struct bus_device *d, u64 addr, size_t len, bool write)
{
    struct iommu_fault fault = {.owner = 0};
    bool ok;

    p->device = d;
    p->addr = addr;
    p->left = len;
    p->write = write;
    if (!range_valid((struct range){addr, len}))
        p->left = 0;
    p->first = 0;
    if (!d->endpoint)
        return p->left == len && dma_reaches(addr, len);
    p->self = myself(&p->room);
    iommu_enter(d->endpoint, p->self);
    ok = p->left == len && passable(p, &fault);
    if (unlikely(fault.owner))
        report(d, &fault, p->self);
    return ok;
}

size_t bus_passage_next(struct bus_passage *p, u64 *machine)
{
    struct iommu_fault fault;
    u64 n = p->left;

    *machine = p->addr;
    if (!n)
        return 0;
    if (p->first) {
        *machine = p->machine;
        n = p->first;
        p->first = 0;
    } else if (p->device->endpoint &&
               !iommu_translate(table_of(p->device), p->device->endpoint, p->addr, &n, p->write, machine, &fault)) {
        return 0; /* it was looked at before, under the same lock */
    }
    p->addr += n;
    p->left -= n;
    return n;
}

void bus_passage_end(struct bus_passage *p)
{
    if (p->device && p->device->endpoint)
        iommu_leave(p->device->endpoint, p->self);
}

/* --- tables, for models --- */

static bool op_endpoint(struct mmioshim_device *dev, u32 endpoint)
{
    return iommu_find(table_of(bus_device_of(dev)), owner_of(dev), endpoint);
}

static int op_attach(struct mmioshim_device *dev, u32 domain, u32 endpoint, bool bypass)
{
    struct lock_self room;

    return iommu_attach(table_of(bus_device_of(dev)), owner_of(dev), domain, endpoint, bypass, myself(&room));
}

static int op_detach(struct mmioshim_device *dev, u32 domain, u32 endpoint)
{
    struct lock_self room;

    return iommu_detach(table_of(bus_device_of(dev)), owner_of(dev), domain, endpoint, myself(&room));
}

_Static_assert((int)MMIOSHIM_DMA_READ == (int)IOMMU_READ && (int)MMIOSHIM_DMA_WRITE == (int)IOMMU_WRITE, "the same bits");

static int op_map(struct mmioshim_device *dev, u32 domain, u64 first, u64 last, u64 target, unsigned flags)
{
    struct iommu_mapping m = {.first = first, .last = last, .target = target};
    struct lock_self room;

    m.flags = flags & (IOMMU_READ | IOMMU_WRITE);
    return iommu_map(table_of(bus_device_of(dev)), owner_of(dev), domain, &m, myself(&room));
}

static int op_unmap(struct mmioshim_device *dev, u32 domain, u64 first, u64 last)
{
    struct lock_self room;

    return iommu_unmap(table_of(bus_device_of(dev)), owner_of(dev), domain, first, last, myself(&room));
}

static void op_detach_all(struct mmioshim_device *dev)
{
    struct lock_self room;

    iommu_detach_all(table_of(bus_device_of(dev)), owner_of(dev), myself(&room));
}

static void op_bypass(struct mmioshim_device *dev, bool bypass)
{
    struct lock_self room;

    iommu_bypass(table_of(bus_device_of(dev)), owner_of(dev), bypass, myself(&room));
}

static bool op_fault(struct mmioshim_device *dev, struct mmioshim_dma_fault *fault)
{
    struct iommu_fault f;
    struct lock_self room;

    if (!iommu_take_fault(table_of(bus_device_of(dev)), owner_of(dev), &f, myself(&room)))
        return false;
    *fault = (struct mmioshim_dma_fault){f.endpoint, f.addr, f.write, f.unattached};
    return true;
}

const struct mmioshim_iommu bus_iommu_ops = {
    .endpoint = op_endpoint,
    .attach = op_attach,
    .detach = op_detach,
    .map = op_map,
    .unmap = op_unmap,
    .detach_all = op_detach_all,
    .bypass = op_bypass,
    .fault = op_fault,
};
