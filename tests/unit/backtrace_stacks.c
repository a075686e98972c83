/*
 * Captured call stacks against libunwind's own local unwinder, which reads the
 * same signal frame with its own tables: every shape of frame that compilers
 * make. The program's code is the guest: a read of a protected page traps.
 */
#include "unit.h"

#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#define UNW_LOCAL_ONLY
#include <libunwind.h>

#include "trap/backtrace.h"

#define NOINLINE __attribute__((noinline))
/* Keeps the call before it from becoming a jump, which leaves no frame. */
#define NO_TAIL_CALL() __asm__ volatile("" ::: "memory")
#define DEPTH      64

static volatile uint32_t *window;
static unsigned want_max = DEPTH;

static struct {
    unsigned traps, mismatches;
    u64 rsp; /* of the last trap */
    u64 frames[DEPTH], reference[128];
    unsigned count, nreference;
    double ns, ns_take, ns_quick;
    unsigned repeat;  /* captures per trap, for timing */
    bool forgetful;   /* nothing is remembered */
    u32 id, counter;
    unsigned hits;    /* traps whose stack was remembered */
    unsigned strange; /* what was remembered is not what a walk finds */
} seen;

static __thread struct recall *recall;

static struct {
    int (*init)(unw_cursor_t *, unw_context_t *, int);
    int (*step)(unw_cursor_t *);
    int (*get_reg)(unw_cursor_t *, int, unw_word_t *);
} local;

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static unsigned reference_walk(ucontext_t *uc, u64 *ips, unsigned max)
{
    unw_cursor_t cursor;
    unsigned n = 0;
    unw_word_t ip;

    local.init(&cursor, uc, UNW_INIT_SIGNAL_FRAME);
    do {
        local.get_reg(&cursor, UNW_REG_IP, &ip);
        if (!ip)
            break;
        ips[n++] = ip;
    } while (n < max && local.step(&cursor) > 0);
    return n;
}

static void state_of(const ucontext_t *uc, struct cpu_state *state)
{
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

    memset(state, 0, sizeof(*state));
    for (int i = 0; i < 16; i++)
        state->gpr[i] = (u64)uc->uc_mcontext.gregs[order[i]];
    state->rip = (u64)uc->uc_mcontext.gregs[REG_RIP];
}

/* What is remembered of the stacks so far, and then of this one, against the walk that was just made. */
static void remember(const struct cpu_state *state, const u64 *frames, unsigned count)
{
    struct backtrace stack;
    bool fresh;
    u32 id = backtrace_id(frames, count, &seen.counter, &fresh);

    if (!recall)
        recall = recall_make();
    for (unsigned i = 0; i < 2; i++) {
        backtrace_take(recall, state, want_max, &stack);
        seen.hits += i == 0 && stack.stack;
        seen.id = backtrace_number(&stack, &seen.counter, &fresh);
        seen.strange += seen.id != id || fresh;
    }
    id = backtrace_quick(recall, state->rip, state->gpr[4], state->gpr[5], want_max);
    seen.strange += id && id != seen.id;
}

