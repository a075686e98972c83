/*
 * Address ranges that cannot overflow. `base + size` may be 2^64, so no end
 * address is ever computed: containment is tested by subtraction alone.
 */
#ifndef MMIOSHIM_BASE_RANGE_H
#define MMIOSHIM_BASE_RANGE_H

#include "base/types.h"

struct range {
    u64 base;
    u64 size; /* bytes; 0 is an empty range that contains nothing */
};

/* Is [addr, addr+len) wholly inside the range? len 0 asks for addr alone to lie in it. */
static inline bool range_contains(struct range r, u64 addr, u64 len)
{
    u64 offset = addr - r.base;

    return offset < r.size && len <= r.size - offset;
}

static inline bool range_has(struct range r, u64 addr)
{
    return addr - r.base < r.size;
}

/* Do two ranges share at least one byte? */
static inline bool range_overlaps(struct range a, struct range b)
{
    return a.size && b.size && (range_has(a, b.base) || range_has(b, a.base));
}

/* Last byte of a range that is not empty. */
static inline u64 range_last(struct range r)
{
    return r.base + (r.size - 1);
}

/* The part of r that lies in `within`; size 0 when there is none. */
static inline struct range range_clip(struct range r, struct range within)
{
    struct range out = {0, 0};

    if (!range_overlaps(r, within))
        return out;
    out.base = range_has(within, r.base) ? r.base : within.base;
    out.size = MIN(range_last(r), range_last(within)) - out.base + 1;
    return out;
}

/* Is the range representable, that is, does it not wrap past 2^64? */
static inline bool range_valid(struct range r)
{
    return r.size == 0 || r.base <= UINT64_MAX - (r.size - 1);
}

/* The part of it where programs may have memory: below 2^63, so that its end can be computed. */
static inline struct range range_of_program(struct range r)
{
    return range_clip(r, (struct range){0, (u64)1 << 63});
}

#endif
