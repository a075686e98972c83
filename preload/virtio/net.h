/*
 * The parts of a virtio network card: net.c is the card, net_receive.c and
 * net_transmit.c move frames, net_plug.c knows what can be attached, net_rules.c is its
 * control queue and what that decides (which frames are received, where), and
 * net_offload.c does in software what a card does for its driver. Source:
 * VIRTIO 1.2, 5.1. Trap or worker context, the device's lock held.
 */
#ifndef MMIOSHIM_VIRTIO_NET_H
#define MMIOSHIM_VIRTIO_NET_H

#include "virtio/virtio.h"

/* Feature bits, 5.1.3 */
#define NET_CSUM             ((u64)1 << 0)
#define NET_GUEST_CSUM       ((u64)1 << 1)
#define NET_GUEST_OFFLOADS   ((u64)1 << 2) /* CTRL_GUEST_OFFLOADS */
#define NET_MTU              ((u64)1 << 3)
#define NET_MAC              ((u64)1 << 5)
#define NET_GUEST_TSO4       ((u64)1 << 7)
#define NET_GUEST_TSO6       ((u64)1 << 8)
#define NET_GUEST_ECN        ((u64)1 << 9)
#define NET_HOST_TSO4        ((u64)1 << 11)
#define NET_HOST_TSO6        ((u64)1 << 12)
#define NET_HOST_ECN         ((u64)1 << 13)
#define NET_MRG_RXBUF        ((u64)1 << 15)
#define NET_STATUS           ((u64)1 << 16)
#define NET_CTRL_VQ          ((u64)1 << 17)
#define NET_CTRL_RX          ((u64)1 << 18)
#define NET_CTRL_VLAN        ((u64)1 << 19)
#define NET_CTRL_RX_EXTRA    ((u64)1 << 20)
#define NET_GUEST_ANNOUNCE   ((u64)1 << 21)
#define NET_MQ               ((u64)1 << 22)
#define NET_CTRL_MAC_ADDR    ((u64)1 << 23)

/* What may be passed on to the driver undone; CTRL_GUEST_OFFLOADS chooses among them, 5.1.6.5.6 */
#define NET_GUEST (NET_GUEST_CSUM | NET_GUEST_TSO4 | NET_GUEST_TSO6 | NET_GUEST_ECN)

enum { NET_LINK_UP = 1, NET_ANNOUNCE = 2 }; /* status, 5.1.4 */

#define NET_PAIRS      7u    /* most pairs of queues: with the control queue all that a device has */
#define NET_ADDRESSES  48u   /* that are received beside the card's own */
#define NET_FRAME_MIN  14u   /* addresses and type */
#define NET_OVERHEAD   18u   /* the same with a tag of IEEE 802.1Q, beyond the MTU */
#define NET_MTU_MIN    68u   /* the least of IPv4 (RFC 791) */
#define NET_MTU_MAX    9000u
#define NET_LARGE      65550u /* a frame that is to be cut: 65535 bytes of IP, and its header; 5.1.6.3.1 */
#define NET_MERGED     VIRTIO_TOGETHER /* buffers of one frame */

struct net_header { /* 5.1.6 */
    u8 flags, gso_type;
    u16 hdr_len, gso_size, csum_start, csum_offset;
    u16 num_buffers; /* not there in a legacy device without MRG_RXBUF */
};

enum { NET_NEEDS_CSUM = 1, NET_DATA_VALID = 2 };
enum { NET_GSO_NONE = 0, NET_GSO_TCPV4 = 1, NET_GSO_TCPV6 = 4, NET_GSO_ECN = 0x80 };

enum net_end { NET_END_LOOPBACK, NET_END_PCAP, NET_END_STREAM, NET_END_DGRAM, NET_END_TAP };

/* Which frames the driver does not want, and which it does, as CTRL_RX says. */
enum { NET_PROMISC = 1, NET_ALLMULTI = 2, NET_ALLUNI = 4, NET_NOMULTI = 8, NET_NOUNI = 16, NET_NOBCAST = 32 };

