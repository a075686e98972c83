/* flags: -O1 -lpthread */
/*
 * Signal calls without libc: by its function syscall(), and by the instruction
 * in the program itself. What the kernel says must be what it says on ordinary
 * memory.
 */
#include "e_guest.h"

static volatile int restored __asm__("restored_") __attribute__((used));
static call_fn *call;

/* The program's own way out of a handler, counted. */
__asm__(".text\nown_restorer: incl restored_(%rip)\n mov $15, %eax\n syscall\n");
void own_restorer(void);

static void raw_handler(int sig, siginfo_t *info, void *context)
{
    uint64_t mask = 0;

    (void)context;
    call(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&mask, 8, 0);
    show("handler %d code %d mask %#lx\n", sig, info->si_code, mask);
    use((unsigned)sig);
}

static int raw_actions(int argc, char **argv)
{
    call = call_named(argc, argv);
    for (int sig = 1; sig < 65; sig++) {
        /* 0x400 is a bit that no kernel keeps. */
        static const unsigned long flags[] = {
            0, SA_NODEFER, SA_RESTART, SA_ONSTACK, 0x400, SA_RESETHAND | SA_NODEFER, 0x80000000};
        struct kernel_action act = {(void *)raw_handler, SA_SIGINFO | RESTORER | flags[sig % 7], (void *)own_restorer,
                                    ~0ull};
        struct kernel_action old, again;
        long r[3];

        memset(&old, 0x55, sizeof(old));
        memset(&again, 0x55, sizeof(again));
        if (sig % 3 == 0)
            act.mask = BIT(SIGSEGV);
        r[0] = call(SYS_rt_sigaction, sig, (long)&act, (long)&old, 8, 0);
        r[1] = call(SYS_rt_sigaction, sig, 0, (long)&again, 8, 0);
        show("%d: %ld %ld: was %lx %lx %lx %lx\n", sig, r[0], r[1], (unsigned long)old.handler, old.flags,
             (unsigned long)old.restorer, old.mask);
        show("   is handler %d restorer %d flags %lx mask %lx\n", again.handler == act.handler,
             again.restorer == act.restorer, again.flags, again.mask);
        if (r[0] == 0 && sig != 32 && sig != 33) {
            raise(sig);
            r[2] = call(SYS_rt_sigaction, sig, 0, (long)&again, 8, 0);
            show("   then %ld handler %d flags %lx mask %lx\n", r[2], again.handler == act.handler, again.flags,
                 again.mask);
        }
        act.handler = NULL;
        call(SYS_rt_sigaction, sig, (long)&act, (long)&again, 8, 0);
        show("   and was %lx, restored %d\n", again.flags, restored);
    }
    return 0;
}

/* What libc set, the kernel's way, and the other way round. */
static int raw_mixed(int argc, char **argv)
{
    struct kernel_action libc_act = {0}, old = {0};
    struct sigaction seen;

    call = call_named(argc, argv);
    handle_info(SIGSEGV, raw_handler, SA_RESTART, BIT(SIGTERM));
    call(SYS_rt_sigaction, SIGSEGV, 0, (long)&libc_act, 8, 0);
    show("libc's: handler %d flags %lx restorer %d mask %lx\n", libc_act.handler == (void *)raw_handler, libc_act.flags,
         libc_act.restorer != NULL, libc_act.mask);
    raise(SIGSEGV);
    libc_act.flags |= SA_NODEFER;
    libc_act.mask = EVERY;
    call(SYS_rt_sigaction, SIGSEGV, (long)&libc_act, (long)&old, 8, 0);
    show("old: restorer %d flags %lx\n", old.restorer == libc_act.restorer, old.flags);
    sigaction(SIGSEGV, NULL, &seen);
    show("libc sees: handler %d flags %x mask %lx\n", seen.sa_sigaction == raw_handler, (unsigned)seen.sa_flags,
         bits_of(&seen.sa_mask));
    raise(SIGSEGV);
    return 0;
}

static int raw_masks(int argc, char **argv)
{
    static const uint64_t sets[] = {BIT(SIGSEGV), ~0ull, 0, EVERY, BIT(32) | BIT(33) | BIT(SIGSEGV), ~BIT(SIGSEGV)};

    call = call_named(argc, argv);
    for (int how = 0; how < 3; how++)
        for (int i = 0; i < 6; i++) {
            uint64_t old = 0x55, now = 0x55;
            long r = call(SYS_rt_sigprocmask, how, (long)&sets[i], (long)&old, 8, 0);

            use((unsigned)i);
            call(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&now, 8, 0);
            show("%d %d: %ld %#lx %#lx libc %#lx\n", how, i, r, old, now, mask_now());
        }
    return 0;
}

