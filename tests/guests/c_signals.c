/* flags: -lpthread -Wno-deprecated-declarations */
/*
 * What POSIX and the kernel say of signals in the corners: vfork children,
 * handlers that fault, one-shot handlers, signals that wait, the first process
 * of a pid namespace. Actions print what happens; it must be the same without
 * the library.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>

#include "b_guest.h"

#define FAULT() (*(volatile int *)8 = 1)

static sigjmp_buf away;
static volatile int calls;
static char stack[65536];

static void say(const char *text)
{
    if (write(1, text, strlen(text)) < 0)
        _exit(98);
}

static void say_number(const char *text, long n)
{
    char line[100];

    snprintf(line, sizeof(line), "%s %ld\n", text, n);
    say(line);
}

static sigset_t set_of(int sig)
{
    sigset_t set;

    sigemptyset(&set);
    if (sig)
        sigaddset(&set, sig);
    return set;
}

static int blocked(int sig)
{
    sigset_t now;

    sigprocmask(SIG_BLOCK, NULL, &now);
    return sigismember(&now, sig);
}

static int pending(int sig)
{
    sigset_t now;

    sigpending(&now);
    return sigismember(&now, sig);
}

static void change(int how, int sig)
{
    sigset_t set = set_of(sig);

    sigprocmask(how, &set, NULL);
}

static void handle_masked(int sig, void (*handler)(int), int flags, int masked)
{
    struct sigaction act = {.sa_handler = handler, .sa_flags = flags, .sa_mask = set_of(masked)};

    sigaction(sig, &act, NULL);
}

static void handle(int sig, void (*handler)(int), int flags)
{
    handle_masked(sig, handler, flags, 0);
}

static void own_stack(void)
{
    stack_t s = {.ss_sp = stack, .ss_size = sizeof(stack)};

    sigaltstack(&s, NULL);
}

static void tell(int sig)
{
    char here;

    *SCR = (uint8_t)sig;
    say_number(&here - stack < (long)sizeof(stack) && &here >= stack ? "handled on the stack" : "handled", sig);
}

static void jump(int sig)
{
    tell(sig);
    siglongjmp(away, 1);
}

/* --- vfork --- */

static int do_vfork(int argc, char **argv)
{
    stack_t s;
    pid_t pid;

    (void)argc, (void)argv;
    own_stack();
    handle(SIGUSR1, tell, SA_ONSTACK);
    handle(SIGUSR2, tell, SA_RESETHAND);
    handle(SIGSEGV, jump, SA_ONSTACK);
    pid = vfork();
    if (pid == 0) {
        stack_t off = {.ss_flags = SS_DISABLE};

        signal(SIGUSR1, SIG_DFL);
        signal(SIGUSR2, SIG_IGN);
        signal(SIGSEGV, SIG_DFL);
        signal(SIGTERM, SIG_IGN);
        sigaltstack(&off, NULL);
        change(SIG_BLOCK, SIGSEGV);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    sigaltstack(NULL, &s);
    say_number("altstack kept", s.ss_sp == stack);
    say_number("segv blocked", blocked(SIGSEGV));
    raise(SIGUSR1);
    raise(SIGUSR2);
    if (!sigsetjmp(away, 1))
        FAULT();
    raise(SIGTERM);
    return 97;
}

/* A handler that a vfork child sets is the child's alone; a copy of the process that libc knows nothing of has its own. */
static int do_clone(int argc, char **argv)
{
    int status;
    pid_t pid;

    (void)argc, (void)argv;
    handle(SIGUSR1, tell, 0);
    pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        handle(SIGUSR1, SIG_IGN, 0);
        handle(SIGSEGV, jump, 0);
        if (!sigsetjmp(away, 1))
            FAULT();
        syscall(SYS_kill, syscall(SYS_getpid), SIGUSR1);
        syscall(SYS_exit_group, 5);
    }
    waitpid(pid, &status, 0);
    say_number("status", status);
    raise(SIGUSR1);
    FAULT();
    return 97;
}

/* --- handlers that fault --- */

static void fault_again(int sig)
{
    tell(sig);
    say_number("blocked", blocked(SIGSEGV));
    if (++calls == 100)
        _exit(7);
    FAULT();
}