static void time_remembered(const struct cpu_state *state)
{
    struct backtrace stack;
    double start = now_ns();
    bool fresh;

    for (unsigned i = 0; i < seen.repeat; i++) {
        backtrace_take(recall, state, want_max, &stack);
        seen.strange += backtrace_number(&stack, &seen.counter, &fresh) != seen.id;
    }
    seen.ns_take = now_ns() - start;
    start = now_ns();
    for (unsigned i = 0; i < seen.repeat; i++)
        seen.strange += backtrace_quick(recall, state->rip, state->gpr[4], state->gpr[5], want_max) != seen.id;
    seen.ns_quick = now_ns() - start;
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    u64 fixup = probe_fixup((u64)uc->uc_mcontext.gregs[REG_RIP]);
    struct cpu_state state;
    double start;

    if (fixup) {
        uc->uc_mcontext.gregs[REG_RIP] = (greg_t)fixup;
        return;
    }
    if ((uintptr_t)info->si_addr - (uintptr_t)window >= 4096) {
        signal(sig, SIG_DFL);
        return;
    }
    state_of(uc, &state);
    seen.rsp = state.gpr[4];
    start = now_ns();
    seen.count = backtrace_capture(&state, seen.frames, want_max);
    for (unsigned i = 1; i < seen.repeat; i++)
        seen.count = backtrace_capture(&state, seen.frames, want_max);
    seen.ns = now_ns() - start;
    seen.traps++;
    if (!seen.forgetful)
        remember(&state, seen.frames, seen.count);
    if (seen.repeat)
        time_remembered(&state);
    if (local.step) {
        seen.nreference = reference_walk(uc, seen.reference, 128);
        if (seen.count > seen.nreference || memcmp(seen.frames, seen.reference, seen.count * sizeof(u64)) != 0)
            seen.mismatches++;
    }
    uc->uc_mcontext.gregs[REG_RIP] += 2; /* the length of touch()'s load */
    uc->uc_mcontext.gregs[REG_RAX] = 1;
}

/* One load of two bytes of code: mov (%rbx), %eax. */
static inline __attribute__((always_inline)) uint32_t touch(void)
{
    uint32_t value;

    __asm__ volatile("movl (%1), %0" : "=a"(value) : "b"(window) : "memory");
    return value;
}

static void handle_faults(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};

    sigemptyset(&sa.sa_mask);
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
}

static void start(void)
{
    char text[256];
    struct fmt error = FMT_INIT(text);
    void *library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);

    window = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    handle_faults();
    CHECK_EQ(backtrace_init(&error), 0);
    backtrace_set_main((u64)(uintptr_t)main);
    CHECK(library != NULL);
    if (library) {
        local.init = (int (*)(unw_cursor_t *, unw_context_t *, int))dlsym(library, "_ULx86_64_init_local2");
        local.step = (int (*)(unw_cursor_t *))dlsym(library, "_ULx86_64_step");
        local.get_reg = (int (*)(unw_cursor_t *, int, unw_word_t *))dlsym(library, "_ULx86_64_get_reg");
    }
}

static const char *frame_text(unsigned i)
{
    bool fresh;
    const char *text = backtrace_frame(backtrace_id(seen.frames, seen.count, &seen.counter, &fresh), i);

    return text ? text : "(none)";
}

static bool frame_is(unsigned i, const char *function)
{
    size_t n = strlen(function);
    const char *text = frame_text(i);

    if (strncmp(text, function, n) == 0 && text[n] == '+')
        return true;
    printf("# frame %u is %s, not %s\n", i, text, function);
    return false;
}

static bool ends_at_main(void)
{
    return seen.count && frame_is(seen.count - 1, "main");
}

/* Not static, and called through a pointer: the compiler keeps every frame and every name. */
uint32_t leaf(void);
uint32_t middle(int n);
uint32_t with_alloca(unsigned n);
uint32_t aligned_frame(unsigned n);
static uint32_t (*volatile call_middle)(int) = middle;

NOINLINE uint32_t leaf(void)
{
    return touch() + 1;
}

NOINLINE uint32_t middle(int n)
{
    return n ? call_middle(n - 1) + 1 : leaf() + 1;
}

TEST(calls)
{
    start();
    call_middle(3);
    CHECK_EQ(seen.traps, 1);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
    CHECK(frame_is(0, "leaf"));
    for (unsigned i = 1; i <= 4; i++)
        CHECK(frame_is(i, "middle"));
    CHECK(frame_is(5, "test_calls"));
    CHECK(ends_at_main());
}

TEST(stops_at_the_maximum)
{
    start();
    want_max = 3;
    middle(20);
    CHECK_EQ(seen.count, 3);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
    want_max = 0;
    middle(20);
    CHECK_EQ(seen.count, 0);
    want_max = 1000;
    middle(100);
    CHECK_EQ(seen.count, 64);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
}

