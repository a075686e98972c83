/*
 * The parts of a trampoline, in the order in which they lie:
 *     begin     keep rax and rcx, compute the operand's address, compare
 *     native    give them back; the instruction as it stood
 *     hit       keep r11, and the flags if they are wanted, mark the thread,
 *               go to the site's function
 *     tail      give everything back; the instruction on the scratch
 *     followers copies of those behind it that the jump lies over; back to the
 *               program
 * and the ways that are rarely taken.
 */
#include "cpu/trampoline.h"

#include "base/mem.h"
#include "cpu/plan.h"
#include "cpu/pun.h"
#include "base/trapsafe.h"

enum { R11 = 11 };

struct emitter {
    struct trampoline *t;
    const struct trampoline_order *o;
    bool keep_flags;   /* the program wants those that it has */
    bool result_flags; /* and those that the instruction leaves, which a second access would spoil */
    bool failed;
};

/* ---- bytes ---- */

static void put(struct emitter *e, const void *bytes, unsigned n)
{
    if (e->t->size + n > TRAMPOLINE_MAX) {
        e->failed = true;
        return;
    }
    memcpy(e->t->code + e->t->size, bytes, n);
    e->t->size = (u16)(e->t->size + n);
}

static void put8(struct emitter *e, unsigned byte)
{
    u8 b = (u8)byte;

    put(e, &b, 1);
}

static void put32(struct emitter *e, i64 value)
{
    i32 v = (i32)value;

    e->failed |= v != value;
    put(e, &v, 4);
}

/* A displacement of 4 bytes, the last of its instruction, that reaches an address. */
static void put_to(struct emitter *e, u64 address)
{
    put32(e, (i64)(address - (e->o->place + e->t->size + 4)));
}

/* From here on this is what the program would be shown. */
static void mark(struct emitter *e, unsigned state, unsigned back)
{
    struct trampoline *t = e->t;

    if (t->marks && t->mark[t->marks - 1].at == t->size)
        t->marks--;
    if (t->marks == TRAMPOLINE_MARKS) {
        e->failed = true;
        return;
    }
    t->mark[t->marks++] = (struct trampoline_mark){t->size, (u8)state, (u8)back};
}

static unsigned state_now(const struct emitter *e)
{
    return e->t->mark[e->t->marks - 1].state;
}

static void mark_state(struct emitter *e, unsigned state)
{
    mark(e, state, e->t->mark[e->t->marks - 1].back);
}

/* ---- instructions ---- */

/* mov between a register and the thread's block. */
static void move_block(struct emitter *e, unsigned opcode, unsigned reg, i32 field)
{
    put8(e, 0x64);
    put8(e, 0x48 | (reg >> 3) << 2);
    put8(e, opcode);
    put8(e, (reg & 7) << 3 | 4);
    put8(e, 0x25);
    put32(e, field);
}

static void keep(struct emitter *e, unsigned reg, i32 field)
{
    move_block(e, 0x89, reg, field);
}

static void give_back(struct emitter *e, unsigned reg, i32 field)
{
    move_block(e, 0x8b, reg, field);
}

static void jump(struct emitter *e, u64 to)
{
    put8(e, 0xe9);
    put_to(e, to);
}

static void jump_inside(struct emitter *e, unsigned to)
{
    jump(e, e->o->place + to);
}

/* An instruction with rax or rcx and one of the site's data. */
static void with_data(struct emitter *e, unsigned reg, unsigned opcode, i32 field)
{
    put8(e, 0x48);
    put8(e, opcode);
    put8(e, 0x05 | reg << 3);
    put_to(e, e->o->data + (u64)(i64)field);
}

/* lea data(%rip), %r11; jmp *field(%r11) */
static void go(struct emitter *e, i32 field)
{
    static const u8 lea[] = {0x4c, 0x8d, 0x1d}, jmp[] = {0x41, 0xff, 0xa3};

    put(e, lea, sizeof(lea));
    put_to(e, e->o->data);
    put(e, jmp, sizeof(jmp));
    put32(e, field);
}

static void keep_flags(struct emitter *e)
{
    static const u8 code[] = {0x9f, 0x0f, 0x90, 0xc0}; /* lahf; seto %al */

    put(e, code, sizeof(code));
    keep(e, RAX, e->o->block->flags);
}

static void give_flags_back(struct emitter *e)
{
    static const u8 code[] = {0x04, 0x7f, 0x9e}; /* add $127, %al; sahf */

    give_back(e, RAX, e->o->block->flags);
    put(e, code, sizeof(code));
}

/* ---- the operand's address ---- */

