/*
 * Signals in a loop of accesses of which everything is known at each of its
 * instructions: what a handler is shown, and what the window holds then, must
 * be just that. And a profiler, which walks the stack.
 */
#include <execinfo.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "parts.h"
#include "text.h"

#define FIRST 0x11223344ul    /* what the loop reads at 0, 16 and 32 of its block */
#define SECOND 0x8877665544332211ul
#define MAGIC(n) (0x0101010101010101ul * (n))
#define ROUNDING 0x3f80u /* MXCSR: round up */

void states_loop(volatile struct block *b, uint64_t count, uint64_t *rsp);
extern const char states_1[], states_2[], states_3[], states_4[], states_5[], states_6[], states_7[], states_8[],
    states_9[], states_10[], states_11[], states_12[], states_0[];

/* Nothing in the loop changes the flags set before it: CF, PF and ZF. */
__asm__(".text\n.globl states_loop\n.type states_loop, @function\nstates_loop: .cfi_startproc\n"
        "push %rbx\n.cfi_adjust_cfa_offset 8\npush %rbp\n.cfi_adjust_cfa_offset 8\npush %r12\n.cfi_adjust_cfa_offset 8\n"
        "push %r13\n.cfi_adjust_cfa_offset 8\npush %r14\n.cfi_adjust_cfa_offset 8\npush %r15\n.cfi_adjust_cfa_offset 8\n"
        "mov %rsp, (%rdx)\nmov %rsi, %rcx\nmov $0, %r8d\n"
        "movabs $0x0101010101010101, %rbx\nlea (%rbx,%rbx), %rbp\nlea (%rbx,%rbp), %r10\nlea (%rbp,%rbp), %r11\n"
        "lea (%rbp,%r10), %r12\nlea (%r10,%r10), %r13\nlea (%r10,%r11), %r14\nlea (%r11,%r11), %r15\n"
        "mov %rbx, -8(%rsp)\nmov %rbp, -128(%rsp)\nmovl $0x3f80, -64(%rsp)\nldmxcsr -64(%rsp)\n"
        "movq %rbx, %xmm0\nmovq %rbp, %xmm7\nmovq %r12, %xmm15\n"
        "mov $0, %edx\nmov $0, %r9d\nmov $0, %esi\nxor %eax, %eax\nstc\n"
        "states_0: mov (%rdi), %eax\n"
        "states_1: mov %ecx, 4(%rdi)\n"
        "states_2: movb %cl, 8(%rdi)\n"
        "states_3: movzwl 4(%rdi), %r9d\n"
        "states_4: mov 16(%rdi), %rdx\n"
        "states_5: movups 32(%rdi), %xmm3\n"
        "states_6: mov %rcx, 24(%rdi)\n"
        "states_7: mov $0, %eax\n"
        "states_8: mov $0, %r9d\n"
        "states_9: mov $0, %edx\n"
        "states_10: lea 1(%r8), %r8\n"
        "states_11: loop states_0\n"
        "states_12: movl $0x1f80, -64(%rsp)\nldmxcsr -64(%rsp)\ncld\nmov $0, %edx\n"
        "jc 1f\nud2\n1: cmp %rbx, -8(%rsp)\njne 1f\ncmp %rbp, -128(%rsp)\nje 2f\n1: ud2\n2:\n"
        "pop %r15\n.cfi_adjust_cfa_offset -8\npop %r14\n.cfi_adjust_cfa_offset -8\npop %r13\n.cfi_adjust_cfa_offset -8\n"
        "pop %r12\n.cfi_adjust_cfa_offset -8\npop %rbp\n.cfi_adjust_cfa_offset -8\npop %rbx\n.cfi_adjust_cfa_offset -8\nret\n"
        ".cfi_endproc\n.size states_loop, . - states_loop\n");

static const char *const at[] = {states_0, states_1, states_2, states_3, states_4,  states_5, states_6,
                                 states_7, states_8, states_9, states_10, states_11, states_12};
#define LABELS (sizeof(at) / sizeof(*at))

