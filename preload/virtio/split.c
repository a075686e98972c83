/* Split virtqueues. Source: VIRTIO 1.2, 2.7. */
#include "virtio/virtio.h"

#include "base/trapsafe.h"

struct descriptor { /* 2.7.5 */
    u64 addr;
    u32 length;
    u16 flags;
    u16 next;
};

/* Places in the driver area (2.7.6) and the device area (2.7.8). */
enum { RING_FLAGS = 0, RING_INDEX = 2, RING_ENTRIES = 4 };
enum { NO_INTERRUPT = 1, NO_NOTIFY = 1 };

/* Of a running index: sizes are powers of 2. */
static u16 place(const struct virtio_queue *q, u16 index)
{
    return index & (u16)(q->size - 1);
}

static u64 used_event(const struct virtio_queue *q)
{
    return q->driver + RING_ENTRIES + 2ull * q->size;
}

static u64 avail_event(const struct virtio_queue *q)
{
    return q->device + RING_ENTRIES + 8ull * q->size;
}

/* Sizes are powers of 2, and areas aligned, 2.7. */
static bool split_enable(struct mmioshim_device *dev, struct virtio_queue *q)
{
    (void)dev;
    if (q->size & (q->size - 1) || q->desc % 16 || q->driver % 2 || q->device % 4)
        return false;
    q->done = 0;
    q->ahead = q->told = 0;
    return true;
}

static bool lost(struct mmioshim_device *dev)
{
    virtio_break(dev, "a ring or a descriptor table is not in RAM");
    return false;
}

static bool fetch(struct mmioshim_device *dev, u64 addr, u16 *word)
{
    return dev->host->dma_fetch(dev, addr, word, sizeof(*word)) || lost(dev);
}

static bool store(struct mmioshim_device *dev, u64 addr, const void *buf, size_t n)
{
    return dev->host->dma_store(dev, addr, buf, n) || lost(dev);
}

/* 2.7.5.3: not without the feature, not inside another, not with NEXT; a table of whole descriptors */
static bool indirect_good(const struct mmioshim_device *dev, const struct descriptor *d, bool indirect)
{
    return !indirect && virtio_accepted(virtio_of(dev), VIRTIO_F_INDIRECT_DESC) && !(d->flags & VIRTIO_DESC_NEXT) && d->length &&
           d->length % 16 == 0;
}

/* Table of `count` descriptors from `first` on: that of the queue, or an indirect one. */
static bool walk(struct mmioshim_device *dev, const struct virtio_queue *q, u64 table, u32 count, u16 first, bool indirect,
                 struct virtio_chain *chain)
{
    struct virtio_area area = virtio_area(dev, table, 16ull * count);
    struct descriptor d;
    u16 at = first;

    /* A loop makes a chain longer than its table. */
    for (u32 steps = 0; steps < count; steps++, at = d.next) {
        if (at >= count) {
            virtio_break(dev, "a descriptor's number is outside its table");
            return false;
        }
        if (!virtio_fetch(dev, &area, 16ull * at, &d, sizeof(d)))
            return lost(dev);
        if (d.flags & VIRTIO_DESC_INDIRECT) {
            if (!indirect_good(dev, &d, indirect)) {
                virtio_break(dev, "an indirect descriptor that must not be");
                return false;
            }
            return walk(dev, q, d.addr, d.length / 16, 0, true, chain);
        }
        if (!virtio_add(dev, q, chain, d.addr, d.length, d.flags & VIRTIO_DESC_WRITE))
            return false;
        if (!(d.flags & VIRTIO_DESC_NEXT))
            return true;
    }
    virtio_break(dev, "a chain that has no end");
    return false;
}

/* Is anything in the available ring? Where the driver asks for it, it is told from where on to notify (2.7.10). */
static bool look(struct mmioshim_device *dev, const struct virtio_queue *q, const struct virtio_area *ring, u16 *count)
{
    bool events = virtio_accepted(virtio_of(dev), VIRTIO_F_EVENT_IDX);
    u16 index;

    if (!virtio_fetch(dev, ring, RING_INDEX, &index, sizeof(index)))
        return lost(dev);
    if (index == q->ahead && events && !virtio_quiet(virtio_of(dev), q)) {
        if (!store(dev, avail_event(q), &q->ahead, sizeof(q->ahead)))
            return false;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (!virtio_fetch(dev, ring, RING_INDEX, &index, sizeof(index)))
            return lost(dev);
    }
    *count = (u16)(index - q->ahead);
    return true;
}

static bool split_pop(struct mmioshim_device *dev, struct virtio_queue *q, struct virtio_chain *chain)
{
    struct virtio_area ring = virtio_area(dev, q->driver, RING_ENTRIES + 2ull * q->size);
    u16 count, head;

    if (!look(dev, q, &ring, &count) || !count)
        return false;
    if (count > q->size) {
        virtio_break(dev, "more is available than fits the queue");
        return false;
    }
    if (!virtio_fetch(dev, &ring, RING_ENTRIES + 2ull * place(q, q->ahead), &head, sizeof(head)))
        return lost(dev);
    chain->id = head;
    q->ahead++;
    return walk(dev, q, q->desc, q->size, head, false, chain);
}

static bool put_used(struct mmioshim_device *dev, const struct virtio_queue *q, u16 index, const struct virtio_end *end)
{
    struct {
        u32 id, length;
    } entry = {end->id, end->written}; /* 2.7.8 */

    return store(dev, q->device + RING_ENTRIES + 8ull * place(q, index), &entry, sizeof(entry));
}

static void split_push(struct mmioshim_device *dev, struct virtio_queue *q, const struct virtio_end *ends, unsigned n)
{
    u16 index = (u16)(q->used + n);

    for (unsigned i = 0; i < n; i++)
        if (!put_used(dev, q, (u16)(q->used + i), &ends[i]))
            return;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    if (store(dev, q->device + RING_INDEX, &index, sizeof(index)))
        virtio_done(q, (u16)(q->next + n), 0, index, 0);
}

/* With the event index the driver is to ignore the flags (2.7.10): there it is the index that stays where it was. */
static void split_quiet(struct mmioshim_device *dev, struct virtio_queue *q, bool on)
{
    u16 flags = on ? NO_NOTIFY : 0;

    store(dev, q->device + RING_FLAGS, &flags, sizeof(flags));
}

static bool split_wants(struct mmioshim_device *dev, struct virtio_queue *q)
{
    u16 before = q->told, now = q->used, word;

    if (before == now)
        return false;
    if (!virtio_accepted(virtio_of(dev), VIRTIO_F_EVENT_IDX))
        return fetch(dev, q->driver + RING_FLAGS, &word) && !(word & NO_INTERRUPT);
    /* "... when it writes a used ring index that is one behind used_event", 2.7.7.2 */
    return fetch(dev, used_event(q), &word) && (u16)(now - word - 1) < (u16)(now - before);
}

const struct virtio_ring virtio_split = {split_enable, split_pop, split_push, split_quiet, split_wants};
