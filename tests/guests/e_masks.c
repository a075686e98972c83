/* flags: -O1 -lpthread -lrt -Wno-deprecated-declarations -Wno-unused-function -Wno-restrict */
/*
 * Every way in which a program can block SIGSEGV, set its action, and look at
 * both, with accesses to a window wherever it is blocked. What is printed must
 * be the same on ordinary memory.
 */
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>

#include "e_guest.h"

extern char **environ;

#define SETTABLE(sig) ((sig) != SIGKILL && (sig) != SIGSTOP && (sig) != 32 && (sig) != 33)

static void tell(int sig)
{
    show("handler %d mask %#lx\n", sig, mask_now());
    use((unsigned)sig);
}

/* --- sigaction --- */

static int sa_mask(int argc, char **argv)
{
    (void)argc, (void)argv;
    for (int sig = 1; sig < 65; sig++) {
        struct sigaction old;

        if (!SETTABLE(sig))
            continue;
        handle_plain(sig, tell, sig % 2 ? 0 : SA_NODEFER, sig % 3 ? EVERY : BIT(SIGSEGV) | BIT(SIGUSR2));
        raise(sig);
        sigaction(sig, NULL, &old);
        show("%d: same handler %d flags %#x mask %#lx\n", sig, old.sa_handler == tell,
             (unsigned)(old.sa_flags & ~(int)RESTORER), bits_of(&old.sa_mask));
    }
    report("end");
    return 0;
}

/* With the bit that libc adds, and shows. */
static int exact_flags(int argc, char **argv)
{
    static const int flags[] = {0, SA_SIGINFO, SA_NODEFER | SA_ONSTACK, (int)SA_RESETHAND | SA_RESTART, 0x400, 0x800};

    (void)argc, (void)argv;
    for (int sig = 1; sig < 65; sig++)
        for (int i = 0; i < 6 && SETTABLE(sig); i++) {
            struct sigaction act = {.sa_handler = tell, .sa_flags = flags[i], .sa_mask = set_from(BIT(SIGSEGV))}, old,
                             now;

            memset(&old, 0x55, sizeof(old));
            memset(&now, 0x55, sizeof(now));
            sigaction(sig, &act, &old);
            sigaction(sig, NULL, &now);
            show("%d: was %#x is %#x %d restorer %d\n", sig, (unsigned)old.sa_flags, (unsigned)now.sa_flags,
                 now.sa_handler == tell, now.sa_restorer != NULL);
        }
    use(1);
    return 0;
}

/* --- the calls of System V and BSD --- */

#define NAME_OF(h) \
    ((h) == SIG_DFL ? "default" : (h) == SIG_IGN ? "ignored" : (h) == SIG_HOLD ? "held" : (h) == tell ? "tell" : "?")

static int sysv(int argc, char **argv)
{
    (void)argc, (void)argv;
    show("sigset: %s\n", NAME_OF(sigset(SIGSEGV, tell)));
    report("set");
    show("sighold %d\n", sighold(SIGSEGV));
    report("held");
    use(1);
    raise(SIGSEGV);
    report("raised");
    use(2);
    show("sigset: %s\n", NAME_OF(sigset(SIGSEGV, SIG_HOLD)));
    use(3);
    show("sigrelse %d\n", sigrelse(SIGSEGV));
    report("released");
    show("sigignore %d\n", sigignore(SIGSEGV));
    report("ignored");
    use(4);
    raise(SIGSEGV);
    show("sigset: %s\n", NAME_OF(sigset(SIGSEGV, tell)));
    show("sigset: %s\n", NAME_OF(sigset(SIGUSR1, tell)));
    sighold(SIGUSR1);
    sighold(SIGSEGV);
    raise(SIGUSR1);
    show("sigpause %d\n", sigpause(SIGUSR1));
    report("paused");
    use(5);
    show("sigblock %#x\n", sigblock(1 << (SIGSEGV - 1) | 1 << (SIGTERM - 1)));
    use(6);
    show("sigblock %#x\n", sigblock(0));
    show("sigsetmask %#x\n", sigsetmask(0));
    report("nothing blocked");
    show("sigsetmask %#x\n", sigsetmask(-1));
    use(7);
    report("all blocked");
    show("signal: %s\n", NAME_OF(signal(SIGSEGV, SIG_DFL)));
    show("sysv_signal: %s\n", NAME_OF(sysv_signal(SIGSEGV, tell)));
    report("sysv_signal");
    sigsetmask(0);
    raise(SIGSEGV);
    report("one shot");
    use(8);
    return 0;
}

/* --- masks --- */

