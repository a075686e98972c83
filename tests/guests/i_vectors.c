/* flags: -O1 -no-pie -mavx2 */
/*
 * All that XCR0 has enabled, the tiles of AMX where asked, is loaded; then signals come, in a call, around hot accesses, or of a
 * fault of the program's own; then it is saved, and is what it was. Says what was compared, and with which PKRU the
 * handlers began, which must be so without the library.
 *     i_vectors call|access|fault [stack] [tiles]
 */
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

#include <cpuid.h>

#include "b_guest.h"

#define SSE   ((uint64_t)1 << 1)
#define PKRU  ((uint64_t)1 << 9)
#define TILES ((uint64_t)3 << 17)
/* AVX; opmasks, ZMM_Hi256, Hi16_ZMM (SDM vol. 1, 13.1) */
#define COMPARED (SSE | (uint64_t)1 << 2 | (uint64_t)7 << 5 | PKRU | TILES)

#define HANDLED 40u

static _Alignas(64) uint8_t before[16384], after[16384];
static uint64_t components;
static uint32_t handlers_pkru;
volatile uint32_t vectors_handled __asm__("vectors_handled");
sigset_t vectors_set __asm__("vectors_set") __attribute__((used));

static uint64_t enabled(void)
{
    uint32_t low, high;

    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* SSE lies in the legacy region. */
static void place(unsigned component, unsigned *at, unsigned *bytes)
{
    unsigned c, d;

    *at = 160;
    *bytes = 256;
    if (component > 1)
        __cpuid_count(0xd, component, *bytes, *at, c, d);
    if (component == 9) /* of 8 bytes the CPU uses 4 */
        *bytes = 4;
}

static void fill(void)
{
    unsigned at, bytes;

    for (uint64_t rest = components; rest; rest &= rest - 1) {
        place((unsigned)__builtin_ctzll(rest), &at, &bytes);
        for (unsigned i = 0; i < bytes; i++)
            before[at + i] = (uint8_t)(i * 7 + at + 1);
    }
    memcpy(before + 24, &(uint32_t){0x1f80}, 4); /* MXCSR */
    memcpy(before + 512, &components, 8);
    if (components & PKRU) {
        place(9, &at, &bytes);
        memcpy(before + at, &(uint32_t){0x9abcdef0}, 4); /* key 0 stays open */
    }
    if (components & TILES) { /* palette 1: eight tiles of 16 rows of 64 bytes (SDM vol. 1, 18.3) */
        place(17, &at, &bytes);
        memset(before + at, 0, 64);
        before[at] = 1;
        for (unsigned i = 0; i < 8; i++) {
            before[at + 16 + 2 * i] = 64;
            before[at + 48 + i] = 16;
        }
    }
}

static void compare(void)
{
    for (uint64_t rest = components; rest; rest &= rest - 1) {
        unsigned i = (unsigned)__builtin_ctzll(rest), at, bytes;

        place(i, &at, &bytes);
        if (!(after[512 + i / 8] >> i % 8 & 1) || memcmp(before + at, after + at, bytes) != 0) {
            fprintf(stderr, "component %u is lost\n", i);
            failures++;
        }
    }
}

static void handler(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    uint32_t pkru = 0, high;

    (void)info;
    if (components & PKRU)
        __asm__ volatile(".byte 0x0f, 0x01, 0xee" : "=a"(pkru), "=d"(high) : "c"(0)); /* rdpkru */
    if (vectors_handled && pkru != handlers_pkru)
        failures++;
    handlers_pkru = pkru;
    if (components & TILES)
        __asm__ volatile(".byte 0xc4, 0xe2, 0x78, 0x49, 0xc0"); /* tilerelease */
    __asm__ volatile("vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n\tvpcmpeqd %%ymm5, %%ymm5, %%ymm5" : : : "xmm0", "xmm5");
    vectors_handled++;
    if (sig == SIGSEGV)
        uc->uc_mcontext.gregs[REG_RIP] += 2;
}

#define AROUND(name, code)                                                                                             \
    static __attribute__((noinline)) void name(void)                                                                   \
    {                                                                                                                  \
        register const uint8_t *in __asm__("r12") = before;                                                            \
        register uint8_t *out __asm__("r13") = after;                                                                  \
        register uint64_t low __asm__("r14") = (uint32_t)components, high __asm__("r15") = components >> 32;           \
                                                                                                                       \
        __asm__ volatile("movl %k2, %%eax\n\tmovl %k3, %%edx\n\txrstor64 (%0)\n\t" code                                \
                         "\n\tmovl %k2, %%eax\n\tmovl %k3, %%edx\n\txsave64 (%1)"                                      \
                         : "+r"(in), "+r"(out), "+r"(low), "+r"(high)                                                  \
                         :                                                                                             \
                         : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0", \
                           "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",   \
                           "xmm12", "xmm13", "xmm14", "xmm15");                                                        \
    }

/* rt_sigprocmask(SIG_UNBLOCK, &vectors_set, NULL, 8): the signal that waits comes in it. */
AROUND(make_call, "movl $1, %%edi\n\tmovl $vectors_set, %%esi\n\txorl %%edx, %%edx\n\tmovl $8, %%r10d\n\t"
                  "movl $14, %%eax\n\tsyscall")
/* Loads from the scratch window, until signals have come. */
AROUND(make_accesses, "movl $0x40000000, %%ebx\n\t1: movl (%%rbx), %%ecx\n\tmovl vectors_handled(%%rip), %%eax\n\t"
                      "cmpl $40, %%eax\n\tjb 1b")
/* A load from nowhere, of two bytes. */
AROUND(make_fault, "movl $0x30000000, %%eax\n\tmovl (%%rax), %%eax")

static void in_call(void)
{
    sigemptyset(&vectors_set);
    sigaddset(&vectors_set, SIGUSR1);
    for (unsigned i = 0; i < HANDLED; i++) {
        sigprocmask(SIG_BLOCK, &vectors_set, NULL);
        raise(SIGUSR1);
        make_call();
        compare();
    }
}

static void at_accesses(void)
{
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {0};

    setitimer(ITIMER_REAL, &often, NULL);
    make_accesses();
    setitimer(ITIMER_REAL, &never, NULL);
    compare();
}

static void at_faults(void)
{
    for (unsigned i = 0; i < HANDLED; i++) {
        make_fault();
        compare();
    }
}

static bool said(char **argv, const char *word)
{
    while (*argv && strcmp(*argv, word) != 0)
        argv++;
    return *argv;
}

int main(int argc, char **argv)
{
    static const int signals[] = {SIGUSR1, SIGALRM, SIGSEGV};
    struct sigaction act = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | (said(argv, "stack") ? SA_ONSTACK : 0)};
    stack_t stack = {.ss_size = 65536, .ss_sp = malloc(65536)};
    uint32_t own = 0, high;

    if (argc < 2)
        return 99;
    plain_memory();
    components = enabled() & COMPARED;
    if (!said(argv, "tiles") || syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18) != 0)
        components &= ~TILES;
    if (components & PKRU) /* what a program has set is restored behind the comparison */
        __asm__ volatile(".byte 0x0f, 0x01, 0xee" : "=a"(own), "=d"(high) : "c"(0));
    sigaltstack(&stack, NULL);
    for (unsigned i = 0; i < 3; i++)
        sigaction(signals[i], &act, NULL);
    fill();
    if (strcmp(argv[1], "call") == 0)
        in_call();
    else if (strcmp(argv[1], "access") == 0)
        at_accesses();
    else
        at_faults();
    if (components & PKRU)
        __asm__ volatile(".byte 0x0f, 0x01, 0xef" : : "a"(own), "d"(0), "c"(0)); /* wrpkru */
    printf("%s: components %#lx, %s, PKRU of handlers %#x\n", argv[1], (unsigned long)components,
           vectors_handled >= HANDLED ? "all handled" : "too few", handlers_pkru);
    return failures != 0;
}
