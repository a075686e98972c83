#include "base/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <time.h>

#include "base/process.h"
#include "base/sys.h"
#include "base/trapsafe.h"

#define WAITERS 0x80000000u

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

static void own(struct lock *lock, const struct lock_self *self)
{
    __atomic_store_n(&lock->pid, self->pid, __ATOMIC_RELAXED);
    __atomic_store_n(&lock->start, self->start, __ATOMIC_RELAXED);
}

bool lock_take(struct lock *lock, const struct lock_self *self)
{
    u32 seen = 0;

    if (likely(__atomic_compare_exchange_n(&lock->owner, &seen, self->tid, false, __ATOMIC_ACQUIRE,
                                           __ATOMIC_RELAXED))) {
        own(lock, self);
        return false;
    }
    for (;;) {
        struct timespec patience = {.tv_nsec = 50 * 1000 * 1000};
        u32 before = seen;

        if (seen == 0) {
            /* Others may still sleep: keep the mark, one needless wake at most. */
            if (__atomic_compare_exchange_n(&lock->owner, &seen, self->tid | WAITERS, false, __ATOMIC_ACQUIRE,
                                            __ATOMIC_RELAXED)) {
                own(lock, self);
                return false;
            }
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
