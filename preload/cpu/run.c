#include <signal.h>

#include "base/mem.h"
#include "cpu/plan.h"
#include "base/trapsafe.h"

u64 run_segment_base(const struct plan *p, const struct cpu_state *state)
{
    return p->segment == SEGMENT_FS ? state->fs_base : p->segment == SEGMENT_GS ? state->gs_base : 0;
}

u64 run_address(const struct cpu_insn *insn, const struct cpu_state *state, u64 extra)
{
    const struct plan *p = plan_of(insn);
    u64 addr = (u64)p->disp + extra;

    if (p->rip_relative)
        addr += state->rip + insn->length;
    if (p->base != REG_NONE)
        addr += state->gpr[p->base];
    if (p->index != REG_NONE)
        addr += state->gpr[p->index] << p->scale;
    if (p->addr32)
        addr = (u32)addr;
    return addr + run_segment_base(p, state);
}

/* Does the access go through ss? That decides how an address that is none is told (SDM vol. 3, 6.15, #SS). */
static bool by_stack(const struct run *run, u64 addr, bool write)
{
    const struct plan *p = run->plan;
    bool implicit = run->insn->kind == KIND_STACK &&
                    (p->source != FROM_MEMORY || addr != stack_address(run->insn, run->state));

    if (run->insn->kind == KIND_DIRECT64 && write)
        return false;
    return implicit || (p->segment == SEGMENT_FLAT && (p->base == RSP || p->base == RBP));
}

/* The byte that the bus has named counts, if it named one. */
bool run_unreachable(struct run *run, u64 addr, unsigned n, bool write)
{
    if (run->bus->retry && run->bus->retry(run->bus->context)) {
        run->outcome = CPU_RETRY;
        return false;
    }
    run->result->fault = CPU_FAULT_ACCESS;
    if (run->result->fault_addr - addr >= n)
        run->result->fault_addr = addr;
    run->result->fault_write = write;
    run->result->fault_stack = by_stack(run, addr, write);
    run->outcome = CPU_FAULTED;
    return false;
}

bool run_crosses(u64 addr, unsigned n)
{
    return (addr & ~PAGE_MASK) + n > PAGE_SIZE;
}

bool run_reach(struct run *run, u64 addr, unsigned n, bool write)
{
    const struct cpu_bus *bus = run->bus;

    if (!bus->reach || bus->reach(bus->context, addr, n, write))
        return true;
    return run_unreachable(run, addr, n, write);
}

bool run_hold(struct run *run, u64 addr, u64 n)
{
    const struct cpu_bus *bus = run->bus;

    return n <= PAGE_SIZE && bus->hold && bus->hold(bus->context, addr, (unsigned)n);
}

void run_release(struct run *run, bool held)
{
    if (held)
        run->bus->end(run->bus->context);
}

bool run_read(struct run *run, u64 addr, void *buf, unsigned n)
{
    if (run_crosses(addr, n) && !run_reach(run, addr, n, false))
        return false;
    for (unsigned done = 0, piece; done < n; done += piece) {
        piece = MIN(n - done, 64u);
        if (!run->bus->read(run->bus->context, addr + done, (u8 *)buf + done, piece))
            return run_unreachable(run, addr + done, piece, false);
    }
    return true;
}

bool run_write(struct run *run, u64 addr, const void *buf, unsigned n)
{
    if (run_crosses(addr, n) && !run_reach(run, addr, n, true))
        return false;
    for (unsigned done = 0, piece; done < n; done += piece) {
        piece = MIN(n - done, 64u);
        if (!run->bus->write(run->bus->context, addr + done, (const u8 *)buf + done, piece))
            return run_unreachable(run, addr + done, piece, true);
    }
    return true;
}

/* A fault sets RF in the image of the flags; an instruction that completes clears it (SDM vol. 3, 18.3.1.1). */
enum cpu_outcome run_done(struct run *run)
{
    run->state->rip += run->insn->length;
    run->state->rflags &= ~(u64)FLAG_RF;
    return CPU_DONE;
}

enum cpu_outcome run_signal(struct run *run, int signal, int code, u64 addr)
{
    run->result->fault = CPU_FAULT_NESTED;
    run->result->signal = signal;
    run->result->code = code;
    run->result->signal_addr = addr;
    run->outcome = CPU_FAULTED;
    return CPU_FAULTED;
}

enum cpu_outcome run_protection(struct run *run)
{
    return run_signal(run, SIGSEGV, 0x80 /* SI_KERNEL */, 0);
}

void run_set_gpr(struct cpu_state *state, unsigned reg, unsigned size, bool high, u64 value)
{
    u64 *r = &state->gpr[reg];

    if (size == 8)
        *r = value;
    else if (size == 4)
        *r = (u32)value;
    else if (size == 2)
        *r = (*r & ~(u64)0xffff) | (u16)value;
    else if (high)
        *r = (*r & ~(u64)0xff00) | (u64)(u8)value << 8;
    else
        *r = (*r & ~(u64)0xff) | (u8)value;
}

/* ---- moves ---- */

static enum cpu_outcome run_load(struct run *run)
{
    const struct plan *p = run->plan;
    unsigned unused = 64 - 8 * run->insn->size;
    u64 value = 0;

    if (!run_read(run, run_address(run->insn, run->state, 0), &value, run->insn->size))
        return run->outcome;
    if (p->sign_extend)
        value = (u64)((i64)(value << unused) >> unused);
    run_set_gpr(run->state, p->reg, p->reg_size, p->reg_high, value);
    return run_done(run);
}

