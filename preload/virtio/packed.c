/* Packed virtqueues. Source: VIRTIO 1.2, 2.8. */
#include "virtio/virtio.h"

#include "base/trapsafe.h"

struct descriptor { /* 2.8.13 */
    u64 addr;
    u32 length;
    u16 id;
    u16 flags;
};

enum { FLAGS_AT = 14, AVAIL = 1 << 7, USED = 1 << 15 };

/* Event suppression, 2.8.14: what the driver area says of interrupts, and the device area of notifications. */
struct suppression {
    u16 place; /* bit 15: wrap counter */
    u16 flags;
};
enum { EVENTS_ENABLE = 0, EVENTS_DISABLE = 1, EVENTS_PLACE = 2 };

static bool packed_enable(struct mmioshim_device *dev, struct virtio_queue *q)
{
    (void)dev;
    if (q->desc % 16 || q->driver % 4 || q->device % 4) /* 2.8: any size, areas aligned */
        return false;
    virtio_done(q, 0, 1, 0, 1);
    q->ahead = q->told = 0;
    q->ahead_wrap = q->told_wrap = 1;
    return true;
}

static bool lost(struct mmioshim_device *dev)
{
    virtio_break(dev, "a descriptor ring is not in RAM");
    return false;
}

static bool store(struct mmioshim_device *dev, u64 addr, const void *buf, size_t n)
{
    return dev->host->dma_store(dev, addr, buf, n) || lost(dev);
}

/* Goes on by n places of the ring, around its end. */
static void advance(const struct virtio_queue *q, u16 *place, u16 *wrap, u16 n)
{
    u32 sum = (u32)*place + n;

    if (sum >= q->size) {
        sum -= q->size;
        *wrap ^= 1;
    }
    *place = (u16)sum;
}

/* 2.8.1: made available when AVAIL is the wrap counter and USED is not. */
static bool available(u16 flags, u16 wrap)
{
    return !!(flags & AVAIL) == wrap && !!(flags & USED) != wrap;
}

/* "... the device MUST ignore ... NEXT" in an indirect table: all of it is the chain, 2.8.8 */
static bool walk_table(struct mmioshim_device *dev, const struct virtio_queue *q, const struct descriptor *of,
                       struct virtio_chain *chain)
{
    struct virtio_area table = virtio_area(dev, of->addr, of->length);
    struct descriptor d;

    if (!virtio_accepted(virtio_of(dev), VIRTIO_F_INDIRECT_DESC) || (of->flags & VIRTIO_DESC_NEXT) || !of->length ||
        of->length % 16) {
        virtio_break(dev, "an indirect descriptor that must not be");
        return false;
    }
    for (u32 i = 0; i < of->length / 16; i++) {
        if (!virtio_fetch(dev, &table, 16ull * i, &d, sizeof(d)))
            return lost(dev);
        if (d.flags & VIRTIO_DESC_INDIRECT) {
            virtio_break(dev, "an indirect table inside another");
            return false;
        }
        if (!virtio_add(dev, q, chain, d.addr, d.length, d.flags & VIRTIO_DESC_WRITE))
            return false;
    }
    return true;
}

static bool add(struct mmioshim_device *dev, struct virtio_queue *q, const struct descriptor *d, struct virtio_chain *chain)
{
    advance(q, &q->ahead, &q->ahead_wrap, 1);
    chain->places++;
    chain->id = d->id; /* that of the last one counts, 2.8.6 */
    if (d->flags & VIRTIO_DESC_INDIRECT)
        return walk_table(dev, q, d, chain);
    return virtio_add(dev, q, chain, d->addr, d->length, d->flags & VIRTIO_DESC_WRITE);
}

/*
 * The first descriptor of a chain becomes available last (2.8.16), so the rest are there, whatever their flags say. As
 * many as the ring has places is all there can be.
 */
