#include "trap/signals.h"

#include <errno.h>

#include "base/mem.h"
#include "base/sys.h"
#include "trap/sigframe.h"
#include "trap/thread.h"
#include "base/trapsafe.h"

#define SA_RESTORER_ 0x04000000u
#define SYNCHRONOUS                                                                                              \
    (signal_bit(SIGSEGV) | signal_bit(SIGBUS) | signal_bit(SIGFPE) | signal_bit(SIGILL) | signal_bit(SIGTRAP))

static struct kernel_action actions[SIGNALS]; /* the program's */
static u32 versions[SIGNALS];                 /* odd while an action changes */
static signals_fault fault_handler;
static signals_dying dying_handler;
static u32 owner; /* process that may settle the machine's affairs: not a vfork child */

static bool synchronous(int sig)
{
    return SYNCHRONOUS >> (sig - 1) & 1;
}

/* signal(7): the default of these is to go on, or to stop. */
static bool default_ends(int sig)
{
    static const int harmless[] = {SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGKILL};

    for (unsigned i = 0; i < ARRAY_SIZE(harmless); i++)
        if (harmless[i] == sig)
            return false;
    return sig != 32 && sig != 33; /* glibc's own: cancellation and set-id */
}

static long set_kernel(int sig, const struct kernel_action *act, struct kernel_action *old)
{
    return sys(SYS_rt_sigaction, sig, act, old, 8);
}

static struct kernel_action get_action(int sig)
{
    struct kernel_action a;
    u32 before;

