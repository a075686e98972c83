/*
 * Gather and scatter: each enabled element has an address of its own. Elements
 * go from the lowest to the highest; each clears its mask when it is done, so
 * that a fault in the middle leaves a state from which the instruction goes on
 * (SDM vol. 2, VPGATHERDD and VPSCATTERDD).
 */
#include "base/mem.h"
#include "cpu/plan.h"
#include "base/trapsafe.h"

struct lanes {
    u8 index[64];
    u8 data[64];
    u8 mask[64]; /* of a VEX gather; EVEX has an opmask */
    u64 opmask;
};

static bool by_opmask(const struct plan *p)
{
    return p->mask == MASK_OPMASK;
}

static void get_lanes(const struct plan *p, const struct cpu_state *state, struct lanes *l)
{
    xstate_get_vector(state, p->vector_index, l->index);
    xstate_get_vector(state, p->vector, l->data);
    if (by_opmask(p))
        l->opmask = xstate_get_opmask(state, p->mask_reg);
    else
        xstate_get_vector(state, p->mask_reg, l->mask);
}

static bool is_enabled(const struct plan *p, const struct lanes *l, unsigned i)
{
    if (by_opmask(p))
        return l->opmask >> i & 1;
    return l->mask[(i + 1) * p->element - 1] >> 7;
}

static void clear_lane(const struct plan *p, struct lanes *l, unsigned i)
{
    if (by_opmask(p))
        l->opmask &= ~((u64)1 << i);
    else
        memset(l->mask + i * p->element, 0, p->element);
}

/* A VEX gather first spreads each sign bit over its element. */
static void spread_mask(const struct plan *p, struct lanes *l)
{
    for (unsigned i = 0; i < p->lanes && !by_opmask(p); i++)
        memset(l->mask + i * p->element, is_enabled(p, l, i) ? 0xff : 0, p->element);
}

static u64 lane_address(const struct cpu_insn *insn, const struct cpu_state *state, const struct lanes *l, unsigned i)
{
    const struct plan *p = plan_of(insn);
    i64 index = 0;
    i32 narrow;

    if (p->index_size == 8) {
        memcpy(&index, l->index + 8 * i, sizeof(index));
    } else {
        memcpy(&narrow, l->index + 4 * i, sizeof(narrow));
        index = narrow;
    }
    return run_address(insn, state, (u64)index << p->scale);
}

bool vsib_address(const struct cpu_insn *insn, const struct cpu_state *state, u64 *addr)
{
    const struct plan *p = plan_of(insn);
    struct lanes l;

    get_lanes(p, state, &l);
    for (unsigned i = 0; i < p->lanes; i++)
        if (is_enabled(p, &l, i)) {
            *addr = lane_address(insn, state, &l, i);
            return true;
        }
    return false;
}

bool vsib_spans(const struct cpu_insn *insn, const struct cpu_state *state, span_fn span, void *context)
{
    const struct plan *p = plan_of(insn);
    struct lanes l;

    get_lanes(p, state, &l);
    for (unsigned i = 0; i < p->lanes; i++)
        if (is_enabled(p, &l, i) && span(context, lane_address(insn, state, &l, i), p->element))
            return true;
    return false;
}

static void put_mask(struct run *run, const struct lanes *l)
{
    if (by_opmask(run->plan))
        xstate_put_opmask(run->state, run->plan->mask_reg, l->opmask);
    else
        xstate_put_vector(run->state, run->plan->mask_reg, l->mask);
}

/* Addresses of the enabled elements. Holds the device that has them all; the answer is for run_release(). */
static bool find_lanes(struct run *run, const struct lanes *l, u64 at[16])
{
    u64 first = ~(u64)0, last = 0;
    unsigned count = 0;

    for (unsigned i = 0; i < run->plan->lanes; i++) {
        if (!is_enabled(run->plan, l, i))
            continue;
        at[i] = lane_address(run->insn, run->state, l, i);
        first = MIN(first, at[i]);
        last = MAX(last, at[i]);
        count++;
    }
    return count > 1 && last - first < PAGE_SIZE && run_hold(run, first, last - first + run->plan->element);
}

enum cpu_outcome run_gather(struct run *run)
{
    const struct plan *p = run->plan;
    unsigned i, n = p->element, written = p->lanes * n;
    bool progress = false, held;
    struct lanes l;
    u64 at[16];

    get_lanes(p, run->state, &l);
    spread_mask(p, &l);
    held = find_lanes(run, &l, at);
    for (i = 0; i < p->lanes; i++) {
        if (!is_enabled(p, &l, i))
            continue;
        if (!run_read(run, at[i], l.data + i * n, n))
            break;
        clear_lane(p, &l, i);
        progress = true;
    }
    run_release(run, held);
    if (i == p->lanes) {
        memset(l.mask, 0, sizeof(l.mask));
        l.opmask = 0;
    }
    /* What lies above is zero. Halfway CPUs write as many bytes as the indices have, if these are wider. */
    if (i < p->lanes)
        written = MAX(written, p->lanes * p->index_size);
    if (i == p->lanes || progress)
        memset(l.data + written, 0, sizeof(l.data) - written);
    xstate_put_vector(run->state, p->vector, l.data);
    put_mask(run, &l);
    return i == p->lanes ? run_done(run) : run->outcome;
}

enum cpu_outcome run_scatter(struct run *run)
{
    const struct plan *p = run->plan;
    unsigned i, n = p->element;
    struct lanes l;
    u64 at[16];
    bool held;

    get_lanes(p, run->state, &l);
    held = find_lanes(run, &l, at);
    for (i = 0; i < p->lanes; i++) {
        if (!is_enabled(p, &l, i))
            continue;
        if (!run_write(run, at[i], l.data + i * n, n))
            break;
        clear_lane(p, &l, i);
    }
    run_release(run, held);
    if (i == p->lanes)
        l.opmask = 0;
    put_mask(run, &l);
    return i == p->lanes ? run_done(run) : run->outcome;
}
