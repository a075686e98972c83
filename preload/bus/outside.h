/*
 * Host ends that can be held only once: a connection, an address, a tap. The
 * worker alone holds them, so the program has no descriptors of theirs, and
 * what half a frame was sent or received is known in one place. When it is
 * killed its connections end, and the next one makes new ones.
 */
#ifndef MMIOSHIM_BUS_OUTSIDE_H
#define MMIOSHIM_BUS_OUTSIDE_H

#include <poll.h>

#include "bus/bus.h"

#define OUTSIDE_MOST 32u /* host ends */

/* Is that of this device one of them? Any context. */
static inline bool outside_is(const struct bus_device *d)
{
    return d->backend.ops && d->backend.ops->packets && d->backend.ops->packets->attend;
}

/* May it be used here? */
static inline bool outside_mine(const struct bus_device *d)
{
    return !outside_is(d) || d->backend.held;
}

/* Has the machine one that nobody has looked after yet? Any context. */
bool outside_waits(const struct bus *bus);
/* Waits until somebody has, two seconds at most. ordinary */
void outside_wait(const struct bus *bus);

/* --- for the worker --- */

/* Takes them. */
void outside_hold(struct bus *bus);
/* Opens, connects, and serves devices whose host end has something, or has changed. When to be called again, ns. */
u64 outside_serve(const struct lock_self *self, u64 now);
/* What to wait for, at most 2 * OUTSIDE_MOST; how many. */
u32 outside_descriptors(struct pollfd *fds);
/* What came of it. */
void outside_looked(const struct pollfd *fds);
/* Closes them: whoever takes them next begins anew. */
void outside_leave(void);

#endif
