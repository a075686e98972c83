/* Which instructions get jumps: the site alone, with some behind it, or with a neighbour in reach of a short jump. */
#include "cpu/pun_plan.h"
#include "base/trapsafe.h"

#define FOLLOWERS  4
#define ROW        6   /* jumps that read each other: from then on a short one is preferred */
#define CANDIDATES 128 /* neighbours that are looked at */
#define ROOMS      200  /* asked for in one attempt */
#define ROOMS_ALL  2000 /* in all attempts for a site */

struct candidate {
    u64 at;
    u8 length;
    bool nop;
};

struct candidates {
    struct candidate list[CANDIDATES];
    unsigned count;
    u64 low, high; /* landings are within */
    u64 targets[5]; /* bit i: a branch leads to low - 16 + i */
    bool site;     /* the site was among the instructions */
    u8 flow;       /* of the last instruction that was seen */
    u64 end;       /* and where it ends */
};

struct search {
    const struct pun_book *book;
    const struct pun_text *text;
    const struct pun_space *space;
    struct pun_plan *plan;
    u64 insn;
    struct pun_insn decoded;
    unsigned budget;
    struct attempt attempt;
    struct candidates near;
    struct candidates last; /* of the function before: only where it ends */
};

_Static_assert(sizeof(struct search) <= PUN_WORK, "a search fits into what the book has for it");

/* ---- the plan ---- */

static struct attempt *begin(struct search *s)
{
    struct attempt *a = &s->attempt;

    a->book = s->book;
    a->text = s->text;
    a->space = s->space;
    a->n = 0;
    a->full = false;
    a->budget = MIN(s->budget, ROOMS);
    s->budget -= a->budget;
    return a;
}

static bool finish(struct search *s)
{
    bool found = attempt_solve(&s->attempt);

    s->budget += s->attempt.budget;
    return found;
}

static unsigned written(const struct pun_unit *unit)
{
    return unit->kind == PUN_SHORT ? 2 : MIN(unit->length, unit->prefixes + PUN_ROOM);
}

static void emit_write(struct search *s, const struct pun_unit *unit)
{
    struct pun_write *write = &s->plan->writes[s->plan->nwrites++];

    *write = (struct pun_write){.at = unit->at, .insn = unit->insn, .length = (u8)written(unit)};
    memcpy(write->bytes, unit->now, write->length);
    memcpy(write->was, s->text->bytes + (unit->at - s->text->base), write->length);
}

static void emit_jump(struct search *s, u64 insn, u64 room, bool site)
{
    struct pun_jump *jump = &s->plan->jumps[s->plan->njumps++];
    struct pun_insn decoded = {0};

    pun_insn_at(s->book, s->text, insn, &decoded);
    *jump = (struct pun_jump){.insn = insn, .room = room, .length = decoded.length, .copy = !site};
}

static bool emit(struct search *s, enum pun_tactic tactic)
{
    struct pun_plan *plan = s->plan;

    plan->tactic = tactic;
    for (unsigned i = s->attempt.n; i-- > 0;) {
        struct piece *piece = &s->attempt.pieces[i];

        emit_write(s, &piece->unit);
        if (piece->taken)
            emit_jump(s, piece->unit.insn, piece->unit.room, piece->unit.site);
        plan->repunned |= piece->taken && piece->old;
        plan->taken[plan->nunits] = piece->taken;
        plan->units[plan->nunits++] = piece->unit;
    }
    return true;
}

/* ---- instructions that may be evicted ---- */

/* The landing in the tail of an evicted instruction, NULL: none. */
static const struct pun_unit *landing_in(const struct search *s, const struct pun_unit *unit, unsigned length)
{
    return unit->length < length ? pun_find(s->book, unit->at + unit->length) : NULL;
}

static bool evictable(const struct search *s, u64 at, const struct pun_insn *insn)
{
    const struct pun_unit *unit = pun_find(s->book, at);

    if (insn->length > s->text->size - (at - s->text->base) || pun_foreign(s->text, at, insn->length))
        return false;
    if (unit)
        return unit->kind == PUN_JUMP && unit->insn == at;
    return insn->copyable && !insn->locked && !pun_taken(s->book, at, insn->length);
}

