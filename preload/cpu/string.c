/*
 * String instructions, one bus access an iteration and side. rcx, rsi and rdi
 * are updated after each, so that a fault in the middle shows the progress.
 */
#include "cpu/plan.h"
#include "base/trapsafe.h"

static bool uses_source(const struct plan *p)
{
    return p->op == STRING_MOVS || p->op == STRING_CMPS || p->op == STRING_LODS;
}

static bool uses_destination(const struct plan *p)
{
    return p->op != STRING_LODS;
}

static u64 sized(const struct plan *p, u64 value)
{
    return p->addr32 ? (u32)value : value;
}

static u64 source(const struct plan *p, const struct cpu_state *state)
{
    return sized(p, state->gpr[RSI]) + run_segment_base(p, state);
}

/* Always es: no base. */
static u64 destination(const struct plan *p, const struct cpu_state *state)
{
    return sized(p, state->gpr[RDI]);
}

/* movs: the destination, as the operand that is written first in assembler. */
u64 string_address(const struct cpu_insn *insn, const struct cpu_state *state)
{
    const struct plan *p = plan_of(insn);

    return p->op == STRING_LODS || p->op == STRING_CMPS ? source(p, state) : destination(p, state);
}

bool string_spans(const struct cpu_insn *insn, const struct cpu_state *state, span_fn span, void *context)
{
    const struct plan *p = plan_of(insn);

    if (p->repeat && !sized(p, state->gpr[RCX]))
        return false;
    return (uses_source(p) && span(context, source(p, state), insn->size)) ||
           (uses_destination(p) && span(context, destination(p, state), insn->size));
}

static void advance(struct run *run)
{
    const struct plan *p = run->plan;
    struct cpu_state *state = run->state;
    u64 step = state->rflags & FLAG_DF ? -(u64)run->insn->size : run->insn->size;

    if (uses_source(p))
        state->gpr[RSI] = sized(p, state->gpr[RSI] + step);
    if (uses_destination(p))
        state->gpr[RDI] = sized(p, state->gpr[RDI] + step);
    if (p->repeat)
        state->gpr[RCX] = sized(p, state->gpr[RCX] - 1);
}

/* Flags of a - b (SDM vol. 1, appendix A). */
static u64 compare(u64 a, u64 b, unsigned size)
{
    unsigned top = 8 * size - 1;
    u64 mask = ~(u64)0 >> (63 - top);
    u64 difference = (a - b) & mask;
    u64 flags = 0;

    a &= mask;
    b &= mask;
    if (a < b)
        flags |= FLAG_CF;
    if (!__builtin_parity((u8)difference))
        flags |= FLAG_PF;
    if ((a ^ b ^ difference) & 0x10)
        flags |= FLAG_AF;
    if (!difference)
        flags |= FLAG_ZF;
    if (difference >> top & 1)
        flags |= FLAG_SF;
    if (((a ^ b) & (a ^ difference)) >> top & 1)
        flags |= FLAG_OF;
    return flags;
}

/* One iteration; false: run->outcome says why, nothing changed. */
static bool iterate(struct run *run)
{
    const struct plan *p = run->plan;
    struct cpu_state *state = run->state;
    unsigned n = run->insn->size;
    u64 a = state->gpr[RAX], b = 0;

    if (p->op == STRING_CMPS && !run_read(run, destination(p, state), &b, n)) /* CPUs read this side first */
        return false;
    if (uses_source(p) && !run_read(run, source(p, state), &a, n))
        return false;
    switch (p->op) {
    case STRING_MOVS:
    case STRING_STOS:
        if (!run_write(run, destination(p, state), &a, n))
            return false;
        break;
    case STRING_LODS:
        run_set_gpr(state, RAX, n, false, a);
        break;
    default:
        if (p->op == STRING_SCAS && !run_read(run, destination(p, state), &b, n))
            return false;
        state->rflags &= ~(u64)FLAGS_STUB;
        state->rflags |= compare(a, b, n);
        break;
    }
    advance(run);
    return true;
}

/* Does the comparison end the repetition? */
static bool ends(const struct run *run)
{
    bool equal = run->state->rflags & FLAG_ZF;

    if (run->plan->op != STRING_CMPS && run->plan->op != STRING_SCAS)
        return false;
    return equal == (run->plan->repeat == REP_NE);
}

/* True: the instruction is complete; else *outcome says why not. */
static bool repeat(struct run *run, enum cpu_outcome *outcome)
{
    const struct plan *p = run->plan;
    const struct cpu_bus *bus = run->bus;
    unsigned burst = run->state->rflags & FLAG_TF ? 1 : CPU_BURST;

    *outcome = CPU_DONE;
    for (unsigned i = 0; i < burst; i++) {
        if (p->repeat && !sized(p, run->state->gpr[RCX]))
            return true;
        if (i && bus->ours && !string_spans(run->insn, run->state, bus->ours, bus->context))
            return false; /* left the windows: on at full speed */
        if (!iterate(run)) {
            *outcome = run->outcome;
            return false;
        }
        if (!p->repeat || ends(run))
            return true;
    }
    return !sized(p, run->state->gpr[RCX]);
}

/* An interrupted comparison leaves the flags as they were before it (SDM vol. 2, REP). */
enum cpu_outcome run_string(struct run *run)
{
    u64 flags = run->state->rflags;
    enum cpu_outcome outcome;

    if (repeat(run, &outcome))
        return run_done(run);
    run->state->rflags = flags;
    return outcome;
}
