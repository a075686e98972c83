/*
 * What stands between the program and the kernel: functions for its system
 * calls (calls.def; calls/calls.h tells how they come here), and a few libc
 * names, which only files of this room define. In a function for a call no
 * signal reaches the program, memory of the program may be bad and is read by
 * probe_read() alone, and libc is not called.
 */
#ifndef MMIOSHIM_INTERPOSE_INTERPOSE_H
#define MMIOSHIM_INTERPOSE_INTERPOSE_H

#include "base/sys.h"
#include "bus/bus.h"
#include "calls/calls.h"
#include "memory/view.h"

#define EXPORT __attribute__((visibility("default")))

/* The machine of this process; NULL: none. */
extern const struct machine *interpose_machine;
extern const struct view *interpose_view;
/* Rewrites the program's system calls, and answers them from now on. */
void interpose_start(const struct machine *machine, const struct view *view);

#define CALL(name, function) enum call_answer function(struct call *call);
#include "interpose/calls.def"
#undef CALL

/* The call is answered: with a result, or -errno. */
static inline enum call_answer call_done(struct call *call, long ret)
{
    call->ret = (u64)ret;
    return CALL_DONE;
}

/* The kernel's answer to the call as it is. It must not block. */
static inline long call_kernel(const struct call *call)
{
    return sys_call6((long)call->nr, (long)call->a[0], (long)call->a[1], (long)call->a[2], (long)call->a[3],
                     (long)call->a[4], (long)call->a[5]);
}

/* A string of the program, with its end, into `room` bytes. False: it is longer, or not to be read. */
bool interpose_string(u64 from, char *out, size_t room);

/* process.c */
/* What happens around exec and exit, told by shim.c. */
struct process_hooks {
    void (*before_exec)(bool leaves); /* leaves: the new program will not load us */
    void (*exec_failed)(bool left);
    void (*finish)(bool flush); /* the process ends now; may be called more than once. flush: exit() would */
    void (*child)(void);        /* in the child of fork */
};
void process_begin(const struct process_hooks *hooks);
/* Does our memory belong to this process? It is its parent's in a vfork child. */
bool process_own(void);

#endif
