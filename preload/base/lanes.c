#include "base/lanes.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <time.h>

#include "base/lock.h"
#include "base/process.h"
#include "base/sys.h"
#include "base/trapsafe.h"

struct lock_lanes {
    struct lock lock; /* who claims */
    u32 used;         /* lanes from here on never belonged to anybody: looking at them would bring pages to life */
    u32 hand;         /* where the search for lanes of the dead goes on */
    struct lock_lane lane[LOCK_LANES];
};

static struct lock_lanes *lanes;
static bool may_claim;
static bool sandboxed;

size_t lanes_bytes(void)
{
    return sizeof(struct lock_lanes);
}

static bool registered(void)
{
    return sys(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0) == 0 &&
           sys(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0) == 0;
}

void lanes_start(struct lock_lanes *table, bool member)
{
    lanes = table;
    may_claim = member && registered();
}

void lanes_after_fork(void)
{
    may_claim = may_claim && !sandboxed && registered();
}

void lanes_sandboxed(void)
{
    sandboxed = true;
}

static u32 used(void)
{
    u32 n = __atomic_load_n(&lanes->used, __ATOMIC_ACQUIRE);

    return MIN(n, LOCK_LANES);
}

static u64 identity(u32 pid, u32 tid)
{
    return (u64)pid << 32 | tid;
}

