/* The trap from end to end. */
#include "trap/trap.h"

#include <errno.h>
#include <sys/auxv.h>

#include "base/debug.h"
#include "base/guard.h"
#include "base/mem.h"
#include "base/sys.h"
#include "memory/dirty.h"
#include "patch/patch.h"
#include "trap/backtrace.h"
#include "trap/log.h"
#include "trap/ring.h"
#include "trap/signals.h"
#include "trap/stepping.h"
#include "trap/symbols.h"
#include "base/trapsafe.h"

/* 0: not looked up yet, 1: no, 2: yes. */
static u8 fsgsbase;

static bool has_fsgsbase(void)
{
    if (!fsgsbase) /* HWCAP2_FSGSBASE, Linux arch/x86/include/uapi/asm/hwcap2.h */
        fsgsbase = getauxval(AT_HWCAP2) & 2 ? 2 : 1;
    return fsgsbase == 2;
}

/* Registers in the order of their encoding, each by its number here and in the context. */
#define REGISTERS(X) \
    X(0, REG_RAX) X(1, REG_RCX) X(2, REG_RDX) X(3, REG_RBX) X(4, REG_RSP) X(5, REG_RBP) X(6, REG_RSI) X(7, REG_RDI) \
    X(8, REG_R8) X(9, REG_R9) X(10, REG_R10) X(11, REG_R11) X(12, REG_R12) X(13, REG_R13) X(14, REG_R14) X(15, REG_R15)

/* --- fault --- */

/* Page-fault error code, SDM vol. 3, 4.7: bit 1 = write, bit 4 = instruction fetch. */
#define FAULT_WRITE 2u
#define FAULT_USER  4u
#define FAULT_FETCH 16u
#define TRAPNO_STACK      12 /* #SS */
#define TRAPNO_PROTECTION 13 /* #GP */

static enum trap_answer stage_fault(struct trap *t)
{
    u64 error = (u64)t->uc->uc_mcontext.gregs[REG_ERR];

    if (t->info->si_code == SI_KERNEL && t->uc->uc_mcontext.gregs[REG_TRAPNO] == TRAPNO_PROTECTION && trap_has_ports()) {
        t->port = true;
        return TRAP_HANDLED;
    }
    if (t->info->si_code != SEGV_ACCERR && t->info->si_code != SEGV_MAPERR)
        return TRAP_DECLINED; /* sent by somebody, or a general protection fault */
    if (error & FAULT_FETCH)
        return TRAP_DECLINED;
    t->fault_addr = (u64)t->info->si_addr;
    t->fault_write = error & FAULT_WRITE;
    if (trap_finds(t, t->fault_addr))
        return TRAP_HANDLED;
    return TRAP_DECLINED;
}

/* --- decode --- */

static u64 segment_base(int code)
{
    u64 base = 0;

    sys(SYS_arch_prctl, code, &base);
    return base;
}

static void read_bases(struct trap *t)
{
    if (has_fsgsbase()) {
        __asm__("rdfsbase %0" : "=r"(t->state.fs_base));
        __asm__("rdgsbase %0" : "=r"(t->state.gs_base));
    } else {
        t->state.fs_base = segment_base(0x1003 /* ARCH_GET_FS */);
        t->state.gs_base = segment_base(0x1004 /* ARCH_GET_GS */);
    }
}

static void read_state(struct trap *t)
{
    const greg_t *regs = t->uc->uc_mcontext.gregs;
    u8 *fpu = (u8 *)t->uc->uc_mcontext.fpregs;
    u32 magic = 0;

#define READ(number, reg) t->state.gpr[number] = (u64)regs[reg];
    REGISTERS(READ)
#undef READ
    t->state.rip = (u64)regs[REG_RIP];
    t->state.rflags = (u64)regs[REG_EFL];
    t->state.xsave = NULL;
    t->state.xfeatures = 0;
    if (fpu)
        memcpy(&magic, fpu + 464, 4);
    if (magic == 0x46505853) {
        t->state.xsave = fpu;
        memcpy(&t->state.xfeatures, fpu + 472, 8);
    }
}

#define BREAKPOINT 0xcc /* int3: it traps, it never faults on memory */

