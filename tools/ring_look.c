/* The first look at a binary transcript: where its segments are, what numbers stand for, how its clock went. */
#include "ring_own.h"

#include <stdlib.h>
#include <string.h>

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

void ring_say(struct trace_input *in, const char *what)
{
    if (!in->damage.len)
        fmt_str(&in->damage, what);
    fmt_end(&in->damage);
}

const struct ring_slot *ring_record(struct trace_input *in, const struct segment *s, u64 at)
{
    struct ring *ring = in->own;
    const struct ring_slot *slot = (const void *)(ring->data + s->at + at);

    if (at >= s->bytes || s->bytes - at < RING_SLOT || !slot->type)
        return NULL;
    if (slot->slots && (u64)slot->slots * RING_SLOT <= s->bytes - at)
        return slot;
    ring_say(in, "damaged: the length of a record is wrong; what follows it in its segment is left out");
    return NULL;
}

const char *ring_text(const struct ring_slot *slot, size_t skip, unsigned i)
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
            ring_say(in, "cut off: a segment goes on behind the end of the file");
        if (!grow(&ring->segments, ring->nsegments, &ring->segment_room, sizeof(*s)))
            return false;
        ring->segments[ring->nsegments++] = (struct segment){s->stream, s->index, s->desk, at, bytes};
        at += s->bytes;
    }
    if (ring->header->next > ring->size && !ring->header->open)
        ring_say(in, "cut off: it was longer once");
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

    for (u64 at = sizeof(struct ring_segment); ok && (slot = ring_record(in, s, at)); at += (u64)slot->slots * RING_SLOT) {
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

bool ring_look(struct trace_input *in)
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

struct definition *ring_defined(struct definitions *d, u32 id)
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

u64 ring_to_ns(const struct ring *ring, u64 ticks)
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
