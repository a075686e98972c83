# The return trampoline of our signal handlers, with the unwind table of a signal
# frame: the frame is what rsp points at, a struct ucontext. Unwinders without
# tables recognise it by these very bytes (mov $15,%rax; syscall), and look
# the address up less one: hence the nop.

        .include "preload/base/flags.inc"
        .set    UC, 40                  # of the registers in struct ucontext
        .set    UC_RSP, UC + 8 * 15
        .set    UC_RIP, UC + 8 * 16

# DW_CFA_expression: the register's value is at rsp + \at (breg7, SLEB128 of two bytes)
        .macro  at_rsp register, at
        .cfi_escape 0x10, \register, 3, 0x77, ((\at) & 0x7f) | 0x80, ((\at) >> 7) & 0x7f
        .endm

# All registers are those of a struct ucontext at rsp + \base, rsp (the CFA: breg7, deref) too.
        .macro  interrupted base
        .cfi_escape 0x0f, 4, 0x77, ((UC_RSP + \base) & 0x7f) | 0x80, ((UC_RSP + \base) >> 7) & 0x7f, 0x06
        at_rsp  8, UC+8*0+\base
        at_rsp  9, UC+8*1+\base
        at_rsp  10, UC+8*2+\base
        at_rsp  11, UC+8*3+\base
        at_rsp  12, UC+8*4+\base
        at_rsp  13, UC+8*5+\base
        at_rsp  14, UC+8*6+\base
        at_rsp  15, UC+8*7+\base
        at_rsp  5, UC+8*8+\base
        at_rsp  4, UC+8*9+\base
        at_rsp  6, UC+8*10+\base
        at_rsp  3, UC+8*11+\base
        at_rsp  1, UC+8*12+\base
        at_rsp  0, UC+8*13+\base
        at_rsp  2, UC+8*14+\base
        at_rsp  16, UC_RIP+\base
        .endm

        .text
        .p2align 4
        .cfi_startproc
        .cfi_signal_frame
        interrupted 0
        nop
        .globl  signals_restorer
        .hidden signals_restorer
        .type   signals_restorer, @function
signals_restorer:
        .byte   0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00
        .byte   0x0f, 0x05
        ud2                             # a seccomp filter refused it: there is no way back
        .cfi_endproc
        .size   signals_restorer, . - signals_restorer

# The same for handlers of the program, whose frames tell what the program
# believes. Nothing but its unwind table makes it known.
        .p2align 4
        .globl  signals_return, signals_return_end
        .hidden signals_return, signals_return_end
        .type   signals_return, @function
        .cfi_startproc
        .cfi_signal_frame
        interrupted 0
        nop
signals_return:
        movq    %rsp, %rdi
        movq    %rsp, %rsi
        call    signals_leave
        .byte   0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00
        .byte   0x0f, 0x05
        ud2
signals_return_end:
        .cfi_endproc
        .size   signals_return, . - signals_return

# One signal may come on top of another one whose handler has not begun yet. From
# here to signals_enter_end the context is in rdx; behind it it is noted, and rcx
# and its uc_link have what was noted before.
        .set    UC_LINK, 8
        .macro  entering
        movq    signals_entering@gottpoff(%rip), %r11
        movq    %fs:(%r11), %rcx
        movq    %rcx, UC_LINK(%rdx)
        movq    %rdx, %fs:(%r11)
        .endm

# Where the kernel enters for faults. A debugger's step that goes into the
# handler stops here. Its unwind table says that the instruction that trapped
# has called this function: the debugger then runs to the "return", as it does
# for any function it steps over, instead of stopping in our code.
        .p2align 4
        .globl  signals_fault_enter
        .hidden signals_fault_enter
        .type   signals_fault_enter, @function
signals_fault_enter:
        .cfi_startproc
        interrupted 8
        entering
        jmp     fault_entry
        .cfi_endproc
        .size   signals_fault_enter, . - signals_fault_enter

# Signals that have a handler of ours because it ends the program, or because
# the program's wants another stack.
        .p2align 4
        .globl  signals_action_enter
        .hidden signals_action_enter
        .type   signals_action_enter, @function
