/* flags: -O1 -lpthread */
/* Threads of every kind, each using a window; coroutines; the moments before main and after it. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <threads.h>
#include <ucontext.h>

#include "b_guest.h"

/* --- many --- */

static void *brief(void *argument)
{
    *SCR = (uint8_t)(uintptr_t)argument;
    return argument;
}

/* What the process uses: address space in kB, and the number of its mappings. */
static void measure(long *kb, long *maps)
{
    char line[512];
    FILE *f = fopen("/proc/self/status", "r");

    *kb = *maps = 0;
    while (f && fgets(line, sizeof(line), f))
        sscanf(line, "VmSize: %ld", kb);
    if (f)
        fclose(f);
    f = fopen("/proc/self/maps", "r");
    while (f && fgets(line, sizeof(line), f))
        ++*maps;
    if (f)
        fclose(f);
}

/* many COUNT AT_ONCE: threads that come and go. Memory after the first hundred and at the end is the same. */
static int many(int argc, char **argv)
{
    int count = argc > 0 ? atoi(argv[0]) : 2000, at_once = argc > 1 ? atoi(argv[1]) : 4;
    long kb = 0, maps = 0, kb_end, maps_end;
    pthread_t t[64];
    void *got;

    for (int i = 0; i < count; i += at_once) {
        for (int j = 0; j < at_once; j++)
            CHECK(pthread_create(&t[j], NULL, brief, (void *)(uintptr_t)(i + j)) == 0);
        for (int j = 0; j < at_once; j++) {
            pthread_join(t[j], &got);
            EQUAL(got, i + j);
        }
        if (i >= 100 && !kb)
            measure(&kb, &maps);
    }
    measure(&kb_end, &maps_end);
    /* A thread that was joined may still be on its way out, and keeps what we hold for it: bounded by those at once. */
    CHECK(kb_end - kb < 1024 + 2 * 256 * at_once);
    /* Likewise, never by their count. */
    CHECK(maps_end - maps < 8 + 4 * at_once);
    return 0;
}

static atomic_int finished;

static void *brief_detached(void *argument)
{
    brief(argument);
    finished++;
    return NULL;
}

static int detached(int argc, char **argv)
{
    int count = argc > 0 ? atoi(argv[0]) : 500;
    long kb = 0, maps = 0, kb_end, maps_end;
    pthread_attr_t attr;
    pthread_t t;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    for (int i = 0; i < count; i++) {
        CHECK(pthread_create(&t, &attr, brief_detached, (void *)(uintptr_t)i) == 0);
        while (finished <= i)
            sched_yield();
        if (i == 100)
            measure(&kb, &maps);
    }
    measure(&kb_end, &maps_end);
    CHECK(kb_end - kb < 32 * 1024); /* stacks that glibc keeps, and those of threads not quite gone */
    return 0;
}

/* --- small stacks --- */

static sig_atomic_t caught;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    caught++;
    *SCR = (uint8_t)(*SCR + 1);
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 3;
}

static void *small(void *argument)
{
    for (int i = 0; i < 50; i++) {
        uint64_t value;

        (*(volatile uint8_t *)SCR)++;
        if (argument)
            __asm__ volatile("mov (%1), %0" : "=a"(value) : "D"(HOLE) : "memory"); /* 3 bytes */
    }
    return NULL;
}

static int small_stacks(int argc, char **argv)
{
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    pthread_attr_t attr;
    pthread_t t;

    (void)argv;
    sigaction(SIGSEGV, &act, NULL);
    pthread_attr_init(&attr);
    EQUAL(pthread_attr_setstacksize(&attr, 16384), 0);
    *SCR = 0;
    for (int i = 0; i < 20; i++) {
        EQUAL(pthread_create(&t, &attr, small, argc ? &attr : NULL), 0);
        pthread_join(t, NULL);
    }
    EQUAL(caught, argc ? 1000 : 0);
    EQUAL(*SCR, (uint8_t)(1000 + caught));
    return 0;
}

/* --- cancellation --- */

static atomic_int cleaned, running;

static void clean(void *unused)
{
    (void)unused;
    *SCR = 0xcc;
    cleaned++;
}

static void *until_cancelled(void *asynchronous)
{
    int old;

    pthread_setcanceltype(asynchronous ? PTHREAD_CANCEL_ASYNCHRONOUS : PTHREAD_CANCEL_DEFERRED, &old);
    pthread_cleanup_push(clean, NULL);
    running = 1;
    for (;;) {
        *SCR = 1;
        if (!asynchronous)
            pthread_testcancel();
    }
    pthread_cleanup_pop(0);
    return NULL;
}

