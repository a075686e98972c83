/* The reader of binary transcripts: definitions first, then the events of all streams, merged. */
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "trace/ringfile.h"
#include "trace_input.h"

struct segment {
    u32 stream, index, desk;
    u64 at, bytes;
};

/* A record that later ones refer to by its number. */
struct definition {
    u32 id;
    const struct ring_slot *slot;
    char *text; /* of a stack, as text shows it; made when first asked for */
    size_t length;
};

struct definitions {
    struct definition *all;
    size_t count, room;
};

/* Whose record comes next in a stream. */
struct stream {
    size_t segment, end; /* of the sorted table */
    u64 at;              /* within the segment */
    const struct ring_slot *slot; /* the next one to give, NULL: none */
    u32 pid, tid;
    u16 pid_ordinal, tid_ordinal;
};

struct ring {
    const u8 *data;
    size_t size;
    const struct ring_header *header;
    struct segment *segments;
    size_t nsegments, segment_room;
    struct stream *streams;
    struct stream **heap;
    size_t nstreams, nheap;
    struct definitions sites, stacks;
    struct ring_pair *pairs;
    size_t npairs, pair_room;
    const struct ring_slot *site; /* of the record at hand */
    void *pool;
    u64 ranges_room;
};

/* Makes room for one more. False: no memory. */
static bool grow(void *table, size_t count, size_t *room, size_t bytes)
{
    void **p = table, *larger;
    size_t wanted = *room ? *room * 2 : 64;

    if (count < *room)
        return true;
    larger = realloc(*p, wanted * bytes);
    if (!larger)
        return false;
    *p = larger;
    *room = wanted;
    return true;
}

static void say(struct trace_input *in, const char *what)
{
    if (!in->damage.len)
        fmt_str(&in->damage, what);
    fmt_end(&in->damage);
}

/* --- where records are --- */

/* The record at a place of a segment; NULL: there are no more. */
static const struct ring_slot *record_at(struct trace_input *in, const struct segment *s, u64 at)
{
    struct ring *ring = in->own;
    const struct ring_slot *slot = (const void *)(ring->data + s->at + at);

    if (at >= s->bytes || s->bytes - at < RING_SLOT || !slot->type)
        return NULL;
    if (slot->slots && (u64)slot->slots * RING_SLOT <= s->bytes - at)
        return slot;
    say(in, "damaged: the length of a record is wrong; what follows it in its segment is left out");
    return NULL;
}

/* Text number `i` behind a slot; NULL: there is none, or it is not terminated. */
static const char *text_of(const struct ring_slot *slot, size_t skip, unsigned i)
{
    const char *p = (const char *)(slot + 1) + skip;
    const char *end = (const char *)(slot + slot->slots);

    for (;; i--) {
        const char *stop = p < end ? memchr(p, 0, (size_t)(end - p)) : NULL;

        if (!stop || !i)
            return stop ? p : NULL;
        p = stop + 1;
    }
}

/* --- first look: segments, definitions, clocks --- */