static volatile struct block *block;
static uint64_t stack_pointer, total, inside, outside, hits[LABELS], received;
static volatile int done;

static void check_registers(const ucontext_t *uc, unsigned k)
{
    static const int kept[][2] = {{REG_RBX, 1}, {REG_RBP, 2}, {REG_R10, 3}, {REG_R11, 4}, {REG_R12, 5}, {REG_R13, 6}, {REG_R14, 7}, {REG_R15, 8}};
    const greg_t *r = uc->uc_mcontext.gregs;
    uint64_t i = (uint64_t)r[REG_R8], left = (uint64_t)r[REG_RCX];

    for (unsigned n = 0; n < sizeof(kept) / sizeof(*kept); n++)
        EQUAL(r[kept[n][0]], MAGIC((uint64_t)kept[n][1]));
    EQUAL(r[REG_RDI], block);
    EQUAL(r[REG_RSI], 0);
    EQUAL(r[REG_RSP], stack_pointer);
    EQUAL(r[REG_RAX], k >= 1 && k <= 7 ? FIRST : 0);
    EQUAL(r[REG_R9], k >= 4 && k <= 8 ? left & 0xffff : 0);
    EQUAL(r[REG_RDX], k >= 5 && k <= 9 ? SECOND : 0);
    EQUAL(i + left, k == 11 ? total + 1 : total);
    EQUAL(r[REG_EFL] & 0xcd5, 0x45);
    EQUAL(*(uint64_t *)(stack_pointer - 8), MAGIC(1));
    EQUAL(*(uint64_t *)(stack_pointer - 128), MAGIC(2));
}

static void check_vectors(const ucontext_t *uc, bool loaded)
{
    uint64_t v[16][2];

    memcpy(v, uc->uc_mcontext.fpregs->_xmm, sizeof(v));
    EQUAL(uc->uc_mcontext.fpregs->mxcsr & 0xffc0, ROUNDING);
    EQUAL(v[0][0], MAGIC(1));
    EQUAL(v[7][0], MAGIC(2));
    EQUAL(v[15][0], MAGIC(5));
    EQUAL(v[15][1], 0);
    if (loaded) {
        EQUAL(v[3][0], FIRST);
        EQUAL(v[3][1], SECOND);
    }
}

/* What the instructions before the one shown did is in the window, and nothing of the others. */
static void check_window(const ucontext_t *uc, unsigned k)
{
    uint64_t left = (uint64_t)uc->uc_mcontext.gregs[REG_RCX], i = (uint64_t)uc->uc_mcontext.gregs[REG_R8], before = left + 1;

    if (i == 0) /* the first time around */
        return;
    EQUAL(*(volatile uint32_t *)((char *)block + 4), (uint32_t)(k >= 2 ? left : before));
    EQUAL(*(volatile uint8_t *)((char *)block + 8), (uint8_t)(k >= 3 ? left : before));
    EQUAL(*(volatile uint64_t *)((char *)block + 24), k >= 7 ? left : before);
    add(&accesses, 3);
}

static void on_state(int sig, siginfo_t *info, void *context)
{
    const ucontext_t *uc = context;
    uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
    unsigned k = 0;

    (void)sig, (void)info;
    add(&received, 1);
    if (rip - (uint64_t)states_0 > (uint64_t)(states_11 - states_0)) {
        add(&outside, 1);
        if (!text_has(rip))
            FAIL("a signal came at %#lx, which is no code of the program", rip);
        return;
    }
    while (k < LABELS && (uint64_t)at[k] != rip)
        k++;
    if (k == LABELS) {
        FAIL("a signal came at states_0+%#lx, which is no instruction", rip - (uint64_t)states_0);
        return;
    }
    add(&inside, 1);
    add(&hits[k], 1);
    add(&comparisons, 1);
    check_registers(uc, k);
    check_vectors(uc, uc->uc_mcontext.gregs[REG_R8] > 0);
    check_window(uc, k);
}

