/* Frames on their way to the driver: into its buffers. Source: VIRTIO 1.2, 5.1.6.3 and 5.1.6.4. */
#include "virtio/net.h"

#include "base/mem.h"

#include "base/trapsafe.h"

/* A frame that is being put into buffers. */
struct put {
    struct mmioshim_device *dev;
    unsigned queue;
    const u8 *frame;
    u32 left;
    unsigned n; /* of ends */
    struct virtio_end ends[NET_MERGED];
    struct virtio_chain first;
};

/* As much of it as fits. False: the buffer is not in RAM. */
static bool put_some(struct put *p, struct virtio_cursor *in, const struct virtio_chain *chain, u32 header)
{
    u32 n = (u32)MIN(chain->in_length - header, p->left);

    if (!virtio_put(p->dev, in, p->frame, n))
        return false;
    p->frame += n;
    p->left -= n;
    p->ends[p->n++] = virtio_end_of(chain, header + n);
    return true;
}

enum filled { FILLED, SHORT, BAD };

/* More buffers, each filled to its end (5.1.6.4.1). */
static enum filled put_rest(struct put *p)
{
    unsigned most = MIN(virtio_of(p->dev)->queues[p->queue].size, NET_MERGED);
    struct virtio_chain chain;

    while (p->left) {
        struct virtio_cursor in;

        if (p->n == most)
            return BAD;
        if (!virtio_pop(p->dev, p->queue, &chain))
            return virtio_live(virtio_of(p->dev)) ? SHORT : BAD;
        in = virtio_in(&chain);
        if (!put_some(p, &in, &chain, 0))
            return BAD;
    }
    return FILLED;
}

/* How many there are is known at last. */
static void put_number(struct put *p)
{
    struct virtio_cursor at = virtio_in(&p->first);
    u16 number = (u16)p->n;

    virtio_skip(&at, offsetof(struct net_header, num_buffers));
    virtio_put(p->dev, &at, &number, sizeof(number));
}

/* The frame is lost, and with it the first buffer: a driver gives buffers that are large enough for anything (5.1.6.3.1). */
static void spoil(struct put *p, const char *why)
{
    net_lose(p->dev, why);
    virtio_put_back(p->dev, p->queue);
    if (virtio_pop(p->dev, p->queue, &p->first))
        virtio_push(p->dev, p->queue, &p->first, 0);
}

/* Beyond the first buffer. False: it is to wait for more of them. */
static bool merge(struct put *p)
{
    switch (put_rest(p)) {
    case FILLED:
        put_number(p);
        virtio_push_together(p->dev, p->queue, p->ends, p->n);
        return true;
    case SHORT:
        virtio_put_back(p->dev, p->queue);
        return false;
    default:
        spoil(p, "too many buffers, or one that is not in RAM");
        return true;
    }
}

bool net_deliver(struct mmioshim_device *dev, unsigned pair, const struct net_header *h, const u8 *frame, u32 n)
{
    u32 header = net_header_size(dev);
    struct virtio_cursor in;
    struct put p; /* most of it is for large frames only, and left alone */

    p.dev = dev;
    p.queue = 2 * pair;
    p.frame = frame;
    p.left = n;
    p.n = 0;
    if (!virtio_pop(dev, p.queue, &p.first))
        return false;
    in = virtio_in(&p.first);
    if (p.first.in_length < header || !virtio_put(dev, &in, h, header) || !put_some(&p, &in, &p.first, header))
        spoil(&p, "no buffer");
    else if (likely(!p.left))
        virtio_push(dev, p.queue, &p.first, p.ends[0].written);
    else if (net_has(dev, NET_MRG_RXBUF))
        return merge(&p);
    else
        spoil(&p, "the buffer is too small");
    return true;
}

/* A frame that came in. False: it waits. Where it belongs to one of several queues it must not keep the others waiting. */
static bool take_in(struct mmioshim_device *dev, const struct net_header *h, const u8 *frame, u32 n)
{
    if (n < NET_FRAME_MIN || !net_wants(dev, frame, n))
        return true;
    if (net_deliver(dev, net_steer(dev, frame, n), h, frame, n))
        return true;
    if (net_of(dev)->active <= 1)
        return false;
    net_lose(dev, "its queue has no buffer");
    return true;
}

bool net_receive(struct mmioshim_device *dev)
{
    struct net *net = net_of(dev);
    u32 header = net->end == NET_END_TAP ? sizeof(struct net_header) : 0;
    u8 *buffer = net_buffer(dev);
    size_t room = header ? header + NET_LARGE : net_frame_max(net);

    while (buffer) {
        struct net_header h = {.num_buffers = 1};
        u64 position = net->position;
        size_t n = dev->host->packet_receive(dev, &position, buffer, room);

        if (!n)
            return true;
        memcpy(&h, buffer, MIN(header, n));
        h.num_buffers = 1;
        if (n > header && !take_in(dev, &h, buffer + header, (u32)n - header))
            return false;
        net->position = position;
    }
    return false;
}
