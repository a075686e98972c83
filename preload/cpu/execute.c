/*
 * Re-execution: the operand is read into a scratch, the real instruction runs
 * on it with the program's registers, and the scratch is written back. Results
 * and flags are exact, because the CPU computes them.
 */
#include <signal.h>

#include "base/mem.h"
#include "cpu/plan.h"
#include "base/trapsafe.h"

/* A word of bits moves with a bit offset in a register, signed (SDM vol. 2, BT). */
static u64 bit_displacement(const struct cpu_insn *insn, const struct cpu_state *state)
{
    const struct plan *p = plan_of(insn);
    u64 reg = state->gpr[p->bit_offset];
    i64 offset = insn->size == 8 ? (i64)reg : insn->size == 4 ? (i32)reg : (i16)reg;
    unsigned bits = 8u * insn->size;

    return (u64)(offset >> __builtin_ctz(bits)) * insn->size;
}

u64 execute_address(const struct cpu_insn *insn, const struct cpu_state *state)
{
    return run_address(insn, state, plan_of(insn)->bit_offset == REG_NONE ? 0 : bit_displacement(insn, state));
}

/* ---- elements ---- */

static u64 ones(unsigned n)
{
    return n >= 64 ? ~(u64)0 : ((u64)1 << n) - 1;
}

static u64 sign_bits(const u8 *bytes, unsigned lanes, unsigned element)
{
    u64 bits = 0;

    for (unsigned i = 0; i < lanes; i++)
        bits |= (u64)(bytes[(i + 1) * element - 1] >> 7) << i;
    return bits;
}

static u64 lane_bits(const struct plan *p, const struct cpu_state *state)
{
    u8 vector[64];
    u64 mmx;

    switch (p->mask) {
    case MASK_SIGNS:
        xstate_get_vector(state, p->mask_reg, vector);
        return sign_bits(vector, p->lanes, p->element);
    case MASK_MMX:
        mmx = xstate_get_mmx(state, p->mask_reg);
        return sign_bits((const u8 *)&mmx, p->lanes, p->element);
    default:
        return xstate_get_opmask(state, p->mask_reg) & ones(p->lanes);
    }
}

/* Bit i: element i of the operand in memory is reached. */
static u64 enabled_elements(const struct cpu_insn *insn, const struct cpu_state *state)
{
    const struct plan *p = plan_of(insn);
    unsigned elements = insn->size / p->element;
    u64 lanes = lane_bits(p, state), bits = 0;

    if (p->mask == MASK_PACKED)
        return ones((unsigned)__builtin_popcountll(lanes));
    if (elements >= p->lanes)
        return lanes;
    for (unsigned i = 0; i < p->lanes; i++) /* broadcast: some lane wants the element */
        bits |= (lanes >> i & 1) << i % elements;
    return bits;
}

/* Neighbouring elements are one access. Takes the first run out of *bits. */
struct part {
    unsigned at, bytes;
};

static bool next_part(u64 *bits, unsigned element, struct part *part)
{
    unsigned first, count;

    if (!*bits)
        return false;
    first = (unsigned)__builtin_ctzll(*bits);
    count = ~(*bits >> first) ? (unsigned)__builtin_ctzll(~(*bits >> first)) : 64 - first;
    *bits &= ~(ones(count) << first);
    part->at = first * element;
    part->bytes = count * element;
    return true;
}

bool execute_spans(const struct cpu_insn *insn, const struct cpu_state *state, span_fn span, void *context)
{
    const struct plan *p = plan_of(insn);
    u64 addr = execute_address(insn, state), bits;
    struct part part;

    if (p->mask == MASK_NONE)
        return span(context, addr, insn->size);
    if (!state->xsave)
        return false;
    bits = enabled_elements(insn, state);
    while (next_part(&bits, p->element, &part))
        if (span(context, addr + part.at, part.bytes))
            return true;
    return false;
}

/* ---- one execution ---- */

struct execution {
    struct run *run;
    u64 addr;
    u64 elements; /* of a masked operand */
    u8 *scratch;  /* alignment as in the program, modulo 64: alignment faults are the same */
    struct stub_frame frame;
};

