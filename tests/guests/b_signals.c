/* flags: -O1 -lpthread */
/*
 * A program's own signals while it uses windows: its faults, its handlers, its
 * masks. Every action ends with 0 when all was as it is without the library.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

#include "b_guest.h"

#define SKIP 3 /* bytes of the instructions below */

/* Faulting instructions of a known length at known places. */
__asm__(".text\n"
        "fault_read: .globl fault_read\n mov (%rdi), %rax\n ret\n"
        "fault_write: .globl fault_write\n mov %rsi, (%rdi)\n ret\n"
        "fault_divide: .globl fault_divide\n xor %ecx, %ecx\n mov $1, %eax\n cltd\n"
        "fault_divide_at: .globl fault_divide_at\n idiv %ecx\n nop\n ret\n"
        "fault_undefined: .globl fault_undefined\n ud2\n nop\n ret\n"
        "fault_break: .globl fault_break\n int3\n"
        "fault_break_after: .globl fault_break_after\n nop\n nop\n nop\n ret\n");
uint64_t fault_read(const volatile void *address);
void fault_write(volatile void *address, uint64_t value);
void fault_divide(void), fault_divide_at(void), fault_undefined(void), fault_break(void), fault_break_after(void);

static volatile int calls, last_sig, last_code;
static void *volatile last_addr;
static volatile uintptr_t last_rip, last_cr2, last_err, last_sp;
static sigjmp_buf away;

static void note(int sig, const siginfo_t *info, void *context)
{
    const ucontext_t *uc = context;

    calls++;
    last_sig = sig;
    last_code = info->si_code;
    last_addr = info->si_addr;
    last_rip = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
    last_cr2 = (uintptr_t)uc->uc_mcontext.gregs[REG_CR2];
    last_err = (uintptr_t)uc->uc_mcontext.gregs[REG_ERR];
    last_sp = (uintptr_t)__builtin_frame_address(0);
}

/* Notes the fault, uses the device, goes on behind the instruction. */
static void skip(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    uint8_t before = *SCR;

    note(sig, info, context);
    *SCR = (uint8_t)~before;
    EQUAL(*SCR, (uint8_t)~before);
    *SCR = before;
    if (info->si_code > 0 && sig != SIGTRAP) /* sent signals have no instruction */
        uc->uc_mcontext.gregs[REG_RIP] += SKIP;
}

static void jump(int sig, siginfo_t *info, void *context)
{
    note(sig, info, context);
    siglongjmp(away, 1);
}

static void plain(int sig)
{
    calls++;
    last_sig = sig;
    siglongjmp(away, 1);
}

static void handle(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction act = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

    sigemptyset(&act.sa_mask);
    EQUAL(sigaction(sig, &act, NULL), 0);
}

static sigset_t set_of(int sig)
{
    sigset_t set;

    sigemptyset(&set);
    if (sig)
        sigaddset(&set, sig);
    return set;
}

/* Runs `part` in a child; its wait status. */
static int in_child(void (*part)(void))
{
    int status = -1;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        part();
        exit(failures ? 90 : 0);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

/* --- the program's own faults --- */

static void fault_at(const volatile void *address, int write, int code)
{
    int before = calls;

    *SCR = 0x21;
    if (write)
        fault_write((volatile void *)(uintptr_t)address, 1);
    else
        fault_read(address);
    EQUAL(calls, before + 1);
    EQUAL(last_sig, SIGSEGV);
    EQUAL(last_code, code);
    EQUAL(last_addr, address);
    EQUAL(last_cr2, address);
    EQUAL(last_rip, write ? (uintptr_t)fault_write : (uintptr_t)fault_read);
    EQUAL(last_err & 2, write ? 2 : 0);
    EQUAL(*SCR, 0x21);
}

static int own(int argc, char **argv)
{
    char *none = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *constant = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)argc;
    (void)argv;
    handle(SIGSEGV, skip, 0);
    for (int i = 0; i < 100; i++) {
        fault_at((void *)(HOLE + 0x123), 0, SEGV_MAPERR);
        fault_at((void *)(HOLE + 0x1ff8), 1, SEGV_MAPERR);
        fault_at((void *)8, 0, SEGV_MAPERR);
        fault_at(none + 40, 0, SEGV_ACCERR);
        fault_at(none + 4096, 1, SEGV_ACCERR);
        fault_at(constant, 1, SEGV_ACCERR);
    }
    EQUAL(calls, 600);
    /* No canonical address: the kernel knows none. */
    *SCR = 1;
    fault_read((void *)0x8000000000000000);
    EQUAL(last_code, SI_KERNEL);
    EQUAL(last_addr, 0);
    EQUAL(last_rip, fault_read);
    return 0;
}

