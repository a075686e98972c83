/*
 * Makes a signal frame as the kernel does, on another stack, from the frame
 * that the kernel gave us. When our handler returns, the program's handler
 * starts on its own stack; when that returns, the program goes on where it was.
 * Layout: Linux arch/x86/include/asm/sigframe.h, struct rt_sigframe.
 */
#ifndef MMIOSHIM_TRAP_SIGFRAME_H
#define MMIOSHIM_TRAP_SIGFRAME_H

#include <signal.h>
#include <ucontext.h>

#include "base/types.h"

struct sigframe_plan {
    int sig;
    u64 handler;
    u64 restorer;       /* the program's own way back, when it does more than rt_sigreturn; 0: ours alone */
    u64 top;            /* highest address to use: the interrupted stack (below its red zone) or the end of another */
    u64 seen_mask;      /* what uc_sigmask and uc_stack tell the handler, and signals_leave() is told */
    stack_t seen_stack;
    u64 mask;           /* signals blocked in the kernel while the handler runs */
};

/* False: the stack cannot hold it, and nothing is changed. Trap context. */
bool sigframe_push(const struct sigframe_plan *plan, const siginfo_t *info, ucontext_t *uc);

#endif
