/* flags: -O1 -lpthread */
/*
 * Threads and stacks as small and as many as they get, and threads that end in
 * the middle of something. What is printed must be the same on ordinary memory.
 */
#include <dirent.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>

#include "e_guest.h"

static void *guarded(size_t size)
{
    char *p = mmap(NULL, size + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    mprotect(p, 4096, PROT_NONE);
    mprotect(p + 4096 + size, 4096, PROT_NONE);
    return p + 4096;
}

/* --- small stacks --- */

static volatile int handled;

static void on_usr(int sig)
{
    put((unsigned)sig);
    handled++;
}

static void on_own(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info;
    put(0x5e);
    handled++;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 3;
}

static void *small_body(void *with_signals)
{
    uint64_t value;

    for (unsigned i = 0; i < 50; i++) {
        put(i);
        if (!with_signals)
            continue;
        __asm__ volatile("mov (%1), %0" : "=a"(value) : "D"(HOLE) : "memory"); /* 3 bytes */
        inline_call(SYS_tgkill, getpid(), gettid(), SIGUSR1, 0, 0);
    }
    return NULL;
}

static int minimal(int argc, char **argv)
{
    pthread_attr_t attr;
    pthread_t t[16];

    (void)argv;
    handle_plain(SIGUSR1, on_usr, 0, 0);
    handle_info(SIGSEGV, on_own, 0, 0);
    pthread_attr_init(&attr);
    EQUAL(pthread_attr_setstacksize(&attr, (size_t)sysconf(_SC_THREAD_STACK_MIN)), 0);
    for (int i = 0; i < 16; i++)
        EQUAL(pthread_create(&t[i], &attr, small_body, argc ? t : NULL), 0);
    for (int i = 0; i < 16; i++)
        pthread_join(t[i], NULL);
    if (!argc) {
        /* The same on stacks that the program brings, with nothing but guards around them. */
        for (int i = 0; i < 16; i++) {
            EQUAL(pthread_attr_setstack(&attr, guarded(16384), 16384), 0);
            EQUAL(pthread_create(&t[i], &attr, small_body, NULL), 0);
        }
        for (int i = 0; i < 16; i++)
            pthread_join(t[i], NULL);
    }
    show("done\n");
    return 0;
}

/* --- coroutines --- */

#define ROUTINES 64

static ucontext_t routines[ROUTINES], back;

static void routine(int n)
{
    for (int i = 0; i < 20; i++) {
        put((unsigned)(n * i));
        swapcontext(&routines[n], &routines[(n + 1) % ROUTINES]);
        EQUAL(get(), (uint8_t)(n ? (n - 1) * (i + 1) : (ROUTINES - 1) * i)); /* of the one before in the ring */
    }
}

/* A ring: each runs until it hands on. The first one to end ends all. */
static int coroutines(int argc, char **argv)
{
    size_t size = argc ? (size_t)atoi(argv[0]) : 8192;

    for (volatile int i = 0; i < ROUTINES; i++) {
        getcontext(&routines[i]);
        routines[i].uc_stack.ss_sp = guarded(size);
        routines[i].uc_stack.ss_size = size;
        routines[i].uc_link = &back;
        if (argc > 1)
            sigaddset(&routines[i].uc_sigmask, i % 2 ? SIGSEGV : SIGUSR2);
        makecontext(&routines[i], (void (*)(void))routine, 1, i);
    }
    swapcontext(&back, &routines[0]);
    show("mask %#lx\n", mask_now());
    return 0;
}

/* --- alternate stacks of the smallest sizes --- */

static volatile uintptr_t handler_sp;

static void on_small(int sig)
{
    put((unsigned)sig);
    handler_sp = (uintptr_t)__builtin_frame_address(0);
    handled++;
}

static int altstacks(int argc, char **argv)
{
    size_t least = getauxval(AT_MINSIGSTKSZ);
    uint64_t value;

    (void)argc, (void)argv;
    handle_plain(SIGUSR1, on_small, SA_ONSTACK, 0);
    handle_info(SIGSEGV, on_own, SA_ONSTACK, 0);
    for (size_t more = 256; more <= 4096; more *= 2) {
        size_t size = least + more;
        char *top = (char *)guarded((size + 4095) & ~4095ul) + ((size + 4095) & ~4095ul);
        /* Right above the guard: what goes below the stack dies. */
        char *bottom = (char *)((uintptr_t)(top - ((size + 4095) & ~4095ul)));
        stack_t s = {.ss_sp = bottom, .ss_size = size};

        EQUAL(sigaltstack(&s, NULL), 0);
        for (int i = 0; i < 20; i++) {
            put((unsigned)i);
            raise(SIGUSR1);
            CHECK(handler_sp - (uintptr_t)bottom < size);
            __asm__ volatile("mov (%1), %0" : "=a"(value) : "D"(HOLE) : "memory"); /* 3 bytes */
        }
    }
    show("handled %d\n", handled);
    return 0;
}

/* --- many threads --- */

static void *brief(void *argument)
{
    put((unsigned)(uintptr_t)argument);
    return argument;
}

struct usage {
    long rss, maps, fds;
};

static struct usage measure(void)
{
    struct usage u = {0, 0, 0};
    char line[512];
    FILE *f = fopen("/proc/self/status", "r");
    DIR *d;

    while (f && fgets(line, sizeof(line), f))
        sscanf(line, "VmRSS: %ld", &u.rss);
    if (f)
        fclose(f);
    f = fopen("/proc/self/maps", "r");
    while (f && fgets(line, sizeof(line), f))
        u.maps++;
    if (f)
        fclose(f);
    d = opendir("/proc/self/fd");
    while (d && readdir(d))
        u.fds++;
    if (d)
        closedir(d);
    return u;
}

static int many(int argc, char **argv)
{
    int count = argc ? atoi(argv[0]) : 5000;
    struct usage from = {0, 0, 0}, to;
    pthread_t t[8];

    for (int i = 0; i < count; i += 8) {
        for (int j = 0; j < 8; j++)
            EQUAL(pthread_create(&t[j], NULL, brief, (void *)(uintptr_t)(i + j)), 0);
        for (int j = 0; j < 8; j++)
            pthread_join(t[j], NULL);
        if (i == 400)
            from = measure();
    }
    usleep(20000); /* those joined last may still be on their way out */
    to = measure();
    CHECK(to.rss - from.rss < 1024); /* kB: a tenth of a page a thread would be too much already */
    CHECK(to.maps - from.maps < 40);
    EQUAL(to.fds, from.fds);
    return 0;
}

/* --- cancellation --- */

static int cleaned, ready, pipe_ends[2];

static void clean(void *argument)
{
    put((unsigned)(uintptr_t)argument);
    cleaned++;
}

static void *in_call(void *argument)
{
    struct pollfd p = {pipe_ends[0], POLLIN, 0};
    char byte;

    put(1);
    pthread_cleanup_push(clean, (void *)0x31);
    pthread_cleanup_push(clean, (void *)0x32);
    __atomic_store_n(&ready, 1, __ATOMIC_SEQ_CST);
    for (;;)
        switch ((int)(intptr_t)argument) {
        case 0:
            if (read(pipe_ends[0], &byte, 1) == 1)
                return NULL;
            break;
        case 1: poll(&p, 1, -1); break;
        case 2: sleep(100); break;
        case 3: pause(); break;
        default: pthread_testcancel();
        }
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(0);
}

static void *in_loop(void *asynchronous)
{
    int old;

    pthread_cleanup_push(clean, (void *)0x41);
    if (asynchronous)
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    for (unsigned i = 0;; i++) {
        *SCR = (uint8_t)i; /* not counted: it may end between the count and the access */
        __atomic_store_n(&ready, 1, __ATOMIC_SEQ_CST);
        if (!asynchronous)
            pthread_testcancel();
    }
    pthread_cleanup_pop(0);
    return NULL;
}

static void cancel_one(void *(*body)(void *), void *argument)
{
    void *result = NULL;
    pthread_t t;

    ready = 0;
    EQUAL(pthread_create(&t, NULL, body, argument), 0);
    while (!__atomic_load_n(&ready, __ATOMIC_SEQ_CST))
        sched_yield();
    usleep(500);
    EQUAL(pthread_cancel(t), 0);
    EQUAL(pthread_join(t, &result), 0);
    CHECK(result == PTHREAD_CANCELED);
    put(2);
    EQUAL(get(), 2);
}

static int cancel_calls(int argc, char **argv)
{
    (void)argc, (void)argv;
    if (pipe(pipe_ends) < 0)
        return 91;
    for (int round = 0; round < 10; round++)
        for (intptr_t what = 0; what < 5; what++)
            cancel_one(in_call, (void *)what);
    show("cleaned %d\n", cleaned);
    return 0;
}

static int cancel_loops(int argc, char **argv)
{
    (void)argv;
    for (int round = 0; round < 100; round++)
        cancel_one(in_loop, argc ? &ready : NULL);
    show("cleaned %d\n", cleaned);
    return 0;
}

/* --- threads that libc knows nothing of --- */

static int raw_tid, raw_ran;

#define RAW_FLAGS                                                                                                      \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_PARENT_SETTID |          \
     CLONE_CHILD_CLEARTID)