static int cancel(int argc, char **argv)
{
    pthread_t t;
    void *got;

    (void)argv;
    for (int i = 0; i < 100; i++) {
        running = 0;
        CHECK(pthread_create(&t, NULL, until_cancelled, argc ? &t : NULL) == 0);
        while (!running)
            sched_yield();
        pthread_cancel(t);
        pthread_join(t, &got);
        CHECK(got == PTHREAD_CANCELED);
    }
    EQUAL(cleaned, 100);
    EQUAL(*SCR, 0xcc);
    return 0;
}

/* --- C11 --- */

static int c11_body(void *argument)
{
    *SCR = (uint8_t)(intptr_t)argument;
    return -(int)(intptr_t)argument;
}

static int c11(int argc, char **argv)
{
    thrd_t t;
    int got;

    (void)argc;
    (void)argv;
    for (int i = 1; i < 100; i++) {
        EQUAL(thrd_create(&t, c11_body, (void *)(intptr_t)i), thrd_success);
        EQUAL(thrd_join(t, &got), thrd_success);
        EQUAL(got, -i);
    }
    EQUAL(*SCR, 99);
    return 0;
}

/* --- coroutines --- */

static ucontext_t home, there[4];
static char stacks[4][16384];

static void coroutine(int n)
{
    for (int i = 0; i < 100; i++) {
        *SCR = (uint8_t)(*SCR + 1);
        swapcontext(&there[n], n == 3 ? &home : &there[n + 1]);
    }
}

static int coroutines(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    *SCR = 0;
    for (int i = 0; i < 4; i++) {
        getcontext(&there[i]);
        there[i].uc_stack.ss_sp = stacks[i];
        there[i].uc_stack.ss_size = sizeof(stacks[i]);
        there[i].uc_link = &home;
        makecontext(&there[i], (void (*)(void))coroutine, 1, i);
    }
    for (int i = 0; i < 100; i++)
        swapcontext(&home, &there[0]);
    EQUAL(*SCR, (uint8_t)400);
    return 0;
}

/* --- a thread forks --- */

static void *forks(void *unused)
{
    int status = -1;

    (void)unused;
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            *SCR = 0x5c;
            _exit(*SCR == 0x5c ? 0 : 1);
        }
        waitpid(pid, &status, 0);
        EQUAL(status, 0);
    }
    return NULL;
}

static atomic_int stop;

static void *busy(void *unused)
{
    (void)unused;
    while (!stop)
        *SCR = 0x5c;
    return NULL;
}

/* fork while other threads are inside of accesses: the children find every lock free. */
static int thread_forks(int argc, char **argv)
{
    pthread_t t, others[3];

    (void)argc;
    (void)argv;
    for (int i = 0; i < 3; i++)
        pthread_create(&others[i], NULL, busy, NULL);
    pthread_create(&t, NULL, forks, NULL);
    pthread_join(t, NULL);
    stop = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(others[i], NULL);
    return 0;
}

/* --- signals to threads --- */

static __thread volatile unsigned mine;

static void on_usr(int sig)
{
    uint8_t before = *SCR;

    (void)sig;
    *SCR = (uint8_t)(before + 1);
    *SCR = before;
    mine++;
}

static void *signalled(void *unused)
{
    (void)unused;
    running++;
    while (!stop)
        (void)*LSR;
    return (void *)(uintptr_t)mine;
}

static int kill_threads(int argc, char **argv)
{
    struct sigaction act = {.sa_handler = on_usr};
    pthread_t t[3];
    void *got;

    (void)argc;
    (void)argv;
    sigaction(SIGUSR1, &act, NULL);
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, signalled, NULL);
    while (running < 3)
        sched_yield();
    for (int i = 0; i < 3000; i++) {
        pthread_kill(t[i % 3], SIGUSR1);
        if (i % 3 == 2)
            usleep(20); /* signals that are pending already do not add up */
    }
    usleep(20000);
    stop = 1;
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], &got);
        CHECK((uintptr_t)got > 10 && (uintptr_t)got <= 1000);
    }
    return 0;
}

/* --- before main, and after it --- */

static int whole_life;

__attribute__((constructor)) static void before_main(int argc, char **argv)
{
    whole_life = argc > 1 && strcmp(argv[1], "life") == 0;
    if (whole_life)
        *SCR = 1;
}

__attribute__((destructor)) static void after_main(void)
{
    if (whole_life)
        *SCR = 4;
}

static void at_exit(void)
{
    *SCR = 3;
}

static int life(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    atexit(at_exit);
    EQUAL(*SCR, 1);
    *SCR = 2;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"many", many},     {"detached", detached}, {"small", small_stacks}, {"cancel", cancel},
        {"c11", c11},       {"coroutines", coroutines}, {"forks", thread_forks}, {"kill", kill_threads},
        {"life", life},
    };

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
