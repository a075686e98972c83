/*
 * A debugger that steps over a signal. Its single step ends in our SIGSEGV; it
 * then puts a breakpoint on the instruction that trapped, lets the handler
 * run, expects the handler to come back to that very instruction, takes the
 * breakpoint away and goes on stepping, by running the instruction natively,
 * where it would trap again. So after the access the thread goes back to the
 * instruction, with the registers that it has behind it, and a restartable
 * sequence (rseq(2)) of that one instruction: the kernel, which looks at it
 * whenever the thread was stopped in between, then sends the thread on to an
 * abort address instead: a jump behind the instruction, which is what the
 * debugger has stepped. The access is made once.
 *
 * A debugger that steps off a breakpoint of its own runs a copy of the
 * instruction elsewhere (displaced stepping: gdb at the program's entry), and
 * moves the result back. It shows by the trap that comes again; the sequence
 * is then that of the copy.
 *
 * Where libc has registered no rseq area, the thread goes on behind the
 * instruction at once, and the debugger's breakpoint is not hit.
 */
#ifndef MMIOSHIM_TRAP_STEPPING_H
#define MMIOSHIM_TRAP_STEPPING_H

#include <ucontext.h>

#include "base/types.h"

/*
 * Is a signal of the program about to be delivered where the handler returns to? Then it had better come before the
 * access than between the access and the debugger's breakpoint.
 */
bool stepping_signal_waits(const ucontext_t *uc);
/*
 * Is this the trap of an access that was already made, because the thread was not sent on from its instruction? Then uc
 * goes another way, and there is nothing else to do.
 */
bool stepping_again(ucontext_t *uc);
/* The access at `at`, where a breakpoint is, is done, and uc goes on behind it: it will, by way of the breakpoint. */
void stepping_return(ucontext_t *uc, u64 at);
/* A signal came while the thread was on that way: its context becomes that behind the instruction. */
void stepping_interrupted(ucontext_t *uc);

#endif
