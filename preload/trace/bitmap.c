/* Runs and counts of set bits. Bitmaps need no alignment and are never read behind their last page's byte. */
#include "trace/dirtyfile.h"

#include "base/mem.h"

#include "base/trapsafe.h"

static bool bit_at(const u8 *bitmap, u64 page)
{
    return bitmap[page / 8] >> (page % 8) & 1;
}

/* First page at or behind `page` whose bit is `value`, or `pages`. */
static u64 find_bit(const u8 *bitmap, u64 page, u64 pages, bool value)
{
    const u64 skip = value ? 0 : UINT64_MAX;

    while (page < pages) {
        if (page % 8 == 0 && pages - page >= 64) {
            u64 word;

            memcpy(&word, bitmap + page / 8, sizeof(word));
            if (word == skip) {
                page += 64;
                continue;
            }
            return page + (u64)__builtin_ctzll(word ^ skip);
        }
        if (bit_at(bitmap, page) == value)
            return page;
        page++;
    }
    return pages;
}

bool bitmap_next_run(const u8 *bitmap, u64 pages, u64 *cursor, u64 *first, u64 *count)
{
    u64 start = find_bit(bitmap, *cursor, pages, true);
    u64 end = find_bit(bitmap, start, pages, false);

    *cursor = end;
    *first = start;
    *count = end - start;
    return start < pages;
}

/* Without the POPCNT instruction a compiler calls its run-time library for this. */
static u64 ones(u64 word)
{
    word -= word >> 1 & 0x5555555555555555;
    word = (word & 0x3333333333333333) + (word >> 2 & 0x3333333333333333);
    word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return word * 0x0101010101010101 >> 56;
}

u64 bitmap_count(const u8 *bitmap, u64 pages)
{
    u64 total = 0, page = 0;

    for (; pages - page >= 64; page += 64) {
        u64 word;

        memcpy(&word, bitmap + page / 8, sizeof(word));
        total += ones(word);
    }
    for (; page < pages; page++)
        total += bit_at(bitmap, page);
    return total;
}
