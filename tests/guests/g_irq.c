/* Interrupts as a program without an operating system takes them: the UART through the PLIC, told by SIGIO. */
// flags: -lpthread
#include <dirent.h>
#include <setjmp.h>

#include "e_guest.h"

#define RBR ((volatile uint8_t *)UART)
#define THR ((volatile uint8_t *)UART)
#define IER ((volatile uint8_t *)(UART + 1))
#define IIR ((volatile uint8_t *)(UART + 2))
#define MCR ((volatile uint8_t *)(UART + 4))
#define PLIC 0x0c000000ul
#define PRIORITY(id)   ((volatile uint32_t *)(PLIC + 4 * (id)))
#define PENDING        ((volatile uint32_t *)(PLIC + 0x1000))
#define ENABLE(ctx)    ((volatile uint32_t *)(PLIC + 0x2000 + 0x80 * (ctx)))
#define THRESHOLD(ctx) ((volatile uint32_t *)(PLIC + 0x200000 + 0x1000 * (ctx)))
#define CLAIM(ctx)     ((volatile uint32_t *)(PLIC + 0x200004 + 0x1000 * (ctx)))
#define CLINT 0x02000000ul
#define MSIP     ((volatile uint32_t *)CLINT)
#define MTIMECMP ((volatile uint64_t *)(CLINT + 0x4000))
#define MTIME    ((volatile uint64_t *)(CLINT + 0xbff8))

enum { UART_IRQ = 10, EXTERNAL = 11, TIMER = 7, SOFTWARE = 3 };

static volatile int runs, claims, spurious, cause, sender;

static void enable(int ctx)
{
    *PRIORITY(UART_IRQ) = 1;
    *THRESHOLD(ctx) = 0;
    *ENABLE(ctx) = 1u << UART_IRQ;
}

static uint32_t claim(void)
{
    uint32_t id = *CLAIM(0);

    if (id)
        claims++;
    else
        spurious++;
    return id;
}

static void seen(siginfo_t *info)
{
    runs++;
    cause = info->si_value.sival_int;
    sender = info->si_pid;
}

/* Waits for what may be on its way from another process; the safety net is the test's. */
static void wait_runs(int wanted)
{
    uint64_t old = mask_change(SIG_BLOCK, BIT(SIGIO));
    sigset_t open = set_from(old & ~BIT(SIGIO));

    while (runs < wanted)
        sigsuspend(&open);
    mask_change(SIG_SETMASK, old);
}

/* --- print: a transmitter that is fed by its interrupt --- */

static const char *left;

static void feed(int sig, siginfo_t *info, void *context)
{
    uint32_t id;

    (void)sig, (void)context;
    seen(info);
    id = claim();
    if (id != UART_IRQ)
        return;
    EQUAL(*IIR & 0x0f, 0x02);
    if (*left)
        *THR = (uint8_t)*left++;
    else
        *IER = 0;
    *CLAIM(0) = id;
}

static int act_print(int argc, char **argv)
{
    (void)argc;
    left = argv[0];
    handle_info(SIGIO, feed, 0, 0);
    enable(0);
    *IER = 2;
    show("\nruns %d claims %d spurious %d cause %d own %d\n", runs, claims, spurious, cause, sender == getpid());
    return 0;
}

/* --- level: it comes again until the device is content --- */

static int patience;

static void slow(int sig, siginfo_t *info, void *context)
{
    uint32_t id;

    (void)sig, (void)context;
    seen(info);
    id = claim();
    if (runs > patience)
        (void)*IIR; /* the source: takes it away */
    if (id)
        *CLAIM(0) = id;
}

static int act_level(int argc, char **argv)
{
    (void)argc;
    patience = atoi(argv[0]);
    handle_info(SIGIO, slow, 0, 0);
    enable(0);
    *IER = 2;
    show("runs %d claims %d spurious %d\n", runs, claims, spurious);
    return 0;
}

/* Not completed: nothing comes any more, whatever the line does. */
static void never_complete(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    seen(info);
    claim();
}

static int act_uncompleted(int argc, char **argv)
{
    (void)argc, (void)argv;
    handle_info(SIGIO, never_complete, 0, 0);
    enable(0);
    for (int i = 0; i < 10; i++) {
        *IER = 2;
        (void)*IIR;
    }
    EQUAL(runs, 1);
    *CLAIM(0) = UART_IRQ; /* the line is low */
    EQUAL(runs, 1);
    *IER = 0;
    *IER = 2;
    EQUAL(runs, 2);
    return 0;
}