static void lea_operand(struct emitter *e, const struct plan *p)
{
    unsigned base = p->base, index = p->index;
    bool plain = index == REG_NONE && base != REG_NONE && (base & 7) != RSP;

    if (p->addr32)
        put8(e, 0x67);
    put8(e, 0x48 | (index != REG_NONE && index >= 8 ? 2 : 0) | (base != REG_NONE && base >= 8 ? 1 : 0));
    put8(e, 0x8d);
    if (p->rip_relative) {
        put8(e, 0x05);
        put_to(e, e->o->at + e->o->insn->length + (u64)p->disp);
        return;
    }
    /* ModRM: rax, displacement of 4 bytes; without a base the SIB byte says so, with mod 00 (SDM vol. 2, tables 2-2, 2-3). */
    put8(e, (base == REG_NONE ? 0x00 : 0x80) | (plain ? base & 7 : 4));
    if (!plain)
        put8(e, (unsigned)p->scale << 6 | (index == REG_NONE ? 4u : index & 7) << 3 | (base == REG_NONE ? 5u : base & 7));
    put32(e, p->disp);
}

/* ---- the program's instructions, elsewhere ---- */

static bool copy_instruction(struct emitter *e, unsigned back, unsigned length)
{
    u8 copy[PUN_COPY];
    unsigned n = pun_copy(e->o->code + back, length, e->o->at + back, e->o->place + e->t->size, copy);
    struct pun_steps steps = pun_copy_steps(e->o->code + back, length);
    unsigned first = steps.first ? MIN(steps.first, n) : n;

    put(e, copy, first);
    if (first < n) {
        mark(e, (steps.pushed ? TRAMPOLINE_PUSHED : 0) | (steps.counted ? TRAMPOLINE_COUNTED : 0), back);
        put(e, copy + first, n - first);
    }
    return n;
}

/* A copy has room for a jump that may replace it later. */
static void fill(struct emitter *e, unsigned from)
{
    while (e->t->size < from + PUN_ROOM && !e->failed)
        put8(e, 0x90);
}

/* Instructions behind the site's own that begin within reach of its jump; then back to the program. */
static void copy_followers(struct emitter *e)
{
    const struct trampoline_order *o = e->o;
    unsigned back = o->insn->length, at;
    struct trampoline *t = e->t;
    struct cpu_flow flow;
    u64 elsewhere = 0;

    while (back < o->reach && back < o->avail && t->copies < TRAMPOLINE_COPIES) {
        elsewhere = o->stands_for ? o->stands_for(o->context, o->at + back) : 0;
        if (elsewhere || !cpu_flow(o->code + back, MIN(o->avail - back, 15u), &flow) ||
            !pun_copyable(o->code + back, flow.length))
            break;
        at = t->size;
        mark(e, 0, back);
        if (!copy_instruction(e, back, flow.length))
            break;
        t->copy[t->copies].back = (u8)back;
        t->copy[t->copies++].at = (u16)at;
        back += flow.length;
        mark(e, 0, back);
        fill(e, at);
    }
    mark(e, 0, back);
    t->back_to = elsewhere ? elsewhere : o->at + back;
    jump(e, t->back_to);
}

/* ---- giving back, and running on the scratch ---- */

/* state: what is in the block, and what stays true of the rest. */
static void give_all_back(struct emitter *e, unsigned state)
{
    const struct trampoline_block *b = e->o->block;

    if (state & TRAMPOLINE_R11) {
        give_back(e, R11, b->r11);
        mark_state(e, state &= ~(unsigned)TRAMPOLINE_R11);
    }
    if (state & TRAMPOLINE_RCX) {
        give_back(e, RCX, b->rcx);
        mark_state(e, state &= ~(unsigned)TRAMPOLINE_RCX);
    }
    if (state & TRAMPOLINE_FLAGS) {
        give_flags_back(e);
        mark_state(e, state &= ~(unsigned)TRAMPOLINE_FLAGS);
    }
    give_back(e, RAX, b->rax);
    mark_state(e, state & ~(unsigned)TRAMPOLINE_RAX);
}

static void keep_all(struct emitter *e, bool flags)
{
    const struct trampoline_block *b = e->o->block;

    keep(e, RAX, b->rax);
    if (flags)
        keep_flags(e);
    keep(e, RCX, b->rcx);
    keep(e, R11, b->r11);
}

static void on_scratch(struct emitter *e)
{
    u8 code[24];
    unsigned n = cpu_rebase(e->o->insn, e->o->block->scratch, code);

    e->failed |= !n;
    put(e, code, n);
}

/* ---- parts ---- */

