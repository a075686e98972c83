/* flags: -O1 -lpthread -ldl -rdynamic -Wno-unused-function */
/*
 * A program's own faults, told in full by its handlers, with accesses to a
 * window inside of them and between. What is printed must be the same on
 * ordinary memory.
 */
#include <dlfcn.h>
#include <execinfo.h>
#include <setjmp.h>
#include <sys/time.h>

#include "e_guest.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31) /* <linux/signal.h>, which does not go with <signal.h> */
#endif

/* Instructions of 3 bytes that fault, at known places; the last two set what a handler has to give. */
__asm__(
    ".text\n"
    "try_read: mov (%rdi), %rax\n ret\n"
    "try_write: mov %rsi, (%rdi)\n ret\n"
    "try_divide: xor %ecx, %ecx\n mov $1, %eax\n cltd\n"
    "try_divide_at: idiv %ecx\n nop\n ret\n"
    "try_undefined: ud2\n nop\n ret\n"
    "try_break: int3\n nop\n nop\n nop\n ret\n"
    "try_privileged: hlt\n nop\n nop\n ret\n"
    "try_registers: push %rbx\n push %r12\n xor %eax, %eax\n xor %ebx, %ebx\n xor %r12d, %r12d\n"
    "    pxor %xmm5, %xmm5\n mov %rdi, %r11\n"
    "    mov (%r11), %rcx\n" /* here the handler fills in rax, rbx, r12, xmm5 and the carry, and steps over */
    "    setc %cl\n movzbl %cl, %ecx\n mov %rax, (%rsi)\n mov %rbx, 8(%rsi)\n mov %r12, 16(%rsi)\n mov %rcx, 24(%rsi)\n"
    "    movdqu %xmm5, 32(%rsi)\n pop %r12\n pop %rbx\n ret\n");
uint64_t try_read(const volatile void *address);
void try_write(volatile void *address, uint64_t value), try_registers(volatile void *address, uint64_t *out);
void try_divide(void), try_divide_at(void), try_undefined(void), try_break(void), try_privileged(void);

static volatile void *expected; /* an address that differs from run to run is told as "expected" */
static char stack[65536] __attribute__((aligned(16)));
static volatile int calls;
static sigjmp_buf away;

static void stand(const char *what)
{
    stack_t s;

    if (sigaltstack(NULL, &s) < 0)
        show("sigaltstack: %d\n", errno);
    show("%s: mask %#lx stack %s %#x size %zu\n", what, mask_now(), s.ss_sp == stack ? "mine" : s.ss_sp ? "?" : "none",
         (unsigned)s.ss_flags, s.ss_size);
}

static const char *place(const void *frame)
{
    return (const char *)frame >= stack && (const char *)frame < stack + sizeof(stack) ? "alternate" : "ordinary";
}

static const char *address_name(const void *address)
{
    static char text[40];

    if (address == expected)
        return "expected";
    if (address == (void *)try_divide_at || address == (void *)try_undefined)
        return "instruction";
    snprintf(text, sizeof(text), "%p", address);
    return text;
}

static void tell(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    greg_t *regs = uc->uc_mcontext.gregs;

    calls++;
    show("signal %d code %d errno %d address %s trap %lld error %#llx cr2 %s on %s, before: %#lx %#x\n", sig,
         info->si_code, info->si_errno,
         info->si_code > 0 || info->si_code == SI_KERNEL ? address_name(info->si_addr) : "-",
         info->si_code > 0 ? regs[REG_TRAPNO] : 0, info->si_code > 0 ? regs[REG_ERR] : 0,
         info->si_code > 0 && regs[REG_TRAPNO] == 14 ? address_name((void *)regs[REG_CR2]) : "-",
         place(__builtin_frame_address(0)), bits_of(&uc->uc_sigmask), (unsigned)uc->uc_stack.ss_flags);
    stand("inside");
    use((unsigned)sig);
    if (sig != SIGTRAP && info->si_code > 0)
        regs[REG_RIP] += regs[REG_RIP] == (greg_t)try_privileged ? 1 : 3;
}

static void tell_plain(int sig)
{
    calls++;
    show("signal %d on %s\n", sig, place(__builtin_frame_address(0)));
    stand("inside");
    use((unsigned)sig);
    siglongjmp(away, 1);
}

static void my_stack(int flags)
{
    stack_t s = {.ss_sp = stack, .ss_size = sizeof(stack), .ss_flags = flags};

    EQUAL(sigaltstack(&s, NULL), 0);
}

