/*
 * Jumps whose displacements overlap what comes behind them: found from the last
 * to the first, because a jump's last bytes are the next one's first. A choice
 * that leaves an earlier jump without a target is taken back.
 */
#include "cpu/pun_plan.h"
#include "base/trapsafe.h"

/* Where programs have memory. */
#define LOWEST  ((i64)0x10000)
#define HIGHEST ((i64)0x7fffffffe000 - PUN_ROOM)

/*
 * Bytes that may stand before a relative jump and change nothing: segments, REX, and f2 (bnd, which does nothing
 * without MPX). Not 66, which AMD obeys.
 */
static const u8 prefixes[] = {0x2e, 0x3e, 0x26, 0x36, 0x64, 0x65, 0x48, 0x40, 0xf2};
/* Values of a displacement's upper byte that are tried: spread over both directions. */
static const u8 samples[] = {0x20, 0xe0, 0x40, 0xc0, 0x10, 0xf0, 0x60, 0xa0, 0x04, 0xfa, 0x78, 0x88, 0x30, 0xd0, 0x50, 0xb0};

/* ---- bytes ---- */

static bool in_unit(const struct pun_unit *unit, u64 at)
{
    return at - unit->at < unit->length;
}

static u8 text_byte(const struct attempt *a, u64 at)
{
    return a->text->bytes[at - a->text->base];
}

/* The byte as it will be: of the pieces before `decided`, else as it is in the text. */
static u8 byte_at(const struct attempt *a, unsigned decided, u64 at)
{
    for (unsigned i = 0; i < decided; i++)
        if (in_unit(&a->pieces[i].unit, at))
            return a->pieces[i].unit.now[at - a->pieces[i].unit.at];
    return text_byte(a, at);
}

/* Behind a jump or return there may be anything, but breakpoints and system calls. */
static u64 clean_until(const struct attempt *a, u64 at, u64 end)
{
    for (; at < end; at++) {
        u8 byte = byte_at(a, 0, at);

        if (byte == 0xcc || (byte == 0x0f && at + 1 < end && (byte_at(a, 0, at + 1) == 0x05 || byte_at(a, 0, at + 1) == 0x34)))
            break;
    }
    return at;
}

/* End of the instruction that the unit belongs to: behind the landings in it. */
static u64 insn_end(const struct attempt *a, const struct pun_unit *unit)
{
    u64 end = unit->at + unit->length;

    for (unsigned i = 0; i < a->n; i++) /* by address, the last first */
        if (a->pieces[a->n - 1 - i].unit.at == end && a->pieces[a->n - 1 - i].unit.insn != end)
            end += a->pieces[a->n - 1 - i].unit.length;
    return end;
}

/* How far the bytes behind a unit stay what they are, or change only by our own hand. */
static u64 rely_until(const struct attempt *a, const struct pun_unit *unit)
{
    u64 at = insn_end(a, unit), end = at + MIN((u64)PUN_BEFORE, a->text->size - (at - a->text->base));
    struct pun_insn insn;
    u64 pc = at;

    while (pc < end && pun_insn_at(a->book, a->text, pc, &insn) && !pun_foreign(a->text, pc, insn.length)) {
        if (insn.flow == FLOW_SYSTEM)
            return pc;
        pc += insn.length;
        if (insn.flow == FLOW_STOP || insn.flow == FLOW_JUMP)
            break;
    }
    end = clean_until(a, MIN(pc, end), end);
    for (pc = MIN(pc, end); pc < end; pc++)
        if (pun_foreign(a->text, pc, 1))
            break;
    return pc;
}

/* ---- targets ---- */

struct targets {
    u64 first, last, step;
};

/*
 * Targets of a jump that ends at `end`: of its displacement the lowest `fixed` bytes are chosen, those from the
 * `open`th on are what follows it, and those between may be anything.
 */
static bool targets_of(u64 end, u32 displacement, unsigned fixed, unsigned open, struct targets *t)
{
    u64 step = (u64)1 << 8 * fixed, rest = open < 4 ? ((u64)1 << 8 * open) - 1 : 0;
    i64 low = -PUN_REACH, high = PUN_REACH;

    if (open < 4) {
        low = MAX(low, (i64)(i32)(displacement & ~(u32)rest));
        high = MIN(high, (i64)(i32)(displacement & ~(u32)rest) + (i64)rest);
    }
    low = MAX(low, LOWEST - (i64)end);
    high = MIN(high, HIGHEST - (i64)end);
    if (low > high)
        return false;
    low += (i64)((displacement - (u64)low) & (step - 1));
    if (low > high)
        return false;
    t->first = end + (u64)low;
    t->last = end + (u64)(high - ((high - low) & (i64)(step - 1)));
    t->step = t->first == t->last ? 1 : step;
    return true;
}

static u32 displacement_of(const struct pun_unit *unit, u64 room)
{
    return (u32)(room - (unit->at + unit->prefixes + PUN_ROOM));
}

