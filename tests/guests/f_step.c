/* flags: -O1 -no-pie */
/*
 * A signal at every single instruction of a system call, by a tracer that
 * steps and injects: wherever it comes, the handler must find the program
 * where it would be without us, and the call must do what it does.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "f_tracer.h"

/* In and out of the calls below: rdi rsi rdx r10 r8 r9 rbx rbp r12-r15, then rsp; flags; rax; the call's number. */
struct registers {
    uint64_t r[13], flags, rax, number;
    uint8_t vector[16][16];
};

struct registers step_in __asm__("step_in") __attribute__((used)), step_out __asm__("step_out") __attribute__((used));
extern const char step_move[], step_gap[], step_prev[], step_next[];
uint64_t step_stack __asm__("step_stack") __attribute__((used));

/* Everything is loaded, the call is made, everything is stored. `begin` is the first instruction that counts. */
#define LOAD_V(n) "movdqu step_in+128+16*" #n "(%rip), %xmm" #n "\n"
#define STORE_V(n) "movdqu %xmm" #n ", step_out+128+16*" #n "(%rip)\n"
#define EACH_V(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
#define LOAD                                                                                                    \
    "push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n mov %rsp, step_stack(%rip)\n"      \
    EACH_V(LOAD_V)                                                                                              \
    "mov step_in(%rip), %rdi\n mov step_in+8(%rip), %rsi\n mov step_in+16(%rip), %rdx\n"                        \
    "mov step_in+24(%rip), %r10\n mov step_in+32(%rip), %r8\n mov step_in+40(%rip), %r9\n"                      \
    "mov step_in+48(%rip), %rbx\n mov step_in+56(%rip), %rbp\n mov step_in+64(%rip), %r12\n"                    \
    "mov step_in+72(%rip), %r13\n mov step_in+80(%rip), %r14\n mov step_in+88(%rip), %r15\n"                    \
    "lea -4096(%rsp), %rsp\n mov %rsp, step_in+96(%rip)\n mov step_in+120(%rip), %eax\n cmp $1, %al\n stc\n std\n"
#define STORE                                                                                                   \
    "pushf\n popq step_out+104(%rip)\n cld\n mov %rax, step_out+112(%rip)\n mov %rsp, step_out+96(%rip)\n"      \
    "mov %rdi, step_out(%rip)\n mov %rsi, step_out+8(%rip)\n mov %rdx, step_out+16(%rip)\n"                     \
    "mov %r10, step_out+24(%rip)\n mov %r8, step_out+32(%rip)\n mov %r9, step_out+40(%rip)\n"                   \
    "mov %rbx, step_out+48(%rip)\n mov %rbp, step_out+56(%rip)\n mov %r12, step_out+64(%rip)\n"                 \
    "mov %r13, step_out+72(%rip)\n mov %r14, step_out+80(%rip)\n mov %r15, step_out+88(%rip)\n"                 \
    EACH_V(STORE_V)                                                                                             \
    "mov step_stack(%rip), %rsp\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n"
#define SITE(name, call)                                                                                        \
    ".globl step_" name ", step_" name "_begin, step_" name "_end\n .type step_" name ", @function\n"           \
    "step_" name ": .cfi_startproc\n" LOAD "step_" name "_begin:\n" call "step_" name "_end:\n" STORE            \
    ".cfi_endproc\n .size step_" name ", . - step_" name "\n"

__asm__(".text\n .p2align 6\n step_room: .cfi_startproc\n .fill 256, 1, 0x90\n ret\n .cfi_endproc\n"
        SITE("move", "mov $0, %eax\n syscall\n")
        SITE("prev", "movl step_in+120(%rip), %eax\n syscall\n")
        SITE("next", "mov %eax, %eax\n syscall\n cmp $-4095, %rax\n")
        "step_far: .cfi_startproc\n .fill 256, 1, 0x90\n ret\n .cfi_endproc\n"
        "step_near: .cfi_startproc\n ret\n .cfi_endproc\n .fill 16, 1, 0xcc\n"
        "step_gap: .globl step_gap, step_gap_begin, step_gap_end\n .cfi_startproc\n jmp 2f\n"
        "step_gap_begin: mov %eax, %eax\n syscall\n step_gap_end: jmp 3f\n"
        "2: " LOAD "jmp step_gap_begin\n 3: " STORE ".cfi_endproc\n");

extern const char step_move_begin[], step_prev_begin[], step_next_begin[], step_gap_begin[];
extern const char step_move_end[], step_prev_end[], step_next_end[], step_gap_end[];

