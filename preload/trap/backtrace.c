#include "trap/backtrace.h"

#include "base/mem.h"
#include "base/sys.h"
#include "trap/bump.h"
#include "trap/symbols.h"
#include "trap/unwind.h"

#include "base/trapsafe.h"

/* How far a walk looks past its last frame to see whether libc's frames there are those that start a thread. */
#define LOOK_AHEAD 4u

int backtrace_init(struct fmt *error)
{
    symbols_init();
    return unwind_open(error);
}

/* ---- capture ---- */

struct trail {
    u64 ip[BACKTRACE_FRAMES + LOOK_AHEAD];
    u8 flags[BACKTRACE_FRAMES + LOOK_AHEAD];
    unsigned count;
};

/*
 * The frames below main and below a thread's function are libc's own and the
 * same in every stack: clone3 and start_thread; or _start,
 * __libc_start_main and __libc_start_call_main, when main has returned and
 * exit handlers run. Below the function of a makecontext() lies one piece of
 * libc's assembler that has no unwind information.
 */
static void drop_start(struct trail *t)
{
    u8 last;
    unsigned libc;

    if (t->count < 2)
        return;
    last = t->flags[t->count - 1];
    if (last & LAYOUT_ENTRY)
        libc = 2;
    else if (last & LAYOUT_LIBC)
        libc = last & LAYOUT_BOTTOM ? 1 : 0;
    else
        return;
    for (t->count--; libc && t->count > 1 && (t->flags[t->count - 1] & LAYOUT_LIBC); libc--)
        t->count--;
}

/* A program that jumped to nowhere faults there: that address is worth showing, an unreadable caller is not. */
static bool wild_jump(const struct layout *layout, const struct trail *t)
{
    return t->count == 0 && (layout->flags & LAYOUT_STOP);
}

/* Our way back from a handler of the program: libc's would show as nothing better than an offset. */
static bool way_back(const struct layout *layout)
{
    return (layout->flags & (LAYOUT_FOREIGN | LAYOUT_SIGNAL)) == (LAYOUT_FOREIGN | LAYOUT_SIGNAL);
}

enum walk_end { WALK_DONE, WALK_BOTTOM, WALK_COMPLEX };

static enum walk_end walk(const struct cpu_state *state, struct unwind_slow *slow, struct reads *reads, struct trail *t,
                          unsigned max)
{
    struct frame frame = {state->rip, state->gpr[4], state->gpr[5], true, BP_GIVEN};
    struct layout layout;

    t->count = 0;
    for (unsigned steps = 0; steps < 2 * BACKTRACE_FRAMES; steps++) {
        unwind_layout(frame_lookup(&frame), &layout);
        if ((layout.flags & LAYOUT_COMPLEX) && !slow)
            return WALK_COMPLEX;
        if ((layout.flags & LAYOUT_FOREIGN) && !way_back(&layout) && !wild_jump(&layout, t))
            return WALK_DONE;
        if (!way_back(&layout)) {
            t->ip[t->count] = frame.ip;
            t->flags[t->count++] = layout.flags;
        }
        if (layout.flags & LAYOUT_MAIN)
            return WALK_DONE;
        if (layout.flags & (LAYOUT_BOTTOM | LAYOUT_STOP))
            return WALK_BOTTOM;
        if (t->count >= max && (!(layout.flags & LAYOUT_LIBC) || t->count >= max + LOOK_AHEAD))
            return WALK_DONE;
        if (!(slow ? unwind_slow_step(slow, &frame) : unwind_step(&layout, &frame, reads)))
            return WALK_DONE;
    }
    return WALK_DONE;
}

/* Each register may count, and libunwind reads what it likes. */
static enum walk_end __attribute__((noinline)) walk_slowly(const struct cpu_state *state, struct reads *reads,
                                                           struct trail *t, unsigned max)
{
    struct unwind_slow slow;

    t->count = 0;
    reads->lost = true;
    return unwind_slow_begin(&slow, state) ? walk(state, &slow, reads, t, max) : WALK_DONE;
}

