#include "bus/host.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <time.h>

#include "base/mem.h"
#include "base/sys.h"
#include "bus/dma.h"
#include "bus/irq.h"
#include "bus/transfers.h"
#include "config/machine.h"
#include "base/trapsafe.h"

#define RING_AGAIN 20 /* ms */

__thread struct bus_requests bus_requests;

static const struct bus *bus_of(struct mmioshim_device *dev)
{
    return bus_device_of(dev)->bus;
}

static bool host_messages(struct mmioshim_device *dev)
{
    const struct bus_device *d = bus_device_of(dev);

    return d->function && d->bus->functions->sends(d->function - 1u);
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

static u32 coarse_milliseconds(void)
{
    struct timespec t = {0, 0};

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (u32)((u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000);
}

/*
 * What has been asked for before rings the bell again from time to time: who heard it may have been killed. It is no request for
 * a driver that looks at registers a million times a second.
 */
static void ring(struct arena_device *shared, bool before)
{
    u32 now = coarse_milliseconds();

    if (before && now - shared->rung < RING_AGAIN)
        return;
    shared->rung = now;
    bus_requests.ring = true;
}

static void host_wake(struct mmioshim_device *dev)
{
    struct arena_device *shared = bus_device_of(dev)->shared;

    ring(shared, __atomic_exchange_n(&shared->wake, 1, __ATOMIC_RELEASE));
}

static void host_poll(struct mmioshim_device *dev, enum mmioshim_poll how)
{
    struct arena_device *shared = bus_device_of(dev)->shared;
    u32 before = shared->polled;

    __atomic_store_n(&shared->polled, how, __ATOMIC_RELEASE);
    if (how != MMIOSHIM_POLL_OFF)
        ring(shared, before == how);
}

static void host_soon(struct mmioshim_device *dev)
{
    struct bus_requests *r = &bus_requests;

    for (u32 i = 0; i < r->nsoon; i++)
        if (r->soon[i] == dev->index)
            return;
    /* More devices in one access than fit: in the log their work comes before it. */
    if (r->nsoon < ARRAY_SIZE(r->soon))
        r->soon[r->nsoon++] = dev->index;
    else
        dev->class->service(dev);
}

static bool host_packet_send(struct mmioshim_device *dev, const void *frame, size_t len)
{
    struct backend *b = bus_end(bus_device_of(dev));

    return b->ops && b->ops->packets && b->ops->packets->send(b, frame, len) >= 0;
}

static size_t host_packet_receive(struct mmioshim_device *dev, u64 *position, void *frame, size_t room)
{
    struct backend *b = bus_end(bus_device_of(dev));
    long got = b->ops && b->ops->packets ? b->ops->packets->receive(b, position, frame, room) : -EAGAIN;

    return got > 0 ? (size_t)got : 0;
}

static size_t host_random(struct mmioshim_device *dev, void *buf, size_t len)
{
    long got = sys(SYS_getrandom, buf, MIN(len, 256u), GRND_NONBLOCK);

    (void)dev;
    return got > 0 ? (size_t)got : 0;
}

static bool host_char_send(struct mmioshim_device *dev, u8 byte)
{
    struct backend *b = bus_end(bus_device_of(dev));

    /* A host end that is gone for good swallows what comes, as a cable that is not plugged in. */
    return !b->mute && (!b->ops || b->ops->write(b, &byte, 1) != -EAGAIN);
}

static bool host_char_wait(struct mmioshim_device *dev)
{
    struct bus_device *d = bus_device_of(dev);

    if (d->backend.mute)
        return false;
    bus_wait(d, 50);
    return true;
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
    .messages = host_messages,
    .clock = host_clock,
    .wall_clock = host_wall_clock,
    .wake = host_wake,
    .wake_at = host_wake_at,
    .poll = host_poll,
    .wake_on_input = host_wake_on_input,
    .soon = host_soon,
    .dma_read = bus_dma_read,
    .dma_write = bus_dma_write,
    .dma_fetch = bus_dma_fetch,
    .dma_store = bus_dma_store,
    .disk_size = bus_disk_size,
    .disk_read = bus_disk_read,
    .disk_write = bus_disk_write,
    .disk_control = bus_disk_control,
    .disk_later = transfers_later,
    .disk_begun = transfers_begun,
    .disk_begin = transfers_begin,
    .disk_ended = transfers_ended,
    .disk_forget = transfers_forget,
    .packet_send = host_packet_send,
    .packet_receive = host_packet_receive,
    .random = host_random,
    .char_send = host_char_send,
    .char_wait = host_char_wait,
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
