#include "base/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <time.h>

#include "base/process.h"
#include "base/sys.h"
#include "base/trapsafe.h"

#define WAITERS  0x80000000u
#define REVOKING 0x80000000u

/* How long a bias has to last, in milliseconds, to have been worth it, and not to have been. */
#define LONG_ENOUGH 100u
#define TOO_SHORT   10u

static long futex(u32 *word, int op, u32 value, const struct timespec *timeout)
{
    return sys(SYS_futex, word, op, value, timeout);
}

void lock_forget(struct lock *lock, const struct lock_self *self)
{
    u32 seen = __atomic_load_n(&lock->owner, __ATOMIC_ACQUIRE);
    u32 pid = __atomic_load_n(&lock->pid, __ATOMIC_RELAXED);

    if ((seen & ~WAITERS) != self->tid || (pid && pid != self->pid))
        return;
    if (__atomic_compare_exchange_n(&lock->owner, &seen, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED) && (seen & WAITERS))
        futex(&lock->owner, FUTEX_WAKE, 1, NULL);
}

/* --- bias --- */

/* A clock that needs no time stamp counter, which a program may have forbidden itself (PR_SET_TSC). */
static u32 milliseconds(void)
{
    struct timespec now = {0, 0};

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (u32)((u64)now.tv_sec * 1000 + (u64)now.tv_nsec / 1000000);
}

/*
 * The owner of the lock takes away the bias that somebody else has. One that dies in the middle leaves the mark, and
 * the next owner waits for the lane again. True: whoever was inside died there.
 */
static bool revoke(struct lock *lock, const struct lock_self *self)
{
    u32 bias = __atomic_fetch_or(&lock->bias, REVOKING, __ATOMIC_SEQ_CST) & ~REVOKING;
    bool died = bias && lane_evict(bias - 1, lock, self);
    u32 lasted = milliseconds() - lock->since;

    if (lasted >= LONG_ENOUGH && lock->reluctant)
        lock->reluctant--;
    else if (lasted < TOO_SHORT && lock->reluctant < LOCK_RELUCTANT)
        lock->reluctant++;
    lock->revoked++;
    lock->streak = 0;
    __atomic_store_n(&lock->bias, 0, __ATOMIC_RELEASE);
    return died;
}

bool lock_ripe(const struct lock *lock, const struct lock_self *self)
{
    u32 doubled = MIN(lock->reluctant, LOCK_RELUCTANT);

    return lock->last == self->tid && lock->streak + 1 >= LOCK_STREAK << doubled;
}

void lock_release_biased(struct lock *lock, const struct lock_self *self)
{
    bool alone = !(__atomic_load_n(&lock->owner, __ATOMIC_RELAXED) & WAITERS);

    if (lock->bias) { /* to this thread */
        lock_release(lock, self);
        return;
    }
    if (alone && self->lane && lock_ripe(lock, self)) {
        lock->since = milliseconds();
        lock->streak = 0;
        __atomic_store_n(&lock->bias, self->bias, __ATOMIC_RELAXED);
    } else if (alone && lock->last == self->tid) {
        lock->streak += lock->streak < UINT32_MAX - 1;
    } else {
        lock->last = self->tid;
        lock->streak = alone;
    }
    lock_release(lock, self);
}

/* --- take and release --- */

/* Did the holder die? Called after a while of waiting, never on the fast path. */
static bool holder_is_dead(const struct lock *lock, u32 owner)
{
    u32 pid = __atomic_load_n(&lock->pid, __ATOMIC_RELAXED);
    u64 start = __atomic_load_n(&lock->start, __ATOMIC_RELAXED);

    if (!pid)
        return sys(SYS_kill, owner & ~WAITERS, 0) == -ESRCH;
    if (!process_alive(pid, start))
        return true;
    return sys(SYS_tgkill, pid, owner & ~WAITERS, 0) == -ESRCH;
}

/* The word is ours. True: who was inside by bias died there. */
static bool own(struct lock *lock, const struct lock_self *self)
{
    u32 bias = __atomic_load_n(&lock->bias, __ATOMIC_RELAXED);

    __atomic_store_n(&lock->pid, self->pid, __ATOMIC_RELAXED);
    __atomic_store_n(&lock->start, self->start, __ATOMIC_RELAXED);
    return unlikely(bias && bias != self->bias) && revoke(lock, self);
}

bool lock_take(struct lock *lock, const struct lock_self *self)
{
    u32 seen = 0;

    if (likely(__atomic_compare_exchange_n(&lock->owner, &seen, self->tid, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)))
        return own(lock, self);
    for (;;) {
        struct timespec patience = {.tv_nsec = 50 * 1000 * 1000};
        u32 before = seen;

        if (seen == 0) {
            /* Others may still sleep: keep the mark, one needless wake at most. */
            if (__atomic_compare_exchange_n(&lock->owner, &seen, self->tid | WAITERS, false, __ATOMIC_ACQUIRE,
                                            __ATOMIC_RELAXED))
                return own(lock, self);
            continue;
        }
        if (!(seen & WAITERS)) {
            if (!__atomic_compare_exchange_n(&lock->owner, &seen, seen | WAITERS, false, __ATOMIC_RELAXED,
                                             __ATOMIC_RELAXED))
                continue;
            seen |= WAITERS;
        }
        if (futex(&lock->owner, FUTEX_WAIT, seen, &patience) == -ETIMEDOUT && holder_is_dead(lock, seen)) {
            before = seen;
            if (__atomic_compare_exchange_n(&lock->owner, &before, self->tid | WAITERS, false, __ATOMIC_ACQUIRE,
                                            __ATOMIC_RELAXED)) {
                own(lock, self);
                return true;
            }
        }
        seen = __atomic_load_n(&lock->owner, __ATOMIC_RELAXED);
    }
}

void lock_release(struct lock *lock, const struct lock_self *self)
{
    (void)self;
    __atomic_store_n(&lock->pid, 0, __ATOMIC_RELAXED);
    if (__atomic_exchange_n(&lock->owner, 0, __ATOMIC_RELEASE) & WAITERS)
        futex(&lock->owner, FUTEX_WAKE, 1, NULL);
}