static void fault(volatile void *address, int write)
{
    expected = address;
    if (write)
        try_write(address, 1);
    else
        try_read(address);
    use(0x11);
}

/* --- faults --- */

static int own(int argc, char **argv)
{
    char *none = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *constant = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)argc, (void)argv;
    handle_info(SIGSEGV, tell, 0, 0);
    for (int write = 0; write < 2; write++) {
        fault((void *)(HOLE + 0x123), write);
        fault((void *)(HOLE + 0xffd), write);
        fault((void *)8, write);
        fault(none + 40, write);
        fault(none + 4096 - 3, write);
        fault((void *)0xffffffff81000000, write);
        fault((void *)0x8000000000000000, write);
        fault((void *)~7ul, write);
    }
    fault(constant + 100, 1);
    handle_info(SIGSEGV, tell, SA_NODEFER, 0);
    try_privileged();
    show("calls %d\n", calls);
    return 0;
}

static int flags(int argc, char **argv)
{
    static const int all[] = {0, SA_NODEFER, SA_ONSTACK, SA_NODEFER | SA_ONSTACK, SA_RESTART | SA_ONSTACK};

    (void)argc, (void)argv;
    my_stack(0);
    for (int i = 0; i < 15; i++) {
        uint64_t mask = i % 3 == 0 ? 0 : i % 3 == 1 ? BIT(SIGUSR1) | BIT(SIGSEGV) : EVERY;

        mask_change(SIG_SETMASK, i & 1 ? BIT(SIGUSR2) : 0);
        handle_info(SIGSEGV, tell, all[i % 5], mask);
        fault((void *)HOLE, i & 1);
        stand("after");
        if (sigsetjmp(away, 1) == 0) {
            handle_plain(SIGSEGV, tell_plain, all[i % 5], mask);
            fault((void *)HOLE, 0);
        }
        stand("after the jump");
    }
    return 0;
}

static void reset_action(int sig, siginfo_t *info, void *context)
{
    struct sigaction now;

    sigaction(sig, NULL, &now);
    show("inside: %s\n", now.sa_handler == SIG_DFL ? "default" : "set");
    tell(sig, info, context);
}

static void reset_twice(void)
{
    fault((void *)HOLE, 0);
    stand("between");
    fault((void *)HOLE, 0);
}

static void reset_and_set(void)
{
    for (int i = 0; i < 5; i++) {
        handle_info(SIGSEGV, reset_action, (int)SA_RESETHAND | SA_NODEFER, 0);
        fault((void *)HOLE, 0);
    }
}

static int reset(int argc, char **argv)
{
    (void)argc, (void)argv;
    handle_info(SIGSEGV, reset_action, (int)SA_RESETHAND, 0);
    show("twice: %#x\n", child_status(reset_twice));
    show("set again: %#x\n", child_status(reset_and_set));
    handle_info(SIGSEGV, reset_action, (int)SA_RESETHAND | SA_ONSTACK, 0);
    my_stack(0);
    show("on a stack: %#x\n", child_status(reset_twice));
    return 0;
}

/* --- alternate stacks --- */

static void change_stack(int sig, siginfo_t *info, void *context)
{
    static char other[65536];
    stack_t s = {.ss_sp = other, .ss_size = sizeof(other)}, off = {.ss_flags = SS_DISABLE};
    int result = sigaltstack(&s, NULL);

    show("set: %d %d\n", result, result ? errno : 0);
    result = sigaltstack(&off, NULL);
    show("off: %d %d\n", result, result ? errno : 0);
    tell(sig, info, context);
}

static int altstack(int argc, char **argv)
{
    (void)argc, (void)argv;
    stand("start");
    my_stack(0);
    stand("set");
    handle_info(SIGSEGV, change_stack, SA_ONSTACK, 0);
    fault((void *)HOLE, 0);
    stand("EPERM inside");
    handle_info(SIGSEGV, change_stack, 0, 0);
    fault((void *)HOLE, 0);
    stand("changed inside"); /* and restored by sigreturn */
    my_stack((int)SS_AUTODISARM);
    stand("autodisarm");
    handle_info(SIGSEGV, tell, SA_ONSTACK, 0);
    fault((void *)HOLE, 0);
    stand("after");
    handle_info(SIGSEGV, change_stack, SA_ONSTACK, 0);
    fault((void *)HOLE, 0);
    stand("changed under autodisarm");
    handle_info(SIGUSR1, change_stack, SA_ONSTACK, 0);
    raise(SIGUSR1);
    stand("sent");
    return 0;
}

