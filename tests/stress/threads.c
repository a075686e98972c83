/*
 * Several threads in the same functions while their sites become hot, and
 * signals at any moment, whose handlers run such functions and look at where
 * they came from.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "parts.h"
#include "text.h"

#define THREADS 8
#define LANES 6 /* of a thread: the first two its own, the others of handlers, one a depth */
#define DEPTHS 3
#define PEST SIGUSR1
#define TIMER SIGRTMIN
#define JUMP SIGUSR2

struct worker {
    pthread_t thread;
    struct lane lanes[LANES];
    unsigned number;
    volatile unsigned depth;
    volatile int may_jump;
    sigjmp_buf away;
    uint64_t random;
};

static struct worker workers[THREADS];
static __thread struct worker *self;
static uint64_t signals, jumps, elsewhere;
static volatile int stop;
static unsigned rounds;

static const struct function *any_function(uint64_t *random)
{
    const struct function *f;

    do
        f = &own_set.all[next_random(random) % own_set.n];
    while (f->fixed);
    return f;
}

static void fill_lanes(struct worker *w)
{
    for (unsigned i = 0; i < LANES; i++)
        lane_fill(&w->lanes[i], 1 + w->number * LANES + i, next_random(&w->random));
}

static void look_at(const ucontext_t *uc)
{
    uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];

    if (!text_has(rip)) {
        add(&elsewhere, 1);
        FAIL("a signal came at %#lx, which is no code of the program", rip);
    }
    text_seen(rip);
}

static void open_signals(void)
{
    sigset_t none;

    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
}

static void block_all(void)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
    struct worker *w = self;

    (void)info;
    add(&signals, 1);
    look_at(context);
    if (!w || w->depth >= DEPTHS)
        return;
    if (next_random(&w->lanes[2 + w->depth].random) & 1)
        open_signals();
    w->depth++;
    struct lane *lane = &w->lanes[1 + w->depth];
    const struct function *f = any_function(&lane->random);

    lane_run(lane, f, 1);
    if (next_random(&lane->random) % 4 == 0)
        lane_check(lane, f->name);
    if (sig == JUMP && w->may_jump) {
        add(&jumps, 1);
        siglongjmp(w->away, 1);
    }
    w->depth--;
    block_all(); /* a signal between the handler and what it returns to comes in the restorer, wherever that is */
}

static void handle(int sig, int flags)
{
    struct sigaction act = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART | flags};

    sigfillset(&act.sa_mask);
    CHECK(sigaction(sig, &act, NULL) == 0);
}

static timer_t timer_for_this_thread(long interval)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = TIMER};
    struct itimerspec often = {{0, interval}, {0, interval}};
    timer_t timer = 0;

    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &often, NULL) == 0);
    return timer;
}

/* Each function once, from a place that differs from thread to thread. */
static void one_round(struct worker *w)
{
    unsigned begin = (unsigned)(next_random(&w->random) % own_set.n);

    for (unsigned i = 0; i < own_set.n; i++) {
        const struct function *f = &own_set.all[(begin + i * 7) % own_set.n];
        struct lane *lane = &w->lanes[i & 1];

        if (f->fixed)
            continue;
        if (sigsetjmp(w->away, 1) != 0) {
            block_all(); /* whatever ran was left in the middle; until here signals go deeper still */
            fill_lanes(w);
            w->depth = 0;
            open_signals();
            continue;
        }
        w->may_jump = 1;
        lane_run(lane, f, 1 + (i & 1));
        if (i % 16 == 0)
            lane_check(lane, f->name);
        w->may_jump = 0;
    }
}

static void *work(void *argument)
{
    timer_t timer;

    self = argument;
    fill_lanes(self);
    open_signals();
    timer = timer_for_this_thread(400000);
    for (unsigned r = 0; r < rounds || !stop; r++)
        one_round(self);
    CHECK(timer_delete(timer) == 0);
    return NULL;
}

/* Does not send faster than signals are handled. */
static void *pester(void *argument)
{
    unsigned n = *(unsigned *)argument;
    uint64_t random = 12345;

    while (!stop) {
        uint64_t before = __atomic_load_n(&signals, __ATOMIC_RELAXED);

        pthread_kill(workers[next_random(&random) % n].thread, next_random(&random) % 4 ? PEST : JUMP);
        for (unsigned i = 0; i < 1000 && !stop && __atomic_load_n(&signals, __ATOMIC_RELAXED) == before; i++)
            sched_yield();
    }
    return NULL;
}