/* --- masks --- */

static int act_masks(int argc, char **argv)
{
    (void)argc, (void)argv;
    handle_info(SIGIO, slow, 0, 0);
    enable(0);
    mask_change(SIG_BLOCK, BIT(SIGIO));
    *IER = 2;
    EQUAL(runs, 0);
    EQUAL(*PENDING, 1u << UART_IRQ);
    mask_change(SIG_UNBLOCK, BIT(SIGIO));
    EQUAL(runs, 1);
    /* What is over before the signal can be taken is never seen. */
    mask_change(SIG_BLOCK, BIT(SIGIO));
    *IER = 0;
    *IER = 2;
    EQUAL(*CLAIM(0), UART_IRQ);
    (void)*IIR;
    *CLAIM(0) = UART_IRQ;
    mask_change(SIG_UNBLOCK, BIT(SIGIO));
    EQUAL(runs, 1);
    EQUAL(claims, 1);
    EQUAL(spurious, 0);
    /* The threshold masks as well. */
    *THRESHOLD(0) = 1;
    *IER = 0;
    *IER = 2;
    EQUAL(runs, 1);
    *THRESHOLD(0) = 0;
    EQUAL(runs, 2);
    /* The program's own signals are its own. */
    EQUAL(raise(SIGIO), 0);
    EQUAL(runs, 3);
    EQUAL(spurious, 1);
    return 0;
}

/* --- a handler that does not return --- */

static sigjmp_buf back;

static void jump(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    seen(info);
    if (runs == patience)
        (void)*IIR, *CLAIM(0) = claim();
    siglongjmp(back, 1);
}

/* While it is pending it traps again as soon as the mask is back: the loop goes on when it was handled. */
static int act_jump(int argc, char **argv)
{
    volatile int starts = 0, ends = 0;

    (void)argc;
    patience = atoi(argv[0]);
    handle_info(SIGIO, jump, 0, 0);
    enable(0);
    if (sigsetjmp(back, 1) == 0) {
        starts++;
        *IER = 2;
    }
    ends++;
    EQUAL(starts, 1);
    EQUAL(ends, 1);
    EQUAL(runs, patience);
    return 0;
}

/* --- who is told --- */

static int act_vector(int argc, char **argv)
{
    (void)argc, (void)argv;
    enable(0);
    *IER = 2; /* nobody has a handler: nothing happens, and it stays pending */
    handle_info(SIGIO, slow, 0, 0);
    EQUAL(runs, 1); /* told as soon as somebody has */
    signal(SIGIO, SIG_DFL);
    *IER = 0;
    *IER = 2;
    *IER = 0;
    handle_info(SIGIO, slow, SA_RESETHAND, 0);
    EQUAL(runs, 2); /* the request outlives its wire */
    *IER = 2;
    EQUAL(runs, 2);
    handle_info(SIGIO, slow, SA_NODEFER, 0);
    EQUAL(runs, 3);
    EQUAL(claims, 3);
    return 0;
}

/* The child causes it, the parent handles it: as often as there are characters. */
static int act_processes(int argc, char **argv)
{
    int status, n = argc ? atoi(argv[0]) : 100;
    pid_t child;

    handle_info(SIGIO, slow, 0, 0);
    enable(0);
    child = fork();
    if (child == 0) {
        for (int i = 0; i < n; i++) {
            while (*IER) /* wait until the last one was handled */
                sched_yield();
            *IER = 2;
        }
        _exit(runs); /* the handler is here, too, and is never called */
    }
    for (int i = 1; i <= n; i++) {
        wait_runs(i);
        *IER = 0;
    }
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
    show("runs %d claims %d spurious %d\n", runs, claims, spurious);
    return 0;
}

/* The child installs its own handler, and is told from then on; when it is gone nobody is, until somebody installs one. */
static int act_takeover(int argc, char **argv)
{
    int status;

    (void)argc, (void)argv;
    handle_info(SIGIO, slow, 0, 0);
    enable(0);
    if (fork() == 0) {
        handle_info(SIGIO, slow, 0, 0);
        *IER = 2;
        _exit(runs == 1 && claims == 1 ? 7 : 8);
    }
    wait(&status);
    EQUAL(WEXITSTATUS(status), 7);
    EQUAL(runs, 0);
    *IER = 0;
    *IER = 2;
    EQUAL(runs, 0);
    handle_info(SIGIO, slow, 0, 0);
    EQUAL(runs, 1);
    return 0;
}

