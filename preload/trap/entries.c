/* Where the kernel enters: what every handler of ours begins with, before the program's own runs or waits. */
#include "base/mem.h"
#include "base/sys.h"
#include "patch/patch.h"
#include "trap/irq.h"
#include "trap/resume.h"
#include "trap/sigstate.h"
#include "trap/thread.h"
#include "base/trapsafe.h"

static void sent_in_call(struct thread *t, int sig, const siginfo_t *info, ucontext_t *uc)
{
    /* SIGSEGV cannot be blocked in a call: it is kept, and sent again when that is over. Behind it there is no fault. */
    if (sig == SIGSEGV && calls_inside())
        pending_keep(t, info), t->call.late = true;
    else
        calls_defer(sig, info, uc, signal_bit(sig));
}

#define FLAG_AC 0x40000

/*
 * A handler starts with the program's AC (Linux arch/x86/kernel/signal.c, handle_signal clears DF, RF and TF): its
 * alignment checks would concern our code. The frame keeps it for the program.
 */
static void no_alignment_checks(const ucontext_t *uc)
{
    if (unlikely(uc->uc_mcontext.gregs[REG_EFL] & FLAG_AC))
        __asm__ volatile("lea -128(%%rsp), %%rsp\n" /* the red zone */
                         "pushfq\n"
                         "andl %0, (%%rsp)\n"
                         "popfq\n"
                         "lea 128(%%rsp), %%rsp"
                         :
                         : "i"(~FLAG_AC)
                         : "memory", "cc");
}

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char etext[] __attribute__((visibility("hidden")));

/* The program steps itself (TF), and is in our code for a system call: natively that is one step. */
static bool own_step(int sig, const siginfo_t *info, const ucontext_t *uc)
{
    u64 rip = (u64)uc->uc_mcontext.gregs[REG_RIP];

    if (sig != SIGTRAP || info->si_code != TRAP_TRACE)
        return false;
    return calls_inside() || rip - (u64)__ehdr_start < (u64)(etext - __ehdr_start) || patch_holds(rip);
}

/* --- entries --- */

/* The context of a handler of ours that has begun, but has not looked at it yet. */
__attribute__((visibility("hidden"))) extern __thread ucontext_t *signals_entering;
__thread ucontext_t *signals_entering;

/* Of a signal on top of which another one came: what it interrupted is seen now, before that one's handler runs. */
static bool seen_before(ucontext_t *uc)
{
    struct thread *t = thread_self();
    bool clear = calls_interrupted(uc, false);

    if (t && t->call.waited)
        t->call.waited_in = uc;
    return clear;
}

static bool in_entry(const ucontext_t *uc)
{
    u64 rip = (u64)uc->uc_mcontext.gregs[REG_RIP];

    return rip - (u64)signals_fault_enter < (u64)signals_enter_end - (u64)signals_fault_enter;
}

/*
 * What every handler of ours begins with, see calls_interrupted(). older: what signals_entering was, and uc_link from
 * there on. The kernel makes the frames of several signals at once, each on top of the first instruction of the other.
 */
static bool entered(ucontext_t *uc, ucontext_t *older, bool fault)
{
    struct thread *t = thread_self();
    ucontext_t *below = uc;
    bool clear = true;

    for (; unlikely(older); older = older->uc_link)
        clear = seen_before(older) && clear;
    while (unlikely(in_entry(below))) {
        below = (ucontext_t *)below->uc_mcontext.gregs[REG_RDX];
        clear = seen_before(below) && clear;
    }
    if (likely(clear))
        clear = calls_interrupted(uc, fault);
    if (t && t->call.waited_in == uc)
        t->call.waited_in = NULL;
    uc->uc_link = NULL;
    signals_entering = NULL;
    return clear;
}

/* Called by signals_fault_enter, to which the kernel goes. */
void fault_entry(int sig, siginfo_t *info, void *context, ucontext_t *older);
void fault_entry(int sig, siginfo_t *info, void *context, ucontext_t *older)
{
    enum fault_answer answer = FAULT_HANDLED;
    struct thread *t;
    bool outer, between;

    no_alignment_checks(context);
    resume_interrupted(context);
    if (unlikely(own_step(sig, info, context)) || (sig == SIGSEGV && info->si_code == SI_KERNEL && patch_stopped(context))) {
        signals_entering = older;
        return;
    }
    t = thread_self();
    outer = t && t->waited; /* this one may interrupt the handling of another, and go on in it */
    between = entered(context, older, info->si_code > 0);
    if (t)
        t->waited = t->call.waited;
    if (!between && info->si_code <= 0)
        sent_in_call(t, sig, info, context);
    else if ((answer = signals_handle_fault(sig, info, context)) == FAULT_DECLINED)
        signals_deliver(sig, info, context);
    if (!t)
        return;
    t->waited = outer;
    t->segv_once &= info->si_code > 0;
    if (answer == FAULT_OVER)
        resume(t, context, signals_piling);
}