/* fxsave leaves the last 48 bytes to software and the 48 before them reserved: it writes neither. */
#define FXSAVE_BYTES   512
#define FXSAVE_WRITTEN 416

/* Of an image of the x87 state CPUs look at the first word and then at the last byte. 0: another operand. */
static unsigned first_word(const struct cpu_insn *insn)
{
    if (!(plan_of(insn)->load & XC_X87))
        return 0;
    switch (insn->size) {
    case 14: /* fnstenv and fldenv, fnsave and frstor, with prefix 66 */
    case 94:
        return 2;
    case 28:
    case 108:
        return 4;
    case FXSAVE_BYTES:
        return 1;
    default:
        return 0;
    }
}

static bool reach_image(struct execution *x, unsigned word, bool write)
{
    return run_reach(x->run, x->addr, word, write) &&
           run_reach(x->run, x->addr + x->run->insn->size - 1, 1, write);
}

/* What is checked whatever the mask says: maskmovdqu is two stores of 8 bytes, the upper one first. */
static bool reach_whole(struct execution *x, bool write)
{
    const struct plan *p = x->run->plan;
    unsigned size = x->run->insn->size, below = p->element == 1 && size == 16 ? 8 : 0;

    return run_reach(x->run, x->addr + below, size - below, write) && run_reach(x->run, x->addr, size, write);
}

/* A masked store is one from its first enabled byte to the last: in the other page CPUs look at the last one. */
static bool reach_ends(struct execution *x)
{
    unsigned element = x->run->plan->element, first, last;

    if (!x->elements)
        return true;
    first = (unsigned)__builtin_ctzll(x->elements) * element;
    last = (64 - (unsigned)__builtin_clzll(x->elements)) * element - 1;
    return run_reach(x->run, x->addr + first, 1, true) && run_reach(x->run, x->addr + last, 1, true);
}

/* Nothing is touched before all of it can be. */
static bool reach_operand(struct execution *x, bool write)
{
    const struct plan *p = x->run->plan;
    unsigned size = x->run->insn->size, word = first_word(x->run->insn);
    u64 bits = x->elements;
    struct part part;

    if (p->checks_all)
        return reach_whole(x, write);
    if (!run_crosses(x->addr, size))
        return true;
    if (word)
        return reach_image(x, word, write);
    if (p->mask == MASK_NONE)
        return run_reach(x->run, x->addr, size, write);
    if (write && p->lanes > 1)
        return reach_ends(x);
    while (next_part(&bits, p->element, &part))
        if (!run_reach(x->run, x->addr + part.at, part.bytes, write))
            return false;
    return true;
}

static bool read_operand(struct execution *x)
{
    const struct plan *p = x->run->plan;
    u64 bits = x->elements;
    struct part part;

    if (!reach_operand(x, false))
        return false;
    if (p->mask == MASK_NONE)
        return run_read(x->run, x->addr, x->scratch, x->run->insn->size);
    while (next_part(&bits, p->element, &part))
        if (!run_read(x->run, x->addr + part.at, x->scratch + part.at, part.bytes))
            return false;
    return true;
}

/* fstp m80 and fbstp store 8 bytes and then 2: the first remain when only the others fail. */
#define X87_EXTENDED 10
#define X87_MANTISSA 8

static void write_mantissa(struct execution *x)
{
    const struct cpu_bus *bus = x->run->bus;
    struct cpu_result fault = *x->run->result;

    if (bus->reach(bus->context, x->addr, X87_MANTISSA, true))
        bus->write(bus->context, x->addr, x->scratch, X87_MANTISSA);
    *x->run->result = fault;
}

static bool write_elements(struct execution *x)
{
    bool several = x->elements & (x->elements + (x->elements & -x->elements)); /* more than one run of bits */
    bool held = several && run_hold(x->run, x->addr, x->run->insn->size), ok = true;
    u64 bits = x->elements;
    struct part part;

    while (ok && next_part(&bits, x->run->plan->element, &part))
        ok = run_write(x->run, x->addr + part.at, x->scratch + part.at, part.bytes);
    run_release(x->run, held);
    return ok;
}

