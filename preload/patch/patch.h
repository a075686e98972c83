/*
 * Hot access sites. After some traps at an instruction it is replaced by a
 * jump to a trampoline (cpu/trampoline.h), which makes the access by the same
 * route, device and log as a trap does, as a call of ours on this thread: on
 * the stack of its system calls, with signals deferred as in one.
 *
 * The program's text changes by the kernel's own way past page protection
 * (/proc/self/mem): it is never writable, nor is a trampoline. Where that is
 * not to be had, nothing is patched.
 */
#ifndef MMIOSHIM_PATCH_PATCH_H
#define MMIOSHIM_PATCH_PATCH_H

#include <signal.h>
#include <ucontext.h>

#include "base/types.h"
#include "cpu/cpu.h"

/* From now on sites are patched. Ordinary context, once. */
void patch_start(void);
/* In the child of fork: its parent held the lock, and nothing was under way. */
void patch_after_fork(void);

/*
 * An access of this instruction was made in the trap; addr: its operand. Counts, and patches when it is time. Trap
 * context: asynchronous signals masked, no lock held.
 */
void patch_trapped(const struct cpu_insn *insn, u64 at, u64 addr);
/* The instruction that the program has at an address where a jump of ours stands; NULL: none does. Any context. */
const struct cpu_insn *patch_insn(u64 at);
/* How often that was forgotten of some code, whose own bytes stood there again by then. Any context. */
u64 patch_forgotten(void);

/* Does an address lie in a jump or a trampoline of ours? Any context. */
bool patch_holds(u64 rip);
/*
 * The context of a signal: in a trampoline it becomes what the program would have seen. fault: the instruction at rip
 * raised it. False: the signal must wait until the access is complete (calls_defer). Any context.
 */
bool patch_interrupted(ucontext_t *uc, bool fault);
/* The same where the thread is inside of an access: it will look again for what was kept meanwhile. */
void patch_inside(ucontext_t *uc);
/* A general protection fault: did the thread meet text that changes? Then it goes on where that will lead. Any context. */
bool patch_stopped(ucontext_t *uc);

/* Nothing is patched from hold to release: the table of sites is whole. Any context, signals masked. */
void patch_hold(void);
void patch_release(void);
/* Is any code patched in a file of which a range is a part? Any context. */
bool patch_covers(u64 base, u64 size);
/* Code is about to be unmapped, or something else to be mapped there. In a call. */
void patch_forget(u64 base, u64 size);
/* The kernel or the program is about to change its bytes: the program's own stand there again. In a call. */
void patch_take_back(u64 base, u64 size);
/* The program may write there from now on: it is never patched again. In a call. */
void patch_leave_alone(u64 base, u64 size);
/* Nothing is patched any more, for good. In a call. */
void patch_stop(void);
/* The program forbids itself system calls, perhaps those that a patch takes: what is patched stays, nothing else is. */
void patch_freeze(void);
/* The process is about to die by a fault of its own: all text is as it was. Trap context. */
void patch_undo(void);

#endif
