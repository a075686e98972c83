/*
 * Where system calls are in code. The bytes 0f 05 may be part of something
 * else, so a site counts only when what is around it proves it, or when
 * decoding from the beginning of its function comes upon it. Beginnings and
 * ends of functions are those of the unwind table (.eh_frame_hdr: LSB 5.0
 * core, 10.6.2). The one file of the library that uses vector registers, for
 * the search: it runs at start, and where they are kept.
 */
#include "base/ehframe.h"
#include "base/mem.h"
#include "base/range.h"
#include "calls/site.h"
#include "cpu/cpu.h"

/* --- padding between functions --- */

#define GAPS 1024

static struct {
    u64 at;
    u64 used;
} gaps[GAPS];
static unsigned ngaps;

static bool is_padding(u8 byte)
{
    static const u8 bytes[] = {0x90, 0x66, 0x2e, 0x0f, 0x1f, 0x40, 0x44, 0x80, 0x84, 0x00, 0xcc};

    for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++)
        if (bytes[i] == byte)
            return true;
    return false;
}

/* Nothing runs into it: a return, a jump, a call that does not return, an instruction that traps. */
static bool closed(const u8 *end)
{
    return end[-1] == 0xc3 || end[-5] == 0xe9 || end[-2] == 0xeb || end[-5] == 0xe8 || end[-1] == 0xf4 ||
           (end[-2] == 0x0f && end[-1] == 0x0b);
}

/* Five bytes of [begin, end), each given away once. 0: none left. */
static u64 take_gap(u64 begin, u64 end, u64 low, u64 high)
{
    unsigned i;

    for (i = 0; i < ngaps && gaps[i].at != begin; i++)
        ;
    if (i == GAPS)
        return 0;
    if (i == ngaps) {
        gaps[ngaps].at = begin;
        gaps[ngaps++].used = 0;
    }
    begin += gaps[i].used;
    if (end - begin < 5 || begin > end || begin < low || begin > high)
        return 0;
    gaps[i].used += 5;
    return begin;
}

static u64 find_gap(const struct text *text, const struct eh_table *t, const struct eh_function *f, u64 at)
{
    u64 low = at + 2 - 128, high = at + 2 + 127;

    for (i64 i = f->index - 6; i <= f->index + 6; i++) {
        struct eh_function here = eh_function_at(t, i), next = eh_function_at(t, i + 1);
        bool usable = here.begin && next.begin > here.end && here.end >= low && here.end <= high;
        u64 gap;

        if (!usable || here.end - (u64)text->base < 8 || next.begin - (u64)text->base > text->size || !closed((const u8 *)here.end))
            continue;
        for (u64 p = here.end; p < next.begin && usable; p++)
            usable = is_padding(*(const u8 *)p);
        if (usable && (gap = take_gap(here.end, next.begin, low, high)))
            return gap;
    }
    return 0;
}

/* --- one site --- */

/* "cmp $-4095 or $-4096, %rax or %eax", as compilers and Go write it behind a call. */
static bool compared(const u8 *p)
{
    if (p[0] == 0x48)
        p++;
    return p[0] == 0x3d && p[1] <= 1 && p[2] == 0xf0 && p[3] == 0xff && p[4] == 0xff;
}

/*
 * May a copy of it, elsewhere, stand for it? Arithmetic, moves, comparisons: what neither jumps nor uses the stack. The
 * one-byte map, SDM vol. 2, appendix A.
 */
static bool movable(const struct cpu_flow *flow)
{
    u8 op = flow->opcode;
    bool arithmetic = op < 0x40 && (op & 7) <= 5, immediate = op >= 0x80 && op <= 0x85 && op != 0x82;
    bool move = (op >= 0x88 && op <= 0x8b) || op == 0x8d || op == 0x63 || op == 0x98 || op == 0x99 || (op & 0xf0) == 0xb0 ||
                op == 0xc6 || op == 0xc7;

    return op && !flow->branch && (arithmetic || immediate || move);
}

