/*
 * Random instruction streams, patched in random order. After every byte that is written, and with any part of the
 * bytes between, each instruction must still do what it did: following the bytes from its address, through jumps and
 * rooms, must lead to its own trampoline, or to its own bytes.
 */
#include "unit.h"

#include "cpu/cpu.h"
#include "cpu/pun.h"
#include "pun_space.h"

#define TEXT   6000
#define INSNS  3000
#define LOW    ((u64)0x401000)
#define MIDDLE ((u64)0x555555554000)

struct world {
    u64 base;
    u32 size;
    u8 bytes[TEXT], original[TEXT];
    u8 foreign[TEXT];
    struct insn {
        u64 at;
        u8 length;
        bool patched;
    } insns[INSNS];
    u32 ninsns;
    u32 functions[INSNS]; /* indices of first instructions */
    u64 ends[INSNS];
    u32 nfunctions;
    struct model model;
    struct pun_book book;
    struct pun_text text;
    struct pun_space space;
    const struct pun_plan *flight; /* being written */
    u64 random;
    unsigned tactics[8], repunned, failed, evicted;
};

static struct world w;

static u32 dice(u32 n)
{
    w.random ^= w.random << 13;
    w.random ^= w.random >> 7;
    w.random ^= w.random << 17;
    return (u32)(w.random >> 11) % n;
}

/* ---- streams ---- */

/* Instructions that compilers write; what follows the given bytes is random. */
static const struct {
    u8 length, given;
    u8 bytes[5];
} forms[] = {
    {1, 1, {0x50}}, {1, 1, {0x58}}, {2, 2, {0x8b, 0x07}}, {2, 2, {0x89, 0x01}}, {2, 2, {0x31, 0xc0}}, {2, 2, {0x88, 0x02}},
    {3, 3, {0x48, 0x8b, 0x07}}, {3, 2, {0x8b, 0x47}}, {3, 2, {0x89, 0x51}}, {3, 3, {0x0f, 0xb6, 0x00}}, {3, 3, {0x66, 0x89, 0x10}},
    {4, 3, {0x48, 0x8b, 0x43}}, {4, 3, {0x0f, 0xb6, 0x40}}, {4, 3, {0x48, 0x83, 0xc0}}, {5, 1, {0xb8}}, {5, 4, {0x48, 0x8b, 0x44, 0x24}},
    {6, 2, {0xc7, 0x00}}, {6, 2, {0x8b, 0x80}}, {7, 3, {0x48, 0x8b, 0x05}}, {7, 2, {0xc7, 0x40}}, {7, 3, {0x48, 0xc7, 0xc0}}, {2, 1, {0x74}},
    {6, 2, {0x0f, 0x85}}, {5, 1, {0xe8}}, {2, 2, {0xff, 0xd0}}, {6, 2, {0xff, 0x15}}, {2, 1, {0xeb}}, {1, 1, {0xc3}}, {2, 2, {0x0f, 0x05}},
    {4, 4, {0x0f, 0x1f, 0x40, 0x00}}, {4, 4, {0xf3, 0x0f, 0x1e, 0xfa}}, {2, 1, {0xe2}}, {1, 1, {0x90}}, {1, 1, {0xcc}}, {2, 2, {0x0f, 0x0b}},
};

static void add_insn(unsigned form)
{
    struct insn *insn = &w.insns[w.ninsns++];

    insn->at = w.base + w.size;
    insn->length = forms[form].length;
    for (unsigned i = 0; i < insn->length; i++)
        w.bytes[w.size++] = i < forms[form].given ? forms[form].bytes[i] : (u8)dice(256);
}

static void add_function(void)
{
    u32 n = 2 + dice(dice(4) ? 60 : 8);

    w.functions[w.nfunctions] = w.ninsns;
    while (n--)
        add_insn(dice(4) ? 2 + dice(21) : dice(ARRAY_SIZE(forms)));
    add_insn(26 + dice(2)); /* jmp or ret */
    w.ends[w.nfunctions++] = w.base + w.size;
    if (dice(3))
        for (n = dice(15); n; n--)
            w.bytes[w.size++] = 0x90;
}

static bool is_foreign(void *context, u64 at, unsigned n)
{
    (void)context;
    for (unsigned i = 0; i < n; i++)
        if (at + i - w.base < w.size && w.foreign[at + i - w.base])
            return true;
    return false;
}

static bool function_of(void *context, u64 at, struct pun_function *f)
{
    (void)context;
    for (u32 i = 0; i < w.nfunctions; i++) {
        u64 begin = w.insns[w.functions[i]].at;

        if (at < begin || at >= w.ends[i])
            continue;
        f->begin = begin;
        f->end = w.ends[i];
        f->before = i ? w.ends[i - 1] : 0;
        f->after = i + 1 < w.nfunctions ? w.insns[w.functions[i + 1]].at : 0;
        return true;
    }
    return false;
}

