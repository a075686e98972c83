/* Frames on their way from the driver: out of its buffers. Source: VIRTIO 1.2, 5.1.6.2. */
#include "virtio/net.h"

#include "base/mem.h"

#include "base/trapsafe.h"

/* What the driver gets back from itself keeps what it takes undone. */
static bool passes(const struct mmioshim_device *dev, const struct net_header *h)
{
    u64 takes = net_of(dev)->offloads & virtio_of(dev)->accepted;
    u64 needs = NET_GUEST_CSUM;

    if (h->gso_type != NET_GSO_NONE)
        needs |= (h->gso_type & ~NET_GSO_ECN) == NET_GSO_TCPV4 ? NET_GUEST_TSO4 : NET_GUEST_TSO6;
    if (h->gso_type & NET_GSO_ECN)
        needs |= NET_GUEST_ECN;
    return !(needs & ~takes);
}

static void loop_back(struct mmioshim_device *dev, const struct net_header *h, const u8 *frame, u32 n, unsigned pair)
{
    struct net_header back = {.num_buffers = 1};

    if (h) {
        back = *h;
        back.num_buffers = 1;
    }
    if (net_wants(dev, frame, n) && !net_deliver(dev, pair, &back, frame, n))
        net_lose(dev, "no buffer");
}

/* 0, or -EAGAIN: the host end takes none now. */
static int send_frame(struct mmioshim_device *dev, const u8 *frame, u32 n, unsigned pair)
{
    int ret;

    if (net_of(dev)->end == NET_END_LOOPBACK) {
        loop_back(dev, NULL, frame, n, pair);
        return 0;
    }
    ret = dev->host->packet_send(dev, frame, n);
    if (ret && ret != MMIOSHIM_LATER)
        net_lose(dev, "the host end failed");
    return ret == MMIOSHIM_LATER ? ret : 0;
}

/* Frames that were sent count as requests: nobody keeps the card busy for ever. */
static int send_cut(struct mmioshim_device *dev, const struct net_header *h, u8 *large, u32 n, unsigned pair)
{
    struct virtio *v = virtio_of(dev);
    u8 *frame = large + NET_LARGE;
    struct net_cut cut;
    u32 length;
    int ret;

    if (!net_cut_begin(&cut, h, large, n, net_frame_max(net_of(dev)))) {
        net_lose(dev, "it cannot be cut as its header says");
        return 0;
    }
    while ((length = net_cut_next(&cut, frame))) {
        ret = send_frame(dev, frame, length, pair);
        if (ret == MMIOSHIM_LATER && cut.number == 1)
            return ret;
        if (ret)
            net_lose(dev, "the host end takes no more");
        v->left -= v->left > 1;
    }
    return 0;
}

/* A frame as it is sent, its header good. */
static int send(struct mmioshim_device *dev, const struct net_header *h, u8 *frame, u32 n, unsigned pair)
{
    bool undone = h->gso_type != NET_GSO_NONE || (h->flags & NET_NEEDS_CSUM);

    if (net_of(dev)->end != NET_END_LOOPBACK)
        net_learn(dev, frame, n, pair);
    if (unlikely(undone)) {
        if (net_of(dev)->end == NET_END_LOOPBACK && passes(dev, h)) {
            loop_back(dev, h, frame, n, pair);
            return 0;
        }
        if (h->gso_type != NET_GSO_NONE)
            return send_cut(dev, h, frame, n, pair);
        net_checksum(h, frame, n);
    }
    return send_frame(dev, frame, n, pair);
}

/* A tap takes what is undone with its header, and looks at it itself. */
static int send_undone(struct mmioshim_device *dev, const struct net_header *h, u8 *buffer, u32 n, unsigned pair)
{
    net_learn(dev, buffer + sizeof(*h), n, pair);
    memcpy(buffer, h, sizeof(*h));
    return send_frame(dev, buffer, (u32)sizeof(*h) + n, pair);
}

/* 0, or MMIOSHIM_LATER: it stays where it is. */
static int transmit(struct mmioshim_device *dev, const struct virtio_chain *chain, u8 *buffer, unsigned pair)
{
    bool tap = net_of(dev)->end == NET_END_TAP;
    u32 header = net_header_size(dev), most = net_frame_max(net_of(dev)), n;
    u8 *frame = buffer + sizeof(struct net_header) * tap;
    struct virtio_cursor out = virtio_out(chain);
    struct net_header h = {.num_buffers = 0};

    if (chain->out_length < header + NET_FRAME_MIN || chain->out_length > header + NET_LARGE ||
        !virtio_take(dev, &out, &h, header)) {
        net_lose(dev, "it is none");
        return 0;
    }
    n = (u32)chain->out_length - header;
    if (!net_header_good(dev, &h, n) || (h.gso_type == NET_GSO_NONE && n > most) || !virtio_take(dev, &out, frame, n)) {
        net_lose(dev, "its header is wrong");
        return 0;
    }
    return tap ? send_undone(dev, &h, buffer, n, pair) : send(dev, &h, frame, n, pair);
}

void net_transmit(struct mmioshim_device *dev, unsigned queue)
{
    u8 *buffer = net_buffer(dev);
    struct virtio_chain chain;

    while (buffer && virtio_pop(dev, queue, &chain)) {
        if (transmit(dev, &chain, buffer, queue / 2) == MMIOSHIM_LATER) {
            virtio_put_back(dev, queue);
            virtio_again(dev, queue);
            break;
        }
        virtio_push(dev, queue, &chain, 0);
    }
    virtio_signal(dev, queue);
}
