/* Instructions whose memory is no plain ModRM operand, or whose address is what matters: AT&T syntax, complete. */
#ifndef MMIOSHIM_TESTS_DIFF_CASES_H
#define MMIOSHIM_TESTS_DIFF_CASES_H

#define CASES_ADDRESSES(X) \
    X("movabs 0x1122334455667788, %al") X("movabs 0x1122334455667788, %ax") X("movabs 0x1122334455667788, %eax") \
    X("movabs 0x1122334455667788, %rax") X("movabs %al, 0x1122334455667788") X("movabs %ax, 0x1122334455667788") \
    X("movabs %eax, 0x1122334455667788") X("movabs %rax, 0x1122334455667788") X("mov 0x12345678, %ecx") \
    X("mov %ecx, 0x12345678") X("addr32 mov 0x12345678, %ecx") X("mov 0x12345678(%rip), %rdx") \
    X(".byte 0x67, 0x88, 0x15, 0, 0, 0, 0") X("mov (%r12), %r12") X("mov (%r13), %r13d") X("mov (%rsp), %rsp") \
    X("mov %rsp, (%rsp)") X("mov 8(%rsp), %sp") X("mov (%rbp), %ebp") X("mov (%rax,%rax,8), %rax") \
    X("mov (%rbp,%rbp), %bp") X("mov %r9b, (%r9,%r9,4)") X("mov 0x12345678(,%r12,8), %ecx") \
    X("mov %ecx, 0x7f(%rsp,%r12,4)") X("mov %gs:0x12345678, %ecx") X("mov %gs:(%rax), %rax") X("mov %fs:(%rax), %ecx") \
    X("mov %cl, %fs:0x10(%rax,%rbx,2)") X("mov %ds:(%rax), %cl") X("mov %ss:(%rax), %cl") X("mov %cs:(%rax), %cx") \
    X("mov %es:(%rsp), %rcx") X("mov (%eax), %al") X("mov %rax, (%esp,%ebp,8)") X("mov -1(%r8d,%r15d), %r8d") \
    X("data16 mov (%rax), %rcx") X(".byte 0x48, 0x66, 0x89, 0x08") X(".byte 0x48, 0x66, 0x8b, 0x08") \
    X(".byte 0x66, 0x63, 0x08") X(".byte 0x63, 0x08") X(".byte 0x66, 0x48, 0x63, 0x08") X(".byte 0x40, 0x88, 0x20") \
    X(".byte 0x49, 0x64, 0x48, 0x89, 0x08") X(".byte 0x4f, 0x67, 0x8b, 0x08") X(".byte 0xf2, 0x89, 0x08") \
    X("xacquire lock incl (%rax)") X("xrelease lock decl (%rax)") X("xrelease movl %ecx, (%rax)") \
    X("xrelease movb $1, (%rax)") X("mov %ah, (%rcx)") X("mov (%rax), %ah") X("mov (%rbx), %bh") X("xchg %ah, (%rcx)") \
    X("add (%rax), %rax") X("add %rax, (%rax)") X("imul $3, (%rsp), %rsp") X("cmpxchg %rcx, (%rax)") \
    X("lock cmpxchg %ecx, (%rax)") X("cmpxchg8b (%rsi)") X("cmpxchg16b (%rsi)") X("lock cmpxchg16b (%rsi)") \
    X("cmpxchg8b (%rax)") X("lock cmpxchg8b (%rdx)") X("xadd %rax, (%rax)") X("lock xadd %rsp, (%rsp)") \
    X("bt %rax, (%rax)") X("bts %ecx, (%rdx)") X("lock btr %r8, (%rdx,%r8)") X("btc %dx, (%rax)") \
    X("lock btc %rsp, (%rax)") \
    X("btw $77, (%rax)") X("crc32b (%rax), %rax") X("xlatb") X("addr32 xlatb") X(".byte 0x65, 0xd7") \
    X("movdiri %rcx, (%rax)") \
    X("movdiri %ecx, (%rsp)") X("movdir64b (%rax), %rcx") X("movdir64b (%rax), %rax") X("movdir64b (%eax), %ecx") \
    X("clflush (%rax)") X("clflushopt (%rax)") X("clwb (%rax)") X("cldemote (%rax)") X("prefetcht0 (%rax)") \
    X("prefetcht1 (%rax)") X("prefetcht2 (%rax)") X("prefetchnta (%rax)") X("prefetchw (%rax)") X("nopl 8(%rax)")