/* Is the operand in the range? Returns the end of the short jump to `hit` if it is. */
static unsigned compare_by_pext(struct emitter *e)
{
    static const u8 add[] = {0x48, 0x8d, 0x0c, 0x08}, pext[] = {0xc4, 0xe2, 0xf2, 0xf5, 0x0d}; /* lea (%rax,%rcx), %rcx */
    const struct trampoline_data *d = e->o->layout;

    with_data(e, RCX, 0x8b, d->minus_base);
    put(e, add, sizeof(add));
    put(e, pext, sizeof(pext)); /* pext mask(%rip), %rcx, %rcx */
    put_to(e, e->o->data + (u64)(i64)d->mask);
    put8(e, 0xe3); /* jrcxz */
    put8(e, 0);
    return e->t->size;
}

static unsigned compare_by_flags(struct emitter *e)
{
    const struct trampoline_data *d = e->o->layout;

    with_data(e, RAX, 0x03, d->minus_base); /* add */
    with_data(e, RAX, 0x85, d->mask);       /* test */
    put8(e, 0x74); /* jz */
    put8(e, 0);
    return e->t->size;
}

/* The way in. Returns as above. */
static unsigned begin(struct emitter *e, const struct plan *p)
{
    const struct trampoline_block *b = e->o->block;
    unsigned state = TRAMPOLINE_RAX;

    mark(e, 0, 0);
    keep(e, RAX, b->rax);
    mark_state(e, state);
    if (!e->o->has_pext) {
        keep_flags(e);
        mark_state(e, state |= TRAMPOLINE_FLAGS);
        if (p->base == RAX || p->index == RAX)
            give_back(e, RAX, b->rax);
    }
    lea_operand(e, p);
    keep(e, RAX, b->address);
    keep(e, RCX, b->rcx);
    mark_state(e, state | TRAMPOLINE_RCX);
    return e->o->has_pext ? compare_by_pext(e) : compare_by_flags(e);
}

/* What is in the block behind the comparison. */
static unsigned compared(const struct emitter *e)
{
    return TRAMPOLINE_RAX | TRAMPOLINE_RCX | (e->o->has_pext ? 0 : TRAMPOLINE_FLAGS);
}

/* Returns the end of the jump to `followers`. */
static unsigned native(struct emitter *e)
{
    e->t->native = e->t->size;
    mark(e, compared(e), 0);
    give_all_back(e, compared(e));
    e->failed |= !copy_instruction(e, 0, e->o->insn->length);
    mark(e, 0, e->o->insn->length);
    put8(e, 0xe9);
    put32(e, 0);
    return e->t->size;
}

/* rax and rcx are free. Keeps flags and r11, marks the thread, and goes to the site's function. */
static void enter(struct emitter *e)
{
    const struct trampoline_block *b = e->o->block;
    static const u8 clear[] = {0x64, 0x48, 0xc7, 0x04, 0x25}; /* movq $0, %fs:... */
    unsigned state = compared(e), distance;

    mark_state(e, state);
    give_back(e, RCX, b->here);
    put8(e, 0xe3); /* jrcxz */
    distance = e->t->size;
    put8(e, 0);
    if (e->keep_flags && e->o->has_pext) {
        keep_flags(e);
        mark_state(e, state |= TRAMPOLINE_FLAGS);
    }
    keep(e, R11, b->r11);
    mark_state(e, state |= TRAMPOLINE_R11);
    put(e, clear, sizeof(clear));
    put32(e, b->here);
    put32(e, 0);
    mark_state(e, state | TRAMPOLINE_MARKED);
    give_back(e, RAX, b->address);
    go(e, e->o->layout->enter);
    /* It was handed back; this thread cannot make an access at all: as if it were none. */
    e->t->decline = e->t->size;
    mark_state(e, state);
    give_back(e, R11, b->r11);
    mark_state(e, state & ~(unsigned)TRAMPOLINE_R11);
    if (e->keep_flags && e->o->has_pext)
        give_flags_back(e);
    if (!e->failed)
        e->t->code[distance] = (u8)(e->t->size - (distance + 1));
    mark_state(e, compared(e));
    jump_inside(e, e->t->native);
}

static void hit(struct emitter *e)
{
    mark(e, compared(e), 0);
    if (e->o->kind == TRAMPOLINE_STORE) {
        give_all_back(e, compared(e));
        on_scratch(e);
    }
    enter(e);
}

/* What is in the block when the site's function is entered. */
static unsigned entered(const struct emitter *e)
{
    return compared(e) | TRAMPOLINE_R11 | (e->keep_flags ? TRAMPOLINE_FLAGS : 0);
}