signals_action_enter:
        .cfi_startproc
        interrupted 8
        entering
        jmp     action_entry
        .cfi_endproc
        .size   signals_action_enter, . - signals_action_enter

# Where the kernel enters handlers of the program: signals_enter() says where
# the program's own is, which then finds everything as the kernel left it.
        .p2align 4
        .globl  signals_wrap
        .hidden signals_wrap
        .type   signals_wrap, @function
signals_wrap:
        .cfi_startproc
        entering
        pushq   %rdi
        .cfi_adjust_cfa_offset 8
        pushq   %rsi
        .cfi_adjust_cfa_offset 8
        pushq   %rdx
        .cfi_adjust_cfa_offset 8
        call    signals_enter
        .globl  signals_enter_end
        .hidden signals_enter_end
signals_enter_end:
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

# Goes on behind an access without rt_sigreturn: resume_leave(context,
# components, slot, way), see resume.h. Asynchronous signals are blocked until
# the system call is over. From there on whoever is interrupted is taken for
# where it goes (resume_interrupted): nothing here runs twice.
        .set    UC_FLAGS, UC + 8 * 17
        .set    UC_FPU, UC + 8 * 23
        .set    UC_MASK, UC + 8 * 32
        .p2align 4
        .globl  resume_leave, resume_unmasked, resume_context, resume_end
        .hidden resume_leave, resume_unmasked, resume_context, resume_end
        .type   resume_leave, @function
resume_leave:
        .cfi_startproc
        .cfi_undefined %rip
        movq    %rdx, %rbx
        movq    %rcx, UC_LINK(%rdi)
        movq    %rsi, %rax
        movq    %rsi, %rdx
        shrq    $32, %rdx
        movq    UC_FPU(%rdi), %rcx
        xrstor64 (%rcx)
        movq    %rdi, %r12
        leaq    -8(%rdi), %rsp
        interrupted 8
        leaq    UC_MASK(%rdi), %rsi
        movl    $2, %edi                # SIG_SETMASK
        xorl    %edx, %edx
        movl    $8, %r10d
        movl    $14, %eax               # rt_sigprocmask
        syscall
resume_unmasked:
        testq   %rax, %rax
        jnz     1f
        movq    UC_RIP(%r12), %rax
        movq    %rax, (%rbx)
        movq    UC_FLAGS(%r12), %rcx
        give_flags %ecx, %cl
        leaq    8(%rsp), %rsp
        interrupted 0
resume_context:
        movq    UC+8*0(%rsp), %r8
        movq    UC+8*1(%rsp), %r9
        movq    UC+8*2(%rsp), %r10
        movq    UC+8*3(%rsp), %r11
        movq    UC+8*4(%rsp), %r12
        movq    UC+8*5(%rsp), %r13
        movq    UC+8*6(%rsp), %r14
        movq    UC+8*7(%rsp), %r15
        movq    UC+8*8(%rsp), %rdi
        movq    UC+8*9(%rsp), %rsi
        movq    UC+8*10(%rsp), %rbp
        movq    UC+8*11(%rsp), %rbx
        movq    UC+8*12(%rsp), %rdx
        movq    UC+8*13(%rsp), %rax
        movq    UC+8*14(%rsp), %rcx
        jmp     *UC_LINK(%rsp)
resume_end:
1:      movq    %r12, %rsp              # a seccomp filter refused it
        movl    $15, %eax               # rt_sigreturn
        syscall
        ud2
        .cfi_endproc
        .size   resume_leave, . - resume_leave

# The last two steps, of each thread that has a way: no register is left to
# find the thread's slot by.
        .macro  WAY
        .balign 16, 0xcc
        movq    UC_RSP(%rsp), %rsp      # 8 bytes
        jmp     *resume_slots + 64 * way(%rip)
        .set    way, way + 1
        .endm

        .balign 16, 0xcc
        .globl  resume_ways
        .hidden resume_ways
        .type   resume_ways, @function
resume_ways:
        .cfi_startproc
        .cfi_undefined %rip
        .set    way, 0
        .rept   128
        WAY
        .endr
        .balign 16, 0xcc
        .cfi_endproc
        .size   resume_ways, . - resume_ways

        .section .note.GNU-stack, "", @progbits