/*
 * A debugger that steps over a signal puts a breakpoint on the very instruction that trapped, before we see it: the
 * instruction is then the file's.
 */
static const struct cpu_insn *behind_breakpoint(struct trap *t)
{
    u8 code[15];
    unsigned n = symbols_code(t->state.rip, code, sizeof(code));
    bool more;

    return n && cpu_decode(&t->original, code, n, &more) ? &t->original : NULL;
}

/*
 * The program's instruction. Where it is a jump of ours by now, that was said before its bytes changed: who asks for them
 * first, and for that again, is never wrong: unless it was taken back meanwhile, and they were those of the jump.
 */
static const struct cpu_insn *instruction_at(u64 rip)
{
    const struct cpu_insn *insn, *patched;
    u64 forgotten;

    do {
        forgotten = patch_forgotten();
        insn = patch_insn(rip);
        if (unlikely(insn != NULL))
            return insn;
        insn = cpu_lookup(rip);
        patched = patch_insn(rip);
    } while (unlikely(!patched && forgotten != patch_forgotten()));
    return patched ? patched : insn;
}

static enum trap_answer stage_decode(struct trap *t)
{
    unsigned width;
    bool write;
    u16 port;

    read_state(t);
    t->insn = instruction_at(t->state.rip);
    t->stepped = t->insn && t->insn->bytes[0] == BREAKPOINT;
    if (unlikely(t->stepped))
        t->insn = behind_breakpoint(t);
    if (!t->insn)
        return TRAP_FAILED;
    if (t->insn->segmented)
        read_bases(t);
    return t->port && !cpu_port(t->insn, &t->state, &port, &width, &write) ? TRAP_DECLINED : TRAP_HANDLED;
}

/* --- complete --- */

static void write_state(struct trap *t)
{
    greg_t *regs = t->uc->uc_mcontext.gregs;

#define WRITE(number, reg) regs[reg] = (greg_t)t->state.gpr[number];
    REGISTERS(WRITE)
#undef WRITE
    regs[REG_RIP] = (greg_t)t->state.rip;
    regs[REG_EFL] = (greg_t)t->state.rflags;
}

/* [FAULT], when the program has no handler and dies. addr: of memory, or a port. */
static void log_fault(struct trap *t, u64 addr, bool write, unsigned size, bool port)
{
    struct trace_record rec = {.type = TRACE_FAULT, .device = TRACE_NONE, .reg = TRACE_NONE};
    char text[TRACE_TEXT];
    struct fmt f = FMT_INIT(text);

    rec.addr = addr;
    rec.op = write ? TRACE_WRITE : TRACE_READ;
    rec.width = size;
    rec.pc = t->state.rip;
    if (port)
        trap_diagnose_port((u16)addr, &f);
    else
        trap_diagnose(addr, &f);
    fmt_end(&f);
    log_event(t->thread, &rec, text);
}

/*
 * Another part of its operands than the window cannot be reached. What the program's own memory says of
 * it, it said to us: a page that is absent or closed, a file that ends before it, an address that is none.
 */
static void access_fault(struct trap *t, siginfo_t *info)
{
    greg_t *regs = t->uc->uc_mcontext.gregs;
    u64 error = FAULT_USER | (t->result.fault_write || t->failed_modify ? FAULT_WRITE : 0);

    /* A window that the program mapped without this right is there all the same. */
    info->si_signo = t->failed_own ? t->thread->missed.sig : SIGSEGV;
    info->si_code = t->failed_own ? t->thread->missed.code : SEGV_ACCERR;
    if (info->si_code == SI_KERNEL) { /* a protection fault has no address */
        info->si_signo = t->result.fault_stack ? SIGBUS : SIGSEGV;
        regs[REG_ERR] = 0;
        regs[REG_TRAPNO] = t->result.fault_stack ? TRAPNO_STACK : TRAPNO_PROTECTION;
        return;
    }
    info->si_addr = (void *)t->failed_at;
    regs[REG_CR2] = (greg_t)t->failed_at;
    regs[REG_ERR] = (greg_t)(error | (t->failed_own ? t->thread->missed.error : 0));
}

