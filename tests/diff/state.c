/* Random states of the CPU, and one form for those that are the same. */
#include <cpuid.h>
#include <string.h>

#include "runner.h"

#define FLAGS_RANDOM 0x200cd5u /* status flags, DF, ID */
#define FLAG_AC      0x40000u

u64 random_seed = 0x9e3779b97f4a7c15u;

/* splitmix64 */
u64 rnd(void)
{
    u64 z = random_seed += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static u64 random_register(void)
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

void random_bytes(void *to, unsigned n)
{
    unsigned how = rnd() & 3;
    u8 *p = to;

    for (unsigned i = 0; i < n; i += 8) {
        u64 v = rnd();

        if (how == 0) /* pairs of floats near 1 */
            v = (v & 0x803fffff803fffffu) | 0x3f0000003f000000u | (v >> 8 & 0x00c0000000c00000u);
        else if (how == 1) /* doubles near 1 */
            v = (v & 0x800fffffffffffffu) | (u64)(1015 + v % 24) << 52;
        memcpy(p + i, &v, MIN(8u, n - i));
    }
}

static void random_x87(u8 *area)
{
    u16 control = 0x037f, status = (u16)(rnd() & 0x7f7f); /* no exception summary, not busy */
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
    area[4] = (u8)rnd();
    memset(area + 5, 0, 3);
    memcpy(area + 8, &ip, 8);
    memcpy(area + 16, &dp, 8);
    for (unsigned i = 0; i < 8; i++) {
        u64 mantissa = rnd() | (rnd() & 15 ? (u64)1 << 63 : 0);
        u16 exponent = (u16)(rnd() & 7 ? 0x3fff + rnd() % 64 - 32 : rnd());

        memset(area + 32 + 16 * i, 0, 16);
        memcpy(area + 32 + 16 * i, &mantissa, 8);
        exponent |= rnd() & 1 ? 0x8000 : 0;
        memcpy(area + 40 + 16 * i, &exponent, 2);
    }
}

void state_random(struct state *s)
{
    u64 bv = rnd() & 7 ? components : components & rnd();
    u32 mxcsr = 0x1f80, mxcsr_mask = 0xffff;

    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] = random_register();
    s->flags = 0x202 | (rnd() & FLAGS_RANDOM);
    if (rnd() % 16 == 0)
        s->flags |= FLAG_AC;
    for (unsigned at = 160; at < area_size; at += 64)
        random_bytes(s->area + at, MIN(64u, area_size - at));
    random_x87(s->area);
    if (rnd() & 1)
        mxcsr |= (u32)rnd() & 0xe07f;
    if ((rnd() & 7) == 0)
        mxcsr &= ~((u32)rnd() & 0x1f80);
    memcpy(s->area + 24, &mxcsr, 4);
    memcpy(s->area + 28, &mxcsr_mask, 4);
    memset(s->area + 416, 0, 160);
    memcpy(s->area + 512, &bv, 8);
}

void state_component(unsigned i, unsigned *at, unsigned *size)
{
    static unsigned offsets[8], sizes[8];
    unsigned c, d;

    if (!sizes[i])
        __cpuid_count(0xd, i, sizes[i], offsets[i], c, d);
    *at = offsets[i];
    *size = sizes[i];
}

static void put(struct state *s, unsigned which, unsigned offset, const u8 *value, unsigned n)
{
    unsigned at = 160, size;
    u64 bv;

    if (!(components >> which & 1))
        return;
    if (which > 1)
        state_component(which, &at, &size);
    memcpy(s->area + at + offset, value, n);
    memcpy(&bv, s->area + 512, 8);
    bv |= (u64)1 << which;
    memcpy(s->area + 512, &bv, 8);
}

void state_put_vector(struct state *s, unsigned reg, const u8 value[64])
{
    if (reg >= 16) {
        put(s, 7, 64 * (reg - 16), value, 64);
        return;
    }
    put(s, 1, 16 * reg, value, 16);
    put(s, 2, 16 * reg, value + 16, 16);
    put(s, 6, 32 * reg, value + 32, 32);
}

void state_normalise(struct state *s)
{
    unsigned end = 576, at, size;
    u64 bv;

    memcpy(&bv, s->area + 512, 8);
    if (!(bv & 1)) {
        memset(s->area, 0, 24);
        s->area[0] = 0x7f;
        s->area[1] = 0x03;
        memset(s->area + 32, 0, 128);
    }
    if (!(bv & 2))
        memset(s->area + 160, 0, 256);
    for (unsigned i = 2; i < 8; i++)
        if (components >> i & 1) {
            state_component(i, &at, &size);
            memset(s->area + end, 0, at - end); /* between components */
            if (!(bv >> i & 1))
                memset(s->area + at, 0, size);
            end = at + size;
        }
    for (unsigned i = 0; i < 8; i++)
        memset(s->area + 42 + 16 * i, 0, 6);
    s->area[5] = 0;
    memset(s->area + 28, 0, 4); /* MXCSR_MASK */
    memset(s->area + 416, 0, 160);
}
