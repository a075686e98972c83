/* flags: -nostartfiles */
/* A system call that is the last thing in the text: no code of crt files, and nothing, behind it. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

long last_call(long nr, long a, void *b, void *c, long d);
__asm__(".section .zzz_last, \"ax\", @progbits\n"
        ".globl last_call\n .type last_call, @function\n"
        "last_call: .cfi_startproc\n"
        " mov %rdi, %rax\n mov %rsi, %rdi\n mov %rdx, %rsi\n mov %rcx, %rdx\n mov %r8, %r10\n syscall\n ret\n"
        ".cfi_endproc\n .size last_call, . - last_call\n .text\n");

void _start(void);
__attribute__((force_align_arg_pointer)) void _start(void)
{
    uint64_t none[4] = {0}, old[4] = {1, 1, 1, 1};
    long ret = last_call(13, SIGSEGV, none, old, 8); /* rt_sigaction */

    printf("%ld %s\n", ret, old[0] ? "ours" : "default");
    exit(0);
}
