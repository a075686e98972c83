/* flags: -O1 -mavx2 -lm */
/*
 * The state of the CPU across accesses: whatever an instruction does not
 * change, an access to a window leaves as it was.
 */
#include <errno.h>
#include <fenv.h>
#include <immintrin.h>
#include <math.h>

#include "b_guest.h"

struct gprs {
    uint64_t r[16]; /* rax rbx rcx rdx rsi rdi rbp r8..r15, flags last */
};

/* Loads all registers but rsp, does one access through rdi, stores them. */
#define LOAD_ALL \
    "push %%rbx\n push %%rbp\n push %0\n push %1\n" \
    "mov %0, %%rax\n" \
    "push 120(%%rax)\n popfq\n" \
    "mov 8(%%rax), %%rbx\n mov 16(%%rax), %%rcx\n mov 24(%%rax), %%rdx\n mov 32(%%rax), %%rsi\n" \
    "mov 40(%%rax), %%rdi\n mov 48(%%rax), %%rbp\n mov 56(%%rax), %%r8\n mov 64(%%rax), %%r9\n" \
    "mov 72(%%rax), %%r10\n mov 80(%%rax), %%r11\n mov 88(%%rax), %%r12\n mov 96(%%rax), %%r13\n" \
    "mov 104(%%rax), %%r14\n mov 112(%%rax), %%r15\n mov (%%rax), %%rax\n"
#define STORE_ALL \
    "push %%rax\n mov 8(%%rsp), %%rax\n" \
    "mov %%rbx, 8(%%rax)\n mov %%rcx, 16(%%rax)\n mov %%rdx, 24(%%rax)\n mov %%rsi, 32(%%rax)\n" \
    "mov %%rdi, 40(%%rax)\n mov %%rbp, 48(%%rax)\n mov %%r8, 56(%%rax)\n mov %%r9, 64(%%rax)\n" \
    "mov %%r10, 72(%%rax)\n mov %%r11, 80(%%rax)\n mov %%r12, 88(%%rax)\n mov %%r13, 96(%%rax)\n" \
    "mov %%r14, 104(%%rax)\n mov %%r15, 112(%%rax)\n" \
    "pushfq\n pop 120(%%rax)\n pop (%%rax)\n cld\n" \
    "pop %1\n pop %0\n pop %%rbp\n pop %%rbx\n"
#define ALL_CLOBBERED \
    "rax", "rcx", "rdx", "rsi", "rdi", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc"

#define ACCESS(name, instruction) \
    __attribute__((noinline)) static void name(const struct gprs *in, struct gprs *out) \
    { \
        register const struct gprs *a __asm__("r8") = in; \
        register struct gprs *b __asm__("r9") = out; \
        __asm__ volatile("sub $256, %%rsp\n" LOAD_ALL instruction "\n" STORE_ALL "add $256, %%rsp\n" \
                         : "+r"(a), "+r"(b) : : ALL_CLOBBERED); \
    }

ACCESS(store, "movb %%al, (%%rdi)")
ACCESS(load, "movb (%%rdi), %%al")
ACCESS(store8, "movq %%rax, (%%rdi)")
ACCESS(increment, "incb (%%rdi)")
ACCESS(lea_only, "nop")

#define FLAGS_OF_STATUS 0x8d5ul /* OF SF ZF AF PF CF */

/* Every register but the one that changes keeps its value, with each value of the flags, DF too. */
static int registers(int argc, char **argv)
{
    static void (*const accesses[])(const struct gprs *, struct gprs *) = {store, load, store8, increment, lea_only};
    unsigned long flags = 0;

    (void)argc;
    (void)argv;
    for (unsigned round = 0; round < 64; round++) {
        for (unsigned a = 0; a < 5; a++) {
            struct gprs in, out;

            for (unsigned i = 0; i < 15; i++)
                in.r[i] = 0x1111111111111111ul * i + round;
            flags = ((round & 1) | (round & 2) << 1 | (round & 4) << 2 | (round & 24) << 3 | (round & 32) << 6);
            in.r[5] = a == 2 ? SCRATCH : UART + 7;
            in.r[15] = 0x202 | flags | (round % 3 == 0 ? 0x400 : 0);
            memset(&out, 0, sizeof(out));
            accesses[a](&in, &out);
            for (unsigned i = a == 1 ? 1 : 0; i < 15; i++)
                EQUAL(out.r[i], in.r[i]);
            if (a == 3)
                EQUAL(out.r[15] & 1, in.r[15] & 1); /* inc leaves CF */
            else
                EQUAL(out.r[15] & 0xfffd, in.r[15] & 0xfffd);
        }
    }
    return 0;
}

