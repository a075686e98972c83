/*
 * Behind an access the program goes on without rt_sigreturn: its vector state,
 * its signal mask and its registers are put back from here, in 0.13 of a bare
 * trap less. rt_sigreturn it is wherever that is not the same: single steps and
 * alignment checks, shadow stacks, other segments than usual, a trap within a
 * handler that runs on our stack, a program with system calls forbidden.
 *
 * Signals stay blocked by the kernel until the mask is back. One that comes in
 * the few instructions behind that finds a frame on our stack, and a context
 * of ours. Its handler's entry asks resume_interrupted(), and brings both to
 * where they belong.
 */
#ifndef MMIOSHIM_TRAP_RESUME_H
#define MMIOSHIM_TRAP_RESUME_H

#include <ucontext.h>

#include "trap/thread.h"

/*
 * The program goes on with uc, the frame of the fault that this handler is called for: the caller's frames are gone.
 * Returns where rt_sigreturn has to do it. signals: how many may come at once, whose frames must find room.
 */
void resume(const struct thread *thread, ucontext_t *uc, u32 signals);
/* Does this thread handle its faults on the stack that an address lies in? */
static inline bool resume_on_stack(const struct thread *t, u64 at)
{
    return at - (u64)t->stack < THREAD_STACK;
}

/* The context of a signal: if it is on that way, it becomes what is at its end, and the answer is true. */
bool resume_interrupted(ucontext_t *uc);
/* The program has restricted its system calls: no way but rt_sigreturn, which no filter can do without. Any context. */
void resume_never(void);

#endif