static void start(unsigned n, uint64_t seed)
{
    for (unsigned i = 0; i < n; i++) {
        workers[i].number = i;
        workers[i].random = seed * 77 + i * 2 + 1;
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
}

/* [THREADS [ROUNDS [SIGNALS [SEED]]]]: at least so many rounds, and so many signals */
void threads(int argc, char **argv)
{
    unsigned n = (unsigned)argument(argc, argv, 0, 4);
    uint64_t enough = argument(argc, argv, 2, 500);
    struct itimerval fast = {{0, 300}, {0, 300}}, none = {{0, 0}, {0, 0}};
    struct timespec moment = {0, 2000000};
    pthread_t pest;

    n = n > THREADS ? THREADS : n;
    rounds = (unsigned)argument(argc, argv, 1, 10);
    handle(SIGALRM, 0);
    handle(PEST, 0);
    handle(TIMER, 0);
    handle(JUMP, 0);
    block_all();
    start(n, argument(argc, argv, 3, 1));
    setitimer(ITIMER_REAL, &fast, NULL);
    CHECK(pthread_create(&pest, NULL, pester, &n) == 0);
    while (__atomic_load_n(&signals, __ATOMIC_RELAXED) < enough || __atomic_load_n(&jumps, __ATOMIC_RELAXED) < 5)
        nanosleep(&moment, NULL);
    stop = 1;
    pthread_join(pest, NULL);
    for (unsigned i = 0; i < n; i++)
        pthread_join(workers[i].thread, NULL);
    setitimer(ITIMER_REAL, &none, NULL);
    printf("functions %u\nthreads %u\nsignals %lu\njumps %lu\nelsewhere %lu\n", own_set.n, n, signals, jumps, elsewhere);
    if (getenv("STRESS_RIPS"))
        text_dump(getenv("STRESS_RIPS"));
}

/* --- cancellation --- */

static void *cancelled(void *argument)
{
    const struct function *f;

    self = argument;
    fill_lanes(self);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    for (;;)
        if ((f = any_function(&self->random))->steady)
            lane_run(&self->lanes[0], f, 1);
    return NULL;
}

/* [TIMES]: a thread is cancelled wherever it is, while another goes on */
void cancel(int argc, char **argv)
{
    unsigned times = (unsigned)argument(argc, argv, 0, 50), done = 0;

    workers[1].number = 1;
    workers[1].random = 99;
    rounds = 2;
    handle(TIMER, 0);
    CHECK(pthread_create(&workers[1].thread, NULL, work, &workers[1]) == 0);
    for (unsigned i = 0; i < times; i++) {
        struct timespec moment = {0, 20000 + i * 37000 % 900000};
        void *result = NULL;

        workers[0].random = i * 2 + 1;
        CHECK(pthread_create(&workers[0].thread, NULL, cancelled, &workers[0]) == 0);
        nanosleep(&moment, NULL);
        CHECK(pthread_cancel(workers[0].thread) == 0);
        CHECK(pthread_join(workers[0].thread, &result) == 0);
        done += result == PTHREAD_CANCELED;
    }
    stop = 1;
    pthread_join(workers[1].thread, NULL);
    printf("cancelled %u\n", done);
}

/* --- fork --- */

/* In a child: what was hot in the parent, and what nobody ran yet. */
static void child(unsigned generation)
{
    struct lane lane;

    lane_fill(&lane, BLOCKS - 1 - generation, 7);
    for (unsigned i = 0; i < own_set.n; i++)
        if (!own_set.all[i].fixed) {
            lane_run(&lane, &own_set.all[i], 2);
            lane_check(&lane, own_set.all[i].name);
        }
}

static void wait_for(pid_t pid)
{
    int status = -1;

    while (waitpid(pid, &status, 0) < 0)
        ;
    if (status != 0)
        FAIL("a child ended with status %#x", (unsigned)status);
}

static void one_fork(void)
{
    pid_t pid = fork(), inner;

    if (pid == 0) {
        child(0);
        inner = fork();
        if (inner == 0) {
            child(1);
            _exit(failures != 0);
        }
        wait_for(inner);
        _exit(failures != 0);
    }
    CHECK(pid > 0);
    wait_for(pid);
}

static void one_vfork(char *program)
{
    int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
    pid_t pid = vfork();

    if (pid == 0) { /* with every signal blocked */
        dup2(nothing, 1);
        execl(program, program, "states", "200", (char *)NULL);
        _exit(89);
    }
    close(nothing);
    wait_for(pid);
}

/* [FORKS]: while two threads make sites hot */
void forks(int argc, char **argv)
{
    unsigned times = (unsigned)argument(argc, argv, 0, 20);
    static char program[4096];

    CHECK(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
    rounds = 1;
    handle(TIMER, 0);
    block_all();
    start(2, 5);
    for (unsigned i = 0; i < times; i++)
        one_fork();
    one_vfork(program);
    stop = 1;
    for (unsigned i = 0; i < 2; i++)
        pthread_join(workers[i].thread, NULL);
    printf("forks %u\n", times);
}