struct net {
    u8 mac[6], attached_mac[6]; /* as it is, and as it was given: what a reset goes back to */
    u8 end;        /* enum net_end */
    u8 pairs;      /* of queues */
    u8 active;     /* of them, the driver uses */
    u8 status;     /* NET_LINK_UP, NET_ANNOUNCE */
    u16 mtu;       /* 0: 1500, and nothing is said of it */
    u8 filter;     /* NET_PROMISC, ... */
    u8 nuni, nmulti; /* how many addresses[]; from unicast ones on multicast ones */
    u8 linked;     /* the link has been up, and down again */
    u8 reserved[4];
    u64 offloads;  /* of NET_GUEST, what the driver takes now */
    u64 position;  /* of what was received */
    u64 lost;      /* frames that nobody had a buffer for, or that are none */
    u8 addresses[NET_ADDRESSES][6];
    u64 vlans[64]; /* bit each */
    u8 flows[64];  /* by hash: queue that frames of the flow are sent through, and 1 */
};

_Static_assert(sizeof(struct net) <= VIRTIO_PRIVATE, "it has no more room");

static inline struct net *net_of(const struct mmioshim_device *dev)
{
    return (struct net *)virtio_of(dev)->own;
}

static inline bool net_has(const struct mmioshim_device *dev, u64 feature)
{
    return virtio_accepted(virtio_of(dev), feature);
}

/* Longest frame on the wire. */
static inline u32 net_frame_max(const struct net *net)
{
    return (net->mtu ? net->mtu : 1500u) + NET_OVERHEAD;
}

/* --- net.c --- */

/* 5.1.6.1: num_buffers is there with VERSION_1, and in a legacy device with MRG_RXBUF. */
u32 net_header_size(const struct mmioshim_device *dev);
/* A buffer of this process for one large frame, and one on the wire behind it; NULL: there is no memory. */
u8 *net_buffer(struct mmioshim_device *dev);
void net_lose(struct mmioshim_device *dev, const char *why);

/* --- net_receive.c --- */

/* A frame into the next buffers of the driver. False: it has none, and nothing happened. */
bool net_deliver(struct mmioshim_device *dev, unsigned pair, const struct net_header *h, const u8 *frame, u32 n);
/* What waits in the host end, as long as there are buffers for it. True: there may be more, later. */
bool net_receive(struct mmioshim_device *dev);

/* --- net_transmit.c --- */

/* What is in a queue, as long as the host end takes it. */
void net_transmit(struct mmioshim_device *dev, unsigned queue);

/* --- net_plug.c --- */

/* As the functions of struct virtio_type of these names. */
int net_plug(struct mmioshim_device *dev, const char *options, const char **why);
bool net_valid(const struct mmioshim_device *dev, const void *own);

/* --- net_rules.c --- */

/* Number of the control queue: behind the pairs that the driver may use, 5.1.2 */
unsigned net_control_queue(const struct mmioshim_device *dev);
/* A command of the control queue; false: it is none, or cannot be obeyed. */
bool net_command(struct mmioshim_device *dev, const struct virtio_chain *chain);
/* Does the driver want this frame? */
bool net_wants(const struct mmioshim_device *dev, const u8 *frame, u32 n);
/* A frame went out through a pair of queues: its flow comes back there. */
void net_learn(struct mmioshim_device *dev, const u8 *frame, u32 n, unsigned pair);
/* Which pair a frame that comes in belongs to. */
unsigned net_steer(const struct mmioshim_device *dev, const u8 *frame, u32 n);
/* What is decided goes back to what it was. */
void net_forget(struct mmioshim_device *dev);

/* --- net_offload.c --- */

/*
 * Is what a header says of a frame of n bytes possible? What it says of features that the driver did not accept is
 * nothing, and taken out.
 */
bool net_header_good(const struct mmioshim_device *dev, struct net_header *h, u32 n);
/* Fills in the checksum that the header asks for, which is good. */
void net_checksum(const struct net_header *h, u8 *frame, u32 n);

/* A large TCP segment that is cut into frames, one after another. */
struct net_cut {
    const u8 *large;
    u32 length;
    u32 headers; /* bytes of it that every frame has */
    u32 ip, tcp; /* where these begin */
    u32 size;    /* payload of a frame */
    u32 done;    /* payload that was cut */
    u16 number;  /* of frames */
    bool six;
};

/* False: it is not what the header says, or its frames would be longer than `most`. */
bool net_cut_begin(struct net_cut *cut, const struct net_header *h, const u8 *large, u32 n, u32 most);
/* The next frame, whole with its checksums, of at most `most` bytes; 0: that was all. */
u32 net_cut_next(struct net_cut *cut, u8 *frame);

#endif
