/* flags: -O1 -no-pie -rdynamic */
/*
 * A signal at every single instruction of an access to a window, by a tracer
 * that attaches when the access's site has been used often, steps and injects:
 * the handler must find the program before the access or behind it, in every
 * register, and the access must be made once.
 *
 * What is right is known from a twin of the same code that uses ordinary memory.
 *     f_inject MODE [NAME...]
 */
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include <linux/elf.h>

#include "f_tracer.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

#define STATUS 0x8d5u /* CF PF AF ZF SF OF */
#define FLAGS  (STATUS | 0x400u)
#define MEMORY 64

/* ---- the code: everything is loaded, the code runs, everything is stored ---- */

struct registers {
    uint64_t gpr[16], flags;
    uint64_t unused;
    uint8_t vector[16][32];
    uint8_t red_zone[128];
};

_Static_assert(offsetof(struct registers, vector) == 144 && offsetof(struct registers, red_zone) == 656, "the assembler");

struct registers inject_in __asm__("inject_in") __attribute__((used, aligned(32)));
struct registers inject_out __asm__("inject_out") __attribute__((used, aligned(32)));
const void *inject_code __asm__("inject_code") __attribute__((used));
uint64_t inject_stack __asm__("inject_stack") __attribute__((used));
void inject_run(void);
extern const char inject_leave[];

#define LOAD_V(n) "vmovdqu inject_in+144+32*" #n "(%rip), %ymm" #n "\n"
#define STORE_V(n) "vmovdqu %ymm" #n ", inject_out+144+32*" #n "(%rip)\n"
#define LOAD_R(n, r) "mov inject_in+8*" #n "(%rip), %" #r "\n"
#define STORE_R(n, r) "mov %" #r ", inject_out+8*" #n "(%rip)\n"
#define EACH_V(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
#define EACH_R(f)                                                                                              \
    f(0, rax) f(1, rcx) f(2, rdx) f(3, rbx) f(5, rbp) f(6, rsi) f(7, rdi) f(8, r8) f(9, r9) f(10, r10)         \
    f(11, r11) f(12, r12) f(13, r13) f(14, r14) f(15, r15)
/* The frame of inject_run, whose stack the code runs on: 4096 bytes down. */
#define FRAME                                                                                                  \
    ".cfi_def_cfa rsp, 4096+56\n .cfi_offset rbx, -16\n .cfi_offset rbp, -24\n .cfi_offset r12, -32\n"         \
    ".cfi_offset r13, -40\n .cfi_offset r14, -48\n .cfi_offset r15, -56\n"

__asm__(".text\n .globl inject_run, inject_leave\n .type inject_run, @function\n"
        "inject_run: .cfi_startproc\n"
        "push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n mov %rsp, inject_stack(%rip)\n"
        "lea -4096(%rsp), %rsp\n" FRAME EACH_V(LOAD_V)
        "lea -128(%rsp), %rdi\n mov $128, %ecx\n mov $0x5a, %eax\n rep stosb\n"
        "mov %rsp, inject_in+8*4(%rip)\n pushq inject_in+128(%rip)\n popfq\n movq $0x5a5a5a5a5a5a5a5a, %rax\n"
        "mov %rax, -8(%rsp)\n" EACH_R(LOAD_R)
        "jmp *inject_code(%rip)\n"
        "inject_leave:\n" STORE_R(4, rsp)
        "movq -8(%rsp), %rsp\n" /* the red zone's last part: pushfq goes there */
        "xchg %rsp, inject_out+136(%rip)\n mov inject_out+32(%rip), %rsp\n"
        "pushfq\n popq inject_out+128(%rip)\n cld\n" EACH_R(STORE_R) EACH_V(STORE_V)
        "lea -128(%rsp), %rsi\n lea inject_out+656(%rip), %rdi\n mov $15, %ecx\n rep movsq\n"
        "mov inject_out+136(%rip), %rax\n mov %rax, (%rdi)\n"
        "mov inject_stack(%rip), %rsp\n .cfi_def_cfa rsp, 56\n"
        "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n"
        ".cfi_endproc\n .size inject_run, . - inject_run\n");