/* No libc and no thread pointer of its own: it has its creator's. */
__attribute__((used)) static void raw_body(void)
{
    for (unsigned i = 0; i < 20; i++)
        put(i);
    __atomic_fetch_add(&raw_ran, 1, __ATOMIC_SEQ_CST);
    inline_call(SYS_exit, 0, 0, 0, 0, 0);
}

static void start_raw(char *top, unsigned long flags)
{
    register long r10 __asm__("r10") = (long)&raw_tid;
    register long r8 __asm__("r8") = 0;
    long result;

    __asm__ volatile("syscall\n test %%rax, %%rax\n jnz 1f\n xor %%ebp, %%ebp\n call raw_body\n ud2\n1:"
                     : "=a"(result)
                     : "a"(SYS_clone), "D"(flags), "S"((long)top), "d"(&raw_tid), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    CHECK(result > 0);
    for (int tid; (tid = __atomic_load_n(&raw_tid, __ATOMIC_SEQ_CST)) != 0;)
        inline_call(SYS_futex, (long)&raw_tid, FUTEX_WAIT, tid, 0, 0);
}

static int raw(int argc, char **argv)
{
    char *stack = guarded(16384);

    (void)argv;
    for (int i = 0; i < 50; i++) {
        /* A fresh thread has no alternate stack, and its mask is its creator's. */
        if (argc)
            mask_change(SIG_SETMASK, i & 1 ? EVERY : BIT(SIGSEGV));
        start_raw(stack + 16384, RAW_FLAGS);
        put(3);
    }
    show("ran %d mask %#lx\n", raw_ran, mask_now());
    return 0;
}

/* The same with the wrapper of libc, clone(). */
static int clone_body(void *argument)
{
    for (unsigned i = 0; i < 20; i++)
        put(i);
    __atomic_fetch_add(&raw_ran, 1, __ATOMIC_SEQ_CST);
    return argument ? 0 : 0;
}

static int wrapped(int argc, char **argv)
{
    char *stack = guarded(16384);

    (void)argc, (void)argv;
    for (int i = 0; i < 50; i++) {
        raw_tid = -1;
        CHECK(clone(clone_body, stack + 16384, (int)RAW_FLAGS, NULL, &raw_tid, NULL, &raw_tid) > 0);
        for (int tid; (tid = __atomic_load_n(&raw_tid, __ATOMIC_SEQ_CST)) != 0;)
            inline_call(SYS_futex, (long)&raw_tid, FUTEX_WAIT, tid, 0, 0);
        put(3);
    }
    show("ran %d\n", raw_ran);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"minimal", minimal},           {"coroutines", coroutines}, {"altstacks", altstacks}, {"many", many},
        {"cancel-calls", cancel_calls}, {"cancel-loops", cancel_loops}, {"raw", raw},          {"wrapped", wrapped},
    };

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
