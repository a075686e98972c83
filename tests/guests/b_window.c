/*
 * A window whose device is memory, and memory: instructions with large operands, and operands that run over the end.
 * With B_PLAIN in the environment the window is memory, and all must be the same.
 */
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>

#include "b_guest.h"

#define WINDOW    ((uint8_t *)SCRATCH)
#define IMAGE     0x3000u /* room for all components, AMX tiles included */
#define WINDOW_END (SCRATCH + 0x4000)

static uint8_t image[IMAGE] __attribute__((aligned(64)));
static uint8_t again[IMAGE] __attribute__((aligned(64)));

/* Registers of several components get values, then the image is written to memory and to the window. */
#define FILL \
    "fldpi\n fldz\n fld1\n" \
    "movq %[value], %%xmm3\n pcmpeqb %%xmm9, %%xmm9\n" \
    ".if " AVX512 "\n vpbroadcastq %[value], %%zmm7\n vpbroadcastq %[value], %%zmm21\n kmovq %[value], %%k5\n.endif\n"
#define AVX512 "0"

#define SAVES(name, instruction) \
    static void name(uint64_t mask, uint64_t value) \
    { \
        __asm__ volatile(FILL instruction " (%[ram])\n" instruction " (%[window])\n" \
                         "fstp %%st\n fstp %%st\n fstp %%st\n" \
                         : : [ram] "r"(image), [window] "r"(WINDOW), [value] "r"(value), "a"((uint32_t)mask), \
                             "d"((uint32_t)(mask >> 32)) \
                         : "memory", "xmm3", "xmm9"); \
    }

SAVES(xsave, "xsave64")
SAVES(xsave32, "xsave")
SAVES(xsavec, "xsavec64")
SAVES(xsaveopt, "xsaveopt64")
#undef AVX512
#define AVX512 "1"
SAVES(xsave_512, "xsave64")
SAVES(xsavec_512, "xsavec64")

/* Clears some registers, takes the image from the window, and saves what there is then. */
static void restore(uint64_t mask)
{
    __asm__ volatile("fninit\n pxor %%xmm3, %%xmm3\n pxor %%xmm9, %%xmm9\n"
                     "xrstor64 (%[window])\n xsave64 (%[ram])\n"
                     "fninit\n"
                     : : [ram] "r"(again), [window] "r"(WINDOW), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32))
                     : "memory", "xmm3", "xmm9");
}

static void prefill(void)
{
    for (unsigned i = 0; i < IMAGE; i++)
        image[i] = (uint8_t)(i * 7);
    memset(image + 512, 0, 64);
    memset(again, 0, sizeof(again));
    for (unsigned i = 0; i < IMAGE; i += 8)
        *(volatile uint64_t *)(WINDOW + i) = *(uint64_t *)(image + i);
}

/* Offset of the first byte in which the window differs from the image; -1: none. */
static long difference(void)
{
    for (unsigned i = 0; i < IMAGE; i += 8)
        if (*(volatile uint64_t *)(WINDOW + i) != *(uint64_t *)(image + i))
            return i;
    return -1;
}

static int has_avx512(void)
{
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}

static int states(int argc, char **argv)
{
    static void (*const saves[])(uint64_t, uint64_t) = {xsave, xsave32, xsavec, xsaveopt, xsave_512, xsavec_512};
    static const uint64_t masks[] = {0, 1, 3, 7, 0xe7, ~0ul};

    (void)argc, (void)argv;
    for (unsigned s = 0; s < (has_avx512() ? 6u : 4u); s++)
        for (unsigned i = 0; i < sizeof(masks) / sizeof(*masks); i++) {
            prefill();
            saves[s](masks[i], 0x123456789abcdef0ul + i);
            EQUAL(difference(), -1);
        }
    for (unsigned s = 0; s < 4; s++) {
        prefill();
        saves[s](3, 0x1122334455667788ul);
        restore(3);
        EQUAL(memcmp(again, image, s == 1 ? 6 : 24), 0);
        EQUAL(memcmp(again + 24, image + 24, 4), 0);
        EQUAL(memcmp(again + 32, image + 32, 384), 0);
    }
    return failures != 0;
}

/* ---- faults ---- */

static sigjmp_buf back;
static volatile sig_atomic_t code;
static void *volatile where;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)context;
    code = info->si_code;
    where = info->si_addr;
    siglongjmp(back, 1);
}

#define FAULTS(statement, code_, where_) \
    do { \
        if (sigsetjmp(back, 1) == 0) { \
            statement; \
            fprintf(stderr, "%s:%d: no fault\n", __FILE__, __LINE__); \
            failures++; \
        } else { \
            EQUAL(code, code_); \
            EQUAL(where, where_); \
        } \
    } while (0)