#define CODE(name, text)                                                                                       \
    extern const char name##_site[], name##_site_end[], name##_twin[], name##_twin_end[];                      \
    __asm__(".text\n .balign 64, 0xcc\n .globl " #name "_site, " #name "_site_end\n"                            \
            ".type " #name "_site, @function\n" #name "_site: .cfi_startproc\n" FRAME text "\n"                 \
            #name "_site_end: jmp inject_leave\n .cfi_endproc\n .size " #name "_site, . - " #name "_site\n"      \
            ".pushsection .twins, \"ax\"\n .balign 64, 0xcc\n .globl " #name "_twin, " #name "_twin_end\n"       \
            #name "_twin: .cfi_startproc\n" FRAME text "\n"                                                      \
            #name "_twin_end: jmp inject_leave\n .cfi_endproc\n .popsection\n");

/*
 * name, register that leads to the operand, flags that the first instruction overwrites unread, reads, writes, code.
 * The operand is 64 bytes, aligned to 64.
 */
#define INTEGER(X)                                                                                             \
    X(load, RBX, 0, 1, 0, "movl (%rbx), %ecx")                                                                 \
    X(load_ax, RBX, 0, 1, 0, "movzwl 2(%rbx), %eax")                                                           \
    X(load_sign, RBX, 0, 1, 0, "movsbq 3(%rbx), %r11")                                                         \
    X(load_over_base, RAX, 0, 1, 0, "movq (%rax), %rax")                                                       \
    X(load_base_rax, RAX, 0, 1, 0, "movl 4(%rax), %edx")                                                       \
    X(load_base_rcx, RCX, 0, 1, 0, "movb 5(%rcx), %ah")                                                        \
    X(load_base_r11, R11, 0, 1, 0, "movslq 8(%r11), %r11")                                                     \
    X(load_base_rsp, RAX, 0, 1, 0, "movl (%rsp,%rax), %edx")                                                   \
    X(store, RBX, 0, 0, 1, "movl %ecx, (%rbx)")                                                                \
    X(store_value, RBX, 0, 0, 1, "movl $0x11223344, 8(%rbx)")                                                  \
    X(store_rax, RBX, 0, 0, 1, "movq %rax, 8(%rbx)")                                                           \
    X(store_base_rax, RAX, 0, 0, 1, "movq %rax, (%rax)")                                                       \
    X(store_base_rcx, RCX, 0, 0, 1, "movw %ax, 6(%rcx)")                                                       \
    X(store_base_r11, R11, 0, 0, 1, "movb %r11b, 1(%r11)")                                                     \
    X(store_base_rsp, RAX, 0, 0, 1, "movq %rcx, 16(%rsp,%rax)")                                                \
    X(add, RBX, STATUS, 1, 1, "addl %ecx, (%rbx)")                                                             \
    X(adc, RBX, 0, 1, 1, "adcq %rax, (%rbx)")                                                                  \
    X(xadd, RBX, STATUS, 1, 1, "xaddl %ecx, (%rbx)")                                                           \
    X(inc, RBX, STATUS & ~1u, 1, 1, "incl (%rbx)\n adcl $0, %edx")                                             \
    X(cmpxchg, RBX, STATUS, 1, 1, "cmpxchgl %ecx, 32(%rbx)")                                                   \
    X(cmpxchg_other, RBX, STATUS, 1, 1, "cmpxchgl %ecx, (%rbx)")                                               \
    X(lock_add, R11, STATUS, 1, 1, "lock addl %eax, (%r11)")                                                   \
    X(lock_xadd, RBX, STATUS, 1, 1, "lock xaddq %r11, (%rbx)")                                                 \
    X(xchg, RBX, 0, 1, 1, "xchgl %eax, (%rbx)")                                                                \
    X(shl, RBX, 0, 1, 1, "shll %cl, (%rbx)")                                                                   \
    X(not_, RCX, 0, 1, 1, "notb 7(%rcx)")                                                                      \
    X(cmp_jump, RBX, STATUS, 1, 0, "cmpl $5, (%rbx)\n jl 1f\n incl %eax\n 1: setc %al")                        \
    X(test_jump, RBX, STATUS, 1, 0, "testb $1, 1(%rbx)\n jne 1f\n incl %eax\n 1: sets %dl")                    \
    X(cmp_set, RBX, STATUS, 1, 0, "cmpl (%rbx), %eax\n adcl $0, %edx\n sete %cl")                              \
    X(setc_, RBX, 0, 0, 1, "setc 9(%rbx)")                                                                     \
    X(cmov, RBX, 0, 1, 0, "cmovcl (%rbx), %r11d")                                                              \
    X(followed, RBX, STATUS, 1, 0, "movl (%rbx), %ecx\n addl %ecx, %eax\n movl %eax, %edx\n leal 1(%rax), %ecx")       \
    X(followed_short, RBX, STATUS, 1, 0, "movl (%rbx), %eax\n xchgl %eax, %ecx\n cwtl\n negl %ecx\n pushq %rcx\n .cfi_adjust_cfa_offset 8\n popq %r11\n .cfi_adjust_cfa_offset -8") \
    X(followed_jump, RBX, STATUS, 1, 0, "movb (%rbx), %cl\n testb %cl, %cl\n jz 1f\n incl %r11d\n 1: nop")
#define SEVERAL(X)                                                                                             \
    X(poll, RBX, 0, 2, 0, "movl (%rbx), %ecx\n movl 4(%rbx), %eax")                                            \
    X(copy, RBX, 0, 1, 2, "movl (%rbx), %eax\n movl %eax, 4(%rbx)\n movb %al, (%rbx)")                          \
    X(update, RBX, STATUS, 2, 2, "movl (%rbx), %eax\n addl $7, %eax\n movl %eax, (%rbx)\n incb (%rbx)\n adcb $0, %al")
#define VECTOR(X)                                                                                              \
    X(movdqu, RBX, 0, 1, 0, "movdqu (%rbx), %xmm3")                                                            \
    X(movaps, RBX, 0, 1, 0, "movaps (%rbx), %xmm12")                                                           \
    X(movdqu_to, RBX, 0, 0, 1, "movdqu %xmm3, 16(%rbx)")                                                       \
    X(movaps_to, RAX, 0, 0, 1, "movaps %xmm5, 32(%rax)")                                                       \
    X(paddd, RCX, 0, 1, 0, "paddd (%rcx), %xmm4")                                                              \
    X(movq_to, R11, 0, 0, 1, "movq %xmm7, 8(%r11)")                                                            \
    X(ucomiss, RBX, STATUS, 1, 0, "ucomiss (%rbx), %xmm1\n setp %al")                                          \
    X(vmovdqu, RBX, 0, 1, 0, "vmovdqu (%rbx), %ymm6")                                                          \
    X(vmovdqu_to, RBX, 0, 0, 1, "vmovdqu %ymm6, 32(%rbx)")
#define ALL(X) INTEGER(X) SEVERAL(X) VECTOR(X)

#define CODE_OF(name, base, dead, reads, writes, text) CODE(name, text)
ALL(CODE_OF)
static const struct form {
    const char *name, *site, *end, *twin, *twin_end;
    uint32_t base, dead, reads, writes;
} forms[] = {
#define FORM(name, base, dead, reads, writes, text) \
    {#name, name##_site, name##_site_end, name##_twin, name##_twin_end, base, dead, reads, writes},
    ALL(FORM)
};
#define FORMS (sizeof(forms) / sizeof(forms[0]))

/* ---- what both sides share ---- */

struct state { /* of the program in front of an instruction */
    uint64_t offset, gpr[16], flags;
    uint8_t vector[16][32], memory[MEMORY];
};

static struct shared {
    volatile uint64_t handled, at_site, elsewhere, left, wrong, depth;
    uint64_t reads, writes; /* that the child has made */
    uint64_t nstates, jumped, jumped_at;
    int detached;
    char what[200];
    struct state states[16];
} *shared;

static uint8_t memory[MEMORY] __attribute__((aligned(64)));
#define WINDOW  ((uint8_t *)0x40000040)
#define SCRATCH ((volatile uint8_t *)0x10000007) /* the UART's */

static const char *mode;
static const struct form *form;
static int ready[2], go[2];

static bool in_mode(const char *name)
{
    return strcmp(mode, name) == 0;
}

static void complain(const char *what, uint64_t a, uint64_t b)
{
    if (!shared->wrong++)
        snprintf(shared->what, sizeof(shared->what), "%s: %#lx, not %#lx", what, (unsigned long)a, (unsigned long)b);
}

/* ---- the child ---- */

static sigset_t own_mask;
static sigjmp_buf jump;
static char *alternate;

#define ALTERNATE 65536

static __attribute__((noinline)) void window_get(uint8_t *to)
{
    for (unsigned i = 0; i < MEMORY; i += 8)
        *(uint64_t *)(to + i) = *(volatile uint64_t *)(WINDOW + i);
    shared->reads += MEMORY / 8;
}

static __attribute__((noinline)) void window_put(const uint8_t *from)
{
    for (unsigned i = 0; i < MEMORY; i += 8)
        *(volatile uint64_t *)(WINDOW + i) = *(const uint64_t *)(from + i);
    shared->writes += MEMORY / 8;
}

/* Of every kind: whatever a thread keeps of an access is another's afterwards. */
static __attribute__((noinline)) void use_other_device(void)
{
    uint8_t value = *SCRATCH, now;

    *SCRATCH = (uint8_t)(value + 1);
    __asm__ volatile("addb $3, %0" : "+m"(*SCRATCH) : : "cc");
    now = *SCRATCH;
    if (now != (uint8_t)(value + 4))
        complain("the other device", now, value + 4u);
    shared->reads += 3;
    shared->writes += 2;
}

static void initial(uint8_t *bytes)
{
    for (unsigned i = 0; i < MEMORY; i++)
        bytes[i] = (uint8_t)(i * 37 + 0x83);
    memcpy(bytes + 32, "\x07\x06\x05\x04", 4);
}

static uint64_t address_of(uint64_t operand)
{
    return form->base == RAX && strstr(form->name, "rsp") ? operand - inject_in.gpr[RSP] : operand;
}

static void load_registers(uint8_t *operand)
{
    for (unsigned i = 0; i < 16; i++)
        if (i != RSP)
            inject_in.gpr[i] = 0x8123456789abcd00ull + i * 0x0101010101010101ull;
    inject_in.gpr[RAX] = 0xfedcba9804050607ull; /* as the memory at 32: cmpxchg */
    inject_in.gpr[form->base] = address_of((uint64_t)operand);
    inject_in.flags = 0x202 | 0x1 | 0x10 | 0x80 | 0x400 | 0x800;
    for (unsigned i = 0; i < 16; i++)
        for (unsigned j = 0; j < 32; j++)
            inject_in.vector[i][j] = (uint8_t)(i * 16 + j + 1);
}

static __attribute__((noinline)) void run(const char *code, uint8_t *operand)
{
    inject_code = code;
    load_registers(operand);
    inject_run();
}

/* The program at the instruction that it is said to be in front of; NULL: it is not there. */
static const struct state *state_at(uint64_t rip)
{
    for (unsigned i = 0; i < shared->nstates; i++)
        if (rip == (uint64_t)form->site + shared->states[i].offset)
            return &shared->states[i];
    return rip == (uint64_t)inject_leave ? &shared->states[shared->nstates - 1] : NULL;
}

/* The twin's base register holds another address. */
static uint64_t expected(const struct state *s, unsigned i)
{
    return s->gpr[i] == address_of((uint64_t)memory) ? address_of((uint64_t)WINDOW) : s->gpr[i];
}

static void check_registers(const struct state *s, const uint64_t *gpr, uint64_t flags, const char *where)
{
    bool last = s == &shared->states[shared->nstates - 1];
    uint64_t care = FLAGS & ~(uint64_t)(last ? 0 : form->dead);
    char what[40];

    for (unsigned i = 0; i < 16; i++)
        if (gpr[i] != expected(s, i)) {
            snprintf(what, sizeof(what), "register %u %s %u", i, where, (unsigned)s->offset);
            complain(what, gpr[i], expected(s, i));
        }
    snprintf(what, sizeof(what), "flags %s %u", where, (unsigned)s->offset);
    if ((flags ^ s->flags) & care)
        complain(what, flags & FLAGS, s->flags & FLAGS);
}

static void check_memory(const struct state *s)
{
    uint8_t want[MEMORY], found[MEMORY];

    window_get(found);
    memcpy(want, s->memory, MEMORY);
    if (strcmp(form->name, "store_base_rax") == 0 && memcmp(want, &(uint64_t){(uint64_t)memory}, 8) == 0)
        memcpy(want, &(uint64_t){(uint64_t)WINDOW}, 8);
    if (strcmp(form->name, "store_base_r11") == 0 && want[1] == (uint8_t)(uint64_t)memory)
        want[1] = (uint8_t)(uint64_t)WINDOW;
    for (unsigned i = 0; i < MEMORY; i++)
        if (found[i] != want[i]) {
            complain("a byte of the window", (uint64_t)i << 8 | found[i], (uint64_t)i << 8 | want[i]);
            break;
        }
}

/* Low halves, then, if they are not in their initial state, the high ones (SDM vol. 1, 13.4). */
static void check_frame_vectors(const struct state *s, const ucontext_t *uc)
{
    const uint8_t *area = (const uint8_t *)uc->uc_mcontext.fpregs;
    uint64_t present = *(const uint64_t *)(area + 512);
    static const uint8_t zero[16];

    for (unsigned i = 0; i < 16; i++) {
        if (memcmp(present & 2 ? area + 160 + 16 * i : zero, s->vector[i], 16) != 0)
            complain("a vector register in the frame", i, s->offset);
        if (memcmp(present & 4 ? area + 576 + 16 * i : zero, s->vector[i] + 16, 16) != 0)
            complain("the high half of a vector register in the frame", i, s->offset);
    }
}

static void check_frame(const struct state *s, const ucontext_t *uc)
{
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    uint64_t gpr[16];

    for (unsigned i = 0; i < 16; i++)
        gpr[i] = (uint64_t)uc->uc_mcontext.gregs[order[i]];
    check_registers(s, gpr, (uint64_t)uc->uc_mcontext.gregs[REG_EFL], "in the frame at");
    check_frame_vectors(s, uc);
    check_memory(s);
    if (memcmp(&uc->uc_sigmask, &own_mask, 8) != 0)
        complain("the mask in the frame", *(const uint64_t *)&uc->uc_sigmask, *(uint64_t *)&own_mask);
}

static void check_stack(int sig, const ucontext_t *uc)
{
    uint64_t here = (uint64_t)__builtin_frame_address(0), sp = (uint64_t)uc->uc_mcontext.gregs[REG_RSP];
    bool on = here - (uint64_t)alternate < ALTERNATE;
    sigset_t now, want = own_mask;

    if (on != in_mode("onstack"))
        complain("the handler's stack", here, sp);
    if (!on && (here > sp - 128 || here < sp - 32768))
        complain("the handler's place on the stack", here, sp);
    if (uc->uc_stack.ss_sp != alternate || uc->uc_stack.ss_size != ALTERNATE)
        complain("the alternate stack in the frame", (uint64_t)uc->uc_stack.ss_sp, (uint64_t)alternate);
    sigprocmask(SIG_SETMASK, NULL, &now);
    sigaddset(&want, SIGALRM); /* of the action's mask */
    if (!in_mode("nodefer"))
        sigaddset(&want, sig);
    if (!in_mode("several") && !in_mode("entry") && !shared->depth && memcmp(&now, &want, 8) != 0)
        complain("the mask in the handler", *(uint64_t *)&now, *(uint64_t *)&want);
}

static void *reference[32];
static int nreference;

/* The frames of the program's functions are those that the twin has shown, but for the code's own. */
static void check_backtrace(const ucontext_t *uc)
{
    void *frames[32];
    int n = backtrace(frames, 32), at = -1, main_at = -1;
    Dl_info info;

    for (int i = 0; i < n && at < 0; i++)
        if (frames[i] == (void *)uc->uc_mcontext.gregs[REG_RIP])
            at = i;
    for (int i = 0; i < n; i++)
        if (dladdr(frames[i], &info) && info.dli_sname && strcmp(info.dli_sname, "main") == 0)
            main_at = i;
    if (at < 0 || main_at < at)
        complain("frames", (uint64_t)at, (uint64_t)main_at);
    else if (!nreference)
        memcpy(reference, frames + at, (nreference = n - at) * sizeof(reference[0]));
    else if (nreference != n - at || memcmp(reference + 1, frames + at + 1, (n - at - 1) * sizeof(reference[0])) != 0)
        complain("number of frames", (uint64_t)(n - at), (uint64_t)nreference);
}

static void handler(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
    const struct state *s = state_at(rip);

    shared->handled++;
    if (info->si_signo != sig)
        complain("si_signo", (uint64_t)info->si_signo, (uint64_t)sig);
    use_other_device();
    if (in_mode("profile"))
        check_backtrace(uc);
    check_stack(sig, uc);
    if (s) {
        shared->at_site++;
        check_frame(s, uc);
    } else if (in_mode("several") || in_mode("entry") || (in_mode("nodefer") && shared->depth)) { /* on top of another one */
        shared->elsewhere++;
    } else if (form) {
        complain("rip", rip, (uint64_t)form->site);
    }
    if (in_mode("nodefer") && !shared->depth) {
        shared->depth++;
        raise(sig);
        shared->depth--;
    }
    use_other_device();
    if (in_mode("jump") && s) {
        shared->jumped_at = s->offset;
        siglongjmp(jump, 1);
    }
    shared->left++;
}

static void others(int sig, siginfo_t *info, void *context)
{
    handler(sig, info, context);
}

static void set_handlers(void)
{
    static const int signals[] = {SIGUSR1, SIGUSR2, SIGPROF, SIGSEGV};
    struct sigaction act = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    stack_t stack = {.ss_size = ALTERNATE};

    alternate = stack.ss_sp = mmap(NULL, ALTERNATE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigaltstack(&stack, NULL);
    act.sa_flags |= in_mode("onstack") ? SA_ONSTACK : in_mode("nodefer") ? SA_NODEFER : 0;
    sigaddset(&act.sa_mask, SIGALRM);
    for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaction(signals[i], &act, NULL);
    act.sa_sigaction = others;
    sigaction(SIGRTMIN + 2, &act, NULL);
    sigemptyset(&own_mask);
    sigaddset(&own_mask, SIGHUP);
    sigprocmask(SIG_SETMASK, &own_mask, NULL);
}

#define HOT 14 /* runs until all of it is patched */

/* All sites are used, as a program does that nobody traces. */
static void heat(void)
{
    uint8_t bytes[MEMORY];

    initial(bytes);
    run(inject_leave, memory);
    for (unsigned i = 0; i < HOT; i++) {
        use_other_device();
        window_put(bytes);
        run(form->site, WINDOW);
        shared->reads += form->reads;
        shared->writes += form->writes;
        window_get(bytes);
        initial(bytes);
    }
    if (memcmp(form->site, form->twin, (size_t)(form->end - form->site)) == 0)
        complain("not patched", 0, 0);
}

static void check_end(void)
{
    const struct state *last = &shared->states[shared->nstates - 1];

    check_registers(last, inject_out.gpr, inject_out.flags, "at the end at");
    for (unsigned i = 0; i < 16; i++)
        if (memcmp(inject_out.vector[i], last->vector[i], 32) != 0)
            complain("a vector register at the end", i, 0);
    for (unsigned i = 0; i < sizeof(inject_out.red_zone); i++)
        if (inject_out.red_zone[i] != 0x5a && form->base == RBX && !strstr(form->name, "short"))
            complain("the red zone", inject_out.red_zone[i], 0x5a);
    check_memory(last);
    shared->reads += form->reads;
    shared->writes += form->writes;
}

/* Only for code of one access, its first instruction. */
static void check_jump(void)
{
    bool before = !shared->jumped_at;
    sigset_t now;

    check_memory(&shared->states[before ? 0 : shared->nstates - 1]);
    shared->reads += before ? 0 : form->reads;
    shared->writes += before ? 0 : form->writes;
    sigprocmask(SIG_SETMASK, NULL, &now);
    if (memcmp(&now, &own_mask, 8) != 0)
        complain("the mask after siglongjmp", *(uint64_t *)&now, *(uint64_t *)&own_mask);
}

/* The tracer, if there is one, gets the child; it goes away, and comes again, where it said so. */
static void meet(void)
{
    char byte = 0;

    if (shared->detached) {
        if (write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1)
            _exit(3);
    }
    __asm__ volatile("int3" : : : "memory");
}

static __attribute__((noinline)) void once(const char *code, uint8_t *operand)
{
    uint8_t bytes[MEMORY];

    initial(bytes);
    initial(memory);
    window_put(bytes);
    run(inject_leave, operand); /* where is the stack? */
    meet();
    if (sigsetjmp(jump, 1) == 0) {
        run(code, operand); /* the twin's registers are those of the first run, and so from the same place */
        if (code == form->site)
            check_end();
    } else {
        shared->jumped++;
        check_jump();
    }
}

static void child(void)
{
    void *warm[2];

    backtrace(warm, 2); /* it loads a library */
    set_handlers();
    heat();
    if (in_mode("fault")) {
        signal(SIGSEGV, SIG_DFL);
        run(inject_leave, memory);
        meet();
        shared->detached = 0;
        run(form->site, NULL);
    }
    for (bool first = true;; first = false)
        once(first ? form->twin : form->site, first ? memory : WINDOW);
}

/* ---- the tracer ---- */

static void ended(int status)
{
    printf("%s %s: ended: %#x, %s\n", mode, form->name, (unsigned)status, shared->what);
    exit(1);
}

static void break_at(pid_t pid, uint64_t at)
{
    if (at)
        ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[0]), at);
    if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), at ? 1 : 0) != 0) {
        perror("debug registers");
        exit(1);
    }
}

