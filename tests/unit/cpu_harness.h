/*
 * Compares one instruction run by the CPU with the same run by cpu_run on a
 * bus that is plain memory: same registers, flags, vector state and memory
 * before, and so the same after.
 */
#ifndef MMIOSHIM_TESTS_CPU_HARNESS_H
#define MMIOSHIM_TESTS_CPU_HARNESS_H

#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "cpu/plan.h"
#include "unit.h"

#define AREA_BYTES  4096u
#define CODE_BYTES  0x1000u
#define DATA_BYTES  0x4000u
#define GUARD_BYTES 0x4000u
#define FLAGS_SEEN  0xcd5u /* status flags and DF */
#define COMPONENTS  0xe7u  /* x87, SSE, AVX, AVX-512 */

/* ---- the native side: layout known to the assembler below ---- */

struct native {
    u64 gpr[16];
    u64 flags;
    u64 mask;
    void *area;
    const u8 *code;
    u64 branched;
};

bool native_run(struct native *n); /* true: faulted, gpr, flags and area as at the fault */
extern char native_return[], native_branched[], native_faulted[];

__asm__(".text\n"
        ".globl native_run, native_return, native_branched, native_faulted\n"
        "native_run:\n"
        "    push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n"
        "    mov %rdi, native_current(%rip)\n"
        "    mov %rsp, native_stack(%rip)\n"
        "    mov 136(%rdi), %eax\n"
        "    xor %edx, %edx\n"
        "    mov 144(%rdi), %rcx\n"
        "    xrstor64 (%rcx)\n"
        "    mov 152(%rdi), %rax\n"
        "    mov %rax, native_code(%rip)\n"
        "    push 128(%rdi)\n"
        "    popfq\n"
        "    mov 0(%rdi), %rax; mov 8(%rdi), %rcx; mov 16(%rdi), %rdx; mov 24(%rdi), %rbx\n"
        "    mov 32(%rdi), %rsp; mov 40(%rdi), %rbp; mov 48(%rdi), %rsi\n"
        "    mov 64(%rdi), %r8; mov 72(%rdi), %r9; mov 80(%rdi), %r10; mov 88(%rdi), %r11\n"
        "    mov 96(%rdi), %r12; mov 104(%rdi), %r13; mov 112(%rdi), %r14; mov 120(%rdi), %r15\n"
        "    mov 56(%rdi), %rdi\n"
        "    jmp *native_code(%rip)\n"
        "native_branched:\n"
        "    mov %rdi, native_rdi(%rip)\n"
        "    mov native_current(%rip), %rdi\n"
        "    movq $1, 160(%rdi)\n"
        "    mov native_rdi(%rip), %rdi\n"
        "native_return:\n"
        "    mov %rsp, native_rsp(%rip)\n"
        "    mov %rdi, native_rdi(%rip)\n"
        "    mov native_stack(%rip), %rsp\n"
        "    mov native_current(%rip), %rdi\n"
        "    mov %rax, 0(%rdi); mov %rcx, 8(%rdi); mov %rdx, 16(%rdi); mov %rbx, 24(%rdi)\n"
        "    mov %rbp, 40(%rdi); mov %rsi, 48(%rdi)\n"
        "    mov %r8, 64(%rdi); mov %r9, 72(%rdi); mov %r10, 80(%rdi); mov %r11, 88(%rdi)\n"
        "    mov %r12, 96(%rdi); mov %r13, 104(%rdi); mov %r14, 112(%rdi); mov %r15, 120(%rdi)\n"
        "    pushfq\n"
        "    pop 128(%rdi)\n"
        "    mov native_rsp(%rip), %rax\n"
        "    mov %rax, 32(%rdi)\n"
        "    mov native_rdi(%rip), %rax\n"
        "    mov %rax, 56(%rdi)\n"
        "    mov 136(%rdi), %eax\n"
        "    xor %edx, %edx\n"
        "    mov 144(%rdi), %rcx\n"
        "    xsave64 (%rcx)\n"
        "    xor %eax, %eax\n"
        "    jmp 1f\n"
        "native_faulted:\n"
        "    mov native_stack(%rip), %rsp\n"
        "    mov $1, %eax\n"
        "1:  cld\n"
        "    fninit\n"
        "    ldmxcsr native_mxcsr(%rip)\n"
        "    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp\n"
        "    ret\n"
        ".data\n"
        "native_mxcsr: .long 0x1f80\n"
        ".bss\n"
        ".balign 8\n"
        "native_current: .skip 8\n"
        "native_stack: .skip 8\n"
        "native_code: .skip 8\n"
        "native_rsp: .skip 8\n"
        "native_rdi: .skip 8\n"
        ".text\n");