/* The jump as bytes of the unit; what is left of its bytes stays as it is in the text. */
static void encode(const struct attempt *a, struct pun_unit *unit)
{
    u32 displacement = displacement_of(unit, unit->room);

    for (unsigned i = 0; i < unit->length; i++)
        unit->now[i] = text_byte(a, unit->at + i);
    if (unit->kind == PUN_SHORT) {
        unit->now[0] = 0xeb;
        unit->now[1] = (u8)(unit->room - (unit->at + 2));
        return;
    }
    unit->now[unit->prefixes] = 0xe9;
    for (unsigned i = 0; i < 4 && unit->prefixes + 1u + i < unit->length; i++)
        unit->now[unit->prefixes + 1 + i] = (u8)(displacement >> 8 * i);
}

/* ---- the search ---- */

static bool solve(struct attempt *a, unsigned k);

/* One form of a jump: its prefixes, and what is chosen of its displacement because an earlier jump reads it. */
struct form {
    unsigned prefixes;
    u8 prefix;
    unsigned fixed;
    u32 low;
};

static bool try_form(struct attempt *a, unsigned k, const struct form *form)
{
    struct pun_unit *unit = &a->pieces[k].unit;
    unsigned jump = form->prefixes + 1, open = MIN(unit->length - jump, 4u);
    u32 displacement = form->low;
    struct targets targets;

    for (unsigned i = open; i < 4; i++)
        displacement |= (u32)byte_at(a, k, unit->at + jump + i) << 8 * i;
    if (!a->budget || !targets_of(unit->at + jump + 4, displacement, form->fixed, open, &targets))
        return false;
    a->budget--;
    if (!a->space->take(a->space->context, targets.first, targets.last, targets.step, PUN_ROOM, &unit->room))
        return false;
    unit->prefixes = (u8)form->prefixes;
    encode(a, unit);
    memset(unit->now, form->prefix, form->prefixes);
    a->pieces[k].taken = true;
    if (solve(a, k + 1))
        return true;
    a->pieces[k].taken = false;
    a->space->give_back(a->space->context, unit->room, PUN_ROOM);
    return false;
}

/* How many of the piece's first bytes an earlier piece reads, with so many prefixes of its own. */
static unsigned visible(const struct attempt *a, unsigned k, unsigned earlier, unsigned own)
{
    const struct pun_unit *unit = &a->pieces[k].unit, *reader = &a->pieces[earlier].unit;
    u64 reach = reader->at + own + PUN_ROOM;

    if (reader->kind == PUN_SHORT || own >= reader->length || reach <= unit->at)
        return 0;
    return (unsigned)MIN(reach - unit->at, (u64)unit->length);
}

/* Bit f: a form that chooses f bytes of the displacement makes a difference to an earlier piece. */
static unsigned useful(const struct attempt *a, unsigned k, unsigned count, bool *prefix)
{
    unsigned open = MIN(a->pieces[k].unit.length - count - 1u, 4u), set = 0;

    for (unsigned i = k + 1; i < a->n; i++)
        for (unsigned own = 0; own < 4; own++) {
            unsigned n = visible(a, k, i, own);

            *prefix |= n && count;
            if (n > count + 1 && open)
                set |= 1u << MIN(n - count - 1, open);
        }
    return set;
}

static u32 sample(unsigned fixed, unsigned variant)
{
    u32 low = 0;

    for (unsigned i = 0; i < fixed; i++)
        low |= (u32)samples[(variant * (fixed - i) + (fixed - 1 - i) * 5) % ARRAY_SIZE(samples)] << 8 * i;
    return low;
}

static bool try_variants(struct attempt *a, unsigned k, struct form form, unsigned variants)
{
    for (unsigned i = 0; i < variants; i++) {
        form.prefix = prefixes[i % ARRAY_SIZE(prefixes)];
        form.low = sample(form.fixed, i);
        if (try_form(a, k, &form))
            return true;
    }
    return false;
}

/* Chosen bytes come first: they are few, so that rooms lie close together. */
static bool try_forms(struct attempt *a, unsigned k, unsigned count)
{
    bool prefix = false;
    unsigned set = useful(a, k, count, &prefix);
    struct form form = {.prefixes = count};

    for (form.fixed = 1; form.fixed <= 4; form.fixed++)
        if (set >> form.fixed & 1 && try_variants(a, k, form, ARRAY_SIZE(samples)))
            return true;
    form.fixed = 0;
    return try_variants(a, k, form, prefix ? ARRAY_SIZE(prefixes) : 1);
}

/* The old jump still goes where it went. */
static bool still_right(const struct attempt *a, unsigned k)
{
    const struct pun_unit *old = a->pieces[k].old;
    u32 displacement = 0;

    if (old->kind == PUN_SHORT)
        return true;
    for (unsigned i = 0; i < 4; i++) {
        u64 at = old->at + old->prefixes + 1 + i;

        displacement |= (u32)(in_unit(old, at) ? old->now[at - old->at] : byte_at(a, k, at)) << 8 * i;
    }
    return displacement == displacement_of(old, old->room);
}