TEST(main_need_not_be_known)
{
    start();
    backtrace_set_main(0);
    middle(0);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
    CHECK(ends_at_main()); /* libc's frames behind it are dropped by themselves */
}

NOINLINE uint32_t with_alloca(unsigned n)
{
    volatile char *buf = __builtin_alloca(n);
    uint32_t value;

    buf[0] = 1;
    buf[n - 1] = 1;
    value = touch();
    return value + (uint32_t)buf[0];
}

TEST(stack_that_grows)
{
    start();
    for (unsigned n = 1; n < 600; n += 7)
        with_alloca(n);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
    CHECK(frame_is(0, "with_alloca"));
    CHECK(ends_at_main());
}

struct wide {
    char bytes[64];
} __attribute__((aligned(64)));

/* An aligned frame of unknown size: its layout hangs on a register that is neither rsp nor rbp. */
NOINLINE uint32_t aligned_frame(unsigned n)
{
    volatile struct wide local_wide;
    volatile char *buf = __builtin_alloca(n);
    uint32_t value;

    local_wide.bytes[0] = 1;
    buf[n - 1] = 1;
    value = leaf();
    return value + (uint32_t)local_wide.bytes[0] + (uint32_t)buf[n - 1];
}

TEST(realigned_stack)
{
    start();
    for (unsigned n = 1; n < 300; n += 13)
        aligned_frame(n);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
    CHECK(frame_is(1, "aligned_frame"));
    CHECK(ends_at_main());
}

/* A frame that only its CFI can describe: CFA in rbx. */
__asm__(".pushsection .text\n.type odd_frame, @function\nodd_frame:\n .cfi_startproc\n"
        " pushq %rbx\n .cfi_def_cfa_offset 16\n .cfi_offset %rbx, -16\n"
        " leaq 16(%rsp), %rbx\n .cfi_def_cfa %rbx, 0\n"
        " subq $64, %rsp\n call *%rdi\n"
        " leaq -16(%rbx), %rsp\n .cfi_def_cfa %rsp, 16\n popq %rbx\n .cfi_def_cfa_offset 8\n ret\n"
        " .cfi_endproc\n.size odd_frame, . - odd_frame\n.popsection\n");
void odd_frame(uint32_t (*call)(void));

/* rsp aligned by a mask inside an expression: right for one value of rsp only. */
__asm__(".pushsection .text\n.type masked_frame, @function\nmasked_frame:\n .cfi_startproc\n"
        " pushq %rbp\n .cfi_def_cfa_offset 16\n .cfi_offset %rbp, -16\n"
        " movq %rsp, %rbp\n andq $-64, %rsp\n"
        /* DW_CFA_def_cfa_expression: (breg6 0) lit0 or, plus_uconst 16 */
        " .cfi_escape 0x0f, 6, 0x76, 0, 0x30, 0x21, 0x23, 16\n"
        " call *%rdi\n leave\n .cfi_def_cfa %rsp, 8\n ret\n"
        " .cfi_endproc\n.size masked_frame, . - masked_frame\n.popsection\n");
void masked_frame(uint32_t (*call)(void));

/* No CFI at all. */
__asm__(".pushsection .text\n.type bare, @function\nbare:\n movl (%rbx), %eax\n ret\n"
        ".size bare, . - bare\n.popsection\n");
void bare(void);

static NOINLINE void call_bare(void)
{
    __asm__ volatile("subq $136, %%rsp\n call bare\n addq $136, %%rsp"
                     :
                     : "b"(window)
                     : "rax", "rcx", "rdx", "memory", "cc");
}

TEST(frames_of_assembler)
{
    start();
    odd_frame(leaf);
    CHECK(frame_is(1, "odd_frame"));
    CHECK(frame_is(2, "test_frames_of_assembler"));
    CHECK(ends_at_main());
    masked_frame(leaf);
    CHECK(frame_is(1, "masked_frame"));
    CHECK(ends_at_main());
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
    call_bare();
    CHECK_EQ(seen.count, 1); /* no guessing */
    CHECK(frame_is(0, "bare"));
    CHECK_STR(frame_text(0) + 4, strrchr(frame_text(0), '+')); /* "+0x0 (...)" follows the name */
}

