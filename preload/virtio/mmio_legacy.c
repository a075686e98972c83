#include "virtio/mmio_legacy.h"

#include "base/mem.h"

#include "base/trapsafe.h"

int legacy_register(u32 offset)
{
    switch (offset) {
    case VIRTIO_GUEST_PAGE_SIZE:
    case VIRTIO_QUEUE_ALIGN:
    case VIRTIO_QUEUE_PFN:
        return 1;
    case VIRTIO_QUEUE_READY:
        return 0;
    default:
        return offset >= VIRTIO_QUEUE_DESC_LOW ? 0 : -1;
    }
}

static enum mmioshim_status rule(bool kept)
{
    return kept ? MMIOSHIM_OK : MMIOSHIM_GUEST_BUG;
}

/* 4.2.4. The page number 0 is how a driver stops using a queue. */
enum mmioshim_status legacy_set_page(struct mmioshim_device *dev, u32 queue, u32 page)
{
    struct transport *t = dev->state;
    struct virtio_queue *q = &t->virtio.queues[queue];

    if (!page) {
        virtio_reset_queue(dev, queue);
        return MMIOSHIM_OK;
    }
    if (q->ready || !t->page_size)
        return MMIOSHIM_GUEST_BUG;
    return rule(virtio_enable_legacy(dev, queue, (u64)page * t->page_size));
}

bool legacy_ready(const struct virtio *v)
{
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
        if (v->queues[i].ready)
            return true;
    return false;
}

/* "This value MUST be a power of 2", of GuestPageSize and of QueueAlign. */
static enum mmioshim_status set_power(u32 *what, u32 value, bool in_use)
{
    if (in_use || !value || (value & (value - 1)))
        return MMIOSHIM_GUEST_BUG;
    *what = value;
    return MMIOSHIM_OK;
}

/* "... during initialization, before any queues are used". Kept over resets: drivers write it once, before those. */
enum mmioshim_status legacy_set_page_size(struct mmioshim_device *dev, u32 bytes)
{
    struct transport *t = dev->state;

    return set_power(&t->page_size, bytes, legacy_ready(&t->virtio));
}

enum mmioshim_status legacy_set_align(struct virtio_queue *q, u32 bytes)
{
    return set_power(&q->align, bytes, q->ready);
}

/* --- which version --- */

/* An attachment without its last option, if that is "legacy". False: it is another. */
static bool strip_legacy(const char *attachment, char *rest, size_t size)
{
    static const char option[] = ",legacy";
    size_t n = attachment ? strlen(attachment) : 0, m = sizeof(option) - 1;

    if (n < m || n - m >= size || strncmp(attachment + n - m, option, m) != 0)
        return false;
    memcpy(rest, attachment, n - m);
    rest[n - m] = 0;
    return true;
}

int legacy_plug(struct mmioshim_device *dev, const char *attachment, const char **why)
{
    struct virtio *v = virtio_of(dev);
    char rest[VIRTIO_END];
    const struct virtio_type *type;

    if (strip_legacy(attachment, rest, sizeof(rest))) {
        v->legacy = 1;
        attachment = rest;
    }
    if (virtio_plug(dev, attachment, why) < 0)
        return -1;
    type = virtio_type(v);
    *why = "it has no legacy interface";
    return v->legacy && type && type->modern ? -1 : 0;
}
