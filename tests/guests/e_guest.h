/*
 * What the guests e_*.c share. Each access to a window is counted as it is
 * made, in the file that E_TALLY names when there is one: over fork and exec,
 * so that a test knows how many events the transcript must have.
 */
#ifndef E_GUEST_H
#define E_GUEST_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

#include "b_guest.h"

static uint64_t *tally;

/* Before constructors of the guests, which have a lower priority and use windows. */
__attribute__((constructor(101))) static void open_tally(void)
{
    const char *path = getenv("E_TALLY");
    int fd = path ? open(path, O_RDWR) : -1;

    tally = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
    if (tally == MAP_FAILED)
        _exit(95);
    if (fd >= 0)
        close(fd);
    plain_memory();
}

#define COUNTED() __atomic_fetch_add(tally, 1, __ATOMIC_SEQ_CST)

static inline void put(unsigned value)
{
    COUNTED();
    *SCR = (uint8_t)value;
}

static inline unsigned get(void)
{
    COUNTED();
    return *SCR;
}

/* Unbuffered, so that children and handlers may. */
__attribute__((format(printf, 1, 2))) static inline void show(const char *format, ...)
{
    char line[400];
    va_list list;
    int n;

    va_start(list, format);
    n = vsnprintf(line, sizeof(line), format, list);
    va_end(list);
    if (write(1, line, (size_t)n) != n)
        _exit(98);
}

static inline uint64_t bits_of(const sigset_t *set)
{
    uint64_t bits;

    memcpy(&bits, set, 8);
    return bits;
}

static inline sigset_t set_from(uint64_t bits)
{
    sigset_t set;

    sigemptyset(&set);
    memcpy(&set, &bits, 8);
    return set;
}

#define BIT(sig) (1ull << ((sig) - 1))
/* All that sigfillset gives. */
#define EVERY (~(BIT(32) | BIT(33)))

static inline uint64_t mask_now(void)
{
    sigset_t now;

    sigprocmask(SIG_BLOCK, NULL, &now);
    return bits_of(&now);
}

static inline uint64_t mask_change(int how, uint64_t bits)
{
    sigset_t set = set_from(bits), old;

    sigprocmask(how, &set, &old);
    return bits_of(&old);
}

static inline uint64_t pending_now(void)
{
    sigset_t set;

    sigpending(&set);
    return bits_of(&set);
}

static inline void handle_info(int sig, void (*handler)(int, siginfo_t *, void *), int flags, uint64_t mask)
{
    struct sigaction act = {.sa_sigaction = handler, .sa_flags = flags | SA_SIGINFO, .sa_mask = set_from(mask)};

    EQUAL(sigaction(sig, &act, NULL), 0);
}

static inline void handle_plain(int sig, void (*handler)(int), int flags, uint64_t mask)
{
    struct sigaction act = {.sa_handler = handler, .sa_flags = flags, .sa_mask = set_from(mask)};

    EQUAL(sigaction(sig, &act, NULL), 0);
}

/* Runs `part` in a child; its wait status. */
static inline int child_status(void (*part)(void))
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        part();
        _exit(failures ? 90 : 0);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static inline void sleep_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};

    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
}

static inline long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Two accesses in which the value is kept. */
static inline void use(unsigned value)
{
    put(value);
    EQUAL(get(), (uint8_t)value);
}

/* --- system calls as the kernel knows them --- */

struct kernel_action {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

#define RESTORER 0x04000000ul /* SA_RESTORER, which libc keeps to itself */

/* The instruction itself, in the program: -errno. */
static inline long inline_call(long n, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

static inline long libc_call(long n, long a, long b, long c, long d, long e)
{
    long result = syscall(n, a, b, c, d, e);

    return result < 0 ? -errno : result;
}

typedef long call_fn(long n, long a, long b, long c, long d, long e);

/* "inline" or "libc" */
static inline call_fn *call_named(int argc, char **argv)
{
    return argc > 0 && strcmp(argv[0], "inline") == 0 ? inline_call : libc_call;
}

/* The mask and the action of SIGSEGV as libc tells them. */
static inline void report(const char *what)
{
    struct sigaction act;
    sigset_t now;

    sigaction(SIGSEGV, NULL, &act);
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    EQUAL(bits_of(&now), mask_now());
    show("%s: mask %#lx pending %#lx segv %s flags %#x sa_mask %#lx\n", what, mask_now(), pending_now(),
         act.sa_handler == SIG_DFL ? "default" : act.sa_handler == SIG_IGN ? "ignored" : "handled",
         (unsigned)(act.sa_flags & ~(int)RESTORER), bits_of(&act.sa_mask));
}

#endif