/* Gives the instruction a new jump; if it has a landing, that as well. */
static void evict(struct search *s, u64 at, unsigned length)
{
    const struct pun_unit *unit = pun_find(s->book, at);
    const struct pun_unit *landing = unit ? landing_in(s, unit, length) : NULL;

    if (landing)
        attempt_jump(&s->attempt, landing->at, landing->length, landing->insn, true);
    attempt_jump(&s->attempt, at, unit ? unit->length : length, at, false);
}

/* ---- the site, and what is behind it ---- */

static bool goes_on(u8 flow)
{
    return flow != FLOW_STOP && flow != FLOW_JUMP && flow != FLOW_SYSTEM && flow != FLOW_CALL && flow != FLOW_CALL_INDIRECT;
}

static unsigned followers(const struct search *s, struct candidate *list)
{
    struct pun_insn insn = s->decoded;
    u64 at = s->insn;
    unsigned n = 0;

    while (n < FOLLOWERS && goes_on(insn.flow)) {
        at += insn.length;
        if (!pun_insn_at(s->book, s->text, at, &insn) || !evictable(s, at, &insn))
            break;
        list[n++] = (struct candidate){.at = at, .length = insn.length};
    }
    return n;
}

/* Does each evicted one change what the one before it reads? */
static bool connected(const struct search *s, const struct candidate *list, unsigned mask)
{
    u64 end = s->insn + s->decoded.length;

    for (unsigned i = 0; mask >> i; i++) {
        if (!(mask >> i & 1))
            continue;
        if (list[i].at >= end + 4)
            return false;
        end = list[i].at + list[i].length;
    }
    return true;
}

static enum pun_tactic tactic_of(const struct search *s, unsigned mask)
{
    for (unsigned i = 0; i < s->attempt.n; i++) {
        const struct pun_unit *unit = &s->attempt.pieces[i].unit;

        if (unit->at != s->insn || mask)
            continue;
        if (unit->prefixes)
            return PUN_PREFIXED;
        return s->decoded.length < PUN_ROOM ? PUN_FOLLOWING : PUN_WHOLE;
    }
    return PUN_SUCCESSOR;
}

static bool in_place(struct search *s)
{
    static const u8 masks[] = {0, 1, 2, 4, 3, 8, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15};
    struct candidate list[FOLLOWERS];
    unsigned n = followers(s, list);

    for (unsigned i = 0; i < ARRAY_SIZE(masks); i++) {
        if (masks[i] >> n || !connected(s, list, masks[i]))
            continue;
        begin(s);
        attempt_jump(&s->attempt, s->insn, s->decoded.length, s->insn, true);
        for (unsigned k = 0; k < n; k++)
            if (masks[i] >> k & 1)
                evict(s, list[k].at, list[k].length);
        if (finish(s))
            return emit(s, tactic_of(s, masks[i]));
    }
    return false;
}

/* ---- neighbours ---- */

static void add_candidate(const struct search *s, struct candidates *c, u64 at, const struct pun_insn *insn)
{
    bool near = at + insn->length > c->low && at < c->high;

    if (near && at != s->insn && c->count < CANDIDATES && insn->length > 1 && evictable(s, at, insn))
        c->list[c->count++] = (struct candidate){.at = at, .length = insn->length, .nop = insn->nop};
}

static bool branches(u8 flow)
{
    return flow == FLOW_CONDITIONAL || flow == FLOW_JUMP || flow == FLOW_LOOP;
}

static u64 *target_word(struct candidates *c, u64 at)
{
    u64 offset = at - (c->low - 16);

    return offset < 64 * ARRAY_SIZE(c->targets) ? &c->targets[offset / 64] : NULL;
}

static void note_target(struct candidates *c, u64 at)
{
    u64 *word = target_word(c, at);

    if (word)
        *word |= (u64)1 << ((at - (c->low - 16)) & 63);
}

static bool is_target(struct candidates *c, u64 at)
{
    const u64 *word = target_word(c, at);

    return word && *word >> ((at - (c->low - 16)) & 63) & 1;
}

