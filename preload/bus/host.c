#include "bus/host.h"

#include <errno.h>
#include <time.h>

#include "base/mem.h"
#include "config/machine.h"
#include "memory/dma.h"
#include "base/trapsafe.h"

__thread struct bus_requests bus_requests;

static struct bus_device *bus_device_of(struct mmioshim_device *dev)
{
    return (struct bus_device *)((char *)dev - offsetof(struct bus_device, dev));
}

static void host_irq(struct mmioshim_device *dev, unsigned line, bool level)
{
    struct bus_device *d = bus_device_of(dev);
    u64 bit = (u64)1 << (line & 63);

    if (line >= dev->class->lines || !!(d->shared->lines & bit) == level)
        return;
    d->shared->lines ^= bit;
    if (bus_requests.nirqs < ARRAY_SIZE(bus_requests.irqs))
        bus_requests.irqs[bus_requests.nirqs++] =
            (struct bus_irq){dev->index, d->line[MIN(line, ARRAY_SIZE(d->line) - 1)], level};
}

static u64 read_clock(clockid_t id)
{
    struct timespec t = {0, 0};

    clock_gettime(id, &t);
    return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

static u64 host_clock(struct mmioshim_device *dev)
{
    (void)dev;
    return read_clock(CLOCK_MONOTONIC);
}

static u64 host_wall_clock(struct mmioshim_device *dev)
{
    (void)dev;
    return read_clock(CLOCK_REALTIME);
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
    .irq = host_irq,
    .clock = host_clock,
    .wall_clock = host_wall_clock,
    .wake = host_wake,
    .dma_read = host_dma_read,
    .dma_write = host_dma_write,
    .char_send = host_char_send,
    .char_receive = host_char_receive,
    .char_pending = host_char_pending,
    .char_room = host_char_room,
    .end_program = host_end_program,
    .reset_machine = host_reset_machine,
    .property_u32 = node_property_u32,
    .property = node_property,
};
