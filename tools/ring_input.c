/* The reader of binary transcripts: the events of all streams, merged. */
#include "ring_own.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"

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

        while ((slot = ring_record(in, &ring->segments[s->segment], s->at))) {
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
    struct definition *site = s->slot->site ? ring_defined(&ring->sites, s->slot->site) : NULL;

    if (!ring_unpack(s->slot, r)) {
        ring_say(in, "damaged: a record is not well-formed; it is left out");
        return false;
    }
    in->time = r->time = ring_to_ns(ring, r->time);
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

    d->mode = ring_text(slot, 0, 0);
    d->note = ring_text(slot, 0, 1);
    d->mode = d->mode ? d->mode : "";
    d->note = d->note && *d->note ? d->note : NULL;
    in->time = ring_to_ns(in->own, slot->time);
    d->pages = slot->addr;
    d->total = slot->offset;
    d->nranges = 0;
    while (d->nranges < wanted) {
        advance(in, s);
        if (!s->slot || s->slot->type != RING_RANGES) {
            ring_say(in, "the ranges of [DIRTY] are not all there");
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
    in->time = ring_to_ns(in->own, slot->time);
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
    const char *text = ring->site ? ring_text(ring->site, 16, 0) : NULL;

    (void)pc;
    fmt_str(out, text ? text : "?");
}

static const char *name_frame(void *context, u32 stack, unsigned i)
{
    struct ring *ring = ((struct trace_input *)context)->own;
    struct definition *d = ring_defined(&ring->stacks, stack);

    return d && i < d->slot->element && i < TRACE_FRAMES ? ring_text(d->slot, 0, i) : NULL;
}

static const char *name_stack(void *context, u32 stack, size_t *length)
{
    struct trace_input *in = context;
    struct ring *ring = in->own;
    struct definition *d = ring_defined(&ring->stacks, stack);

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
    if (!ring->pool || !ring_look(in))
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
        in->started = MIN(in->started, ring_to_ns(ring, ring->heap[0]->slot->time));
    return 0;
}
