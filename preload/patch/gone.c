/* The program's code comes and goes, and changes; and what of ours stands in it meanwhile. */
#include "patch/gone.h"

#include "base/mem.h"
#include "patch/rooms.h"
#include "patch/table.h"
#include "base/trapsafe.h"

/* ---- the program's code comes and goes ---- */

#define TEXTS 256

static struct range texts[TEXTS]; /* where sites are; a full table covers everything */
static u32 ntexts;

void gone_note(struct range r)
{
    for (u32 i = 0; i < ntexts; i++)
        if (range_contains(texts[i], r.base, r.size))
            return;
    if (ntexts == TEXTS)
        r = (struct range){0, UINT64_MAX};
    texts[MIN(ntexts, TEXTS - 1)] = r;
    __atomic_store_n(&ntexts, MIN(ntexts + 1, TEXTS), __ATOMIC_RELEASE);
}

bool patch_covers(u64 base, u64 size)
{
    u32 n = __atomic_load_n(&ntexts, __ATOMIC_ACQUIRE);

    for (u32 i = 0; i < n; i++)
        if (range_overlaps(texts[i], (struct range){base, size}))
            return true;
    return false;
}

static void forget(struct range r)
{
    table_forget(r);
    patch_forget_counts(r);
}

/* The program wants the place of our own code: the text is put back, and stays so. Threads on their way there are lost. */
static void yield(u64 base, u64 size)
{
    if (!patch_enabled || !table_sites || !rooms_within(base, size))
        return;
    patch_stop();
    table_sites = 0;
    rooms_gone();
}

void patch_forget(u64 base, u64 size)
{
    yield(base, size);
    if (!patch_covers(base, size))
        return;
    patch_hold();
    forget((struct range){base, size});
    patch_release();
}

static void restore(const struct pun_unit *unit)
{
    struct pun_write w = {.at = unit->at, .length = unit->length};

    memcpy(w.bytes, unit->original, unit->length);
    text_write(&w, 1);
}

/*
 * Short jumps before what they lead into, and jumps before what their displacements end in: whoever comes along
 * meanwhile meets a jump that is right, or the program's own instruction.
 */
static void restore_all(struct range r)
{
    const struct pun_unit *unit, *next;
    u64 done = r.base;
    u32 i = 0;

    while ((unit = pun_next(&table_book, &i)))
        if (unit->kind == PUN_SHORT && range_has(r, unit->at))
            restore(unit);
    do {
        for (i = 0, next = NULL; (unit = pun_next(&table_book, &i));)
            if (unit->kind == PUN_JUMP && range_has(r, unit->at) && unit->at >= done && (!next || unit->at < next->at))
                next = unit;
        if (next)
            restore(next), done = next->at + 1;
    } while (next);
}

void patch_take_back(u64 base, u64 size)
{
    struct range r = {base, size};

    if (base)
        yield(base, size);
    if (!patch_covers(base, size))
        return;
    patch_hold();
    if (text_open()) { /* no descriptor, no /proc: what stands there stays known */
        restore_all(r);
        text_close();
        forget(r);
    }
    patch_release();
}

void patch_leave_alone(u64 base, u64 size)
{
    if (!patch_enabled || !text_loaded(base))
        return;
    patch_hold();
    text_leave_alone(base, size);
    patch_release();
    patch_take_back(base, size);
}

void patch_freeze(void)
{
    patch_enabled = false;
}

void patch_stop(void)
{
    if (!patch_enabled)
        return;
    patch_enabled = false;
    patch_take_back(0, UINT64_MAX);
}

/* Without the lock: its holder may not run any more. */
void patch_undo(void)
{
    if (table_sites && text_open())
        restore_all((struct range){0, UINT64_MAX});
}

/* ---- where jumps lead ---- */

static bool byte_is(u64 at, u8 byte)
{
    return *(const volatile u8 *)at == byte;
}

/* The site whose trampoline a jump in a room leads to. */
static const struct patch_site *behind_room(u64 room)
{
    i32 distance;

    if (!rooms_have(room) || !byte_is(room, 0xe9))
        return NULL;
    memcpy(&distance, (const void *)(room + 1), 4);
    return rooms_site_of(room + 5 + (u64)(i64)distance);
}

u64 patch_leads_to(u64 rip)
{
    const struct pun_unit *unit;
    const struct patch_site *s;

    if (!table_sites)
        return 0;
    if ((s = behind_room(rip)))
        return s->at;
    unit = pun_find(&table_book, rip);
    return unit && unit->insn != rip ? unit->insn : 0;
}

/*
 * A thread may have met a stop and come here only when the jump was taken back and forgotten: the instruction is the
 * program's, and is tried once more. One that faults by itself does so again, with nothing forgotten meanwhile.
 */
static bool stopped_late(u64 at)
{
    static __thread u64 tried, when;
    u64 now = patch_forgotten();
    bool late = (tried != at || when != now) && patch_covers(at, 1);

    tried = at;
    when = now;
    return late;
}

u64 patch_code_of(u64 at)
{
    const struct pun_unit *unit;
    const struct patch_site *s;

    if (!table_sites)
        return 0;
    if (rooms_have(at)) {
        for (unsigned i = 0; i < patch_now.nwrites && byte_is(at, TEXT_STOP); i++)
            if (patch_now.writes[i].at == at)
                return patch_now.writes[i].insn;
        return byte_is(at, 0xe9) ? at : 0; /* it is done by now; else it is the program's own */
    }
    if (!(unit = pun_find(&table_book, at)))
        return stopped_late(at) ? at : 0;
    s = table_site(unit->insn);
    return s ? s->code : at;
}

