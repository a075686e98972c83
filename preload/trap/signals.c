#include "trap/signals.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/sys.h"
#include "patch/patch.h"
#include "trap/backtrace.h"
#include "trap/irq.h"
#include "trap/resume.h"
#include "trap/sigframe.h"
#include "trap/sigstate.h"
#include "trap/thread.h"
#include "trap/unwind.h"
#include "base/trapsafe.h"

#define SA_RESTORER_ 0x04000000u
static struct kernel_action actions[SIGNALS]; /* the program's */
static u32 versions[SIGNALS];                 /* odd while an action changes */
signals_fault signals_handle_fault;
static signals_dying dying_handler;
u32 signals_owner; /* process that may settle the machine's affairs: not a vfork child */
static u32 *home;  /* process whose memory this is; wiped in a copy that was made behind our back (clone) */
static u32 writer; /* lock of the table and what the kernel has */
u32 signals_piling; /* how many frames the kernel may put on one stack before any handler runs; SIGNALS: any number */
static u64 kept_flags = ~(u64)0; /* bits of sa_flags that this kernel keeps */

static bool synchronous(int sig)
{
    return SIGNALS_SYNCHRONOUS >> (sig - 1) & 1;
}

/* signal(7): the default of these is to go on, or to stop. */
bool signals_default_ends(int sig)
{
    static const int harmless[] = {SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGKILL};

    for (unsigned i = 0; i < ARRAY_SIZE(harmless); i++)
        if (harmless[i] == sig)
            return false;
    return sig != 32 && sig != 33; /* glibc's own: cancellation and set-id */
}

static bool is_owner(void)
{
    return (u32)sys_getpid() == signals_owner;
}

/* False in a vfork child: what it sees is its parent's. */
bool signals_own_memory(void)
{
    u32 pid = (u32)sys_getpid();

    if (!home)
        return pid == signals_owner;
    if (!*home)
        *home = pid;
    return *home == pid;
}

static long set_kernel(int sig, const struct kernel_action *act, struct kernel_action *old)
{
    return sys(SYS_rt_sigaction, sig, act, old, 8);
}

struct kernel_action signals_get(int sig)
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

static struct kernel_action kernel_form(int sig, const struct kernel_action *a);

/* Entries of ours block all that could pile up. */
static void count_piles(int sig, const struct kernel_action *a)
{
    static u8 counted[SIGNALS];
    u8 now = kernel_form(sig, a).handler != (u64)signals_wrap ? 0 : a->flags & SA_NODEFER ? SIGNALS : 1;

    signals_piling += (u32)now - counted[sig];
    counted[sig] = now;
}

