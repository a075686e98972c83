/* Shared by the files about signals: actions (signals.c), masks (masks.c), SIGSEGVs that wait (pending.c). */
#ifndef MMIOSHIM_TRAP_SIGSTATE_H
#define MMIOSHIM_TRAP_SIGSTATE_H

#include "trap/signals.h"
#include "trap/thread.h"

#define SEGV signal_bit(SIGSEGV)
/*
 * The kernel's mask never holds SIGSEGV. While a handler runs that has it blocked, SIGCANCEL of glibc stands in for
 * it: whatever saves, restores or inherits the mask (sigreturn, siglongjmp, swapcontext, handlers of other signals)
 * takes this along, as it would SIGSEGV. Only glibc blocks it, for a moment together with everything else, and in the
 * thread that waits for timers: struct thread knows of that (held_really). The price: a cancellation that finds the
 * thread in such a handler waits for the handler's end. What a program blocks outside handlers, often for the whole
 * life of a thread, is therefore kept in its struct thread (segv_blocked).
 */
#define HELD signal_bit(32)

/* False in a vfork child: what it sees is its parent's. */
bool signals_own_memory(void);
/* Sends a signal to this thread, as it came. */
void signals_send(int sig, const siginfo_t *info);

/* Keeps a SIGSEGV, for the thread or for the process, as it was sent. */
void pending_keep(struct thread *t, const siginfo_t *info);
bool pending_any(const struct thread *t);
/* Sends what is kept again. */
void pending_send(void);
void pending_after_fork(void);

/* The mask that the kernel has for this thread, or will have when the call under way is over. */
u64 masks_kernel(void);
long masks_set_kernel(u64 mask);
/* Does SIGCANCEL stand in for SIGSEGV there? */
u64 masks_held(const struct thread *t, u64 kernel);
/* The mask as the program believes it to be. */
u64 masks_program(const struct thread *t, u64 kernel);
/* Sends what is kept, to be delivered when the program goes on. */
void masks_send_kept(struct thread *t);

#endif