static void begin_world(u64 seed, u64 base)
{
    memset(&w, 0, sizeof(w));
    w.random = seed * 0x9e3779b97f4a7c15 + 1;
    w.base = base;
}

static void open_world(bool functions)
{
    memcpy(w.original, w.bytes, sizeof(w.bytes));
    model_init(&w.model);
    model_occupy(&w.model, w.base, w.size);
    w.space = model_space(&w.model);
    w.text = (struct pun_text){.base = w.base, .size = w.size, .bytes = w.bytes, .foreign = is_foreign,
                               .function = functions ? function_of : NULL};
    pun_init(&w.book, calloc(1, 1 << 20), 1 << 20);
}

static void make_world(u64 seed, u64 base, u32 size, bool functions)
{
    begin_world(seed, base);
    while (w.size < size)
        add_function();
    for (u32 i = 0; i < w.ninsns; i++)
        if (!dice(30))
            memset(w.foreign + (w.insns[i].at - base), 1, w.insns[i].length);
    open_world(functions);
}

/* ---- following ---- */

static bool in_text(u64 at)
{
    return at - w.base < w.size;
}

static bool untouched(const struct insn *insn)
{
    return memcmp(w.bytes + (insn->at - w.base), w.original + (insn->at - w.base), insn->length) == 0;
}

static unsigned wrong_within(u64 low, u64 high)
{
    unsigned wrong = 0;

    for (u32 i = 0; i < w.ninsns; i++) {
        const struct insn *insn = &w.insns[i];

        if (insn->at >= low && insn->at < high && (insn->patched || !untouched(insn)))
            wrong += model_follow(&w.model, &w.text, w.flight, insn->at) != insn->at && !(w.flight && untouched(insn));
    }
    return wrong;
}

/* ---- writing ---- */

static struct insn *insn_at(u64 at)
{
    for (u32 i = 0; i < w.ninsns; i++)
        if (w.insns[i].at == at)
            return &w.insns[i];
    return NULL;
}

static void check_near(void)
{
    const struct pun_plan *p = w.flight;

    CHECK_EQ(wrong_within(p->writes[0].at - 40, p->writes[p->nwrites - 1].at + 40), 0);
}

static void write_plan(const struct pun_plan *p)
{
    w.flight = p;
    for (unsigned i = 0; i < p->nwrites; i++) {
        w.bytes[p->writes[i].at - w.base] = 0xcc;
        check_near();
    }
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < p->nwrites; i++)
            for (unsigned k = 1; k < p->writes[i].length; k++)
                if (pass || dice(2))
                    w.bytes[p->writes[i].at + k - w.base] = p->writes[i].bytes[k];
        check_near();
    }
    for (unsigned i = p->nwrites; i-- > 0;) {
        w.bytes[p->writes[i].at - w.base] = p->writes[i].bytes[0];
        check_near();
    }
    w.flight = NULL;
}

/* Begins it where an instruction does, or inside of one that is or gets evicted, or in padding? */
static bool well_placed(const struct pun_plan *p, unsigned i)
{
    for (u32 k = 0; k < w.ninsns; k++) {
        const struct insn *insn = &w.insns[k];

        if (p->writes[i].at - insn->at >= insn->length)
            continue;
        return p->writes[i].at + p->writes[i].length <= insn->at + insn->length &&
               (p->writes[i].at == insn->at || insn->patched || (i && p->writes[i - 1].at == insn->at));
    }
    return w.bytes[p->writes[i].at - w.base] == 0x90 || pun_find(&w.book, p->writes[i].at);
}

static void check_writes(const struct pun_plan *p)
{
    for (unsigned i = 0; i < p->nwrites; i++) {
        const struct pun_write *write = &p->writes[i];

        CHECK(in_text(write->at) && in_text(write->at + write->length - 1));
        CHECK(!memcmp(write->was, w.bytes + (write->at - w.base), write->length));
        CHECK(!is_foreign(NULL, write->at, write->length));
        CHECK(!i || p->writes[i - 1].at + p->writes[i - 1].length <= write->at);
        CHECK(well_placed(p, i));
    }
}

static void note_jumps(const struct pun_plan *p, u64 site)
{
    bool there = false;

    for (unsigned i = 0; i < p->njumps; i++) {
        struct insn *insn = insn_at(p->jumps[i].insn);

        CHECK(insn && insn->length == p->jumps[i].length);
        if (!insn)
            continue;
        CHECK(!insn->patched || !p->jumps[i].copy || p->repunned);
        w.evicted += p->jumps[i].copy && !insn->patched;
        insn->patched = true;
        there |= insn->at == site && !p->jumps[i].copy;
        if (p->tactic == PUN_RETARGET)
            CHECK_EQ(w.model.jumps[model_jump(&w.model, p->jumps[i].room)].insn, site);
        model_write(&w.model, p->jumps[i].room, insn->at);
    }
    CHECK(there);
}