static int masks(int argc, char **argv)
{
    static const uint64_t sets[] = {BIT(SIGSEGV), EVERY, 0, ~0ull, BIT(SIGSEGV) | BIT(SIGUSR1), EVERY & ~BIT(SIGSEGV)};
    static const int hows[] = {SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK};

    (void)argc, (void)argv;
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 6; k++) {
                sigset_t set = set_from(sets[k]), old, now;
                int error;

                mask_change(SIG_SETMASK, sets[i]);
                use((unsigned)(i * 6 + k));
                errno = 0;
                error = k & 1 ? pthread_sigmask(hows[j], &set, &old) : sigprocmask(hows[j], &set, &old);
                use((unsigned)(j * 6 + k));
                pthread_sigmask(SIG_BLOCK, NULL, &now);
                show("%d %d %d: %d errno %d old %#lx now %#lx %#lx\n", i, j, k, error, errno, bits_of(&old), mask_now(),
                     bits_of(&now));
            }
    /* One buffer for both. */
    for (int i = 0; i < 6; i++) {
        sigset_t both = set_from(sets[i]), *same = &both;

        sigprocmask(SIG_SETMASK, &both, same);
        show("was %#lx, now %#lx\n", bits_of(&both), mask_now());
        use(1);
    }
    return 0;
}

/* --- calls that wait with a mask --- */

static void *accesses_meanwhile(void *stop)
{
    while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED)) {
        (void)get(); /* reads: what is written and read back elsewhere stays so */
        usleep(100);
    }
    return NULL;
}

/* Numbers of calls, raw where libc has a wrapper as well. */
static long wait_once(int which, uint64_t bits, int fd, int ep)
{
    struct timespec second = {1, 0};
    struct epoll_event event;
    struct pollfd poll_fd = {fd, POLLIN, 0};
    sigset_t set = set_from(bits);
    struct {
        uint64_t *set;
        size_t size;
    } six = {&bits, 8};
    fd_set fds;
    long result;

    FD_ZERO(&fds);
    FD_SET(fd, &fds);
    errno = 0;
    switch (which) {
    case 0: result = sigsuspend(&set); break;
    case 1: result = ppoll(&poll_fd, 1, &second, &set); break;
    case 2: result = pselect(fd + 1, &fds, NULL, NULL, &second, &set); break;
    case 3: result = epoll_pwait(ep, &event, 1, 1000, &set); break;
    case 4: result = epoll_pwait2(ep, &event, 1, &second, &set); break;
    case 5: return libc_call(SYS_rt_sigsuspend, (long)&bits, 8, 0, 0, 0);
    case 6: return inline_call(SYS_ppoll, (long)&poll_fd, 1, (long)&second, (long)&bits, 8);
    case 7: result = syscall(SYS_pselect6, fd + 1, &fds, NULL, NULL, &second, &six); break;
    case 8: result = syscall(SYS_epoll_pwait, ep, &event, 1, 1000, &bits, 8); break;
    case 9: return inline_call(SYS_rt_sigsuspend, (long)&bits, 8, 0, 0, 0);
    default: return 0;
    }
    return result < 0 ? -errno : result;
}

static int waits(int argc, char **argv)
{
    int fds[2], ep = epoll_create1(0), stop = 0;
    struct epoll_event event = {.events = EPOLLIN};
    pthread_t t;

    if (pipe(fds) < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &event) < 0)
        return 91;
    handle_plain(SIGUSR1, tell, 0, BIT(SIGSEGV));
    handle_plain(SIGSEGV, tell, 0, EVERY);
    mask_change(SIG_BLOCK, BIT(SIGUSR1) | BIT(SIGSEGV));
    if (argc > 0 && strcmp(argv[0], "busy") == 0)
        pthread_create(&t, NULL, accesses_meanwhile, &stop);
    for (int which = 0; which < 10; which++) {
        raise(SIGUSR1);
        show("%d: %ld\n", which, wait_once(which, EVERY & ~BIT(SIGUSR1), fds[0], ep)); /* SIGSEGV stays blocked */
        report("after");
        raise(SIGSEGV); /* and here it is let in, sent as it is */
        show("%d: %ld\n", which, wait_once(which, EVERY & ~BIT(SIGSEGV), fds[0], ep));
        report("after");
    }
    /* What is ready is told, whatever is blocked. */
    if (write(fds[1], "x", 1) != 1)
        return 91;
    for (int which = 1; which < 9; which++)
        if (which != 5)
            show("ready %d: %ld\n", which, wait_once(which, ~0ull, fds[0], ep));
    if (argc > 0) {
        stop = 1;
        pthread_join(t, NULL);
    }
    use(1);
    return 0;
}

/* --- what is handed on --- */

static int do_report(int argc, char **argv)
{
    char *path = NULL;

    if (argc > 1) /* once more, over one more exec */
        path = "/proc/self/exe";
    report(argc ? argv[0] : "report");
    use(0x33);
    report("after");
    if (path)
        execl(path, "e_masks", "report", argv[1], (char *)NULL);
    return 0;
}

