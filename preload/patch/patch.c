/*
 * Which instructions are patched, and when. One lock guards everything that
 * changes; what traps and signals look up they find without it.
 */
#include "patch/patch.h"

#include <fcntl.h>
#include <linux/futex.h>

#include "base/debug.h"
#include "base/mem.h"
#include "base/process.h"
#include "base/range.h"
#include "base/sys.h"
#include "patch/rooms.h"
#include "patch/text.h"
#include "trap/trap.h"
#include "base/trapsafe.h"

__attribute__((visibility("hidden"))) extern __thread struct call *calls_here;

#define TRAPS 6  /* at an instruction, before it is patched: a patch costs about as much as 8 */
#define BOOK  ((u64)8 << 20)
#define SITES 65536u

static bool enabled;
static u32 lock; /* 0: free, 1: held, 2: held, and others wait */
static struct pun_book book;
static struct trampoline_block block;
static bool fast_pext;

static const struct trampoline_data layout = {
    .minus_base = offsetof(struct patch_site, minus_base),
    .mask = offsetof(struct patch_site, mask),
    .enter = offsetof(struct patch_site, enter),
    .enter_again = offsetof(struct patch_site, enter_again),
    .settle = offsetof(struct patch_site, settle),
};

/* ---- the lock ---- */

void patch_hold(void)
{
    u32 none = 0;

    if (__atomic_compare_exchange_n(&lock, &none, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    while (__atomic_exchange_n(&lock, 2, __ATOMIC_ACQUIRE))
        sys(SYS_futex, &lock, FUTEX_WAIT_PRIVATE, 2, NULL);
}

void patch_release(void)
{
    if (__atomic_exchange_n(&lock, 0, __ATOMIC_RELEASE) == 2)
        sys(SYS_futex, &lock, FUTEX_WAKE_PRIVATE, 1);
}

static bool try_hold(void)
{
    u32 none = 0;

    return __atomic_compare_exchange_n(&lock, &none, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* ---- sites by address ---- */

static struct patch_site **sites; /* by address of the instruction, open addressing; an entry is never emptied */
static u32 nsites;

static u32 slot_of(u64 at)
{
    return (u32)((at * 0x9e3779b97f4a7c15u) >> 48) % SITES;
}

static struct patch_site *site_at(u64 at)
{
    if (likely(!__atomic_load_n(&nsites, __ATOMIC_RELAXED)))
        return NULL;
    for (u32 i = slot_of(at);; i = (i + 1) % SITES) {
        struct patch_site *s = __atomic_load_n(&sites[i], __ATOMIC_ACQUIRE);

        if (!s || (s->at == at && !s->gone))
            return s;
    }
}

/* In the place of one that is there, or as a new one. */
static bool enter_site(struct patch_site *site)
{
    u32 i = slot_of(site->at);

    if (nsites >= SITES / 2)
        return false;
    while (sites[i] && sites[i]->at != site->at)
        i = (i + 1) % SITES;
    nsites += !sites[i];
    __atomic_store_n(&sites[i], site, __ATOMIC_RELEASE);
    return true;
}

const struct cpu_insn *patch_insn(u64 at)
{
    const struct patch_site *s = site_at(at);

    return s ? s->insn : NULL;
}

void patch_original(u64 at, u8 *bytes, unsigned n)
{
    pun_original(&book, at, bytes, n);
}

/* ---- trampolines ---- */

/*
 * What is looked at more closely: the range, up to a power of two. A thread that reads one half of it before and the
 * other half after a change looks in vain, or once too often.
 */
static void set_range(struct patch_site *s, struct range r)
{
    unsigned bits = r.size > 1 ? 64 - (unsigned)__builtin_clzll(r.size - 1) : 0;

    s->mask = bits > 63 ? 0 : ~(u64)0 << bits;
    s->minus_base = -r.base;
}

static bool in_range(const struct patch_site *s, u64 addr)
{
    return !((addr + s->minus_base) & s->mask);
}

static const u64 functions[][2] = {
    [TRAMPOLINE_LOAD] = {(u64)patch_load, 0},
    [TRAMPOLINE_STORE] = {(u64)patch_store, 0},
    [TRAMPOLINE_MODIFY] = {(u64)patch_modify, (u64)patch_modify_end},
};

static void fill_site(struct patch_site *s, const struct trampoline *t, enum trampoline_kind kind)
{
    s->enter = (u64)patch_enter;
    s->enter_again = (u64)patch_enter_again;
    s->settle = (u64)patch_settle;
    s->function = functions[kind][0];
    s->function_again = functions[kind][1];
    s->decline = s->code + t->decline;
    s->tail = s->code + t->tail;
    s->tail_again = s->code + t->tail_again;
    s->slow = s->code + t->slow;
    s->again = s->code + t->again;
    s->code_size = t->size;
    s->kind = (u8)kind;
    s->marks = t->marks;
    s->copies = t->copies;
    memcpy(s->mark, t->mark, sizeof(s->mark));
    for (unsigned i = 0; i < t->copies; i++) {
        s->copy_back[i] = t->copy[i].back;
        s->copy_at[i] = t->copy[i].at;
    }
}

static u64 stands_for(void *context, u64 at)
{
    const struct patch_site *s = site_at(at);

    (void)context;
    return s ? s->code : 0;
}

#define CODE 128 /* bytes of the program that a trampoline looks at */

/* The program's own bytes from an instruction on. */
static unsigned read_code(const struct pun_text *text, u64 at, u8 code[CODE])
{
    unsigned n = (unsigned)MIN((u64)CODE, text->base + text->size - at);

    memcpy(code, (const void *)at, n);
    pun_original(&book, at, code, MIN(n, 64u));
    if (n > 64)
        pun_original(&book, at + 64, code + 64, n - 64);
    return n;
}

/* Makes the trampoline of an instruction, and writes it where nobody runs yet. NULL: there is none for it. */
static struct patch_site *make_site(const struct pun_text *text, const struct pun_jump *jump, const struct pun_unit *unit,
                                    const struct cpu_insn *insn)
{
    enum trampoline_kind kind = jump->copy ? TRAMPOLINE_NATIVE : trampoline_kind(insn);
    struct trampoline_order order = {.insn = insn, .at = jump->insn, .kind = kind, .block = &block, .layout = &layout,
                                     .stands_for = stands_for, .has_pext = fast_pext};
    struct patch_site *s = rooms_slot_at(jump->room, &order.place);
    bool same = s && !jump->copy; /* the jump leads to the trampoline itself */
    struct trampoline t;
    u8 code[CODE];

    if (s && s->at) /* of another trampoline, whose slot this jump's room is */
        s = NULL;
    if (!s)
        s = rooms_slot(jump->insn, jump->room, &order.place);
    if (!s)
        return NULL;
    if (same)
        order.place -= SLOT_JUMP;
    order.data = (u64)s;
    order.code = code;
    order.avail = read_code(text, jump->insn, code);
    order.reach = unit && unit->kind == PUN_JUMP ? unit->prefixes + PUN_ROOM : 2;
    if (!trampoline_make(&t, &order) || !text_put(order.place, t.code, t.size))
        return NULL;
    s->insn = insn;
    s->code = order.place;
    s->room = jump->room;
    fill_site(s, &t, kind);
    s->behind = jump->insn + insn->length;
    __atomic_store_n(&s->at, jump->insn, __ATOMIC_RELEASE);
    return s;
}

static bool put_jump(u64 at, u64 to)
{
    i64 distance = (i64)(to - (at + 5));
    i32 d = (i32)distance;
    u8 code[5] = {0xe9};

    memcpy(code + 1, &d, 4);
    return at == to || (d == distance && text_put(at, code, sizeof(code)));
}

static void note_text(struct range r);

/* ---- a patch ---- */

struct patch {
    struct pun_text text;
    struct pun_plan plan;
    u64 at;
    const struct cpu_insn *insn;
    struct trap_place place;
    struct pun_write writes[PUN_UNITS + 8]; /* of the plan, and what changes besides: there insn is the trampoline */
    unsigned nwrites;
};

static struct patch now; /* the one under way, or the last one; under the lock, but for patch_code_of() */

static const struct pun_unit *unit_of(const struct pun_plan *plan, u64 insn)
{
    for (unsigned i = 0; i < plan->nunits; i++)
        if (plan->units[i].at == insn)
            return &plan->units[i];
    return NULL;
}

/* An instruction that has to make room: decoded as the program has it. */
static const struct cpu_insn *decode_evicted(const struct patch *p, u64 at)
{
    u8 code[CODE];
    unsigned n = read_code(&p->text, at, code);

    return cpu_intern(code, MIN(n, 15u));
}

/* Code that runs already gets a jump in its place. False: too far for one, or too many. */
static bool add_jump(struct patch *p, u64 from, u64 to)
{
    i64 distance = (i64)(to - (from + 5));
    i32 d = (i32)distance;
    struct pun_write *w = &p->writes[p->nwrites];

    if (d != distance || p->nwrites == ARRAY_SIZE(p->writes))
        return false;
    *w = (struct pun_write){.at = from, .insn = to, .length = 5, .bytes = {0xe9}};
    memcpy(w->bytes + 1, &d, 4);
    p->nwrites++;
    return true;
}

/* Its copies in trampolines of instructions before it would run natively, and trap: as those do that are too far away. */
static void redirect_copies(struct patch *p, const struct patch_site *site)
{
    for (unsigned back = 1; back < 32; back++) {
        const struct patch_site *s = site_at(site->at - back);

        for (unsigned i = 0; s && i < s->copies; i++)
            if (s->copy_back[i] == back)
                add_jump(p, s->code + s->copy_at[i], site->code);
    }
}

/* Trampolines for all jumps of the plan, and the jumps in their rooms. */
static bool make_jumps(struct patch *p)
{
    for (unsigned i = 0; i < p->plan.njumps; i++) {
        const struct pun_jump *j = &p->plan.jumps[i];
        struct patch_site *s = site_at(j->insn);
        bool site = j->insn == p->at;

        if (s && !site) { /* another room, the same trampoline */
            if (!put_jump(j->room, s->code))
                return false;
            continue;
        }
        s = make_site(&p->text, j, unit_of(&p->plan, j->insn), site ? p->insn : decode_evicted(p, j->insn));
        if (!s || !enter_site(s))
            return false;
        if (site) {
            set_range(s, p->place.window);
            redirect_copies(p, s);
        }
        if (p->plan.tactic == PUN_RETARGET ? !add_jump(p, j->room, s->code) : !put_jump(j->room, s->code))
            return false;
    }
    return true;
}

static bool carry_out(struct patch *p)
{
    memcpy(p->writes, p->plan.writes, p->plan.nwrites * sizeof(p->writes[0]));
    p->nwrites = p->plan.nwrites;
    if (!make_jumps(p))
        return false;
    pun_commit(&book, &p->plan);
    note_text((struct range){p->text.base, p->text.size});
    return text_write(p->writes, p->nwrites);
}

static bool make_patch(struct patch *p)
{
    bool done = false;

    if (!text_find(p->at, &p->text) || !text_open())
        return false;
    if (memcmp((const void *)p->at, p->insn->bytes, p->insn->length) == 0 || site_at(p->at)) {
        done = pun_plan(&book, &p->text, p->at, &rooms_space, &p->plan);
        if (done && !(done = carry_out(p)))
            pun_cancel(&p->plan, &rooms_space);
    }
    text_close();
    debug(TRAP, 1, "patch of %lx: %s, tactic %u, %u writes", p->at, done ? "done" : "impossible", (unsigned)p->plan.tactic,
          p->nwrites);
    return done;
}

/* ---- when ---- */

#define COUNTS 4096
#define NEVER  0xffffffffu

static struct count {
    u64 at;
    u32 traps;
} counts[COUNTS];

static struct count *count_of(u64 at)
{
    struct count *c = &counts[(at ^ at >> 12) % COUNTS];

    if (c->at != at)
        *c = (struct count){at, 0};
    return c;
}

/* A site that traps all the same: its operand was where it had not been before. */
static void widen(struct patch_site *s, struct range window)
{
    u64 base = -s->minus_base, first = MIN(base, window.base), last = MAX(base + ~s->mask, range_last(window));

    set_range(s, (struct range){first, last - first + 1});
}

void patch_trapped(const struct cpu_insn *insn, u64 at, u64 addr)
{
    struct count *c;
    struct patch_site *s;

    if (!enabled || !calls_here)
        return;
    c = count_of(at);
    if (likely(c->traps == NEVER || ++c->traps < TRAPS) || !try_hold())
        return;
    if (!enabled) {
        patch_release();
        return;
    }
    s = site_at(at);
    now.nwrites = 0;
    now.at = at;
    now.insn = insn;
    if (trampoline_kind(insn) == TRAMPOLINE_NATIVE || !trap_place(addr, &now.place))
        c->traps = NEVER;
    else if (process_traced()) /* who steps through the code shall find what the file has */
        c->traps = 0;
    else if (s && s->kind != TRAMPOLINE_NATIVE && !in_range(s, addr))
        widen(s, now.place.window), c->traps = 0;
    else if ((s && s->kind != TRAMPOLINE_NATIVE) || !make_patch(&now))
        c->traps = NEVER;
    else
        c->traps = 0;
    patch_release();
}

/* ---- the program's code comes and goes ---- */

#define TEXTS 256

static struct range texts[TEXTS]; /* where sites are; a full table covers everything */
static u32 ntexts;

static void note_text(struct range r)
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
    for (u32 i = 0; i < SITES; i++)
        if (sites[i] && range_has(r, sites[i]->at))
            sites[i]->gone = true;
    pun_forget(&book, r.base, r.size);
    for (unsigned i = 0; i < COUNTS; i++)
        if (range_has(r, counts[i].at))
            counts[i] = (struct count){0};
}

void patch_forget(u64 base, u64 size)
{
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

    while ((unit = pun_next(&book, &i)))
        if (unit->kind == PUN_SHORT && range_has(r, unit->at))
            restore(unit);
    do {
        for (i = 0, next = NULL; (unit = pun_next(&book, &i));)
            if (unit->kind == PUN_JUMP && range_has(r, unit->at) && unit->at >= done && (!next || unit->at < next->at))
                next = unit;
        if (next)
            restore(next), done = next->at + 1;
    } while (next);
}

void patch_take_back(u64 base, u64 size)
{
    struct range r = {base, size};

    if (!patch_covers(base, size))
        return;
    patch_hold();
    if (text_open()) {
        restore_all(r);
        text_close();
    }
    forget(r);
    patch_release();
}

void patch_leave_alone(u64 base, u64 size)
{
    if (!enabled || !text_loaded(base))
        return;
    patch_hold();
    text_leave_alone(base, size);
    patch_release();
    patch_take_back(base, size);
}

void patch_stop(void)
{
    if (!enabled)
        return;
    enabled = false;
    patch_take_back(0, UINT64_MAX);
}

/* Without the lock: its holder may not run any more. */
void patch_undo(void)
{
    if (nsites && text_open())
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

    if (!nsites)
        return 0;
    if ((s = behind_room(rip)))
        return s->at;
    unit = pun_find(&book, rip);
    return unit && unit->insn != rip ? unit->insn : 0;
}

u64 patch_code_of(u64 at)
{
    const struct pun_unit *unit;
    const struct patch_site *s;

    if (!nsites)
        return 0;
    if (rooms_have(at)) {
        for (unsigned i = 0; i < now.nwrites && byte_is(at, TEXT_STOP); i++)
            if (now.writes[i].at == at)
                return now.writes[i].insn;
        return byte_is(at, 0xe9) ? at : 0; /* it is done by now; else it is the program's own */
    }
    if (!(unit = pun_find(&book, at)))
        return 0;
    s = site_at(unit->insn);
    return s ? s->code : at;
}

void patch_after_fork(void)
{
    lock = 0;
    text_start();
}

/*
 * BMI2: CPUID.(EAX=07H,ECX=0):EBX bit 8 (SDM vol. 2, CPUID). AMD's microcode takes up to some hundred cycles for it
 * before family 19h.
 */
static bool has_fast_pext(void)
{
    u32 a = 0, b, c = 0, d, vendor;

    __asm__("cpuid" : "+a"(a), "=b"(vendor), "+c"(c), "=d"(d));
    if (a < 7)
        return false;
    if (vendor == 0x68747541 /* "Auth" */) {
        a = 1;
        __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
        if ((a >> 8 & 15) + (a >> 20 & 255) < 0x19)
            return false;
    }
    a = 7;
    c = 0;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return b >> 8 & 1;
}

void patch_start(void)
{
    void *memory = sys_pages(BOOK);
    u64 fs;

    sites = sys_pages(SITES * sizeof(*sites));
    if (!memory || !sites)
        return;
    pun_init(&book, memory, BOOK);
    __asm__("movq %%fs:0, %0" : "=r"(fs)); /* the thread pointer itself: System V ABI, TLS variant II */
#define FROM_FS(variable) ((i32)((u64)&(variable)-fs))
    block = (struct trampoline_block){
        .rax = FROM_FS(patch_block.rax),
        .rcx = FROM_FS(patch_block.rcx),
        .r11 = FROM_FS(patch_block.r11),
        .flags = FROM_FS(patch_block.flags),
        .address = FROM_FS(patch_block.address),
        .scratch = FROM_FS(patch_block.scratch),
        .here = FROM_FS(calls_here),
        .call = FROM_FS(patch_block.call),
    };
    fast_pext = has_fast_pext();
    text_start();
    enabled = true;
}
