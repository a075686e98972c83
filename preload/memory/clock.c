#include "memory/clock.h"

#include <time.h>

#include "base/trapsafe.h"

static u64 read_clock(clockid_t id)
{
    struct timespec t = {0, 0};

    clock_gettime(id, &t);
    return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

u64 clock_now(const struct arena *arena)
{
    return arena->clock_virtual ? __atomic_load_n(&arena->virtual_now, __ATOMIC_RELAXED) : read_clock(CLOCK_MONOTONIC);
}

u64 clock_wall(const struct arena *arena)
{
    return arena->clock_virtual ? CLOCK_EPOCH + clock_now(arena) : read_clock(CLOCK_REALTIME);
}

static void sooner(struct arena *arena, u64 ns)
{
    u64 seen = __atomic_load_n(&arena->next_deadline, __ATOMIC_SEQ_CST);

    while (ns < seen && !__atomic_compare_exchange_n(&arena->next_deadline, &seen, ns, false, __ATOMIC_SEQ_CST,
                                                     __ATOMIC_SEQ_CST))
        ;
}

void clock_ask(struct arena *arena, u32 device, u64 ns)
{
    __atomic_store_n(&arena_devices(arena)[device].deadline, ns, __ATOMIC_SEQ_CST);
    sooner(arena, ns);
}

/* A deadline that is asked for meanwhile is either seen here, or lowers next_deadline after it was forgotten. */
int clock_next_due(struct arena *arena)
{
    u64 now = clock_now(arena), deadline;
    int found = -1;

    if (now < __atomic_load_n(&arena->next_deadline, __ATOMIC_SEQ_CST))
        return -1;
    __atomic_store_n(&arena->next_deadline, CLOCK_NEVER, __ATOMIC_SEQ_CST);
    for (u32 i = 0; i < arena->ndevices; i++) {
        u64 *wanted = &arena_devices(arena)[i].deadline;

        deadline = __atomic_load_n(wanted, __ATOMIC_SEQ_CST);
        if (found < 0 && deadline <= now &&
            __atomic_compare_exchange_n(wanted, &deadline, CLOCK_NEVER, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            found = (int)i;
        else
            sooner(arena, deadline);
    }
    return found;
}

u64 clock_next(const struct arena *arena)
{
    return __atomic_load_n(&arena->next_deadline, __ATOMIC_SEQ_CST);
}

void clock_jump(struct arena *arena, u64 most)
{
    u64 now = __atomic_load_n(&arena->virtual_now, __ATOMIC_RELAXED), next;

    do {
        next = clock_next(arena);
        if (next <= now)
            return; /* somebody is to be served first */
        if (most < next - now)
            next = now + most;
    } while (next != CLOCK_NEVER && !__atomic_compare_exchange_n(&arena->virtual_now, &now, next, false, __ATOMIC_RELAXED,
                                                        __ATOMIC_RELAXED));
}
