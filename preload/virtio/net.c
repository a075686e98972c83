/*
 * virtio-net: an Ethernet card with one pair of queues. Source: VIRTIO 1.2,
 * 5.1. It offers no offloads, so headers say nothing and frames are at most
 * 1514 bytes and a VLAN tag.
 *
 * What arrives while the driver has no buffer for it is lost in a loopback, as
 * on a wire; a capture file waits until there is one.
 */
#include "virtio/virtio.h"

#include "base/fmt.h"
#include "base/mem.h"

#include "base/trapsafe.h"

enum { RX, TX };

/* Feature bits, 5.1.3 */
enum { F_MAC = 1 << 5, F_STATUS = 1 << 16 };

enum { S_LINK_UP = 1 }; /* 5.1.4 */

#define FRAME_MIN 14u   /* addresses and type */
#define FRAME_MAX 1518u /* 1500 bytes, with a tag of IEEE 802.1Q */

struct net {
    u8 mac[6];
    u8 loopback;
    u8 reserved;
    u64 position; /* of what was received */
    u64 lost;     /* frames that nobody had a buffer for, or that are none */
};

struct config { /* 5.1.4 */
    u8 mac[6];
    u16 status;
};

struct header { /* 5.1.6: "num_buffers" is not there in a legacy interface without MRG_RXBUF, which is not offered */
    u8 flags, gso_type;
    u16 hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

_Static_assert(sizeof(struct header) == 12, "5.1.6");

static struct net *net_of(const struct mmioshim_device *dev)
{
    return (struct net *)virtio_of(dev)->own;
}

static u32 header_size(const struct mmioshim_device *dev)
{
    return virtio_of(dev)->legacy ? offsetof(struct header, num_buffers) : sizeof(struct header);
}

/* --- receive --- */

/*
 * A frame into the next buffer of the driver. False: it has none, and nothing happened. What does not fit is lost: a
 * driver gives buffers that are large enough for anything (5.1.6.3.1).
 */
static bool deliver(struct mmioshim_device *dev, const u8 *frame, size_t n)
{
    struct header h = {.num_buffers = 1};
    struct virtio_chain chain;
    struct virtio_cursor in;
    u32 header = header_size(dev), length = (u32)(header + n);

    if (!virtio_pop(dev, RX, &chain))
        return false;
    in = virtio_in(&chain);
    if (chain.in_length < length || !virtio_put(dev, &in, &h, header) || !virtio_put(dev, &in, frame, n)) {
        net_of(dev)->lost++;
        length = 0;
    }
    virtio_push(dev, RX, &chain, length);
    return true;
}

/* What waits in the host end, as long as there are buffers for it. */
static void receive(struct mmioshim_device *dev)
{
    struct net *net = net_of(dev);
    u8 frame[FRAME_MAX];

    for (;;) {
        u64 position = net->position;
        size_t n = dev->host->packet_receive(dev, &position, frame, sizeof(frame));

        if (!n || !deliver(dev, frame, n))
            return;
        net->position = position;
    }
}

/* --- transmit --- */

static bool send(struct mmioshim_device *dev, const u8 *frame, size_t n)
{
    return net_of(dev)->loopback ? deliver(dev, frame, n) : dev->host->packet_send(dev, frame, n);
}

static void transmit(struct mmioshim_device *dev, const struct virtio_chain *chain)
{
    struct virtio_cursor out = virtio_out(chain);
    u32 header = header_size(dev);
    u64 n = chain->out_length - header;
    u8 frame[FRAME_MAX];

    virtio_skip(&out, header); /* no offload was offered, so it says nothing */
    if (chain->out_length < header + FRAME_MIN || n > FRAME_MAX || !virtio_take(dev, &out, frame, n) ||
        !send(dev, frame, n))
        net_of(dev)->lost++;
}

static void net_notify(struct mmioshim_device *dev, unsigned queue)
{
    struct virtio_chain chain;

    if (queue == TX) {
        while (virtio_pop(dev, TX, &chain)) {
            transmit(dev, &chain);
            virtio_push(dev, TX, &chain, 0);
        }
        virtio_signal(dev, TX);
    } else if (!net_of(dev)->loopback) {
        receive(dev);
    }
    virtio_signal(dev, RX);
}

/* --- configuration --- */

static u64 net_features(const struct mmioshim_device *dev)
{
    (void)dev;
    return F_MAC | F_STATUS;
}

static void net_config(struct mmioshim_device *dev, u8 *space)
{
    struct config c = {.status = S_LINK_UP};

    memcpy(c.mac, net_of(dev)->mac, sizeof(c.mac));
    memcpy(space, &c, sizeof(c));
}

/* --- life --- */

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "52:54:00:12:34:56", of one card alone */
static bool set_mac(struct net *net, const char *text)
{
    for (unsigned i = 0; i < 6; i++, text += 3) {
        int high = hex(text[0]), low = high < 0 ? -1 : hex(text[1]);

        if (low < 0 || text[2] != (i < 5 ? ':' : 0))
            return false;
        net->mac[i] = (u8)(high << 4 | low);
    }
    return !(net->mac[0] & 1);
}

/* Bytes before the next comma. */
static size_t piece_length(const char *text)
{
    size_t n = 0;

    while (text[n] && text[n] != ',')
        n++;
    return n;
}

static int set_option(struct net *net, const char *option, struct fmt *end, const char **why)
{
    bool path = strncmp(option, "out=", 4) == 0 || strncmp(option, "in=", 3) == 0;

    *why = "net does not take this option";
    if (strncmp(option, "mac=", 4) == 0) {
        *why = "a MAC is six bytes in hex of one card, 52:54:00:12:34:56";
        return set_mac(net, option + 4) ? 0 : -1;
    }
    if (!path || net->loopback)
        return -1;
    fmt_printf(end, ",%s", option);
    return 0;
}

/* The kind of host end up to the comma, then options. */
static int net_plug(struct mmioshim_device *dev, const char *options, const char **why)
{
    struct net *net = net_of(dev);
    struct fmt end = FMT_INIT(virtio_of(dev)->end);
    size_t n = piece_length(options);

    *net = (struct net){.mac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56}}; /* administered locally */
    net->loopback = n == 8 && strncmp(options, "loopback", 8) == 0;
    *why = "net has the host ends loopback and pcap";
    if (!net->loopback && !(n == 4 && strncmp(options, "pcap", 4) == 0))
        return -1;
    if (!net->loopback)
        fmt_str(&end, "pcap");
    for (const char *at = options + n; *at; at += n) {
        char option[VIRTIO_END];
        struct fmt o = FMT_INIT(option);

        n = 1 + piece_length(at + 1);
        fmt_mem(&o, at + 1, n - 1);
        if (set_option(net, fmt_end(&o), &end, why) < 0)
            return -1;
    }
    fmt_end(&end);
    *why = "the paths are too long";
    return end.full ? -1 : 0;
}

static bool net_valid(const struct mmioshim_device *dev, const void *own)
{
    struct net net = *net_of(dev);
    const struct net *saved = own;

    net.position = saved->position;
    net.lost = saved->lost;
    return memcmp(&net, saved, sizeof(net)) == 0;
}

const struct virtio_type virtio_net = {
    .id = VIRTIO_ID_NET,
    .nqueues = 2,
    .config_size = sizeof(struct config),
    .name = "net",
    .plug = net_plug,
    .features = net_features,
    .valid = net_valid,
    .config = net_config,
    .notify = net_notify,
};