/* The operand was read; the second access follows. */
static void between(struct emitter *e)
{
    mark(e, entered(e) | TRAMPOLINE_MARKED, 0);
    give_all_back(e, state_now(e));
    on_scratch(e);
    keep_all(e, e->result_flags);
    give_back(e, RCX, e->o->block->call);
    give_back(e, RAX, e->o->block->address);
    go(e, e->o->layout->enter_again);
}

/* What is in the block when the access is over. */
static unsigned state_after(const struct emitter *e)
{
    unsigned state = entered(e) | TRAMPOLINE_AFTER;

    if (e->o->kind == TRAMPOLINE_MODIFY)
        state = (state & ~(unsigned)TRAMPOLINE_FLAGS) | (e->result_flags ? TRAMPOLINE_FLAGS : 0);
    return state;
}

static void complete(struct emitter *e)
{
    mark(e, state_after(e), 0);
    give_all_back(e, state_after(e));
    if (e->o->kind == TRAMPOLINE_LOAD)
        on_scratch(e);
    mark(e, 0, e->o->insn->length);
}

static void ends(struct emitter *e)
{
    const struct trampoline_block *b = e->o->block;
    unsigned length = e->o->insn->length;

    e->t->slow = e->t->size;
    complete(e);
    /* As long as the signals wait, nobody sees this but a debugger. */
    keep_all(e, false);
    mark(e, TRAMPOLINE_RAX | TRAMPOLINE_RCX | TRAMPOLINE_R11, length);
    give_back(e, RCX, b->here);
    go(e, e->o->layout->settle);
    e->t->again = e->t->size;
    mark(e, entered(e), 0);
    give_all_back(e, state_now(e));
    jump(e, e->o->at);
}

/* ---- the whole ---- */

static void make_access(struct emitter *e)
{
    const struct trampoline_order *o = e->o;
    struct trampoline *t = e->t;
    unsigned branch = begin(e, plan_of(o->insn)), jump_end = native(e);
    i32 distance;

    e->failed |= t->size - branch > INT8_MAX;
    t->code[branch - 1] = (u8)(t->size - branch);
    hit(e);
    t->tail = t->size;
    if (o->kind == TRAMPOLINE_MODIFY) {
        between(e);
        t->tail_again = t->size;
    }
    complete(e);
    t->followers = t->size;
    copy_followers(e);
    ends(e);
    /* Where none is copied the program is reached at once. */
    distance = t->followers - (i32)jump_end;
    if (!t->copies)
        distance = (i32)(t->back_to - (o->place + jump_end));
    if (!e->failed)
        memcpy(t->code + jump_end - 4, &distance, 4);
}

bool trampoline_make(struct trampoline *t, const struct trampoline_order *o)
{
    struct emitter e = {.t = t, .o = o};
    unsigned length = o->insn->length;

    memset(t, 0, sizeof(*t));
    if (o->kind == TRAMPOLINE_NATIVE) {
        mark(&e, 0, 0);
        e.failed |= !copy_instruction(&e, 0, length);
        copy_followers(&e);
    } else {
        e.keep_flags = cpu_flags_wanted(o->code, o->avail) != 0;
        e.result_flags = o->kind == TRAMPOLINE_MODIFY && cpu_flags_wanted(o->code + length, o->avail - length) != 0;
        make_access(&e);
    }
    return !e.failed;
}

enum trampoline_kind trampoline_kind(const struct cpu_insn *insn)
{
    const struct plan *p = plan_of(insn);
    bool moves = insn->kind == KIND_LOAD || insn->kind == KIND_STORE || insn->kind == KIND_STORE_IMM;
    bool runs = insn->kind == KIND_EXECUTE && p->mask == MASK_NONE && p->bit_offset == REG_NONE && !p->loads_ss &&
                !(p->load & XC_X87); /* which remembers where its last instruction and operand were */

    if ((!moves && !runs) || insn->refusal || !insn->size || insn->size > 64 || insn->segmented ||
        (p->rip_relative && p->addr32) || p->disp != (i32)p->disp)
        return TRAMPOLINE_NATIVE;
    if (insn->reads && insn->writes)
        return TRAMPOLINE_MODIFY;
    return insn->reads ? TRAMPOLINE_LOAD : insn->writes ? TRAMPOLINE_STORE : TRAMPOLINE_NATIVE;
}

struct trampoline_mark trampoline_mark_at(const struct trampoline_mark *marks, unsigned count, unsigned offset)
{
    struct trampoline_mark found = {0};

    for (unsigned i = 0; i < count && marks[i].at <= offset; i++)
        found = marks[i];
    return found;
}
