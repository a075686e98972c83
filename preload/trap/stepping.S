# The way from an access back to the breakpoint on its instruction, and from
# there on. See stepping.h; struct way and stepping_pages in stepping.c.

        .set    W_RAX, 32
        .set    W_RCX, 40
        .set    W_AT, 48
        .set    PAGE, 4096
        .set    SIZE, 512

# Each 64 bytes; no register is free. The rseq area's pointer to the sequence is stored as late as can be: whenever the
# thread is interrupted outside the sequence, the kernel forgets it.
        .macro  WAY
        .balign 64, 0xcc
1:      xchgq   %rax, stepping_ways + SIZE * way + W_RAX(%rip)
        xchgq   %rcx, stepping_ways + SIZE * way + W_RCX(%rip)
        movq    %rax, %fs:(%rcx)
        movq    stepping_ways + SIZE * way + W_RAX(%rip), %rax
        movq    stepping_ways + SIZE * way + W_RCX(%rip), %rcx
        jmp     *stepping_ways + SIZE * way + W_AT(%rip)
        .fill   41 - (. - 1b), 1, 0xcc
        .byte   0x0f, 0xb9, 0x3d        # ud1 0x53053053(%rip),%edi: the kernel wants RSEQ_SIG before the abort address
        .long   0x53053053
        jmp     *stepping_pages + PAGE * way(%rip)
        .fill   64 - (. - 1b), 1, 0xcc
        .set    way, way + 1
        .endm

        .text
        .balign 64, 0xcc
        .globl  stepping_stubs
        .hidden stepping_stubs
        .type   stepping_stubs, @function
stepping_stubs:
        .cfi_startproc
        .cfi_undefined %rip
        .set    way, 0
        .rept   16
        WAY
        .endr
        .cfi_endproc
        .size   stepping_stubs, . - stepping_stubs

        .section .note.GNU-stack, "", @progbits