/* The instruction faults by itself: the program sees that fault at its own rip. */
static void own_fault(struct trap *t)
{
    siginfo_t info = {0};
    int sig = SIGSEGV;

    if (t->result.fault == CPU_FAULT_NESTED) {
        sig = t->result.signal;
        info.si_code = t->result.code;
        info.si_addr = (void *)(sig == SIGSEGV || sig == SIGBUS ? t->result.signal_addr : t->state.rip);
    } else {
        access_fault(t, &info);
        sig = info.si_signo;
    }
    info.si_signo = sig;
    if (t->result.fault == CPU_FAULT_ACCESS && !signals_handled(sig))
        log_fault(t, t->failed_at, t->result.fault_write, t->insn->size, false);
    signals_deliver(sig, &info, t->uc);
}

static void refuse(struct trap *t, const char *why)
{
    struct trace_record rec = {.type = TRACE_LINT, .device = TRACE_NONE, .reg = TRACE_NONE};
    char text[TRACE_TEXT];
    struct fmt f = FMT_INIT(text);
    const char *rule = "refused";

    fmt_mem(&f, rule, strlen(rule) + 1);
    fmt_printf(&f, "instruction");
    for (unsigned i = 0; t->insn && i < t->insn->length; i++) {
        fmt_char(&f, ' ');
        fmt_hexpad(&f, t->insn->bytes[i], 2);
    }
    fmt_printf(&f, ": %s", why);
    fmt_end(&f);
    rec.pc = t->state.rip;
    memcpy(rec.text, text, sizeof(text));
    log_event(t->thread, &rec, NULL);
}

static enum trap_answer stage_complete(struct trap *t)
{
    switch (t->outcome) {
    case CPU_DONE:
        write_state(t);
        trap_requests(t);
        return TRAP_HANDLED;
    case CPU_RETRY:
        write_state(t);
        /* Pending signals are delivered between two looks at the host end; then the instruction runs again. */
        if (t->wait)
            bus_wait(t->wait, 50);
        return TRAP_HANDLED;
    case CPU_FAULTED:
        write_state(t);
        /* The fault of a refused port is the one that brought us here; that of ins's or outs's memory is another. */
        if (t->refused && !(t->port && t->result.fault == CPU_FAULT_ACCESS))
            return TRAP_DECLINED;
        own_fault(t);
        return TRAP_HANDLED;
    case CPU_REFUSED:
        break;
    }
    refuse(t, t->result.refusal ? t->result.refusal : "not emulated");
    return TRAP_DECLINED;
}

#define FLAG_TRAP 0x100 /* TF, SDM vol. 1, 3.4.3.3 */

/* Who steps sees the instruction: a debugger its breakpoint, a program that has set TF the #DB behind it. */
static void show_step(struct trap *t, u64 at, bool trace)
{
    greg_t *regs = t->uc->uc_mcontext.gregs;
    siginfo_t info = {.si_signo = SIGTRAP, .si_code = TRAP_TRACE};

    if ((u64)regs[REG_RIP] != t->state.rip)
        return; /* the program ends */
    if (t->stepped)
        stepping_return(t->uc, at);
    if (!trace)
        return;
    info.si_addr = (void *)t->state.rip;
    signals_deliver(SIGTRAP, &info, t->uc);
}

enum trap_answer trap_run(struct trap *t)
{
    u64 at = (u64)t->uc->uc_mcontext.gregs[REG_RIP];
    bool trace = t->uc->uc_mcontext.gregs[REG_EFL] & FLAG_TRAP;
    enum trap_answer answer = stage_fault(t);

    if (answer == TRAP_HANDLED && stepping_again(t->uc))
        return TRAP_HANDLED;
    if (answer == TRAP_HANDLED)
        answer = stage_decode(t);
    if (answer == TRAP_HANDLED && unlikely(t->stepped) && stepping_signal_waits(t->uc))
        return TRAP_HANDLED;
    if (answer == TRAP_HANDLED) {
        /* route, device and log happen for each access that the instruction makes: route.c */
        struct cpu_bus bus = trap_bus;

        bus.context = t;
        t->outcome = cpu_run(t->insn, &t->state, &bus, &t->result);
        answer = stage_complete(t);
        if (t->outcome == CPU_DONE && unlikely(t->stepped || trace))
            show_step(t, at, trace);
        else
            t->over = t->outcome == CPU_DONE;
        if (t->over && !t->port)
            patch_trapped(t->insn, at, t->fault_addr);
    }
    return answer;
}