/* --- software interrupts, and threads that are harts (g_harts.dts: SIGUSR1 and SIGUSR2, to threads) --- */

static __thread volatile int hart_runs, hart_cause;

static void hart_handler(int sig, siginfo_t *info, void *context)
{
    (void)context;
    hart_runs++;
    hart_cause = info->si_value.sival_int;
    MSIP[sig == SIGUSR1 ? 0 : 1] = 0;
}

static pthread_barrier_t barrier;

static void *hart(void *argument)
{
    int me = argument != NULL;

    handle_info(me ? SIGUSR2 : SIGUSR1, hart_handler, 0, 0);
    for (int i = 0; i < 50; i++) {
        pthread_barrier_wait(&barrier);
        if (i % 2 == me)
            MSIP[!me] = 1; /* each interrupts the other one */
        while (i % 2 != me && hart_runs < (i + 1 + me) / 2)
            ;
    }
    EQUAL(hart_runs, 25);
    EQUAL(hart_cause, SOFTWARE);
    return NULL;
}

static int act_harts(int argc, char **argv)
{
    pthread_t thread;

    (void)argc, (void)argv;
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, hart, &barrier);
    hart(NULL);
    pthread_join(thread, NULL);
    return 0;
}

/* --- timers --- */

static uint64_t period;

static void tick(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    seen(info);
    CHECK(*MTIME >= *MTIMECMP);
    *MTIMECMP += period;
}

/* ticks the period until they are so many, in a sleep or in a loop that does something else. */
static int act_ticks(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 10;
    int polls = 0;

    period = argc ? strtoul(argv[0], NULL, 0) : 10000;
    handle_info(SIGIO, tick, 0, 0);
    *MTIMECMP = *MTIME + period;
    if (argc > 2 && strcmp(argv[2], "poll") == 0)
        while (runs < n) {
            (void)*SCR;
            polls++;
        }
    else
        wait_runs(n);
    *MTIMECMP = UINT64_MAX;
    show("runs %d cause %d\n", runs, cause);
    if (polls)
        show("polls %d\n", polls);
    return 0;
}

/* What sleeps see of virtual time: exact, whatever the machine is doing. An access is 10 ticks. */
static uint64_t elapsed(uint64_t since)
{
    return *MTIME - since;
}

static int act_sleeps(int argc, char **argv)
{
    struct timespec five = {0, 5000000}, minute = {60, 0}, left;
    uint64_t since;

    (void)argc, (void)argv;
    handle_info(SIGIO, tick, 0, 0);
    period = UINT64_MAX / 2;
    since = *MTIME;
    EQUAL(nanosleep(&five, NULL), 0);
    EQUAL(elapsed(since), 50000 + 10);
    EQUAL(clock_nanosleep(CLOCK_MONOTONIC, 0, &five, NULL), 0);
    EQUAL(elapsed(since), 100000 + 20);
    EQUAL(runs, 0);
    /* A timer ends a sleep, when it is due. */
    since = *MTIME;
    *MTIMECMP = since + 30000;
    EQUAL(nanosleep(&minute, &left), -1);
    EQUAL(errno, EINTR);
    EQUAL(runs, 1);
    EQUAL(elapsed(since), 30000 + 40); /* four accesses of the handler */
    since = *MTIME;
    *MTIMECMP = since + 700;
    EQUAL(pause(), -1);
    EQUAL(runs, 2);
    EQUAL(elapsed(since), 700 + 40);
    /* Nothing to wait for: a sleep is just as long. */
    *MTIMECMP = UINT64_MAX;
    since = *MTIME;
    EQUAL(nanosleep(&five, NULL), 0);
    EQUAL(elapsed(since), 50000 + 10);
    return 0;
}

/* --- the receiver, and the worker that looks out for input --- */

static volatile int characters;

static void receive(int sig, siginfo_t *info, void *context)
{
    uint32_t id;
    char c;

    (void)sig, (void)context;
    seen(info);
    id = claim();
    for (; *(volatile uint8_t *)(UART + 5) & 1; characters++) {
        c = (char)*RBR;
        if (write(1, &c, 1) != 1)
            failures++;
    }
    if (id)
        *CLAIM(0) = id;
}

/* Echoes so many characters, sleeping until each comes. */
static int act_receive(int argc, char **argv)
{
    uint64_t old = mask_change(SIG_BLOCK, BIT(SIGIO));
    sigset_t open = set_from(old);

    (void)argc;
    handle_info(SIGIO, receive, 0, 0);
    enable(0);
    *IER = 1;
    while (characters < atoi(argv[0]))
        sigsuspend(&open);
    *IER = 0;
    show("\nspurious %d\n", spurious);
    return 0;
}