static void spawn(const char *what, short flags, uint64_t mask, uint64_t defaults, int search)
{
    char *argv[] = {"e_masks", "report", (char *)(uintptr_t)what, NULL};
    sigset_t mask_set = set_from(mask), default_set = set_from(defaults), got;
    posix_spawnattr_t attr;
    char self[4096] = "";
    int status = -1, error;
    pid_t pid;

    if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
        _exit(94);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, flags);
    posix_spawnattr_setsigmask(&attr, &mask_set);
    posix_spawnattr_setsigdefault(&attr, &default_set);
    posix_spawnattr_getsigmask(&attr, &got);
    EQUAL(bits_of(&got), mask);
    error = search ? posix_spawnp(&pid, self, NULL, &attr, argv, environ)
                   : posix_spawn(&pid, self, NULL, &attr, argv, environ);
    if (!error)
        waitpid(pid, &status, 0);
    show("%s: error %d status %#x\n", what, error, status);
    posix_spawnattr_destroy(&attr);
    report("parent");
    use(0x44);
}

static int do_spawn(int argc, char **argv)
{
    (void)argc, (void)argv;
    for (int round = 0; round < 4; round++) {
        signal(SIGSEGV, round & 1 ? SIG_IGN : tell);
        mask_change(SIG_SETMASK, round & 2 ? EVERY : 0);
        spawn("plain", 0, 0, 0, 0);
        spawn("mask", POSIX_SPAWN_SETSIGMASK, BIT(SIGSEGV), 0, 1);
        spawn("everything", POSIX_SPAWN_SETSIGMASK, EVERY, 0, 0);
        spawn("nothing", POSIX_SPAWN_SETSIGMASK, 0, EVERY, 0);
        spawn("default", POSIX_SPAWN_SETSIGDEF, 0, BIT(SIGSEGV), 1);
        spawn("both", POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK, BIT(SIGSEGV) | BIT(SIGBUS), EVERY, 0);
    }
    return 0;
}

static void *thread_reports(void *what)
{
    report(what);
    use(0x55);
    report(what);
    return NULL;
}

static int attr(int argc, char **argv)
{
    static const uint64_t sets[] = {BIT(SIGSEGV), EVERY, 0, EVERY & ~BIT(SIGSEGV)};

    (void)argc, (void)argv;
    for (int i = 0; i < 8; i++) {
        sigset_t set = set_from(sets[i % 4]), got = set_from(0);
        pthread_attr_t a;
        pthread_t t;

        mask_change(SIG_SETMASK, i < 4 ? BIT(SIGUSR1) : BIT(SIGSEGV));
        pthread_attr_init(&a);
        show("none: %d\n", pthread_attr_getsigmask_np(&a, &got));
        EQUAL(pthread_attr_setsigmask_np(&a, &set), 0);
        show("got %d: %#lx\n", pthread_attr_getsigmask_np(&a, &got), bits_of(&got));
        EQUAL(pthread_create(&t, &a, thread_reports, "attribute"), 0);
        pthread_join(t, NULL);
        EQUAL(pthread_create(&t, NULL, thread_reports, "inherited"), 0);
        pthread_join(t, NULL);
        pthread_attr_destroy(&a);
        report("parent");
    }
    return 0;
}

/* exec HOW: SIGSEGV as HOW says, then another program, and another one after it. */
static int do_exec(int argc, char **argv)
{
    const char *how = argc ? argv[0] : "";
    uint64_t every = EVERY, segv = BIT(SIGSEGV);
    struct kernel_action ignore = {.handler = (void *)SIG_IGN};

    use(0x66);
    if (strstr(how, "raw")) {
        inline_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)(strstr(how, "all") ? &every : &segv), 0, 8, 0);
        inline_call(SYS_rt_sigaction, SIGSEGV, (long)&ignore, 0, 8, 0);
    }
    if (strstr(how, "ignored"))
        signal(SIGSEGV, SIG_IGN);
    if (strstr(how, "handled"))
        handle_plain(SIGSEGV, tell, SA_NODEFER | SA_ONSTACK, EVERY);
    if (strstr(how, "blocked"))
        mask_change(SIG_SETMASK, strstr(how, "all") ? EVERY : BIT(SIGSEGV));
    if (strstr(how, "pending"))
        raise(SIGSEGV);
    if (strstr(how, "inline"))
        inline_call(SYS_execve, (long)"/proc/self/exe", (long)(char *[]){"e_masks", "report", "first", "second", NULL},
                    (long)environ, 0, 0);
    execl("/proc/self/exe", "e_masks", "report", "first", "second", (char *)NULL);
    return 96;
}

/* --- threads of libc --- */

static sem_t done;
static int mask_told;
static uint64_t mask_in_callback;