static unsigned capture(const struct cpu_state *state, struct reads *reads, u64 *frames, unsigned max)
{
    struct trail trail;
    enum walk_end end;

    if (!max)
        return 0;
    end = walk(state, NULL, reads, &trail, max);
    if (end == WALK_COMPLEX)
        end = walk_slowly(state, reads, &trail, max);
    if (end == WALK_BOTTOM)
        drop_start(&trail);
    trail.count = MIN(trail.count, max);
    for (unsigned i = 0; i < trail.count; i++)
        frames[i] = trail.ip[i];
    return trail.count;
}

unsigned backtrace_capture(const struct cpu_state *state, u64 *frames, unsigned max)
{
    struct reads none = {.lost = true};

    return capture(state, &none, frames, MIN(max, BACKTRACE_FRAMES));
}

/* ---- stacks ---- */

#define STACKS 65536u
#define PROBES 64u
#define GONE   0u /* epoch of a stack whose addresses mean something else by now */

struct stack {
    u64 hash;
    u32 id;
    u32 epoch; /* the last one in which its texts were right */
    u32 log;   /* the log that it was announced in */
    u32 count;
    const char **text;
    u64 frames[];
};

static struct stack *by_hash[STACKS], *by_id[STACKS];
static u32 code_epoch = 1, log_epoch = 1;

void backtrace_set_main(u64 address)
{
    unwind_set_main(address);
    __atomic_add_fetch(&code_epoch, 1, __ATOMIC_ACQ_REL);
}

void backtrace_forget(void)
{
    unwind_forget();
    symbols_forget();
    __atomic_add_fetch(&code_epoch, 1, __ATOMIC_ACQ_REL);
}

u32 backtrace_epoch(void)
{
    return __atomic_load_n(&code_epoch, __ATOMIC_ACQUIRE);
}

void backtrace_renumber(void)
{
    __atomic_add_fetch(&log_epoch, 1, __ATOMIC_ACQ_REL);
}

static u64 hash_of(const u64 *frames, unsigned count)
{
    u64 h = count;

    for (unsigned i = 0; i < count; i++) {
        h = (h ^ frames[i]) * 0x9e3779b97f4a7c15ULL;
        h ^= h >> 29;
    }
    return h;
}

static const char *text_of(const u64 *frames, unsigned i)
{
    return symbols_text(frames[i], i ? frames[i] - 1 : frames[i]);
}

static u32 id_slot(u32 id, unsigned probe)
{
    return (id * 0x9e3779b1u + probe) % STACKS;
}