/* Waits for the child's own int3, false, or the breakpoint, true; signals that come meanwhile are its own. */
static bool await(pid_t pid)
{
    siginfo_t info;
    int status;

    for (;; ptrace(PTRACE_CONT, pid, 0, WSTOPSIG(status))) {
        if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
            ended(status);
        if (status >> 16 == PTRACE_EVENT_STOP) {
            status = 0;
            continue;
        }
        if (WSTOPSIG(status) != SIGTRAP)
            continue;
        ptrace(PTRACE_GETSIGINFO, pid, 0, &info);
        if (info.si_code == TRAP_HWBKPT)
            return true;
        if (!stepped(pid))
            return false;
        status = 0;
    }
}

static bool go_on(pid_t pid, int sig)
{
    ptrace(PTRACE_CONT, pid, 0, sig);
    return await(pid);
}

static bool go_to(pid_t pid, uint64_t at)
{
    bool reached;

    break_at(pid, at);
    reached = go_on(pid, 0);
    break_at(pid, 0);
    return reached;
}

static void note_state(pid_t pid, struct state *s)
{
    struct user_regs_struct r;
    static uint8_t area[16384];
    struct iovec iov = {area, sizeof(area)};

    ptrace(PTRACE_GETREGS, pid, 0, &r);
    memset(area, 0, sizeof(area));
    ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &iov);
    s->offset = r.rip - (uint64_t)form->twin;
    memcpy(s->gpr, (uint64_t[16]){r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9, r.r10, r.r11, r.r12,
                                  r.r13, r.r14, r.r15}, sizeof(s->gpr));
    s->flags = r.eflags;
    for (unsigned i = 0; i < 16; i++) {
        memcpy(s->vector[i], area + 160 + 16 * i, 16);
        memcpy(s->vector[i] + 16, area + 576 + 16 * i, 16);
    }
    for (unsigned i = 0; i < MEMORY; i += 8)
        *(uint64_t *)(s->memory + i) = (uint64_t)ptrace(PTRACE_PEEKDATA, pid, memory + i, 0);
}