/* The flags of an instruction that computes are those it gives on memory. */
static int flags(int argc, char **argv)
{
    volatile uint8_t ordinary;

    (void)argc;
    (void)argv;
    for (unsigned v = 0; v < 256; v++) {
        unsigned long here, there;

        ordinary = (uint8_t)v;
        *SCR = (uint8_t)v;
#define BOTH(instruction) \
    __asm__ volatile(instruction "\n pushfq\n pop %0" : "=r"(here), "+m"(ordinary) : "q"((uint8_t)0x5b) : "cc"); \
    __asm__ volatile(instruction "\n pushfq\n pop %0" : "=r"(there), "+m"(*SCR) : "q"((uint8_t)0x5b) : "cc"); \
    EQUAL(there & FLAGS_OF_STATUS, here & FLAGS_OF_STATUS); \
    EQUAL(*SCR, ordinary)
        BOTH("addb %2, %1");
        BOTH("subb %2, %1");
        BOTH("cmpb %2, %1");
        BOTH("negb %1");
        BOTH("lock xorb %2, %1");
        BOTH("shlb $3, %1");
        BOTH("sarb %1");
        BOTH("testb $0x81, %1");
        BOTH("stc\n adcb $7, %1");
        BOTH("decb %1");
    }
    return 0;
}

/* Vector registers, MXCSR and the x87 control word. */
static int vectors(int argc, char **argv)
{
    static uint8_t in[16][32] __attribute__((aligned(32))), out[16][32] __attribute__((aligned(32)));
    uint32_t mxcsr = 0x1f80 | 0x6000, mxcsr_after = 0; /* round towards zero */
    uint16_t control = 0x0c7f, control_after = 0;       /* x87 the same */

    (void)argc;
    (void)argv;
    if (!__builtin_cpu_supports("avx2"))
        return 0;
    for (unsigned i = 0; i < sizeof(in); i++)
        (&in[0][0])[i] = (uint8_t)(i * 7 + 1);
    for (int round = 0; round < 100; round++) {
        __asm__ volatile("ldmxcsr %0\n fldcw %1" : : "m"(mxcsr), "m"(control));
        __asm__ volatile(
            ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vmovdqa 32*\\n(%0), %%ymm\\n\n .endr\n"
            "movb $0x5a, (%2)\n"
            "movb (%2), %%al\n"
            "incb (%2)\n"
            ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vmovdqa %%ymm\\n, 32*\\n(%1)\n .endr\n"
            : : "r"(in), "r"(out), "r"(SCR)
            : "rax", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
              "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
        __asm__ volatile("stmxcsr %0\n fnstcw %1\n vzeroupper" : "=m"(mxcsr_after), "=m"(control_after));
        EQUAL(memcmp(in, out, sizeof(in)), 0);
        EQUAL(mxcsr_after, mxcsr);
        EQUAL(control_after, control);
        memset(out, 0, sizeof(out));
    }
    fesetround(FE_TONEAREST);
    /* Wide moves carry their whole value. */
    _mm256_storeu_si256((__m256i *)SCRATCH, _mm256_load_si256((__m256i *)in[3]));
    EQUAL(memcmp((void *)SCRATCH, in[3], 32), 0);
    _mm256_store_si256((__m256i *)out[0], _mm256_loadu_si256((__m256i *)SCRATCH));
    EQUAL(memcmp(out[0], in[3], 32), 0);
    return 0;
}

/* 128 bytes below the stack pointer belong to a leaf function. */
static int red_zone(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    for (int round = 0; round < 100; round++) {
        uint64_t bad = 0;

        __asm__ volatile(
            "mov $0x1122334455667788, %%rcx\n"
            ".irp n,8,16,24,32,40,48,56,64,72,80,88,96,104,112,120,128\n mov %%rcx, -\\n(%%rsp)\n .endr\n"
            "movb $0x5a, (%1)\n"
            "movb (%1), %%al\n"
            "lock incb (%1)\n"
            ".irp n,8,16,24,32,40,48,56,64,72,80,88,96,104,112,120,128\n"
            "mov -\\n(%%rsp), %%rdx\n xor %%rcx, %%rdx\n or %%rdx, %0\n .endr\n"
            : "+r"(bad) : "r"(SCR) : "rax", "rcx", "rdx", "memory", "cc");
        EQUAL(bad, 0);
    }
    return 0;
}

static int error_number(int argc, char **argv)
{
    volatile uint8_t *thr = (volatile uint8_t *)UART;

    (void)argc;
    (void)argv;
    for (int i = 0; i < 100; i++) {
        errno = 4711 + i;
        *SCR = 1;
        (void)*LSR;
        (void)*(volatile uint32_t *)(UART + 0x1234); /* a hole of virtio */
        *thr = '.';
        *(volatile uint8_t *)(RAM + 4096 * (unsigned long)i) = 1;
        EQUAL(errno, 4711 + i);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"registers", registers}, {"flags", flags}, {"vectors", vectors}, {"red-zone", red_zone}, {"errno", error_number},
    };

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
