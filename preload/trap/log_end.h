/* What ends a transcript. Log lock held, signals masked. */
#ifndef MMIOSHIM_TRAP_LOG_END_H
#define MMIOSHIM_TRAP_LOG_END_H

#include "memory/arena.h"
#include "trap/thread.h"

/* In the order of options.def. */
enum log_format { LOG_TEXT, LOG_JSON, LOG_MMIOTRACE, LOG_RING };

void log_end_dirty(struct thread *thread, struct machine *machine, enum log_format format);
void log_end_exit(struct thread *thread, struct machine *machine, enum log_format format, const struct arena_counters *counters);

#endif