static int compare(const void *a, const void *b)
{
    touch();
    return *(const int *)a - *(const int *)b;
}

TEST(callback_out_of_libc)
{
    int numbers[50];

    start();
    for (int i = 0; i < 50; i++)
        numbers[i] = i * 37 % 50;
    qsort(numbers, 50, sizeof(int), compare);
    CHECK(seen.traps > 50);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
    CHECK(frame_is(0, "compare"));
    CHECK(strstr(frame_text(1), "libc.so") != NULL);
    CHECK(ends_at_main());
}

static void on_usr1(int sig)
{
    (void)sig;
    call_middle(1);
    NO_TAIL_CALL();
}

TEST(inside_a_signal_handler)
{
    struct sigaction sa = {.sa_handler = on_usr1};

    start();
    sigaction(SIGUSR1, &sa, NULL);
    for (int i = 0; i < 3; i++)
        raise(SIGUSR1);
    CHECK_EQ(seen.traps, 3);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
    CHECK(frame_is(0, "leaf"));
    CHECK(frame_is(3, "on_usr1"));
    CHECK(ends_at_main());
}

TEST(handler_on_its_own_stack)
{
    struct sigaction sa = {.sa_handler = on_usr1, .sa_flags = SA_ONSTACK};
    stack_t stack = {.ss_size = 65536};

    start();
    stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &sa, NULL);
    raise(SIGUSR1);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
    CHECK(ends_at_main());
}

static void *thread(void *arg)
{
    call_middle(1);
    return arg;
}

static void *busy_thread(void *arg)
{
    for (int i = 0; i < 2000; i++)
        middle(i % 7);
    return arg;
}

TEST(threads)
{
    pthread_t id;

    start();
    pthread_create(&id, NULL, thread, NULL);
    pthread_join(id, NULL);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
    CHECK_EQ(seen.count, 4);
    CHECK(frame_is(3, "thread")); /* start_thread and clone3 are not shown */
    want_max = 5;
    pthread_create(&id, NULL, thread, NULL);
    pthread_join(id, NULL);
    CHECK_EQ(seen.count, 4);
}

TEST(threads_at_once)
{
    pthread_t id[4];

    start();
    seen.forgetful = true;
    local.step = NULL; /* `seen` is shared: nothing is compared, it must only not crash or hang */
    for (int i = 0; i < 4; i++)
        pthread_create(&id[i], NULL, busy_thread, NULL);
    for (int i = 0; i < 2000; i++)
        backtrace_forget();
    for (int i = 0; i < 4; i++)
        pthread_join(id[i], NULL);
    CHECK(seen.traps > 0);
}

TEST(small_thread_stack)
{
    pthread_attr_t attr;
    pthread_t id;

    start();
    local.step = NULL; /* the reference takes more */
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 16384);
    CHECK_EQ(pthread_create(&id, &attr, thread, NULL), 0);
    pthread_join(id, NULL);
    CHECK_EQ(seen.count, 4);
}

static ucontext_t outside, inside;

static void coroutine(void)
{
    call_middle(1);
    NO_TAIL_CALL();
}

TEST(coroutine_stack)
{
    start();
    getcontext(&inside);
    inside.uc_stack.ss_size = 65536;
    inside.uc_stack.ss_sp = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    inside.uc_link = &outside;
    makecontext(&inside, coroutine, 0);
    swapcontext(&outside, &inside);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
    CHECK(frame_is(seen.count - 1, "coroutine"));
}

static void at_exit(void)
{
    call_middle(0);
    NO_TAIL_CALL();
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
    CHECK(frame_is(2, "at_exit"));
    CHECK(ends_at_main());
    _exit(unit_failures ? 1 : 3);
}