static int faults(int argc, char **argv)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    volatile uint64_t *last = (volatile uint64_t *)(WINDOW_END - 8);

    (void)argc, (void)argv;
    sigaction(SIGSEGV, &sa, NULL);
    if (getenv("B_PLAIN"))
        munmap((void *)WINDOW_END, 0xc000);
    *last = 0x1111111111111111;
    FAULTS(*(volatile uint64_t *)(WINDOW_END - 4) = ~0ul, SEGV_MAPERR, WINDOW_END);
    EQUAL(*last, 0x1111111111111111);
    FAULTS(*(volatile uint32_t *)(WINDOW_END - 1) += 1, SEGV_MAPERR, WINDOW_END);
    EQUAL(*last, 0x1111111111111111);
    FAULTS(__asm__ volatile("xsave64 (%0)" : : "r"(WINDOW_END - 512), "a"(3), "d"(0) : "memory"), SEGV_MAPERR,
           WINDOW_END + 63);
    EQUAL(*last, 0x1111111111111111);
    FAULTS(__asm__ volatile("xsave64 (%0)" : : "r"(WINDOW + 8), "a"(3), "d"(0) : "memory"), SI_KERNEL, 0);
    FAULTS(__asm__ volatile("xsaves64 (%0)" : : "r"(WINDOW), "a"(3), "d"(0) : "memory"), SI_KERNEL, 0);
    prefill();
    WINDOW[512 + 20] = 1; /* a reserved byte of the header */
    WINDOW[512 + 15] = 0x80;
    FAULTS(__asm__ volatile("xrstor64 (%0)" : : "r"(WINDOW), "a"(3), "d"(0) : "memory"), SI_KERNEL, 0);
    *(volatile uint16_t *)WINDOW = 0x10; /* a segment of the kernel's */
    FAULTS(__asm__ volatile("mov (%0), %%ds" : : "r"(WINDOW) : "memory"), SI_KERNEL, 0);
    *(volatile uint16_t *)WINDOW = 0x2b;
    __asm__ volatile("mov (%0), %%ds" : : "r"(WINDOW) : "memory");
    __asm__ volatile("mov %%ds, (%0)" : : "r"(WINDOW + 8) : "memory");
    EQUAL(*(volatile uint16_t *)(WINDOW + 8), 0x2b);
    return failures != 0;
}

/* sgdt and its like: Linux answers in the CPU's place (UMIP), also on a window. */
static int tables(int argc, char **argv)
{
    (void)argc, (void)argv;
    prefill();
    __asm__ volatile("sgdt (%0)\n sgdt (%1)\n sidt 16(%0)\n sidt 16(%1)\n smsw 32(%0)\n smsw 32(%1)\n"
                     "str 48(%0)\n str 48(%1)\n sldt 64(%0)\n sldt 64(%1)\n"
                     : : "r"(image), "r"(WINDOW) : "memory");
    EQUAL(difference(), -1);
    return failures != 0;
}

/*
 * With AMX tiles in use the image has 8 KiB more, there and back. x87 is in use, too: after a signal handler the CPU
 * says so even of an initial x87.
 */
static int tiles(int argc, char **argv)
{
    static uint8_t config[64] __attribute__((aligned(64))) = {1, 0};
    static uint8_t rows[1024] __attribute__((aligned(64)));

    (void)argc, (void)argv;
    if (syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18) != 0)
        return 77;
    for (unsigned i = 0; i < 8; i++) {
        config[16 + 2 * i] = 64; /* bytes of a row */
        config[48 + i] = 16;     /* rows */
    }
    for (unsigned i = 0; i < sizeof(rows); i++)
        rows[i] = (uint8_t)(i * 11);
    prefill();
    __asm__ volatile("fld1\n ldtilecfg %0\n tileloadd (%1, %2, 1), %%tmm3\n xsave64 (%3)\n xsave64 (%4)\n tilerelease\n fstp %%st"
                     : : "m"(config), "r"(rows), "r"(64ul), "r"(image), "r"(WINDOW), "a"(~0u), "d"(0) : "memory");
    EQUAL(difference(), -1);
    __asm__ volatile("ldtilecfg %0\n xrstor64 (%2)\n xsave64 (%1)\n tilerelease"
                     : : "m"(config), "r"(again), "r"(WINDOW), "a"(0x60000), "d"(0) : "memory");
    EQUAL(memcmp(again + 2752, image + 2752, 64 + 8192), 0);
    prefill();
    __asm__ volatile("fld1\n ldtilecfg %0\n tileloadd (%1, %2, 1), %%tmm3\n xsavec64 (%3)\n xsavec64 (%4)\n tilerelease\n fstp %%st"
                     : : "m"(config), "r"(rows), "r"(64ul), "r"(image), "r"(WINDOW), "a"(~0u), "d"(0) : "memory");
    EQUAL(difference(), -1);
    return failures != 0;
}

static const struct action actions[] = {{"states", states}, {"faults", faults}, {"tables", tables}, {"tiles", tiles}};

int main(int argc, char **argv)
{
    return run_action(actions, sizeof(actions) / sizeof(*actions), argc, argv);
}
