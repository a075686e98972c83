# The way from a rewritten system call to us and back. See calls.h, site.h.
#
# rcx and r11 are free at a system call; no other register is, nor is the stack
# (a red zone, or hardly any room). calls_here is this thread's struct call, or
# NULL while it is in a call or before it has one: then the kernel does it.

        .include "preload/base/flags.inc"
        .set    C_NR, 0
        .set    C_A, 8
        .set    C_RSP, 56
        .set    C_FLAGS, 64
        .set    C_RBX, 72
        .set    C_SITE, 120
        .set    C_RET, 128
        .set    C_NEXT, 136
        .set    C_AGAIN, 144
        .set    C_DEFERRED, 152
        .set    C_MASK, 160
        .set    C_CHANGED, 168
        .set    C_STACK, 216
        .set    C_WAITING, 224
        .set    C_CHANGING, 232
        .set    C_HERE, 240
        .set    C_RESUME, 328
        .set    S_RESUME, 0
        .set    S_TAIL, 8
        .set    S_NR, 24
        .set    S_AT, 32
        .set    S_ENTER, 40
        .set    S_BEHIND, 48
        .set    S_APART, 56

        .macro  global name
        .globl  \name
        .hidden \name
\name:
        .endm

        .macro  arguments from, base
        movq    \from+0(\base), %rdi
        movq    \from+8(\base), %rsi
        movq    \from+16(\base), %rdx
        movq    \from+24(\base), %r10
        movq    \from+32(\base), %r8
        movq    \from+40(\base), %r9
        .endm

        .macro  here to
        movq    calls_here@gottpoff(%rip), \to
        movq    %fs:(\to), \to
        .endm

# --- stubs ---

# Each 64 bytes: 20 for what the jump replaced, the way in, the call itself, the
# way back; and the call for those that need more on the way back (calls_apart).
        .macro  STUB
        .balign 64, 0xcc
1:      movl    calls_sites + 64 * stub + S_NR(%rip), %eax
        .byte   0xeb, 12
        .fill   12, 1, 0x90
        leaq    calls_sites + 64 * stub(%rip), %r11
        jmp     *S_ENTER(%r11)
        nop
        syscall
        jmp     *calls_sites + 64 * stub + S_RESUME(%rip)
        .fill   48 - (. - 1b), 1, 0xcc
        syscall
        leaq    calls_sites + 64 * stub(%rip), %r11
        jmp     *S_APART(%r11)
        .fill   64 - (. - 1b), 1, 0xcc
        .set    stub, stub + 1
        .endm

        .section .text.calls_stubs, "ax", @progbits
        .balign 4096
        .type   calls_stubs, @function
        global  calls_stubs
        .cfi_startproc
        # The caller is the rewritten function, with the very same registers; its address is in the stub's data, which
        # the stub's lea names: DW_CFA_expression r16, breg16 0, -64, and, dup, +23, deref_size 4, plus, +27
        .cfi_def_cfa %rsp, 0
        .cfi_escape 0x10, 0x10, 0x0d, 0x80, 0x00, 0x09, 0xc0, 0x1a, 0x12, 0x23, 0x17, 0x94, 0x04, 0x22, 0x23, 0x1b
        .set    stub, 0
        .rept   1024
        STUB
        .endr
        .cfi_endproc
        .balign 4096, 0xcc
        .size   calls_stubs, . - calls_stubs

# --- entry ---

        .text
        .p2align 4
        .type   calls_native, @function
        .cfi_startproc
        .cfi_def_cfa %rsp, 0
        # RA is what r11 points at: DW_CFA_expression r16, breg11 0
        .cfi_escape 0x10, 0x10, 0x02, 0x7b, 0x00
        global  calls_native
        jmp     *S_TAIL(%r11)
        global  calls_enter
        here    %rcx
        jrcxz   calls_native
        movq    %r11, C_SITE(%rcx)
        global  calls_stored
        movq    calls_here@gottpoff(%rip), %r11
        movq    $0, %fs:(%r11)
        global  calls_entered
        # The caller is the rewritten function: call->site->at + 2. DW_CFA_val_expression r16, breg2 C_SITE, deref,
        # +S_AT, deref, +2
        .cfi_escape 0x16, 0x10, 9, 0x72, C_SITE | 0x80, 0, 0x06, 0x23, S_AT, 0x06, 0x23, 2
        movq    %rsp, C_RSP(%rcx)
        .cfi_escape 0x0f, 3, 0x72, C_RSP, 0x06 # CFA: breg2 C_RSP, deref
        movq    %rax, C_NR(%rcx)
        movq    %rdi, C_A+0(%rcx)
        movq    %rsi, C_A+8(%rcx)
        movq    %rdx, C_A+16(%rcx)
        movq    %r10, C_A+24(%rcx)
        movq    %r8, C_A+32(%rcx)
        movq    %r9, C_A+40(%rcx)
        movq    %rbx, C_RBX+0(%rcx)
        movq    %rbp, C_RBX+8(%rcx)
        movq    %r12, C_RBX+16(%rcx)
        movq    %r13, C_RBX+24(%rcx)
        movq    %r14, C_RBX+32(%rcx)
        movq    %r15, C_RBX+40(%rcx)
        movq    C_STACK(%rcx), %rsp
        pushfq
        popq    C_FLAGS(%rcx)
        cld
        pushq   %rcx
        subq    $8, %rsp
        # In the call: the same by the struct call on our stack, breg7 8, deref
        .cfi_escape 0x0f, 6, 0x77, 8, 0x06, 0x23, C_RSP, 0x06
        .cfi_escape 0x16, 0x10, 11, 0x77, 8, 0x06, 0x23, C_SITE, 0x06, 0x23, S_AT, 0x06, 0x23, 2
        movq    %rcx, %rdi
        call    calls_dispatch
        movq    8(%rsp), %rcx
        .cfi_escape 0x0f, 3, 0x72, C_RSP, 0x06
        .cfi_escape 0x16, 0x10, 9, 0x72, C_SITE | 0x80, 0, 0x06, 0x23, S_AT, 0x06, 0x23, 2
        addq    $16, %rsp
        movq    C_FLAGS(%rcx), %rdx
        give_flags %edx, %dl
        arguments C_A, %rcx
        movq    C_HERE(%rcx), %rax
        movq    C_RSP(%rcx), %rsp
        movq    calls_here@gottpoff(%rip), %r11
        movq    %rax, %fs:(%r11)
        global  calls_left
        movq    C_RET(%rcx), %rax
        .cfi_def_cfa %rsp, 0
        movq    %rcx, %r11
        # breg11 now
        .cfi_escape 0x16, 0x10, 9, 0x7b, C_SITE | 0x80, 0, 0x06, 0x23, S_AT, 0x06, 0x23, 2
        movq    C_DEFERRED(%rcx), %rcx
        jrcxz   1f
        jmp     settle