TEST(exit_handler)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        start();
        atexit(at_exit);
        exit(0);
    }
    waitpid(pid, &status, 0);
    CHECK_EQ(WEXITSTATUS(status), 3);
}

static void capture_with(u64 rip, u64 rsp, u64 rbp)
{
    struct cpu_state state = {.rip = rip};

    state.gpr[4] = rsp;
    state.gpr[5] = rbp;
    seen.count = backtrace_capture(&state, seen.frames, DEPTH);
    CHECK(seen.count <= DEPTH);
    if (!seen.forgetful)
        remember(&state, seen.frames, seen.count);
}

TEST(corrupt_stacks)
{
    static const u64 wild[] = {0, 1, 8, 4096, 0x7fffffffffff, 0x800000000000, 0xffffffffff600000, ~0ULL, ~7ULL,
                               1ULL << 56};
    u64 words[512];
    u64 seed = 1;

    start();
    middle(1);
    seen.forgetful = true; /* more nonsense than there is room for */
    for (unsigned i = 0; i < sizeof(wild) / sizeof(*wild); i++)
        for (unsigned k = 0; k < sizeof(wild) / sizeof(*wild); k++) {
            capture_with(wild[i], wild[k], wild[k]);
            capture_with((u64)(uintptr_t)leaf, wild[k], wild[i]);
            capture_with((u64)(uintptr_t)odd_frame + 9, wild[k], wild[i]);
        }
    capture_with(wild[3], wild[0], 0);
    CHECK_EQ(seen.count, 1); /* a jump to nowhere shows where */
    /* every word of the stack points into code or into the stack itself: cycles and nonsense */
    for (unsigned round = 0; round < 3000; round++) {
        for (unsigned i = 0; i < 512; i++) {
            seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
            words[i] = seed >> 62 ? (u64)(uintptr_t)middle + (seed >> 33) % 64
                                  : (u64)(uintptr_t)&words[(seed >> 33) % 512];
        }
        capture_with((u64)(uintptr_t)middle + seed % 40, (u64)(uintptr_t)&words[round % 512], words[0]);
    }
}

TEST(same_stack_same_id)
{
    u32 counter = 40, first, second;
    bool fresh;
    u64 frames[DEPTH];
    unsigned count;

    start();
    seen.forgetful = true;
    middle(2);
    count = seen.count;
    memcpy(frames, seen.frames, sizeof(frames));
    first = backtrace_id(frames, count, &counter, &fresh);
    CHECK_EQ(first, 41);
    CHECK_EQ(counter, 41);
    CHECK(fresh);
    CHECK_EQ(backtrace_id(frames, count, &counter, &fresh), first);
    CHECK(!fresh);
    second = backtrace_id(frames, count - 1, &counter, &fresh);
    CHECK_EQ(second, 42);
    CHECK(fresh);
    CHECK(backtrace_frame(first, count - 1) != NULL);
    CHECK(backtrace_frame(first, count) == NULL);
    CHECK(backtrace_frame(second, count - 1) == NULL);
    CHECK(backtrace_frame(99, 0) == NULL);
    CHECK(backtrace_frame(0, 0) == NULL);
    backtrace_forget();
    CHECK_EQ(backtrace_id(frames, count, &counter, &fresh), first); /* the code is still the same */
    CHECK(!fresh);
    backtrace_renumber();
    CHECK(backtrace_id(frames, count, &counter, &fresh) != 0);
    CHECK(fresh);
    backtrace_id(frames, count, &counter, &fresh);
    CHECK(!fresh);
    CHECK_EQ(backtrace_id(frames, 0, &counter, &fresh), 0);
}

TEST(very_many_stacks)
{
    u32 counter = 0;
    bool fresh;
    unsigned full = 0;
    u64 frames[4] = {1, 2, 3, 4};

    start();
    for (u64 i = 0; i < 100000; i++) {
        frames[3] = 16 + i % 1000;
        frames[2] = 16 + i / 1000;
        full += backtrace_id(frames, 4, &counter, &fresh) == 0;
    }
    CHECK(full > 0);
    CHECK(full < 50000);
    CHECK_STR(backtrace_frame(1, 0), "?");
}

