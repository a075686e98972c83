/* Shared by the files about signals: actions (signals.c), masks (masks.c), SIGSEGVs that wait (pending.c),
   the alternate stack (altstack.c). */
#ifndef MMIOSHIM_TRAP_SIGSTATE_H
#define MMIOSHIM_TRAP_SIGSTATE_H

#include "base/mem.h"
#include "trap/signals.h"
#include "trap/thread.h"

#define SEGV signal_bit(SIGSEGV)
/*
 * The kernel's mask never holds SIGSEGV: whether the program has it blocked is in its struct thread (segv_blocked), and
 * is brought there wherever a mask comes from. Those are the calls that set one, also within siglongjmp and
 * swapcontext, the entry of every handler, and its return, which passes through signals_leave() for that.
 */

/* False in a vfork child: what it sees is its parent's. */
bool signals_own_memory(void);
/* Sends a signal to this thread, as it came. */
void signals_send(int sig, const siginfo_t *info);

/* --- actions: signals.c --- */

extern signals_fault signals_handle_fault;
extern u32 signals_owner;  /* process that may settle the machine's affairs: not a vfork child */
extern u32 signals_piling; /* how many frames the kernel may put on one stack before any handler runs; SIGNALS: any number */
/* The program's action. */
struct kernel_action signals_get(int sig);
/* signal(7): the default of these is to go on, or to stop. */
bool signals_default_ends(int sig);
/* Signals that the handler has blocked besides those of the interrupted code. */
u64 signals_blocked_by(int sig, const struct kernel_action *a);
/* Runs the program's handler next, as the kernel would have. False: no room for its frame. */
bool signals_run(int sig, const struct kernel_action *a, const siginfo_t *info, ucontext_t *uc);
/* The default action: the instruction faults again, or the signal comes again, and nobody is there to catch it. */
void signals_die(int sig, const siginfo_t *info, bool again);

/* Keeps a SIGSEGV, for the thread or for the process, as it was sent. */
void pending_keep(struct thread *t, const siginfo_t *info);
bool pending_any(const struct thread *t);
/* Sends what is kept again. */
void pending_send(void);
void pending_after_fork(void);
/* SIGSEGV is ignored from now on. */
void pending_discard(struct thread *t);

/* The mask that the kernel has for this thread, or will have when the call under way is over. */
u64 masks_kernel(void);
long masks_set_kernel(u64 mask);
/* The mask as the program believes it to be. */
u64 masks_program(const struct thread *t, u64 kernel);
/* Sends what is kept, to be delivered when the program goes on. */
void masks_send_kept(struct thread *t);
/*
 * In a call: this signal is about to be sent, and waits with all others in the kernel until the program goes on, instead
 * of being deferred when it is here. Nothing where it is blocked anyway.
 */
void masks_wait(struct thread *t, int sig);
/* The program's mask, as it is in effect where a signal arrived. uc_sigmask is another one during a wait. */
u64 masks_interrupted(const struct thread *t, const ucontext_t *uc);

static inline u64 mask_of(const ucontext_t *uc)
{
    u64 mask;

    memcpy(&mask, &uc->uc_sigmask, 8);
    return mask;
}

static inline void set_mask(ucontext_t *uc, u64 mask)
{
    memcpy(&uc->uc_sigmask, &mask, 8);
}

/* Where a handler's frame goes that is to run on the alternate stack if there is one; 0: on the interrupted one. */
u64 altstack_top(const struct thread *t, u64 sp);
/* A handler begins: SS_AUTODISARM. */
void altstack_entered(struct thread *t);
/* rt_sigreturn sets the alternate stack to what is in the frame, where that is allowed. sp: the stack pointer then. */
void altstack_returned(struct thread *t, const stack_t *stack, u64 sp);

#endif
