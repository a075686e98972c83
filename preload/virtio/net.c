/*
 * virtio-net: an Ethernet card. Source: VIRTIO 1.2, 5.1. Features beyond the
 * wire are offered where they are kept: checksums and large segments that the
 * driver leaves to the card are done here in software (net_offload.c), unless
 * the other side takes them undone: the driver itself in a loopback, and a tap.
 *
 * What arrives while the driver has no buffer for it is lost in a loopback, as
 * on a wire; other host ends keep it until there is one, as long as one queue
 * receives it all.
 */
#include "virtio/net.h"

#include "base/debug.h"
#include "base/mem.h"

#include "base/trapsafe.h"

struct config { /* 5.1.4 */
    u8 mac[6];
    u16 status, max_virtqueue_pairs, mtu;
};

_Static_assert(sizeof(struct net_header) == 12, "5.1.6");

/* 5.1.6.1: num_buffers is there with VERSION_1, and in a legacy device with MRG_RXBUF. */
static u32 header_size(const struct mmioshim_device *dev)
{
    return net_has(dev, VIRTIO_F_VERSION_1 | NET_MRG_RXBUF) ? sizeof(struct net_header) : offsetof(struct net_header, num_buffers);
}

/* A buffer of this process for one large frame, and one on the wire behind it; NULL: there is no memory. */
static u8 *frame_buffer(struct mmioshim_device *dev)
{
    size_t size;
    u8 *buffer = dev->host->packet_buffer(dev, &size);

    return size >= sizeof(struct net_header) + NET_LARGE + NET_MTU_MAX + NET_OVERHEAD ? buffer : NULL;
}

static void lose(struct mmioshim_device *dev, const char *why)
{
    net_of(dev)->lost++;
    debug(VIRTIO, 2, "%s: a frame is lost: %s", dev->name, why);
}

/* --- receive --- */

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
    lose(p->dev, why);
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

/* A frame into the next buffers of the driver. False: it has none, and nothing happened. */
static bool deliver(struct mmioshim_device *dev, unsigned pair, const struct net_header *h, const u8 *frame, u32 n)
{
    u32 header = header_size(dev);
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
    if (deliver(dev, net_steer(dev, frame, n), h, frame, n))
        return true;
    if (net_of(dev)->active <= 1)
        return false;
    lose(dev, "its queue has no buffer");
    return true;
}

/* What waits in the host end, as long as there are buffers for it. True: there may be more, later. */
static bool receive(struct mmioshim_device *dev)
{
    struct net *net = net_of(dev);
    u32 header = net->end == NET_END_TAP ? sizeof(struct net_header) : 0;
    u8 *buffer = frame_buffer(dev);
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

/* --- transmit --- */

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
    if (net_wants(dev, frame, n) && !deliver(dev, pair, &back, frame, n))
        lose(dev, "no buffer");
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
        lose(dev, "the host end failed");
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
        lose(dev, "it cannot be cut as its header says");
        return 0;
    }
    while ((length = net_cut_next(&cut, frame))) {
        ret = send_frame(dev, frame, length, pair);
        if (ret == MMIOSHIM_LATER && cut.number == 1)
            return ret;
        if (ret)
            lose(dev, "the host end takes no more");
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
    u32 header = header_size(dev), most = net_frame_max(net_of(dev)), n;
    u8 *frame = buffer + sizeof(struct net_header) * tap;
    struct virtio_cursor out = virtio_out(chain);
    struct net_header h = {.num_buffers = 0};

    if (chain->out_length < header + NET_FRAME_MIN || chain->out_length > header + NET_LARGE ||
        !virtio_take(dev, &out, &h, header)) {
        lose(dev, "it is none");
        return 0;
    }
    n = (u32)chain->out_length - header;
    if (!net_header_good(dev, &h, n) || (h.gso_type == NET_GSO_NONE && n > most) || !virtio_take(dev, &out, frame, n)) {
        lose(dev, "its header is wrong");
        return 0;
    }
    return tap ? send_undone(dev, &h, buffer, n, pair) : send(dev, &h, frame, n, pair);
}