static int raw_stacks(int argc, char **argv)
{
    static char stack[65536];
    stack_t set = {.ss_sp = stack, .ss_size = sizeof(stack)}, got;

    call = call_named(argc, argv);
    memset(&got, 0x55, sizeof(got));
    show("%ld", call(SYS_sigaltstack, 0, (long)&got, 0, 0, 0));
    show(" %p %#x %zu\n", got.ss_sp, (unsigned)got.ss_flags, got.ss_size);
    show("%ld", call(SYS_sigaltstack, (long)&set, (long)&got, 0, 0, 0));
    use(1);
    show(" %ld", call(SYS_sigaltstack, 0, (long)&got, 0, 0, 0));
    show(" %d %#x %zu\n", got.ss_sp == stack, (unsigned)got.ss_flags, got.ss_size);
    set.ss_size = 100;
    show("small %ld\n", call(SYS_sigaltstack, (long)&set, 0, 0, 0, 0));
    set.ss_flags = 77;
    show("flags %ld\n", call(SYS_sigaltstack, (long)&set, 0, 0, 0, 0));
    show("address %ld\n", call(SYS_sigaltstack, 1, 0, 0, 0, 0));
    show("address %ld\n", call(SYS_sigaltstack, 0, 1, 0, 0, 0));
    set.ss_flags = SS_DISABLE;
    show("%ld", call(SYS_sigaltstack, (long)&set, (long)&got, 0, 0, 0));
    show(" was %d %#x", got.ss_sp == stack, (unsigned)got.ss_flags);
    show(" %ld", call(SYS_sigaltstack, 0, (long)&got, 0, 0, 0));
    show(" %p %#x %zu\n", got.ss_sp, (unsigned)got.ss_flags, got.ss_size);
    use(2);
    return 0;
}

/* Refused as the kernel refuses them. */
static int raw_errors(int argc, char **argv)
{
    struct kernel_action act = {(void *)raw_handler, SA_SIGINFO | RESTORER, (void *)own_restorer, 0}, old;
    uint64_t set = BIT(SIGSEGV), bytes[2] = {0, 0};
    struct timespec none = {0, 0};

    call = call_named(argc, argv);
    show("size 4: %ld\n", call(SYS_rt_sigaction, SIGSEGV, (long)&act, 0, 4, 0));
    show("size 16: %ld\n", call(SYS_rt_sigaction, SIGSEGV, (long)&act, 0, 16, 0));
    for (int sig = -1; sig < 67; sig += sig == 0 ? 65 : 1)
        show("signal %d: %ld\n", sig, call(SYS_rt_sigaction, sig, (long)&act, 0, 8, 0));
    show("SIGKILL: %ld %ld\n", call(SYS_rt_sigaction, SIGKILL, (long)&act, 0, 8, 0),
         call(SYS_rt_sigaction, SIGKILL, 0, (long)&old, 8, 0));
    show("bad set: %ld\n", call(SYS_rt_sigaction, SIGSEGV, 1, 0, 8, 0));
    show("bad old: %ld\n", call(SYS_rt_sigaction, SIGUSR1, 0, 1, 8, 0));
    show("neither: %ld\n", call(SYS_rt_sigaction, SIGSEGV, 0, 0, 8, 0));
    show("mask size 4: %ld\n", call(SYS_rt_sigprocmask, SIG_BLOCK, (long)&set, 0, 4, 0));
    show("mask how: %ld\n", call(SYS_rt_sigprocmask, 77, (long)&set, 0, 8, 0));
    show("mask bad: %ld %ld\n", call(SYS_rt_sigprocmask, SIG_BLOCK, 1, 0, 8, 0),
         call(SYS_rt_sigprocmask, SIG_BLOCK, 0, 1, 8, 0));
    show("mask null: %ld\n", call(SYS_rt_sigprocmask, 77, 0, 0, 8, 0));
    show("suspend: %ld %ld\n", call(SYS_rt_sigsuspend, (long)&set, 4, 0, 0, 0), call(SYS_rt_sigsuspend, 1, 8, 0, 0, 0));
    show("ppoll: %ld %ld\n", call(SYS_ppoll, 0, 0, (long)&none, (long)&set, 4),
         call(SYS_ppoll, 0, 0, (long)&none, 1, 8));
    show("pending: %ld %ld %ld\n", call(SYS_rt_sigpending, (long)bytes, 8, 0, 0, 0),
         call(SYS_rt_sigpending, (long)bytes, 16, 0, 0, 0), call(SYS_rt_sigpending, 1, 8, 0, 0, 0));
    show("timedwait: %ld %ld\n", call(SYS_rt_sigtimedwait, (long)&set, 0, (long)&none, 8, 0),
         call(SYS_rt_sigtimedwait, (long)&set, 0, (long)&none, 4, 0));
    report("end");
    use(3);
    return 0;
}

