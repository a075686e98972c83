#include "bus/host.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "base/mem.h"
#include "base/sys.h"
#include "bus/irq.h"
#include "config/machine.h"
#include "memory/dma.h"
#include "base/trapsafe.h"

__thread struct bus_requests bus_requests;

static const struct bus *bus_of(struct mmioshim_device *dev)
{
    return bus_device_of(dev)->bus;
}

static u64 host_clock(struct mmioshim_device *dev)
{
    return clock_now(bus_of(dev)->machine->arena);
}

static u64 host_wall_clock(struct mmioshim_device *dev)
{
    return clock_wall(bus_of(dev)->machine->arena);
}

static void host_wake_at(struct mmioshim_device *dev, u64 ns)
{
    struct arena *arena = bus_of(dev)->machine->arena;

    if (arena_devices(arena)[dev->index].deadline == ns)
        return;
    clock_ask(arena, dev->index, ns);
    if (ns != CLOCK_NEVER && !clock_virtual(arena))
        bus_requests.ring = true;
}

static void host_wake_on_input(struct mmioshim_device *dev)
{
    struct bus_device *d = bus_device_of(dev);

    if (d->shared->input_wanted || !d->backend.ops || d->backend.ended)
        return;
    __atomic_store_n(&d->shared->input_wanted, 1, __ATOMIC_RELEASE);
    bus_requests.ring = true;
}

/* Every back end that there is answers at once, so the service runs inline, still under the device's lock. */
static void host_wake(struct mmioshim_device *dev)
{
    if (dev->class->service)
        dev->class->service(dev);
}

static bool host_dma_read(struct mmioshim_device *dev, u64 addr, void *buf, size_t len)
{
    (void)dev;
    return dma_read(addr, buf, len);
}

static bool host_dma_write(struct mmioshim_device *dev, u64 addr, const void *buf, size_t len)
{
    (void)dev;
    return dma_write(addr, buf, len);
}

static bool host_char_send(struct mmioshim_device *dev, u8 byte)
{
    struct backend *b = bus_end(bus_device_of(dev));

    /* A host end that is gone for good swallows what comes, as a cable that is not plugged in. */
    return !b->ops || b->ops->write(b, &byte, 1) != -EAGAIN;
}

static int host_char_receive(struct mmioshim_device *dev)
{
    struct backend *b = bus_end(bus_device_of(dev));
    u8 byte;

    return b->ops && b->ops->read(b, &byte, 1) == 1 ? byte : -1;
}

static bool host_char_pending(struct mmioshim_device *dev)
{
    struct backend *b = bus_end(bus_device_of(dev));

    return b->ops && (b->ops->poll(b, BACKEND_IN, 0) & BACKEND_IN);
}

static unsigned host_char_waiting(struct mmioshim_device *dev)
{
    int bytes = 0;

    if (!host_char_pending(dev))
        return 0;
    return sys_ioctl(bus_end(bus_device_of(dev))->in, FIONREAD, &bytes) == 0 && bytes > 1 ? (unsigned)bytes : 1;
}

static bool host_char_room(struct mmioshim_device *dev)
{
    struct backend *b = bus_end(bus_device_of(dev));

    return !b->ops || (b->ops->poll(b, BACKEND_OUT, 0) & BACKEND_OUT);
}

static void host_end_program(struct mmioshim_device *dev, int status)
{
    (void)dev;
    bus_requests.end = true;
    bus_requests.status = status;
}

static void host_reset_machine(struct mmioshim_device *dev)
{
    (void)dev;
    bus_requests.reset = true;
}

const struct mmioshim_host bus_host = {
    .irq = irq_raise,
    .clock = host_clock,
    .wall_clock = host_wall_clock,
    .wake = host_wake,
    .wake_at = host_wake_at,
    .wake_on_input = host_wake_on_input,
    .dma_read = host_dma_read,
    .dma_write = host_dma_write,
    .char_send = host_char_send,
    .char_receive = host_char_receive,
    .char_pending = host_char_pending,
    .char_waiting = host_char_waiting,
    .char_room = host_char_room,
    .end_program = host_end_program,
    .reset_machine = host_reset_machine,
    .property_u32 = node_property_u32,
    .property = node_property,
    .property_u32_at = node_property_u32_at,
};
