/*
 * The machine's time, and who wants to be woken when. All of it lies in the
 * arena: one time for all processes.
 *
 * Real: the host's clocks. Virtual (MMIOSHIM_CLOCK=virtual): begins at 0, and
 * wall clocks at 2020-01-01 UTC; each access to a window takes CLOCK_STEP, and
 * nothing else takes time but waiting (clock_jump).
 */
#ifndef MMIOSHIM_MEMORY_CLOCK_H
#define MMIOSHIM_MEMORY_CLOCK_H

#include "memory/arena.h"

#define CLOCK_STEP  1000u /* nanoseconds of virtual time for an access */
#define CLOCK_EPOCH (1577836800ull * 1000000000u) /* 2020-01-01, in ns since 1970 */
#define CLOCK_NEVER UINT64_MAX

/* Nanoseconds. Any context. */
u64 clock_now(const struct arena *arena);
u64 clock_wall(const struct arena *arena);
static inline bool clock_virtual(const struct arena *arena)
{
    return arena->clock_virtual;
}

/* A device wants service() at that time, and no more at an earlier one. The device's lock is held. */
void clock_ask(struct arena *arena, u32 device, u64 ns);
/* An access was made. True: a device is to be served (clock_next_due). */
static inline bool clock_tick(struct arena *arena)
{
    if (likely(!arena->clock_virtual))
        return false;
    return __atomic_add_fetch(&arena->virtual_now, CLOCK_STEP, __ATOMIC_RELAXED) >=
           __atomic_load_n(&arena->next_deadline, __ATOMIC_RELAXED);
}
/*
 * Takes a device whose time has come off the list: its number, or -1: none is left. Each is found by one caller.
 * Whoever is late finds none.
 */
int clock_next_due(struct arena *arena);
/* When the next one wants to be served, CLOCK_NEVER: none does. */
u64 clock_next(const struct arena *arena);
/* Virtual time goes on to the next time that a device waits for, or by `most` nanoseconds if that is nearer. */
void clock_jump(struct arena *arena, u64 most);

#endif
