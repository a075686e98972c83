/*
 * An address space for the planner of jumps: occupied ranges, and pages of rooms that hold 5-byte jumps. And what a CPU
 * does with what is written: where code leads.
 */
#ifndef MMIOSHIM_TESTS_PUN_SPACE_H
#define MMIOSHIM_TESTS_PUN_SPACE_H

#include <stdlib.h>
#include <string.h>

#include "base/range.h"
#include "cpu/pun.h"

#define MODEL_RANGES 64
#define MODEL_PAGES  (1u << 18)
#define MODEL_RECENT 64
#define MODEL_JUMPS  (1u << 20)

struct model_page {
    u64 page;
    u8 used[512]; /* a bit for each byte */
};

struct model {
    struct range occupied[MODEL_RANGES];
    unsigned nranges;
    struct model_page **table; /* by a hash of the page */
    struct model_page *recent[MODEL_RECENT];
    u64 pages, rooms, asked, random;
    bool (*map)(u64 page); /* a real page for the one that is about to be used; NULL: all is pretence */
    struct {
        u64 room, insn;
    } *jumps; /* what is written into the rooms, by a hash of the room */
};

static inline struct model_page **model_slot(struct model *m, u64 page)
{
    u64 i = (page >> 12) * 0x9e3779b97f4a7c15 >> 40;

    for (i &= MODEL_PAGES - 1; m->table[i] && m->table[i]->page != page; i = (i + 1) & (MODEL_PAGES - 1))
        ;
    return &m->table[i];
}

static inline void model_init(struct model *m)
{
    memset(m, 0, sizeof(*m));
    m->table = calloc(MODEL_PAGES, sizeof(*m->table));
    m->jumps = calloc(MODEL_JUMPS, sizeof(*m->jumps));
    m->random = 1;
}

static inline void model_end(struct model *m)
{
    for (unsigned i = 0; i < MODEL_PAGES; i++)
        free(m->table[i]);
    free(m->table);
    free(m->jumps);
}

static inline void model_occupy(struct model *m, u64 base, u64 size)
{
    m->occupied[m->nranges++] = (struct range){page_down(base), page_up(base + size) - page_down(base)};
}

static inline bool model_page_free(const struct model *m, u64 page)
{
    for (unsigned i = 0; i < m->nranges; i++)
        if (range_overlaps(m->occupied[i], (struct range){page, PAGE_SIZE}))
            return false;
    return true;
}

static inline bool model_bit(struct model *m, u64 at)
{
    struct model_page *page = *model_slot(m, page_down(at));

    return page && page->used[(at & 4095) / 8] >> (at & 7) & 1;
}

static inline void model_set(struct model *m, u64 at, bool on)
{
    struct model_page **slot = model_slot(m, page_down(at));
    u8 bit = (u8)(1 << (at & 7));

    if (!*slot) {
        *slot = calloc(1, sizeof(**slot));
        (*slot)->page = page_down(at);
        m->recent[m->pages++ % MODEL_RECENT] = *slot;
    }
    if (on)
        (*slot)->used[(at & 4095) / 8] |= bit;
    else
        (*slot)->used[(at & 4095) / 8] &= (u8)~bit;
}

static inline bool model_usable(struct model *m, u64 page)
{
    struct model_page **slot = model_slot(m, page);

    if (*slot || !m->map)
        return *slot || model_page_free(m, page);
    *slot = calloc(1, sizeof(**slot));
    (*slot)->page = page;
    if (m->map(page))
        return true;
    memset((*slot)->used, 0xff, sizeof((*slot)->used)); /* somebody else's */
    return false;
}

static inline bool model_try(struct model *m, u64 at, unsigned size, u64 *taken)
{
    for (unsigned i = 0; i < size; i++)
        if (model_bit(m, at + i))
            return false;
    if (!model_usable(m, page_down(at)) || !model_usable(m, page_down(at + size - 1)))
        return false;
    for (unsigned i = 0; i < size; i++)
        model_set(m, at + i, true);
    *taken = at;
    m->rooms++;
    return true;
}