    do {
        while ((before = __atomic_load_n(&versions[sig], __ATOMIC_ACQUIRE)) & 1)
            ;
        a = actions[sig];
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while (__atomic_load_n(&versions[sig], __ATOMIC_RELAXED) != before);
    return a;
}

static void put_action(int sig, const struct kernel_action *act)
{
    __atomic_store_n(&versions[sig], versions[sig] + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    actions[sig] = *act;
    __atomic_store_n(&versions[sig], versions[sig] + 1, __ATOMIC_RELEASE);
}

bool signals_handled(int sig)
{
    struct kernel_action a = get_action(sig);
    struct thread *t = thread_self();

    return a.handler > (u64)SIG_IGN && !(sig == SIGSEGV && t && t->segv_blocked);
}

/* --- handlers of ours --- */

static bool on_stack(const stack_t *s, u64 sp)
{
    return !(s->ss_flags & SS_DISABLE) && sp - (u64)s->ss_sp - 1 < s->ss_size;
}

static u64 mask_of(const ucontext_t *uc)
{
    u64 mask;

    memcpy(&mask, &uc->uc_sigmask, 8);
    return mask;
}

/* Runs the program's handler next, as the kernel would have. False: no room for its frame. */
static bool run_handler(int sig, const struct kernel_action *a, const siginfo_t *info, ucontext_t *uc)
{
    struct thread *t = thread_self();
    u64 sp = (u64)uc->uc_mcontext.gregs[REG_RSP];
    struct sigframe_plan plan = {
        .sig = sig,
        .handler = a->handler,
        .restorer = a->flags & SA_RESTORER_ ? a->restorer : (u64)signals_restorer,
        .top = sp - 128,
        .mask = mask_of(uc) | a->mask,
    };

    if ((a->flags & SA_ONSTACK) && t && !(t->altstack.ss_flags & SS_DISABLE) && t->altstack.ss_size &&
        !on_stack(&t->altstack, sp))
        plan.top = (u64)t->altstack.ss_sp + t->altstack.ss_size;
    if (!(a->flags & SA_NODEFER))
        plan.mask |= signal_bit(sig);
    plan.mask = signals_safe_mask(plan.mask);
    if (!sigframe_push(&plan, info, uc))
        return false;
    if (a->flags & SA_RESETHAND) {
        struct kernel_action none = {0};

        signals_action(sig, &none, NULL);
    }
    return true;
}

static bool is_owner(void)
{
    return (u32)sys_getpid() == owner;
}

/* The default action: the instruction faults again, or the signal comes again, and nobody is there to catch it. */
static void die(int sig, const siginfo_t *info, bool again)
{
    struct kernel_action none = {0};

    if (is_owner())
        dying_handler();
    set_kernel(sig, &none, NULL);
    if (again) {
        /* Blocked until the frame's own mask returns: it is taken where the program was, with its registers in the core. */
        sys(SYS_rt_sigprocmask, SIG_BLOCK, &(u64){signal_bit(sig)}, NULL, 8);
        sys(SYS_rt_tgsigqueueinfo, sys_getpid(), sys_gettid(), sig, info);
    }
}

void signals_deliver(int sig, siginfo_t *info, ucontext_t *uc)
{
    struct kernel_action a = get_action(sig);
    bool sent = info->si_code <= 0; /* kill, tgkill, sigqueue: no instruction that would fault again */

    if (sent && a.handler == (u64)SIG_IGN)
        return;
    if (signals_handled(sig) && run_handler(sig, &a, info, uc))
        return;
    die(sig, info, sent || (sig == SIGTRAP && info->si_code > 0));
}

static void fault_entry(int sig, siginfo_t *info, void *context)
{
    if (!fault_handler(sig, info, context))
        signals_deliver(sig, info, context);
}

/* A signal whose default ends the program. */
static void fatal_entry(int sig, siginfo_t *info, void *context)
{
    struct kernel_action a = get_action(sig);

    (void)context;
    if (a.handler == (u64)SIG_IGN)
        return;
    if (a.handler != (u64)SIG_DFL)
        run_handler(sig, &a, info, context); /* the program set a handler just now */
    else
        die(sig, info, true);
}

/* A handler of the program that wants the alternate stack: the kernel put us on ours. */
static void onstack_entry(int sig, siginfo_t *info, void *context)
{
    struct kernel_action a = get_action(sig);

    if (a.handler <= (u64)SIG_IGN)
        return;
    if (!run_handler(sig, &a, info, context))
        die(SIGSEGV, info, true); /* as the kernel: no room for the frame */
}

static struct kernel_action ours(void (*entry)(int, siginfo_t *, void *), u64 flags, u64 mask)
{
    return (struct kernel_action){(u64)entry, flags | SA_SIGINFO | SA_ONSTACK | SA_RESTORER_, (u64)signals_restorer, mask};
}

/* What the kernel must have for the program's action. */
static struct kernel_action kernel_form(int sig, const struct kernel_action *a)
{
    struct kernel_action k = *a;

    if (synchronous(sig))
        return ours(fault_entry, SA_NODEFER, ~SYNCHRONOUS);
    if (a->handler == (u64)SIG_DFL)
        return default_ends(sig) ? ours(fatal_entry, 0, ~SYNCHRONOUS) : k;
    if (a->handler == (u64)SIG_IGN)
        return k;
    if (a->flags & SA_ONSTACK)
        return ours(onstack_entry, a->flags & (SA_RESTART | SA_NODEFER | SA_NOCLDSTOP | SA_NOCLDWAIT), ~SYNCHRONOUS);
    k.mask = signals_safe_mask(k.mask);
    return k;
}

long signals_action(int sig, const struct kernel_action *act, struct kernel_action *old)
{
    struct kernel_action kernel;
    u64 saved;
    long ret = 0;

    if (sig < 1 || sig >= SIGNALS || (act && (sig == SIGKILL || sig == SIGSTOP)))
        return -EINVAL;
    signals_mask(&saved);
    if (old)
        *old = get_action(sig);
    if (act) {
        struct kernel_action given = *act;

        given.mask &= ~(signal_bit(SIGKILL) | signal_bit(SIGSTOP)); /* as the kernel: they cannot be blocked */
        kernel = kernel_form(sig, &given);
        /* The table first: whoever finds our entry in the kernel finds the program's action there. */
        put_action(sig, &given);
        ret = set_kernel(sig, &kernel, NULL);
    }
    signals_restore(&saved);
    return ret;
}

long signals_altstack(const stack_t *stack, stack_t *old, u64 sp)
{
    struct thread *t = thread_self();
    stack_t now = t->altstack;

    if (old) {
        *old = now;
        if (on_stack(&now, sp))
            old->ss_flags |= SS_ONSTACK;
    }
    if (!stack)
        return 0;
    if (on_stack(&now, sp))
        return -EPERM;
    if (stack->ss_flags & ~(int)(SS_DISABLE | SS_ONSTACK | (1u << 31) /* SS_AUTODISARM */))
        return -EINVAL;
    if (stack->ss_flags & SS_DISABLE) {
        t->altstack = (stack_t){.ss_flags = SS_DISABLE};
        return 0;
    }
    if (stack->ss_size < 2048) /* MINSIGSTKSZ of the kernel's ABI */
        return -ENOMEM;
    t->altstack = *stack;
    t->altstack.ss_flags &= (int)(1u << 31);
    return 0;
}

long signals_procmask(int how, const u64 *set, u64 *old)
{
    struct thread *t = thread_self();
    bool was = t && t->segv_blocked;
    u64 safe;
    long ret;

    if (set && t) {
        bool named = *set & signal_bit(SIGSEGV);

        safe = signals_safe_mask(*set);
        ret = sys(SYS_rt_sigprocmask, how, &safe, old, 8);
        if (ret < 0)
            return ret;
        if (how == SIG_SETMASK)
            t->segv_blocked = named;
        else if (named)
            t->segv_blocked = how == SIG_BLOCK;
    } else {
        ret = sys(SYS_rt_sigprocmask, how, set, old, 8);
    }
    if (ret == 0 && old && was)
        *old |= signal_bit(SIGSEGV);
    return ret;
}

void signals_before_exec(void)
{
    struct kernel_action ignore = {.handler = (u64)SIG_IGN};
    struct thread *t = thread_self();
    u64 set = signal_bit(SIGSEGV);

    for (int sig = 1; sig < SIGNALS; sig++)
        if (synchronous(sig) && get_action(sig).handler == (u64)SIG_IGN)
            set_kernel(sig, &ignore, NULL);
    if (t && t->segv_blocked)
        sys(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, 8);
}

void signals_exec_failed(void)
{
    u64 set = signal_bit(SIGSEGV);

    for (int sig = 1; sig < SIGNALS; sig++) {
        struct kernel_action a = get_action(sig), k = kernel_form(sig, &a);

        if (synchronous(sig))
            set_kernel(sig, &k, NULL);
    }
    sys(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, NULL, 8);
}

void signals_start(signals_fault fault, signals_dying dying)
{
    struct thread *t = thread_self();
    u64 mask = 0, segv = signal_bit(SIGSEGV);

    fault_handler = fault;
    dying_handler = dying;
    owner = (u32)sys_getpid();
    sys(SYS_rt_sigprocmask, SIG_UNBLOCK, &segv, &mask, 8);
    t->segv_blocked = mask & segv;
    thread_install_stack(t);
    for (int sig = 1; sig < SIGNALS; sig++) {
        struct kernel_action k;

        if (sig == SIGKILL || sig == SIGSTOP || set_kernel(sig, NULL, &actions[sig]) < 0)
            continue;
        k = kernel_form(sig, &actions[sig]);
        if (k.handler != actions[sig].handler)
            set_kernel(sig, &k, NULL);
    }
}

void signals_after_fork(void)
{
    owner = (u32)sys_getpid();
}