static bool index_by_id(struct stack *s)
{
    for (unsigned i = 0; i < PROBES; i++) {
        struct stack *none = NULL;

        if (__atomic_compare_exchange_n(&by_id[id_slot(s->id, i)], &none, s, false, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
            return true;
    }
    return false;
}

static struct stack *new_stack(u64 hash, const u64 *frames, unsigned count, u32 *next_id)
{
    struct stack *s = bump_alloc(sizeof(*s) + count * (sizeof(*s->frames) + sizeof(*s->text)));

    if (!s)
        return NULL;
    s->hash = hash;
    s->epoch = __atomic_load_n(&code_epoch, __ATOMIC_ACQUIRE);
    s->log = __atomic_load_n(&log_epoch, __ATOMIC_ACQUIRE);
    s->count = count;
    s->text = (const char **)(s->frames + count);
    for (unsigned i = 0; i < count; i++) {
        s->frames[i] = frames[i];
        s->text[i] = text_of(frames, i);
    }
    s->id = __atomic_add_fetch(next_id, 1, __ATOMIC_RELAXED);
    return index_by_id(s) ? s : NULL;
}

static bool texts_hold(struct stack *s)
{
    u32 now = __atomic_load_n(&code_epoch, __ATOMIC_ACQUIRE), then = __atomic_load_n(&s->epoch, __ATOMIC_RELAXED);

    if (then == now)
        return true;
    if (then == GONE)
        return false;
    for (unsigned i = 0; i < s->count; i++) {
        if (text_of(s->frames, i) != s->text[i]) {
            __atomic_store_n(&s->epoch, GONE, __ATOMIC_RELAXED);
            return false;
        }
    }
    __atomic_store_n(&s->epoch, now, __ATOMIC_RELAXED);
    return true;
}

static bool matches(struct stack *s, u64 hash, const u64 *frames, unsigned count)
{
    return s->hash == hash && s->count == count && memcmp(s->frames, frames, count * sizeof(*frames)) == 0 &&
           texts_hold(s);
}

/* True for the first who asks in this log. */
static bool announce(struct stack *s)
{
    u32 now = __atomic_load_n(&log_epoch, __ATOMIC_ACQUIRE), then = __atomic_load_n(&s->log, __ATOMIC_RELAXED);

    return then != now && __atomic_compare_exchange_n(&s->log, &then, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* The one copy of a stack, NULL when the table is full. *fresh: it is new. */
static struct stack *intern(const u64 *frames, unsigned count, u32 *next_id, bool *fresh)
{
    u64 hash = hash_of(frames, count);
    struct stack *s, *made = NULL;

    for (unsigned i = 0; i < PROBES; i++) {
        struct stack **slot = &by_hash[((hash >> 40) + i) % STACKS];

        s = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
        if (!s) {
            if (!made)
                made = new_stack(hash, frames, count, next_id);
            if (!made)
                return NULL;
            if (__atomic_compare_exchange_n(slot, &s, made, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE)) {
                *fresh = true;
                return made;
            }
        }
        if (matches(s, hash, frames, count))
            return s;
    }
    return NULL;
}

u32 backtrace_id(const u64 *frames, unsigned count, u32 *next_id, bool *fresh)
{
    struct stack *s;

    *fresh = false;
    if (!count || count > BACKTRACE_FRAMES)
        return 0;
    s = intern(frames, count, next_id, fresh);
    if (!s)
        return 0;
    *fresh = *fresh || announce(s);
    return s->id;
}

/* ---- stacks that were seen before ---- */

static struct walk_start start_of(u64 rip, u64 rsp, u64 rbp, unsigned max)
{
    /* Before the walk: what is forgotten meanwhile is not kept. */
    return (struct walk_start){rip, rsp, rbp, __atomic_load_n(&code_epoch, __ATOMIC_ACQUIRE), max};
}

void backtrace_take(struct recall *recall, const struct cpu_state *state, unsigned max, struct backtrace *out)
{
    struct walk_start start = start_of(state->rip, state->gpr[4], state->gpr[5], MIN(max, BACKTRACE_FRAMES));
    struct return_place place;
    struct reads reads;

    out->walk = NULL;
    out->stack = recall ? recall_find(recall, &start) : NULL;
    if (out->stack)
        return;
    if (!unwind_return_place(start.rip, &place))
        place.rip = 0;
    out->walk = recall_begin(recall, &start, &place, &reads);
    out->count = capture(state, &reads, out->frames, start.max);
    out->walk = recall_end(out->walk, &reads);
}

u32 backtrace_number(struct backtrace *b, u32 *next_id, bool *fresh)
{
    *fresh = false;
    if (!b->stack && b->count) {
        b->stack = intern(b->frames, b->count, next_id, fresh);
        if (b->stack && b->walk)
            recall_keep(b->walk, b->stack);
    }
    if (!b->stack)
        return 0;
    *fresh = *fresh || announce(b->stack);
    return b->stack->id;
}

u32 backtrace_quick(const struct recall *recall, u64 rip, u64 rsp, u64 rbp, unsigned max)
{
    struct walk_start start = start_of(rip, rsp, rbp, max);
    const struct stack *s = recall_find(recall, &start);

    return s && s->log == __atomic_load_n(&log_epoch, __ATOMIC_ACQUIRE) ? s->id : 0;
}

const char *backtrace_frame(u32 id, unsigned i)
{
    for (unsigned probe = 0; id && probe < PROBES; probe++) {
        const struct stack *s = __atomic_load_n(&by_id[id_slot(id, probe)], __ATOMIC_ACQUIRE);

        if (!s)
            return NULL;
        if (s->id == id)
            return i < s->count ? s->text[i] : NULL;
    }
    return NULL;
}

void backtrace_where(u64 pc, struct fmt *out)
{
    symbols_where(pc, out);
}