static void transmit_all(struct mmioshim_device *dev, unsigned queue)
{
    u8 *buffer = frame_buffer(dev);
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

/* --- queues --- */

/* A pair that the driver does not use is silent (5.1.6.5.5). */
static bool in_use(const struct mmioshim_device *dev, unsigned queue)
{
    return queue / 2 < net_of(dev)->active;
}

static void signal_received(struct mmioshim_device *dev)
{
    for (unsigned pair = 0; pair < net_of(dev)->active; pair++)
        if (virtio_of(dev)->queues[2 * pair].ready)
            virtio_signal(dev, 2 * pair);
}

static void control(struct mmioshim_device *dev, unsigned queue)
{
    struct virtio_chain chain;

    while (virtio_pop(dev, queue, &chain)) {
        u8 ack = net_command(dev, &chain) ? 0 : 1; /* VIRTIO_NET_OK, VIRTIO_NET_ERR */
        struct virtio_cursor in = virtio_in(&chain);

        virtio_push(dev, queue, &chain, virtio_put(dev, &in, &ack, 1));
    }
    virtio_signal(dev, queue);
}

/* As TUN_F_CSUM and so on: what the driver takes undone now. */
static unsigned undone(const struct mmioshim_device *dev)
{
    u64 takes = virtio_live(virtio_of(dev)) ? net_of(dev)->offloads & virtio_of(dev)->accepted : 0;

    return (takes & NET_GUEST_CSUM ? MMIOSHIM_UNDONE_CSUM : 0) | (takes & NET_GUEST_TSO4 ? MMIOSHIM_UNDONE_TSO4 : 0) |
           (takes & NET_GUEST_TSO6 ? MMIOSHIM_UNDONE_TSO6 : 0) | (takes & NET_GUEST_ECN ? MMIOSHIM_UNDONE_ECN : 0);
}

/* Who the driver talks to may be another than before: it is asked to announce itself (5.1.6.5.4). */
static void tell_link(struct mmioshim_device *dev)
{
    struct net *net = net_of(dev);
    bool up = dev->host->packet_link(dev);

    if (up == !!(net->status & NET_LINK_UP))
        return;
    net->status ^= NET_LINK_UP;
    if (up && net->linked && net_has(dev, NET_GUEST_ANNOUNCE))
        net->status |= NET_ANNOUNCE;
    net->linked |= !up;
    if (net_has(dev, NET_STATUS))
        virtio_config_changed(dev);
}

/* Where the host end is in the worker's hands, this is what the worker comes for. */
static void net_attend(struct mmioshim_device *dev)
{
    struct virtio *v = virtio_of(dev);

    if (net_of(dev)->end < NET_END_STREAM || !dev->host->packet_here(dev))
        return;
    tell_link(dev);
    dev->host->packet_offload(dev, undone(dev));
    if (virtio_live(v) && v->queues[0].ready)
        v->notified |= 1; /* something may have come in */
}

static void net_notify(struct mmioshim_device *dev, unsigned queue)
{
    if (net_has(dev, NET_CTRL_VQ) && queue == net_control_queue(dev)) {
        control(dev, queue);
        return;
    }
    if (!in_use(dev, queue))
        return;
    if (net_of(dev)->end >= NET_END_STREAM && !dev->host->packet_here(dev)) {
        virtio_again(dev, queue);
        dev->host->wake(dev);
        return;
    }
    if (queue % 2)
        transmit_all(dev, queue);
    else if (net_of(dev)->end != NET_END_LOOPBACK && receive(dev) && net_of(dev)->end >= NET_END_STREAM)
        dev->host->wake_on_input(dev);
    signal_received(dev);
}

/* 5.1.2: the control queue is there with CTRL_VQ, pairs beyond the first with MQ. */
static unsigned net_queues(const struct mmioshim_device *dev)
{
    return net_control_queue(dev) + net_has(dev, NET_CTRL_VQ);
}

/* --- features and configuration --- */

static u64 net_features(const struct mmioshim_device *dev)
{
    const struct net *net = net_of(dev);
    u64 features = NET_CSUM | NET_MAC | NET_HOST_TSO4 | NET_HOST_TSO6 | NET_HOST_ECN | NET_MRG_RXBUF | NET_STATUS |
                   NET_CTRL_VQ | NET_CTRL_RX | NET_CTRL_VLAN | NET_CTRL_RX_EXTRA | NET_CTRL_MAC_ADDR;

    if (net->end == NET_END_LOOPBACK || net->end == NET_END_TAP)
        features |= NET_GUEST | NET_GUEST_OFFLOADS;
    if (net->end == NET_END_STREAM) /* what it is connected to may become another */
        features |= NET_GUEST_ANNOUNCE;
    return features | (net->mtu ? NET_MTU : 0) | (net->pairs > 1 ? NET_MQ : 0);
}

/* Does each of these come with that other one? */
static bool with(u64 features, u64 which, u64 other)
{
    return !(features & which) || (features & other);
}

/* 5.1.3.1: bit requirements */
static bool net_agrees(const struct mmioshim_device *dev, u64 features)
{
    (void)dev;
    return with(features, NET_GUEST_TSO4 | NET_GUEST_TSO6, NET_GUEST_CSUM) &&
           with(features, NET_GUEST_ECN, NET_GUEST_TSO4 | NET_GUEST_TSO6) &&
           with(features, NET_HOST_TSO4 | NET_HOST_TSO6, NET_CSUM) &&
           with(features, NET_HOST_ECN, NET_HOST_TSO4 | NET_HOST_TSO6) &&
           with(features, NET_CTRL_RX | NET_CTRL_VLAN | NET_MQ | NET_CTRL_MAC_ADDR | NET_GUEST_ANNOUNCE, NET_CTRL_VQ) &&
           with(features, NET_CTRL_RX_EXTRA, NET_CTRL_VQ);
}

static void net_config(struct mmioshim_device *dev, u8 *space)
{
    const struct net *net = net_of(dev);
    struct config c = {.status = net->status, .max_virtqueue_pairs = net->pairs > 1 ? net->pairs : 0, .mtu = net->mtu};

    memcpy(c.mac, net->mac, sizeof(c.mac));
    memcpy(space, &c, sizeof(c));
}

const struct virtio_type virtio_net = {
    .id = VIRTIO_ID_NET,
    .nqueues = 2 * NET_PAIRS + 1,
    .queues = net_queues,
    .config_size = sizeof(struct config),
    .name = "net",
    .plug = net_plug,
    .features = net_features,
    .agrees = net_agrees,
    .valid = net_valid,
    .reset = net_forget,
    .config = net_config,
    .notify = net_notify,
    .attend = net_attend,
};
