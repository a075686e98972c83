/* flags: -O1 -lpthread */
/*
 * Signals that wait while an access is under way, many at once, and come at its end: each handler runs once, on the
 * stack that is its own, and finds the program's registers. And accesses of programs that forbid themselves the system
 * calls that no handler needs.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "e_guest.h"

#define ROUNDS 40
#define LONG   1000 /* accesses of one instruction */
#define FEW    12
#define MANY   34
#define LARGE   200000 /* more than the library's own stack has */

static char alternate[400000];
static uintptr_t stack_low, stack_high;
static uint64_t handled, sent;
static volatile int going, done;

static void find_stack(void)
{
    pthread_attr_t attr;
    void *low;
    size_t size;

    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &low, &size);
    stack_low = (uintptr_t)low;
    stack_high = stack_low + size;
}

static int on_stack(uintptr_t at)
{
    return at >= stack_low && at < stack_high;
}

static int on_alternate(uintptr_t at)
{
    return at - (uintptr_t)alternate < sizeof(alternate);
}

extern const char arrive_begin[], arrive_end[];

static void look(const ucontext_t *uc, int alternate_wanted)
{
    const greg_t *regs = uc->uc_mcontext.gregs;
    uintptr_t rip = (uintptr_t)regs[REG_RIP], rsp = (uintptr_t)regs[REG_RSP];
    volatile char room[LARGE];

    for (size_t i = 0; i < sizeof(room); i += 4096)
        room[i] = 1;
    CHECK(alternate_wanted ? on_alternate((uintptr_t)room) : on_stack((uintptr_t)room));
    CHECK(on_stack(rsp) || on_alternate(rsp));
    if (rip >= (uintptr_t)arrive_begin && rip <= (uintptr_t)arrive_end) {
        EQUAL(regs[REG_R12], 0x1212);
        EQUAL(regs[REG_R13], 0x1313);
        EQUAL(regs[REG_RBP], 0x5555);
        CHECK(regs[REG_RCX] <= LONG);
        EQUAL(regs[REG_EFL] & 1, 1); /* stc */
    }
    put((unsigned)handled + get());
    handled++;
}

static void informed(int sig, siginfo_t *info, void *context)
{
    EQUAL(info->si_signo, sig);
    EQUAL(info->si_code, SI_TKILL);
    EQUAL(info->si_pid, getpid());
    look(context, 0);
}

static void informed_apart(int sig, siginfo_t *info, void *context)
{
    EQUAL(info->si_signo, sig);
    EQUAL(info->si_code, SI_TKILL);
    look(context, 1);
}

static void plain(int sig)
{
    ucontext_t none = {0};

    (void)sig;
    none.uc_mcontext.gregs[REG_RSP] = (greg_t)stack_low;
    look(&none, 0);
}

static int number(int i)
{
    static const int standard[4] = {SIGUSR1, SIGUSR2, SIGALRM, SIGTERM};

    return i < 4 ? standard[i] : SIGRTMIN + i - 4;
}

static int signals; /* how many */

static void *send_all(void *to)
{
    for (int round = 0; round < ROUNDS; round++) {
        while (going != round + 1)
            sched_yield();
        for (int i = 0; i < signals; i++) {
            EQUAL(pthread_kill((pthread_t)to, number(i)), 0);
            sent++;
        }
        done = round + 1;
    }
    return NULL;
}

/* One instruction of many reads; the registers are what no signal may change. */
static void long_access(void)
{
    uint64_t r12 = 0x1212, r13 = 0x1313, value = 0;
    double before = 1.25, after = 0;

    __atomic_fetch_add(tally, LONG, __ATOMIC_SEQ_CST);
    __asm__ volatile("movq %[before], %%xmm15\n movq %[r12], %%r12\n movq %[r13], %%r13\n"
                     "pushq %%rbp\n movq $0x5555, %%rbp\n stc\n"
                     "arrive_begin: rep lodsb\n arrive_end: adcq $0, %%r12\n popq %%rbp\n"
                     "movq %%r12, %[r12]\n movq %%r13, %[r13]\n movq %%xmm15, %[after]"
                     : [r12] "+r"(r12), [r13] "+r"(r13), [after] "=r"(after), "+a"(value)
                     : [before] "r"(before), "S"(SCR + 0x100), "c"((uint64_t)LONG)
                     : "r12", "r13", "xmm15", "memory", "cc");
    EQUAL(r12, 0x1213);
    EQUAL(r13, 0x1313);
    CHECK(after == before);
}

/*
 * few: they fit on the library's stack all at once. many: they do not, none blocks the others, and some may come again
 * within their own handlers.
 */
static int arrive(int argc, char **argv)
{
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
    pthread_t sender;

    int again = argc > 0 && strcmp(argv[0], "many") == 0 ? SA_NODEFER : 0;

    signals = again ? MANY : FEW;
    find_stack();
    sigaltstack(&stack, NULL);
    for (int i = 0; i < signals; i++) {
        if (i % 4 == 0)
            handle_plain(number(i), plain, SA_RESTART, i % 8 && !again ? EVERY : 0);
        else if (i % 4 == 2 && !again)
            handle_info(number(i), informed_apart, SA_RESTART | SA_ONSTACK, EVERY);
        else
            handle_info(number(i), informed, SA_RESTART | (i % 4 == 3 ? again : 0), 0);
    }
    pthread_create(&sender, NULL, send_all, (void *)pthread_self());
    for (int round = 0; round < ROUNDS; round++) {
        going = round + 1;
        long_access();
        while (done != round + 1)
            get();
    }
    pthread_join(sender, NULL);
    EQUAL(handled, sent);
    EQUAL(mask_now(), 0);
    show("handled %lu\n", handled);
    return 0;
}

/* --- system calls that are forbidden --- */

static int restrict_calls(unsigned action)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigprocmask, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    static struct sock_fprog program;

    program = (struct sock_fprog){sizeof(code) / sizeof(*code), code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (action == SECCOMP_RET_ERRNO) {
        /* By an instruction that nobody rewrites: as if it had been inherited. */
        static const uint8_t bytes[] = {0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89, 0xd6, 0x48, 0x89, 0xca, 0x0f, 0x05, 0xc3};
        void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        memcpy(page, bytes, sizeof(bytes));
        mprotect(page, 4096, PROT_READ | PROT_EXEC);
        return ((int (*)(long, long, long, void *))page)(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
    }
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static void end_here(void)
{
    kill(getpid(), SIGKILL);
}

static void killed_for_masks(void)
{
    EQUAL(restrict_calls(SECCOMP_RET_KILL_PROCESS), 0);
    for (unsigned i = 0; i < 5; i++)
        use(i);
    end_here();
}

static void refused_masks(void)
{
    EQUAL(restrict_calls(SECCOMP_RET_ERRNO | EACCES), 0);
    for (unsigned i = 0; i < 5; i++)
        use(i);
    end_here();
}

static void strict(void)
{
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
        _exit(77);
    for (unsigned i = 0; i < 5; i++)
        use(i);
    syscall(SYS_exit, failures ? 90 : 5);
}

static int restricted(int argc, char **argv)
{
    (void)argc, (void)argv;
    use(1);
    show("killed for it: %#x\n", child_status(killed_for_masks));
    show("refused: %#x\n", child_status(refused_masks));
    return 0;
}

/* Without a log: its times come from a counter that this mode forbids as well. */
static int strictly(int argc, char **argv)
{
    (void)argc, (void)argv;
    show("strict: %#x\n", child_status(strict));
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {{"arrive", arrive}, {"restricted", restricted}, {"strict", strictly}};

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
