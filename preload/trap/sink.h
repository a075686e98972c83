/*
 * Where the lines of the transcript go: standard error as the process started,
 * a file that processes share, or a file for each process. Log lock held.
 */
#ifndef MMIOSHIM_TRAP_SINK_H
#define MMIOSHIM_TRAP_SINK_H

#include "memory/arena.h"

/*
 * Opens what MMIOSHIM_LOG says. joined: this process did not make the machine. mapped: it will be mapped, not written to.
 * 0 or more, or -errno. Ordinary context.
 */
long sink_open(struct arena *arena, const char *path, bool joined, bool mapped);
/* The file, which need not be there before the first event; -1: there is none. */
int sink_descriptor(void);
/* Is it a file that can be mapped, as far as is known by now? */
bool sink_mappable(void);
/* The process is dying of a signal: from now on a reader that does not come on is not waited for. */
void sink_hurry(void);
/* What was to be opened cannot be: every line is lost, and counted. */
void sink_give_up(void);
/* Is anything written at all? */
bool sink_wanted(void);
/* %p: every process writes to a file of its own. */
bool sink_per_process(void);
/*
 * Writes whole lines. False: they are lost, all or their end. blocked: signals that the program itself has blocked.
 * Trap context.
 */
bool sink_put(const char *text, size_t len, u64 blocked);
/* Is this the first time that the machine writes to this file? False: there is no file to write to (yet). */
bool sink_first(bool *first);
/* In the child of fork. */
void sink_after_fork(void);

#endif