#define SIGRETURN 15 /* rt_sigreturn */
#define PATH 32 /* instructions before a site that are remembered */

/* What one pass over a function tells of a site in it. */
struct survey {
    struct {
        u8 length;
        bool movable;
    } step[PATH]; /* instruction i is at i % PATH */
    unsigned count;
    struct cpu_flow next; /* behind the site */
    u64 targets; /* bit i: a branch leads to at - 32 + i */
    bool there;  /* the site is an instruction */
    bool whole;  /* the function was decoded to its end */
};

static void survey(const struct eh_function *f, u64 at, struct survey *s)
{
    struct cpu_flow flow;
    u64 pc;

    s->count = 0;
    s->targets = 0;
    s->there = false;
    for (pc = f->begin; pc < f->end && cpu_flow((const u8 *)pc, (unsigned)MIN(f->end - pc, (u64)15), &flow); pc += flow.length) {
        u64 offset = pc + (u64)flow.distance - (at - 32);

        if (pc < at) {
            s->step[s->count % PATH].length = flow.length;
            s->step[s->count++ % PATH].movable = movable(&flow);
        }
        s->there |= pc == at;
        if (pc == at + 2)
            s->next = flow;
        if (flow.branch && offset < 64)
            s->targets |= (u64)1 << offset;
    }
    s->whole = pc == f->end;
}

/* Does a branch of the function lead into [from, to), offsets from the site? */
static bool branched(const struct survey *s, int from, int to)
{
    return !s->whole || s->targets >> (32 + from) & (((u64)1 << (to - from)) - 1);
}

/* "mov $nr, %rax" right before it: the long form, of assemblers that do not shorten it (Go's), or glibc's restorer. */
static bool numbered(const struct text *text, const u8 *p, u32 *number)
{
    static const u8 opcode[3] = {0x48, 0xc7, 0xc0};

    if (p - text->base < 7 || memcmp(p - 7, opcode, sizeof(opcode)) != 0)
        return false;
    memcpy(number, p - 4, 4);
    return *number < CALL_MAX;
}

/* Instructions before the site that make room for a jump; 0: there are none. */
static u8 room_before(const struct survey *s)
{
    unsigned n = 0;

    for (unsigned i = s->count; i > 0 && n < 5 && s->step[(i - 1) % PATH].movable && s->count - i < PATH; i--)
        n += s->step[(i - 1) % PATH].length;
    return n >= 5 && n <= PREV_MOST && !branched(s, 1 - (int)n, 5 - (int)n) ? (u8)n : 0;
}

/* The instruction behind the site, with which there is room for a jump; 0: no. */
static u8 room_behind(const struct survey *s)
{
    unsigned n = s->next.length;

    return n >= 3 && n <= NEXT_MOST && movable(&s->next) && !branched(s, 1, 2 + (int)n) ? (u8)n : 0;
}

/*
 * b8 and a number before a call look like "mov $number,%eax", but may be the end of another instruction: a register
 * with a REX prefix, or b8 as the ModRM byte of an opcode (SDM vol. 2, appendix A).
 */
static bool doubtful(const u8 *mov)
{
    u8 op = mov[-1];

    return (op & 0xf0) == 0x40 || (op & 0xf0) == 0x80 || (op & 0xf0) == 0xb0 || (op < 0x40 && (op & 7) < 4) ||
           (op & 0xfc) == 0xc0 || op == 0x62 || op == 0x63 || op == 0x69 || op == 0x6b || op == 0xc6 || op == 0xc7 ||
           (op & 0xfc) == 0xd0 || (op & 0xf6) == 0xf6 || mov[-2] == 0x0f;
}