static void unblock_first(int sig)
{
    tell(sig);
    change(SIG_UNBLOCK, SIGSEGV);
    say_number("blocked", blocked(SIGSEGV));
    if (++calls == 3)
        _exit(7);
    FAULT();
}

/* Masks changed in the handler end with it. */
static void restore(int sig)
{
    sigset_t full, none = set_of(0), old;

    tell(sig);
    sigfillset(&full);
    sigprocmask(SIG_SETMASK, &full, &old);
    sigprocmask(SIG_SETMASK, &old, NULL);
    say_number("blocked", blocked(SIGSEGV));
    sigprocmask(SIG_SETMASK, &none, &old);
    say_number("unblocked", blocked(SIGSEGV));
    sigprocmask(SIG_SETMASK, &old, NULL);
    say_number("blocked again", blocked(SIGSEGV));
}

static void restore_and_jump(int sig)
{
    restore(sig);
    siglongjmp(away, 1);
}

static void raise_other(int sig)
{
    tell(sig);
    raise(SIGUSR2);
}

static int do_faulting(int argc, char **argv)
{
    const char *how = argc ? argv[0] : "";

    own_stack();
    if (strcmp(how, "plain") == 0)
        handle(SIGSEGV, fault_again, 0);
    else if (strcmp(how, "onstack") == 0)
        handle(SIGSEGV, fault_again, SA_ONSTACK);
    else if (strcmp(how, "no-defer") == 0)
        handle(SIGSEGV, fault_again, SA_NODEFER);
    else if (strcmp(how, "masked") == 0)
        handle_masked(SIGSEGV, fault_again, SA_NODEFER, SIGSEGV);
    else if (strcmp(how, "unblocked") == 0)
        handle(SIGSEGV, unblock_first, 0);
    else if (strcmp(how, "other") == 0) {
        handle(SIGSEGV, tell, 0);
        handle_masked(SIGUSR1, fault_again, 0, SIGSEGV);
        raise(SIGUSR1);
    } else if (strcmp(how, "nested") == 0) {
        /* Another signal's handler, on another stack, within the one of SIGSEGV. */
        handle(SIGUSR2, fault_again, SA_ONSTACK);
        handle(SIGSEGV, raise_other, 0);
    } else if (strcmp(how, "jumps") == 0) {
        handle(SIGSEGV, restore_and_jump, 0);
        for (volatile int i = 0; i < 3; i++)
            if (!sigsetjmp(away, 1))
                FAULT();
        say_number("at the end", blocked(SIGSEGV));
        return 0;
    }
    FAULT();
    return 97;
}

/* --- one shot --- */

static int do_one_shot(int argc, char **argv)
{
    int sig = argc ? atoi(argv[0]) : SIGTERM;
    struct sigaction old;

    handle_masked(sig, tell, (int)SA_RESETHAND | SA_RESTART, SIGUSR2);
    raise(sig);
    sigaction(sig, NULL, &old);
    say_number("default", old.sa_handler == SIG_DFL);
    say_number("flags", (unsigned)old.sa_flags & ~0x04000000u);
    say_number("mask", sigismember(&old.sa_mask, SIGUSR2));
    raise(sig);
    say("lives\n");
    return 0;
}

/* --- siginterrupt --- */

static void wait_for_alarm(const char *what)
{
    struct itimerspec soon = {.it_value = {0, 30000000}, .it_interval = {0, 30000000}};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    timer_t timer;
    ssize_t got;
    int ends[2];
    char byte;

    if (pipe(ends) < 0 || timer_create(CLOCK_MONOTONIC, &event, &timer) < 0)
        _exit(96);
    calls = 0;
    timer_settime(timer, 0, &soon, NULL);
    got = read(ends[0], &byte, 1);
    say_number(what, got < 0 ? -errno : got);
    timer_delete(timer);
}

static void count(int sig)
{
    (void)sig;
    calls++;
}