static int by_stream(const void *a, const void *b)
{
    const struct segment *x = a, *y = b;

    if (x->stream != y->stream)
        return x->stream < y->stream ? -1 : 1;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    if (x->desk != y->desk)
        return x->desk < y->desk ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* A desk of which there is a copy says nothing more. */
static void drop_copied(struct ring *ring)
{
    size_t n = 0;

    for (size_t i = 0; i < ring->nsegments; i++) {
        const struct segment *s = &ring->segments[i], *before = n ? &ring->segments[n - 1] : NULL;

        if (!before || before->stream != s->stream || before->index != s->index)
            ring->segments[n++] = *s;
    }
    ring->nsegments = n;
}

static bool find_segments(struct trace_input *in)
{
    struct ring *ring = in->own;
    u64 bytes;

    for (u64 at = PAGE_SIZE; at < ring->size;) {
        const struct ring_segment *s = (const void *)(ring->data + at);

        if (!ring_segment_at(ring->header, ring->data, ring->size, at, &bytes)) {
            at += PAGE_SIZE;
            continue;
        }
        if (bytes < s->bytes)
            say(in, "cut off: a segment goes on behind the end of the file");
        if (!grow(&ring->segments, ring->nsegments, &ring->segment_room, sizeof(*s)))
            return false;
        ring->segments[ring->nsegments++] = (struct segment){s->stream, s->index, s->desk, at, bytes};
        at += s->bytes;
    }
    if (ring->header->next > ring->size && !ring->header->open)
        say(in, "cut off: it was longer once");
    if (ring->nsegments)
        qsort(ring->segments, ring->nsegments, sizeof(*ring->segments), by_stream);
    drop_copied(ring);
    return true;
}

static bool add_pair(struct ring *ring, struct ring_pair pair)
{
    if (!grow(&ring->pairs, ring->npairs, &ring->pair_room, sizeof(pair)))
        return false;
    ring->pairs[ring->npairs++] = pair;
    return true;
}

static bool define(struct definitions *d, u32 id, const struct ring_slot *slot)
{
    if (!grow(&d->all, d->count, &d->room, sizeof(*d->all)))
        return false;
    d->all[d->count++] = (struct definition){id, slot, NULL, 0};
    return true;
}

static bool look_at_segment(struct trace_input *in, const struct segment *s)
{
    struct ring *ring = in->own;
    const struct ring_slot *slot;
    bool ok = add_pair(ring, ((const struct ring_segment *)(ring->data + s->at))->pair);

    for (u64 at = sizeof(struct ring_segment); ok && (slot = record_at(in, s, at)); at += (u64)slot->slots * RING_SLOT) {
        if (slot->type == RING_SITE && slot->slots > 1)
            ok = define(&ring->sites, slot->site, slot);
        else if (slot->type == RING_STACK)
            ok = define(&ring->stacks, slot->stack, slot);
        else if (slot->type == RING_TIME)
            ok = add_pair(ring, (struct ring_pair){slot->time, slot->value});
    }
    return ok;
}

static int by_id(const void *a, const void *b)
{
    const struct definition *x = a, *y = b;

    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->slot < y->slot ? -1 : x->slot > y->slot;
}

static int by_ticks(const void *a, const void *b)
{
    const struct ring_pair *x = a, *y = b;

    return x->ticks < y->ticks ? -1 : x->ticks > y->ticks;
}

static bool look_around(struct trace_input *in)
{
    struct ring *ring = in->own;
    bool ok = find_segments(in) && add_pair(ring, ring->header->start[0]) && add_pair(ring, ring->header->start[1]);

    for (size_t i = 0; ok && i < ring->nsegments; i++)
        ok = look_at_segment(in, &ring->segments[i]);
    if (!ok)
        return false;
    if (ring->sites.count)
        qsort(ring->sites.all, ring->sites.count, sizeof(*ring->sites.all), by_id);
    if (ring->stacks.count)
        qsort(ring->stacks.all, ring->stacks.count, sizeof(*ring->stacks.all), by_id);
    qsort(ring->pairs, ring->npairs, sizeof(*ring->pairs), by_ticks);
    return true;
}

static struct definition *defined(struct definitions *d, u32 id)
{
    size_t low = 0, high = d->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (d->all[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < d->count && d->all[low].id == id ? &d->all[low] : NULL;
}

/* --- time --- */

/* On the line through two moments. */
static u64 on_line(struct ring_pair a, struct ring_pair b, u64 ticks)
{
    double rate = b.ticks > a.ticks && b.ns > a.ns ? (double)(b.ns - a.ns) / (double)(b.ticks - a.ticks) : 1;

    return ticks >= a.ticks ? a.ns + (u64)((double)(ticks - a.ticks) * rate) : a.ns - (u64)((double)(a.ticks - ticks) * rate);
}

static u64 to_ns(const struct ring *ring, u64 ticks)
{
    const struct ring_pair *p = ring->pairs;
    size_t low = 0, high = ring->npairs;
    u64 ns;

    if (ring->header->clock != RING_CLOCK_TSC)
        return ticks;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (p[middle].ticks <= ticks)
            low = middle + 1;
        else
            high = middle;
    }
    if (low && low < ring->npairs)
        return on_line(p[low - 1], p[low], ticks);
    /* Before the first or behind the last: at the rate of them all, from the one that is near. */
    ns = on_line(p[0], p[ring->npairs - 1], ticks);
    return low ? ns + p[low - 1].ns - on_line(p[0], p[ring->npairs - 1], p[low - 1].ticks) : ns;
}

/* --- streams --- */

static void note_thread(struct stream *s, const struct ring_slot *slot)
{
    s->pid = (u32)slot->addr;
    s->tid = (u32)slot->offset;
    s->pid_ordinal = (u16)slot->value;
    s->tid_ordinal = (u16)(slot->value >> 32);
}

static bool is_item(const struct ring_slot *slot)
{
    return slot->type < RING_THREAD || slot->type == RING_DIRTY || slot->type == RING_RANGES || slot->type == RING_EXIT;
}

/* Goes on to the next record that is one to give. */
static void advance(struct trace_input *in, struct stream *s)
{
    struct ring *ring = in->own;

    if (s->slot)
        s->at += (u64)s->slot->slots * RING_SLOT;
    for (s->slot = NULL; s->segment < s->end; s->segment++, s->at = sizeof(struct ring_segment)) {
        const struct ring_slot *slot;

        while ((slot = record_at(in, &ring->segments[s->segment], s->at))) {
            if (slot->type == RING_THREAD)
                note_thread(s, slot);
            s->slot = slot;
            if (is_item(slot))
                return;
            s->at += (u64)slot->slots * RING_SLOT;
        }
        s->slot = NULL;
    }
}

/* An access comes first, then what is said of it, then what else happened before the next. */
static unsigned rank(const struct ring_slot *s)
{
    if (s->type == TRACE_MMIO || s->type == TRACE_PORT)
        return 0;
    return s->type == TRACE_LINT && s->flags & RING_NUMBERED ? 1 : 2;
}

static bool comes_first(const struct stream *a, const struct stream *b)
{
    const struct ring_slot *x = a->slot, *y = b->slot;

    if (x->order != y->order)
        return x->order < y->order;
    if (rank(x) != rank(y))
        return rank(x) < rank(y);
    return x->time != y->time ? x->time < y->time : a < b;
}

static void sift_down(struct ring *ring, size_t i)
{
    for (;;) {
        size_t least = i;

        for (size_t child = 2 * i + 1; child <= 2 * i + 2; child++)
            if (child < ring->nheap && comes_first(ring->heap[child], ring->heap[least]))
                least = child;
        if (least == i)
            return;
        struct stream *s = ring->heap[i];

        ring->heap[i] = ring->heap[least];
        ring->heap[least] = s;
        i = least;
    }
}

static void ring_rewind(struct trace_input *in)
{
    struct ring *ring = in->own;
    struct stream *s = NULL;

    ring->nheap = ring->nstreams = 0;
    for (size_t i = 0; i < ring->nsegments; i++) {
        if (!s || ring->segments[i].stream != ring->segments[s->segment].stream) {
            s = &ring->streams[ring->nstreams++];
            *s = (struct stream){.segment = i, .at = sizeof(struct ring_segment)};
        }
        s->end = i + 1;
    }
    for (size_t i = 0; i < ring->nstreams; i++) {
        advance(in, &ring->streams[i]);
        if (ring->streams[i].slot)
            ring->heap[ring->nheap++] = &ring->streams[i];
    }
    for (size_t i = ring->nheap; i-- > 0;)
        sift_down(ring, i);
}

/* Puts the stream that was first where it belongs now. */
static void settle(struct ring *ring)
{
    if (!ring->heap[0]->slot)
        ring->heap[0] = ring->heap[--ring->nheap];
    sift_down(ring, 0);
}

/* --- items --- */

static bool give_record(struct trace_input *in, const struct stream *s)
{
    struct ring *ring = in->own;
    struct trace_record *r = &in->record;
    struct definition *site = s->slot->site ? defined(&ring->sites, s->slot->site) : NULL;

    if (!ring_unpack(s->slot, r)) {
        say(in, "damaged: a record is not well-formed; it is left out");
        return false;
    }
    in->time = r->time = to_ns(ring, r->time);
    r->pid = s->pid;
    r->tid = s->tid;
    r->pid_ordinal = s->pid_ordinal;
    r->tid_ordinal = s->tid_ordinal;
    ring->site = site ? site->slot : NULL;
    if (site) {
        r->pc = site->slot->addr;
        r->insn_len = (u8)MIN(site->slot->element, 15);
        memcpy(r->insn, site->slot + 1, sizeof(r->insn));
    }
    return true;
}

static void add_ranges(struct trace_input *in, const struct ring_slot *slot)
{
    struct ring *ring = in->own;
    u64 n = MIN((u64)slot->element, (u64)(slot->slots - 1) * RING_SLOT / sizeof(struct range));
    struct trace_dirty *d = &in->dirty;

    if (d->nranges + n > ring->ranges_room) {
        u64 wanted = (d->nranges + n) * 2;
        struct range *larger = realloc(d->ranges, wanted * sizeof(*larger));

        if (!larger)
            return;
        d->ranges = larger;
        ring->ranges_room = wanted;
    }
    memcpy(d->ranges + d->nranges, slot + 1, n * sizeof(*d->ranges));
    d->nranges += n;
}

static void give_dirty(struct trace_input *in, struct stream *s)
{
    const struct ring_slot *slot = s->slot;
    struct trace_dirty *d = &in->dirty;
    u64 wanted = slot->value;

    d->mode = text_of(slot, 0, 0);
    d->note = text_of(slot, 0, 1);
    d->mode = d->mode ? d->mode : "";
    d->note = d->note && *d->note ? d->note : NULL;
    in->time = to_ns(in->own, slot->time);
    d->pages = slot->addr;
    d->total = slot->offset;
    d->nranges = 0;
    while (d->nranges < wanted) {
        advance(in, s);
        if (!s->slot || s->slot->type != RING_RANGES) {
            say(in, "the ranges of [DIRTY] are not all there");
            return;
        }
        if (!s->slot->element)
            break;
        add_ranges(in, s->slot);
    }
    advance(in, s);
}

static void give_exit(struct trace_input *in, const struct ring_slot *slot)
{
    u64 more[2] = {0, 0};

    if (slot->slots > 1)
        memcpy(more, slot + 1, sizeof(more));
    in->time = to_ns(in->own, slot->time);
    in->totals = (struct trace_totals){slot->addr, slot->offset, slot->value, more[0], more[1]};
}

static enum trace_item ring_next(struct trace_input *in)
{
    struct ring *ring = in->own;

    while (ring->nheap) {
        struct stream *s = ring->heap[0];
        enum trace_item item = ITEM_END;

        if (s->slot->type == RING_DIRTY) {
            give_dirty(in, s);
            settle(ring);
            return ITEM_DIRTY;
        }
        if (s->slot->type == RING_EXIT) {
            give_exit(in, s->slot);
            item = ITEM_EXIT;
        } else if (s->slot->type < RING_THREAD && give_record(in, s)) {
            item = ITEM_RECORD;
        }
        advance(in, s);
        settle(ring);
        if (item != ITEM_END)
            return item;
    }
    return ITEM_END;
}

/* --- names --- */

static void name_pc(void *context, u64 pc, struct fmt *out)
{
    struct ring *ring = ((struct trace_input *)context)->own;
    const char *text = ring->site ? text_of(ring->site, 16, 0) : NULL;

    (void)pc;
    fmt_str(out, text ? text : "?");
}

static const char *name_frame(void *context, u32 stack, unsigned i)
{
    struct ring *ring = ((struct trace_input *)context)->own;
    struct definition *d = defined(&ring->stacks, stack);

    return d && i < d->slot->element && i < TRACE_FRAMES ? text_of(d->slot, 0, i) : NULL;
}

static const char *name_stack(void *context, u32 stack, size_t *length)
{
    struct trace_input *in = context;
    struct ring *ring = in->own;
    struct definition *d = defined(&ring->stacks, stack);

    if (!d)
        return NULL;
    if (!d->text) {
        struct fmt f = {.cap = (size_t)d->slot->slots * RING_SLOT * 4 + TRACE_FRAMES * 16};

        f.buf = malloc(f.cap);
        if (!f.buf)
            return NULL;
        trace_print_stack(&f, stack, &in->names);
        d->text = f.buf;
        d->length = f.len;
    }
    *length = d->length;
    return d->text;
}

static void name_insn(void *context, const struct trace_record *r, struct fmt *out)
{
    (void)context;
    cpu_disassemble(r->insn, r->insn_len, 0, out);
}

/* --- from beginning to end --- */

void ring_input_close(struct trace_input *in)
{
    struct ring *ring = in->own;

    for (size_t i = 0; i < ring->stacks.count; i++)
        free(ring->stacks.all[i].text);
    free(ring->stacks.all);
    free(ring->sites.all);
    free(ring->pairs);
    free(ring->segments);
    free(ring->streams);
    free(ring->heap);
    free(ring->pool);
    free(in->dirty.ranges);
    free(ring);
    in->own = NULL;
}

static int no_memory(struct trace_input *in, struct fmt *error)
{
    ring_input_close(in);
    fmt_str(error, "out of memory");
    return -1;
}

int ring_input_open(struct trace_input *in, const u8 *data, size_t size, struct fmt *error)
{
    const struct ring_header *h = (const void *)data;
    struct ring *ring;

    if (ring_check(h, size, error) < 0)
        return -1;
    ring = in->own = calloc(1, sizeof(*ring));
    if (!ring) {
        fmt_str(error, "out of memory");
        return -1;
    }
    ring->data = data;
    ring->size = size;
    ring->header = h;
    ring->pool = malloc(ringmap_pool(h->map_size));
    if (!ring->pool || !look_around(in))
        return no_memory(in, error);
    ring->streams = malloc((ring->nsegments + 1) * sizeof(*ring->streams));
    ring->heap = malloc((ring->nsegments + 1) * sizeof(*ring->heap));
    if (!ring->streams || !ring->heap)
        return no_memory(in, error);
    if (ringmap_read(&in->map, data + h->map, h->map_size, ring->pool, ringmap_pool(h->map_size)) < 0) {
        ring_input_close(in);
        fmt_str(error, "damaged: its memory map is not well-formed");
        return -1;
    }
    in->names = (struct trace_names){in->map.devices, in->map.ndevices, in, name_pc, name_frame, name_stack, name_insn};
    in->timed = true;
    in->filtered = h->flags & RING_FILTERED;
    in->lost = h->lost;
    in->next = ring_next;
    in->rewind = ring_rewind;
    ring_rewind(in);
    in->started = h->start[1].ns;
    if (ring->nheap)
        in->started = MIN(in->started, to_ns(ring, ring->heap[0]->slot->time));
    return 0;
}
