#include "base/guard.h"

#include "base/trapsafe.h"

/* As in trap/probe.c: leaf code that keeps nothing on the stack. */
__asm__(
    ".pushsection .text.guard, \"ax\", @progbits\n"
    ".p2align 4\n"
    ".local guard_failed\n"
    ".hidden guard_copy\n"
    ".globl guard_copy\n"
    ".type guard_copy, @function\n"
    "guard_copy:\n"
    "    .cfi_startproc\n"
    "    movq %rdx, %rcx\n"
    "    rep movsb\n"
    "    movl $1, %eax\n"
    "    ret\n"
    "guard_failed:\n"
    "    xorl %eax, %eax\n"
    "    ret\n"
    "    .cfi_endproc\n"
    ".size guard_copy, . - guard_copy\n"
    ".popsection\n");

extern const char guard_failed[];

u64 guard_fixup(u64 rip)
{
    u64 begin = (uintptr_t)guard_copy, failed = (uintptr_t)guard_failed;

    return rip - begin < failed - begin ? failed : 0;
}
