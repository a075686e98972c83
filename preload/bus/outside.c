#include "bus/outside.h"

#include <linux/futex.h>
#include <time.h>

#include "base/sys.h"
#include "base/trapsafe.h"

#define PATIENCE 2 /* s */

/* Of the worker, which is one thread. */
static struct {
    u32 n;
    struct end {
        struct bus_device *device;
        u64 again;
        unsigned revents;
        bool told_up; /* as the device knows it */
    } ends[OUTSIDE_MOST];
} held;

bool outside_waits(const struct bus *bus)
{
    for (u32 i = 0; i < bus->ndevices; i++)
        if (outside_is(&bus->devices[i]) && !__atomic_load_n(&bus->devices[i].shared->attended, __ATOMIC_ACQUIRE))
            return true;
    return false;
}

void outside_wait(const struct bus *bus)
{
    struct timespec most = {PATIENCE, 0};

    for (u32 i = 0; i < bus->ndevices; i++) {
        u32 *attended = &bus->devices[i].shared->attended;

        if (outside_is(&bus->devices[i]) && !__atomic_load_n(attended, __ATOMIC_ACQUIRE))
            sys(SYS_futex, attended, FUTEX_WAIT, 0, &most, NULL, 0);
    }
}

void outside_hold(struct bus *bus)
{
    for (u32 i = 0; i < bus->ndevices && held.n < OUTSIDE_MOST; i++) {
        if (!outside_is(&bus->devices[i]))
            continue;
        bus->devices[i].backend.held = true;
        held.ends[held.n++] = (struct end){.device = &bus->devices[i]};
    }
}

static void attend(struct end *e, u64 now)
{
    struct backend *b = &e->device->backend;

    e->again = b->ops->packets->attend(b, e->revents, now);
}

/* Its device has something to do, or to know. It may find that the connection is lost: then there is more of it. */
static void serve_end(struct end *e, u64 now)
{
    struct bus_device *d = e->device;
    struct backend *b = &d->backend;

    if (e->revents) {
        __atomic_store_n(&d->shared->input_wanted, 0, __ATOMIC_RELEASE);
        b->full = false;
    }
    attend(e, now);
    for (unsigned round = 0; round < 4 && (e->revents || b->up != e->told_up); round++) {
        e->told_up = b->up;
        e->revents = 0;
        d->dev.class->service(&d->dev);
        attend(e, now);
    }
}

u64 outside_serve(const struct lock_self *self, u64 now)
{
    u64 next = UINT64_MAX;

    for (u32 i = 0; i < held.n; i++) {
        struct end *e = &held.ends[i];
        u32 *attended = &e->device->shared->attended;

        bus_lock(e->device, self);
        serve_end(e, now);
        bus_unlock(e->device, self);
        next = MIN(next, e->again);
        if (!__atomic_exchange_n(attended, 1, __ATOMIC_ACQ_REL))
            sys(SYS_futex, attended, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    }
    return next;
}

/* poll(2) passes over negative descriptors. */
u32 outside_descriptors(struct pollfd *fds)
{
    for (u32 i = 0; i < held.n; i++) {
        const struct bus_device *d = held.ends[i].device;
        const struct backend *b = &d->backend;
        bool in = b->listens || __atomic_load_n(&d->shared->input_wanted, __ATOMIC_ACQUIRE);
        bool apart = b->out >= 0 && b->out != b->in;

        fds[2 * i] = (struct pollfd){b->in, (short)((in ? POLLIN : 0) | (b->full && !apart ? POLLOUT : 0)), 0};
        fds[2 * i + 1] = (struct pollfd){apart && b->full ? b->out : -1, POLLOUT, 0};
    }
    return 2 * held.n;
}

void outside_looked(const struct pollfd *fds)
{
    for (u32 i = 0; i < held.n; i++)
        held.ends[i].revents = (unsigned)(u16)fds[2 * i].revents | (u16)fds[2 * i + 1].revents;
}

void outside_leave(void)
{
    for (u32 i = 0; i < held.n; i++) {
        struct backend *b = &held.ends[i].device->backend;

        b->ops->close(b);
        b->in = b->out = -1;
        b->held = b->up = b->full = false;
    }
    held.n = 0;
}