/* The jump out of the handler, by sigaction and by signal, ten thousand times. */
static int jumps(int argc, char **argv)
{
    volatile int i;

    (void)argc;
    (void)argv;
    for (i = 0; i < 10000; i++) {
        sigset_t now;

        if (i % 5000 == 0)
            handle(SIGSEGV, jump, 0);
        else if (i % 5000 == 2500)
            signal(SIGSEGV, plain);
        if (sigsetjmp(away, 1) == 0) {
            if (i & 1)
                *(volatile int *)(HOLE + 4 * (unsigned)i) = i;
            else
                fault_read((void *)(HOLE + 16));
            CHECK(!"comes back");
        }
        sigprocmask(SIG_BLOCK, NULL, &now);
        EQUAL(sigismember(&now, SIGSEGV), 0);
        if (i % 100 == 0) {
            *SCR = (uint8_t)i;
            EQUAL(*SCR, (uint8_t)i);
        }
    }
    EQUAL(calls, 10000);
    return 0;
}

/* --- flags --- */

static char stack[65536] __attribute__((aligned(16)));
static stack_t inside;
static sigset_t mask_inside;
static struct sigaction action_inside;

static void look(int sig, siginfo_t *info, void *context)
{
    sigaltstack(NULL, &inside);
    sigprocmask(SIG_BLOCK, NULL, &mask_inside);
    sigaction(sig, NULL, &action_inside);
    skip(sig, info, context);
}

static int onstack(int argc, char **argv)
{
    stack_t mine = {.ss_sp = stack, .ss_size = sizeof(stack)}, got;

    (void)argc;
    (void)argv;
    EQUAL(sigaltstack(&mine, NULL), 0);
    *SCR = 3;
    EQUAL(sigaltstack(NULL, &got), 0);
    EQUAL(got.ss_sp, stack);
    EQUAL(got.ss_size, sizeof(stack));
    EQUAL(got.ss_flags, 0);
    handle(SIGSEGV, look, SA_ONSTACK);
    fault_read((void *)HOLE);
    CHECK(last_sp - (uintptr_t)stack < sizeof(stack));
    EQUAL(inside.ss_flags, SS_ONSTACK);
    EQUAL(inside.ss_sp, stack);
    handle(SIGSEGV, look, 0);
    fault_read((void *)HOLE);
    CHECK(last_sp - (uintptr_t)stack >= sizeof(stack));
    EQUAL(inside.ss_flags, 0);
    handle(SIGUSR1, look, SA_ONSTACK);
    last_sp = 0;
    raise(SIGUSR1);
    CHECK(last_sp - (uintptr_t)stack < sizeof(stack));
    EQUAL(inside.ss_flags, SS_ONSTACK);
    mine.ss_flags = SS_DISABLE;
    EQUAL(sigaltstack(&mine, NULL), 0);
    EQUAL(sigaltstack(NULL, &got), 0);
    EQUAL(got.ss_flags, SS_DISABLE);
    *SCR = 4;
    EQUAL(*SCR, 4);
    mine.ss_flags = 0;
    mine.ss_size = 100;
    EQUAL(sigaltstack(&mine, NULL), -1);
    EQUAL(errno, ENOMEM);
    return 0;
}

/* A stack of the smallest size that the kernel takes, and a handler on it that uses a window. */
static void on_small(int sig)
{
    last_sig = sig;
    last_sp = (uintptr_t)__builtin_frame_address(0);
    *SCR = (uint8_t)(*SCR + 1);
}