static void put_action(int sig, const struct kernel_action *act)
{
    count_piles(sig, act);
    __atomic_store_n(&versions[sig], versions[sig] + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    actions[sig] = *act;
    __atomic_store_n(&versions[sig], versions[sig] + 1, __ATOMIC_RELEASE);
}

/* Is SIGSEGV blocked, as the program believes, where the signal under way came? */
static bool segv_blocked(const struct thread *t)
{
    if (!t || t->segv_once)
        return false;
    return t->waited ? t->wait_mask & SEGV : t->segv_blocked;
}

bool signals_handled(int sig)
{
    struct kernel_action a = signals_get(sig);

    return a.handler > (u64)SIG_IGN && !(sig == SIGSEGV && segv_blocked(thread_self()));
}

/* --- handlers of ours --- */

/* The kernel's mask for one of the program. */
static u64 kernel_mask(u64 mask)
{
    return mask & ~SEGV;
}

/* One shot: the kernel takes the handler away, and leaves the rest of the action. */
static void reset_handler(int sig, const struct kernel_action *a)
{
    struct kernel_action none = *a;

    none.handler = (u64)SIG_DFL;
    signals_action(sig, &none, NULL);
}

/* Signals that the handler has blocked besides those of the interrupted code. */
u64 signals_blocked_by(int sig, const struct kernel_action *a)
{
    return a->mask | (a->flags & SA_NODEFER ? 0 : signal_bit(sig));
}

/* Unwinders know this one, and so nobody runs it to have something done. */
static bool plain_restorer(u64 restorer)
{
    u8 code[9];

    return probe_read(code, restorer, 9) && memcmp(code, signals_restorer, 9) == 0;
}

/* Runs the program's handler next, as the kernel would have. False: no room for its frame. */
bool signals_run(int sig, const struct kernel_action *a, const siginfo_t *info, ucontext_t *uc)
{
    struct thread *t = signals_own_memory() ? thread_self() : NULL;
    u64 sp = (u64)uc->uc_mcontext.gregs[REG_RSP], in_effect = t ? masks_interrupted(t, uc) : mask_of(uc);
    bool own = (a->flags & SA_RESTORER_) && !plain_restorer(a->restorer);
    struct sigframe_plan plan = {
        .sig = sig,
        .handler = a->handler,
        .restorer = own ? a->restorer : 0,
        .top = a->flags & SA_ONSTACK && t ? altstack_top(t, sp) : 0,
        .seen_mask = t ? masks_program(t, mask_of(uc)) : mask_of(uc),
        .seen_stack = t ? t->altstack : uc->uc_stack,
        .mask = kernel_mask(in_effect | signals_blocked_by(sig, a)),
    };

    if (!plan.top)
        plan.top = sp - 128;
    if (!sigframe_push(&plan, info, uc))
        return false;
    if (t) {
        t->segv_blocked = (in_effect | signals_blocked_by(sig, a)) & SEGV;
        altstack_entered(t);
    }
    if (a->flags & SA_RESETHAND)
        reset_handler(sig, a);
    return true;
}

/* The default action: the instruction faults again, or the signal comes again, and nobody is there to catch it. */
void signals_die(int sig, const siginfo_t *info, bool again)
{
    struct kernel_action none = {0};

    if (is_owner())
        dying_handler();
    if (!again)
        patch_undo(); /* the instruction that faults again is the program's, at its own place */
    set_kernel(sig, &none, NULL);
    if (again) {
        /* Blocked until the frame's own mask returns: it is taken where the program was, with its registers in the core. */
        sys(SYS_rt_sigprocmask, SIG_BLOCK, &(u64){signal_bit(sig)}, NULL, 8);
        signals_send(sig, info);
    }
}

void signals_deliver(int sig, siginfo_t *info, ucontext_t *uc)
{
    struct kernel_action a = signals_get(sig);
    struct thread *t = thread_self();
    bool sent = info->si_code <= 0; /* kill, tgkill, sigqueue: no instruction that would fault again */

    if (sent && sig == SIGSEGV && segv_blocked(t)) {
        pending_keep(t, info);
        return;
    }
    if (sent && (a.handler == (u64)SIG_IGN || (a.handler == (u64)SIG_DFL && signals_owner == 1)))
        return;
    if (signals_handled(sig) && signals_run(sig, &a, info, uc))
        return;
    signals_die(sig, info, sent || (sig == SIGTRAP && info->si_code > 0));
}

/* A handler of the program returned, or somebody calls rt_sigreturn. `sp`: the stack pointer at that call. */
void signals_leave(ucontext_t *uc, u64 sp)
{
    struct thread *t = thread_self();
    u64 mask = mask_of(uc), all = ~(u64)0, again;
    bool kept;

    if (!t || !signals_own_memory()) /* a vfork child has masks just as it wants them */
        return;
    altstack_returned(t, &uc->uc_stack, sp);
    uc->uc_stack = (stack_t){.ss_sp = t->stack, .ss_size = THREAD_STACK};
    t->segv_blocked = mask & SEGV;
    set_mask(uc, kernel_mask(mask));
    kept = !t->segv_blocked && unlikely(pending_any(t));
    again = irq_unblocked(~mask);
    if (likely(!kept && !again))
        return;
    sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8); /* until rt_sigreturn */
    irq_tell_again(again);
    if (kept)
        pending_send();
}

static struct kernel_action ours(void (*entry)(int, siginfo_t *, void *), u64 flags, u64 mask)
{
    return (struct kernel_action){(u64)entry, flags | SA_SIGINFO | SA_ONSTACK | SA_RESTORER_, (u64)signals_restorer, mask};
}

