#include "base/ehframe.h"

#include "base/mem.h"

static i32 read_s32(const u8 *p)
{
    i32 v;

    memcpy(&v, p, 4);
    return v;
}

struct eh_table eh_table_of(const u8 *h)
{
    if (!h || h[0] != 1 || h[1] != 0x1b || h[2] != 0x03 || h[3] != 0x3b)
        return (struct eh_table){0};
    return (struct eh_table){h, read_s32(h + 8)};
}

/* Where its function begins, and how long it is (from its FDE, which must agree). */
struct eh_function eh_function_at(const struct eh_table *t, i64 i)
{
    const u8 *entry = t->hdr + 12 + 8 * i, *fde;
    struct eh_function f = {0};

    if (i < 0 || i >= t->count)
        return f;
    f.begin = (u64)t->hdr + (u64)(i64)read_s32(entry);
    fde = t->hdr + read_s32(entry + 4);
    if ((u64)(fde + 8) + (u64)(i64)read_s32(fde + 8) != f.begin)
        return (struct eh_function){0};
    f.end = f.begin + (u32)read_s32(fde + 12);
    f.index = i;
    return f;
}

struct eh_function eh_function_of(const struct eh_table *t, u64 pc)
{
    i64 low = 0, high = t->count;
    struct eh_function f;

    if (high <= 0)
        return (struct eh_function){0};
    while (high - low > 1) {
        i64 middle = (low + high) / 2;

        if ((u64)t->hdr + (u64)(i64)read_s32(t->hdr + 12 + 8 * middle) <= pc)
            low = middle;
        else
            high = middle;
    }
    f = eh_function_at(t, low);
    return pc - f.begin < f.end - f.begin ? f : (struct eh_function){0};
}