static enum cpu_outcome store_value(struct run *run, u64 value)
{
    if (!run_write(run, run_address(run->insn, run->state, 0), &value, run->insn->size))
        return run->outcome;
    return run_done(run);
}

static enum cpu_outcome run_xlat(struct run *run)
{
    u8 value;

    if (!run_read(run, run_address(run->insn, run->state, (u8)run->state->gpr[RAX]), &value, 1))
        return run->outcome;
    run_set_gpr(run->state, RAX, 1, false, value);
    return run_done(run);
}

/* The destination of movdir64b: a register, es, so no segment base. */
static u64 direct64_address(const struct cpu_insn *insn, const struct cpu_state *state)
{
    const struct plan *p = plan_of(insn);
    u64 addr = state->gpr[p->reg];

    return p->addr32 ? (u32)addr : addr;
}

static enum cpu_outcome run_direct64(struct run *run)
{
    u64 to = direct64_address(run->insn, run->state);
    u8 line[64];

    if (!run_read(run, run_address(run->insn, run->state, 0), line, sizeof(line)))
        return run->outcome;
    if (to & 63) /* the CPU reads before it looks at the destination */
        return run_protection(run);
    if (!run_write(run, to, line, sizeof(line)))
        return run->outcome;
    return run_done(run);
}

static u64 line_address(const struct cpu_insn *insn, const struct cpu_state *state)
{
    return run_address(insn, state, 0) & ~(u64)63;
}

static enum cpu_outcome run_zero_line(struct run *run)
{
    static const u8 zeros[64];

    if (!run_write(run, line_address(run->insn, run->state), zeros, sizeof(zeros)))
        return run->outcome;
    return run_done(run);
}

/* ---- all kinds ---- */

static enum cpu_outcome refused(struct cpu_result *result, const char *why)
{
    result->refusal = why;
    return CPU_REFUSED;
}

static bool needs_state(const struct plan *p)
{
    return p->load || p->mask != MASK_NONE;
}

enum cpu_outcome cpu_run(const struct cpu_insn *insn, struct cpu_state *state, const struct cpu_bus *bus,
                         struct cpu_result *result)
{
    const struct plan *p = plan_of(insn);
    struct run run = {.insn = insn, .plan = p, .state = state, .bus = bus, .result = result};
    u64 value;

    memset(result, 0, sizeof(*result));
    if (needs_state(p) && !state->xsave)
        return refused(result, "no x87 and vector state at hand");
    switch ((enum kind)insn->kind) {
    case KIND_LOAD:
        return run_load(&run);
    case KIND_STORE:
        value = state->gpr[p->reg];
        return store_value(&run, p->reg_high ? value >> 8 : value);
    case KIND_STORE_IMM:
        return store_value(&run, p->imm);
    case KIND_EXECUTE:
        return run_execute(&run);
    case KIND_STRING:
        return run_string(&run);
    case KIND_STACK:
        return run_stack(&run);
    case KIND_XLAT:
        return run_xlat(&run);
    case KIND_GATHER:
        return run_gather(&run);
    case KIND_SCATTER:
        return run_scatter(&run);
    case KIND_DIRECT64:
        return run_direct64(&run);
    case KIND_ZERO_LINE:
        return run_zero_line(&run);
    case KIND_XSAVE:
        return run_xsave(&run);
    case KIND_NOP:
        return run_done(&run);
    case KIND_PORT:
        return run_port(&run);
    case KIND_REFUSED:
        break;
    }
    return refused(result, insn->refusal);
}

/* outs reads at rsi, ins writes at rdi: the plan's base says which. in and out have no memory operand. */
bool cpu_operand(const struct cpu_insn *insn, const struct cpu_state *state, u64 *addr, unsigned *size)
{
    *size = insn->size;
    if (!insn->size)
        return false;
    switch ((enum kind)insn->kind) {
    case KIND_STRING:
        *addr = string_address(insn, state);
        return true;
    case KIND_STACK:
        *addr = stack_address(insn, state);
        return true;
    case KIND_GATHER:
    case KIND_SCATTER:
        return vsib_address(insn, state, addr);
    case KIND_EXECUTE:
        *addr = execute_address(insn, state);
        return true;
    case KIND_XLAT:
        *addr = run_address(insn, state, (u8)state->gpr[RAX]);
        return true;
    case KIND_XSAVE:
        *size = xsave_extent(insn, state);
        *addr = run_address(insn, state, 0);
        return true;
    case KIND_ZERO_LINE:
        *addr = line_address(insn, state);
        return true;
    default:
        *addr = run_address(insn, state, 0);
        return true;
    }
}

bool cpu_concerns(const struct cpu_insn *insn, const struct cpu_state *state, const struct cpu_bus *bus)
{
    unsigned size;
    u64 addr;

    switch ((enum kind)insn->kind) {
    case KIND_EXECUTE:
        return execute_spans(insn, state, bus->ours, bus->context);
    case KIND_STRING:
        return string_spans(insn, state, bus->ours, bus->context);
    case KIND_STACK:
        return stack_spans(insn, state, bus->ours, bus->context);
    case KIND_GATHER:
    case KIND_SCATTER:
        return vsib_spans(insn, state, bus->ours, bus->context);
    case KIND_XSAVE:
        return xsave_spans(insn, state, bus->ours, bus->context);
    case KIND_DIRECT64:
        if (bus->ours(bus->context, direct64_address(insn, state), 64))
            return true;
        break;
    default:
        break;
    }
    return cpu_operand(insn, state, &addr, &size) && bus->ours(bus->context, addr, size);
}
