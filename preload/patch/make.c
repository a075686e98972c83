/* One patch: trampolines, the jumps in their rooms, and the text. */
#include "patch/make.h"

#include "base/debug.h"
#include "base/mem.h"
#include "patch/gone.h"
#include "patch/rooms.h"
#include "patch/table.h"
#include "base/trapsafe.h"

__attribute__((visibility("hidden"))) extern __thread struct call *calls_here;

static struct trampoline_block block;
static bool fast_pext;

static const struct trampoline_data layout = {
    .minus_base = offsetof(struct patch_site, minus_base),
    .mask = offsetof(struct patch_site, mask),
    .enter = offsetof(struct patch_site, enter),
    .enter_again = offsetof(struct patch_site, enter_again),
    .settle = offsetof(struct patch_site, settle),
};

/* ---- trampolines ---- */

static void fill_site(struct patch_site *s, const struct trampoline *t, enum trampoline_kind kind)
{
    s->enter = (u64)patch_enter;
    s->enter_again = (u64)patch_enter_again;
    s->settle = (u64)patch_settle;
    if (kind != TRAMPOLINE_NATIVE)
        patch_functions(s, kind);
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
    const struct patch_site *s = table_site(at);

    (void)context;
    return s ? s->code : 0;
}

#define CODE 128 /* bytes of the program that a trampoline looks at */

/* The program's own bytes from an instruction on. */
static unsigned read_code(const struct pun_text *text, u64 at, u8 code[CODE])
{
    unsigned n = (unsigned)MIN((u64)CODE, text->base + text->size - at);

    memcpy(code, (const void *)at, n);
    pun_original(&table_book, at, code, MIN(n, 64u));
    if (n > 64)
        pun_original(&table_book, at + 64, code + 64, n - 64);
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
    s->gone = false;
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

/*
 * What is looked at more closely: the range, up to a power of two. A thread that reads one half of it before and the
 * other half after a change looks in vain, or once too often.
 */
void make_range(struct patch_site *s, struct range r)
{
    unsigned bits = r.size > 1 ? 64 - (unsigned)__builtin_clzll(r.size - 1) : 0;

    s->mask = bits > 63 ? 0 : ~(u64)0 << bits;
    s->minus_base = -r.base;
}

/* ---- a patch ---- */

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
        const struct patch_site *s = table_site(site->at - back);

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
        struct patch_site *s = table_site(j->insn);
        bool site = j->insn == p->at;

        if (s && !site) { /* another room, the same trampoline */
            if (!put_jump(j->room, s->code))
                return false;
            continue;
        }
        s = make_site(&p->text, j, unit_of(&p->plan, j->insn), site ? p->insn : decode_evicted(p, j->insn));
        if (!s || !table_enter(s)) {
            if (s)
                s->at = 0;
            return false;
        }
        p->made[p->nmade++] = s;
        if (site) {
            make_range(s, p->window);
            redirect_copies(p, s);
        }
        if (p->plan.tactic == PUN_RETARGET ? !add_jump(p, j->room, s->code) : !put_jump(j->room, s->code))
            return false;
    }
    return true;
}

static bool carry_out(struct patch *p)
{
    struct patch_site *evicted;

    memcpy(p->writes, p->plan.writes, p->plan.nwrites * sizeof(p->writes[0]));
    p->nwrites = p->plan.nwrites;
    p->nmade = 0;
    evicted = table_site(p->at);
    if (!make_jumps(p)) {
        for (unsigned i = 0; i < p->nmade; i++) /* nothing leads there; whoever gets the slot is another */
            p->made[i]->gone = true, p->made[i]->at = 0;
        if (evicted)
            table_enter(evicted);
        return false;
    }
    pun_commit(&table_book, &p->plan);
    gone_note((struct range){p->text.base, p->text.size});
    return text_write(p->writes, p->nwrites);
}

bool make_patch(struct patch *p)
{
    bool done = false;

    p->nwrites = 0;
    if (!text_find(p->at, &p->text) || !text_open())
        return false;
    if (memcmp((const void *)p->at, p->insn->bytes, p->insn->length) == 0 || table_site(p->at)) {
        done = pun_plan(&table_book, &p->text, p->at, &rooms_space, &p->plan);
        if (done && !(done = carry_out(p)))
            pun_cancel(&p->plan, &rooms_space);
    }
    text_close();
    debug(TRAP, 1, "patch of %lx: %s, tactic %u, %u writes", p->at, done ? "done" : "impossible", (unsigned)p->plan.tactic,
          p->nwrites);
    return done;
}

/* ---- start ---- */

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

void make_start(void)
{
    u64 fs;

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
}