static timer_t timer_of(int sig, long interval)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = sig};
    struct itimerspec often = {{0, interval}, {0, interval}};
    timer_t timer = 0;

    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &often, NULL) == 0);
    return timer;
}

static void *send(void *to)
{
    while (!done) {
        uint64_t before = __atomic_load_n(&received, __ATOMIC_RELAXED);

        pthread_kill(*(pthread_t *)to, SIGUSR1);
        for (unsigned i = 0; i < 1000 && !done && __atomic_load_n(&received, __ATOMIC_RELAXED) == before; i++)
            sched_yield();
    }
    return NULL;
}

static void handle(int sig, void (*handler)(int, siginfo_t *, void *))
{
    struct sigaction act = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};

    sigfillset(&act.sa_mask);
    CHECK(sigaction(sig, &act, NULL) == 0);
}

/* [SIGNALS]: until so many came within the loop */
void states(int argc, char **argv)
{
    uint64_t enough = argument(argc, argv, 0, 500);
    pthread_t self = pthread_self(), sender;
    sigset_t none;
    timer_t timer;
    unsigned places = 0;

    sigemptyset(&none); /* whoever began this may have blocked some */
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    block = window_of(BLOCKS - 4); /* of nobody who may have begun this */
    *(volatile uint32_t *)block = FIRST;
    *(volatile uint64_t *)((char *)block + 16) = SECOND;
    *(volatile uint64_t *)((char *)block + 32) = FIRST;
    *(volatile uint64_t *)((char *)block + 40) = SECOND;
    handle(SIGUSR1, on_state);
    handle(SIGRTMIN, on_state);
    total = 100;
    CHECK(pthread_create(&sender, NULL, send, &self) == 0);
    timer = timer_of(SIGRTMIN, 150000);
    while (__atomic_load_n(&inside, __ATOMIC_RELAXED) < enough)
        states_loop(block, total, &stack_pointer);
    done = 1;
    pthread_join(sender, NULL);
    timer_delete(timer);
    for (unsigned k = 0; k < LABELS; k++)
        places += hits[k] > 0;
    printf("inside %lu\noutside %lu\nplaces %u\n", inside, outside, places);
}

/* --- a profiler --- */

static void *root;
static uint64_t samples, cut, elsewhere;

static void on_profile(int sig, siginfo_t *info, void *context)
{
    uint64_t rip = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    void *frames[64];
    int n = backtrace(frames, 64);
    bool rooted = false, here = false;

    (void)sig, (void)info;
    for (int i = 0; i < n; i++) {
        rooted |= frames[i] == root;
        here |= (uint64_t)frames[i] == rip;
    }
    add(&samples, 1);
    if (!text_has(rip)) {
        add(&elsewhere, 1);
        FAIL("a sample is at %#lx, which is no code of the program", rip);
    }
    if (!rooted || !here) {
        add(&cut, 1);
        FAIL("the stack of a sample at %#lx ends after %d frames", rip, n);
    }
    text_seen(rip);
}

__attribute__((noinline)) static void profiled(uint64_t enough)
{
    struct lane lane;

    root = __builtin_return_address(0);
    lane_fill(&lane, 5, 5);
    for (unsigned i = 0; i < 20 * own_set.n || __atomic_load_n(&samples, __ATOMIC_RELAXED) < enough; i++) {
        const struct function *f = &own_set.all[i % own_set.n];

        if (f->steady && !f->fixed)
            lane_run(&lane, f, 1);
    }
    lane_check(&lane, "profiled");
}

/* [SAMPLES] */
void profile(int argc, char **argv)
{
    void *frames[4];
    timer_t timer;

    backtrace(frames, 4); /* loads what it needs */
    text_learn();
    handle(SIGPROF, on_profile);
    timer = timer_of(SIGPROF, 200000);
    profiled(argument(argc, argv, 0, 300));
    timer_delete(timer);
    printf("samples %lu\ncut %lu\nelsewhere %lu\n", samples, cut, elsewhere);
    if (getenv("STRESS_RIPS"))
        text_dump(getenv("STRESS_RIPS"));
}
