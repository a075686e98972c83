/*
 * The program's signals, as the program believes them to be.
 *
 * SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGTRAP always have our handler in the
 * kernel, on our alternate stack; the program's own action is kept here and
 * carried out as the kernel would. Signals whose default ends the program have
 * a handler of ours while the program has none, so that the machine's affairs
 * are settled before it dies of them. Handlers that ask for the alternate
 * stack are moved to the program's own one. A vfork child changes what the
 * kernel has for it, and nothing here: this memory is its parent's.
 */
#ifndef MMIOSHIM_TRAP_SIGNALS_H
#define MMIOSHIM_TRAP_SIGNALS_H

#include <signal.h>
#include <ucontext.h>

#include "base/fmt.h"
#include "base/types.h"

#define SIGNALS 65

/* As rt_sigaction(2) takes it. */
struct kernel_action {
    u64 handler;
    u64 flags;
    u64 restorer;
    u64 mask;
};

static inline u64 signal_bit(int sig)
{
    return (u64)1 << (sig - 1);
}

/* What a fault handler answers. */
enum fault_answer {
    FAULT_DECLINED, /* it is the program's own */
    FAULT_HANDLED,
    FAULT_OVER, /* handled, and the program goes on by its context, and nothing else: resume.h */
};

typedef enum fault_answer (*signals_fault)(int sig, siginfo_t *info, ucontext_t *uc);
/* The process is about to die of a signal. */
typedef void (*signals_dying)(void);

/* Reads what was inherited over exec and installs ours. Ordinary context, once. */
void signals_start(signals_fault fault, signals_dying dying);
/* In the child of fork: it settles its own affairs. */
void signals_after_fork(void);
/* sigaction(2) for the program: 0 or -errno. Any context. */
long signals_action(int sig, const struct kernel_action *act, struct kernel_action *old);
/* sigaltstack(2) for the program. `sp`: the caller's stack pointer. */
long signals_altstack(const stack_t *stack, stack_t *old, u64 sp);
/*
 * sigprocmask(2) for the program: SIGSEGV only seems to be blocked. how is SIG_BLOCK and so on. 0 or -errno.
 *
 * A SIGSEGV that was sent to a thread that blocks it is kept: for the thread (tgkill, raise), else for the process. It
 * is delivered when a thread unblocks SIGSEGV, by this call or at the end of a handler, or answers a later sigwait.
 * Differences to the kernel remain: a thread that sleeps in sigwait when another one was chosen for the signal does not
 * wake up, and a signalfd never has it.
 */
long signals_procmask(int how, const u64 *set, u64 *old);
/* Is a sent SIGSEGV kept for this thread? */
bool signals_segv_pending(void);
/* Takes it, as sigwait does. False: there is none. */
bool signals_take_segv(siginfo_t *info);
/*
 * A system call waits with another mask (sigsuspend, ppoll): what the kernel gets instead of it. *ends: a kept SIGSEGV
 * ends the wait at once (-EINTR); it is on its way. In a call.
 */
u64 signals_wait_mask(u64 mask, bool *ends);
/* A call ends during which SIGSEGV was sent. True: it was about to wait, and is over instead (-EINTR). */
bool signals_late(void);
/* The program is about to take these signals by sigwait: those of interrupts that are still pending are sent again. */
void signals_waited_for(u64 set);
/* The mask as a system call may take it for a while: without SIGSEGV. */
static inline u64 signals_safe_mask(u64 mask)
{
    return mask & ~(u64)(1u << (SIGSEGV - 1));
}

/* The program's own fault: its handler runs next, or it dies as it would without us. Trap context. */
void signals_deliver(int sig, siginfo_t *info, ucontext_t *uc);
/* Has the program a handler for this signal, one that would run now? */
bool signals_handled(int sig);

/* Around exec: a new program inherits what the program believes (ignored SIGSEGV, blocked SIGSEGV). */
void signals_before_exec(void);
void signals_exec_failed(void);

/* Goes back from a handler of ours: rt_sigreturn, in the bytes that unwinders and debuggers know. */
extern const char signals_restorer[];
/*
 * The program goes back from a handler: `uc`, which may have changed, is what it believes, and becomes what the kernel
 * is to restore. sp: the stack pointer at rt_sigreturn. Any context.
 */
void signals_leave(ucontext_t *uc, u64 sp);
/* Goes back from a handler of the program, by signals_leave(). Unwinders know it by its unwind table. */
extern const char signals_return[], signals_return_end[];
/* The handlers of faults and of other signals that are ours (restorer.S). */
void signals_fault_enter(int sig, siginfo_t *info, void *context);
void signals_action_enter(int sig, siginfo_t *info, void *context);
/* The entry of the program's handlers (restorer.S). */
extern const char signals_wrap[], signals_enter_end[];

#endif