/* ---- what is remembered ---- */

/* One place in the code, one depth: only the words on the stack tell the callers apart. */
static NOINLINE uint32_t caller_a(void)
{
    return leaf() + 1;
}

static NOINLINE uint32_t caller_b(void)
{
    return leaf() + 2;
}

static NOINLINE uint32_t caller_c(void)
{
    return leaf() + 3;
}

TEST(a_stack_that_stands_is_remembered)
{
    start();
    for (int i = 0; i < 10; i++)
        call_middle(5);
    CHECK_EQ(seen.traps, 10);
    CHECK_EQ(seen.hits, 9);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
}

TEST(same_place_and_depth_other_callers)
{
    static uint32_t (*volatile callers[3])(void) = {caller_a, caller_b, caller_c};
    static const char *const names[3] = {"caller_a", "caller_b", "caller_c"};

    start();
    for (int i = 0; i < 30; i++) {
        callers[i % 3]();
        CHECK(frame_is(1, names[i % 3]));
    }
    CHECK_EQ(seen.traps, 30);
    CHECK_EQ(seen.hits, 27); /* all but the first of each */
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
}

static NOINLINE uint32_t many_callers(unsigned which)
{
    switch (which) {
#define ONE(n) case n: return leaf() + n;
    ONE(0) ONE(1) ONE(2) ONE(3) ONE(4) ONE(5) ONE(6) ONE(7) ONE(8) ONE(9)
#undef ONE
    }
    return 0;
}

/* Ten stacks in turn, ten times: each keeps its id, and they are ten. */
static void ten_in_turn(uint32_t (*volatile call)(unsigned), unsigned differs_at, const char *name)
{
    u32 ids[10] = {0};

    start();
    for (unsigned i = 0; i < 100; i++) {
        call(i * 7 % 10);
        CHECK(ids[i * 7 % 10] == 0 || ids[i * 7 % 10] == seen.id);
        ids[i * 7 % 10] = seen.id;
        CHECK(frame_is(differs_at, name));
    }
    for (unsigned i = 1; i < 10; i++)
        CHECK(ids[i] != ids[0]);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
}

TEST(many_callers_of_one_function)
{
    ten_in_turn(many_callers, 1, "many_callers");
    CHECK_EQ(seen.hits, 90);
}

static NOINLINE uint32_t below_many(void)
{
    return leaf() + 1;
}

static NOINLINE uint32_t many_roots(unsigned which)
{
    switch (which) {
#define ONE(n) case n: return below_many() + n;
    ONE(0) ONE(1) ONE(2) ONE(3) ONE(4) ONE(5) ONE(6) ONE(7) ONE(8) ONE(9)
#undef ONE
    }
    return 0;
}

TEST(more_stacks_than_there_is_room_for)
{
    ten_in_turn(many_roots, 2, "many_roots");
    CHECK(frame_is(1, "below_many"));
}

/* A function that uses rbp for what it likes, and one that ends in a jump to another. */
__asm__(".pushsection .text\n.type rbp_is_data, @function\nrbp_is_data:\n .cfi_startproc\n"
        " pushq %rbp\n .cfi_def_cfa_offset 16\n .cfi_offset %rbp, -16\n movq %rdi, %rbp\n"
        " call *%rsi\n popq %rbp\n .cfi_def_cfa_offset 8\n ret\n"
        " .cfi_endproc\n.size rbp_is_data, . - rbp_is_data\n"
        ".type jumps, @function\njumps:\n .cfi_startproc\n jmp *%rdi\n .cfi_endproc\n.size jumps, . - jumps\n"
        ".popsection\n");
void rbp_is_data(u64 data, uint32_t (*call)(void));
uint32_t jumps(uint32_t (*call)(void));

