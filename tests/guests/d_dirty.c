/* flags: -lpthread -Ipreload */
/* First writes to pages of RAM, in orders that split the kernel's list of mappings as far as it goes. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

#include "b_guest.h"
#include "mmioshim/client.h"

#define PAGE 4096ul
#define PAGES 131072ul

static uint8_t *base = (uint8_t *)RAM;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* A permutation of 0..2^bits-1 without a table: odd multiplier and xor-shift, a bijection in each step. */
static unsigned long shuffle(unsigned long i, unsigned bits)
{
    unsigned long mask = (1ul << bits) - 1;

    for (int round = 0; round < 3; round++) {
        i = (i * 0x9e3779b1ul + 0x7f4a7c15ul) & mask;
        i ^= i >> (bits / 2);
    }
    return i;
}

/* Writes page 2*p+odd for all p in a shuffled order; nanoseconds a write. */
static double scatter(unsigned odd)
{
    double start = now();

    for (unsigned long i = 0; i < PAGES / 2; i++)
        *(volatile uint8_t *)(base + (2 * shuffle(i, 16) + odd) * PAGE) = 1;
    return (now() - start) / (PAGES / 2);
}

static void check_all(unsigned step)
{
    unsigned long wrong = 0;

    for (unsigned long p = 0; p < PAGES; p++)
        wrong += base[p * PAGE] != (p % step == 0);
    EQUAL(wrong, 0);
}

/* half: every second page, shuffled. "verbose" as a word says what it cost. */
static int half(int argc, char **argv)
{
    double cost = scatter(0);

    (void)argv;
    check_all(2);
    if (argc)
        printf("%.0f\n", cost);
    return 0;
}

/* all: every second page, shuffled, and then the others. */
static int all(int argc, char **argv)
{
    double even = scatter(0), odd = scatter(1);

    (void)argv;
    check_all(1);
    if (argc)
        printf("%.0f %.0f\n", even, odd);
    return 0;
}

/* sparse COUNT: so many pages, no two of them neighbours, shuffled. */
static int sparse(int argc, char **argv)
{
    unsigned long count = argc ? strtoul(argv[0], NULL, 0) : 0;

    for (unsigned long i = 0; i < count; i++)
        base[2 * shuffle(i, 16) * PAGE] = 1;
    return 0;
}

/* forget COUNT: every second page, all is forgotten, and then so many single pages. */
static int forget(int argc, char **argv)
{
    scatter(0);
    mmioshim_dirty_clear();
    EQUAL(mmioshim_dirty_test(base), 0);
    return sparse(argc, argv);
}

/* runs: 64 runs of 1000 pages, each upwards, in turn: many pages, few pieces. */
static int runs(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    for (unsigned long i = 0; i < 1000; i++)
        for (unsigned long r = 0; r < 64; r++)
            base[(r * 2048 + i) * PAGE] = 1;
    return 0;
}

/* --- several threads, on the same pages and on others --- */

#define THREADS 4

static void *worker(void *arg)
{
    unsigned long n = (unsigned long)arg;

    for (unsigned long i = 0; i < PAGES / 2; i++)
        __atomic_fetch_add(base + 2 * shuffle(i ^ n * 3, 16) * PAGE, 1, __ATOMIC_RELAXED);
    return NULL;
}

static int threads(int argc, char **argv)
{
    pthread_t id[THREADS];
    unsigned long wrong = 0;

    (void)argc;
    (void)argv;
    for (unsigned long t = 0; t < THREADS; t++)
        EQUAL(pthread_create(&id[t], NULL, worker, (void *)t), 0);
    for (unsigned t = 0; t < THREADS; t++)
        pthread_join(id[t], NULL);
    for (unsigned long p = 0; p < PAGES; p++)
        wrong += base[p * PAGE] != (p % 2 ? 0 : THREADS);
    EQUAL(wrong, 0);
    return 0;
}

static volatile int writers;
static int device;

static void *spread(void *arg)
{
    for (unsigned long i = 0; i < PAGES / 4; i++)
        base[(2 * shuffle(i, 15) + (unsigned long)arg) * PAGE] = 1;
    __atomic_fetch_sub(&writers, 1, __ATOMIC_ACQ_REL);
    return NULL;
}

/* flips: pages are closed and opened by the program while its threads write all around: closed is closed. */
static int flips(int argc, char **argv)
{
    uint8_t *page = base + (PAGES / 4 + 1) * PAGE;
    unsigned long wrong = 0;
    int zero = open("/dev/zero", O_RDONLY);
    pthread_t id[2];

    (void)argc;
    (void)argv;
    for (unsigned long i = 0; i < PAGES / 4; i++) /* so that pieces grow */
        base[(PAGES / 2 + 2 * shuffle(i, 15)) * PAGE] = 1;
    writers = 2;
    mprotect(page, PAGE, PROT_READ);
    for (unsigned long t = 0; t < 2; t++)
        EQUAL(pthread_create(&id[t], NULL, spread, (void *)(2 * t)), 0);
    while (writers) {
        EQUAL(mprotect(page, PAGE, PROT_READ), 0);
        wrong += read(zero, page, 1) != -1;
        wrong += read(zero, page, 1) != -1;
        EQUAL(mprotect(page, PAGE, PROT_READ | PROT_WRITE), 0);
        wrong += read(zero, page, 1) != 1;
    }
    for (unsigned t = 0; t < 2; t++)
        pthread_join(id[t], NULL);
    EQUAL(wrong, 0);
    return 0;
}

