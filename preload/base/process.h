/* Processes as the kernel tells of them. Any context. */
#ifndef MMIOSHIM_BASE_PROCESS_H
#define MMIOSHIM_BASE_PROCESS_H

#include "base/types.h"

/* Start time of a process (field 22 of /proc/PID/stat, proc(5)), 0 when there is none. */
u64 process_start(u32 pid);
/* Its parent, 0 when there is none. */
u32 process_parent(u32 pid);
/* Is this process traced (ptrace(2))? Also where that cannot be known. */
bool process_traced(void);
/* Is a process that had this pid and start time still there (not a zombie)? */
bool process_alive(u32 pid, u64 start);
/* The pid namespace of this process: numbers mean nothing elsewhere. */
u64 process_namespace(void);
/* In the child of fork: it may be the first process of a new one. */
void process_after_fork(void);

#endif