/* --- nested --- */

static void deeper(int sig, siginfo_t *info, void *context)
{
    static const int next[] = {SIGUSR1, SIGFPE, SIGUSR2, SIGILL, SIGTERM, SIGTRAP};
    int at = calls;

    tell(sig, info, context);
    if (at < 6) {
        switch (next[at]) {
        case SIGFPE: try_divide(); break;
        case SIGILL: try_undefined(); break;
        case SIGTRAP: try_break(); break;
        default: raise(next[at]);
        }
    } else if (at < 8) {
        fault((void *)(HOLE + 0x40), 0);
    }
    stand("on the way out");
    use((unsigned)at);
}

static int nested(int argc, char **argv)
{
    static const int sigs[] = {SIGSEGV, SIGUSR1, SIGFPE, SIGUSR2, SIGILL, SIGTERM, SIGTRAP};

    my_stack(0);
    for (unsigned i = 0; i < 7; i++) /* SIGSEGV in the innermost must not be blocked */
        handle_info(sigs[i], deeper, (argc && i % 2 ? SA_ONSTACK : 0) | (i ? 0 : SA_NODEFER),
                    i ? BIT(SIGRTMIN) << i : 0);
    (void)argv;
    fault((void *)HOLE, 0);
    stand("end");
    show("calls %d\n", calls);
    return 0;
}

/* --- what a handler changes in the context --- */

static uint64_t to_mask;

static void change(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    greg_t *regs = uc->uc_mcontext.gregs;
    uint32_t *xmm5 = uc->uc_mcontext.fpregs->_xmm[5].element;

    (void)sig, (void)info;
    calls++;
    use((unsigned)calls);
    regs[REG_RAX] = 0x1111111111111111 * (calls % 15);
    regs[REG_RBX] = calls;
    regs[REG_R12] = -calls;
    regs[REG_RIP] += 3;
    regs[REG_EFL] = calls & 1 ? regs[REG_EFL] | 1 : regs[REG_EFL] & ~1;
    for (int i = 0; i < 4; i++)
        xmm5[i] = (uint32_t)(calls * 10 + i);
    uc->uc_sigmask = set_from(to_mask);
}

static int context(int argc, char **argv)
{
    static const uint64_t sets[] = {0, BIT(SIGUSR1), BIT(SIGSEGV), EVERY & ~BIT(SIGSEGV)};

    (void)argc, (void)argv;
    handle_info(SIGSEGV, change, 0, 0);
    my_stack(0);
    for (int i = 0; i < 32; i++) {
        uint64_t out[6] = {0};

        if (i == 16)
            handle_info(SIGSEGV, change, SA_ONSTACK, EVERY);
        to_mask = sets[i % 4];
        try_registers((void *)(HOLE + 64), out);
        show("%d: %#lx %#lx %#lx carry %ld xmm %#lx %#lx mask %#lx\n", i, out[0], out[1], out[2], out[3], out[4],
             out[5], mask_now());
        use((unsigned)i);
        mask_change(SIG_SETMASK, 0);
    }
    return 0;
}

/* A handler gives registers to the code that a signal interrupted, sent or by a timer, between accesses. */
static volatile uint64_t spun;

static void end_spin(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    (void)info;
    use((unsigned)sig);
    if (uc->uc_mcontext.gregs[REG_R11] == 0x5157) { /* it is in the loop */
        uc->uc_mcontext.gregs[REG_R11] = 0;
        uc->uc_mcontext.fpregs->_xmm[7].element[0] = 0xabcd;
        uc->uc_sigmask = set_from(BIT(SIGUSR2));
    }
}

static int spin(int argc, char **argv)
{
    (void)argc, (void)argv;
    handle_info(SIGALRM, end_spin, 0, BIT(SIGSEGV));
    for (int i = 0; i < 40; i++) {
        uint32_t low = 0;

        mask_change(SIG_SETMASK, 0);
        setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 1000}}, NULL);
        __asm__ volatile("pxor %%xmm7, %%xmm7\n mov $0x5157, %%r11d\n1: test %%r11, %%r11\n jnz 1b\n movd %%xmm7, %0"
                         : "=r"(low) : : "r11", "xmm7", "cc");
        EQUAL(low, 0xabcd);
        EQUAL(mask_now(), BIT(SIGUSR2));
        use((unsigned)i);
        spun++;
    }
    show("spun %lu\n", (unsigned long)spun);
    return 0;
}

