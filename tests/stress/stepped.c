/*
 * For debuggers: lines with accesses that were hot before anybody looked. The
 * Makefile compiles this file without optimization.
 */
#include "parts.h"

#define TIMES 100

void begin_steps(const void *from, const void *to), end_steps(void);
unsigned work(volatile struct block *b, unsigned n), outer(volatile struct block *b, unsigned n);
extern const char step_run[], step_run_end[];
uint64_t step_run_call(volatile struct block *b, uint64_t n) __asm__("step_run");

/* Three byte instructions in a row, and a branch into the middle of them. */
__asm__(".text\n.globl step_run, step_run_end\n.type step_run, @function\nstep_run: .cfi_startproc\n mov $0, %eax\n1: mov %sil, (%rdi)\n"
        "movb %al, 1(%rdi)\n2: movb %al, 2(%rdi)\n mov 4(%rdi), %ecx\n add %ecx, %eax\n mov %eax, 4(%rdi)\n addl $3, 8(%rdi)\n"
        "cmp %esi, 8(%rdi)\n dec %rsi\n jz 3f\n test $1, %sil\n jz 2b\n jmp 1b\n3: ret\nstep_run_end:\n .cfi_endproc\n"
        ".size step_run, . - step_run\n");

__attribute__((noinline)) unsigned work(volatile struct block *b, unsigned n)
{
    unsigned got;

    b->w[0] = n;                  /* first */
    got = b->w[1] + b->b[0];      /* second */
    b->b[2]++;                    /* third */
    b->w[1] = got * 3;            /* fourth */
    return got ^ b->h[1];         /* fifth */
}

__attribute__((noinline)) unsigned outer(volatile struct block *b, unsigned n)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < n; i++)
        sum += work(b, i);
    return sum;
}

/* A tracer steps from here to end_steps and notes what lies within [from, to). */
__attribute__((noinline)) void begin_steps(const void *from, const void *to)
{
    __asm__ volatile("int3" : : "D"(from), "S"(to));
}

__attribute__((noinline)) void end_steps(void)
{
    __asm__ volatile("int3" : : "D"(0), "S"(0));
}

/* [traced]: under a tracer that knows what the breakpoints are for */
void stepped(int argc, char **argv)
{
    volatile struct block *b = window_of(2);
    unsigned sum = 0;

    (void)argv;
    for (unsigned i = 0; i < 8; i++)
        b->w[i] = i * 0x01010101;
    sum = outer(b, TIMES);
    step_run_call(b, TIMES);
    printf("hot %#x\n", sum);
    if (argc > 0) {
        begin_steps(step_run, step_run_end);
        step_run_call(b, 5);
        end_steps();
    }
    sum = outer(b, 3); /* looked at */
    printf("sum %#x %#x\n", sum, b->w[1]);
}