/*
 * Instructions of [at, end) from the first on. Behind a jump there may be data: what is there counts only from where
 * the program is known to come. False: it was not decoded as far as wanted.
 */
static bool collect(const struct search *s, struct candidates *c, u64 at, u64 end, bool linear)
{
    struct pun_insn insn;
    bool code = true;

    c->end = at;
    while (at < end && at < c->high && pun_insn_at(s->book, s->text, at, &insn)) {
        code |= at == s->insn || is_target(c, at);
        c->site |= at == s->insn;
        if (code)
            add_candidate(s, c, at, &insn);
        if (code && branches(insn.flow))
            note_target(c, at + (u64)insn.distance);
        code &= insn.flow != FLOW_STOP && insn.flow != FLOW_JUMP;
        at += insn.length;
        c->flow = insn.flow;
        c->end = at;
        if (!linear && !goes_on(insn.flow))
            break;
    }
    return at == end || at >= c->high;
}

static bool is_padding(const struct search *s, u64 at, u64 end)
{
    struct pun_insn insn;

    for (; at < end && pun_insn_at(s->book, s->text, at, &insn); at += insn.length)
        if (!insn.nop && s->text->bytes[at - s->text->base] != 0xcc && !pun_taken(s->book, at, insn.length))
            return false;
    return at == end;
}

static bool land(struct search *s, u64 at, u64 end)
{
    begin(s);
    attempt_jump(&s->attempt, at, (unsigned)MIN(end - at, (u64)PUN_ROOM), s->insn, true);
    attempt_short(&s->attempt, s->insn, s->decoded.length, at);
    return finish(s) && emit(s, PUN_GAP);
}

/* A landing in [at, end), which nothing runs into. */
static bool gap(struct search *s, u64 at, u64 end, u64 low, u64 high)
{
    if (at >= end || end - at > 64 || at < s->text->base || end - s->text->base > s->text->size || end <= low || at > high ||
        pun_foreign(s->text, at, (unsigned)(end - at)) || !is_padding(s, at, end))
        return false;
    for (at = MAX(at, low); at < end && at <= high; at++)
        if (!pun_taken(s->book, at, (unsigned)MIN(end - at, (u64)PUN_ROOM)) && land(s, at, end))
            return true;
    return false;
}

/* A landing at `offset` in the neighbour. */
static bool split(struct search *s, const struct candidate *k, unsigned offset)
{
    begin(s);
    attempt_jump(&s->attempt, k->at, offset, k->at, false);
    attempt_jump(&s->attempt, k->at + offset, k->length - offset, s->insn, true);
    attempt_short(&s->attempt, s->insn, s->decoded.length, k->at + offset);
    return finish(s) && emit(s, PUN_NEIGHBOUR);
}

static bool into(struct search *s, const struct candidates *c, const struct candidate *k)
{
    const struct pun_unit *unit = pun_find(s->book, k->at);

    if (unit && unit->length < k->length)
        return false; /* it has a landing already */
    for (unsigned i = k->length - 1u; i > 0; i--)
        if (k->at + i >= c->low && k->at + i < c->high && split(s, k, i))
            return true;
    return false;
}

/* Long ones, and those that do nothing, first. */
static bool into_any(struct search *s, const struct candidates *c)
{
    for (unsigned pass = 0; pass < 3; pass++)
        for (unsigned i = 0; i < c->count; i++) {
            const struct candidate *k = &c->list[i];
            unsigned rank = k->nop ? 0 : k->length >= 6 ? 1 : 2;

            if (rank == pass && into(s, c, k))
                return true;
        }
    return false;
}

/* Does nothing run from the function into what is behind it? */
static bool closed(const struct candidates *c, const struct pun_function *f)
{
    return c->end == f->end && !goes_on(c->flow) && c->flow != FLOW_CALL_INDIRECT;
}

/* The function at `at`, its instructions, and the padding behind it. */
static bool around(struct search *s, struct candidates *c, u64 at, struct pun_function *f)
{
    return at && s->text->function && s->text->function(s->text->context, at, f) && at - f->begin < f->end - f->begin &&
           collect(s, c, f->begin, f->end, true);
}

