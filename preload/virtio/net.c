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

u32 net_header_size(const struct mmioshim_device *dev)
{
    return net_has(dev, VIRTIO_F_VERSION_1 | NET_MRG_RXBUF) ? sizeof(struct net_header) : offsetof(struct net_header, num_buffers);
}

u8 *net_buffer(struct mmioshim_device *dev)
{
    size_t size;
    u8 *buffer = dev->host->packet_buffer(dev, &size);

    return size >= sizeof(struct net_header) + NET_LARGE + NET_MTU_MAX + NET_OVERHEAD ? buffer : NULL;
}

void net_lose(struct mmioshim_device *dev, const char *why)
{
    net_of(dev)->lost++;
    debug(VIRTIO, 2, "%s: a frame is lost: %s", dev->name, why);
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
        net_transmit(dev, queue);
    else if (net_of(dev)->end != NET_END_LOOPBACK && net_receive(dev) && net_of(dev)->end >= NET_END_STREAM)
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