static int small_stack(int argc, char **argv)
{
    size_t size = getauxval(AT_MINSIGSTKSZ) + 512;
    char *p = mmap(NULL, 3 * 4096 + 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *bottom = p + 4096;
    stack_t mine = {.ss_sp = bottom, .ss_size = size};
    struct sigaction act = {.sa_handler = on_small, .sa_flags = SA_ONSTACK};

    (void)argc;
    (void)argv;
    mprotect(p, 4096, PROT_NONE); /* what runs off the stack faults */
    *SCR = 0;
    EQUAL(sigaltstack(&mine, NULL), 0);
    sigaction(SIGUSR2, &act, NULL);
    for (int i = 0; i < 200; i++)
        raise(SIGUSR2);
    CHECK(last_sp - (uintptr_t)bottom < size);
    EQUAL(*SCR, 200);
    return 0;
}

static int chosen_mask(int argc, char **argv)
{
    struct sigaction act = {.sa_sigaction = look, .sa_flags = SA_SIGINFO};

    (void)argc;
    (void)argv;
    sigemptyset(&act.sa_mask);
    sigaddset(&act.sa_mask, SIGUSR1);
    sigaddset(&act.sa_mask, SIGTERM);
    sigaction(SIGSEGV, &act, NULL);
    fault_read((void *)HOLE);
    EQUAL(sigismember(&mask_inside, SIGUSR1), 1);
    EQUAL(sigismember(&mask_inside, SIGTERM), 1);
    EQUAL(sigismember(&mask_inside, SIGUSR2), 0);
    sigprocmask(SIG_BLOCK, NULL, &mask_inside);
    EQUAL(sigismember(&mask_inside, SIGUSR1), 0);
    return 0;
}

/* Inside the handler of a signal that signal is blocked, unless SA_NODEFER. */
static int deferred(int argc, char **argv)
{
    int sig = argc ? atoi(argv[0]) : SIGSEGV;

    handle(sig, look, 0);
    if (sig == SIGSEGV)
        fault_read((void *)HOLE);
    else
        raise(sig);
    EQUAL(sigismember(&mask_inside, sig), 1);
    handle(sig, look, SA_NODEFER);
    if (sig == SIGSEGV)
        fault_read((void *)HOLE);
    else
        raise(sig);
    EQUAL(sigismember(&mask_inside, sig), 0);
    EQUAL(calls, 2);
    return 0;
}

static void nested(int sig, siginfo_t *info, void *context)
{
    if (calls < 5) {
        calls++;
        fault_read((void *)(HOLE + 8));
    }
    skip(sig, info, context);
}

static int no_defer(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    handle(SIGSEGV, nested, SA_NODEFER);
    fault_read((void *)HOLE);
    EQUAL(calls, 11); /* five on the way in, six on the way out */
    return 0;
}

static void faults_again(int sig)
{
    (void)sig;
    if (write(1, "handler\n", 8) == 8)
        fault_read((void *)(HOLE + 8));
}

static void fault_in_handler(void)
{
    signal(SIGSEGV, faults_again);
    fault_read((void *)HOLE);
}

static void blocked_fault(void)
{
    sigset_t set = set_of(SIGSEGV);

    handle(SIGSEGV, skip, 0);
    sigprocmask(SIG_BLOCK, &set, NULL);
    fault_read((void *)HOLE);
}

static void ignored_fault(void)
{
    signal(SIGSEGV, SIG_IGN);
    *SCR = 1;
    fault_read((void *)HOLE);
}

static void reset_twice(void)
{
    handle(SIGSEGV, look, SA_RESETHAND);
    fault_read((void *)HOLE);
    EQUAL(calls, 1);
    CHECK(action_inside.sa_handler == SIG_DFL);
    *SCR = 7;
    EQUAL(*SCR, 7);
    if (failures)
        _exit(90);
    fault_read((void *)HOLE);
}

/* What ends the program without the library ends it with it, the same way. */
static int fatal_faults(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("handler that faults: %#x\n", in_child(fault_in_handler));
    printf("blocked: %#x\n", in_child(blocked_fault));
    printf("ignored: %#x\n", in_child(ignored_fault));
    printf("reset: %#x\n", in_child(reset_twice));
    return 0;
}

/* --- read back --- */

static void some_handler(int sig)
{
    (void)sig;
}

static void print_action(int sig)
{
    struct sigaction act;

    if (sigaction(sig, NULL, &act) < 0) {
        printf("%d: errno %d\n", sig, errno);
        return;
    }
    printf("%d: %s flags %#x mask", sig,
           act.sa_handler == SIG_DFL ? "default" : act.sa_handler == SIG_IGN ? "ignored" :
           act.sa_handler == some_handler ? "handler" : "?", (unsigned)act.sa_flags & ~0x04000000u);
    for (int s = 1; s < 65; s++)
        if (sigismember(&act.sa_mask, s) == 1)
            printf(" %d", s);
    printf("\n");
}

static void print_mask(const char *what)
{
    sigset_t now;

    sigprocmask(SIG_BLOCK, NULL, &now);
    printf("%s:", what);
    for (int s = 1; s < 65; s++)
        if (sigismember(&now, s) == 1)
            printf(" %d", s);
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    printf(" segv %d\n", sigismember(&now, SIGSEGV));
}

/* Sets and prints everything there is to set. The output is the same with and without the library. */
static int read_back(int argc, char **argv)
{
    static const int flags[] = {0, SA_SIGINFO, SA_ONSTACK, SA_NODEFER, SA_RESETHAND, SA_RESTART, SA_NOCLDSTOP | SA_NOCLDWAIT,
                                SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESETHAND | SA_RESTART};
    sigset_t set, old;

    (void)argc;
    (void)argv;
    for (int sig = 1; sig < 65; sig++)
        print_action(sig);
    for (int sig = 0; sig < 66; sig++) {
        struct sigaction act = {.sa_handler = some_handler, .sa_flags = flags[sig % 8]};

        sigemptyset(&act.sa_mask);
        sigaddset(&act.sa_mask, sig % 31 + 1);
        sigaddset(&act.sa_mask, SIGSEGV);
        errno = 0;
        printf("set %d: %d %d\n", sig, sigaction(sig, &act, NULL), errno);
        print_action(sig);
        if (sig % 3 == 0 && sig > 0 && sig < 64) {
            printf("signal %d: was %s\n", sig, signal(sig, SIG_IGN) == SIG_IGN ? "ignored" : "other");
            print_action(sig);
        }
    }
    print_mask("start");
    sigfillset(&set);
    sigprocmask(SIG_SETMASK, &set, &old);
    print_mask("all");
    sigdelset(&set, SIGSEGV);
    sigprocmask(SIG_SETMASK, &set, &old);
    printf("old segv %d\n", sigismember(&old, SIGSEGV));
    print_mask("all but segv");
    set = set_of(SIGSEGV);
    sigprocmask(SIG_SETMASK, &set, NULL);
    print_mask("segv only");
    sigprocmask(SIG_BLOCK, &(sigset_t){0}, &old);
    printf("old segv %d\n", sigismember(&old, SIGSEGV));
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    print_mask("none");
    errno = 0;
    printf("bad how %d %d\n", sigprocmask(77, &set, NULL), errno);
    print_mask("still none");
    printf("pthread bad how %d\n", pthread_sigmask(77, &set, NULL));
    printf("kill action %d\n", sigaction(SIGKILL, &(struct sigaction){.sa_handler = some_handler}, NULL));
    return 0;
}

/* --- masks --- */

static int masked(int argc, char **argv)
{
    sigset_t all, segv = set_of(SIGSEGV), now;

    (void)argc;
    (void)argv;
    sigfillset(&all);
    EQUAL(sigprocmask(SIG_BLOCK, &segv, NULL), 0);
    *SCR = 1;
    EQUAL(*SCR, 1);
    sigprocmask(SIG_BLOCK, NULL, &now);
    EQUAL(sigismember(&now, SIGSEGV), 1);
    EQUAL(sigprocmask(SIG_UNBLOCK, &segv, NULL), 0);
    *SCR = 2;
    EQUAL(sigprocmask(SIG_SETMASK, &all, NULL), 0);
    *SCR = 3;
    EQUAL(*SCR, 3);
    sigprocmask(SIG_BLOCK, NULL, &now);
    for (int sig = 1; sig < 32; sig++)
        EQUAL(sigismember(&now, sig), sig != SIGKILL && sig != SIGSTOP);
    EQUAL(pthread_sigmask(SIG_UNBLOCK, &all, NULL), 0);
    *SCR = 4;
    EQUAL(*SCR, 4);
    return 0;
}

/* --- the other synchronous signals --- */

static int others(int argc, char **argv)
{
    char path[] = "/tmp/b-signals-XXXXXX";
    int fd = mkstemp(path);
    char *beyond;

    (void)argc;
    (void)argv;
    unlink(path);
    if (ftruncate(fd, 4096) < 0)
        return 91;
    beyond = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    handle(SIGFPE, skip, 0);
    handle(SIGILL, skip, 0);
    handle(SIGBUS, skip, 0);
    handle(SIGTRAP, skip, 0);
    for (int i = 0; i < 50; i++) {
        *SCR = (uint8_t)i;
        fault_divide();
        EQUAL(last_sig, SIGFPE);
        EQUAL(last_code, FPE_INTDIV);
        EQUAL(last_rip, fault_divide_at);
        EQUAL(last_addr, fault_divide_at);
        fault_undefined();
        EQUAL(last_sig, SIGILL);
        EQUAL(last_code, ILL_ILLOPN);
        EQUAL(last_rip, fault_undefined);
        fault_read(beyond + 4096 + 24);
        EQUAL(last_sig, SIGBUS);
        EQUAL(last_code, BUS_ADRERR);
        EQUAL(last_addr, beyond + 4096 + 24);
        EQUAL(last_rip, fault_read);
        fault_break();
        EQUAL(last_sig, SIGTRAP);
        EQUAL(last_code, SI_KERNEL);
        EQUAL(last_rip, fault_break_after);
        EQUAL(*SCR, (uint8_t)i);
    }
    EQUAL(calls, 200);
    return 0;
}

/* --- deaths --- */

static int death;

static void die_of(void)
{
    *SCR = 1;
    signal(death, SIG_DFL);
    kill(getpid(), death);
    usleep(1000);
    exit(0);
}

static void die_of_divide(void)
{
    fault_divide();
}

static void die_of_undefined(void)
{
    fault_undefined();
}

static void die_of_break(void)
{
    fault_break();
}

static void die_of_segv(void)
{
    fault_write((void *)HOLE, 1);
}

/* Wait statuses of children that every signal ends or does not. The same with and without. */
static int deaths(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    for (death = 1; death < 65; death++)
        if (death != SIGSTOP && death != SIGTSTP && death != SIGTTIN && death != SIGTTOU && death != 32 && death != 33)
            printf("signal %d: %#x\n", death, in_child(die_of));
    printf("divide: %#x\n", in_child(die_of_divide));
    printf("undefined: %#x\n", in_child(die_of_undefined));
    printf("break: %#x\n", in_child(die_of_break));
    printf("segv: %#x\n", in_child(die_of_segv));
    printf("abort: %#x\n", in_child(abort));
    return 0;
}

/* crash KIND: for the look at a core. */
static int crash(int argc, char **argv)
{
    (void)argc;
    *SCR = 0x55;
    switch (argc ? argv[0][0] : 's') {
    case 'd': fault_divide(); break;
    case 'u': fault_undefined(); break;
    case 'a': abort();
    case 'k': kill(getpid(), SIGSEGV); break;
    default: fault_write((void *)(HOLE + 0x10), 0x77);
    }
    return 0;
}

/* --- asynchronous ones --- */

static volatile unsigned ticks, accesses;

/* Leaves the register as it was found. */
static void tick(int sig)
{
    uint8_t before = *SCR, other = (uint8_t)~before;

    (void)sig;
    *SCR = other;
    if (*SCR != other)
        failures++;
    *SCR = before;
    ticks++;
    accesses += 4;
}

/* timer MILLISECONDS: SCR from the main loop and from a handler at 10 kHz. Prints how many accesses there were. */
static int timer(int argc, char **argv)
{
    struct itimerval fast = {{0, 100}, {0, 100}}, none = {{0, 0}, {0, 0}};
    struct sigaction act = {.sa_handler = tick, .sa_flags = SA_RESTART};
    unsigned rounds = 0;
    struct timespec from, now;

    sigemptyset(&act.sa_mask);
    sigaction(SIGALRM, &act, NULL);
    clock_gettime(CLOCK_MONOTONIC, &from);
    setitimer(ITIMER_REAL, &fast, NULL);
    do {
        *SCR = (uint8_t)rounds;
        EQUAL(*SCR, (uint8_t)rounds);
        rounds++;
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < (argc ? atoi(argv[0]) : 500));
    setitimer(ITIMER_REAL, &none, NULL);
    printf("%u\n", accesses + 2 * rounds);
    CHECK(ticks > 100);
    return 0;
}

static void uses(int sig)
{
    calls++;
    last_sig = sig;
    *SCR = (uint8_t)(*SCR + 1);
}

/* Calls that wait with a mask of their own: with everything blocked but one signal, whose handler uses a window. */
static int waits(int argc, char **argv)
{
    struct timespec second = {1, 0};
    struct sigaction act = {.sa_handler = uses};
    sigset_t usr = set_of(SIGUSR1), but, now;
    int fds[2], ep = epoll_create1(0);

    (void)argc;
    (void)argv;
    sigemptyset(&act.sa_mask);
    sigaction(SIGUSR1, &act, NULL);
    sigprocmask(SIG_BLOCK, &usr, NULL);
    sigfillset(&but);
    sigdelset(&but, SIGUSR1);
    *SCR = 0;
    if (pipe(fds) < 0)
        return 91;
    raise(SIGUSR1);
    EQUAL(calls, 0);
    EQUAL(sigsuspend(&but), -1);
    EQUAL(errno, EINTR);
    EQUAL(calls, 1);
    raise(SIGUSR1);
    EQUAL(ppoll(&(struct pollfd){fds[0], POLLIN, 0}, 1, &second, &but), -1);
    EQUAL(errno, EINTR);
    EQUAL(calls, 2);
    raise(SIGUSR1);
    EQUAL(pselect(0, NULL, NULL, NULL, &second, &but), -1);
    EQUAL(errno, EINTR);
    EQUAL(calls, 3);
    raise(SIGUSR1);
    EQUAL(epoll_pwait(ep, &(struct epoll_event){0}, 1, 1000, &but), -1);
    EQUAL(errno, EINTR);
    EQUAL(calls, 4);
    sigemptyset(&but);
    raise(SIGUSR1);
    EQUAL(sigsuspend(&but), -1);
    EQUAL(calls, 5);
    EQUAL(*SCR, 5);
    raise(SIGUSR1);
    EQUAL(sigtimedwait(&usr, NULL, &second), SIGUSR1);
    EQUAL(calls, 5);
    sigprocmask(SIG_BLOCK, NULL, &now);
    EQUAL(sigismember(&now, SIGUSR1), 1);
    EQUAL(sigismember(&now, SIGSEGV), 0);
    EQUAL(pselect(0, NULL, NULL, NULL, &(struct timespec){0, 1000}, NULL), 0);
    return 0;
}

/* --- inherited --- */

/* pass WHAT: sets, then becomes "received WHAT". */
static int pass(int argc, char **argv)
{
    sigset_t set = set_of(SIGSEGV);

    if (argc < 1)
        return 97;
    *SCR = 1;
    if (!strcmp(argv[0], "ignored"))
        signal(SIGSEGV, SIG_IGN);
    else if (!strcmp(argv[0], "blocked"))
        sigprocmask(SIG_BLOCK, &set, NULL);
    else if (!strcmp(argv[0], "handled"))
        handle(SIGSEGV, skip, 0);
    execl("/proc/self/exe", "b_signals", "received", argv[0], (char *)NULL);
    return 96;
}

static int received(int argc, char **argv)
{
    struct sigaction act;
    sigset_t now;

    if (argc < 1)
        return 97;
    sigaction(SIGSEGV, NULL, &act);
    sigprocmask(SIG_BLOCK, NULL, &now);
    CHECK(act.sa_handler == (strcmp(argv[0], "ignored") ? SIG_DFL : SIG_IGN));
    EQUAL(sigismember(&now, SIGSEGV), !strcmp(argv[0], "blocked"));
    *SCR = 2;
    EQUAL(*SCR, 2);
    return 0;
}

/* hangup: SIGHUP as it was inherited, then one to ourselves. */
static int hangup(int argc, char **argv)
{
    struct sigaction act;

    (void)argc;
    (void)argv;
    sigaction(SIGHUP, NULL, &act);
    *SCR = 1;
    printf("%s\n", act.sa_handler == SIG_IGN ? "ignored" : "default");
    fflush(stdout);
    kill(getpid(), SIGHUP);
    *SCR = 2;
    printf("lives\n");
    return 0;
}

/* write-loop: bytes to the UART until a signal ends it. */
static int write_loop(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    for (;;)
        *(volatile uint8_t *)UART = 'x';
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"own", own},       {"jumps", jumps},       {"onstack", onstack}, {"small-stack", small_stack},
        {"mask", chosen_mask}, {"deferred", deferred}, {"no-defer", no_defer}, {"fatal-faults", fatal_faults},
        {"read-back", read_back}, {"masked", masked}, {"others", others}, {"deaths", deaths},
        {"crash", crash},   {"timer", timer},       {"waits", waits},     {"pass", pass},
        {"received", received}, {"hangup", hangup}, {"write-loop", write_loop},
    };

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