static void note_states(pid_t pid)
{
    go_to(pid, (uint64_t)form->twin);
    for (shared->nstates = 0; shared->nstates < 16;) {
        uint64_t rip = rip_of(pid);

        note_state(pid, &shared->states[shared->nstates++]);
        if (rip == (uint64_t)form->twin_end)
            break;
        step(pid);
    }
    go_on(pid, 0);
}

#define LONGEST 65536

static uint64_t path[LONGEST];
static unsigned length;

static bool at_end(uint64_t rip)
{
    return rip == (uint64_t)form->end || rip == (uint64_t)inject_leave;
}

static void note_path(pid_t pid)
{
    go_to(pid, (uint64_t)form->site);
    for (length = 0; length < LONGEST; length++) {
        path[length] = rip_of(pid);
        if (at_end(path[length]))
            break;
        step(pid);
    }
    go_on(pid, 0);
}

/* The last place on the path up to k where the program comes by once. */
static unsigned landmark(unsigned k)
{
    for (unsigned j = k; j > 0 && j + 400 > k; j--) {
        bool alone = true;

        for (unsigned i = 0; i < length && alone; i++)
            alone = i == j || path[i] != path[j];
        if (alone)
            return j;
    }
    return 0;
}

static void go_to_instruction(pid_t pid, unsigned k)
{
    unsigned from = landmark(k);

    go_to(pid, (uint64_t)form->site);
    if (from && !go_to(pid, path[from])) { /* not this time */
        go_to(pid, (uint64_t)form->site);
        from = 0;
    }
    for (unsigned i = from; i < k && !at_end(rip_of(pid)); i++)
        step(pid);
}

