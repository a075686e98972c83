# The return trampoline of signal handlers. Unwinders recognise signal frames
# by these very bytes (mov $15,%rax; syscall), and look the address up less
# one: hence the nop, which belongs to no function.
        .text
        .p2align 4
        nop
        .globl  signals_restorer
        .hidden signals_restorer
        .type   signals_restorer, @function
signals_restorer:
        .byte   0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00
        .byte   0x0f, 0x05
        .size   signals_restorer, . - signals_restorer

# Where the kernel enters handlers of the program: signals_enter() says where
# the program's own is, which then finds everything as the kernel left it.
        .p2align 4
        .globl  signals_wrap
        .hidden signals_wrap
        .type   signals_wrap, @function
signals_wrap:
        .cfi_startproc
        pushq   %rdi
        .cfi_adjust_cfa_offset 8
        pushq   %rsi
        .cfi_adjust_cfa_offset 8
        pushq   %rdx
        .cfi_adjust_cfa_offset 8
        call    signals_enter
        popq    %rdx
        .cfi_adjust_cfa_offset -8
        popq    %rsi
        .cfi_adjust_cfa_offset -8
        popq    %rdi
        .cfi_adjust_cfa_offset -8
        movq    %rax, %r11
        testq   %rax, %rax
        jz      1f
        xorl    %eax, %eax
        jmp     *%r11
1:      ret
        .cfi_endproc
        .size   signals_wrap, . - signals_wrap

        .section .note.GNU-stack, "", @progbits
