#include "bus/irq.h"

#include <errno.h>
#include <linux/futex.h>
#include <time.h>

#include "base/sys.h"
#include "bus/host.h"
#include "bus/listeners.h"
#include "base/trapsafe.h"

static void (*told)(u32 hart, u32 number, const struct lock_self *self);

void irq_watch(void (*pending)(u32 hart, u32 number, const struct lock_self *self))
{
    told = pending;
}

static struct arena *arena_of(const struct bus *bus)
{
    return bus->machine->arena;
}

/* NULL: the device has no such line. */
static struct arena_wire *wire_of(const struct bus *bus, u32 device, u32 line)
{
    if (device >= bus->ndevices || line >= bus->devices[device].shared->nwires)
        return NULL;
    return &arena_wires(arena_of(bus), device)[line];
}

/* --- events: the device is locked --- */

static void happen(struct arena_wire *wire)
{
    if (wire->masked) {
        wire->kept = wire->edge;
        return;
    }
    wire->kept = 0;
    wire->masked = wire->once;
    __atomic_store_n(&wire->count, wire->count + 1, __ATOMIC_SEQ_CST); /* before wake() looks who wants to know */
}

static void set_wire(struct arena_wire *wire, bool level)
{
    __atomic_store_n(&wire->level, level, __ATOMIC_SEQ_CST);
    if (level)
        happen(wire);
}

/* Those that sleep on it. No lock is needed: each looks at the count before it sleeps. */
static void wake(struct arena *arena, u32 device, u32 line, const struct lock_self *self)
{
    struct arena_wire *wire = &arena_wires(arena, device)[line];

    if (__atomic_load_n(&wire->waiters, __ATOMIC_SEQ_CST))
        sys(SYS_futex, &wire->count, FUTEX_WAKE, INT32_MAX);
    if (unlikely(__atomic_load_n(&arena->listeners_used, __ATOMIC_SEQ_CST)))
        listeners_tell(arena, device, line, &wire->count, self);
}

static void request(struct bus_device *d, const struct bus_irq *irq)
{
    struct bus_requests *r = &bus_requests;

    if (r->nirqs < ARRAY_SIZE(r->irqs)) {
        r->irqs[r->nirqs++] = *irq;
        return;
    }
    r->more = true; /* it arrives, and is missing in the log */
    __atomic_fetch_add(&arena_of(d->bus)->counters.lost, 1, __ATOMIC_RELAXED);
}

static struct arena_wire *wire_here(struct bus_device *d, unsigned line)
{
    return line < d->shared->nwires ? &arena_wires(arena_of(d->bus), d->dev.index)[line] : NULL;
}

void irq_raise(struct mmioshim_device *dev, unsigned line, bool level)
{
    struct bus_device *d = bus_device_of(dev);
    struct arena_wire *wire;

    if (d->function && d->bus->functions->ask(dev, d->function - 1u, line, level))
        return;
    wire = wire_here(d, line);
    if (!wire || wire->level == level)
        return;
    set_wire(wire, level);
    if (d->routes) /* NULL: the machine is being made, and everything is low */
        request(d, &(struct bus_irq){dev->index, d->routes[line].number, (u16)line, level, false});
}

void irq_message(struct mmioshim_device *dev, unsigned line)
{
    struct bus_device *d = bus_device_of(dev);
    struct arena_wire *wire = wire_here(d, line);

    if (!wire || !d->routes)
        return;
    wire->edge = 1;
    happen(wire);
    request(d, &(struct bus_irq){dev->index, line - 1, (u16)line, true, true});
}

/* --- delivery --- */

static bool level_now(const struct arena_wire *wire)
{
    return __atomic_load_n(&wire->level, __ATOMIC_SEQ_CST);
}

/* A pulse that is over is seen; what stays is the level as it is now. */
static void to_device(struct bus_device *target, u32 number, const struct arena_wire *wire, bool level,
                      const struct lock_self *self)
{
    const struct mmioshim_class *class = target->dev.class;

    bus_lock(target, self);
    class->irq_in(&target->dev, number, level);
    if (level_now(wire) != level)
        class->irq_in(&target->dev, number, !level);
    bus_unlock(target, self);
}