#define STRINGS(X, op) \
    X(op "b") X(op "w") X(op "l") X(op "q") X("rep " op "b") X("rep " op "w") X("rep " op "l") X("rep " op "q") \
    X("repne " op "b") X("repne " op "l") X("repne " op "q") X("addr32 " op "b") X("addr32 rep " op "l") \
    X("addr32 repne " op "q") X("data16 rep " op "b")

#define CASES_STRING(X) \
    STRINGS(X, "movs") STRINGS(X, "cmps") STRINGS(X, "stos") STRINGS(X, "lods") STRINGS(X, "scas") \
    X("rep movsb %gs:(%rsi), %es:(%rdi)") X("repe cmpsw %es:(%rdi), %gs:(%rsi)") X("lodsq %gs:(%rsi), %rax") \
    X(".byte 0x48, 0xf3, 0xa4") X(".byte 0x48, 0xf3, 0xa6") X(".byte 0x48, 0xf3, 0xaa") X(".byte 0x48, 0xf3, 0xac") \
    X(".byte 0x48, 0xf3, 0xae") \
    X("rep lodsb %gs:(%esi), %al") X(".byte 0xf2, 0xf3, 0xa6") X(".byte 0xf3, 0xf2, 0xa6")

#define CASES_STACK(X) \
    X("push %rax") X("push %rsp") X("push %r12") X("pushw %cx") X("pushq $0x12345678") X("pushq $-5") \
    X("pushw $0x1234") \
    X("push %fs") X("push %gs") X("pushw %fs") X("pushfq") X("pushfw") X("pop %rax") X("pop %rsp") X("pop %r13") \
    X("popw %cx") \
    X("popw %sp") X("popfq") X("popfw") X("pushq (%rax)") X("pushq 8(%rsp)") X("pushw (%rax)") X("pushq (%eax)") \
    X("pushq %gs:(%rax)") X("popq (%rax)") X("popq (%rsp)") X("popq -8(%rsp)") X("popw 2(%rsp)") X("popw (%rax)") \
    X("popq (%esp)") X("call *(%rax)") X("call *8(%rsp)") X("call *(%eax)") X("jmp *(%rax)") X("jmp *(%rsp)") \
    X("jmp *(%rsp,%rbx)") \
    X("call *%rax") X("call .+5") X("ret") X("ret $16") X("rep ret") X("leave") X(".byte 0x66, 0xc9") \
    X("enter $16, $0") \
    X("enter $16, $1") X("enter $32, $5") X(".byte 0x66, 0xc8, 8, 0, 3")

#define CASES_VECTOR(X) \
    X("maskmovq %mm1, %mm2") X("maskmovdqu %xmm1, %xmm2") X("vmaskmovdqu %xmm3, %xmm4") \
    X("addr32 maskmovdqu %xmm1, %xmm2") \
    X("vpgatherdd %ymm0, (%rax,%ymm1,4), %ymm2") X("vpgatherdd %xmm0, (%rax,%xmm1,1), %xmm2") \
    X("vpgatherqd %xmm0, (%rax,%ymm1,2), %xmm2") X("vpgatherdq %ymm0, (%rax,%xmm1,8), %ymm2") \
    X("vpgatherqq %ymm0, (%rax,%ymm1,1), %ymm2") X("vgatherdps %ymm8, (%r8,%ymm9,4), %ymm10") \
    X("vgatherqpd %xmm0, (%rsp,%xmm1,1), %xmm2") X("vgatherdpd %xmm0, %gs:(%rax,%xmm1,1), %xmm2") \
    X("vpgatherdd (%rax,%zmm1,4), %zmm2{%k1}") X("vpgatherdd (%rax,%xmm1,4), %xmm20{%k1}") \
    X("vpgatherqq (%rax,%zmm31,1), %zmm16{%k2}") X("vgatherdpd (%rax,%ymm1,8), %zmm2{%k3}") \
    X("vgatherqps (%rax,%zmm1,4), %ymm2{%k4}") X("vpscatterdd %zmm2, (%rax,%zmm1,4){%k1}") \
    X("vpscatterqq %zmm16, (%rax,%zmm31,1){%k2}") X("vscatterdpd %zmm2, (%rax,%ymm1,8){%k3}") \
    X("vscatterqps %ymm2, (%rax,%zmm1,4){%k4}") X("vpscatterdd %xmm20, (%rsp,%xmm21,1){%k5}") \
    X("fxsave (%rax)") X("fxsave64 (%rsp)") X("fxrstor (%rax)") X("fxrstor64 (%rsp)") X("fldcw (%rax)") \
    X("ldmxcsr (%rax)") \
    X("fldenv (%rax)") X("frstor (%rax)") X("fnsave (%rax)") X("fnstenv (%rsp)") X("fstpt (%rsp)") X("fldt (%rsp)") \
    X("movntdqa (%rax), %xmm1") X("movntdq %xmm1, (%rax)") X("movntps %xmm1, (%rax)") X("movnti %rcx, (%rax)") \
    X("vmovntdq %zmm1, (%rax)") X("vmovntpd %ymm1, (%rax)")

