/* push, pop, call, jmp, ret, leave and enter: the operand, the stack or both may lie in a window. */
#include <sys/mman.h>

#include "base/sys.h"
#include "cpu/plan.h"
#include "base/trapsafe.h"

/* What popf changes in user mode, and what pushf hides (RF, VM): SDM vol. 2. */
#define POPF_CHANGES 0x244dd5u
#define PUSHF_SHOWS  0xfcffffu

static bool from_memory(const struct plan *p)
{
    return p->source == FROM_MEMORY;
}

/* pop [rsp + x] addresses with the rsp that the pop has left behind. */
static u64 operand_address(const struct cpu_insn *insn, const struct cpu_state *state)
{
    const struct plan *p = plan_of(insn);

    return run_address(insn, state, p->op == STACK_POP && p->base == RSP ? insn->size : 0);
}

static bool pushes(const struct plan *p)
{
    return p->op == STACK_PUSH || p->op == STACK_PUSHF || p->op == STACK_CALL || p->op == STACK_ENTER;
}

/* Where the implicit access goes. A jump has none. */
static u64 slot_address(const struct cpu_insn *insn, const struct cpu_state *state)
{
    const struct plan *p = plan_of(insn);

    if (p->op == STACK_LEAVE)
        return state->gpr[RBP];
    return pushes(p) ? state->gpr[RSP] - insn->size : state->gpr[RSP];
}

u64 stack_address(const struct cpu_insn *insn, const struct cpu_state *state)
{
    return from_memory(plan_of(insn)) ? operand_address(insn, state) : slot_address(insn, state);
}

bool stack_spans(const struct cpu_insn *insn, const struct cpu_state *state, span_fn span, void *context)
{
    const struct plan *p = plan_of(insn);

    if (from_memory(p) && span(context, operand_address(insn, state), insn->size))
        return true;
    if (p->op == STACK_ENTER) /* reads the outer frames' pointers downwards from rbp, writes as many from rsp */
        for (unsigned i = 1; i <= p->lanes; i++)
            if ((i < p->lanes && span(context, state->gpr[RBP] - i * insn->size, insn->size)) ||
                span(context, state->gpr[RSP] - (i + 1) * insn->size, insn->size))
                return true;
    return p->op != STACK_JUMP && span(context, slot_address(insn, state), insn->size);
}

static u8 unused_bits = 16; /* of an address */

/*
 * Addresses are sign-extended from 48 bits, or from 57 where the kernel uses five levels of page tables: CPUID tells
 * only what the CPU could do, the kernel answers a hint beyond 47 bits (Linux Documentation/arch/x86/x86_64/5level-paging).
 */
