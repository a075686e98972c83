/*
 * in, out, ins and outs: the second address space. From user mode without I/O
 * privilege each of them raises #GP before anything is read or written (SDM
 * vol. 1, 19.5), so that every one traps, repeated ones once a burst.
 */
#include "cpu/plan.h"
#include "base/trapsafe.h"

static bool is_string(const struct plan *p)
{
    return p->op == PORT_INS || p->op == PORT_OUTS;
}

static u64 sized(const struct plan *p, u64 value)
{
    return p->addr32 ? (u32)value : value;
}

static u16 port_of(const struct plan *p, const struct cpu_state *state)
{
    return (u16)(p->source == FROM_IMMEDIATE ? p->imm : state->gpr[RDX]);
}

bool cpu_port(const struct cpu_insn *insn, const struct cpu_state *state, u16 *port, unsigned *width, bool *write)
{
    const struct plan *p = plan_of(insn);

    if (insn->kind != KIND_PORT)
        return false;
    *port = port_of(p, state);
    *width = p->reg_size;
    *write = p->op == PORT_OUT || p->op == PORT_OUTS;
    return true;
}

/* A port that the bus denies is what a port without permission is to the CPU. */
static bool denied(struct run *run)
{
    if (run->bus->retry && run->bus->retry(run->bus->context))
        run->outcome = CPU_RETRY;
    else
        run_protection(run);
    return false;
}

static bool port_in(struct run *run, void *value, unsigned n)
{
    return run->bus->port_read(run->bus->context, port_of(run->plan, run->state), value, n) || denied(run);
}

static bool port_out(struct run *run, const void *value, unsigned n)
{
    return run->bus->port_write(run->bus->context, port_of(run->plan, run->state), value, n) || denied(run);
}

/* ins: a fault of the memory operand comes before the port is read, whose value would be lost (a FIFO's, say). */
static bool memory_takes(struct run *run, u64 addr, unsigned n)
{
    return run_reach(run, addr, n, true);
}

/* One iteration; false: run->outcome says why, no register changed. */
static bool iterate(struct run *run)
{
    const struct plan *p = run->plan;
    struct cpu_state *state = run->state;
    unsigned n = p->reg_size, reg = p->op == PORT_INS ? RDI : RSI;
    u64 step = state->rflags & FLAG_DF ? -(u64)n : n;
    u64 addr = run_address(run->insn, state, 0);
    u64 value = 0;

    if (p->op == PORT_INS) {
        if (!memory_takes(run, addr, n) || !port_in(run, &value, n) || !run_write(run, addr, &value, n))
            return false;
    } else if (!run_read(run, addr, &value, n) || !port_out(run, &value, n)) {
        return false;
    }
    state->gpr[reg] = sized(p, state->gpr[reg] + step);
    if (p->repeat)
        state->gpr[RCX] = sized(p, state->gpr[RCX] - 1);
    return true;
}

static enum cpu_outcome run_port_string(struct run *run)
{
    const struct plan *p = run->plan;
    unsigned burst = run->state->rflags & FLAG_TF ? 1 : CPU_BURST;

    for (unsigned i = 0; i < burst; i++) {
        if (p->repeat && !sized(p, run->state->gpr[RCX]))
            return run_done(run);
        if (!iterate(run))
            return run->outcome;
        if (!p->repeat)
            return run_done(run);
    }
    return sized(p, run->state->gpr[RCX]) ? CPU_DONE : run_done(run);
}

enum cpu_outcome run_port(struct run *run)
{
    const struct plan *p = run->plan;
    u64 value = run->state->gpr[RAX];

    if (!run->bus->port_read || !run->bus->port_write) {
        run->result->refusal = "port I/O: the machine has no I/O ports";
        return CPU_REFUSED;
    }
    if (is_string(p))
        return run_port_string(run);
    if (p->op == PORT_OUT)
        return port_out(run, &value, p->reg_size) ? run_done(run) : run->outcome;
    value = 0;
    if (!port_in(run, &value, p->reg_size))
        return run->outcome;
    run_set_gpr(run->state, RAX, p->reg_size, false, value);
    return run_done(run);
}