static const struct form {
    const char *name;
    void (*run)(void);
    const char *begin, *end;
} forms[] = {
    {"move", (void (*)(void))step_move, step_move_begin, step_move_end},
    {"gap", (void (*)(void))step_gap, step_gap_begin, step_gap_end},
    {"prev", (void (*)(void))step_prev, step_prev_begin, step_prev_end},
    {"next", (void (*)(void))step_next, step_next_begin, step_next_end},
};
#define FORMS (sizeof(forms) / sizeof(forms[0]))

/* --- the child --- */

static struct shared {
    uint64_t handled, inside, wrong;
    char what[200];
} *shared;
static struct {
    uint64_t from, to;
} ours[8];
static unsigned nours;
static const struct form *form;
static int zero;

static void complain(const char *what, uint64_t a, uint64_t b)
{
    if (!shared->wrong++)
        snprintf(shared->what, sizeof(shared->what), "%s: %#lx, not %#lx", what, (unsigned long)a, (unsigned long)b);
}

static bool is_ours(uint64_t rip)
{
    for (unsigned i = 0; i < nours; i++)
        if (rip - ours[i].from < ours[i].to - ours[i].from)
            return true;
    return false;
}

static void handler(int sig, siginfo_t *info, void *context)
{
    static const int order[13] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8,  REG_R9, REG_RBX,
                                  REG_RBP, REG_R12, REG_R13, REG_R14, REG_R15, REG_RSP};
    ucontext_t *uc = context;
    const greg_t *g = uc->uc_mcontext.gregs;
    uint64_t rip = (uint64_t)g[REG_RIP];
    sigset_t now;

    (void)sig;
    (void)info;
    shared->handled++;
    if (is_ours(rip)) {
        shared->inside++;
    } else if (rip - (uint64_t)form->begin > (uint64_t)(form->end - form->begin)) {
        return;
    }
    for (int i = 0; i < 13; i++)
        if ((uint64_t)g[order[i]] != step_in.r[i])
            complain("a register in the frame", (uint64_t)g[order[i]], step_in.r[i]);
    for (int i = 0; i < 16; i++)
        if (memcmp(&uc->uc_mcontext.fpregs->_xmm[i], step_in.vector[i], 16) != 0)
            complain("a vector register in the frame", (uint64_t)i, 0);
    if (!(g[REG_EFL] & 0x400))
        complain("flags in the frame", (uint64_t)g[REG_EFL], 0x400);
    if ((uint64_t)&now > (uint64_t)g[REG_RSP])
        complain("the handler's stack", (uint64_t)&now, (uint64_t)g[REG_RSP]);
    sigprocmask(SIG_SETMASK, NULL, &now);
    if (!sigismember(&now, SIGUSR1) || sigismember(&now, SIGUSR2) || sigismember(&uc->uc_sigmask, SIGUSR1))
        complain("the mask", *(uint64_t *)&now, 0);
}

/* The library, and stubs of its own: memory without a name that runs. */
static void find_library(void)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[512];

    while (fgets(line, sizeof(line), f)) {
        unsigned long from, to;

        if (strstr(line, "r-xp") && (strstr(line, "libmmioshim") || !strpbrk(line, "/[")) && nours < 8 &&
            sscanf(line, "%lx-%lx", &from, &to) == 2) {
            ours[nours].from = from;
            ours[nours++].to = to;
        }
    }
    fclose(f);
}

static uint8_t buffer[64];
static uint64_t mask_none, mask_old;
static struct pollfd nothing = {.fd = -1};
static struct timespec soon = {0, 1};

