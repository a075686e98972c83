#include "cpu/pun_plan.h"
#include "base/trapsafe.h"

/* Units hang in lists by the 16 bytes of text in which they begin. */
#define BLOCK_SHIFT 4

static u32 *head(const struct pun_book *book, u64 block)
{
    return &book->heads[block * 0x9e3779b97f4a7c15 >> 32 & (book->nheads - 1)];
}

void pun_init(struct pun_book *book, void *memory, u64 size)
{
    u64 lists = 1, begin = page_up(PUN_WORK), units;

    while (lists * 160 <= size)
        lists *= 2;
    units = begin + page_up(lists * sizeof(u32));
    *book = (struct pun_book){.work = memory, .heads = (u32 *)((u8 *)memory + begin), .nheads = (u32)lists, .used = 1};
    book->units = (struct pun_unit *)((u8 *)memory + units);
    if (size > units)
        book->capacity = (u32)MIN((size - units) / sizeof(struct pun_unit), (u64)UINT32_MAX);
}

unsigned pun_units(const struct pun_book *book, u64 low, unsigned n, const struct pun_unit **units, unsigned most)
{
    u64 last = (low + n - 1) >> BLOCK_SHIFT;
    unsigned count = 0;

    for (u64 block = low >> BLOCK_SHIFT; n && book->capacity && block <= last; block++) {
        u32 i = __atomic_load_n(head(book, block), __ATOMIC_ACQUIRE);

        for (; i && count < most; i = __atomic_load_n(&book->units[i].next, __ATOMIC_ACQUIRE)) {
            const struct pun_unit *unit = &book->units[i];

            if (unit->at >> BLOCK_SHIFT == block && unit->at - low < n)
                units[count++] = unit;
        }
    }
    return count;
}

const struct pun_unit *pun_find(const struct pun_book *book, u64 at)
{
    const struct pun_unit *unit;

    return pun_units(book, at, 1, &unit, 1) ? unit : NULL;
}

const struct pun_unit *pun_next(const struct pun_book *book, u32 *i)
{
    while (++*i < book->used)
        if (book->units[*i].length)
            return &book->units[*i];
    return NULL;
}

bool pun_taken(const struct pun_book *book, u64 at, unsigned n)
{
    const struct pun_unit *units[64];
    unsigned count = pun_units(book, at - 14, n + 14, units, ARRAY_SIZE(units));

    for (unsigned i = 0; i < count; i++)
        if (units[i]->at + units[i]->length > at)
            return true;
    return false;
}

bool pun_original(const struct pun_book *book, u64 at, u8 *bytes, unsigned n)
{
    const struct pun_unit *units[80];
    unsigned count = pun_units(book, at - 14, n + 14, units, ARRAY_SIZE(units));
    bool any = false;

    for (unsigned i = 0; i < count; i++)
        for (unsigned k = 0; k < units[i]->length; k++)
            if (units[i]->at + k - at < n) {
                bytes[units[i]->at + k - at] = units[i]->original[k];
                any = true;
            }
    return any;
}

bool pun_involves(const struct pun_book *book, u64 at, unsigned n)
{
    const struct pun_unit *units[96];
    unsigned count = pun_units(book, at - PUN_BEFORE, n + PUN_BEFORE, units, ARRAY_SIZE(units));

    for (unsigned i = 0; i < count; i++)
        if (MAX(units[i]->at + units[i]->length, pun_reach(units[i])) > at)
            return true;
    return false;
}

bool pun_insn_at(const struct pun_book *book, const struct pun_text *text, u64 at, struct pun_insn *insn)
{
    u8 bytes[15];
    unsigned n;

    if (!range_has(pun_range(text), at))
        return false;
    n = (unsigned)MIN((u64)sizeof(bytes), text->size - (at - text->base));
    memcpy(bytes, text->bytes + (at - text->base), n);
    pun_original(book, at, bytes, n);
    return pun_insn_decode(bytes, n, insn);
}

/* ---- changes ---- */

bool pun_has_space(const struct pun_book *book)
{
    return book->spare || book->capacity - MIN(book->capacity, book->used) >= PUN_UNITS;
}

static u32 fresh_unit(struct pun_book *book)
{
    u32 i = book->spare;

    if (book->used < book->capacity)
        return book->used++;
    if (i)
        book->spare = book->units[i].next;
    return i;
}

static void insert(struct pun_book *book, const struct pun_unit *unit)
{
    u32 *list = head(book, unit->at >> BLOCK_SHIFT), i = fresh_unit(book);

    if (!i)
        return;
    book->units[i] = *unit;
    book->units[i].next = *list;
    __atomic_store_n(list, i, __ATOMIC_RELEASE);
}

/* A unit only ever gets shorter, and its tail is in the book by then: readers find all original bytes at any time. */
static void update(struct pun_unit *unit, const struct pun_unit *to)
{
    unit->room = to->room;
    unit->kind = to->kind;
    unit->prefixes = to->prefixes;
    unit->site = to->site;
    memcpy(unit->now, to->now, sizeof(unit->now));
    __atomic_store_n(&unit->length, to->length, __ATOMIC_RELEASE);
}

void pun_commit(struct pun_book *book, const struct pun_plan *plan)
{
    for (unsigned i = 0; i < plan->nunits; i++)
        if (!pun_find(book, plan->units[i].at))
            insert(book, &plan->units[i]);
    for (unsigned i = 0; i < plan->nunits; i++) {
        struct pun_unit *unit = (struct pun_unit *)pun_find(book, plan->units[i].at);

        if (unit)
            update(unit, &plan->units[i]);
    }
}

void pun_cancel(const struct pun_plan *plan, const struct pun_space *space)
{
    for (unsigned i = 0; i < plan->nunits; i++)
        if (plan->taken[i])
            space->give_back(space->context, plan->units[i].room, PUN_ROOM);
}

static void unlink_unit(struct pun_book *book, u32 i)
{
    u32 *link = head(book, book->units[i].at >> BLOCK_SHIFT);

    while (*link != i)
        link = &book->units[*link].next;
    *link = book->units[i].next;
    book->units[i].at = 0;
    book->units[i].length = 0;
    book->units[i].next = book->spare;
    book->spare = i;
}

void pun_forget(struct pun_book *book, u64 base, u64 size)
{
    for (u32 i = 1; i < book->used; i++)
        if (book->units[i].length && range_has((struct range){base, size}, book->units[i].at))
            unlink_unit(book, i);
}