/* What the kernel must have for the program's action. */
static struct kernel_action kernel_form(int sig, const struct kernel_action *a)
{
    bool handler = a->handler > (u64)SIG_IGN;
    struct kernel_action k = *a;

    if (synchronous(sig)) /* a sent one that is blocked or ignored interrupts no call */
        return ours(signals_fault_enter, SA_NODEFER | (handler ? a->flags & SA_RESTART : SA_RESTART), ~SIGNALS_SYNCHRONOUS);
    /* The kernel gives the first process of a pid namespace no signal that it does not handle. */
    if (a->handler == (u64)SIG_DFL)
        return signals_default_ends(sig) && signals_owner != 1 ? ours(signals_action_enter, 0, ~SIGNALS_SYNCHRONOUS) : k;
    if (!handler)
        return k;
    if ((a->flags & (SA_ONSTACK | SA_RESETHAND)) || ((a->flags & SA_RESTORER_) && !plain_restorer(a->restorer)))
        return ours(signals_action_enter, a->flags & (SA_RESTART | SA_NODEFER | SA_NOCLDSTOP | SA_NOCLDWAIT), ~SIGNALS_SYNCHRONOUS);
    k.mask = kernel_mask(k.mask);
    k.handler = (u64)signals_wrap;
    k.flags |= SA_SIGINFO; /* what is sent again, or moved, is whole */
    if (a->flags & SA_RESTORER_) /* without it the kernel delivers nothing */
        k.restorer = (u64)signals_return;
    return k;
}

/* The same for a vfork child: entries of ours would look into its parent's table. */
static struct kernel_action child_form(int sig, const struct kernel_action *a)
{
    struct kernel_action k = *a;

    if (a->handler <= (u64)SIG_IGN)
        return k;
    if (synchronous(sig))
        return kernel_form(sig, a);
    k.flags &= ~(u64)SA_ONSTACK; /* the kernel's idea of the alternate stack is ours */
    k.mask = kernel_mask(k.mask);
    return k;
}

/* Both together: two threads that set the same action leave the same one in the table and in the kernel. */
static long set_both(int sig, const struct kernel_action *act)
{
    struct kernel_action kernel = kernel_form(sig, act);
    long ret;

    while (__atomic_exchange_n(&writer, 1, __ATOMIC_ACQUIRE))
        sys(SYS_sched_yield);
    /* The table first: whoever finds our entry in the kernel finds the program's action there. */
    put_action(sig, act);
    ret = set_kernel(sig, &kernel, NULL);
    __atomic_store_n(&writer, 0, __ATOMIC_RELEASE);
    return ret;
}

long signals_action(int sig, const struct kernel_action *act, struct kernel_action *old)
{
    struct kernel_action given, was;
    u64 all = ~(u64)0, saved;
    long ret = 0;

    if (sig < 1 || sig >= SIGNALS || (act && (sig == SIGKILL || sig == SIGSTOP)))
        return -EINVAL;
    if (act) {
        given = *act;
        given.mask &= ~(signal_bit(SIGKILL) | signal_bit(SIGSTOP)); /* as the kernel: they cannot be blocked */
        given.flags &= kept_flags;
    }
    /*
     * Everything, also SIGSEGV, which may be sent: its handler would wait for the table. Only memory of ours meanwhile.
     * In a call what is sent waits anyway.
     */
    if (!calls_inside())
        sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, &saved, 8);
    was = signals_get(sig);
    if (act && signals_own_memory()) {
        ret = set_both(sig, &given);
        if (ret == 0)
            irq_handler_set(sig, given.handler > (u64)SIG_IGN);
        if (sig == SIGSEGV && given.handler == (u64)SIG_IGN && thread_self())
            pending_discard(thread_self());
    } else if (act) {
        given = child_form(sig, &given);
        ret = set_kernel(sig, &given, NULL);
    }
    if (!calls_inside())
        signals_restore(&saved);
    if (old)
        *old = was;
    return ret;
}

/* --- exec, fork, start --- */

