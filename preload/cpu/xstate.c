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
#define COMPONENTS   63

/* CPUID leaf 0DH. The legacy components have no leaf. */
static struct xstate_component components[COMPONENTS];
static u64 enabled;

void xstate_init(void)
{
    unsigned eax, ebx, ecx, edx;

    __cpuid(1, eax, ebx, ecx, edx);
    if (!(ecx & bit_OSXSAVE))
        return;
    __asm__("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    enabled = (eax | (u64)edx << 32) & (~(u64)0 >> 1);
    components[1].offset = LEGACY_XMM;
    components[1].size = 256;
    for (u64 rest = enabled & ~(u64)3; rest; rest &= rest - 1) {
        struct xstate_component *c = &components[__builtin_ctzll(rest)];

        __cpuid_count(0xd, (unsigned)__builtin_ctzll(rest), eax, ebx, ecx, edx);
        c->size = eax;
        c->offset = ebx;
        c->aligned = ecx & 2;
    }
}

u64 xstate_enabled(void)
{
    return enabled;
}

const struct xstate_component *xstate_component(unsigned i)
{
    return &components[i];
}

u64 xstate_in_use(const struct cpu_state *state)
{
    u64 bv;

    if (!state->xsave)
        return 0;
    memcpy(&bv, (const u8 *)state->xsave + XSTATE_BV, sizeof(bv));
    return bv & state->xfeatures;
}

void xstate_set_in_use(struct cpu_state *state, u64 which, u64 now)
{
    u64 bv;

    memcpy(&bv, (const u8 *)state->xsave + XSTATE_BV, sizeof(bv));
    bv = (bv & ~which) | (now & which);
    memcpy((u8 *)state->xsave + XSTATE_BV, &bv, sizeof(bv));
}

u64 xstate_needed(const struct plan *plan, const struct cpu_state *state)
{
    return plan->load & state->xfeatures & ~(plan->lazy & ~xstate_in_use(state));
}

static void get(const struct cpu_state *state, unsigned component, unsigned at, void *value, unsigned n)
{
    if (xstate_in_use(state) >> component & 1)
        memcpy(value, (const u8 *)state->xsave + components[component].offset + at, n);
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
    u8 *area = (u8 *)state->xsave + components[component].offset;

    if (!(state->xfeatures >> component & 1))
        return;
    if (!(xstate_in_use(state) >> component & 1)) {
        if (all_zero(value, n))
            return;
        memset(area, 0, components[component].size);
        xstate_set_in_use(state, (u64)1 << component, ~(u64)0);
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
    return xstate_in_use(state) & XC_X87 ? state->xsave : NULL;
}

void xstate_settle(struct cpu_state *state)
{
    static const u8 initial[] = {0x7f, 0x03};
    const u8 *area = state->xsave;

    /* FCW 037FH, all else zero but MXCSR, which lies between (SDM vol. 1, 13.6). */
    if (memcmp(area, initial, sizeof(initial)) == 0 && all_zero(area + 2, 22) && all_zero(area + LEGACY_ST, 128))
        xstate_set_in_use(state, XC_X87, 0);
    if (all_zero(area + LEGACY_XMM, components[1].size)) /* MXCSR is told by its value (13.6, XINUSE) */
        xstate_set_in_use(state, XC_SSE, 0);
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
