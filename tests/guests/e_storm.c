/* flags: -O1 -lpthread -lrt */
/*
 * Signals that come at any moment, also in the middle of accesses, and calls
 * that they interrupt. Nothing may be lost, run twice or stand still.
 */
#include <poll.h>
#include <pthread.h>
#include <sys/time.h>

#include "e_guest.h"

#define THREADS 4
#define HZ_5K 200000 /* nanoseconds */

static volatile int stop;
static unsigned ticks, by_thread[THREADS + 1];
static __thread unsigned which; /* 1 to THREADS; 0 is the first thread */

/* Leaves the register as it was found, and sees nothing of others in it when it is alone. */
static void tick(int sig)
{
    unsigned before = get();

    (void)sig;
    put(~before);
    put(before);
    __atomic_fetch_add(&ticks, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&by_thread[which], 1, __ATOMIC_RELAXED);
}

static void *loop(void *argument)
{
    sigset_t usr = set_from(BIT(SIGRTMIN));
    uint64_t sum = 0;
    double part = 0.5;

    which = (unsigned)(uintptr_t)argument;
    for (unsigned i = 0; !stop; i++) {
        put(i);
        sum += get();
        part = part * 1.5 + 1 - part / 2 - 0.5; /* part stays part + 0.5 - 0.5: what a handler spoils shows */
        part -= 0.5;
        if (i % 16 == 0)
            pthread_sigmask(i % 32 ? SIG_BLOCK : SIG_UNBLOCK, &usr, NULL);
    }
    return (void *)(uintptr_t)(part == 0.5 + 0 * (double)sum ? 0 : 1);
}

static timer_t timer_for(int sig, int tid, long interval)
{
    struct sigevent event = {.sigev_notify = tid ? SIGEV_THREAD_ID : SIGEV_SIGNAL, .sigev_signo = sig};
    struct itimerspec often = {{0, interval}, {0, interval}};
    timer_t timer;

    event._sigev_un._tid = tid;
    EQUAL(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    EQUAL(timer_settime(timer, 0, &often, NULL), 0);
    return timer;
}

/* One thread, one timer: the handler is exact about the register. */
static int alone(int argc, char **argv)
{
    struct itimerval fast = {{0, 200}, {0, 200}}, none = {{0, 0}, {0, 0}};
    long end = now_ms() + 400;

    (void)argv;
    handle_plain(SIGALRM, tick, SA_RESTART, argc ? EVERY : 0);
    setitimer(ITIMER_REAL, &fast, NULL);
    for (unsigned i = 0; now_ms() < end; i++) {
        put(i);
        EQUAL(get(), (uint8_t)i);
    }
    setitimer(ITIMER_REAL, &none, NULL);
    CHECK(ticks > 50);
    return 0;
}

static pid_t tids[THREADS + 1];

static void *loop_with_timer(void *argument)
{
    timer_t timer;
    void *result;

    which = (unsigned)(uintptr_t)argument;
    tids[which] = gettid();
    timer = timer_for(SIGRTMIN, gettid(), HZ_5K);
    result = loop(argument);
    timer_delete(timer);
    return result;
}

/* Timers of processes and of threads, of real and of CPU time, at once. */
static int several(int argc, char **argv)
{
    struct itimerval fast = {{0, 200}, {0, 200}}, none = {{0, 0}, {0, 0}};
    pthread_t t[THREADS];
    void *result;

    (void)argc, (void)argv;
    handle_plain(SIGALRM, tick, SA_RESTART, 0);
    handle_plain(SIGPROF, tick, SA_RESTART | SA_NODEFER, 0);
    handle_plain(SIGRTMIN, tick, SA_RESTART, BIT(SIGSEGV) | BIT(SIGALRM));
    setitimer(ITIMER_REAL, &fast, NULL);
    setitimer(ITIMER_PROF, &fast, NULL);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, loop_with_timer, (void *)(i + 1));
    sleep_ms(500);
    stop = 1;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], &result);
        EQUAL(result, 0);
    }
    setitimer(ITIMER_REAL, &none, NULL);
    setitimer(ITIMER_PROF, &none, NULL);
    for (int i = 1; i <= THREADS; i++)
        CHECK(by_thread[i] > 10);
    return 0;
}

/* A debugger sends SIGUSR1 in the middle of the call that blocks it, and SIGUSR2 at its end. */
static char *bottom;

static void own_stack(int sig)
{
    char here;

    put((unsigned)sig);
    show("%d on %s stack\n", sig, (uint64_t)(bottom - &here) < 1 << 20 ? "its own" : "another");
}

