/*
 * Registers inside an XSAVE area of the standard format: SDM vol. 1, 13.4.
 * A component whose bit in XSTATE_BV is clear is in its initial state (zeros),
 * whatever bytes the area holds for it.
 */
#include <cpuid.h>

#include "base/mem.h"
#include "cpu/plan.h"
#include "base/trapsafe.h"

#define LEGACY_ST    32
#define LEGACY_XMM   160
#define COMPONENTS   8

/* Offset and size of each component, CPUID leaf 0DH. The legacy ones have no leaf. */
static u32 offsets[COMPONENTS], sizes[COMPONENTS];

void xstate_init(void)
{
    unsigned eax, ebx, ecx, edx;

    offsets[1] = LEGACY_XMM;
    sizes[1] = 256;
    for (unsigned i = 2; i < COMPONENTS; i++) {
        if (!__get_cpuid_count(0xd, i, &eax, &ebx, &ecx, &edx))
            return;
        sizes[i] = eax;
        offsets[i] = ebx;
    }
}

static u64 in_use(const struct cpu_state *state)
{
    u64 bv;

    if (!state->xsave)
        return 0;
    memcpy(&bv, (const u8 *)state->xsave + XSTATE_BV, sizeof(bv));
    return bv & state->xfeatures;
}

u64 xstate_needed(const struct plan *plan, const struct cpu_state *state)
{
    return plan->load & state->xfeatures & ~(plan->lazy & ~in_use(state));
}

static void get(const struct cpu_state *state, unsigned component, unsigned at, void *value, unsigned n)
{
    if (in_use(state) >> component & 1)
        memcpy(value, (const u8 *)state->xsave + offsets[component] + at, n);
    else
        memset(value, 0, n);
}

static bool all_zero(const u8 *bytes, unsigned n)
{
    u8 any = 0;

    for (unsigned i = 0; i < n; i++)
        any |= bytes[i];
    return any == 0;
}

static void put(struct cpu_state *state, unsigned component, unsigned at, const void *value, unsigned n)
{
    u8 *area = (u8 *)state->xsave + offsets[component];
    u64 bv;

    if (!(state->xfeatures >> component & 1))
        return;
    if (!(in_use(state) >> component & 1)) {
        if (all_zero(value, n))
            return;
        memset(area, 0, sizes[component]);
        memcpy(&bv, (u8 *)state->xsave + XSTATE_BV, sizeof(bv));
        bv |= (u64)1 << component;
        memcpy((u8 *)state->xsave + XSTATE_BV, &bv, sizeof(bv));
    }
    memcpy(area + at, value, n);
}

void xstate_get_vector(const struct cpu_state *state, unsigned reg, u8 value[64])
{
    if (reg >= 16) {
        get(state, 7, 64 * (reg - 16), value, 64);
        return;
    }
    get(state, 1, 16 * reg, value, 16);
    get(state, 2, 16 * reg, value + 16, 16);
    get(state, 6, 32 * reg, value + 32, 32);
}

void xstate_put_vector(struct cpu_state *state, unsigned reg, const u8 value[64])
{
    if (reg >= 16) {
        put(state, 7, 64 * (reg - 16), value, 64);
        return;
    }
    put(state, 1, 16 * reg, value, 16);
    put(state, 2, 16 * reg, value + 16, 16);
    put(state, 6, 32 * reg, value + 32, 32);
}

u64 xstate_get_opmask(const struct cpu_state *state, unsigned reg)
{
    u64 value;

    get(state, 5, 8 * reg, &value, sizeof(value));
    return value;
}

void xstate_put_opmask(struct cpu_state *state, unsigned reg, u64 value)
{
    put(state, 5, 8 * reg, &value, sizeof(value));
}

struct x87_env *xstate_x87(const struct cpu_state *state)
{
    return in_use(state) & XC_X87 ? state->xsave : NULL;
}

/* mm0-7 are the physical registers; the area holds them in the order of the stack, st0 first. */
u64 xstate_get_mmx(const struct cpu_state *state, unsigned reg)
{
    const struct x87_env *env = xstate_x87(state);
    u64 value = 0;

    if (env)
        memcpy(&value, (const u8 *)state->xsave + LEGACY_ST + 16 * ((reg - (env->status >> 11)) & 7), sizeof(value));
    return value;
}
