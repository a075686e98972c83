/*
 * The cost of one instruction of a family on a window: insns FAMILY [N] prints nanoseconds, the median of several
 * rounds. "bare" traps without the library and only skips the instruction; "bare-vector" does so with vector
 * state in use, which the kernel saves and restores, "bare-blocked" with a handler that blocks all other signals, as
 * the library's does. insns -l lists families with what is allowed for them.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#define ROUNDS 15
#define WINDOW ((uint8_t *)0x40000000)

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

/* rbx is the window; the others are free. Compiled without a red zone. */
#define LOOP(id, text) \
    static void id(int n, uint8_t *window) \
    { \
        static uint8_t other[4096]; \
\
        for (int i = 0; i < n; i++) \
            __asm__ volatile(text \
                             : \
                             : "b"(window), "S"(other) \
                             : "rax", "rcx", "rdx", "rdi", "r8", "r9", "memory", "cc"); \
    }

#define NEEDS_NOTHING 0
#define NEEDS_AVX2    1
#define NEEDS_AVX512  2

/* X(identifier, family, instruction, needs, most: hundredths of a bare trap) */
#define FAMILIES(X) \
    X(gpr_load, "GPR load", "mov (%%rbx), %%eax", NEEDS_NOTHING, 110) \
    X(gpr_store, "GPR store", "mov %%eax, (%%rbx)", NEEDS_NOTHING, 110) \
    X(gpr_movzx, "GPR widening load", "movzbl (%%rbx), %%eax", NEEDS_NOTHING, 110) \
    X(gpr_modify, "GPR read-modify-write", "add %%eax, (%%rbx)", NEEDS_NOTHING, 110) \
    X(gpr_operand, "GPR operand", "cmp %%eax, (%%rbx)", NEEDS_NOTHING, 110) \
    X(locked, "locked", "lock xadd %%eax, (%%rbx)", NEEDS_NOTHING, 110) \
    X(exchange, "compare and exchange", "lock cmpxchg %%ecx, (%%rbx)", NEEDS_NOTHING, 110) \
    X(bit_test, "bit test", "mov $35, %%ecx; bts %%rcx, (%%rbx)", NEEDS_NOTHING, 110) \
    X(push, "push", "pushq (%%rbx); lea 8(%%rsp), %%rsp", NEEDS_NOTHING, 110) \
    X(pop, "pop", "lea -8(%%rsp), %%rsp; popq (%%rbx)", NEEDS_NOTHING, 110) \
    X(string, "string, one", "mov %%rbx, %%rdi; stosl", NEEDS_NOTHING, 110) \
    X(string_rep, "string, rep, 16 of it", "mov %%rbx, %%rdi; mov $16, %%ecx; rep stosl", NEEDS_NOTHING, 0) \
    X(x87_load, "x87 load", "fldl (%%rbx); fstp %%st(0)", NEEDS_NOTHING, 135) \
    X(x87_store, "x87 store", "fld1; fstpl (%%rbx)", NEEDS_NOTHING, 135) \
    X(mmx_load, "MMX load", "movq (%%rbx), %%mm1", NEEDS_NOTHING, 135) \
    X(mmx_store, "MMX store", "movq %%mm1, (%%rbx)", NEEDS_NOTHING, 135) \
    X(sse_load, "SSE load", "movups (%%rbx), %%xmm1", NEEDS_NOTHING, 135) \
    X(sse_store, "SSE store", "movups %%xmm1, (%%rbx)", NEEDS_NOTHING, 135) \
    X(sse_operand, "SSE operand", "addps (%%rbx), %%xmm1", NEEDS_NOTHING, 135) \
    X(avx_load, "AVX load", "vmovups (%%rbx), %%ymm1", NEEDS_AVX2, 135) \
    X(avx_store, "AVX store", "vmovups %%ymm1, (%%rbx)", NEEDS_AVX2, 135) \
    X(avx_operand, "AVX operand", "vaddps (%%rbx), %%ymm1, %%ymm2", NEEDS_AVX2, 135) \
    X(avx512_load, "AVX-512 load", "vmovdqu64 (%%rbx), %%zmm1", NEEDS_AVX512, 135) \
    X(avx512_store, "AVX-512 store", "vmovdqu64 %%zmm1, (%%rbx)", NEEDS_AVX512, 135) \
    X(avx512_operand, "AVX-512 operand", "vpaddd (%%rbx), %%zmm1, %%zmm2", NEEDS_AVX512, 135) \
    X(masked_store, "masked store", "mov $0x5a5a, %%eax; kmovw %%eax, %%k1; vmovdqu32 %%zmm1, (%%rbx)%{%%k1%}", \
      NEEDS_AVX512, 135) \
    X(gather, "gather, 8 of it", "vpxor %%ymm1, %%ymm1, %%ymm1; vpcmpeqd %%ymm3, %%ymm3, %%ymm3; " \
      "vpgatherdd %%ymm3, (%%rbx,%%ymm1,4), %%ymm2", NEEDS_AVX2, 135) \
    X(scatter, "scatter, 16 of it", "vpxord %%zmm1, %%zmm1, %%zmm1; kxnorw %%k1, %%k1, %%k1; " \
      "vpscatterdd %%zmm2, (%%rbx,%%zmm1,4)%{%%k1%}", NEEDS_AVX512, 135)