static unsigned inject(pid_t pid)
{
    char byte = 0;

    if (in_mode("several")) {
        syscall(SYS_tgkill, pid, pid, SIGRTMIN + 2);
        syscall(SYS_tgkill, pid, pid, SIGUSR2);
        syscall(SYS_tgkill, pid, pid, SIGUSR1);
        go_on(pid, 0);
        return 3;
    }
    if (in_mode("segv")) {
        syscall(SYS_tgkill, pid, pid, SIGSEGV);
        go_on(pid, 0);
        return 1;
    }
    if (in_mode("stop")) {
        kill(pid, SIGSTOP);
        ptrace(PTRACE_INTERRUPT, pid, 0, 0);
        kill(pid, SIGCONT);
        go_on(pid, 0);
        return 0;
    }
    if (in_mode("detach")) {
        shared->detached = 1;
        ptrace(PTRACE_DETACH, pid, 0, SIGUSR1);
        if (read(ready[0], &byte, 1) != 1 || ptrace(PTRACE_SEIZE, pid, 0, 0) != 0)
            ended(0);
        shared->detached = 0;
        if (write(go[1], &byte, 1) != 1)
            ended(0);
        await(pid);
        return 1;
    }
    go_on(pid, in_mode("profile") ? SIGPROF : SIGUSR1);
    return in_mode("nodefer") ? 2 : 1;
}

