/*
 * Runs one instruction of the program with the program's registers.
 *
 * The program's rsp is never loaded: the stub runs on the stack of the caller,
 * so a signal that arrives in it is as safe as anywhere else. Layout of struct
 * stub_frame: plan.h. On the stack while the stub runs:
 *     0(%rsp) the stub, 8(%rsp) where it jumps when it is done, 16(%rsp) the frame
 */
#define FRAME_FLAGS 128
#define FRAME_LOAD 136
#define FRAME_SAVE 144
#define FRAME_AREA 152
#define FRAME_CODE 160

    .text

/* bool stub_enter(struct stub_frame *frame): 0, or 1 when the instruction faulted. */
    .globl stub_enter
    .hidden stub_enter
    .type stub_enter, @function
    .balign 16
stub_enter:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdi
    lea .Lback(%rip), %rax
    push %rax
    push FRAME_CODE(%rdi)

    mov FRAME_LOAD(%rdi), %rax
    test %rax, %rax
    jz 1f
    xor %edx, %edx
    mov FRAME_AREA(%rdi), %rcx
    xrstor64 (%rcx)
1:
    /*
     * The status flags are the program's; DF, TF, AC and the rest stay ours. Not by popfq, which takes longer than all
     * the rest: 0x7f + 1 overflows, and sahf sets the others.
     */
    mov FRAME_FLAGS(%rdi), %eax
    mov %eax, %ecx
    shr $11, %ecx
    and $1, %ecx
    mov %al, %ah
    add $0x7f, %cl
    sahf
    mov 0(%rdi), %rax
    mov 8(%rdi), %rcx
    mov 16(%rdi), %rdx
    mov 24(%rdi), %rbx
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
    jmp *(%rsp)

.Lback:
    push %rdi
    mov 24(%rsp), %rdi
    mov %rax, 0(%rdi)
    pop %rax
    mov %rax, 56(%rdi)
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
    lahf
    seto %al
    movzbl %ah, %ecx
    and $0xd5, %ecx
    movzbl %al, %eax
    shl $11, %eax
    or %ecx, %eax
    mov %rax, FRAME_FLAGS(%rdi)
    mov FRAME_SAVE(%rdi), %rax
    test %rax, %rax
    jz 2f
    xor %edx, %edx
    mov FRAME_AREA(%rdi), %rcx
    xsave64 (%rcx)
2:
    xor %eax, %eax

/* A state that C code can work in: what was loaded is back to the ABI's defaults. */
.Lleave:
    mov FRAME_LOAD(%rdi), %rcx
    test $0x01, %cl
    jz 3f
    fninit
3:
    test $0x06, %cl
    jz 4f
    ldmxcsr .Lmxcsr(%rip)
4:
    test $0xc4, %cl
    jz 5f
    vzeroupper
5:
    add $24, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret

/*
 * The fault handler sends a thread here whose stub faulted, with all registers as they were. A fault changes
 * no general register, but it may have set sticky bits of MXCSR or emptied the x87 stack for MMX.
 */
    .globl stub_abort
    .hidden stub_abort
stub_abort:
    mov 16(%rsp), %rdi
    mov FRAME_SAVE(%rdi), %rax
    test %rax, %rax
    jz 6f
    xor %edx, %edx
    mov FRAME_AREA(%rdi), %rcx
    xsave64 (%rcx)
6:
    mov $1, %eax
    jmp .Lleave
    .size stub_enter, . - stub_enter

/*
 * unsigned stub_fetch(u8 *dst, u64 src, unsigned n). A load that faults goes on at
 * stub_fetch_stop with eax as the count so far.
 */
    .globl stub_fetch, stub_fetch_load, stub_fetch_stop
    .hidden stub_fetch, stub_fetch_load, stub_fetch_stop
    .type stub_fetch, @function
    .balign 16
stub_fetch:
    xor %eax, %eax
stub_fetch_load:
    cmp $15, %edx
    jne 7f
    mov (%rsi), %rcx
    mov 7(%rsi), %r8
    mov %rcx, (%rdi)
    mov %r8, 7(%rdi)
    mov %edx, %eax
    ret
7:
    cmp %edx, %eax
    jae stub_fetch_stop
    movzbl (%rsi, %rax), %ecx
    mov %cl, (%rdi, %rax)
    inc %eax
    jmp 7b
stub_fetch_stop:
    ret
    .size stub_fetch, . - stub_fetch

    .section .rodata
    .balign 4
.Lmxcsr:
    .long 0x1f80

    .section .note.GNU-stack, "", @progbits