static void to_hart(struct arena *arena, u32 hart, u32 number, const struct arena_wire *wire, const struct lock_self *self)
{
    struct arena_hart *h = &arena->irqs.hart[hart];
    u64 bit = (u64)1 << number, was;
    bool level;

    lock_take(&arena->irqs.lock, self);
    was = h->pending;
    level = level_now(wire);
    __atomic_store_n(&h->pending, level ? was | bit : was & ~bit, __ATOMIC_RELEASE);
    lock_release(&arena->irqs.lock, self);
    if (level && !(was & bit) && told)
        told(hart, number, self);
}

static void deliver(struct bus *bus, u32 device, u32 line, bool level, const struct lock_self *self)
{
    const struct irq_route *route = &bus->devices[device].routes[line];
    struct arena_wire *wire = &arena_wires(arena_of(bus), device)[line];

    wake(arena_of(bus), device, line, self);
    if (route->end == IRQ_DEVICE)
        to_device(&bus->devices[route->target], route->number, wire, level, self);
    else if (route->end == IRQ_HART)
        to_hart(arena_of(bus), route->target, route->number, wire, self);
}

void irq_deliver(struct bus *bus, const struct bus_irq *irq, const struct lock_self *self)
{
    deliver(bus, irq->device, irq->line, irq->level, self);
}

void irq_deliver_all(struct bus *bus, const struct lock_self *self)
{
    for (u32 i = 0; i < bus->ndevices; i++)
        for (u32 line = 0; line < bus->devices[i].shared->nwires; line++)
            deliver(bus, i, line, level_now(&arena_wires(arena_of(bus), i)[line]), self);
}

/* --- events --- */

/* A level that is high, or an edge that was kept, counts now. */
static void unmask(struct arena_wire *wire)
{
    wire->masked = 0;
    if (wire->edge ? wire->kept : wire->level)
        happen(wire);
}

void irq_event_set(struct bus *bus, u32 device, u32 line, bool edge, bool once, const struct lock_self *self)
{
    struct arena_wire *wire = wire_of(bus, device, line);

    if (!wire)
        return;
    bus_lock(&bus->devices[device], self);
    wire->edge = edge;
    wire->once = once;
    wire->kept = 0;
    bus_unlock(&bus->devices[device], self);
}

void irq_event_mask(struct bus *bus, u32 device, u32 line, bool masked, const struct lock_self *self)
{
    struct arena_wire *wire = wire_of(bus, device, line);

    if (!wire)
        return;
    bus_lock(&bus->devices[device], self);
    if (masked)
        wire->masked = 1;
    else if (wire->masked)
        unmask(wire);
    bus_unlock(&bus->devices[device], self);
    wake(arena_of(bus), device, line, self);
}

bool irq_event_masked(struct bus *bus, u32 device, u32 line)
{
    const struct arena_wire *wire = wire_of(bus, device, line);

    return wire && __atomic_load_n(&wire->masked, __ATOMIC_RELAXED);
}

u32 irq_event_count(struct bus *bus, u32 device, u32 line)
{
    const struct arena_wire *wire = wire_of(bus, device, line);

    return wire ? __atomic_load_n(&wire->count, __ATOMIC_ACQUIRE) : 0;
}

long irq_event_wait(struct bus *bus, u32 device, u32 line, u32 seen, u64 ns)
{
    struct arena_wire *wire = wire_of(bus, device, line);
    struct timespec patience = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    long ret;

    if (!wire)
        return -EINVAL;
    __atomic_fetch_add(&wire->waiters, 1, __ATOMIC_SEQ_CST);
    ret = sys(SYS_futex, &wire->count, FUTEX_WAIT, seen, ns == CLOCK_NEVER ? NULL : &patience);
    __atomic_fetch_sub(&wire->waiters, 1, __ATOMIC_SEQ_CST);
    return ret;
}

int irq_event_open(struct bus *bus, u32 device, u32 line, int flags, const struct lock_self *self)
{
    const struct arena_wire *wire = wire_of(bus, device, line);

    return wire ? listener_open(arena_of(bus), device, line, &wire->count, flags, self) : -EINVAL;
}

bool irq_event_line(struct bus *bus, int fd, u32 *device, u32 *line)
{
    return listener_line(arena_of(bus), fd, device, line) && wire_of(bus, *device, *line);
}

long irq_event_read(struct bus *bus, int fd, u32 *count, const struct lock_self *self)
{
    u32 device, line;

    if (!irq_event_line(bus, fd, &device, &line))
        return -EBADF;
    return listener_read(arena_of(bus), fd, &wire_of(bus, device, line)->count, count, self) ? 0 : -EAGAIN;
}
