#include "bus/host.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <time.h>

#include "base/mem.h"
#include "base/sys.h"
#include "bus/dma.h"
#include "bus/iommu.h"
#include "bus/irq.h"
#include "bus/outside.h"
#include "bus/transfers.h"
#include "config/machine.h"
#include "base/trapsafe.h"

#define RETRY      5000000 /* ns until a host end that took no more is tried again */
#define RING_AGAIN 20      /* ms */

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

static void host_wake_on_end(struct mmioshim_device *dev, unsigned end)
{
    struct bus_device *d = bus_device_of(dev);
    u32 bit = 1u << end;

    if (end >= d->nends || (d->shared->input_wanted & bit) || bus_end_at(d, end)->ended)
        return;
    __atomic_fetch_or(&d->shared->input_wanted, bit, __ATOMIC_RELEASE);
    bus_requests.ring = true;
}

static void host_wake_on_input(struct mmioshim_device *dev)
{
    host_wake_on_end(dev, 0);
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

/* The whole of it, by moves of the host end. */
static int disk_move(struct mmioshim_device *dev, u64 position, u8 *buf, size_t len, bool write)
{
    struct backend *b = bus_end(bus_device_of(dev));
    const struct backend_disk *disk = b->ops ? b->ops->disk : NULL;

    if (!disk || disk->serve)
        return -ENXIO;
    while (len) {
        long done = write ? disk->write(b, buf, len, position) : disk->read(b, buf, len, position);

        if (done == -EINTR)
            continue;
        if (done <= 0) /* 0: the file ends before its size */
            return done ? (int)done : -EIO;
        position += (u64)done;
        buf += done;
        len -= (size_t)done;
    }
    return 0;
}

static int host_disk_get(struct mmioshim_device *dev, u64 position, void *buf, size_t len)
{
    return disk_move(dev, position, buf, len, false);
}

static int host_disk_put(struct mmioshim_device *dev, u64 position, const void *buf, size_t len)
{
    return disk_move(dev, position, (u8 *)(uintptr_t)buf, len, true);
}

static bool host_disk_readonly(struct mmioshim_device *dev)
{
    return bus_device_of(dev)->backend.readonly;
}

static int host_packet_send(struct mmioshim_device *dev, const void *frame, size_t len)
{
    struct backend *b = bus_end(bus_device_of(dev));
    long sent = b->ops && b->ops->packets ? b->ops->packets->send(b, frame, len) : -ENXIO;

    return sent == -EAGAIN ? MMIOSHIM_LATER : sent < 0 ? -1 : 0;
}

static size_t host_packet_receive(struct mmioshim_device *dev, u64 *position, void *frame, size_t room)
{
    struct backend *b = bus_end(bus_device_of(dev));
    long got = b->ops && b->ops->packets ? b->ops->packets->receive(b, position, frame, room) : -EAGAIN;

    return got > 0 ? (size_t)got : 0;
}

static void *host_packet_buffer(struct mmioshim_device *dev, size_t *size)
{
    struct backend *b = &bus_device_of(dev)->backend;

    *size = b->room ? BACKEND_ROOM : 0;
    return b->room;
}

static bool host_packet_here(struct mmioshim_device *dev)
{
    return outside_mine(bus_device_of(dev));
}

static bool host_packet_link(struct mmioshim_device *dev)
{
    const struct bus_device *d = bus_device_of(dev);

    return !outside_is(d) || d->backend.up;
}

static void host_packet_offload(struct mmioshim_device *dev, unsigned kinds)
{
    struct backend *b = &bus_device_of(dev)->backend;

    if (outside_is(bus_device_of(dev)) && b->held && b->ops->packets->offload)
        b->ops->packets->offload(b, kinds);
}

static size_t host_random(struct mmioshim_device *dev, void *buf, size_t len)
{
    long got = sys(SYS_getrandom, buf, MIN(len, 256u), GRND_NONBLOCK);

    (void)dev;
    return got > 0 ? (size_t)got : 0;
}

/* NULL: there is none with this number. */
static struct backend *end_of(struct mmioshim_device *dev, unsigned end)
{
    struct bus_device *d = bus_device_of(dev);

    return end < d->nends ? bus_end_at(d, end) : NULL;
}

/* The worker looks at what was there before. */
static void look_moved(struct mmioshim_device *dev, struct backend *b)
{
    if (likely(!b->moved))
        return;
    b->moved = false;
    if (__atomic_load_n(&bus_device_of(dev)->shared->input_wanted, __ATOMIC_ACQUIRE))
        bus_requests.ring = true;
}

static unsigned look(struct mmioshim_device *dev, struct backend *b, unsigned events)
{
    unsigned found = b->ops->poll(b, events, 0);

    look_moved(dev, b);
    return found;
}

/* A host end that is gone for good swallows what comes, as a cable that is not plugged in. */
static size_t host_char_write(struct mmioshim_device *dev, unsigned end, const void *bytes, size_t n)
{
    struct backend *b = end_of(dev, end);
    long taken;

    if (!b || b->mute)
        return b ? 0 : n;
    taken = b->ops->write(b, bytes, n);
    look_moved(dev, b);
    if (taken == -EAGAIN)
        bus_device_of(dev)->full = end;
    return taken == -EAGAIN ? 0 : taken < 0 ? n : (size_t)taken;
}

static bool host_char_send(struct mmioshim_device *dev, unsigned end, u8 byte)
{
    return host_char_write(dev, end, &byte, 1);
}

/* What the worker can do is left to it: a peer that does not read must not hold up the program. */
static bool host_char_wait(struct mmioshim_device *dev, unsigned end)
{
    struct backend *b = end_of(dev, end);

    if (b && b->ops->follow)
        host_wake_at(dev, host_clock(dev) + RETRY);
    if (b && (b->mute || b->ops->follow))
        return false;
    if (b)
        b->ops->poll(b, BACKEND_OUT, 50);
    return true;
}

static int host_char_receive(struct mmioshim_device *dev, unsigned end)
{
    struct backend *b = end_of(dev, end);
    u8 byte;
    long got = b ? b->ops->read(b, &byte, 1) : 0;

    if (b)
        look_moved(dev, b);
    return got == 1 ? byte : -1;
}

static bool host_char_pending(struct mmioshim_device *dev, unsigned end)
{
    struct backend *b = end_of(dev, end);

    return b && (look(dev, b, BACKEND_IN) & BACKEND_IN);
}

static unsigned host_char_waiting(struct mmioshim_device *dev, unsigned end)
{
    int bytes = 0;

    if (!host_char_pending(dev, end))
        return 0;
    return sys_ioctl(end_of(dev, end)->in, FIONREAD, &bytes) == 0 && bytes > 1 ? (unsigned)bytes : 1;
}

static bool host_char_room(struct mmioshim_device *dev, unsigned end)
{
    struct backend *b = end_of(dev, end);
    bool room = !b || (look(dev, b, BACKEND_OUT) & BACKEND_OUT);

    if (!room)
        bus_device_of(dev)->full = end;
    return room;
}

static bool host_char_connected(struct mmioshim_device *dev, unsigned end)
{
    struct backend *b = end_of(dev, end);
    bool connected = b && (!b->ops->connected || b->ops->connected(b));

    if (b)
        look_moved(dev, b);
    return connected;
}

/* tty_ioctl(4), TIOCGWINSZ; no terminal program has said what it is while both are 0. */
static bool host_char_size(struct mmioshim_device *dev, unsigned end, u16 *columns, u16 *rows)
{
    struct backend *b = end_of(dev, end);
    struct winsize size;

    if (!b || (sys_ioctl(b->out, TIOCGWINSZ, &size) < 0 && sys_ioctl(b->in, TIOCGWINSZ, &size) < 0))
        return false;
    *columns = size.ws_col;
    *rows = size.ws_row;
    return size.ws_col || size.ws_row;
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
    .wake_on_end = host_wake_on_end,
    .soon = host_soon,
    .dma_read = bus_dma_read,
    .dma_write = bus_dma_write,
    .dma_fetch = bus_dma_fetch,
    .dma_store = bus_dma_store,
    .dma_direct = bus_dma_direct,
    .disk_size = bus_disk_size,
    .disk_read = bus_disk_read,
    .disk_write = bus_disk_write,
    .disk_control = bus_disk_control,
    .disk_soon = bus_disk_soon,
    .disk_later = transfers_later,
    .disk_begun = transfers_begun,
    .disk_begin = transfers_begin,
    .disk_ended = transfers_ended,
    .disk_forget = transfers_forget,
    .disk_get = host_disk_get,
    .disk_put = host_disk_put,
    .disk_readonly = host_disk_readonly,
    .packet_send = host_packet_send,
    .packet_receive = host_packet_receive,
    .packet_buffer = host_packet_buffer,
    .packet_here = host_packet_here,
    .packet_link = host_packet_link,
    .packet_offload = host_packet_offload,
    .random = host_random,
    .translated = bus_translated,
    .iommu = &bus_iommu_ops,
    .char_send = host_char_send,
    .char_write = host_char_write,
    .char_wait = host_char_wait,
    .char_receive = host_char_receive,
    .char_pending = host_char_pending,
    .char_waiting = host_char_waiting,
    .char_room = host_char_room,
    .char_connected = host_char_connected,
    .char_size = host_char_size,
    .end_program = host_end_program,
    .reset_machine = host_reset_machine,
    .property_u32 = node_property_u32,
    .property = node_property,
    .property_u32_at = node_property_u32_at,
};
