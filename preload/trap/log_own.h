/* What the files of the log share. Signals masked. */
#ifndef MMIOSHIM_TRAP_LOG_OWN_H
#define MMIOSHIM_TRAP_LOG_OWN_H

#include <time.h>

#include "memory/arena.h"
#include "trap/thread.h"

struct arena *log_arena(void);
void log_take(struct thread *thread);
void log_release(struct thread *thread);

/* Nanoseconds since 1970. */
static inline u64 log_clock(void)
{
    struct timespec now = {0, 0};

    clock_gettime(CLOCK_REALTIME, &now);
    return (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
}

#endif