/* Within one page that is there already. */
static inline bool model_in_page(struct model *m, u64 page, u64 first, u64 last, u64 step, unsigned size, u64 *at)
{
    u64 low = MAX(first, page), high = MIN(last, page + 4095);

    for (low += (first - low) & (step - 1); low <= high && low >= first; low += step)
        if (model_try(m, low, size, at))
            return true;
    return false;
}

static inline u64 model_random(struct model *m)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random;
}

static inline bool model_take(void *context, u64 first, u64 last, u64 step, unsigned size, u64 *at)
{
    struct model *m = context;

    m->asked++;
    if (last - first < 1 << 16) {
        for (u64 page = page_down(first); page <= last; page += MAX(PAGE_SIZE, page_down(step)))
            if (*model_slot(m, page) && model_in_page(m, page, first, last, step, size, at))
                return true;
        for (u64 page = page_down(first); page <= last; page += MAX(PAGE_SIZE, page_down(step)))
            if (model_page_free(m, page) && model_in_page(m, page, first, last, step, size, at))
                return true;
        return false;
    }
    for (unsigned i = 0; i < MODEL_RECENT; i++)
        if (m->recent[i] && m->recent[i]->page + 4095 >= first && m->recent[i]->page <= last &&
            model_in_page(m, m->recent[i]->page, first, last, step, size, at))
            return true;
    for (unsigned i = 0; i < 64; i++)
        if (model_try(m, first + model_random(m) % ((last - first) / step + 1) * step, size, at))
            return true;
    return false;
}

static inline void model_give_back(void *context, u64 at, unsigned size)
{
    struct model *m = context;

    for (unsigned i = 0; i < size; i++)
        model_set(m, at + i, false);
    m->rooms--;
}

static inline struct pun_space model_space(struct model *m)
{
    return (struct pun_space){.context = m, .take = model_take, .give_back = model_give_back};
}

/* ---- rooms as they are written ---- */

static inline u32 model_jump(const struct model *m, u64 room)
{
    u32 i = (u32)(room * 0x9e3779b97f4a7c15 >> 44);

    while (m->jumps[i].room && m->jumps[i].room != room)
        i = (i + 1) % MODEL_JUMPS;
    return i;
}

/* The room leads to the trampoline of that instruction. */
static inline void model_write(struct model *m, u64 room, u64 insn)
{
    u32 i = model_jump(m, room);

    m->jumps[i].room = room;
    m->jumps[i].insn = insn;
}

/* ---- where code leads ---- */

/* Of a jump with its prefixes; 0: it is none. */
static inline u64 model_target(const struct pun_text *text, u64 at)
{
    const u8 *p = text->bytes + (at - text->base);
    i32 displacement;

    if (*p == 0xeb)
        return at + 2 + (u64)(i64)(i8)p[1];
    while (*p == 0x2e || *p == 0x3e || *p == 0x26 || *p == 0x36 || *p == 0x64 || *p == 0x65 || *p == 0x48 || *p == 0x40 ||
           *p == 0xf2)
        p++;
    if (*p != 0xe9)
        return 0;
    memcpy(&displacement, p + 1, 4);
    if (displacement > PUN_REACH || displacement < -PUN_REACH)
        return 0;
    return text->base + (u64)(p - text->bytes) + 5 + (u64)(i64)displacement;
}

/* Whose trampoline is reached from there? 0: none. `flight` is being written, NULL: nothing is. */
static inline u64 model_follow(const struct model *m, const struct pun_text *text, const struct pun_plan *flight, u64 at)
{
    for (unsigned hops = 0; hops < 3 && at - text->base < text->size; hops++) {
        for (unsigned i = 0; flight && i < flight->nwrites && text->bytes[at - text->base] == 0xcc; i++)
            if (flight->writes[i].at == at)
                return flight->writes[i].insn;
        at = model_target(text, at);
    }
    return m->jumps[model_jump(m, at)].insn;
}

#endif