static bool keep(struct attempt *a, unsigned k)
{
    struct piece *piece = &a->pieces[k];
    bool site = piece->unit.site;

    if (!still_right(a, k))
        return false;
    piece->unit = *piece->old;
    piece->unit.site = site;
    return solve(a, k + 1);
}

/* Another target with the same first bytes, so that earlier jumps need no change. */
static bool change_least(struct attempt *a, unsigned k)
{
    const struct pun_unit *old = a->pieces[k].old;
    struct form form = {.prefixes = old->prefixes, .prefix = old->now[0]};
    unsigned seen = 0;

    for (unsigned i = k + 1; i < a->n; i++)
        if (a->pieces[i].old && visible(a, k, i, a->pieces[i].old->prefixes) > seen)
            seen = visible(a, k, i, a->pieces[i].old->prefixes);
    if (!seen || old->kind == PUN_SHORT || old->length != a->pieces[k].unit.length)
        return false;
    for (unsigned i = old->prefixes + 1u; i < seen && form.fixed < 4; i++)
        form.low |= (u32)old->now[i] << 8 * form.fixed++;
    if (old->at + old->prefixes + PUN_ROOM > a->pieces[k].limit)
        return false;
    return try_form(a, k, &form);
}

static bool solve(struct attempt *a, unsigned k)
{
    struct piece *piece = &a->pieces[k];
    struct pun_unit *unit = &piece->unit;

    if (k == a->n)
        return true;
    if (piece->old && !piece->fresh && keep(a, k))
        return true;
    if (unit->kind == PUN_SHORT) {
        encode(a, unit);
        return solve(a, k + 1);
    }
    if (piece->old && change_least(a, k))
        return true;
    for (unsigned count = 0; count < unit->length && count <= 10 && unit->at + count + PUN_ROOM <= piece->limit; count++)
        if (try_forms(a, k, count))
            return true;
    return false;
}

/* ---- what belongs together ---- */

static struct piece *piece_at(struct attempt *a, u64 at)
{
    for (unsigned i = 0; i < a->n; i++)
        if (a->pieces[i].unit.at == at)
            return &a->pieces[i];
    return NULL;
}

/* By address, the last first. */
static struct piece *add(struct attempt *a, u64 at)
{
    unsigned i = a->n;

    if (a->n == PUN_UNITS) {
        a->full = true;
        return NULL;
    }
    for (a->n++; i > 0 && a->pieces[i - 1].unit.at < at; i--)
        a->pieces[i] = a->pieces[i - 1];
    a->pieces[i] = (struct piece){.old = pun_find(a->book, at)};
    if (a->pieces[i].old)
        a->pieces[i].unit = *a->pieces[i].old;
    return &a->pieces[i];
}

static void set_unit(struct attempt *a, struct piece *piece, struct pun_unit unit)
{
    u8 bytes[15];

    memcpy(bytes, a->text->bytes + (unit.at - a->text->base), unit.length);
    pun_original(a->book, unit.at, bytes, unit.length);
    memcpy(unit.original, bytes, unit.length);
    piece->unit = unit;
    piece->fresh = true;
}

void attempt_jump(struct attempt *a, u64 at, unsigned length, u64 insn, bool site)
{
    struct piece *piece = add(a, at);

    if (piece)
        set_unit(a, piece, (struct pun_unit){.at = at, .insn = insn, .length = (u8)length, .kind = PUN_JUMP,
                                             .site = site || (piece->old && piece->old->site)});
}

void attempt_short(struct attempt *a, u64 at, unsigned length, u64 landing)
{
    struct piece *piece = add(a, at);

    if (piece)
        set_unit(a, piece, (struct pun_unit){.at = at, .insn = at, .length = (u8)length, .kind = PUN_SHORT,
                                             .room = landing, .site = true});
}

/* Units whose jumps read the first byte of a piece, which is int3 for a while. True: there were some. */
static bool add_readers(struct attempt *a, u64 at)
{
    const struct pun_unit *units[PUN_BEFORE];
    unsigned count = pun_units(a->book, at - PUN_BEFORE, PUN_BEFORE, units, ARRAY_SIZE(units));
    bool added = false;

    for (unsigned i = 0; i < count; i++)
        if (pun_reach(units[i]) > at && !piece_at(a, units[i]->at))
            added |= add(a, units[i]->at) != NULL;
    return added;
}

bool attempt_complete(struct attempt *a)
{
    for (unsigned i = 0; i < a->n && !a->full;)
        i = add_readers(a, a->pieces[i].unit.at) ? 0 : i + 1;
    return !a->full;
}

bool attempt_solve(struct attempt *a)
{
    if (!attempt_complete(a))
        return false;
    for (unsigned i = 0; i < a->n; i++)
        a->pieces[i].limit = rely_until(a, &a->pieces[i].unit);
    return solve(a, 0);
}
