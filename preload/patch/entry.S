# The way from a trampoline to the functions of access.c and back. See site.h.
#
# rax, rcx and r11 of the program are in the thread's block, calls_here is 0: as
# in a system call of the program, signals that arrive are deferred. rcx: the
# struct call, r11: the site, rax: the operand's address. The
# flags are in the block or of no use to the program.

        .set    C_DEFERRED, 152
        .set    C_MASK, 160
        .set    C_STACK, 216
        .set    C_LATE, 320
        .set    C_RESUME, 328
        .set    C_RSP, 360              # struct call, patch: from here on
        .set    C_NEXT, 368
        .set    C_LATER, 376
        .set    C_FULL, 384
        .set    S_FUNCTION, 40
        .set    S_FUNCTION_AGAIN, 48
        .set    S_DECLINE, 56
        .set    S_TAIL, 64
        .set    S_TAIL_AGAIN, 72
        .set    S_SLOW, 80
        .set    S_AGAIN, 88
        .set    S_AT, 96
        .set    S_BEHIND, 104
        .set    B_RAX, 64
        .set    B_RCX, 72
        .set    B_R11, 80
        .set    B_FLAGS, 88
        .set    B_CALL, 104
        .set    DECLINE, 1
        .set    AGAIN, 2
        .set    END, 3
        .set    HELD, 4
        .set    DONE_AGAIN, 5
        .set    FULL, 6

        .macro  global name
        .globl  \name
        .hidden \name
\name:
        .endm

# The program's stack is left, and its registers, as struct patch_frame has them.
        .macro  ask function
        movq    %rsp, C_RSP(%rcx)
        movq    C_STACK(%rcx), %rsp
        pushq   %rdx
        pushq   %rsi
        pushq   %rdi
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %rbp
        pushq   %rax
        pushq   %rcx
        pushq   %r11
        movq    %r11, %rdi
        movq    %rax, %rsi
        movq    %rcx, %rdx
        call    *\function(%r11)
        testl   %eax, %eax
        jnz     other
        .endm

# Back to the program's registers but rax, which is used up, and its stack.
        .macro  give_back
        movq    (%rsp), %r11
        movq    32(%rsp), %r10
        movq    40(%rsp), %r9
        movq    48(%rsp), %r8
        movq    56(%rsp), %rdi
        movq    64(%rsp), %rsi
        movq    72(%rsp), %rdx
        movq    C_RSP(%rcx), %rsp
        .endm

        .text
        .p2align 4
        .type   patch_entry, @function
        .cfi_startproc
        .cfi_undefined %rip
        global  patch_entry
        global  patch_enter_again
        ask     S_FUNCTION_AGAIN
        ud2                             # it answers DONE_AGAIN
        .p2align 4
        global  patch_enter
        ask     S_FUNCTION
# The access is over. A SIGSEGV that was sent meanwhile is kept. A signal that
# finds the thread from here to patch_left sends it back here.
        global  patch_returned
        movq    8(%rsp), %rcx
        cmpb    $0, C_LATE(%rcx)
        jne     late
        movq    calls_here@gottpoff(%rip), %rax
        give_back
        movq    %rcx, %fs:(%rax)
        global  patch_left
        cmpq    $0, C_DEFERRED(%rcx)
        jne     1f
        jmp     *S_TAIL(%r11)
1:      jmp     *S_SLOW(%r11)
        global  patch_left_end

# Any other way out: on at C_NEXT, or, if signals were deferred, at C_LATER.
other:  cmpl    $FULL, %eax
        je      full
        cmpl    $HELD, %eax
        je      held
        movq    (%rsp), %r11
        movq    8(%rsp), %rcx
        cmpl    $END, %eax
        je      end
        leaq    settle_again(%rip), %r8
        movq    S_AGAIN(%r11), %rdx
        cmpl    $AGAIN, %eax
        je      1f
        movq    S_DECLINE(%r11), %rdx
        cmpl    $DECLINE, %eax
        je      1f
        movq    S_TAIL_AGAIN(%r11), %rdx
        movq    S_SLOW(%r11), %r8
1:      movq    %rdx, C_NEXT(%rcx)
        movq    %r8, C_LATER(%rcx)
        global  patch_leave
        movq    8(%rsp), %rcx
        cmpb    $0, C_LATE(%rcx)
        jne     late_leave
        movq    calls_here@gottpoff(%rip), %rax
        give_back
        movq    %rcx, %fs:(%rax)
        global  patch_gone
        cmpq    $0, C_DEFERRED(%rcx)
        jne     1f
        jmp     *C_NEXT(%rcx)
1:      jmp     *C_LATER(%rcx)
        global  patch_gone_end

late:   call    call_late
        jmp     patch_returned
late_leave:
        call    call_late
        jmp     patch_leave
call_late:
        pushfq                          # DF may be set
        cld
        call    patch_late
        testl   $0x400, (%rsp)
        jz      1f
        std
1:      addq    $8, %rsp
        ret

# All registers are wanted.
full:   subq    $8, %rsp
        pushq   %rbx
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        pushfq
        subq    $8, %rsp
        cld
        movq    64(%rsp), %rdi
        movq    80(%rsp), %rsi
        movq    72(%rsp), %rdx
        movq    %rsp, %rcx
        call    *C_FULL(%rdx)
        testl   $0x400, 8(%rsp)         # DF. No popfq: a tracer that steps has its TF in these flags, and may be gone
        jz      1f
        std
1:      addq    $64, %rsp
        testl   %eax, %eax
        jz      patch_returned
        jmp     other

# The second access follows; the thread stays marked.
held:   movq    8(%rsp), %rcx
        movq    patch_block@gottpoff(%rip), %rax
        movq    %rcx, %fs:B_CALL(%rax)
        give_back
        jmp     *S_TAIL(%r11)

# The program goes no further. On its own stack.
end:    cld
        movq    %rcx, %rdi
        movq    C_RSP(%rcx), %rsp
        leaq    -128(%rsp), %rsp
        andq    $-16, %rsp
        movq    calls_here@gottpoff(%rip), %rax
        movq    %rcx, %fs:(%rax)
        call    patch_end
        ud2

# Signals were deferred, and are all blocked: they come now, behind the access or
# before it. All registers but rax, rcx and r11 are in place; before it, the flags
# are in the block, too, where the program wants them.
settle_again:
        movq    patch_block@gottpoff(%rip), %rax
        movq    %fs:B_FLAGS(%rax), %rax
        addb    $0x7f, %al              # OF, as the trampoline puts it
        sahf
        movq    S_AT(%r11), %rax
        jmp     1f
        .p2align 4
        global  patch_settle
        movq    S_BEHIND(%r11), %rax
1:      movq    %rax, C_RESUME(%rcx)
        movq    %rcx, %r11
        movq    patch_block@gottpoff(%rip), %rax
        movq    %fs:B_RAX(%rax), %rcx
        movq    %rcx, C_RESUME+8(%r11)
        movq    %fs:B_RCX(%rax), %rcx
        movq    %rcx, C_RESUME+16(%r11)
        movq    %fs:B_R11(%rax), %rcx
        movq    %rcx, C_RESUME+24(%r11)
        jmp     calls_resume
        .cfi_endproc
        .size   patch_entry, . - patch_entry

        .section .note.GNU-stack, "", @progbits
