# The return trampoline of our signal handlers. Unwinders recognise signal
# frames by these very bytes (mov $15,%rax; syscall), and look the address up
# less one: hence the nop, which belongs to no function.
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

# The same for handlers of the program, whose frames tell what the program
# believes. Nothing but its unwind table makes it known: every register is found
# in the ucontext, which is at rsp throughout.
        .macro  saved reg, index        # DW_CFA_expression reg, breg7 offset
        .cfi_escape 0x10, \reg, 3, 0x77, (40 + 8 * \index) & 0x7f | 0x80, (40 + 8 * \index) >> 7
        .endm

        .p2align 4
        .globl  signals_return, signals_return_end
        .hidden signals_return, signals_return_end
        .type   signals_return, @function
        .cfi_startproc simple
        .cfi_signal_frame
        # DW_CFA_def_cfa_expression: breg7 160, deref
        .cfi_escape 0x0f, 4, 0x77, 0xa0, 1, 0x06
        saved   8, 0
        saved   9, 1
        saved   10, 2
        saved   11, 3
        saved   12, 4
        saved   13, 5
        saved   14, 6
        saved   15, 7
        saved   5, 8    # rdi
        saved   4, 9    # rsi
        saved   6, 10   # rbp
        saved   3, 11   # rbx
        saved   1, 12   # rdx
        saved   0, 13   # rax
        saved   2, 14   # rcx
        saved   7, 15   # rsp
        saved   16, 16  # rip
        nop
signals_return:
        movq    %rsp, %rdi
        movq    %rsp, %rsi
        call    signals_leave
        .byte   0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00
        .byte   0x0f, 0x05
signals_return_end:
        .cfi_endproc
        .size   signals_return, . - signals_return

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
1:      leaq    signals_restorer(%rip), %r11 # the frame is as the kernel left it
        movq    %r11, (%rsp)
        ret
        .cfi_endproc
        .size   signals_wrap, . - signals_wrap

        .section .note.GNU-stack, "", @progbits
