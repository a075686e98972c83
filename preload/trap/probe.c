#include "trap/probe.h"

#include "trap/backtrace.h"

#include "base/trapsafe.h"

/*
 * Leaf code that keeps nothing on the stack: wherever in it a fault happens,
 * the thread can go on at probe_failed, which answers false to the caller.
 */
__asm__(
    ".pushsection .text.probe, \"ax\", @progbits\n"
    ".p2align 4\n"
    ".local probe_begin, probe_failed\n"
    ".hidden probe_word, probe_same, probe_read, probe_write, probe_writable\n"
    ".globl probe_word, probe_same, probe_read, probe_write, probe_writable\n"
    ".type probe_word, @function\n"
    ".type probe_same, @function\n"
    ".type probe_read, @function\n"
    ".type probe_write, @function\n"
    ".type probe_writable, @function\n"
    "probe_begin:\n"
    "probe_word:\n"
    "    .cfi_startproc\n"
    "    movq (%rdi), %rax\n"
    "    movq %rax, (%rsi)\n"
    "    movl $1, %eax\n"
    "    ret\n"
    "    .cfi_endproc\n"
    ".size probe_word, . - probe_word\n"
    "probe_same:\n"
    "    .cfi_startproc\n"
    "    shlq $4, %rsi\n"
    "    addq %rdi, %rsi\n"
    "1:  movq (%rdi), %rax\n"
    "    movq 8(%rdi), %rcx\n"
    "    cmpq %rcx, (%rax)\n"
    "    jne probe_failed\n"
    "    addq $16, %rdi\n"
    "    cmpq %rsi, %rdi\n"
    "    jne 1b\n"
    "    movl $1, %eax\n"
    "    ret\n"
    "    .cfi_endproc\n"
    ".size probe_same, . - probe_same\n"
    "probe_read:\n"
    "probe_write:\n"
    "    .cfi_startproc\n"
    "    movq %rdx, %rcx\n"
    "    rep movsb\n"
    "    movl $1, %eax\n"
    "    ret\n"
    "    .cfi_endproc\n"
    ".size probe_read, . - probe_read\n"
    ".size probe_write, . - probe_write\n"
    "probe_writable:\n"
    "    .cfi_startproc\n"
    "    lock orb $0, (%rdi)\n"
    "    movl $1, %eax\n"
    "    ret\n"
    "    .cfi_endproc\n"
    ".size probe_writable, . - probe_writable\n"
    "probe_failed:\n"
    "    .cfi_startproc\n"
    "    xorl %eax, %eax\n"
    "    ret\n"
    "    .cfi_endproc\n"
    ".popsection\n");

extern const char probe_begin[], probe_failed[];

u64 probe_fixup(u64 rip)
{
    u64 begin = (uintptr_t)probe_begin, failed = (uintptr_t)probe_failed;

    return rip - begin < failed - begin ? failed : 0;
}