1:      jmp     *C_NEXT(%r11)
        global  calls_leave_end

# The call with other arguments, in the site's stub. r11: the struct call.
        global  calls_changed
        arguments C_CHANGED, %r11
        movq    C_SITE(%r11), %r11
        movq    S_TAIL(%r11), %r11
        leaq    16(%r11), %r11
        jmp     *%r11
        global  calls_changed_end

# Signals were deferred, and are all blocked: they come now. r11: the struct call.
settle: movq    %rax, C_RESUME+8(%r11)
        movq    C_AGAIN(%r11), %rax
        movq    %rax, C_RESUME(%r11)
        jmp     calls_resume
        .cfi_endproc
        .size   calls_native, . - calls_native

# All registers at once, the mask and the address: by rt_sigreturn. The signals
# that come then find the program, however many they are.
        .p2align 4
        .type   calls_resume, @function
        .cfi_startproc
        .cfi_undefined %rip
        global  calls_resume
        movq    %rsp, %rcx
        movq    C_STACK(%r11), %rsp
        pushfq
        pushq   %rcx                    # rsp
        pushq   %rdx
        pushq   %rbx
        pushq   %rbp
        pushq   %rsi
        pushq   %rdi
        pushq   %r15
        pushq   %r14
        pushq   %r13
        pushq   %r12
        pushq   %r10
        pushq   %r9
        pushq   %r8
        cld
        movq    %rsp, %rdi
        movq    %r11, %rsi
        call    calls_frame
        movq    %rax, %rsp
        movl    $15, %eax
        syscall
        ud2
        .cfi_endproc
        .size   calls_resume, . - calls_resume

# Behind the second call instruction of a stub. r11: the site. A call with other
# arguments is over: the registers are the program's again.
        .p2align 4
        .type   calls_apart, @function
        .cfi_startproc
        .cfi_def_cfa %rsp, 0
        .cfi_escape 0x10, 0x10, 0x02, 0x7b, 0x00
        global  calls_apart
        here    %rcx
        jrcxz   apart
        movq    C_CHANGING(%rcx), %rcx
        jrcxz   apart
        here    %rcx
        arguments C_A, %rcx
        movq    $0, C_WAITING(%rcx)
        movq    $0, C_CHANGING(%rcx)
        global  calls_restored
        jmp     *S_BEHIND(%r11)
        global  calls_apart_end
# A call that made two of one: a new thread's first instructions, on its stack;
# those of a vfork child; and of the parent, to which such a child, gone from
# the middle of a call, may have left its marks.
apart:
        .cfi_undefined %rip
        leaq    -128(%rsp), %rsp
        pushq   %rbp
        movq    %rsp, %rbp
        pushq   %r11
        pushq   %rdi
        pushq   %rsi
        pushq   %rdx
        pushq   %r10
        pushq   %r8
        pushq   %r9
        pushq   %rax
        andq    $-16, %rsp
        call    calls_born
        movq    -8(%rbp), %r11
        movq    -16(%rbp), %rdi
        movq    -24(%rbp), %rsi
        movq    -32(%rbp), %rdx
        movq    -40(%rbp), %r10
        movq    -48(%rbp), %r8
        movq    -56(%rbp), %r9
        movq    -64(%rbp), %rax
        movq    %rbp, %rsp
        popq    %rbp
        leaq    128(%rsp), %rsp
        jmp     *S_RESUME(%r11)
        .cfi_endproc
        .size   calls_apart, . - calls_apart

# long calls_wait_here(nr, a, b, c, d, e, f, const u64 *deferred)
        .p2align 4
        .type   calls_wait_here, @function
        global  calls_wait_here
        .cfi_startproc
        global  calls_wait_begin
        movq    16(%rsp), %r11
        movq    %rdi, %rax
        movq    %rsi, %rdi
        movq    %rdx, %rsi
        movq    %rcx, %rdx
        movq    %r8, %r10
        movq    %r9, %r8
        movq    8(%rsp), %r9
        cmpq    $0, (%r11)
        jne     calls_wait_restart
        syscall
        global  calls_wait_after
        ret
        global  calls_wait_restart
        movq    $-512, %rax
        ret
        .cfi_endproc
        .size   calls_wait_here, . - calls_wait_here

        .section .note.GNU-stack, "", @progbits
