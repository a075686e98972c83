/*
 * Lanes: where threads say which biased lock they are inside of (base/lock.h).
 * One cache line for each, in memory that all processes of the machine share.
 *
 * A lane belongs to a thread from the time that it first wants one. It goes
 * with the thread's slot (trap/thread.h) to the next thread, and lanes of
 * processes and threads that are gone are found by those that need one. Locks
 * that are biased to a lane stay so: whoever gets it inherits them, which is as
 * good as any bias, because one lane is one thread at a time.
 *
 * Processes of another pid namespace cannot be asked after: their lanes are
 * never taken over, and a thread of theirs that does not come out of a lock is
 * given up after LANES_PATIENCE.
 */
#ifndef MMIOSHIM_BASE_LANES_H
#define MMIOSHIM_BASE_LANES_H

#include "base/types.h"

#define LOCK_LANES     4096u
#define LANES_PATIENCE 1000u /* milliseconds */

struct lock;

struct lock_lane {
    u64 inside;    /* lock_name() of the lock that the thread is inside of, or looks at; 0: none */
    u64 owner;     /* pid << 32 | tid, 0 = free; tid 0: its program is gone, by exec */
    u64 start;     /* start time of the owner's process */
    u64 namespace; /* its pid namespace */
} __attribute__((aligned(64)));

struct lock_lanes; /* the table, all zero at first */

/* Who takes locks: filled once per thread. */
struct lock_self {
    u32 tid;
    u32 pid;
    u64 start;
    struct lock_lane *lane; /* NULL: none */
    u32 bias;               /* what `bias` is in locks that are biased to this lane */
    bool laneless;          /* it shall have none: there was none left, or tasks share this */
};

/* The same in every process, wherever it has mapped both. */
static inline u64 lock_name(const struct lock *lock, const struct lock_lane *lane)
{
    return (u64)(uintptr_t)lock - (u64)(uintptr_t)lane;
}

size_t lanes_bytes(void);
/*
 * The lanes of the locks that this process takes. member: it may have lanes of its own (if the kernel has membarrier),
 * and not only take locks from those who have. Ordinary context, while the process has one thread: later it takes long.
 */
void lanes_start(struct lock_lanes *table, bool member);
/* In the child of fork, for whom its parent's lanes are somebody else's. */
void lanes_after_fork(void);
/* Gives up what this process had before exec; called before this thread has a lane. */
void lanes_forget(const struct lock_self *self);
/* The program may forbid itself system calls that it does not make: from now on we do without membarrier. */
void lanes_sandboxed(void);

/* A lane for this thread, if it has none yet. False: it cannot have one. Locks may be held. */
bool lane_claim(struct lock_self *self);
/* Gives it back. Not inside a lock. */
void lane_drop(struct lock_self *self);
/* The slot of a thread that is gone is now that of `self`, its lane with it. */
void lane_inherit(struct lock_self *self, u32 from_tid);

/*
 * Waits until the thread whose lane has this number is not inside a lock whose bias was taken from it, after a full
 * barrier. True: it died there. For lock_take().
 */
bool lane_evict(u32 number, const struct lock *lock, const struct lock_self *self);

#endif