/* The handler moves the thread elsewhere: out of a fault, to a function of its own on a stack of its own. */
static char elsewhere_stack[65536] __attribute__((aligned(16)));

__attribute__((noreturn)) static void elsewhere(uint64_t argument)
{
    show("elsewhere %#lx mask %#lx\n", (unsigned long)argument, mask_now());
    use(0x22);
    siglongjmp(away, 1);
}

static void move(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    (void)sig, (void)info;
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)elsewhere;
    uc->uc_mcontext.gregs[REG_RSP] = (greg_t)(elsewhere_stack + sizeof(elsewhere_stack) - 8);
    uc->uc_mcontext.gregs[REG_RDI] = 0x1234;
}

static int moved(int argc, char **argv)
{
    (void)argc, (void)argv;
    handle_info(SIGSEGV, move, 0, 0);
    handle_info(SIGUSR1, move, 0, 0);
    for (volatile int i = 0; i < 100; i++) {
        if (sigsetjmp(away, 1) == 0) {
            if (i & 1)
                raise(SIGUSR1);
            else
                try_read((void *)HOLE);
        }
        use((unsigned)i);
    }
    return 0;
}

/* --- the other faults --- */

static int others(int argc, char **argv)
{
    static const int sigs[] = {SIGFPE, SIGILL, SIGBUS, SIGTRAP};
    int fd = memfd_create("short", 0);
    char *beyond;

    (void)argc, (void)argv;
    if (ftruncate(fd, 8192) < 0)
        return 91;
    beyond = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    beyond[4096] = 1;
    if (ftruncate(fd, 4096) < 0)
        return 91;
    my_stack(0);
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 4; i++)
            handle_info(sigs[i], tell, round & 1 ? SA_ONSTACK : 0, round > 1 ? EVERY : 0);
        if (round > 3)
            mask_change(SIG_BLOCK, BIT(SIGSEGV));
        try_divide();
        use(1);
        try_undefined();
        use(2);
        fault(beyond + 4096 + 24, round & 1);
        try_break();
        use(3);
    }
    return 0;
}

/* --- stacks as the program's own unwinder sees them --- */

void traced_handler(int sig, siginfo_t *info, void *context);
int fault_here(int sent), fault_below(int sent), backtraces(int argc, char **argv);

void traced_handler(int sig, siginfo_t *info, void *context)
{
    char line[400] = "";
    void *frames[32];
    int n = backtrace(frames, 32);

    (void)sig, (void)info;
    for (int i = 0; i < n; i++) {
        Dl_info found = {0};

        dladdr((char *)frames[i] - (i > 0), &found);
        snprintf(line + strlen(line), sizeof(line) - strlen(line), " %s", found.dli_sname ? found.dli_sname : "?");
        if (found.dli_sname && strcmp(found.dli_sname, "main") == 0)
            break;
    }
    show("frames:%s\n", line);
    use((unsigned)sig);
    if (sig == SIGSEGV)
        ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 3;
}

__attribute__((noinline)) int fault_here(int sent_)
{
    uint64_t value = 0;

    if (sent_)
        raise(SIGUSR1);
    else
        __asm__ volatile("mov (%1), %0" : "=a"(value) : "D"(HOLE) : "memory"); /* 3 bytes */
    return (int)value + sent_;
}

__attribute__((noinline)) int fault_below(int sent_)
{
    return fault_here(sent_) + 1;
}

int backtraces(int argc, char **argv)
{
    int sum = 0;

    (void)argc, (void)argv;
    my_stack(0);
    for (int i = 0; i < 6; i++) {
        handle_info(SIGSEGV, traced_handler, i & 2 ? SA_ONSTACK : 0, i & 4 ? EVERY : 0);
        handle_info(SIGUSR1, traced_handler, i & 2 ? SA_ONSTACK : 0, i & 4 ? EVERY : 0);
        sum += fault_below(i & 1);
    }
    return sum == 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"own", own},           {"flags", flags},       {"reset", reset},         {"altstack", altstack},
        {"nested", nested},
        {"context", context},   {"spin", spin},         {"moved", moved},         {"others", others},
        {"backtrace", backtraces},
    };

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