static bool change_owner(struct lock_lane *lane, u64 from, u64 to)
{
    return __atomic_compare_exchange_n(&lane->owner, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* --- who is gone --- */

/* Of this process, though under a number that is the same elsewhere? */
static bool near(const struct lock_lane *lane)
{
    return __atomic_load_n(&lane->namespace, __ATOMIC_RELAXED) == process_namespace();
}

static bool gone(const struct lock_lane *lane, u64 owner)
{
    u32 pid = (u32)(owner >> 32), tid = (u32)owner;

    if (!tid)
        return true;
    return near(lane) && (!process_alive(pid, __atomic_load_n(&lane->start, __ATOMIC_RELAXED)) ||
                          sys(SYS_tgkill, pid, tid, 0) == -ESRCH);
}

/* --- claims --- */

/* A lane of somebody who died inside a lock is left to who takes that lock. */
static bool reclaim(struct lock_lane *lane)
{
    u64 owner = __atomic_load_n(&lane->owner, __ATOMIC_ACQUIRE);

    return owner && !__atomic_load_n(&lane->inside, __ATOMIC_ACQUIRE) && gone(lane, owner) &&
           change_owner(lane, owner, 0);
}

/* A lane that is free, made so if need be; LOCK_LANES: none. The table's lock is held. */
static u32 find(void)
{
    u32 n = used();
    u32 looks = sandboxed ? 0 : MIN(n, n == LOCK_LANES ? 64u : 2u); /* each costs some 20 us, and system calls */

    for (u32 i = 0; i < n; i++)
        if (!__atomic_load_n(&lanes->lane[i].owner, __ATOMIC_ACQUIRE))
            return i;
    for (u32 i = 0; i < looks; i++) {
        u32 at = lanes->hand++ % n;

        if (reclaim(&lanes->lane[at]))
            return at;
    }
    if (n < LOCK_LANES)
        __atomic_store_n(&lanes->used, n + 1, __ATOMIC_RELEASE);
    return n;
}

bool lane_claim(struct lock_self *self)
{
    struct lock_lane *lane;
    u32 n;

    if (self->lane)
        return true;
    if (!lanes || !may_claim || self->laneless)
        return false;
    lock_take(&lanes->lock, self);
    n = find();
    if (n < LOCK_LANES) {
        lane = &lanes->lane[n];
        __atomic_store_n(&lane->start, self->start, __ATOMIC_RELAXED);
        __atomic_store_n(&lane->namespace, process_namespace(), __ATOMIC_RELAXED);
        /* A full barrier: who takes a bias away and still finds the lane free need not think of us. */
        __atomic_exchange_n(&lane->owner, identity(self->pid, self->tid), __ATOMIC_SEQ_CST);
        self->bias = n + 1;
        self->lane = lane;
    }
    lock_release(&lanes->lock, self);
    self->laneless = !self->lane;
    return self->lane != NULL;
}

void lane_drop(struct lock_self *self)
{
    struct lock_lane *lane = self->lane;

    self->lane = NULL;
    self->bias = 0;
    if (lane)
        change_owner(lane, identity(self->pid, self->tid), 0);
}

void lane_inherit(struct lock_self *self, u32 from_tid)
{
    self->laneless = false;
    if (!self->lane || change_owner(self->lane, identity(self->pid, from_tid), identity(self->pid, self->tid)))
        return;
    /* Somebody else needed it, or it was the parent's of this process. */
    self->lane = NULL;
    self->bias = 0;
}

void lanes_forget(const struct lock_self *self)
{
    for (u32 i = 0; lanes && i < used(); i++) {
        struct lock_lane *lane = &lanes->lane[i];
        u64 owner = __atomic_load_n(&lane->owner, __ATOMIC_ACQUIRE);

        if ((u32)(owner >> 32) == self->pid && lane->start == self->start && near(lane))
            change_owner(lane, owner, lane->inside ? identity(self->pid, 0) : 0);
    }
}

/* --- taking a bias away --- */

static void sleep_for(u64 microseconds)
{
    struct timespec time = {.tv_nsec = (long)(microseconds * 1000)};

    sys(SYS_nanosleep, &time, NULL);
}

/* Every thread of the lane's process that runs now has run through a full barrier when this returns. */
static void fence(const struct lock_lane *lane, u64 owner, const struct lock_self *self)
{
    bool own = (u32)(owner >> 32) == self->pid && __atomic_load_n(&lane->start, __ATOMIC_RELAXED) == self->start &&
               near(lane);

    if (!sandboxed && own && sys(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0) == 0)
        return;
    if (!sandboxed && sys(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0) == 0)
        return;
    /* A store does not stay in a processor's buffer for a millisecond: it is there for some 100 instructions. */
    sleep_for(2000);
}

/* Is who is inside gone, or, if nobody can tell, has it been waited for long enough? */
static bool given_up(const struct lock_lane *lane, u64 waited)
{
    u64 owner = __atomic_load_n(&lane->owner, __ATOMIC_ACQUIRE);

    if (!owner)
        return false; /* a new owner looks, and goes away again */
    return gone(lane, owner) || (!near(lane) && waited > LANES_PATIENCE * 1000);
}

/* True: it died there. */
static bool await(struct lock_lane *lane, u64 name)
{
    u64 waited = 0, moment = 20, next_look = 0; /* microseconds */

    for (unsigned n = 0; __atomic_load_n(&lane->inside, __ATOMIC_ACQUIRE) == name; n++) {
        if (n < 200) {
            __builtin_ia32_pause();
        } else if (n < 210) {
            sys(SYS_sched_yield);
        } else if (waited >= next_look && given_up(lane, waited)) {
            u64 seen = name;

            return __atomic_compare_exchange_n(&lane->inside, &seen, 0, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
        } else {
            next_look = waited >= next_look ? waited + 50 * 1000 : next_look;
            sleep_for(moment);
            waited += moment;
            moment = MIN(moment * 2, (u64)1000);
        }
    }
    return false;
}

bool lane_evict(u32 number, const struct lock *lock, const struct lock_self *self)
{
    struct lock_lane *lane;
    u64 owner;

    if (!lanes || number >= LOCK_LANES)
        return false;
    lane = &lanes->lane[number];
    owner = __atomic_load_n(&lane->owner, __ATOMIC_ACQUIRE);
    if (!owner)
        return false;
    fence(lane, owner, self);
    return await(lane, lock_name(lock, lane));
}