static bool packed_pop(struct mmioshim_device *dev, struct virtio_queue *q, struct virtio_chain *chain)
{
    struct virtio_area ring = virtio_area(dev, q->desc, 16ull * q->size);
    struct descriptor d;
    u16 flags;

    if (!virtio_fetch(dev, &ring, 16ull * q->ahead + FLAGS_AT, &flags, sizeof(flags)))
        return lost(dev);
    if (!available(flags, q->ahead_wrap))
        return false;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    do {
        if (chain->places == q->size) {
            virtio_break(dev, "a chain that has no end");
            return false;
        }
        if (!virtio_fetch(dev, &ring, 16ull * q->ahead, &d, sizeof(d)))
            return lost(dev);
        if (!add(dev, q, &d, chain))
            return false;
    } while (d.flags & VIRTIO_DESC_NEXT);
    return true;
}

/* 2.8.1, 2.8.6: one used descriptor for the whole chain; both bits are the wrap counter. Flags are written last. */
static bool put_used(struct mmioshim_device *dev, const struct virtio_queue *q, u16 place, u16 wrap,
                     const struct virtio_end *end)
{
    u64 at = q->desc + 16ull * place;
    u16 flags = (u16)((wrap ? AVAIL | USED : 0) | (end->places & END_IN ? VIRTIO_DESC_WRITE : 0));

    if (!store(dev, at + 8, &end->written, 4) || !store(dev, at + 12, &end->id, 2))
        return false;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    return store(dev, at + FLAGS_AT, &flags, sizeof(flags));
}

/* The first of several is written last: a driver that has not seen it looks at no other. */
static void packed_push(struct mmioshim_device *dev, struct virtio_queue *q, const struct virtio_end *ends, unsigned n)
{
    u16 used = q->used, wrap = q->used_wrap, next = q->next, next_wrap = q->next_wrap;

    for (unsigned i = 0; i < n; i++) {
        if (i && !put_used(dev, q, used, wrap, &ends[i]))
            return;
        advance(q, &used, &wrap, ends[i].places & END_PLACES);
        advance(q, &next, &next_wrap, ends[i].places & END_PLACES);
    }
    if (put_used(dev, q, q->used, q->used_wrap, &ends[0]))
        virtio_done(q, next, next_wrap, used, wrap);
}

/* Places are numbers that run on, so that before, place and now can be compared: those of the other wrap lie behind. */
static bool passed(const struct virtio_queue *q, u16 place, u16 place_wrap, u16 before, u16 before_wrap)
{
    u16 now = q->used, event = place;
    u16 size = q->size;

    /* All as distances behind `now`, which is in [0, 2 * size): the ring is used once around at most between two looks. */
    u16 since = (u16)(before_wrap == q->used_wrap ? now - before : now + size - before);
    u16 ago = (u16)(place_wrap == q->used_wrap ? now - event : now + size - event);

    return ago > 0 && ago <= since && event < size;
}

static void packed_quiet(struct mmioshim_device *dev, struct virtio_queue *q, bool on)
{
    struct suppression s = {0, on ? EVENTS_DISABLE : EVENTS_ENABLE};

    store(dev, q->device, &s, sizeof(s));
}

static bool packed_wants(struct mmioshim_device *dev, struct virtio_queue *q)
{
    u16 before = q->told, before_wrap = q->told_wrap;
    struct suppression s;

    if (before == q->used && before_wrap == q->used_wrap)
        return false;
    if (!dev->host->dma_fetch(dev, q->driver, &s, sizeof(s)))
        return lost(dev);
    switch (s.flags & 3) {
    case EVENTS_DISABLE:
        return false;
    case EVENTS_PLACE: /* with the feature only, 2.8.14 */
        return !virtio_accepted(virtio_of(dev), VIRTIO_F_EVENT_IDX) ||
               passed(q, s.place & 0x7fff, s.place >> 15, before, before_wrap);
    default:
        return true;
    }
}

const struct virtio_ring virtio_packed = {packed_enable, packed_pop, packed_push, packed_quiet, packed_wants};
