/* Nanoseconds of system calls, and of the clock, which is none. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"

static int zero, null;

static void check(int ok)
{
    if (!ok)
        abort();
}

static void read_byte(void)
{
    char c;

    check(read(zero, &c, 1) == 1);
}

static void write_byte(void)
{
    check(write(null, "x", 1) == 1);
}

static void mask(void)
{
    sigset_t set;

    sigemptyset(&set);
    check(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
}

static void dup_close(void)
{
    int fd = dup(null);

    check(fd >= 0 && close(fd) == 0);
}

static void map_unmap(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    check(at != MAP_FAILED && munmap(at, 4096) == 0);
}

static void parent(void)
{
    check(syscall(SYS_getppid) > 0);
}

static void clock_read(void)
{
    struct timespec t;

    check(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
}

static void repeat(long n, void *at)
{
    void (*const *what)(void) = at;

    for (long i = 0; i < n; i++)
        (*what)();
}

int main(void)
{
    static const struct {
        const char *name;
        void (*what)(void);
    } calls[] = {
        {"read", read_byte},      {"write", write_byte}, {"sigprocmask", mask}, {"dup-close", dup_close},
        {"mmap-munmap", map_unmap}, {"getppid", parent},   {"clock", clock_read},
    };

    pin_last();
    zero = open("/dev/zero", O_RDONLY);
    null = open("/dev/null", O_WRONLY);
    check(zero >= 0 && null >= 0);
    for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        void (*what)(void) = calls[i].what;

        measure(&(struct job){calls[i].name, repeat, NULL, &what, 0});
    }
    return 0;
}
