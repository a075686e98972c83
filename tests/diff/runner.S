/*
 * Runs one instruction with every register set, in the place where a program would run it. Layout of struct run:
 * runner.h. Nothing here needs a stack between loading and storing the registers: rsp is the instruction's.
 */
#define RUN_FLAGS 128
#define RUN_MASK 136
#define RUN_AREA 144
#define RUN_CODE 152
#define RUN_EXIT 160

    .text
/* int runner_enter(struct run *run): 0, or 1 when a signal ended it. */
    .globl runner_enter, runner_return, runner_branched, runner_recover
    .type runner_enter, @function
runner_enter:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rdi, current(%rip)
    mov %rsp, stack(%rip)
    mov RUN_CODE(%rdi), %rax
    mov %rax, code(%rip)
    mov RUN_MASK(%rdi), %eax
    xor %edx, %edx
    mov RUN_AREA(%rdi), %rcx
    xrstor64 (%rcx)
    push RUN_FLAGS(%rdi)
    popfq
    mov 0(%rdi), %rax
    mov 8(%rdi), %rcx
    mov 16(%rdi), %rdx
    mov 24(%rdi), %rbx
    mov 32(%rdi), %rsp
    mov 40(%rdi), %rbp
    mov 48(%rdi), %rsi
    mov 64(%rdi), %r8
    mov 72(%rdi), %r9
    mov 80(%rdi), %r10
    mov 88(%rdi), %r11
    mov 96(%rdi), %r12
    mov 104(%rdi), %r13
    mov 112(%rdi), %r14
    mov 120(%rdi), %r15
    mov 56(%rdi), %rdi
    jmp *code(%rip)

/* Where branches of the instruction lead. */
runner_branched:
    mov %rdi, saved_rdi(%rip)
    mov current(%rip), %rdi
    movq $1, RUN_EXIT(%rdi)
    mov saved_rdi(%rip), %rdi
/* Where the code behind the instruction leads. */
runner_return:
    mov %rsp, saved_rsp(%rip)
    mov %rdi, saved_rdi(%rip)
    mov stack(%rip), %rsp
    mov current(%rip), %rdi
    mov %rax, 0(%rdi)
    mov %rcx, 8(%rdi)
    mov %rdx, 16(%rdi)
    mov %rbx, 24(%rdi)
    mov %rbp, 40(%rdi)
    mov %rsi, 48(%rdi)
    mov %r8, 64(%rdi)
    mov %r9, 72(%rdi)
    mov %r10, 80(%rdi)
    mov %r11, 88(%rdi)
    mov %r12, 96(%rdi)
    mov %r13, 104(%rdi)
    mov %r14, 112(%rdi)
    mov %r15, 120(%rdi)
    pushfq
    pop RUN_FLAGS(%rdi)
    mov saved_rsp(%rip), %rax
    mov %rax, 32(%rdi)
    mov saved_rdi(%rip), %rax
    mov %rax, 56(%rdi)
    mov RUN_MASK(%rdi), %eax
    xor %edx, %edx
    mov RUN_AREA(%rdi), %rcx
    xsave64 (%rcx)
    xor %eax, %eax
    jmp 1f

/* Where the signal handler sends the thread. */
runner_recover:
    mov stack(%rip), %rsp
    mov $1, %eax
1:  push $0x202
    popfq
    fninit
    ldmxcsr mxcsr(%rip)
    vzeroupper
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size runner_enter, . - runner_enter

    .data
    .balign 8
mxcsr: .long 0x1f80
    .bss
    .balign 8
current: .skip 8
stack: .skip 8
code: .skip 8
saved_rsp: .skip 8
saved_rdi: .skip 8

    .section .note.GNU-stack, "", @progbits