void stack_init(void)
{
    u64 hint = (u64)1 << 52;
    void *p = sys_mmap((void *)hint, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if ((i64)p < 0) /* -errno */
        return;
    if ((u64)p >> 47)
        unused_bits = 7;
    sys_munmap(p, PAGE_SIZE);
}

/* A jump to another address faults at the jump. */
static bool is_canonical(u64 addr)
{
    return (u64)((i64)(addr << unused_bits) >> unused_bits) == addr;
}

static u64 segment_selector(unsigned segment)
{
    u16 value = 0;

    if (segment == 4)
        __asm__("mov %%fs, %0" : "=r"(value));
    else if (segment == 5)
        __asm__("mov %%gs, %0" : "=r"(value));
    return value;
}

/* Value to push, or address to go to. */
static bool get_source(struct run *run, u64 *value)
{
    const struct plan *p = run->plan;

    *value = 0;
    switch (p->source) {
    case FROM_MEMORY:
        return run_read(run, operand_address(run->insn, run->state), value, run->insn->size);
    case FROM_REGISTER:
        *value = run->state->gpr[p->reg];
        return true;
    case FROM_SEGMENT:
        *value = segment_selector(p->reg);
        return true;
    default:
        *value = p->imm;
        return true;
    }
}

static enum cpu_outcome push(struct run *run, u64 value)
{
    u64 sp = run->state->gpr[RSP] - run->insn->size;

    if (!run_write(run, sp, &value, run->insn->size))
        return run->outcome;
    run->state->gpr[RSP] = sp;
    return run_done(run);
}

static enum cpu_outcome pop(struct run *run)
{
    const struct plan *p = run->plan;
    struct cpu_state *state = run->state;
    unsigned n = run->insn->size;
    u64 value = 0;

    /* CPUs read no more than the selector, whatever rsp moves by. */
    if (!run_read(run, state->gpr[RSP], &value, p->source == FROM_SEGMENT ? 2 : n))
        return run->outcome;
    if (from_memory(p) && !run_write(run, operand_address(run->insn, state), &value, n))
        return run->outcome;
    if (p->source == FROM_SEGMENT && !execute_load_gs(run, (u16)value))
        return run->outcome;
    state->gpr[RSP] += n;
    if (p->source == FROM_REGISTER)
        run_set_gpr(state, p->reg, n, false, value);
    return run_done(run);
}

static enum cpu_outcome popf(struct run *run)
{
    struct cpu_state *state = run->state;
    unsigned n = run->insn->size;
    u64 changes = n == 2 ? POPF_CHANGES & 0xffff : POPF_CHANGES;
    u64 value = 0;

    if (!run_read(run, state->gpr[RSP], &value, n))
        return run->outcome;
    state->gpr[RSP] += n;
    state->rflags = (state->rflags & ~changes) | (value & changes);
    return run_done(run);
}

static enum cpu_outcome jump(struct run *run, u64 target)
{
    enum cpu_outcome outcome = run_done(run);

    run->state->rip = target;
    return outcome;
}

static enum cpu_outcome branch(struct run *run)
{
    const struct plan *p = run->plan;
    u64 target, next = run->state->rip + run->insn->length;
    u64 sp = run->state->gpr[RSP] - 8;

    if (!get_source(run, &target))
        return run->outcome;
    if (p->source == FROM_IMMEDIATE)
        target += next;
    /* The CPU stores before it looks where it goes; rsp moves only when it goes. */
    if (p->op == STACK_CALL && !run_write(run, sp, &next, 8))
        return run->outcome;
    if (!is_canonical(target))
        return run_protection(run);
    if (p->op == STACK_CALL)
        run->state->gpr[RSP] = sp;
    return jump(run, target);
}

static enum cpu_outcome ret(struct run *run)
{
    struct cpu_state *state = run->state;
    u64 target;

    if (!run_read(run, state->gpr[RSP], &target, sizeof(target)))
        return run->outcome;
    if (!is_canonical(target))
        return run_protection(run);
    state->gpr[RSP] += sizeof(target) + (u16)run->plan->imm;
    return jump(run, target);
}

static enum cpu_outcome leave(struct run *run)
{
    struct cpu_state *state = run->state;
    unsigned n = run->insn->size;
    u64 frame = state->gpr[RBP], value = 0;

    if (!run_read(run, frame, &value, n))
        return run->outcome;
    state->gpr[RSP] = frame + n;
    run_set_gpr(state, RBP, n, false, value);
    return run_done(run);
}

/*
 * SDM vol. 2, ENTER: copies the pointers of `level - 1` outer frames, then its own. What is written stays written when
 * one of them fails; at last it faults if the new top of the stack could not be written.
 */
static enum cpu_outcome enter(struct run *run)
{
    struct cpu_state *state = run->state;
    unsigned n = run->insn->size, level = run->plan->lanes;
    u64 sp = state->gpr[RSP] - n, bp = state->gpr[RBP], frame = sp, value;

    if (!run_write(run, sp, &bp, n))
        return run->outcome;
    for (unsigned i = 1; i < level; i++) {
        bp -= n;
        sp -= n;
        if (!run_read(run, bp, &value, n) || !run_write(run, sp, &value, n))
            return run->outcome;
    }
    if (level) {
        sp -= n;
        if (!run_write(run, sp, &frame, n))
            return run->outcome;
    }
    sp -= (u16)run->plan->imm;
    if (!run_reach(run, sp, 1, true))
        return run->outcome;
    state->gpr[RSP] = sp;
    run_set_gpr(state, RBP, n, false, frame);
    return run_done(run);
}

enum cpu_outcome run_stack(struct run *run)
{
    u64 value;

    switch (run->plan->op) {
    case STACK_PUSH:
        return get_source(run, &value) ? push(run, value) : run->outcome;
    case STACK_PUSHF:
        return push(run, run->state->rflags & PUSHF_SHOWS);
    case STACK_POP:
        return pop(run);
    case STACK_POPF:
        return popf(run);
    case STACK_RET:
        return ret(run);
    case STACK_LEAVE:
        return leave(run);
    case STACK_ENTER:
        return enter(run);
    default:
        return branch(run);
    }
}