/* Gives the kernel its forms of the program's actions again. */
static void install(bool only_synchronous)
{
    for (int sig = 1; sig < SIGNALS; sig++) {
        struct kernel_action a = signals_get(sig), k = kernel_form(sig, &a);

        if (sig != SIGKILL && sig != SIGSTOP && (synchronous(sig) || !only_synchronous))
            set_kernel(sig, &k, NULL);
    }
}

/* What the program ignores stays ignored; a vfork child may have changed that for itself. */
static void ignore_again(bool child)
{
    struct kernel_action ignore = {.handler = (u64)SIG_IGN}, now;

    for (int sig = 1; sig < SIGNALS; sig++) {
        if (!synchronous(sig) || signals_get(sig).handler != (u64)SIG_IGN)
            continue;
        if (!child || (set_kernel(sig, NULL, &now) == 0 && now.handler > (u64)SIG_IGN))
            set_kernel(sig, &ignore, NULL);
    }
}

void signals_before_exec(void)
{
    struct thread *t = thread_self();
    u64 mask = masks_kernel();

    ignore_again(!signals_own_memory());
    if (!t)
        return;
    if (!signals_own_memory()) {
        masks_set_kernel(mask | (t->child_masked != (u32)sys_getpid() && t->segv_blocked ? SEGV : 0));
        return;
    }
    mask = masks_program(t, mask);
    masks_set_kernel(mask);
    if (mask & SEGV)
        pending_send(); /* pending signals stay so over exec */
}

void signals_exec_failed(void)
{
    u64 mask = masks_kernel();

    if (!signals_own_memory()) /* about to try another path, or to end */
        return;
    install(true);
    masks_set_kernel(kernel_mask(mask));
}

/* Linux 5.11 clears those that it does not know. Told by a signal whose default is to do nothing. */
static u64 learn_flags(void)
{
    struct kernel_action was, every, kept;

    if (set_kernel(SIGWINCH, NULL, &was) < 0 || was.handler > (u64)SIG_IGN)
        return ~(u64)0;
    every = was;
    every.flags = ~(u64)0;
    if (set_kernel(SIGWINCH, &every, NULL) < 0 || set_kernel(SIGWINCH, &was, &kept) < 0)
        return ~(u64)0;
    return kept.flags;
}

void signals_start(signals_fault fault, signals_dying dying)
{
    struct thread *t = thread_self();
    u64 unblock = SEGV;

    signals_handle_fault = fault;
    dying_handler = dying;
    signals_owner = (u32)sys_getpid();
    home = sys_pages(PAGE_SIZE);
    if (home) {
        sys(SYS_madvise, home, PAGE_SIZE, MADV_WIPEONFORK);
        *home = signals_owner;
    }
    t->segv_blocked = masks_kernel() & SEGV;
    t->altstack.ss_flags = 0; /* as after exec: only threads start with SS_DISABLE there */
    kept_flags = learn_flags();
    unwind_set_return((u64)signals_return, (u64)signals_return_end);
    thread_install_stack(t);
    for (int sig = 1; sig < SIGNALS; sig++) {
        struct kernel_action k;

        if (sig == SIGKILL || sig == SIGSTOP || set_kernel(sig, NULL, &actions[sig]) < 0)
            continue;
        count_piles(sig, &actions[sig]);
        k = kernel_form(sig, &actions[sig]);
        if (k.handler != actions[sig].handler)
            set_kernel(sig, &k, NULL);
    }
    /* One may be pending since before exec. */
    sys(SYS_rt_sigprocmask, SIG_UNBLOCK, &unblock, NULL, 8);
}

void signals_after_fork(void)
{
    struct thread *t = thread_self();
    u32 before = signals_owner;

    signals_owner = (u32)sys_getpid();
    if (home)
        *home = signals_owner;
    /* Pending signals are not inherited (fork(2)); another thread of the parent may have been changing the table. */
    if (t)
        t->segv_pending.state = 0;
    pending_after_fork();
    writer = 0;
    for (int sig = 1; sig < SIGNALS; sig++)
        versions[sig] &= ~1u;
    if ((before == 1) != (signals_owner == 1))
        install(false);
}