static bool in_handler(uint64_t rip)
{
    return rip == (uint64_t)handler || rip == (uint64_t)others;
}

/* Another signal at every instruction of ours between one and its handler. */
static unsigned into_entry(pid_t pid, unsigned k, unsigned *failures)
{
    bool over = false;
    unsigned j;

    for (j = 0; !over && j < 240; j++) {
        shared->handled = shared->at_site = 0;
        go_to_instruction(pid, k);
        step_with(pid, SIGUSR1);
        for (unsigned i = 0; i < j && !over; i++) {
            step(pid);
            over = in_handler(rip_of(pid)) || at_end(rip_of(pid));
        }
        syscall(SYS_tgkill, pid, pid, SIGUSR2); /* where the kernel stops at a handler, nothing can be injected */
        go_on(pid, 0);
        if ((shared->handled != 2 || !shared->at_site || shared->wrong) && (*failures)++ < 3)
            printf("%s %s: instruction %u of %u, %u of the entry: handled %lu, at the site %lu, %lu wrong: %s\n", mode,
                   form->name, k, length, j, shared->handled, shared->at_site, shared->wrong, shared->what);
        shared->wrong = 0;
    }
    return j;
}

static unsigned next(unsigned k)
{
    unsigned head = 100, tail = 130;

    if (length < 500 || k < head || k + tail >= length)
        return k + 1;
    return k + (length - head - tail) / 40;
}

