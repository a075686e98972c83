/*
 * A futex lock for memory that several processes share. It holds the owner's
 * thread id and start time, so that a holder that died is recognised and its
 * lock taken over. Robust lists are not used: they belong to glibc.
 *
 * Any context with asynchronous signals masked: a thread that is interrupted
 * by a handler that takes the same lock would wait for itself.
 */
#ifndef MMIOSHIM_BASE_LOCK_H
#define MMIOSHIM_BASE_LOCK_H

#include "base/types.h"

struct lock {
    u32 owner; /* tid, bit 31 = there are waiters; 0 = free */
    u32 pid;   /* process of the owner, to read its start time */
    u64 start; /* start time of the owner's process in clock ticks after boot, 0 = not yet written */
};

/* Who takes locks: filled once per thread by lock_self(). */
struct lock_self {
    u32 tid;
    u32 pid;
    u64 start;
};

/* Returns true when the previous holder died with the lock: what it protects may be half written. */
bool lock_take(struct lock *lock, const struct lock_self *self);
void lock_release(struct lock *lock, const struct lock_self *self);
/*
 * Frees a lock that this very thread seems to hold, when it cannot: right after exec, which keeps pid and start time
 * and gives the first thread's id to the one that called it.
 */
void lock_forget(struct lock *lock, const struct lock_self *self);
static inline bool lock_held(const struct lock *lock, const struct lock_self *self)
{
    return (__atomic_load_n(&lock->owner, __ATOMIC_RELAXED) & 0x7fffffffu) == self->tid;
}

#endif
