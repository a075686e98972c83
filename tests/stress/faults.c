/*
 * Faults of the program's own at instructions that were hot a moment ago: its
 * handler is shown what it is shown natively, and can mend, skip or leave; with
 * no handler it dies there.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "parts.h"
#include "text.h"

#define PAGE 4096ul
#define HOT 100

/* rdi: the address; r9: another, in the window; rsi: three bytes of memory; rcx: 3; carry set. Returns rax. */
#define FORM(name, before, insn, after)                                                                             \
    ".globl fault_" name ", fault_" name "_at, fault_" name "_behind\n.type fault_" name ", @function\n"                \
    "fault_" name ": .cfi_startproc\npush %rbx\n.cfi_adjust_cfa_offset 8\npush %rbp\n.cfi_adjust_cfa_offset 8\n"           \
    "push %r12\n.cfi_adjust_cfa_offset 8\npush %r15\n.cfi_adjust_cfa_offset 8\nmov %rsi, %r9\nmov %rdx, %rsi\n"            \
    "movabs $0x0123456789abcdef, %rax\nmov %rax, -16(%rsp)\nmov $3, %ecx\nmov $0x51, %ebx\nmov $0x52, %ebp\n"          \
    "mov $0x53, %r12d\nmov $0x54, %r15d\nmov $0x55, %r8d\nmov $0x56, %r10d\nmov $0x57, %r11d\n"                           \
    "movq %rax, %xmm0\nmovq %rax, %xmm5\nxor %edx, %edx\nstc\n" before                                                     \
    "fault_" name "_at: " insn "\nfault_" name "_behind: " after                                                           \
    "pop %r15\n.cfi_adjust_cfa_offset -8\npop %r12\n.cfi_adjust_cfa_offset -8\npop %rbp\n.cfi_adjust_cfa_offset -8\n"       \
    "pop %rbx\n.cfi_adjust_cfa_offset -8\nret\n.cfi_endproc\n.size fault_" name ", . - fault_" name "\n"

__asm__(".text\n" FORM("load", "", "mov (%rdi), %rax", "") FORM("store", "", "mov %rax, (%rdi)", "")
        FORM("byte", "movb %cl, (%r9)\n", "movb %cl, (%rdi)", "movb %cl, 1(%r9)\n") FORM("add", "", "add %rax, (%rdi)", "")
        FORM("compare", "", "cmp (%rdi), %rax", "setc %al\n") FORM("vector", "", "movups (%rdi), %xmm0", "movq %xmm0, %rax\n")
        FORM("spill", "", "movups %xmm0, (%rdi)", "") FORM("short", "mov (%r9), %ecx\n", "mov (%rdi), %ecx", "mov (%r9), %edx\n")
        FORM("repeat", "", "rep movsb", "") FORM("exchange", "", "xchg %rax, (%rdi)", "")
        FORM("zero", "", "movzbl (%rdi), %eax", "") FORM("immediate", "", "movl $7, (%rdi)", ""));

typedef uint64_t fault_fn(volatile void *at, volatile void *other, void *bytes);
#define DECLARE(n) extern const char fault_##n##_at[], fault_##n##_behind[]; fault_fn fault_##n
#define ROW(n) {#n, fault_##n, fault_##n##_at, fault_##n##_behind}
DECLARE(load); DECLARE(store); DECLARE(byte); DECLARE(add); DECLARE(compare); DECLARE(vector); DECLARE(spill);
DECLARE(short); DECLARE(repeat); DECLARE(exchange); DECLARE(zero); DECLARE(immediate);

static const struct form {
    const char *name;
    fault_fn *run;
    const char *at, *behind;
} forms[] = {ROW(load), ROW(store), ROW(byte), ROW(add), ROW(compare), ROW(vector), ROW(spill),
             ROW(short), ROW(repeat), ROW(exchange), ROW(zero), ROW(immediate)};
#define FORMS (sizeof(forms) / sizeof(*forms))

enum how { SKIP, MEND_MEMORY, MEND_WINDOW, LEAVE, HOWS };

static struct {
    const struct form *form;
    const char *place;
    char *address, *base; /* what is shown is relative to base */
    enum how how;
} now;
static sigjmp_buf away;
static uint64_t handled, other[8];
static uint8_t bytes[8] = "abcdefg";

