#include "trap/ring_own.h"

#include <sys/stat.h>

#include "base/mem.h"
#include "base/sys.h"
#include "trap/backtrace.h"
#include "trap/sink.h"
#include "base/trapsafe.h"

bool ring_put(struct thread *t, const struct trace_record *rec, u64 order)
{
    u32 site = ring_site(t, rec);
    u64 at = ring_ticks();
    struct ring_slot *s = ring_room(t, ring_slots(ring_more(rec)), at);

    if (unlikely(!s))
        return false;
    ring_pack(s, rec, site, order, at);
    return likely(!t->ring.dead); /* by this very store */
}

bool ring_repeat(struct thread *t, u64 first_seq, u64 order)
{
    struct ring_slot *s = (void *)t->ring.repeat;
    struct trace_record rec;
    u64 count = 1;

    if (likely(s && t->ring.ready == ring_epoch && !t->ring.dead && s->addr == first_seq)) {
        s->order = order;
        s->time = ring_ticks();
        __atomic_store_n(&s->value, s->value + 1, __ATOMIC_RELEASE);
        return true;
    }
    memset(&rec, 0, sizeof(rec));
    rec.type = TRACE_REPEAT;
    rec.device = rec.reg = TRACE_NONE;
    rec.seq = first_seq;
    memcpy(rec.value, &count, sizeof(count));
    if (!ring_put(t, &rec, order))
        return false;
    t->ring.repeat = t->ring.next - RING_SLOT;
    return true;
}

void ring_repeat_ends(struct thread *t, u64 order)
{
    struct ring_slot *s = (void *)t->ring.repeat;

    if (s && t->ring.ready == ring_epoch && !t->ring.dead) {
        s->order = order;
        s->time = ring_ticks();
    }
    t->ring.repeat = NULL;
}

void ring_stack(struct thread *t, u32 stack)
{
    struct ring_slot *s;
    const char *frame;
    size_t bytes = 0;
    unsigned n = 0;
    char *out;

    for (; n < TRACE_FRAMES && (frame = backtrace_frame(stack, n)); n++)
        bytes += strlen(frame) + 1;
    s = ring_room(t, ring_slots(bytes), ring_ticks());
    if (!s)
        return;
    s->stack = stack;
    s->element = (u16)n;
    out = (char *)(s + 1);
    for (unsigned i = 0; i < n; i++) {
        frame = backtrace_frame(stack, i);
        memcpy(out, frame, strlen(frame) + 1);
        out += strlen(frame) + 1;
    }
    ring_commit(s, RING_STACK, 0, ring_slots(bytes), 0);
}

/* --- the end --- */

/* What must not be lost even on a full disk. */
static struct ring_slot *final_room(struct thread *t, size_t more)
{
    struct ring_thread *r = &t->ring;
    unsigned slots = ring_slots(more);

    if ((r->ready != ring_epoch || r->dead || (size_t)(r->end - r->next) < slots * RING_SLOT) &&
        !ring_make_room(t, slots, true))
        return NULL;
    return ring_take(r, slots);
}

#define RANGES_EACH 124u /* ranges in one record: half a small segment */

static void put_ranges(struct thread *t, u64 order, const struct range *ranges, u64 nranges)
{
    for (u64 done = 0; done < nranges;) {
        u16 n = (u16)MIN(nranges - done, (u64)RANGES_EACH);
        size_t more = n * sizeof(*ranges);
        struct ring_slot *s = final_room(t, more);

        if (!s)
            return;
        s->order = order;
        s->time = ring_ticks();
        s->element = n;
        memcpy(s + 1, ranges + done, more);
        ring_commit(s, RING_RANGES, 0, ring_slots(more), 0);
        done += n;
    }
}

void ring_dirty(struct thread *t, u64 order, const char *mode, u64 pages, u64 total, const struct range *ranges,
                u64 nranges, const char *note)
{
    size_t m = strlen(mode) + 1, n = note ? strlen(note) + 1 : 1;
    struct ring_slot *s = final_room(t, m + n);

    if (!s)
        return;
    s->order = order;
    s->time = ring_ticks();
    s->addr = pages;
    s->offset = total;
    s->value = nranges;
    memcpy(s + 1, mode, m);
    memcpy((char *)(s + 1) + m, note ? note : "", n);
    ring_commit(s, RING_DIRTY, 0, ring_slots(m + n), 0);
    put_ranges(t, order, ranges, nranges);
}

void ring_exit(struct thread *t, u64 order, const struct trace_totals *totals)
{
    u64 more[2] = {totals->lint, totals->lost};
    struct ring_slot *s = final_room(t, sizeof(more));

    if (!s)
        return;
    s->order = order;
    s->time = ring_ticks();
    s->addr = totals->accesses;
    s->offset = totals->reads;
    s->value = totals->writes;
    memcpy(s + 1, more, sizeof(more));
    ring_commit(s, RING_EXIT, 0, ring_slots(sizeof(more)), 0);
}

static bool alone(void)
{
    struct stat st = {0};

    /* A directory has a link for itself, one of its parent, one of each directory in it: here, threads. */
    return sys(SYS_stat, "/proc/self/task", &st) == 0 && st.st_nlink == 3;
}

void ring_close(struct thread *t, bool last)
{
    struct ring_thread *r = &t->ring;
    u64 end = r->place + r->bytes, used = page_up((u64)(r->next - r->base));
    int fd = sink_descriptor();

    if (ring_header && fd >= 0 && last && r->base && !r->dead && r->epoch == ring_epoch && r->place != ring_header->reserve && alone() &&
        __atomic_compare_exchange_n(&ring_header->next, &end, r->place + used, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        ((struct ring_segment *)r->base)->bytes = (u32)used;
        sys(SYS_ftruncate, fd, r->place + used);
    }
    ring_epoch++; /* who goes on (a failed exec, another thread) begins anew */
}
