/*
 * access ADDRESS FAMILY...: nanoseconds of one instruction on a register, called through eight frames.
 * access bare: of a trap whose handler only skips the instruction, without the library: as it is, with a handler that
 * blocks all other signals, of a port's #GP, and with vector state in use, which the kernel saves and restores.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "measure.h"

enum needs { NOTHING, AVX2, AVX512 };

#define X(name, needs, text) \
    SITE void run_##name(long n, void *at) \
    { \
        static uint8_t other[4096]; \
\
        for (long i = 0; i < n; i++) \
            __asm__ volatile(text \
                             : \
                             : "b"(at), "S"(other) \
                             : "rax", "rcx", "rdx", "rdi", "r8", "r9", "memory", "cc"); \
    }
#include "families.def"
#undef X

static const struct family {
    const char *name;
    void (*run)(long n, void *at);
    enum needs needs;
} families[] = {
#define X(name, needs, text) {#name, run_##name, needs},
#include "families.def"
#undef X
};

SITE void run_bare(long n, void *at)
{
    for (long i = 0; i < n; i++)
        __asm__ volatile("mov (%%rbx), %%eax" : : "b"(at) : "rax", "memory");
}

SITE void run_bare_port(long n, void *at)
{
    (void)at;
    for (long i = 0; i < n; i++)
        __asm__ volatile("in %%dx, %%ax" : : "d"(0x3ff) : "rax", "memory");
}

static int has(enum needs needs)
{
    __builtin_cpu_init();
    if (needs == AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
    return needs != AVX2 || __builtin_cpu_supports("avx2");
}

/* Both instructions above have two bytes. */
static void skip(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

static void arm(int block)
{
    struct sigaction act = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};

    if (block) {
        sigfillset(&act.sa_mask);
        sigdelset(&act.sa_mask, SIGSEGV);
    }
    sigaction(SIGSEGV, &act, NULL);
}

static void use_vectors(void)
{
    if (has(AVX512))
        __asm__ volatile("vpternlogd $0xff, %%zmm1, %%zmm1, %%zmm1; vmovdqa64 %%zmm1, %%zmm20" : : : "memory");
    else if (has(AVX2))
        __asm__ volatile("vpcmpeqd %%ymm1, %%ymm1, %%ymm1" : : : "memory");
}

static void bare(void)
{
    void *at = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};

    sigaltstack(&stack, NULL);
    arm(0);
    measure(&(struct job){"bare", run_bare, NULL, at, 0});
    arm(1);
    measure(&(struct job){"bare-blocked", run_bare, NULL, at, 0});
    arm(0);
    measure(&(struct job){"bare-port", run_bare_port, NULL, at, 0});
    use_vectors();
    measure(&(struct job){"bare-vector", run_bare, NULL, at, 0});
}

/* With main and the functions that measure, more than eight frames. */
__attribute__((noinline)) static void deep(int depth, const struct job *job)
{
    volatile char pad[32];

    pad[0] = (char)depth;
    if (depth)
        deep(depth - 1, job);
    else
        measure(job);
    pad[1] = pad[0];
}

static int one(const char *name, void *at)
{
    for (unsigned i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        if (strcmp(name, families[i].name) != 0)
            continue;
        if (has(families[i].needs))
            deep(5, &(struct job){name, families[i].run, NULL, at, 0});
        else
            report_nothing(name, families[i].needs == AVX2 ? "no AVX2 here" : "no AVX-512 here");
        __asm__ volatile("emms");
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    void *at;

    pin_last();
    if (argc == 2 && strcmp(argv[1], "bare") == 0) {
        bare();
        return 0;
    }
    if (argc < 3)
        return 2;
    at = (void *)strtoul(argv[1], NULL, 0);
    for (int i = 2; i < argc; i++)
        if (!one(argv[i], at))
            return 2;
    return 0;
}
