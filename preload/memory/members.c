/* The processes of a machine: who takes part, who is gone, who is the last. */
#include <time.h>

#include "base/process.h"
#include "base/sys.h"
#include "memory/arena.h"

static struct arena_member *members(struct arena *arena)
{
    return arena_at(arena, arena->members);
}

/* How much of the table there is to look at. What another process wrote is not trusted. */
static u32 used(struct arena *arena)
{
    u32 n = __atomic_load_n(&arena->members_used, __ATOMIC_ACQUIRE);

    return MIN(n, ARENA_MEMBERS);
}

/* Drops entries of processes that ended without leaving. Returns how many are left. Lock held. */
static unsigned reap(struct arena *arena)
{
    struct arena_member *m = members(arena);
    unsigned alive = 0;

    for (u32 i = 0; i < used(arena); i++) {
        if (!m[i].pid)
            continue;
        /* Processes of another pid namespace cannot be asked after: they are believed to live. */
        if (m[i].namespace != process_namespace() || process_alive(m[i].pid, m[i].start)) {
            alive++;
            continue;
        }
        if (m[i].flags & MEMBER_SCANNED)
            arena->killed++;
        m[i] = (struct arena_member){0};
    }
    return alive;
}

static struct arena_member *member_find(struct arena *arena, u32 pid)
{
    struct arena_member *m = members(arena);

    for (u32 i = 0; i < used(arena); i++)
        if (m[i].pid == pid && (!pid || m[i].namespace == process_namespace()))
            return &m[i];
    return NULL;
}

/* A free entry, NULL: there is none. Lock held. */
static struct arena_member *member_new(struct arena *arena)
{
    struct arena_member *free = member_find(arena, 0);
    u32 next = used(arena);

    if (free || next == ARENA_MEMBERS)
        return free;
    __atomic_store_n(&arena->members_used, next + 1, __ATOMIC_RELEASE);
    return &members(arena)[next];
}

void member_join(struct arena *arena, const struct lock_self *self, u32 flags)
{
    struct arena_member *mine;

    lock_take(&arena->members_lock, self);
    mine = member_find(arena, self->pid);
    if (!mine || mine->start != self->start) {
        if (reap(arena) == 0)
            arena->session++;
        if (arena->pending)
            arena->pending--;
        mine = member_new(arena);
        if (mine)
            *mine = (struct arena_member){.pid = self->pid, .start = self->start, .namespace = process_namespace()};
    }
    if (mine)
        mine->flags |= flags;
    lock_release(&arena->members_lock, self);
}

void member_flag(struct arena *arena, const struct lock_self *self, u32 flags)
{
    struct arena_member *mine = member_find(arena, self->pid);

    if (mine)
        __atomic_fetch_or(&mine->flags, flags, __ATOMIC_RELAXED);
}

u32 member_flags(struct arena *arena, u32 pid)
{
    const struct arena_member *mine = pid ? member_find(arena, pid) : NULL;

    return mine ? __atomic_load_n(&mine->flags, __ATOMIC_RELAXED) : 0;
}

void member_expect(struct arena *arena, int children)
{
    __atomic_fetch_add(&arena->pending, (u32)children, __ATOMIC_RELAXED);
}

void member_stays_out(struct arena *arena, const struct lock_self *self)
{
    struct arena_member *mine;

    lock_take(&arena->members_lock, self);
    mine = member_find(arena, self->pid);
    if (mine)
        *mine = (struct arena_member){0};
    else if (arena->pending)
        arena->pending--;
    lock_release(&arena->members_lock, self);
}

/*
 * Nobody is left but children that are being made: gives them a moment to join. One that never will (a static
 * program, a failed fork) is given up. Lock held, and let go meanwhile.
 */
static unsigned await_children(struct arena *arena, const struct lock_self *self)
{
    struct timespec moment = {.tv_nsec = 1000 * 1000};
    unsigned alive = reap(arena);
    u64 session = arena->session, killed = arena->killed;

    for (int tries = 0; !alive && arena->pending && tries < 100; tries++) {
        lock_release(&arena->members_lock, self);
        sys(SYS_nanosleep, &moment, NULL);
        lock_take(&arena->members_lock, self);
        alive = reap(arena);
    }
    /* One that came meanwhile, and is gone again, was the last: the machine's affairs are settled. */
    if (!alive && arena->session != session && arena->killed == killed)
        return 1;
    if (!alive)
        arena->pending = 0;
    return alive;
}

static bool anybody_touched(struct arena *arena)
{
    const struct arena_member *m = members(arena);

    for (u32 i = 0; i < used(arena); i++)
        if (m[i].pid && (m[i].flags & MEMBER_TOUCHED))
            return true;
    return false;
}

struct member_rest member_leave(struct arena *arena, const struct lock_self *self)
{
    struct member_rest rest = {false, false};
    struct arena_member *mine;

    lock_take(&arena->members_lock, self);
    mine = member_find(arena, self->pid);
    if (mine) {
        *mine = (struct arena_member){0};
        rest.none = await_children(arena, self) == 0;
        rest.untouched = !anybody_touched(arena);
    }
    lock_release(&arena->members_lock, self);
    return rest;
}

unsigned member_count(struct arena *arena)
{
    struct arena_member *m = members(arena);
    unsigned alive = 0;

    for (u32 i = 0; i < used(arena); i++)
        alive += m[i].pid && process_alive(m[i].pid, m[i].start);
    return alive;
}