static int do_interrupt(int argc, char **argv)
{
    struct sigaction act;

    (void)argc, (void)argv;
    say_number("SIGKILL", siginterrupt(SIGKILL, 1) < 0 ? errno : 0);
    say_number("99", siginterrupt(99, 1) < 0 ? errno : 0);
    say_number("32", siginterrupt(32, 1) < 0 ? errno : 0);
    siginterrupt(SIGALRM, 1);
    signal(SIGALRM, count);
    wait_for_alarm("before signal");
    siginterrupt(SIGALRM, 0);
    sigaction(SIGALRM, NULL, &act);
    say_number("restarts", !!(act.sa_flags & SA_RESTART));
    siginterrupt(SIGALRM, 1);
    wait_for_alarm("after signal");
    siginterrupt(SIGALRM, 0);
    signal(SIGALRM, count);
    sigaction(SIGALRM, NULL, &act);
    say_number("restarts", !!(act.sa_flags & SA_RESTART));
    say_number("mask", sigismember(&act.sa_mask, SIGALRM));
    return 0;
}

/* --- signals that wait --- */

static void tell_info(int sig, siginfo_t *info, void *context)
{
    (void)context;
    say_number("handled", sig);
    say_number("code", info->si_code);
    say_number("value", info->si_code == SI_QUEUE ? info->si_value.sival_int : info->si_pid == getpid());
}

static int do_pending(int argc, char **argv)
{
    struct sigaction act = {.sa_sigaction = tell_info, .sa_flags = SA_SIGINFO};
    struct timespec soon = {0, 1000000};
    union sigval value = {.sival_int = 77};
    sigset_t set = set_of(SIGSEGV);
    siginfo_t info;
    int sig = 0;
    pid_t pid;

    (void)argc, (void)argv;
    sigaction(SIGSEGV, &act, NULL);
    change(SIG_BLOCK, SIGSEGV);
    raise(SIGSEGV);
    *SCR = 1;
    say_number("pending", pending(SIGSEGV));
    say_number("sigwait", sigwait(&set, &sig));
    say_number("signal", sig);
    say_number("pending", pending(SIGSEGV));
    say_number("sigtimedwait", sigtimedwait(&set, NULL, &soon) < 0 ? -errno : 0);
    kill(getpid(), SIGSEGV);
    say_number("sigwaitinfo", sigwaitinfo(&set, &info));
    say_number("code", info.si_code);
    sigqueue(getpid(), SIGSEGV, value);
    say_number("sigtimedwait", sigtimedwait(&set, &info, &soon));
    say_number("value", info.si_value.sival_int);
    raise(SIGSEGV);
    raise(SIGSEGV);
    say("unblock\n");
    change(SIG_UNBLOCK, SIGSEGV);
    say_number("pending", pending(SIGSEGV));
    change(SIG_BLOCK, SIGSEGV);
    sigqueue(getpid(), SIGSEGV, value);
    pid = fork();
    if (pid == 0) {
        say_number("in the child", pending(SIGSEGV));
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    sigprocmask(SIG_SETMASK, &(sigset_t){0}, NULL);
    signal(SIGSEGV, SIG_DFL);
    change(SIG_BLOCK, SIGSEGV);
    raise(SIGSEGV);
    if (argc) {
        execl("/proc/self/exe", "c_signals", "inherited", NULL);
        return 96;
    }
    say("die\n");
    change(SIG_UNBLOCK, SIGSEGV);
    return 97;
}

/* Behind `pending exec`: blocked, and one waits. */
static int do_inherited(int argc, char **argv)
{
    (void)argc, (void)argv;
    say_number("blocked", blocked(SIGSEGV));
    say_number("pending", pending(SIGSEGV));
    handle(SIGSEGV, tell, 0);
    change(SIG_UNBLOCK, SIGSEGV);
    *SCR = 1;
    return 0;
}

static void raise_inside(int sig)
{
    tell(sig);
    if (calls++ == 0) {
        raise(SIGSEGV);
        say_number("pending", pending(SIGSEGV));
    }
}

/* One sent during the handler comes after it. */
static int do_sent_inside(int argc, char **argv)
{
    (void)argc, (void)argv;
    handle(SIGSEGV, raise_inside, 0);
    raise(SIGSEGV);
    *SCR = 3;
    say_number("calls", calls);
    return calls != 2;
}

/* --- threads --- */

/* What belongs to a thread must not be shared with another: the alternate stack is what a program sees of it. */
static void own_things(void)
{
    stack_t s, mine = {.ss_sp = malloc(8192), .ss_size = 8192};
    struct timespec little = {0, 200000};

    sigaltstack(NULL, &s);
    CHECK(s.ss_flags & SS_DISABLE);
    EQUAL(sigaltstack(&mine, NULL), 0);
    *SCR = 1;
    nanosleep(&little, NULL);
    sigaltstack(NULL, &s);
    CHECK(s.ss_sp == mine.ss_sp);
    s.ss_flags = SS_DISABLE;
    sigaltstack(&s, NULL);
    free(mine.ss_sp);
}

static void *thread(void *unused)
{
    own_things();
    return unused;
}

static void expired(union sigval unused)
{
    (void)unused;
    change(SIG_UNBLOCK, SIGSEGV); /* libc blocks everything here, and windows need it */
    own_things();
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
}

/* Threads that the program makes, and those that libc makes for timers. */
static int do_slots(int argc, char **argv)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = expired};
    struct itimerspec often = {{0, 300000}, {0, 300000}};
    timer_t timer;

    (void)argc, (void)argv;
    EQUAL(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    EQUAL(timer_settime(timer, 0, &often, NULL), 0);
    for (int i = 0; i < 5000; i++) {
        pthread_t t[4];

        for (int j = 0; j < 4; j++)
            EQUAL(pthread_create(&t[j], NULL, thread, NULL), 0);
        for (int j = 0; j < 4; j++)
            pthread_join(t[j], NULL);
    }
    timer_delete(timer);
    usleep(100000);
    CHECK(calls > 100);
    return 0;
}