/*
 * On the way on behind an access (resume.h) signals are unblocked while the thread is still on our stack, and the
 * kernel's frame is there, too. The first one that comes is for where that way leads. Another one on top of it finds
 * our entry for the first, and waits until that is through: it ends by rt_sigreturn, which brings the mask again.
 */
static bool waits_for_other(int sig, const siginfo_t *info, ucontext_t *uc, ucontext_t *older)
{
    const struct thread *t = thread_current;
    u64 all = ~SIGNALS_SYNCHRONOUS;

    if (resume_interrupted(uc) || likely(!t || !resume_on_stack(t, (u64)uc->uc_mcontext.gregs[REG_RSP])))
        return false;
    set_mask(uc, all);
    sys(SYS_rt_sigprocmask, SIG_BLOCK, &all, NULL, 8); /* now, too: SA_NODEFER */
    signals_send(sig, info);
    signals_entering = older;
    return true;
}

/*
 * A signal whose default ends the program, or a handler that is not simply the kernel's to call: one that wants the
 * alternate stack (the kernel put us on ours), one for one shot (the table must know that it is gone).
 */
void action_entry(int sig, siginfo_t *info, void *context, ucontext_t *older);
void action_entry(int sig, siginfo_t *info, void *context, ucontext_t *older)
{
    struct thread *t = thread_self();
    struct kernel_action a;

    no_alignment_checks(context);
    if (waits_for_other(sig, info, context, older))
        return;
    if (!entered(context, older, false)) {
        calls_defer(sig, info, context, 0);
        return;
    }
    if (!irq_arrives(sig, info))
        return;
    a = signals_get(sig);
    if (t)
        t->waited = t->call.waited;
    if (a.handler > (u64)SIG_IGN) {
        if (!signals_run(sig, &a, info, context))
            signals_die(SIGSEGV, info, true); /* as the kernel: no room for the frame */
    } else if (a.handler == (u64)SIG_DFL && signals_default_ends(sig) && signals_owner != 1) {
        signals_die(sig, info, true);
    }
    if (t)
        t->waited = false;
}

/* The kernel's frame becomes what the program expects to find there. */
static void show_frame(int sig, const struct kernel_action *a, ucontext_t *uc)
{
    struct thread *t = thread_self();

    if (!t || !signals_own_memory())
        return;
    set_mask(uc, masks_program(t, mask_of(uc)));
    uc->uc_stack = t->altstack;
    if (t->call.waited)
        t->segv_blocked = t->wait_mask & SEGV;
    t->segv_blocked |= (signals_blocked_by(sig, a) & SEGV) != 0;
    altstack_entered(t);
}

/*
 * Every other handler of the program: the kernel's frame is the one that it would have got, on the same stack.
 * Called by signals_wrap, which goes on at what this returns; 0: not now.
 */
u64 signals_enter(int sig, siginfo_t *info, ucontext_t *uc, ucontext_t *older);
u64 signals_enter(int sig, siginfo_t *info, ucontext_t *uc, ucontext_t *older)
{
    u64 all = ~SIGNALS_SYNCHRONOUS, mask;
    struct kernel_action a;

    /*
     * Another one meanwhile would see what this one is about to see, and its handler would change what that is read
     * from. The other entries begin so.
     */
    sys(SYS_rt_sigprocmask, SIG_BLOCK, &all, &mask, 8);
    if (waits_for_other(sig, info, uc, older))
        return 0;
    if (!entered(uc, older, false)) {
        calls_defer(sig, info, uc, 0);
        return 0;
    }
    if (!irq_arrives(sig, info))
        return 0;
    sys(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8);
    a = signals_get(sig);
    if (a.handler == (u64)SIG_DFL && signals_default_ends(sig))
        signals_die(sig, info, true); /* it was changed a moment ago */
    if (a.handler <= (u64)SIG_IGN)
        return 0;
    if (unlikely(thread_current && resume_on_stack(thread_current, (u64)uc))) {
        if (!signals_run(sig, &a, info, uc))
            signals_die(SIGSEGV, info, true);
        return 0;
    }
    show_frame(sig, &a, uc);
    return a.handler;
}