static const struct call {
    const char *name;
    long number;
    uint64_t a[6];
    long result;
    int step;
} calls[] = {
    {"read", SYS_read, {0 /* zero */, (uint64_t)buffer, 5, 4, 5, 6}, 5, 1},
    {"close", SYS_close, {1000, 2, 3, 4, 5, 6}, -EBADF, 1},
    {"procmask", SYS_rt_sigprocmask, {SIG_BLOCK, (uint64_t)&mask_none, (uint64_t)&mask_old, 8, 5, 6}, 0, 1},

    {"ppoll", SYS_ppoll, {(uint64_t)&nothing, 1, (uint64_t)&soon, (uint64_t)&mask_none, 8, 6}, 0, 1},
    {"nanosleep", SYS_nanosleep, {(uint64_t)&soon, 0, 3, 4, 5, 6}, 0, 1},
    {"none", 499, {1, 2, 3, 4, 5, 6}, -ENOSYS, 1},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static void check(const struct call *c)
{
    for (int i = 0; i < 13; i++)
        if (step_out.r[i] != step_in.r[i])
            complain("a register", step_out.r[i], step_in.r[i]);
    for (int i = 0; i < 16; i++)
        if (memcmp(step_out.vector[i], step_in.vector[i], 16) != 0)
            complain("a vector register", (uint64_t)i, 0);
    if ((step_out.flags & 0x400) == 0 || (form->run != forms[3].run && !(step_out.flags & 1)))
        complain("flags", step_out.flags, 0x401);
    if ((long)step_out.rax != c->result && !((long)step_out.rax == -EINTR && c->number == SYS_ppoll))
        complain("the result", step_out.rax, (uint64_t)c->result);
}

static void child(const struct form *f, const struct call *c)
{
    struct sigaction act = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigset_t segv;

    form = f;
    find_library();
    sigaction(SIGUSR1, &act, NULL);
    sigemptyset(&segv);
    sigaddset(&segv, SIGSEGV); /* so that the masks of waits are changed on their way */
    if (c->number == SYS_ppoll)
        sigprocmask(SIG_BLOCK, &segv, NULL);
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    for (;;) {
        memcpy(step_in.r, c->a, sizeof(c->a));
        if (c->number == SYS_read)
            step_in.r[0] = (uint64_t)zero;
        for (int i = 6; i < 12; i++)
            step_in.r[i] = 0x0123456789abcdefull * (unsigned)i;
        memset(step_in.vector, 0x5a, sizeof(step_in.vector));
        for (int i = 0; i < 16; i++)
            step_in.vector[i][0] = (uint8_t)i;
        step_in.number = (uint64_t)c->number;
        __asm__ volatile("int3" : : : "memory");
        form->run();
        check(c);
        __asm__ volatile("int3" : : "a"(0) : "memory");
    }
}

/* --- the tracer --- */

/* Runs until it stops by itself; signals that come meanwhile are its own. */
static void go_on(pid_t pid, int sig)
{
    int status;

    for (;; sig = WSTOPSIG(status)) {
        ptrace(PTRACE_CONT, pid, 0, sig);
        if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) {
            printf("ended: %#x\n", status);
            exit(1);
        }
        if (WSTOPSIG(status) == SIGTRAP && !stepped(pid))
            return;
        if (WSTOPSIG(status) == SIGTRAP) {
            status = 0;
            continue;
        }
        if (WSTOPSIG(status) != SIGUSR1 && WSTOPSIG(status) != SIGSEGV) {
            printf("signal %d at %#lx\n", WSTOPSIG(status), (unsigned long)rip_of(pid));
            exit(1);
        }
    }
}

static void every_instruction(const struct form *f, const struct call *c)
{
    unsigned long at = 0, total = 0, stops = 0, failures = 0;
    uint64_t begin = (uint64_t)f->begin, end = (uint64_t)f->end;
    int status;
    pid_t pid;

    memset(shared, 0, sizeof(*shared));
    pid = fork();
    if (pid == 0)
        child(f, c);
    waitpid(pid, &status, 0);
    for (at = 0; !total; at++) {
        if (at)
            go_on(pid, 0);
        while (rip_of(pid) != begin)
            step(pid);
        for (unsigned long i = 0; i < at && !total; i++) {
            step(pid);
            if (rip_of(pid) == end)
                total = i + 1;
        }
        shared->handled = 0;
        go_on(pid, SIGUSR1);
        stops++;
        if ((shared->handled != 1 || shared->wrong) && failures++ < 5) {
            printf("%s %s: at instruction %lu: handled %lu times, %lu wrong: %s\n", f->name, c->name, at,
                   shared->handled, shared->wrong, shared->what);
        }
        shared->wrong = 0;
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    fprintf(stderr, "%s %s: %lu signals, first byte %02x\n", f->name, c->name, stops, *(const uint8_t *)f->begin);
    printf("%s %s: %lu failures, seen inside: %lu\n", f->name, c->name, failures, shared->inside);
}

int main(int argc, char **argv)
{
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    zero = open("/dev/zero", O_RDONLY);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (unsigned i = 0; i < FORMS; i++)
        for (unsigned j = 0; j < CALLS; j++) {
            if (argc > 1 && strcmp(argv[1], forms[i].name) != 0)
                continue;
            if (argc > 2 && strcmp(argv[2], calls[j].name) != 0)
                continue;
            if (i == 0 && calls[j].number != SYS_read) /* its number stands in the instruction */
                continue;
            every_instruction(&forms[i], &calls[j]);
        }
    return 0;
}
