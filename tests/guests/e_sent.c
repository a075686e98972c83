/* flags: -O1 -lpthread */
/*
 * SIGSEGV as any other signal: sent, blocked, pending, waited for in every way,
 * with accesses to a window meanwhile. What is printed must be the same on
 * ordinary memory.
 */
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/time.h>

#include "e_guest.h"

static void tell_sent(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    show("signal %d code %d value %d from us %d, mask %#lx before %#lx\n", sig, info->si_code,
         info->si_code == SI_QUEUE ? info->si_value.sival_int : 0, info->si_pid == getpid() && info->si_uid == getuid(),
         mask_now(), bits_of(&uc->uc_sigmask));
    use((unsigned)sig);
}

static void send(int how)
{
    union sigval value = {.sival_int = 1000 + how};

    switch (how) {
    case 0: kill(getpid(), SIGSEGV); break;
    case 1: raise(SIGSEGV); break;
    case 2: sigqueue(getpid(), SIGSEGV, value); break;
    case 3: pthread_kill(pthread_self(), SIGSEGV); break;
    case 4: pthread_sigqueue(pthread_self(), SIGSEGV, value); break;
    default: inline_call(SYS_tgkill, getpid(), gettid(), SIGSEGV, 0, 0);
    }
}

static void result_of(const char *call, long result)
{
    show("%s: %ld %d\n", call, result, result < 0 ? errno : 0);
}

static int sent(int argc, char **argv)
{
    struct timespec soon = {0, 2000000}, second = {1, 0};
    sigset_t segv = set_from(BIT(SIGSEGV)), open_ = set_from(0), info_set = set_from(BIT(SIGSEGV) | BIT(SIGUSR1));
    siginfo_t info;
    int sig;

    (void)argc, (void)argv;
    handle_info(SIGSEGV, tell_sent, 0, BIT(SIGUSR2));
    for (int how = 0; how < 6; how++) {
        show("--- %d\n", how);
        mask_change(SIG_SETMASK, 0);
        send(how);
        mask_change(SIG_BLOCK, BIT(SIGSEGV));
        send(how);
        use(1);
        show("pending %#lx\n", pending_now());
        mask_change(SIG_UNBLOCK, BIT(SIGSEGV));
        mask_change(SIG_BLOCK, BIT(SIGSEGV));
        send(how);
        use(2);
        sig = 0;
        result_of("sigwait", sigwait(&segv, &sig));
        show("signal %d\n", sig);
        send(how);
        use(3);
        show("sigwaitinfo %d", sigwaitinfo(&info_set, &info));
        show(" code %d value %d\n", info.si_code, info.si_code == SI_QUEUE ? info.si_value.sival_int : 0);
        send(how);
        result_of("sigsuspend", sigsuspend(&open_));
        send(how);
        result_of("ppoll", ppoll(NULL, 0, &second, &open_));
        send(how);
        signal(SIGSEGV, SIG_IGN); /* discards it */
        show("pending %#lx\n", pending_now());
        handle_info(SIGSEGV, tell_sent, 0, BIT(SIGUSR2));
        result_of("sigtimedwait", sigtimedwait(&segv, NULL, &soon));
        use(4);
    }
    return 0;
}

static int timeouts(int argc, char **argv)
{
    sigset_t set = set_from(BIT(SIGSEGV));
    struct timespec wait = {0, 50000000}, none = {0, 0};
    long from;

    (void)argc, (void)argv;
    mask_change(SIG_BLOCK, BIT(SIGSEGV));
    use(1);
    from = now_ms();
    result_of("50 ms", sigtimedwait(&set, NULL, &wait));
    from = now_ms() - from;
    show("in time %d\n", from >= 49 && from < 1000);
    result_of("none", sigtimedwait(&set, NULL, &none));
    raise(SIGSEGV);
    use(2);
    result_of("one waits", sigtimedwait(&set, NULL, &none));
    result_of("none", sigtimedwait(&set, NULL, &none));
    /* A handler of another signal interrupts it. */
    handle_info(SIGALRM, tell_sent, SA_RESTART, 0);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 20000}}, NULL);
    wait.tv_nsec = 900000000;
    result_of("interrupted", sigtimedwait(&set, NULL, &wait));
    return 0;
}

