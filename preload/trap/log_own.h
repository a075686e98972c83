/* The log's lock, for the files that make it up. Signals masked. */
#ifndef MMIOSHIM_TRAP_LOG_OWN_H
#define MMIOSHIM_TRAP_LOG_OWN_H

#include "memory/arena.h"
#include "trap/thread.h"

struct arena *log_arena(void);
void log_take(struct thread *thread);
void log_release(struct thread *thread);

#endif