static bool in_gaps(struct search *s, struct candidates *c, struct pun_function *f)
{
    struct candidates *last = &s->last;
    struct pun_function before = {0};

    *last = (struct candidates){.low = c->high, .high = UINT64_MAX};

    if (closed(c, f) && gap(s, f->end, f->after, c->low, c->high - 1))
        return true;
    if (f->begin <= c->low || !f->before || !around(s, last, f->before - 1, &before) || before.end != f->before)
        return false;
    return closed(last, &before) && gap(s, before.end, f->begin, c->low, c->high - 1);
}

static void neighbouring_functions(struct search *s, struct candidates *c, struct pun_function f)
{
    struct pun_function other = f;
    unsigned i;

    for (i = 0; i < 16 && other.after && other.after < c->high; i++)
        if (!around(s, c, other.after, &other) || other.begin < f.end)
            break;
    other = f;
    for (i = 0; i < 16 && other.begin > c->low && other.before; i++)
        if (!around(s, c, other.before - 1, &other) || other.end > f.begin)
            break;
}

static bool near_by(struct search *s)
{
    struct candidates *c = &s->near;
    struct pun_function f = {0};

    *c = (struct candidates){.low = s->insn + 2 - 128, .high = s->insn + 2 + 128};
    if (s->decoded.length < 2)
        return false;
    if (!around(s, c, s->insn, &f) || !c->site) {
        c->count = 0;
        if (goes_on(s->decoded.flow))
            collect(s, c, s->insn + s->decoded.length, s->text->base + s->text->size, false);
        return into_any(s, c);
    }
    if (in_gaps(s, c, &f))
        return true;
    neighbouring_functions(s, c, f);
    return into_any(s, c);
}

/* ---- */

static bool retarget(struct search *s, const struct pun_unit *unit)
{
    const struct pun_unit *landing = unit->kind == PUN_SHORT ? pun_find(s->book, unit->room) : unit;
    struct pun_plan *plan = s->plan;

    if (!landing || unit->insn != unit->at)
        return false;
    plan->tactic = PUN_RETARGET;
    emit_jump(s, unit->at, landing->room, true);
    plan->taken[plan->nunits] = false;
    plan->units[plan->nunits] = *unit;
    plan->units[plan->nunits++].site = true;
    return true;
}

/* Jumps that read each other, up to the site. Each one of them costs, so a short jump may end the row. */
static bool in_long_row(struct search *s)
{
    begin(s);
    attempt_jump(&s->attempt, s->insn, s->decoded.length, s->insn, true);
    attempt_complete(&s->attempt);
    s->budget += s->attempt.budget;
    return s->attempt.n > ROW;
}

/* "je 1f; lock; 1: ...": one more beginning than there are instructions. */
static bool entered_behind_lock(const struct search *s)
{
    const u8 *site = s->text->bytes + (s->insn - s->text->base);

    return s->decoded.locked && s->insn - s->text->base >= 2 && site[-1] == 1 && (site[-2] & 0xf0) == 0x70;
}

static bool plan_new(struct search *s)
{
    if (s->decoded.flow == FLOW_SYSTEM || entered_behind_lock(s) || pun_taken(s->book, s->insn, s->decoded.length) ||
        pun_foreign(s->text, s->insn, s->decoded.length))
        return false;
    if (in_long_row(s))
        return near_by(s) || in_place(s);
    return in_place(s) || near_by(s);
}

bool pun_plan(struct pun_book *book, const struct pun_text *text, u64 insn, const struct pun_space *space,
              struct pun_plan *plan)
{
    struct search *s = book->work;
    const struct pun_unit *unit = pun_find(book, insn);

    plan->tactic = PUN_NONE;
    plan->repunned = false;
    plan->nwrites = plan->njumps = plan->nunits = 0;
    s->book = book;
    s->text = text;
    s->space = space;
    s->plan = plan;
    s->insn = insn;
    s->budget = ROOMS_ALL;
    if (!pun_has_space(book) || !pun_insn_at(book, text, insn, &s->decoded))
        return false;
    return unit ? retarget(s, unit) : plan_new(s);
}
