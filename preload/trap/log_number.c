/* Numbers of events, in the order of the machine. */
#include "trap/log_own.h"

#include "trap/log.h"
#include "base/trapsafe.h"

static u64 quiet_accesses(const struct arena_device *d)
{
    return __atomic_load_n(&d->quiet[0], __ATOMIC_RELAXED) + __atomic_load_n(&d->quiet[1], __ATOMIC_RELAXED);
}

/* Has next_seq been told of all quiet accesses? It is told before that is noted, so that none is overlooked. */
static bool all_numbered(struct arena *arena)
{
    bool all = __atomic_load_n(&arena->quiet_holes, __ATOMIC_RELAXED) == __atomic_load_n(&arena->numbered_holes, __ATOMIC_ACQUIRE);

    for (u32 i = 0; i < arena->ndevices && all; i++) {
        const struct arena_device *d = &arena_devices(arena)[i];

        all = quiet_accesses(d) == __atomic_load_n(&d->numbered, __ATOMIC_ACQUIRE);
    }
    return all;
}

static void number_one(struct arena *arena, u64 *numbered, u64 quiet)
{
    if (quiet == *numbered)
        return;
    __atomic_fetch_add(&arena->next_seq, quiet - *numbered, __ATOMIC_RELAXED);
    __atomic_store_n(numbered, quiet, __ATOMIC_RELEASE);
}

/* The log's lock is held. */
static void number_quiet(struct arena *arena)
{
    number_one(arena, &arena->numbered_holes, __atomic_load_n(&arena->quiet_holes, __ATOMIC_RELAXED));
    for (u32 i = 0; i < arena->ndevices; i++)
        number_one(arena, &arena_devices(arena)[i].numbered, quiet_accesses(&arena_devices(arena)[i]));
}

u64 log_number(struct thread *t, bool locked)
{
    struct arena *arena = log_arena();

    if (unlikely(arena->quiet_begun) && (locked || !all_numbered(arena))) {
        if (!locked)
            log_take(t);
        number_quiet(arena);
        if (!locked)
            log_release(t);
    }
    return __atomic_add_fetch(&arena->next_seq, 1, __ATOMIC_RELAXED);
}