/* "mov $number,%eax" right before the call, or what looks like it. */
static bool plain_mov(const struct text *text, const u8 *p, u32 *number)
{
    if (p - text->base < 7 || p[-5] != 0xb8)
        return false;
    memcpy(number, p - 4, 4);
    return *number < CALL_MAX;
}

/*
 * Is p the beginning of an instruction, for all that the bytes before it tell? Wherever decoding begins, it soon falls
 * in step with the code: of many beginnings nearly all must come to p.
 */
static bool in_step(const struct text *text, const u8 *p)
{
    unsigned starts = (unsigned)MIN((u64)(p - text->base), (u64)40), come = 0;
    struct cpu_flow flow;

    for (unsigned i = 1; i <= starts; i++) {
        const u8 *at = p - i;

        while (at < p && cpu_flow(at, (unsigned)MIN((u64)(text->base + text->size - at), (u64)15), &flow))
            at += flow.length;
        come += at == p;
    }
    return starts >= 16 && come >= starts - starts / 4;
}

/* How the site is rewritten. False: it is no system call for all we know. */
static bool classify(const struct text *text, const struct eh_table *t, const u8 *p, struct found *found)
{
    struct eh_function f = {0};
    struct survey s = {.there = false};
    u64 at = (u64)p;
    unsigned before = 0; /* length of the instruction before it, if that is known */
    u32 number;

    *found = (struct found){.at = at, .nr = CALL_MAX};
    if (numbered(text, p, &number) && number == SIGRETURN)
        return false; /* unwinders and debuggers know the return from a signal handler by its bytes */
    if (t->count > 0)
        f = eh_function_of(t, at);
    if (f.begin) { /* constants in code may look like anything: only decoding tells */
        survey(&f, at, &s);
        if (!s.there)
            return false;
        before = s.count ? s.step[(s.count - 1) % PATH].length : 0;
    } else if (plain_mov(text, p, &number) && (!doubtful(p - 5) || in_step(text, p - 5))) {
        before = 5;
    }
    if (before == 5 && plain_mov(text, p, &number)) {
        found->nr = number;
        found->tactic = TACTIC_MOVE;
        return true;
    }
    if ((before == 7 || !f.begin) && numbered(text, p, &number)) {
        found->nr = number;
        found->tactic = TACTIC_PREV;
        found->prev = 7;
        return true;
    }
    if (!f.begin)
        return (u64)(text->base + text->size - p) >= 8 && compared(p + 2); /* TACTIC_NONE: a site that is left alone */
    if ((found->gap = find_gap(text, t, &f, at)))
        found->tactic = TACTIC_GAP;
    else if ((found->prev = room_before(&s)))
        found->tactic = TACTIC_PREV;
    else if ((found->next = room_behind(&s)))
        found->tactic = TACTIC_NEXT;
    return true;
}

typedef u8 bytes16 __attribute__((vector_size(16), may_alias, aligned(1)));

/* The next 0f 05 at or behind p, NULL: none. */
static const u8 *next_pair(const u8 *p, const u8 *end)
{
    const bytes16 first = {0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f, 0x0f};
    const bytes16 second = {5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5};

    for (; end - p >= 17; p += 16) {
        bytes16 both = (bytes16)((*(const bytes16 *)p == first) & (*(const bytes16 *)(p + 1) == second));
        unsigned mask = (unsigned)__builtin_ia32_pmovmskb128((__attribute__((vector_size(16))) char)both);

        if (mask)
            return p + __builtin_ctz(mask);
    }
    for (; end - p >= 2; p++)
        if (p[0] == 0x0f && p[1] == 0x05)
            return p;
    return NULL;
}

void sites_find(const struct text *text, void (*each)(void *context, const struct found *found), void *context)
{
    const u8 *end = text->base + text->size, *p = text->base;
    struct eh_table table = eh_table_of(text->eh_frame_hdr);
    struct found found;

    for (; (p = next_pair(p, end)); p += 2)
        if (classify(text, &table, p, &found))
            each(context, &found);
}