static void start(pid_t *pid)
{
    char byte;

    memset(shared, 0, offsetof(struct shared, reads));
    shared->jumped = 0;
    shared->detached = 1;
    *pid = fork();
    if (*pid == 0) {
        child();
        _exit(0);
    }
    if (read(ready[0], &byte, 1) != 1 || ptrace(PTRACE_SEIZE, *pid, 0, 0) != 0)
        ended(0);
    shared->detached = 0;
    if (write(go[1], &byte, 1) != 1)
        ended(0);
    await(*pid);
}

static bool bytes_are(pid_t pid, const char *at, const char *want, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if ((uint8_t)ptrace(PTRACE_PEEKTEXT, pid, at + i, 0) != (uint8_t)want[i])
            return false;
    return true;
}

/* The operand is at address 0: what the process dies of is seen at the instruction, in the file's own text. */
static unsigned fault(void)
{
    uint64_t rsp = (uint64_t)form->base == RAX && strstr(form->name, "rsp") ? 1 : 0;
    struct user_regs_struct r;
    unsigned failures = 0;
    int status, faults = 0;
    pid_t pid;

    start(&pid);
    if (bytes_are(pid, form->site, form->twin, (unsigned)(form->end - form->site)))
        failures += printf("%s %s: not patched\n", mode, form->name) > 0;
    ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEEXIT);
    for (int sig = 0;; sig = WSTOPSIG(status)) {
        ptrace(PTRACE_CONT, pid, 0, sig);
        if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
            ended(status);
        if (status >> 16 == PTRACE_EVENT_EXIT)
            break;
        faults += WSTOPSIG(status) == SIGSEGV;
    }
    ptrace(PTRACE_GETREGS, pid, 0, &r);
    if (r.rip != (uint64_t)form->site || r.rdx != 0x8123456789abcd00ull + 2 * 0x0101010101010101ull ||
        r.rdi != 0x8123456789abcd00ull + 7 * 0x0101010101010101ull || (r.r11 & ~(uint64_t)0xff) != (form->base == R11 ? 0 : 0x8c2e507294b6d80bull & ~(uint64_t)0xff))
        failures += printf("%s %s: dies at %#lx, rdx %#llx, r11 %#llx\n", mode, form->name, (unsigned long)r.rip, r.rdx, r.r11) > 0;
    if ((rsp ? r.rax + r.rsp : form->base == RAX ? r.rax : form->base == RCX ? r.rcx : form->base == R11 ? r.r11 : r.rbx) != 0)
        failures += printf("%s %s: the base is %#llx\n", mode, form->name, r.rax) > 0;
    if (!bytes_are(pid, form->site, form->twin, (unsigned)(form->end - form->site)))
        failures += printf("%s %s: the text is not the file's\n", mode, form->name) > 0;
    ptrace(PTRACE_CONT, pid, 0, 0);
    if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV)
        failures += printf("%s %s: ends with %#x\n", mode, form->name, (unsigned)status) > 0;
    fprintf(stderr, "%s %s: %d faults\n", mode, form->name, faults);
    return failures;
}