static void *set_often(void *flags)
{
    for (int i = 0; i < 30000; i++)
        handle(SIGUSR1, i & 1 ? tell : SIG_IGN, (int)(intptr_t)flags);
    handle(SIGUSR1, tell, SA_NODEFER);
    return NULL;
}

/* Two threads that set the same action. */
static int do_race(int argc, char **argv)
{
    pthread_t t[2];

    (void)argc, (void)argv;
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, set_often, (void *)(intptr_t)(i ? SA_ONSTACK : SA_RESTART));
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    raise(SIGUSR1);
    return 0;
}

static int c11(void *unused)
{
    (void)unused;
    return blocked(SIGSEGV);
}

static int do_c11(int argc, char **argv)
{
    int is = -1;
    thrd_t t;

    (void)argc, (void)argv;
    change(SIG_BLOCK, SIGSEGV);
    thrd_create(&t, c11, NULL);
    thrd_join(t, &is);
    say_number("blocked", is);
    return 0;
}

/* --- the first process of a pid namespace --- */

static void as_init(void)
{
    struct timespec little = {0, 1000000};
    int status;
    pid_t pid;

    *SCR = 1;
    raise(SIGTERM);
    kill(getpid(), SIGINT);
    raise(SIGSEGV);
    raise(SIGALRM);
    say_number("pid", getpid());
    handle(SIGTERM, tell, 0);
    raise(SIGTERM);
    handle(SIGTERM, SIG_DFL, 0);
    raise(SIGTERM);
    pid = fork();
    if (pid == 0) {
        *SCR = 2;
        raise(SIGTERM);
        nanosleep(&little, NULL);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    say_number("child", status);
    FAULT();
}

static int do_init(int argc, char **argv)
{
    int status;
    pid_t pid;

    (void)argv;
    if (argc) { /* it is one already */
        as_init();
        return 97;
    }
    if (unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0)
        return 77;
    pid = fork();
    if (pid == 0) {
        as_init();
        _exit(97);
    }
    waitpid(pid, &status, 0);
    say_number("status", status);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"vfork", do_vfork},       {"clone", do_clone},         {"faulting", do_faulting}, {"one-shot", do_one_shot},
        {"interrupt", do_interrupt}, {"pending", do_pending},   {"inherited", do_inherited}, {"sent-inside", do_sent_inside},
        {"slots", do_slots},       {"race", do_race},           {"c11", do_c11},           {"init", do_init},
    };

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