static int blocked(int argc, char **argv)
{
    char here;

    (void)argc, (void)argv;
    bottom = &here;
    handle_plain(SIGUSR1, own_stack, 0, 0);
    handle_plain(SIGUSR2, own_stack, 0, 0);
    put(1);
    mask_change(SIG_BLOCK, BIT(SIGUSR1));
    show("pending 0x%llx\n", (unsigned long long)pending_now());
    mask_change(SIG_UNBLOCK, BIT(SIGUSR1));
    return 0;
}

/* Every realtime signal that is queued is handled, once each and in order, whatever is under way. */
static volatile int next_value;

static void in_order(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    EQUAL(info->si_value.sival_int, next_value);
    next_value++;
    put((unsigned)next_value);
}

static void *queue_many(void *unused)
{
    for (int i = 0; i < 2000; i++) {
        union sigval value = {.sival_int = i};

        while (sigqueue(getpid(), SIGRTMIN + 1, value) < 0)
            usleep(100);
    }
    return unused;
}

static int queued(int argc, char **argv)
{
    sigset_t set = set_from(BIT(SIGRTMIN + 1));
    pthread_t t;

    (void)argc, (void)argv;
    handle_info(SIGRTMIN + 1, in_order, SA_RESTART, BIT(SIGSEGV));
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_create(&t, NULL, queue_many, NULL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    while (next_value < 2000)
        put(1);
    pthread_join(t, NULL);
    show("handled %d\n", next_value);
    return 0;
}

/* A fault of our own in one thread's loop, timers over it: each fault is handled once. */
static unsigned own_faults;

static void own_fault(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    EQUAL(info->si_addr, HOLE + 0x20);
    own_faults++;
    put(own_faults);
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 3;
}

static int faults(int argc, char **argv)
{
    timer_t timer;
    uint64_t value;

    (void)argc, (void)argv;
    handle_plain(SIGRTMIN, tick, SA_RESTART, BIT(SIGSEGV));
    handle_info(SIGSEGV, own_fault, 0, 0);
    timer = timer_for(SIGRTMIN, 0, HZ_5K);
    for (int i = 0; i < 3000; i++) {
        put(2);
        __asm__ volatile("mov (%1), %0" : "=a"(value) : "D"(HOLE + 0x20) : "memory"); /* 3 bytes */
        put(3);
    }
    timer_delete(timer);
    show("faults %u\n", own_faults);
    return 0;
}

/* --- calls that are interrupted --- */

static void count(int sig)
{
    put((unsigned)sig);
    ticks++;
}

static void *write_later(void *fd)
{
    sigset_t alarm_ = set_from(BIT(SIGALRM));

    pthread_sigmask(SIG_BLOCK, &alarm_, NULL);
    for (int i = 0; i < 60; i++) {
        put((unsigned)i);
        usleep(1000);
    }
    if (write((int)(intptr_t)fd, "y", 1) != 1)
        failures++;
    return NULL;
}

static long waiting_call(int what, const int *fds)
{
    struct timespec t = {0, 60000000}, left = {9, 9};
    struct pollfd p = {fds[0], POLLIN, 0};
    char byte = 0;
    long result;

    errno = 0;
    switch (what) {
    case 0: result = read(fds[0], &byte, 1); break;
    case 1: result = nanosleep(&t, &left); break;
    case 2: result = poll(&p, 1, 200); break;
    case 3: result = clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &left); break;
    default: result = select(fds[0] + 1, NULL, NULL, NULL, &(struct timeval){0, 60000}); break;
    }
    if (what == 1 && result < 0)
        show("(left less %d) ", left.tv_sec == 0 && left.tv_nsec < 60000000);
    return result < 0 ? -errno : result;
}

/* interrupted: each call with SA_RESTART and without, while another thread uses the window. */
static int interrupted(int argc, char **argv)
{
    (void)argc, (void)argv;
    for (int what = 0; what < 5; what++)
        for (int restart = 0; restart < 2; restart++) {
            pthread_t t;
            int fds[2];

            if (pipe(fds) < 0)
                return 91;
            ticks = 0;
            handle_plain(SIGALRM, count, restart ? SA_RESTART : 0, 0);
            pthread_create(&t, NULL, write_later, (void *)(intptr_t)fds[1]);
            setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 20000}}, NULL);
            show("%d %s: %ld", what, restart ? "restarts" : "does not", waiting_call(what, fds));
            show(" handlers %u\n", ticks);
            pthread_join(t, NULL);
            close(fds[0]);
            close(fds[1]);
        }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"alone", alone},   {"several", several}, {"queued", queued},
        {"faults", faults}, {"interrupted", interrupted}, {"blocked", blocked},
    };

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