TEST(rbp_that_holds_data_does_not_count)
{
    start();
    for (u64 i = 0; i < 20; i++)
        rbp_is_data(i * 0x123456789abcdefULL, leaf);
    CHECK(frame_is(1, "rbp_is_data"));
    CHECK(ends_at_main());
    CHECK_EQ(seen.hits, 19);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
}

/* Its rbp is where its frame is found by. */
__asm__(".pushsection .text\n.type rbp_is_frame, @function\nrbp_is_frame:\n .cfi_startproc\n"
        " pushq %rbp\n .cfi_def_cfa_offset 16\n .cfi_offset %rbp, -16\n movq %rsp, %rbp\n .cfi_def_cfa_register %rbp\n"
        " subq %rdi, %rsp\n andq $-16, %rsp\n call *%rsi\n leave\n .cfi_def_cfa %rsp, 8\n ret\n"
        " .cfi_endproc\n.size rbp_is_frame, . - rbp_is_frame\n.popsection\n");
void rbp_is_frame(u64 room, uint32_t (*call)(void));

/* Makes its caller's stack appear at one depth, however large its frame is. */
static NOINLINE void at_one_depth(u64 room)
{
    volatile char *pad = __builtin_alloca(4096 - room);

    pad[0] = 0;
    rbp_is_frame(room, leaf);
    pad[1] = 0;
}

TEST(frames_of_other_sizes_at_one_depth)
{
    u64 depths = 0, first = 0;

    start();
    for (u64 i = 0; i < 64; i++) {
        at_one_depth(16 * (1 + i % 16));
        first = first ? first : seen.rsp;
        depths += seen.rsp != first;
        CHECK(frame_is(1, "rbp_is_frame"));
        CHECK(frame_is(2, "at_one_depth"));
    }
    CHECK_EQ(depths, 0);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
}

TEST(a_jump_in_place_of_a_call)
{
    uint32_t (*volatile jump)(uint32_t (*)(void)) = jumps;

    start();
    for (int i = 0; i < 10; i++) {
        jump(i % 2 ? leaf : caller_b);
        CHECK(frame_is(0, "leaf"));
        CHECK(frame_is(1, i % 2 ? "test_a_jump_in_place_of_a_call" : "caller_b"));
    }
    CHECK_EQ(seen.hits, 8);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
}

static jmp_buf away;

static NOINLINE void leaves_by_longjmp(int which)
{
    if (which)
        caller_a();
    else
        caller_b();
    longjmp(away, 1);
}

TEST(a_stack_left_by_longjmp)
{
    start();
    for (volatile int i = 0; i < 10; i++) {
        if (setjmp(away) == 0)
            leaves_by_longjmp(i % 2);
        CHECK(frame_is(1, i % 2 ? "caller_a" : "caller_b"));
    }
    CHECK_EQ(seen.traps, 10);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
}