/* A SIGSEGV that comes while its thread is on the way into sigsuspend or ppoll ends that, every time. */
static int volatile rounds, woken;
static pthread_t sleeper;

static void count_woken(int sig)
{
    (void)sig;
    woken++;
    if (woken % 100 == 0)
        use((unsigned)woken);
}

static void *wakes(void *unused)
{
    for (int i = 1; i <= 3000; i++) {
        while (__atomic_load_n(&rounds, __ATOMIC_SEQ_CST) < i)
            ;
        for (volatile int wait = i % 400; wait > 0; wait--)
            ;
        pthread_kill(sleeper, SIGSEGV);
    }
    return unused;
}

static int wake_ups(int argc, char **argv)
{
    sigset_t open_ = set_from(BIT(SIGUSR1));
    pthread_t t;

    (void)argc, (void)argv;
    sleeper = pthread_self();
    handle_plain(SIGSEGV, count_woken, 0, 0);
    mask_change(SIG_SETMASK, BIT(SIGSEGV) | BIT(SIGUSR2));
    pthread_create(&t, NULL, wakes, NULL);
    for (int i = 1; i <= 3000; i++) {
        __atomic_store_n(&rounds, i, __ATOMIC_SEQ_CST);
        EQUAL(i & 1 ? sigsuspend(&open_) : ppoll(NULL, 0, NULL, &open_), -1);
        EQUAL(errno, EINTR);
        EQUAL(woken, i);
        EQUAL(mask_now(), BIT(SIGSEGV) | BIT(SIGUSR2));
    }
    pthread_join(t, NULL);
    show("woken %d\n", woken);
    return 0;
}

static void own_fault(int sig, siginfo_t *info, void *context)
{
    show("own fault %d %d\n", sig, info->si_code);
    use(5);
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 3;
}

static int signal_fd(int argc, char **argv)
{
    sigset_t set = set_from(BIT(SIGSEGV) | BIT(SIGUSR1)), segv = set_from(BIT(SIGSEGV));
    union sigval value = {.sival_int = 4711};
    struct timespec none = {0, 0};
    struct signalfd_siginfo info;
    siginfo_t waited;
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    struct pollfd p = {fd, POLLIN, 0};
    uint64_t ignored;

    (void)argc, (void)argv;
    mask_change(SIG_BLOCK, BIT(SIGSEGV) | BIT(SIGUSR1));
    result_of("empty", read(fd, &info, sizeof(info)));
    for (int i = 0; i < 3; i++) {
        kill(getpid(), SIGUSR1);
        use(1);
        if (i == 0)
            raise(SIGSEGV);
        else
            sigqueue(getpid(), SIGSEGV, value);
        use(2);
        /* The one thing that differs: a SIGSEGV is not read from there, but waits for this. */
        result_of("sigtimedwait", sigtimedwait(&segv, &waited, &none));
        show("code %d value %d\n", waited.si_code, waited.si_code == SI_QUEUE ? waited.si_value.sival_int : 0);
        show("poll %d\n", poll(&p, 1, 0));
        for (int j = 0; j < 2; j++) {
            ssize_t n = read(fd, &info, sizeof(info));

            show("%zd: signo %u code %d int %d from us %d\n", n, info.ssi_signo, info.ssi_code,
                 info.ssi_code == SI_QUEUE ? info.ssi_int : 0, info.ssi_pid == (uint32_t)getpid());
        }
        show("poll %d pending %#lx\n", poll(&p, 1, 0), pending_now());
    }
    /* A window is used with SIGSEGV in the set, blocked and not; a fault of the program's own never shows there. */
    mask_change(SIG_UNBLOCK, BIT(SIGSEGV));
    use(3);
    handle_info(SIGSEGV, own_fault, 0, 0);
    __asm__ volatile("mov (%1), %0" : "=a"(ignored) : "D"(HOLE) : "memory"); /* 3 bytes */
    show("poll %d\n", poll(&p, 1, 0));
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {{"sent", sent}, {"timeouts", timeouts}, {"signal-fd", signal_fd},
                                          {"wake-ups", wake_ups}};

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