static bool write_operand(struct execution *x)
{
    const struct plan *p = x->run->plan;
    unsigned size = x->run->insn->size;

    if (!reach_operand(x, true)) {
        if (size == X87_EXTENDED && p->x87_store)
            write_mantissa(x);
        return false;
    }
    if (p->mask == MASK_NONE)
        return run_write(x->run, x->addr, x->scratch, size == FXSAVE_BYTES ? FXSAVE_WRITTEN : size);
    return write_elements(x);
}

static void load_frame(struct execution *x)
{
    const struct plan *p = x->run->plan;
    const struct cpu_state *state = x->run->state;
    struct stub_frame *f = &x->frame;

    memcpy(f->gpr, state->gpr, sizeof(f->gpr));
    if (p->stand_in != REG_NONE)
        f->gpr[p->stand_in] = state->gpr[RSP];
    if (p->bit_offset != REG_NONE) /* the address has taken the upper bits */
        f->gpr[p->bit_offset == RSP ? p->stand_in : p->bit_offset] &= 8u * x->run->insn->size - 1;
    f->gpr[p->scratch] = (u64)x->scratch;
    f->flags = state->rflags & FLAGS_STUB;
    f->load = xstate_needed(p, state);
    f->save = f->load & p->save;
    f->area = state->xsave;
    f->code = p->stub;
}

static void commit(struct execution *x)
{
    const struct plan *p = x->run->plan;
    struct cpu_state *state = x->run->state;
    struct stub_frame *f = &x->frame;

    f->gpr[RSP] = p->stand_in == REG_NONE || p->bit_offset == RSP ? state->gpr[RSP] : f->gpr[p->stand_in];
    if (p->stand_in != REG_NONE)
        f->gpr[p->stand_in] = state->gpr[p->stand_in];
    if (p->bit_offset != REG_NONE)
        f->gpr[p->bit_offset] = state->gpr[p->bit_offset];
    f->gpr[p->scratch] = state->gpr[p->scratch];
    memcpy(state->gpr, f->gpr, sizeof(f->gpr));
    state->rflags = (state->rflags & ~(u64)FLAGS_STUB) | f->flags;
}

static bool run_stub(struct execution *x)
{
    return stub_run(x->run, &x->frame, x->scratch, x->addr, x->run->insn->size);
}

/* ---- x87 ---- */

#define X87_EXCEPTIONS 0x3f
#define X87_NO_STORE   0x1f /* all but precision: the result is not written */

static unsigned x87_unmasked(const struct cpu_state *state)
{
    const struct x87_env *env = xstate_x87(state);

    return env ? env->status & ~env->control & X87_EXCEPTIONS : 0;
}

/* The pointers of the last x87 instruction (fnstenv shows them) are the program's, not ours. */
static void fix_x87_pointers(const struct execution *x, u16 opcode_before)
{
    struct x87_env *env = xstate_x87(x->run->state);
    const struct plan *p = x->run->plan;

    if (!env)
        return;
    if (env->ip - (u64)p->stub < STUB_SLOT) {
        env->ip = x->run->state->rip;
        if (env->opcode != opcode_before)
            env->opcode = p->opcode_x87 & 0x7ff;
    }
    if (env->dp - (u64)x->scratch < x->run->insn->size)
        env->dp = x->addr + (env->dp - (u64)x->scratch) - run_segment_base(p, x->run->state); /* an offset */
}

/* ---- segment registers ---- */

/*
 * ds, es and gs are the same in a signal handler as outside, so a load by the stub is the program's. ss comes back from
 * the signal frame: it can only be loaded with what it is. fs is not loaded at all, our own data hang on it.
 */
static u16 stack_segment(void)
{
    u16 selector;

    __asm__ volatile("mov %%ss, %0" : "=r"(selector));
    return selector;
}

static bool keep_stack_segment(struct run *run, u16 selector)
{
    if (stack_segment() == selector)
        return true;
    __asm__ volatile("mov %0, %%ss" : : "r"(selector));
    run->outcome = CPU_REFUSED;
    run->result->refusal = "another stack segment";
    return false;
}

bool execute_load_gs(struct run *run, u16 selector)
{
    struct stub_frame frame = {.code = run->plan->stub};

    frame.gpr[run->plan->scratch] = (u64)&selector;
    return stub_run(run, &frame, (const u8 *)&selector, run->state->gpr[RSP], sizeof(selector));
}