/* --- ways back from a handler --- */

__asm__(".text\nreturn_by: mov %rdi, %rsp\n mov $15, %edi\n jmp syscall\n");
__attribute__((noreturn)) void return_by(void *context);

static int by_hand;
static uint64_t wanted;

static void leaves(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    (void)info;
    show("handler %d mask %#lx before %#lx\n", sig, mask_now(), bits_of(&uc->uc_sigmask));
    use((unsigned)sig);
    if (sig == SIGSEGV)
        uc->uc_mcontext.gregs[REG_RIP] += 3;
    uc->uc_sigmask = set_from(wanted);
    if (by_hand)
        return_by(context);
}

/* With a restorer of the program, by rt_sigreturn in the middle of the handler, and libc's way. */
static int raw_returns(int argc, char **argv)
{
    static const uint64_t sets[] = {0, BIT(SIGUSR1), BIT(SIGSEGV), EVERY & ~BIT(SIGSEGV), EVERY};
    static char stack[65536];
    stack_t s = {.ss_sp = stack, .ss_size = sizeof(stack)};
    uint64_t value;

    (void)argc, (void)argv;
    sigaltstack(&s, NULL);
    for (int i = 0; i < 30; i++) {
        struct kernel_action act = {(void *)leaves, SA_SIGINFO | RESTORER | (i & 1 ? SA_ONSTACK : 0),
                                    (void *)own_restorer, i & 2 ? EVERY : 0};

        handle_info(SIGUSR1, leaves, i & 1 ? SA_ONSTACK : 0, BIT(SIGSEGV));
        handle_info(SIGSEGV, leaves, i & 1 ? SA_ONSTACK : 0, BIT(SIGUSR2));
        if (i < 10) {
            libc_call(SYS_rt_sigaction, SIGUSR1, (long)&act, 0, 8, 0);
            libc_call(SYS_rt_sigaction, SIGSEGV, (long)&act, 0, 8, 0);
        }
        by_hand = i >= 20;
        wanted = sets[i % 5];
        raise(SIGUSR1);
        show("%d: sent: mask %#lx\n", i, mask_now());
        use((unsigned)i);
        mask_change(SIG_SETMASK, i & 4 ? BIT(SIGTERM) : 0);
        __asm__ volatile("mov (%1), %0" : "=a"(value) : "D"(HOLE) : "memory"); /* 3 bytes */
        sigaltstack(NULL, &s);
        show("%d: fault: mask %#lx stack %d restored %d\n", i, mask_now(), s.ss_flags, restored);
        use((unsigned)i);
        mask_change(SIG_SETMASK, 0);
    }
    return 0;
}

/* A handler that blocks SIGSEGV, sends it, uses a window: it comes when the handler is over. */
static void sends(int sig, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    show("begin %d mask %#lx\n", sig, mask_now());
    if (sig != SIGSEGV)
        raise(SIGSEGV);
    use((unsigned)sig);
    show("end %d pending %#lx\n", sig, pending_now());
}

static int raw_kept(int argc, char **argv)
{
    (void)argc, (void)argv;
    for (int i = 0; i < 10; i++) {
        handle_info(SIGSEGV, sends, i & 2 ? SA_ONSTACK : 0, 0);
        handle_info(SIGUSR1, sends, i & 1 ? SA_ONSTACK : 0, BIT(SIGSEGV));
        raise(SIGUSR1);
        show("%d: mask %#lx pending %#lx\n", i, mask_now(), pending_now());
        use((unsigned)i);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"actions", raw_actions}, {"mixed", raw_mixed},   {"masks", raw_masks},
        {"stacks", raw_stacks},   {"errors", raw_errors}, {"returns", raw_returns}, {"kept", raw_kept},
    };

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