/* It is in no access now. */
static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static unsigned every_instruction(void)
{
    unsigned stops = 0, failures = 0, entries = 0;
    pid_t pid;

    start(&pid);
    note_states(pid);
    note_path(pid);
    if (shared->wrong) {
        printf("%s %s: without a signal: %s\n", mode, form->name, shared->what);
        failures++;
        shared->wrong = 0;
    }
    for (unsigned k = 0; k <= length; k = next(k), stops++) {
        unsigned signals;

        if (in_mode("entry")) {
            entries += into_entry(pid, k, &failures);
            k = k == 0 ? 5 : k == 5 ? 25 : k == 25 ? length - 20 : length + 1; /* before, within, behind */
            continue;
        }
        shared->handled = shared->at_site = shared->left = 0;
        go_to_instruction(pid, k);
        signals = inject(pid);
        if ((shared->handled != signals || (signals && shared->at_site != 1) || shared->wrong) && failures++ < 3)
            printf("%s %s: instruction %u (%#lx) of %u: handled %lu, at the site %lu, %lu wrong: %s\n", mode, form->name, k,
                   (unsigned long)path[k], length, shared->handled, shared->at_site, shared->wrong, shared->what);
        shared->wrong = 0;
    }
    end(pid);
    fprintf(stderr, "%s %s: %u injections into %u instructions, elsewhere %lu, jumped %lu\n", mode, form->name, stops + entries,
            length, shared->elsewhere, shared->jumped);
    return failures;
}

static bool chosen(int argc, char **argv)
{
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], form->name) == 0)
            return true;
    return argc == 2;
}

int main(int argc, char **argv)
{
    unsigned failures = 0, count = 0;

    mode = argv[1];
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (pipe(ready) || pipe(go))
        return 3;
    for (form = forms; form < forms + FORMS; form++)
        if (chosen(argc, argv)) {
            failures += in_mode("fault") ? fault() : every_instruction();
            count++;
        }
    printf("%s: %u forms, %u failures, %lu reads, %lu writes\n", mode, count, failures, shared->reads, shared->writes);
    return failures != 0;
}