static void patch(u64 site)
{
    u64 rooms = w.model.rooms;
    static struct pun_plan p, again;

    if (!pun_plan(&w.book, &w.text, site, &w.space, &p)) {
        CHECK_EQ(w.model.rooms, rooms);
        w.failed++;
        return;
    }
    w.tactics[p.tactic]++;
    w.repunned += p.repunned;
    if (!dice(4)) { /* all is as before */
        pun_cancel(&p, &w.space);
        CHECK_EQ(w.model.rooms, rooms);
        CHECK(pun_plan(&w.book, &w.text, site, &w.space, &again));
        p = again;
    }
    CHECK_EQ(w.model.rooms, rooms + (p.tactic == PUN_RETARGET ? 0 : p.njumps));
    check_writes(&p);
    note_jumps(&p, site);
    pun_commit(&w.book, &p);
    if (p.nwrites)
        write_plan(&p);
}

static void check_originals(void)
{
    u8 bytes[15];

    for (u32 at = 0; at + 15 <= w.size; at++) {
        memcpy(bytes, w.bytes + at, 15);
        pun_original(&w.book, w.base + at, bytes, 15);
        CHECK(!memcmp(bytes, w.original + at, 15));
    }
}

/* Bytes of others, and breakpoints, may become anything. */
static void change_foreign(void)
{
    for (u32 at = 0; at < w.size; at++)
        if (w.foreign[at])
            w.bytes[at] = w.original[at] = (u8)(w.bytes[at] + 1 + dice(255));
}

static void finish(void)
{
    CHECK_EQ(wrong_within(w.base, w.base + w.size), 0);
    check_originals();
    change_foreign();
    CHECK_EQ(wrong_within(w.base, w.base + w.size), 0);
    printf("# %u instructions, %u evicted, %u repunned, %u failed; tactics", w.ninsns, w.evicted, w.repunned, w.failed);
    for (unsigned i = 1; i < 8; i++)
        printf(" %u", w.tactics[i]);
    printf("; %llu rooms asked for\n", (unsigned long long)w.model.asked);
    model_end(&w.model);
    free(w.book.work);
}

static void run(u64 seed, u64 base, u32 size, bool functions)
{
    u32 order[INSNS];

    make_world(seed, base, size, functions);
    for (u32 i = 0; i < w.ninsns; i++)
        order[i] = i;
    for (u32 i = w.ninsns; i > 1; i--) {
        u32 k = dice(i), keep = order[k];

        order[k] = order[i - 1];
        order[i - 1] = keep;
    }
    for (u32 i = 0; i < w.ninsns && !unit_failures; i++)
        if (dice(4))
            patch(w.insns[order[i]].at);
    finish();
}

static void start(void)
{
    char text[256];
    struct fmt error = FMT_INIT(text);

    CHECK_EQ(cpu_init(&error), 0);
}

TEST(position_independent_program)
{
    start();
    for (u64 seed = 1; seed <= 6 && !unit_failures; seed++)
        run(seed, MIDDLE, 2000, seed % 3);
}

TEST(program_at_a_low_address)
{
    start();
    for (u64 seed = 11; seed <= 16 && !unit_failures; seed++)
        run(seed, LOW, 2000, seed % 3);
}

TEST(at_the_end_of_the_address_space)
{
    start();
    for (u64 seed = 21; seed <= 26 && !unit_failures; seed++)
        run(seed, 0x7fffffff0123, 2000, seed % 3);
}

/* ---- long rows of short instructions, as unrolled loops have them ---- */

enum order { ASCENDING, DESCENDING, SHUFFLED };

static void row(u64 base, unsigned form, unsigned count, enum order order)
{
    begin_world(31 + form, base);
    w.functions[w.nfunctions] = 0;
    for (unsigned i = 0; i < count; i++)
        add_insn(form);
    add_insn(27);
    w.ends[w.nfunctions++] = base + w.size;
    open_world(true);
    for (unsigned i = 0; i < count && !unit_failures; i++) {
        unsigned k = order == ASCENDING ? i : order == DESCENDING ? count - 1 - i : i * 37 % count;

        patch(w.insns[k].at);
    }
    /* Two bytes are hard, and so is it where one direction only is free. */
    CHECK(w.failed <= (forms[form].length == 2 ? count / 2 : base != MIDDLE ? count / 10 : 0));
    finish();
}

TEST(rows)
{
    static const u64 bases[] = {MIDDLE, LOW, 0x7fffffff0123};

    start();
    for (unsigned i = 0; i < ARRAY_SIZE(bases); i++)
        for (unsigned form = 2; form <= 12; form++)
            for (enum order order = ASCENDING; order <= SHUFFLED && !unit_failures; order++)
                row(bases[i], form, 120, order);
}