static void show(const char *text, uint64_t value)
{
    printf("%s%#lx", text, value);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    greg_t *r = uc->uc_mcontext.gregs;
    uint64_t address = (uint64_t)info->si_addr, base = (uint64_t)now.base, vector;

    handled++;
    printf("%s %s: signal %d code %d", now.form->name, now.place, sig, info->si_code);
    show(" at ", address - (address ? base : 0));
    show(" cr2 ", info->si_code == SI_KERNEL ? 0 : (uint64_t)r[REG_CR2] - base); /* else what an earlier fault left there */
    show(" error ", (uint64_t)r[REG_ERR]);
    show(" trap ", (uint64_t)r[REG_TRAPNO]);
    show(" flags ", (uint64_t)r[REG_EFL] & 0xcd5);
    show(" rcx ", (uint64_t)r[REG_RCX] & 0xff);
    printf("\n");
    EQUAL(r[REG_RIP], now.form->at);
    EQUAL(r[REG_RDI], now.address);
    EQUAL(r[REG_RAX], 0x0123456789abcdef);
    EQUAL(r[REG_RBX] | r[REG_RBP] << 8 | r[REG_R12] << 16 | r[REG_R15] << 24, 0x54535251);
    EQUAL(r[REG_R8] | r[REG_R10] << 8 | r[REG_R11] << 16, 0x575655);
    EQUAL(r[REG_R9], window_of(7));
    EQUAL(*(uint64_t *)(r[REG_RSP] - 16), 0x0123456789abcdef);
    memcpy(&vector, &uc->uc_mcontext.fpregs->_xmm[5], 8);
    EQUAL(vector, 0x0123456789abcdef);
    add(&comparisons, 1);
    switch (now.how) {
    case SKIP: r[REG_RIP] = (greg_t)now.form->behind; break;
    case MEND_MEMORY: r[REG_RDI] = (greg_t)other; break;
    case MEND_WINDOW: r[REG_RDI] = (greg_t)window_of(8); break;
    default: siglongjmp(away, 1);
    }
}

static void one_fault(const struct form *form, const char *place, char *address, char *base)
{
    for (volatile enum how how = SKIP; how < HOWS; how++) {
        volatile uint64_t before = handled, result = 0;

        now.form = form, now.place = place, now.address = address, now.base = base, now.how = how;
        other[0] = 0x1234;
        *(volatile uint64_t *)window_of(8) = 0x5678;
        if (sigsetjmp(away, 1) == 0)
            result = form->run(address, window_of(7), bytes);
        EQUAL(handled, before + 1);
        printf("  %d: %#lx %#lx %#lx\n", how, result, other[0], *(volatile uint64_t *)window_of(8));
        form->run(window_of(7), window_of(7), bytes); /* and it goes on */
        form->run(other, window_of(7), bytes);
    }
}

static char *pages(int prot)
{
    char *at = mmap(NULL, 2 * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED || mprotect(at + PAGE, PAGE, PROT_NONE) != 0)
        exit(93);
    return at;
}

static bool writes(const char *name)
{
    static const char *const all[] = {"store", "byte", "add", "spill", "repeat", "exchange", "immediate"};

    for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++)
        if (strcmp(name, all[i]) == 0)
            return true;
    return false;
}

/* What is printed must be the same on plain memory. */
void faults(int argc, char **argv)
{
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    char *none = pages(PROT_NONE), *constant = pages(PROT_READ), *edge = pages(PROT_READ | PROT_WRITE), *beyond;
    int fd = memfd_create("short", 0);

    (void)argc, (void)argv;
    CHECK(ftruncate(fd, 2 * PAGE) == 0);
    beyond = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(ftruncate(fd, PAGE) == 0);
    sigaction(SIGSEGV, &act, NULL);
    sigaction(SIGBUS, &act, NULL);
    for (unsigned i = 0; i < FORMS; i++) {
        const struct form *f = &forms[i];
        bool wide = f->run != fault_byte && f->run != fault_zero && f->run != fault_repeat;

        for (unsigned k = 0; k < HOT; k++)
            f->run(k % 3 ? window_of(7) : (volatile void *)other, window_of(7), bytes);
        one_fault(f, "null", NULL, NULL);
        one_fault(f, "eight", (char *)8, NULL);
        one_fault(f, "hole", (char *)0x30000123, NULL);
        one_fault(f, "none", none + 40, none);
        one_fault(f, "kernel", (char *)0xffffffff81000000, NULL);
        one_fault(f, "wild", (char *)0x8000000000000000, NULL);
        one_fault(f, "bus", beyond + PAGE + 8, beyond);
        if (writes(f->name))
            one_fault(f, "constant", constant + 16, constant);
        if (wide)
            one_fault(f, "edge", edge + PAGE - 2, edge);
    }
    printf("faults %lu\n", handled);
}

/* FORM: hot, then a null pointer and no handler */
void crash(int argc, char **argv)
{
    for (unsigned i = 0; i < FORMS && argc > 0; i++)
        if (strcmp(argv[0], forms[i].name) == 0) {
            for (unsigned k = 0; k < HOT; k++)
                forms[i].run(window_of(7), window_of(7), bytes);
            forms[i].run(argc > 1 ? (void *)strtoul(argv[1], NULL, 0) : NULL, window_of(7), bytes);
        }
    FAIL("still alive");
}