static void expired(union sigval value)
{
    mask_in_callback = mask_now();
    use((unsigned)value.sival_int);
    sem_post(&done);
}

static int notify_timer(int argc, char **argv)
{
    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD, .sigev_notify_function = expired, .sigev_value.sival_int = 0x71};
    struct itimerspec once = {.it_value = {0, 1000000}};
    timer_t timer;

    (void)argc, (void)argv;
    sem_init(&done, 0, 0);
    EQUAL(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    for (int i = 0; i < 50; i++) {
        timer_settime(timer, 0, &once, NULL);
        sem_wait(&done);
        if (!mask_told++)
            show("mask in the callback %#lx\n", mask_in_callback);
    }
    timer_delete(timer);
    report("end");
    return 0;
}

static int notify_queue(int argc, char **argv)
{
    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD, .sigev_notify_function = expired, .sigev_value.sival_int = 0x72};
    struct mq_attr limits = {.mq_maxmsg = 4, .mq_msgsize = 16};
    char name[40], message[16];
    mqd_t queue;

    (void)argc, (void)argv;
    snprintf(name, sizeof(name), "/e_masks-%d", getpid());
    queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &limits);
    if (queue < 0)
        return 77;
    mq_unlink(name);
    sem_init(&done, 0, 0);
    for (int i = 0; i < 50; i++) {
        EQUAL(mq_notify(queue, &event), 0);
        EQUAL(mq_send(queue, "message", 8, 0), 0);
        sem_wait(&done);
        EQUAL(mq_receive(queue, message, sizeof(message), NULL), 8);
        if (!mask_told++)
            show("mask in the callback %#lx\n", mask_in_callback);
    }
    report("end");
    return 0;
}

/* --- jumps --- */

static sigjmp_buf away;
static jmp_buf bsd;
static volatile int calls;

static void jump(int sig)
{
    (void)sig;
    calls++;
    if (calls % 10 == 0)
        use((unsigned)calls);
    siglongjmp(away, calls);
}

static void jump_bsd(int sig)
{
    (void)sig;
    calls++;
    longjmp(bsd, 1);
}

/* jumps saved|unsaved|stack|nodefer: a fault of our own, and out of its handler, 2000 times. */
static int jumps(int argc, char **argv)
{
    const char *how = argc ? argv[0] : "saved";
    static char stack[65536];
    stack_t s = {.ss_sp = stack, .ss_size = sizeof(stack)};
    volatile int saved = strcmp(how, "unsaved") != 0;

    if (strcmp(how, "stack") == 0)
        sigaltstack(&s, NULL);
    handle_plain(SIGSEGV, jump, strcmp(how, "stack") == 0 ? SA_ONSTACK : 0, BIT(SIGUSR1));
    if (strcmp(how, "nodefer") == 0)
        handle_plain(SIGSEGV, jump_bsd, SA_NODEFER, 0);
    for (volatile int i = 0; i < 2000; i++) {
        if (strcmp(how, "nodefer") == 0) {
            if (setjmp(bsd) == 0)
                *(volatile int *)(HOLE + (unsigned)i * 4) = 1;
        } else if (sigsetjmp(away, saved) == 0) {
            *(volatile int *)(HOLE + (unsigned)i * 4) = 1;
        }
        if (i % 100 == 0) {
            use((unsigned)i);
            sigaltstack(NULL, &s);
            show("%d: mask %#lx altstack %#x\n", i, mask_now(), s.ss_flags);
        }
        if (!saved)
            mask_change(SIG_UNBLOCK, BIT(SIGSEGV) | BIT(SIGUSR1));
    }
    EQUAL(calls, 2000);
    report("end");
    return 0;
}

/* A timer's handler jumps out of the middle of whatever is under way. */
static int jumps_async(int argc, char **argv)
{
    struct itimerval fast = {{0, 300}, {0, 300}}, none = {{0, 0}, {0, 0}};
    volatile int jumped = 0;

    (void)argc, (void)argv;
    handle_plain(SIGALRM, jump, 0, 0);
    setitimer(ITIMER_REAL, &fast, NULL);
    sigsetjmp(away, 1);
    jumped++;
    while (jumped < 1500)
        put((unsigned)jumped);
    setitimer(ITIMER_REAL, &none, NULL);
    signal(SIGALRM, SIG_IGN);
    use(0x77);
    report("end");
    show("jumped %d\n", jumped);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"sa-mask", sa_mask},         {"exact-flags", exact_flags},
        {"sysv", sysv},         {"masks", masks},           {"waits", waits},
        {"report", do_report},        {"spawn", do_spawn},    {"attr", attr},             {"exec", do_exec},
        {"notify-timer", notify_timer}, {"notify-queue", notify_queue}, {"jumps", jumps}, {"jumps-async", jumps_async},
    };

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
