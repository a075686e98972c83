/*
 * One store at one place of the code and one depth of the stack, reached over other callers each time. The value that
 * is stored tells the caller. Ends with 77 where the depth was not the same: then nothing was shown.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define NOINLINE __attribute__((noinline, noclone))

static volatile int after;
static uintptr_t depth;
static int other_depths;

static void note_depth(uintptr_t rsp)
{
    if (!depth)
        depth = rsp;
    other_depths += rsp != depth;
}

NOINLINE void store(uint8_t value)
{
    uintptr_t rsp;

    __asm__ volatile("movb %b1, 0x10000007\n movq %%rsp, %0" : "=r"(rsp) : "q"(value) : "memory");
    note_depth(rsp);
}

#define CALLER(n) \
    NOINLINE static void caller_##n(void) \
    { \
        store(0x##n); \
        after++; \
    }
CALLER(0) CALLER(1) CALLER(2) CALLER(3) CALLER(4) CALLER(5) CALLER(6) CALLER(7)

static void (*const callers[8])(void) = {caller_0, caller_1, caller_2, caller_3, caller_4, caller_5, caller_6, caller_7};

/* `few` at once fit what is remembered, all of them do not. */
NOINLINE static void chains(int few)
{
    for (int i = 0; i < 400; i++)
        callers[i % few]();
}

/* The difference lies far up. */
NOINLINE static void down(int n, void (*last)(void))
{
    if (n)
        down(n - 1, last);
    else
        last();
    after++;
}

NOINLINE static void root_0(void)
{
    down(4, caller_0);
    after++;
}

NOINLINE static void root_1(void)
{
    down(4, caller_1);
    after++;
}

static void roots(void)
{
    static void (*const root[2])(void) = {root_0, root_1};

    for (int i = 0; i < 200; i++)
        root[i % 2]();
}

static int which;

static int compare(const void *a, const void *b)
{
    callers[which]();
    return *(const int *)a - *(const int *)b;
}

static void callbacks(void)
{
    for (which = 0; which < 8; which++) {
        int numbers[2] = {2, 1};

        qsort(numbers, 2, sizeof(int), compare);
    }
}

static void on_signal(int sig)
{
    (void)sig;
    callers[which]();
    after++;
}

static void handlers(void)
{
    signal(SIGUSR1, on_signal);
    for (int i = 0; i < 200; i++) {
        which = i % 3;
        raise(SIGUSR1);
    }
}

static jmp_buf away;

NOINLINE static void leave(int n)
{
    callers[n]();
    longjmp(away, 1);
}

static void jumps(void)
{
    for (volatile int i = 0; i < 200; i++)
        if (setjmp(away) == 0)
            leave(i % 2);
}

static ucontext_t outside, inside;

static void coroutine(void)
{
    callers[which]();
    after++;
}

/* Each on a new stack at the place of the last one. */
static void coroutines(void)
{
    void *volatile at = NULL;

    for (int i = 0; i < 100; i++) {
        at = mmap(at, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
        which = i % 2;
        getcontext(&inside);
        inside.uc_stack.ss_sp = at;
        inside.uc_stack.ss_size = 65536;
        inside.uc_link = &outside;
        makecontext(&inside, coroutine, 0);
        swapcontext(&outside, &inside);
        munmap(at, 65536);
    }
}

static void *thread(void *arg)
{
    callers[which]();
    after++;
    return arg;
}

static void threads(void)
{
    for (int i = 0; i < 100; i++) {
        pthread_t id;

        which = i % 2;
        pthread_create(&id, NULL, thread, NULL);
        pthread_join(id, NULL);
    }
}

static void from_library(void)
{
    store((uint8_t)which);
    after++;
}

typedef void enter(void (*)(void));

/* Its frame and that of the library are together of one size. */
NOINLINE static void enter_library(enter *function, size_t frame)
{
    volatile char *room = __builtin_alloca(8192 - frame);

    room[0] = 0;
    function(from_library);
    after++;
}

/* Two libraries in turn at one address: functions of other names, and of other frames. */
NOINLINE static int libraries(char **path)
{
    void *first = NULL;

    for (int i = 0; i < 40; i++) {
        static const char *const names[2] = {"enter_0", "enter_1"};
        void *library = dlopen(path[i % 2], RTLD_NOW), *function = library ? dlsym(library, names[i % 2]) : NULL;

        if (!function) {
            fprintf(stderr, "%s\n", dlerror());
            return 1;
        }
        first = first ? first : function;
        other_depths += function != first;
        which = i % 2;
        for (int k = 0; k < 3; k++)
            enter_library((enter *)function, i % 2 ? 2048 : 1024);
        dlclose(library);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {{"roots", roots}, {"callbacks", callbacks}, {"handlers", handlers}, {"jumps", jumps},
                 {"coroutines", coroutines}, {"threads", threads}};

    if (strcmp(what, "chains") == 0)
        chains(atoi(argv[2]));
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
        if (strcmp(what, modes[i].name) == 0)
            modes[i].run();
    if (strcmp(what, "libraries") == 0 && libraries(argv + 2))
        return 1;
    return other_depths ? 77 : 0;
}
