/*
 * One measurement of one process, named by its first argument; prints
 * nanoseconds (or MB/s, or kB), the median of several rounds. run.sh starts it
 * with and without the library, in turn, and forms ratios.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define ROUNDS 15
#define RAM    ((uint8_t *)0x80000000)

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof(*values), compare);
    return values[n / 2];
}

/* The scratch register of the UART: a read and a write without side effects. */
static volatile uint8_t *reg = (volatile uint8_t *)0x10000007;

static void skip(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

/* A bare trap: the handler only skips the two bytes of the instruction. */
static void arm_bare(void)
{
    struct sigaction act = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};

    reg = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &act, NULL);
}

__attribute__((noinline)) static void loads(int n)
{
    for (int i = 0; i < n; i++)
        __asm__ volatile("movb (%0), %%al" : : "b"(reg) : "rax", "memory");
}

__attribute__((noinline)) static void stores(int n)
{
    for (int i = 0; i < n; i++)
        __asm__ volatile("movb %%al, (%0)" : : "b"(reg), "a"(i) : "memory");
}

/* Six more frames, so that a call stack has eight with main. */
__attribute__((noinline)) static void deep(int depth, void (*what)(int), int n)
{
    volatile char pad[32];

    pad[0] = (char)depth;
    if (depth)
        deep(depth - 1, what, n);
    else
        what(n);
    pad[1] = pad[0];
}

static double access_cost(void (*what)(int), int n)
{
    double rounds[ROUNDS];

    for (int r = 0; r < ROUNDS; r++) {
        double start = now();

        deep(5, what, n);
        rounds[r] = (now() - start) / n;
    }
    return median(rounds, ROUNDS);
}

/* MB/s of copies within RAM, at its machine address or in any memory. */
static double copy_speed(uint8_t *base)
{
    const size_t size = 32u << 20;
    double rounds[ROUNDS];

    memset(base, 1, 2 * size);
    for (int r = 0; r < ROUNDS; r++) {
        double start = now();

        memcpy(base + (r & 1 ? size : 0), base + (r & 1 ? 0 : size), size);
        rounds[r] = (double)size / (now() - start) * 1e3;
    }
    return median(rounds, ROUNDS);
}

/* First write to each of many pages, whose file pages exist already. */
static double first_write(uint8_t *base)
{
    const int pages = 4096;
    double rounds[ROUNDS];

    for (int r = 0; r < ROUNDS; r++) {
        int fds[2];

        if (pipe(fds) < 0)
            return 0;
        if (fork() == 0) { /* a child tracks afresh */
            double start, took;

            for (int i = 0; i < pages; i++)
                (void)*(volatile uint8_t *)(base + (size_t)i * 4096);
            start = now();
            for (int i = 0; i < pages; i++)
                *(volatile uint8_t *)(base + (size_t)i * 4096) = 1;
            took = (now() - start) / pages;
            if (write(fds[1], &took, sizeof(took)) != sizeof(took))
                _exit(1);
            _exit(0);
        }
        close(fds[1]);
        if (read(fds[0], &rounds[r], sizeof(rounds[r])) != sizeof(rounds[r]))
            rounds[r] = 0;
        close(fds[0]);
        wait(NULL);
    }
    return median(rounds, ROUNDS);
}

static double resident(void)
{
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    double kb = 0;

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "VmRSS: %lf", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb;
}

/* Time from fork to the end of a program that does nothing, in microseconds. */
static double start_up(char *program)
{
    double rounds[ROUNDS * 3];

    for (int r = 0; r < ROUNDS * 3; r++) {
        double start = now();
        pid_t pid = vfork();

        if (pid == 0) {
            char *const arguments[] = {program, (char *)"nothing", NULL};

            execv(program, arguments);
            _exit(127);
        }
        waitpid(pid, NULL, 0);
        rounds[r] = (now() - start) / 1e3;
    }
    return median(rounds, ROUNDS * 3);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    int n = argc > 2 ? atoi(argv[2]) : 3000;
    uint8_t *plain = mmap(NULL, 64u << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (strncmp(what, "bare-", 5) == 0)
        arm_bare();
    if (strcmp(what, "bare-load") == 0 || strcmp(what, "load") == 0)
        printf("%.1f\n", access_cost(loads, n));
    else if (strcmp(what, "bare-store") == 0 || strcmp(what, "store") == 0)
        printf("%.1f\n", access_cost(stores, n));
    else if (strcmp(what, "copy") == 0)
        printf("%.1f\n", copy_speed(RAM));
    else if (strcmp(what, "plain-copy") == 0)
        printf("%.1f\n", copy_speed(plain));
    else if (strcmp(what, "first-write") == 0)
        printf("%.1f\n", first_write(RAM));
    else if (strcmp(what, "plain-first-write") == 0)
        printf("%.1f\n", first_write(plain));
    else if (strcmp(what, "start") == 0)
        printf("%.1f\n", start_up(argv[0]));
    else if (strcmp(what, "resident") == 0)
        printf("%.1f\n", resident());
    else if (strcmp(what, "nothing") != 0)
        return 2;
    return 0;
}