/* ---- machine: code page, then data, below 2 GiB so that moffs and 67 reach it ---- */

static u8 *code, *data;
static u64 target;      /* where operands are put: the middle of the data */
static u64 guard;       /* behind the data: pages that neither side can reach */
static u64 gs_base;
static u64 components;  /* that this CPU has, of COMPONENTS */
static unsigned area_size;

struct native_fault {
    int signal, code;
    u64 addr;
};

static struct native_fault native_fault;
static bool in_native;

static inline void copy_frame(const ucontext_t *uc)
{
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    extern struct native *native_seen;

    for (int i = 0; i < 16; i++)
        native_seen->gpr[i] = (u64)uc->uc_mcontext.gregs[order[i]];
    native_seen->flags = (u64)uc->uc_mcontext.gregs[REG_EFL];
    memcpy(native_seen->area, uc->uc_mcontext.fpregs, area_size);
}

struct native *native_seen;

static inline void on_signal(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    u64 rip = (u64)uc->uc_mcontext.gregs[REG_RIP];
    u64 go_on = cpu_stub_fault(rip, signal, info->si_code, (u64)info->si_addr);

    if (go_on) {
        uc->uc_mcontext.gregs[REG_RIP] = (greg_t)go_on;
        return;
    }
    if (!in_native) {
        static const char text[] = "# a signal outside of any stub\n";

        if (write(1, text, sizeof(text) - 1) < 0)
            _exit(3);
        _exit(2);
    }
    native_fault = (struct native_fault){signal, info->si_code, (u64)info->si_addr};
    copy_frame(uc);
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)native_faulted;
}