static size_t slurp(const char *pid, const char *file, char *text, size_t room)
{
    char path[300];
    size_t n = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%s/%s", pid, file);
    f = fopen(path, "r");
    if (f) {
        n = fread(text, 1, room, f);
        fclose(f);
    }
    return n;
}

/* The worker of this machine: it has the environment of who made it, with a word that nobody else has. 0: none. */
static pid_t find_worker(void)
{
    static const char name[] = "mmioshim-worker\n";
    static char text[65536];
    const char *mark = getenv("IRQ_MARK");
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    pid_t found = 0;

    while (proc && !found && (entry = readdir(proc))) {
        const char *pid = entry->d_name;

        if (slurp(pid, "comm", text, sizeof(text)) != strlen(name) || memcmp(text, name, strlen(name)) != 0)
            continue;
        if (memmem(text, slurp(pid, "environ", text, sizeof(text)), mark, strlen(mark)))
            found = atoi(pid);
    }
    closedir(proc);
    return found;
}

static void kill_worker(void)
{
    pid_t pid;

    while (!(pid = find_worker())) /* it is being made */
        sched_yield();
    if (kill(pid, SIGKILL))
        exit(97);
    while (find_worker() == pid) /* its environment is gone with its memory */
        sched_yield();
}

static int act_killed(int argc, char **argv)
{
    (void)argc, (void)argv;
    handle_info(SIGIO, tick, 0, 0);
    mask_change(SIG_BLOCK, BIT(SIGIO));
    period = UINT64_MAX / 2;
    CHECK(find_worker() == 0);
    *MTIMECMP = *MTIME + 1000000000;
    kill_worker();
    *MTIMECMP = *MTIME + 10000; /* who asks for something makes another one */
    wait_runs(1);
    *MTIMECMP = *MTIME + 5000000;
    kill_worker();
    wait_runs(2); /* so does who goes to sleep */
    return 0;
}

/* It outlives the process that made it. */
static int act_orphan(int argc, char **argv)
{
    int n = argc ? atoi(argv[0]) : 5, ready[2];
    char c;

    if (pipe(ready))
        return 98;
    *MTIMECMP = *MTIME + 10000000000;
    if (fork())
        _exit(read(ready[0], &c, 1) != 1);
    handle_info(SIGIO, tick, 0, 0);
    mask_change(SIG_BLOCK, BIT(SIGIO));
    period = 10000;
    if (write(ready[1], "", 1) != 1)
        return 98;
    *MTIMECMP = *MTIME + period;
    wait_runs(n);
    *MTIMECMP = UINT64_MAX;
    show("orphan %d\n", runs >= n);
    return 0;
}

/* How long from the store that causes it to the handler, in nanoseconds: least, median. */
static struct timespec arrived;

static void stamp(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, (void)context;
    clock_gettime(CLOCK_MONOTONIC, &arrived);
    runs++;
    MSIP[0] = 0;
}

static int by_value(const void *a, const void *b)
{
    const long *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static int act_latency(int argc, char **argv)
{
    enum { MOST = 100000 };
    static long ns[MOST];
    int n = argc ? atoi(argv[0]) : 10000;
    struct timespec before;

    if (n > MOST)
        n = MOST;
    handle_info(SIGIO, stamp, 0, 0);
    for (int i = 0; i < n; i++) {
        clock_gettime(CLOCK_MONOTONIC, &before);
        MSIP[0] = 1;
        ns[i] = (arrived.tv_sec - before.tv_sec) * 1000000000 + arrived.tv_nsec - before.tv_nsec;
    }
    EQUAL(runs, n);
    qsort(ns, (size_t)n, sizeof(ns[0]), by_value);
    printf("interrupt latency: least %ld ns, median %ld ns of %d\n", ns[0], ns[n / 2], n);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"print", act_print},         {"level", act_level},       {"uncompleted", act_uncompleted},
        {"masks", act_masks},         {"jump", act_jump},         {"vector", act_vector},
        {"processes", act_processes}, {"takeover", act_takeover}, {"harts", act_harts},
        {"ticks", act_ticks},         {"latency", act_latency},   {"sleeps", act_sleeps},
        {"receive", act_receive},     {"killed", act_killed},     {"orphan", act_orphan},
    };

    return run_action(table, sizeof(table) / sizeof(table[0]), argc, argv);
}