/* Images of the extended state; the last two are the kernel's. */
#define CASES_XSAVE(X) \
    X("xsave (%rbx)") X("xsave64 (%rsp)") X("xsave 64(%rbx,%rcx,2)") X("xsave64 %gs:(%rdi)") X("addr32 xsave (%ebx)") \
    X("xsave 0x12345678(%rip)") X("xsave (%rax)") X("xsaveopt (%rbx)") X("xsaveopt64 -64(%rbp)") \
    X("xsaveopt64 (%r12,%r13,8)") X("xsaveopt (%rdx)") X("xsavec (%rbx)") X("xsavec64 (%rsp)") \
    X("xsavec64 128(%rsp,%r15)") X("xsavec (%rax,%rcx)") X("xrstor (%rbx)") X("xrstor64 (%rsp)") \
    X("xrstor 64(%rbx,%rcx,2)") X("xrstor64 %gs:(%rdi)") X("addr32 xrstor (%ebx)") X("xrstor64 0x12345678(%rip)") \
    X("xrstor (%r13)") X("xrstor64 (%rax)") X("fxsave (%rbx)") X("fxsave64 16(%rsp)") X("fxsave %gs:(%rax,%rcx)") \
    X("fxrstor (%rbx)") X("fxrstor64 16(%rsp)") X("fxrstor %gs:(%rax,%rcx)") X("xsaves (%rbx)") X("xrstors (%rbx)")

#define CASES_SEGMENTS(X) \
    X("mov (%rax), %ds") X("mov (%rbx), %es") X("mov (%rcx), %gs") X("mov (%rsp), %ss") X("mov 8(%rsp,%rax), %gs") \
    X("data16 mov (%rax), %es") X("rex.W mov (%rax), %gs") X("mov %gs:(%rax), %gs") X("mov (%eax), %ds") \
    X("lgs (%rax), %ecx") X("lgs (%rax), %cx") X(".byte 0x48, 0x0f, 0xb5, 0x23") X("lss (%rcx), %edx") X(".byte 0x48, 0x0f, 0xb2, 0x00") \
    X("pop %gs") X("data16 pop %gs") X("push %gs") X("push %fs") X("data16 push %gs") X("mov %ds, (%rax)") \
    X("mov %gs, (%rbx)") X("mov %es, (%rsp)")

/* These fault by themselves, mostly: division, the second operand, alignment, exceptions that are unmasked. */
#define CASES_FAULTS(X) \
    X("divb (%rax)") X("divw (%rbx)") X("divl (%rbx)") X("divq (%rbx)") X("idivb (%rbx)") X("idivw (%rbx)") \
    X("idivl (%rbx)") \
    X("idivq (%rbx)") X("divps (%rax), %xmm1") X("sqrtpd (%rax), %xmm1") X("vdivps (%rax), %zmm1, %zmm2{%k1}") \
    X("vcvtps2dq (%rax), %ymm1") X("cvtsd2si (%rax), %ecx") X("movaps (%rax), %xmm1") X("movntps %xmm1, (%rax)") \
    X("vmovdqa64 (%rax), %zmm1") X("fdivl (%rax)") X("fldl (%rax)") X("fistpl (%rax)") X("fstps (%rax)") \
    X("cmpxchg16b (%rbx)") X("movdir64b (%rax), %rcx") X("fxrstor (%rax)") X("ldmxcsr (%rax)") X("call *(%rax)") \
    X("ret") \
    X("popq (%rax)") X("pushq (%rax)") X("rep movsq") X("repe cmpsb") X("lock addl $1, %fs:(%rax)") \
    X("ud1 (%rax), %ecx") \
    X("lgdt (%rax)") X("lldt (%rax)") X("invlpg (%rax)") X("vmptrld (%rax)") X("fbstp (%rax)")

#endif