static void *new_stack_page(void *at)
{
    return mmap(at, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
}

/* A stack written by hand: return addresses wherever a frame may look for one. */
static void write_stack(u64 *stack, uint32_t (*caller)(void))
{
    memset(stack, 0, 8192);
    for (unsigned i = 0; i < 8; i++)
        stack[i] = (u64)(uintptr_t)caller + 9;
}

TEST(a_stack_unmapped_and_mapped_again)
{
    u64 *stack, rip = (u64)(uintptr_t)leaf, rsp, before;
    unsigned hits;

    start();
    stack = new_stack_page(NULL);
    rsp = (u64)(uintptr_t)stack;
    write_stack(stack, caller_a);
    capture_with(rip, rsp, 0);
    CHECK(frame_is(1, "caller_a"));
    before = seen.id;
    hits = seen.hits;
    capture_with(rip, rsp, 0);
    CHECK_EQ(seen.hits, hits + 1);
    munmap(stack, 8192);
    capture_with(rip, rsp, 0); /* the look at it faults, and that is a miss */
    CHECK_EQ(seen.count, 1);
    CHECK_EQ(seen.hits, hits + 1);
    CHECK(seen.id != before);
    CHECK(new_stack_page(stack) == stack);
    write_stack(stack, caller_b);
    capture_with(rip, rsp, 0);
    CHECK(frame_is(1, "caller_b"));
    CHECK_EQ(seen.hits, hits + 1);
    CHECK(seen.id != before);
    write_stack(stack, caller_a);
    capture_with(rip, rsp, 0);
    CHECK_EQ(seen.id, before);
    CHECK_EQ(seen.strange, 0);
}

TEST(what_is_forgotten_is_not_remembered)
{
    start();
    for (int i = 0; i < 10; i++)
        middle(2);
    CHECK_EQ(seen.hits, 9);
    CHECK(ends_at_main());
    for (volatile int i = 0; i < 3; i++) { /* one place of the call */
        if (i == 0)
            backtrace_forget();
        if (i == 1)
            backtrace_set_main((u64)(uintptr_t)test_what_is_forgotten_is_not_remembered);
        middle(2);
    }
    CHECK_EQ(seen.hits, 10); /* the last */
    CHECK(frame_is(seen.count - 1, "test_what_is_forgotten_is_not_remembered"));
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
}

TEST(a_renumbered_log_hears_of_remembered_stacks)
{
    struct cpu_state state = {.rip = (u64)(uintptr_t)leaf};
    struct backtrace stack;
    u64 words[8] = {(u64)(uintptr_t)caller_a + 9};
    bool fresh;

    start();
    state.gpr[4] = (u64)(uintptr_t)words;
    recall = recall_make();
    for (int i = 0; i < 4; i++) {
        if (i == 2)
            backtrace_renumber();
        CHECK_EQ(backtrace_quick(recall, state.rip, state.gpr[4], 0, 8), i % 2 ? 1 : 0);
        backtrace_take(recall, &state, 8, &stack);
        CHECK_EQ(stack.stack != NULL, i != 0);
        CHECK_EQ(backtrace_number(&stack, &seen.counter, &fresh), 1);
        CHECK_EQ(fresh, i % 2 == 0);
    }
}

TEST(no_room_to_remember)
{
    struct cpu_state state = {.rip = (u64)(uintptr_t)leaf};
    struct backtrace stack;
    u64 words[8] = {(u64)(uintptr_t)caller_a + 9};
    bool fresh;

    start();
    state.gpr[4] = (u64)(uintptr_t)words;
    for (int i = 0; i < 2; i++) {
        backtrace_take(NULL, &state, 8, &stack);
        CHECK(stack.stack == NULL);
        CHECK_EQ(stack.count, 2);
        CHECK_EQ(backtrace_number(&stack, &seen.counter, &fresh), 1);
        CHECK_EQ(fresh, i == 0);
    }
    backtrace_take(NULL, &state, 0, &stack);
    CHECK_EQ(backtrace_number(&stack, &seen.counter, &fresh), 0);
}

TEST(capture_is_fast)
{
    double best = 1e18, take = 1e18, quick = 1e18;

    start();
    middle(9);
    printf("# first sight of 12 frames: %.0f ns\n", seen.ns);
    seen.repeat = 2000;
    want_max = 8;
    for (int i = 0; i < 20; i++) {
        middle(9);
        best = seen.ns / seen.repeat < best ? seen.ns / seen.repeat : best;
        take = seen.ns_take / seen.repeat < take ? seen.ns_take / seen.repeat : take;
        quick = seen.ns_quick / seen.repeat < quick ? seen.ns_quick / seen.repeat : quick;
    }
    CHECK_EQ(seen.count, 8);
    CHECK_EQ(seen.mismatches, 0);
    CHECK_EQ(seen.strange, 0);
    printf("# 8 frames seen before: %.0f ns; remembered: %.1f ns; its id at once: %.1f ns\n", best, take, quick);
    CHECK(best < 5000);
}
