/* What split and packed queues have in common: chains, and the bytes in them. */
#include "virtio/virtio.h"

#include "base/mem.h"

#include "base/trapsafe.h"

_Static_assert(sizeof(struct virtio_end) == 8, "one store");

static const struct virtio_ring *ring_of(const struct virtio *v)
{
    return virtio_accepted(v, VIRTIO_F_RING_PACKED) ? &virtio_packed : &virtio_split;
}

bool virtio_enable(struct mmioshim_device *dev, unsigned queue)
{
    struct virtio *v = virtio_of(dev);
    struct virtio_queue *q = &v->queues[queue];

    if (!(v->status & VIRTIO_FEATURES_OK || v->legacy) || !q->size || q->size > VIRTIO_QUEUE_MAX || !ring_of(v)->enable(dev, q))
        return false;
    v->quiet &= ~(1u << queue);
    q->ready = 1;
    return true;
}

/* 2.7.2: descriptors, the available ring with used_event, and at the next multiple of the alignment the used ring */
bool virtio_enable_legacy(struct mmioshim_device *dev, unsigned queue, u64 page)
{
    struct virtio_queue *q = &virtio_of(dev)->queues[queue];
    u64 end = page + 16ull * q->size + 2ull * (3 + q->size);

    if (!q->align || (q->align & (q->align - 1)))
        return false;
    q->desc = page;
    q->driver = page + 16ull * q->size;
    q->device = (end + q->align - 1) & ~(u64)(q->align - 1);
    return virtio_enable(dev, queue);
}

bool virtio_pop(struct mmioshim_device *dev, unsigned queue, struct virtio_chain *chain)
{
    struct virtio *v = virtio_of(dev);
    struct virtio_queue *q = &v->queues[queue];

    if (!q->ready || !virtio_live(v) || !v->left)
        return false;
    v->left--;
    chain->out = chain->in = chain->places = 0;
    chain->out_length = chain->in_length = 0;
    return ring_of(v)->pop(dev, q, chain);
}

struct virtio_end virtio_end_of(const struct virtio_chain *chain, u32 written)
{
    return (struct virtio_end){written, chain->id, (u16)(chain->places | (chain->in ? END_IN : 0))};
}

void virtio_push(struct mmioshim_device *dev, unsigned queue, const struct virtio_chain *chain, u32 written)
{
    virtio_push_end(dev, queue, virtio_end_of(chain, written));
}

void virtio_push_end(struct mmioshim_device *dev, unsigned queue, struct virtio_end end)
{
    struct virtio *v = virtio_of(dev);
    struct virtio_queue *q = &v->queues[queue];

    if (!virtio_live(v))
        return;
    memcpy(&q->ending, &end, sizeof(end));
    __atomic_store_n(&q->ending_for, ~q->done, __ATOMIC_RELEASE);
    ring_of(v)->push(dev, q, &end, 1);
    __atomic_store_n(&q->ending_for, 0, __ATOMIC_RELEASE);
}

void virtio_push_together(struct mmioshim_device *dev, unsigned queue, const struct virtio_end *ends, unsigned n)
{
    struct virtio *v = virtio_of(dev);
    struct virtio_queue *q = &v->queues[queue];

    if (!virtio_live(v))
        return;
    memcpy(v->together, ends, n * sizeof(*ends));
    q->together = n;
    __atomic_store_n(&q->ending_for, ~q->done, __ATOMIC_RELEASE);
    ring_of(v)->push(dev, q, ends, n);
    __atomic_store_n(&q->ending_for, 0, __ATOMIC_RELEASE);
    q->together = 0;
}

void virtio_put_back(struct mmioshim_device *dev, unsigned queue)
{
    struct virtio_queue *q = &virtio_of(dev)->queues[queue];

    q->ahead = q->next;
    q->ahead_wrap = q->next_wrap;
}

void virtio_recover(struct mmioshim_device *dev)
{
    struct virtio *v = virtio_of(dev);

    for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
        struct virtio_queue *q = &v->queues[i];
        struct virtio_end end;

        if (unlikely(q->ready && q->ending_for == ~q->done)) {
            memcpy(&end, &q->ending, sizeof(end));
            ring_of(v)->push(dev, q, q->together ? v->together : &end, q->together ? q->together : 1);
        }
        q->ending_for = 0;
        q->together = 0;
        virtio_put_back(dev, i);
    }
}

void virtio_hush(struct mmioshim_device *dev, bool on)
{
    struct virtio *v = virtio_of(dev);

    for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
        struct virtio_queue *q = &v->queues[i];

        if (!q->ready || virtio_quiet(v, q) == on || !virtio_live(v))
            continue;
        v->quiet ^= 1u << i;
        ring_of(v)->quiet(dev, q, on);
    }
    /* What the driver makes available from here on it notifies of, and what it did before is seen. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void virtio_signal(struct mmioshim_device *dev, unsigned queue)
{
    struct virtio *v = virtio_of(dev);
    struct virtio_queue *q = &v->queues[queue];

    /* The used entries must be seen before the driver's wish is looked at, 2.7.10 and 2.8.10. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!virtio_live(v))
        return;
    if (ring_of(v)->wants(dev, q)) {
        v->isr |= VIRTIO_ISR_USED;
        v->signals |= 1u << queue;
    }
    q->told = q->used; /* last: an interrupt may come twice, but not never */
    q->told_wrap = q->used_wrap;
}

/* --- the bytes of a chain --- */

struct virtio_cursor virtio_out(const struct virtio_chain *chain)
{
    return (struct virtio_cursor){chain->segments, chain->out, 0};
}

struct virtio_cursor virtio_in(const struct virtio_chain *chain)
{
    return (struct virtio_cursor){chain->segments + chain->out, chain->in, 0};
}

struct virtio_segment virtio_next(struct virtio_cursor *c, u64 most)
{
    struct virtio_segment piece = {0, 0};

    while (c->left && c->offset == c->segment->length) {
        c->segment++;
        c->left--;
        c->offset = 0;
    }
    if (!c->left || !most)
        return piece;
    piece.addr = c->segment->addr + c->offset;
    piece.length = (u32)MIN(c->segment->length - c->offset, most);
    c->offset += piece.length;
    return piece;
}

u64 virtio_in_last(const struct virtio_chain *chain)
{
    const struct virtio_segment *s = &chain->segments[chain->out + chain->in - 1];

    while (!s->length)
        s--;
    return s->addr + (s->length - 1);
}

void virtio_skip(struct virtio_cursor *c, u64 n)
{
    for (struct virtio_segment piece; n && (piece = virtio_next(c, n)).length; n -= piece.length)
        ;
}

bool virtio_take(struct mmioshim_device *dev, struct virtio_cursor *c, void *buf, size_t n)
{
    u8 *to = buf;

    while (n) {
        struct virtio_segment piece = virtio_next(c, n);

        if (!piece.length || !dev->host->dma_read(dev, piece.addr, to, piece.length))
            return false;
        to += piece.length;
        n -= piece.length;
    }
    return true;
}

bool virtio_put(struct mmioshim_device *dev, struct virtio_cursor *c, const void *buf, size_t n)
{
    const u8 *from = buf;

    while (n) {
        struct virtio_segment piece = virtio_next(c, n);

        if (!piece.length || !dev->host->dma_write(dev, piece.addr, from, piece.length))
            return false;
        from += piece.length;
        n -= piece.length;
    }
    return true;
}