/* ---- the sequence ---- */

static bool misaligned(u64 addr, unsigned size)
{
    switch (size) {
    case 16:
    case 32:
    case 64:
        return addr & (size - 1);
    case FXSAVE_BYTES:
        return addr & 15;
    default:
        return false;
    }
}

/*
 * Would the instruction fault before it reaches memory? #GP for alignment and
 * #MF for a pending x87 exception come first, and no device may see a read that
 * the hardware would not make. Asks the CPU: runs the stub on zeros, keeps nothing.
 */
static bool faults_early(struct execution *x)
{
    bool pending = (x->run->plan->load & XC_X87) && x87_unmasked(x->run->state);

    if (!pending && !misaligned(x->addr, x->run->insn->size))
        return false;
    load_frame(x);
    x->frame.save = 0;
    if (run_stub(x))
        return false;
    return x->run->result->signal != SIGFPE || pending;
}

static bool compute(struct execution *x)
{
    struct x87_env *env = xstate_x87(x->run->state);
    u16 opcode = env ? env->opcode : 0, ss = stack_segment();

    load_frame(x);
    if (!run_stub(x))
        return false;
    if (x->run->plan->loads_ss && !keep_stack_segment(x->run, ss))
        return false;
    if (x->frame.save & XC_X87)
        fix_x87_pointers(x, opcode);
    return true;
}

/* An MMX store has used the registers in their physical order, TOP is 0; only the tags are as they were. */
static void undo_x87(struct execution *x, const u8 before[XSTATE_LEGACY])
{
    struct x87_env *env = xstate_x87(x->run->state);
    u16 tag = 0;

    if (!x->run->plan->mmx_store || !env) {
        memcpy(x->run->state->xsave, before, XSTATE_LEGACY);
        return;
    }
    if (before[XSTATE_BV] & XC_X87)
        memcpy(&tag, before + offsetof(struct x87_env, tag), sizeof(tag));
    env->tag = tag;
}

/*
 * An x87 store that fails must leave the stack as it was: fstp has not popped. The sticky bits
 * of MXCSR stay, as on hardware.
 */
static enum cpu_outcome store(struct execution *x)
{
    struct cpu_state *state = x->run->state;
    bool pending = x87_unmasked(state);
    u8 before[XSTATE_LEGACY];
    bool keep = x->run->plan->save & XC_X87;

    if (keep)
        memcpy(before, state->xsave, sizeof(before));
    if (!compute(x))
        return x->run->outcome;
    if (x->run->plan->x87_store && !pending && (x87_unmasked(state) & X87_NO_STORE)) {
        commit(x);
        return run_done(x->run);
    }
    if (!write_operand(x)) {
        if (keep)
            undo_x87(x, before);
        return x->run->outcome;
    }
    commit(x);
    return run_done(x->run);
}

static enum cpu_outcome load(struct execution *x)
{
    if (faults_early(x))
        return x->run->outcome;
    if (!read_operand(x) || !compute(x))
        return x->run->outcome;
    commit(x);
    return run_done(x->run);
}

static enum cpu_outcome modify(struct execution *x)
{
    const struct cpu_bus *bus = x->run->bus;
    bool ok;

    if (faults_early(x) || !reach_operand(x, true))
        return x->run->outcome;
    if (bus->begin)
        bus->begin(bus->context, x->addr, x->run->insn->size);
    ok = read_operand(x) && compute(x) && write_operand(x);
    if (bus->end)
        bus->end(bus->context);
    if (!ok)
        return x->run->outcome;
    commit(x);
    return run_done(x->run);
}

enum cpu_outcome run_execute(struct run *run)
{
    u8 buffer[64 + OPERAND_MAX] __attribute__((aligned(64)));
    struct execution x = {.run = run, .addr = execute_address(run->insn, run->state)};

    x.scratch = buffer + (x.addr & 63);
    memset(x.scratch, 0, run->insn->size);
    if (run->plan->mask != MASK_NONE)
        x.elements = enabled_elements(run->insn, run->state);
    if (!run->insn->writes)
        return load(&x);
    return run->insn->reads ? modify(&x) : store(&x);
}
