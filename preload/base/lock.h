/*
 * A futex lock for memory that several processes share. It holds the owner's
 * thread id and start time, so that a holder that died is recognised and its
 * lock taken over. Robust lists are not used: they belong to glibc.
 *
 * A lock may be biased to the lane (base/lanes.h) of the thread that took it
 * all the time: that thread enters without an atomic instruction, and whoever
 * else takes the lock takes the bias away first.
 *
 * Any context with asynchronous signals masked: a thread that is interrupted
 * by a handler that takes the same lock would wait for itself.
 */
#ifndef MMIOSHIM_BASE_LOCK_H
#define MMIOSHIM_BASE_LOCK_H

#include "base/lanes.h"

#define LOCK_STREAK    16u /* takes in a row by one thread until the lock is biased to it, */
#define LOCK_RELUCTANT 8u  /* doubled for each time that this did not last, so often at most */

struct lock {
    u32 owner; /* tid, bit 31 = there are waiters; 0 = free */
    u32 pid;   /* process of the owner, to read its start time */
    u64 start; /* start time of the owner's process in clock ticks after boot, 0 = not yet written */
    u32 bias;  /* number of a lane and 1, bit 31 = it is being taken away; 0 = none. Written by the owner */
    /* The policy of biasing, and what it did. Under the lock. */
    u32 last;      /* tid of who gave it back last, */
    u32 streak;    /* and how often in a row */
    u32 since;     /* when it was biased: milliseconds of CLOCK_MONOTONIC_COARSE */
    u32 reluctant; /* how often LOCK_STREAK is doubled */
    u32 revoked;   /* how often a bias was taken away */
};

/* Returns true when the previous holder died with the lock: what it protects may be half written. */
bool lock_take(struct lock *lock, const struct lock_self *self);
void lock_release(struct lock *lock, const struct lock_self *self);
/* The same, and the lock may from now on be biased to the thread, if it has a lane. */
void lock_release_biased(struct lock *lock, const struct lock_self *self);
/* Would the lock be biased to this thread when it gives it back, had it a lane? The lock is held. */
bool lock_ripe(const struct lock *lock, const struct lock_self *self);
/*
 * Frees a lock that this very thread seems to hold, when it cannot: right after exec, which keeps pid and start time
 * and gives the first thread's id to the one that called it.
 */
void lock_forget(struct lock *lock, const struct lock_self *self);
static inline bool lock_held(const struct lock *lock, const struct lock_self *self)
{
    return (__atomic_load_n(&lock->owner, __ATOMIC_RELAXED) & 0x7fffffffu) == self->tid;
}

/*
 * Enters a lock that is biased to this thread: no atomic instruction, and no memory that others write. False: it is
 * not: take it. One lock at a time, and until lock_exit() lock_take() of none that is ever biased: two
 * threads would wait for each other to come out.
 *
 * Why this excludes others (Dekker's algorithm, made asymmetric): we store `inside` and then load `bias`; who revokes
 * stores `bias` and then loads `inside`. The processor may move our load before our store, and we have no fence. But
 * who revokes makes every thread that could be us run through one, by membarrier(2), between its store and its load.
 * If our store came before that fence, it is seen, and waited for; if after, then our load did too, and finds the bias
 * gone. What was written inside is seen by whoever sees `inside` cleared: stores are not reordered on x86.
 */
static inline bool lock_enter(const struct lock *lock, const struct lock_self *self)
{
    struct lock_lane *lane = self->lane;

    if (unlikely(!lane))
        return false;
    __atomic_store_n(&lane->inside, lock_name(lock, lane), __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (likely(__atomic_load_n(&lock->bias, __ATOMIC_ACQUIRE) == self->bias))
        return true;
    __atomic_store_n(&lane->inside, 0, __ATOMIC_RELEASE);
    return false;
}

static inline void lock_exit(const struct lock_self *self)
{
    __atomic_store_n(&self->lane->inside, 0, __ATOMIC_RELEASE);
}

#endif