/* forks: one thread writes, the other forks, and each child writes too: no lock is left behind. */
static int forks(int argc, char **argv)
{
    pthread_t id;
    int status;

    (void)argc;
    (void)argv;
    writers = 1;
    EQUAL(pthread_create(&id, NULL, spread, NULL), 0);
    for (unsigned long i = 0; i < 100; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            base[(2 * i + 1) * PAGE] = 1;
            EQUAL(mprotect(base + (PAGES - 1 - i) * PAGE, PAGE, PROT_READ), 0);
            _exit(failures);
        }
        waitpid(pid, &status, 0);
        EQUAL(status, 0);
    }
    pthread_join(id, NULL);
    return 0;
}

/*
 * The stack grows into pages that nobody wrote yet while the library changes mappings for the program. No fork: the
 * child would share the stack.
 */
static void deeper(unsigned n, unsigned long size, uint8_t *window)
{
    volatile char room[size];

    room[0] = 1;
    EQUAL(mprotect(base + (1000 + n % 64) * PAGE, PAGE, n % 2 ? PROT_READ : PROT_READ | PROT_WRITE), 0);
    CHECK(mmap(window, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, device, RAM + n * PAGE) == window);
    if (n % 3 == 0)
        EQUAL(munmap(window, PAGE), 0);
    if (n)
        deeper(n - 1, size, window);
    CHECK(room[0] == 1); /* not left before */
}

static void *grow(void *arg)
{
    (void)arg;
    for (unsigned long size = 200; size < 4500; size += 333)
        deeper(600, size, mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    return NULL;
}

/* stack: a thread whose stack is RAM. */
static int stack(int argc, char **argv)
{
    pthread_attr_t attr;
    pthread_t id;

    (void)argc;
    (void)argv;
    device = open("/dev/mem", O_RDWR);
    pthread_attr_init(&attr);
    EQUAL(pthread_attr_setstack(&attr, base + 8192 * PAGE, 1024 * PAGE), 0);
    EQUAL(pthread_create(&id, &attr, grow, NULL), 0);
    pthread_join(id, NULL);
    return 0;
}

/* --- another place, another process, other mappings --- */

static uint8_t *map_ram(void)
{
    int fd = open("/dev/mem", O_RDWR | O_SYNC);
    uint8_t *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, RAM);

    close(fd);
    if (p == MAP_FAILED)
        exit(91);
    return p;
}

/* alias: even pages through a mapping of /dev/mem, every fourth of the odd ones at home. */
static int alias(int argc, char **argv)
{
    uint8_t *home = base;

    (void)argc;
    (void)argv;
    base = map_ram();
    scatter(0);
    for (unsigned long i = 0; i < PAGES / 2; i += 4)
        home[(2 * i + 1) * PAGE] = 1;
    base = home;
    for (unsigned long p = 0; p < PAGES; p++)
        if (base[p * PAGE] != (p % 2 == 0 || p % 8 == 1))
            return 1;
    return 0;
}

/* children: parent and child write half of the pages each. */
static int children(int argc, char **argv)
{
    int status;
    pid_t pid;

    (void)argc;
    (void)argv;
    for (unsigned long i = 0; i < PAGES / 4; i++)
        base[2 * shuffle(i, 16) * PAGE] = 1;
    pid = fork();
    for (unsigned long i = pid ? PAGES / 4 : PAGES * 3 / 8; i < (pid ? PAGES * 3 / 8 : PAGES / 2); i++)
        base[2 * shuffle(i, 16) * PAGE] = 1;
    if (pid == 0)
        return 0;
    waitpid(pid, &status, 0);
    EQUAL(status, 0);
    check_all(2);
    return 0;
}

/*
 * crowded FREE: a program that has so many mappings of its own that FREE are
 * left, then every second page of the first 64 MiB; afterwards it still gets
 * some more mappings.
 */
static int crowded(int argc, char **argv)
{
    long keep = argc ? atol(argv[0]) : 0, have = 0;
    uint8_t *own = mmap(NULL, 140000 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    long give;

    while (mprotect(own + have * 2 * PAGE, PAGE, PROT_NONE) == 0)
        have++;
    for (give = 0; give < keep / 2; give++)
        mprotect(own + (have - 1 - give) * 2 * PAGE, PAGE, PROT_READ);
    for (unsigned long i = 0; i < 8192; i++)
        base[2 * shuffle(i, 13) * PAGE] = 1;
    for (unsigned long p = 0; p < 16384; p++)
        if (base[p * PAGE] != (p % 2 == 0))
            return 1;
    for (long i = 0; keep >= 64 && i < 8; i++)
        EQUAL(mprotect(own + (have - 1 - i) * 2 * PAGE, PAGE, PROT_NONE), 0);
    return 0;
}

/* guards: pages that the program closed between those that it writes stay closed, and clean. */
static int guards(int argc, char **argv)
{
    unsigned long wrong = 0;

    (void)argc;
    (void)argv;
    for (unsigned long p = 1; p < PAGES; p += 256)
        EQUAL(mprotect(base + p * PAGE, PAGE, PROT_READ), 0);
    scatter(0);
    check_all(2);
    /* read(2) says EFAULT where the program may not write. */
    for (unsigned long p = 1; p < PAGES; p += 256) {
        int fd = open("/dev/zero", O_RDONLY);

        wrong += read(fd, base + p * PAGE, 1) >= 0;
        close(fd);
    }
    EQUAL(wrong, 0);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"half", half},       {"all", all},           {"sparse", sparse},   {"runs", runs}, {"forget", forget},     {"threads", threads}, {"flips", flips}, {"stack", stack}, {"forks", forks},
        {"alias", alias},     {"children", children}, {"crowded", crowded}, {"guards", guards},
    };

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