#define DEFINE(id, family, text, needs, most) LOOP(loop_##id, text)
FAMILIES(DEFINE)
LOOP(loop_bare, "mov (%%rbx), %%eax\nnop")

static const struct family {
    const char *id, *name;
    void (*loop)(int n, uint8_t *window);
    int needs, most;
} families[] = {
#define ROW(id, family, text, needs, most) {#id, family, loop_##id, needs, most},
    FAMILIES(ROW)
};

#define COUNT (sizeof(families) / sizeof(families[0]))

static int has(int needs)
{
    __builtin_cpu_init();
    if (needs == NEEDS_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
    return needs != NEEDS_AVX2 || __builtin_cpu_supports("avx2");
}

static void skip(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

static uint8_t *arm_bare(int block)
{
    struct sigaction act = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};

    if (block) {
        sigfillset(&act.sa_mask);
        sigdelset(&act.sa_mask, SIGSEGV);
    }
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &act, NULL);
    return mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void use_vectors(void)
{
    if (has(NEEDS_AVX512))
        __asm__ volatile("vpternlogd $0xff, %%zmm1, %%zmm1, %%zmm1; vmovdqa64 %%zmm1, %%zmm20" : : : "memory");
    else if (has(NEEDS_AVX2))
        __asm__ volatile("vpcmpeqd %%ymm1, %%ymm1, %%ymm1" : : : "memory");
}

static void measure(void (*loop)(int n, uint8_t *window), int n, uint8_t *window)
{
    double rounds[ROUNDS];

    for (int r = 0; r < ROUNDS; r++) {
        double start = now();

        loop(n, window);
        rounds[r] = (now() - start) / n;
    }
    __asm__ volatile("emms");
    qsort(rounds, ROUNDS, sizeof(rounds[0]), compare);
    printf("%.1f\n", rounds[ROUNDS / 2]);
}

static void list(void)
{
    for (unsigned i = 0; i < COUNT; i++)
        if (has(families[i].needs))
            printf("%s\t%s\t%d\n", families[i].id, families[i].name, families[i].most);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "-l";
    int n = argc > 2 ? atoi(argv[2]) : 1500;

    if (strcmp(what, "-l") == 0) {
        list();
        return 0;
    }
    if (strcmp(what, "bare-vector") == 0)
        use_vectors();
    if (strncmp(what, "bare", 4) == 0) {
        measure(loop_bare, n, arm_bare(strcmp(what, "bare-blocked") == 0));
        return 0;
    }
    for (unsigned i = 0; i < COUNT; i++)
        if (strcmp(what, families[i].id) == 0) {
            measure(families[i].loop, n, WINDOW);
            return 0;
        }
    return 2;
}