/* --- the handler --- */

/* What will be said of a fault that is the program's own, when it dies of it. */
static void report_fault(struct trap *t)
{
    u64 error = (u64)t->uc->uc_mcontext.gregs[REG_ERR], addr = 0;
    u64 fault = (u64)t->info->si_addr;
    unsigned size = 1;
    bool write;
    u16 port;

    if (t->info->si_code <= 0 || signals_handled(SIGSEGV))
        return;
    read_state(t);
    read_bases(t);
    t->insn = error & FAULT_FETCH ? NULL : instruction_at(t->state.rip);
    if (t->insn && cpu_port(t->insn, &t->state, &port, &size, &write)) {
        if (trap_has_ports())
            log_fault(t, port, write, size, true);
        else
            refuse(t, "port I/O: the machine has no I/O ports");
        return;
    }
    if (t->insn && cpu_operand(t->insn, &t->state, &addr, &size)) {
        /* The kernel knows the page, the instruction the operand; of a protection fault the kernel knows neither. */
        if (fault - addr < size || t->info->si_code == SI_KERNEL)
            fault = addr;
    } else if (t->insn && t->insn->refusal && t->info->si_code == SI_KERNEL) {
        refuse(t, t->insn->refusal); /* what only the kernel may do */
        return;
    }
    log_fault(t, fault, error & FAULT_WRITE, size ? size : 1, false);
}

static bool mend_dirty(const siginfo_t *info, const ucontext_t *uc)
{
    return info->si_code == SEGV_ACCERR && ((u64)uc->uc_mcontext.gregs[REG_ERR] & FAULT_WRITE) &&
           dirty_fault((u64)info->si_addr);
}

/* A look of ours at the program's memory failed. */
static void note_missed(int sig, int code, u64 error)
{
    struct thread *thread = thread_self();

    if (thread)
        thread->missed = (struct missed){sig, code, error};
}

enum fault_answer trap_signal(int sig, siginfo_t *info, ucontext_t *uc)
{
    greg_t *regs = uc->uc_mcontext.gregs;
    struct trap t;
    u64 go_on;

    if (info->si_code <= 0)
        return FAULT_DECLINED;
    go_on = sig == SIGSEGV || sig == SIGBUS ? probe_fixup((u64)regs[REG_RIP]) : 0;
    if (go_on)
        note_missed(sig, info->si_code, (u64)regs[REG_ERR]);
    if ((sig == SIGSEGV && mend_dirty(info, uc)) || (sig == SIGBUS && ring_fault((u64)info->si_addr)))
        return FAULT_HANDLED;
    if (!go_on && (sig == SIGSEGV || sig == SIGBUS))
        go_on = guard_fixup((u64)regs[REG_RIP]);
    if (!go_on)
        go_on = cpu_stub_fault((u64)regs[REG_RIP], sig, info->si_code, (u64)info->si_addr);
    if (go_on) {
        regs[REG_RIP] = (greg_t)go_on;
        return FAULT_HANDLED;
    }
    if (sig != SIGSEGV)
        return FAULT_DECLINED;
    memset(&t, 0, offsetof(struct trap, state));
    t.nlocked = t.accesses = 0;
    t.kept = t.bracketed = t.refused = t.port = t.over = false;
    t.near.size = 0;
    t.wait = NULL;
    t.info = info;
    t.uc = uc;
    t.thread = thread_self();
    if (!t.thread)
        return FAULT_DECLINED;
    memcpy(&t.thread->blocked, &uc->uc_sigmask, sizeof(t.thread->blocked));
    debug(TRAP, 2, "fault at %lx, rip %lx, error %lx", (u64)info->si_addr, (u64)regs[REG_RIP], (u64)regs[REG_ERR]);
    if (trap_run(&t) == TRAP_HANDLED)
        return t.over ? FAULT_OVER : FAULT_HANDLED;
    debug(TRAP, 1, "not ours: address %lx, rip %lx", (u64)info->si_addr, (u64)regs[REG_RIP]);
    report_fault(&t);
    return FAULT_DECLINED;
}