static inline void harness_signals(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    stack_t stack = {.ss_size = 1 << 17};

    stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigaltstack(&stack, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
        sigaction(signals[i], &sa, NULL);
}

static inline void harness_init(void)
{
    char text[200];
    struct fmt error = FMT_INIT(text);
    unsigned low, high, a, b, c, d;

    if (cpu_init(&error) < 0) {
        printf("# %s\n", fmt_end(&error));
        exit(1);
    }
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    components = low & COMPONENTS;
    area_size = 576;
    for (unsigned i = 2; i < 8; i++)
        if (components >> i & 1) {
            __cpuid_count(0xd, i, a, b, c, d);
            area_size = MAX(area_size, a + b);
        }
    code = mmap(NULL, CODE_BYTES + DATA_BYTES + GUARD_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    data = code + CODE_BYTES;
    target = (u64)data + DATA_BYTES / 2;
    guard = (u64)data + DATA_BYTES;
    mprotect((void *)guard, GUARD_BYTES, PROT_NONE);
    gs_base = (u64)data;
    syscall(SYS_arch_prctl, ARCH_SET_GS, gs_base);
    harness_signals();
}

/* ---- random ---- */

static u64 random_state = 0x123456789abcdef1u;

static inline u64 rnd(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1du;
}

static inline u64 rnd_value(void)
{
    u64 v = rnd();

    switch (v >> 60 & 7) {
    case 0:
        return v & 0xff;
    case 1:
        return (u64)((i64)(v << 40) >> 52);
    case 2:
        return (u32)v;
    case 3:
        return v & 1 ? 0 : ~(u64)0;
    default:
        return v;
    }
}

/* Numbers that make arithmetic do something: floats of moderate size, or plain bits. */
static inline void rnd_bytes(void *to, unsigned n)
{
    unsigned how = rnd() & 3;
    u8 *p = to;

    for (unsigned i = 0; i < n; i += 8) {
        u64 v = rnd();

        if (how == 0)
            v = (v & 0x803fffff803fffffu) | 0x3f0000003f000000u | (v >> 8 & 0x00c0000000c00000u);
        else if (how == 1)
            v = (v & 0x800fffffffffffffu) | (u64)(1015 + v % 24) << 52;
        memcpy(p + i, &v, MIN(8u, n - i));
    }
}

/* ---- state ---- */

struct machine {
    u64 gpr[16];
    u64 rip, flags;
    u8 area[AREA_BYTES] __attribute__((aligned(64)));
};

static inline void rnd_x87(u8 *area)
{
    u16 control = 0x037f, status = (u16)(rnd() & 0x7f7f); /* no ES, no B */
    u8 tag = (u8)rnd();
    u64 ip = rnd() & 0x7fffffffffff, dp = rnd() & 0x7fffffffffff;

    if (rnd() & 1)
        control |= rnd() & 0x0f00;
    if ((rnd() & 7) == 0) { /* exceptions unmasked, none pending */
        control &= (u16)~(rnd() & 0x3f);
        status &= (u16)~0x3f;
    }
    if ((rnd() & 15) == 0) { /* one pending */
        control &= (u16)~0x04;
        status |= 0x8084;
    }
    memcpy(area + 0, &control, 2);
    memcpy(area + 2, &status, 2);
    area[4] = tag;
    area[5] = 0;
    memset(area + 6, 0, 2);
    memcpy(area + 8, &ip, 8);
    memcpy(area + 16, &dp, 8);
    for (unsigned i = 0; i < 8; i++) {
        u64 mantissa = rnd() | (rnd() & 15 ? (u64)1 << 63 : 0);
        u16 exponent = (u16)(rnd() & 7 ? 0x3fff + rnd() % 64 - 32 : rnd());

        memset(area + 32 + 16 * i, 0, 16);
        memcpy(area + 32 + 16 * i, &mantissa, 8);
        if (rnd() & 1)
            exponent |= 0x8000;
        memcpy(area + 40 + 16 * i, &exponent, 2);
    }
}

static inline void rnd_machine(struct machine *m)
{
    u64 bv = rnd() & 7 ? components : components & rnd();
    u32 mxcsr = 0x1f80, mxcsr_mask = 0xffff;

    for (unsigned i = 0; i < 16; i++)
        m->gpr[i] = rnd_value();
    m->flags = 0x202 | (rnd() & FLAGS_SEEN);
    for (unsigned at = 0; at < area_size; at += 64)
        rnd_bytes(m->area + at, 64);
    rnd_x87(m->area);
    if (rnd() & 1)
        mxcsr |= (u32)rnd() & 0xe07f;
    if ((rnd() & 7) == 0)
        mxcsr &= ~((u32)rnd() & 0x1f80);
    memcpy(m->area + 24, &mxcsr, 4);
    memcpy(m->area + 28, &mxcsr_mask, 4);
    memset(m->area + 416, 0, 160);
    memcpy(m->area + 512, &bv, 8);
}

/* ---- the emulated side ---- */

struct span {
    u64 base, size;
};

static struct {
    struct span bad;   /* fails, as all outside the data does */
    struct span retry; /* asks for a retry */
    struct span ours;  /* is a window; size 0: everything is */
    bool retried;
    unsigned reads, writes, begins, ends, holds;
    bool holding;  /* one device has everything */
    unsigned bytes_read, bytes_written, widest;
} bus_state;

static inline bool in_span(struct span s, u64 addr, unsigned n)
{
    return addr - s.base < s.size || s.base - addr < n;
}

static inline bool reachable_byte(u64 addr)
{
    return addr - (u64)code < CODE_BYTES + DATA_BYTES && !(bus_state.bad.size && in_span(bus_state.bad, addr, 1));
}

/* The context is the result, which gets the byte that cannot be reached. */
static inline bool reachable(void *context, u64 addr, unsigned n)
{
    struct cpu_result *result = context;

    bus_state.retried = bus_state.retry.size && in_span(bus_state.retry, addr, n);
    for (unsigned i = 0; i < n; i++)
        if (!reachable_byte(addr + i)) {
            if (result)
                result->fault_addr = addr + i;
            return false;
        }
    return !bus_state.retried;
}

static inline bool bus_reach(void *context, u64 addr, unsigned n, bool write)
{
    struct span retry = bus_state.retry;
    bool reached;

    (void)write;
    bus_state.retry.size = 0; /* only an access asks for it */
    reached = reachable(context, addr, n);
    bus_state.retry = retry;
    return reached;
}

static inline bool bus_read(void *context, u64 addr, void *buf, unsigned n)
{
    if (!reachable(context, addr, n))
        return false;
    bus_state.reads++;
    bus_state.bytes_read += n;
    bus_state.widest = MAX(bus_state.widest, n);
    memcpy(buf, (const void *)addr, n);
    return true;
}

static inline bool bus_write(void *context, u64 addr, const void *buf, unsigned n)
{
    if (!reachable(context, addr, n))
        return false;
    bus_state.writes++;
    bus_state.bytes_written += n;
    bus_state.widest = MAX(bus_state.widest, n);
    memcpy((void *)addr, buf, n);
    return true;
}

static inline void bus_begin(void *context, u64 addr, unsigned n)
{
    (void)context, (void)addr, (void)n;
    bus_state.begins++;
}

static inline void bus_end(void *context)
{
    (void)context;
    bus_state.ends++;
}

static inline bool bus_hold(void *context, u64 addr, unsigned n)
{
    (void)context, (void)addr, (void)n;
    bus_state.holds += bus_state.holding;
    return bus_state.holding;
}

static inline bool bus_retry(void *context)
{
    (void)context;
    return bus_state.retried;
}

static inline bool bus_ours(void *context, u64 addr, unsigned n)
{
    (void)context;
    return !bus_state.ours.size || in_span(bus_state.ours, addr, n);
}

static const struct cpu_bus plain_bus = {
    .read = bus_read,
    .write = bus_write,
    .reach = bus_reach,
    .begin = bus_begin,
    .end = bus_end,
    .hold = bus_hold,
    .retry = bus_retry,
    .ours = bus_ours,
};

static inline void to_state(struct cpu_state *state, struct machine *m)
{
    unsigned long fs = 0;

    syscall(SYS_arch_prctl, ARCH_GET_FS, &fs);
    memcpy(state->gpr, m->gpr, sizeof(m->gpr));
    state->rip = m->rip;
    state->rflags = m->flags;
    state->fs_base = fs;
    state->gs_base = gs_base;
    state->xsave = m->area;
    state->xfeatures = components;
}

#define PKRU_BIT 9 /* SDM vol. 1, 13.5.7: of all components the one that is loaded while the tests run */

static inline bool has_pkru(void)
{
    unsigned a, b, c, d;

    __cpuid_count(7, 0, a, b, c, d);
    return c >> 4 & 1; /* OSPKE */
}

/* Where in the area it is; 0: nowhere, since it is not in use (XGETBV with ECX = 1). */
static inline unsigned pkru_offset(void)
{
    unsigned in_use, offset, high, c, d;

    if (!has_pkru())
        return 0;
    __asm__ volatile("xgetbv" : "=a"(in_use), "=d"(high) : "c"(1));
    if (!(in_use >> PKRU_BIT & 1))
        return 0;
    __cpuid_count(0xd, PKRU_BIT, in_use, offset, c, d);
    return offset;
}

/* What a signal frame has of it: put into the area while the emulator runs. `value` is what was there. */
static inline void swap_pkru(struct cpu_state *state, u8 *area, u32 *value)
{
    unsigned offset = pkru_offset();
    u32 was;

    if (!offset)
        return;
    state->xfeatures |= 1u << PKRU_BIT;
    area[512 + PKRU_BIT / 8] ^= 1u << PKRU_BIT % 8;
    memcpy(&was, area + offset, sizeof(was));
    memcpy(area + offset, value, sizeof(was));
    *value = was;
}

static inline u32 read_pkru(void)
{
    unsigned value = 0, high;

    if (has_pkru())
        __asm__ volatile(".byte 0x0f, 0x01, 0xee" /* rdpkru */ : "=a"(value), "=d"(high) : "c"(0));
    return value;
}

static inline enum cpu_outcome emulate(const struct cpu_insn *insn, struct machine *m, struct cpu_result *result)
{
    struct cpu_bus bus = plain_bus;
    struct cpu_state state;
    enum cpu_outcome outcome;
    u32 pkru = read_pkru();

    to_state(&state, m);
    swap_pkru(&state, m->area, &pkru);
    bus.context = result;
    outcome = cpu_run(insn, &state, &bus, result);
    swap_pkru(&state, m->area, &pkru);
    memcpy(m->gpr, state.gpr, sizeof(m->gpr));
    m->rip = state.rip;
    m->flags = state.rflags;
    return outcome;
}

/* ---- comparison ---- */

/* Brings components in their initial state to one form, and reserved bytes to zero. */
static inline void normalise(u8 *area)
{
    unsigned end = 576;
    u64 bv;

    memcpy(&bv, area + 512, 8);
    if (!(bv & 1)) {
        memset(area, 0, 24);
        area[0] = 0x7f;
        area[1] = 0x03;
        memset(area + 32, 0, 128);
    }
    if (!(bv & 2))
        memset(area + 160, 0, 256);
    for (unsigned i = 2; i < 8; i++)
        if (components >> i & 1) {
            unsigned a, b, c, d;

            __cpuid_count(0xd, i, a, b, c, d);
            memset(area + end, 0, b - end); /* gaps between components */
            if (!(bv >> i & 1))
                memset(area + b, 0, a);
            end = a + b;
        }
    for (unsigned i = 0; i < 8; i++)
        memset(area + 42 + 16 * i, 0, 6);
    area[5] = 0;
    memset(area + 28, 0, 4); /* MXCSR_MASK */
    memset(area + 416, 0, 160);
}

static unsigned reports;

static inline void complain(const char *name, const char *what, u64 got, u64 want)
{
    unit_failures++;
    if (reports++ < 40)
        printf("# %s: %s: %#llx, native %#llx\n", name, what, (unsigned long long)got, (unsigned long long)want);
}

static inline void compare_machines(const char *name, struct machine *got, struct machine *want)
{
    static const char *const regs[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                         "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    char what[40];

    for (unsigned i = 0; i < 16; i++)
        if (got->gpr[i] != want->gpr[i])
            complain(name, regs[i], got->gpr[i], want->gpr[i]);
    if ((got->flags ^ want->flags) & FLAGS_SEEN)
        complain(name, "flags", got->flags & FLAGS_SEEN, want->flags & FLAGS_SEEN);
    if (got->rip != want->rip)
        complain(name, "rip", got->rip, want->rip);
    normalise(got->area);
    normalise(want->area);
    for (unsigned i = 0; i < area_size; i++)
        if (got->area[i] != want->area[i]) {
            snprintf(what, sizeof(what), "XSAVE area byte %u", i);
            complain(name, what, got->area[i], want->area[i]);
            break;
        }
}

static inline void compare_data(const char *name, const u8 *got, const u8 *want)
{
    char what[40];

    for (unsigned i = 0; i < DATA_BYTES; i++)
        if (got[i] != want[i]) {
            snprintf(what, sizeof(what), "memory at target%+d", (int)i - (int)DATA_BYTES / 2);
            complain(name, what, got[i], want[i]);
            return;
        }
}

/* A signal of the instruction: the same kind, and nothing of ours in its address. */
static inline void compare_faults(const char *name, const struct cpu_insn *insn, const struct cpu_result *got)
{
    /* Where operands are wide or masked, each model of CPU names another byte of the page. */
    u64 known = insn->size > 10 || plan_of(insn)->mask != MASK_NONE ? PAGE_MASK : ~(u64)0;

    if (native_fault.signal == SIGILL && got->fault == CPU_FAULT_ACCESS)
        return; /* the CPU lacks it: it would never have come to us */
    if (native_fault.signal == SIGSEGV && native_fault.addr - guard < GUARD_BYTES) {
        if (got->fault != CPU_FAULT_ACCESS)
            complain(name, "fault", got->fault, CPU_FAULT_ACCESS);
        else if ((got->fault_addr ^ native_fault.addr) & known)
            complain(name, "fault address", got->fault_addr, native_fault.addr);
        return;
    }
    if (got->fault != CPU_FAULT_NESTED || got->signal != native_fault.signal) {
        complain(name, "signal", (u64)got->signal, (u64)native_fault.signal);
        return;
    }
    if (got->code != native_fault.code)
        complain(name, "si_code", (u64)got->code, (u64)native_fault.code);
    if (got->signal_addr != native_fault.addr)
        complain(name, "si_addr", got->signal_addr, native_fault.addr);
}

/* ---- one comparison ---- */

/* Where branches of the program go: data that holds this address leads to native_branched. */
static inline u64 branch_target(void)
{
    return (u64)code + CODE_BYTES / 2;
}

static inline void put_jump(u8 *at, const void *to)
{
    static const u8 jump[6] = {0xff, 0x25, 0, 0, 0, 0}; /* jmp *0(%rip) */
    u64 address = (u64)to;

    memcpy(at, jump, 6);
    memcpy(at + 6, &address, 8);
}

static inline u64 place(const u8 *bytes, unsigned length)
{
    u8 *at = code + 64 + (rnd() & 63);

    memcpy(at, bytes, length);
    put_jump(at + length, native_return);
    put_jump(code + CODE_BYTES / 2, native_branched);
    return (u64)at;
}

static inline bool run_native(struct machine *m, unsigned length)
{
    struct native n = {.flags = m->flags, .mask = components, .area = m->area, .code = (const u8 *)m->rip};
    bool faulted;

    memcpy(n.gpr, m->gpr, sizeof(n.gpr));
    native_seen = &n;
    in_native = true;
    faulted = native_run(&n);
    in_native = false;
    memcpy(m->gpr, n.gpr, sizeof(n.gpr));
    m->flags = n.flags;
    if (!faulted)
        m->rip = n.branched ? branch_target() : m->rip + length;
    return faulted;
}

/* Runs the instruction both ways from `start` and the data that is there. */
static inline void compare_run(const char *name, const struct cpu_insn *insn, const struct machine *start)
{
    static struct machine native, emulated;
    static u8 before[DATA_BYTES], after[DATA_BYTES];
    struct cpu_result result;
    enum cpu_outcome outcome;
    bool faulted;

    native = emulated = *start;
    memcpy(before, data, DATA_BYTES);
    faulted = run_native(&native, insn->length);
    memcpy(after, data, DATA_BYTES);
    memcpy(data, before, DATA_BYTES);
    memset(&bus_state, 0, sizeof(bus_state));
    outcome = emulate(insn, &emulated, &result);
    if (outcome != (faulted ? CPU_FAULTED : CPU_DONE))
        complain(name, "outcome", (u64)outcome, faulted ? CPU_FAULTED : CPU_DONE);
    else if (faulted)
        compare_faults(name, insn, &result);
    compare_machines(name, &emulated, &native);
    compare_data(name, data, after);
    if (bus_state.begins != bus_state.ends)
        complain(name, "begin without end", bus_state.ends, bus_state.begins);
}

#endif
