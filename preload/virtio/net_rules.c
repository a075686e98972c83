/*
 * The control queue of a network card, and what it decides: which frames are
 * received, and by which pair of queues. Source: VIRTIO 1.2, 5.1.6.5.
 */
#include "virtio/net.h"

#include "base/mem.h"

#include "base/trapsafe.h"

/* Commands as class << 8 | command */
enum {
    RX_PROMISC = 0x000, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST, /* 5.1.6.5.1 */
    MAC_TABLE_SET = 0x100, MAC_ADDR_SET,                                          /* 5.1.6.5.2 */
    VLAN_ADD = 0x200, VLAN_DEL,                                                   /* 5.1.6.5.3 */
    ANNOUNCE_ACK = 0x300,                                                         /* 5.1.6.5.4 */
    MQ_PAIRS_SET = 0x400,                                                         /* 5.1.6.5.5 */
    OFFLOADS_SET = 0x500,                                                         /* 5.1.6.5.8 */
};

/* net.filter: more addresses were given than there is room for, so all are received (5.1.6.5.2.1: "imperfect"). */
enum { MANY_UNI = 64, MANY_MULTI = 128 };

unsigned net_control_queue(const struct mmioshim_device *dev)
{
    return 2 * (net_has(dev, NET_MQ) ? net_of(dev)->pairs : 1u);
}

void net_forget(struct mmioshim_device *dev)
{
    struct net *net = net_of(dev);

    memcpy(net->mac, net->attached_mac, sizeof(net->mac));
    net->active = 1;
    net->status &= (u8)~NET_ANNOUNCE;
    net->filter = NET_PROMISC; /* until the driver says what it wants */
    net->nuni = net->nmulti = 0;
    net->offloads = NET_GUEST;
    memset(net->addresses, 0, sizeof(net->addresses));
    memset(net->vlans, 0, sizeof(net->vlans));
    memset(net->flows, 0, sizeof(net->flows));
}

/* --- commands --- */

/* What a command comes with; it must be as long as that. */
struct data {
    struct mmioshim_device *dev;
    struct virtio_cursor at;
    u64 left;
};

static bool take(struct data *d, void *buf, u32 n)
{
    if (d->left < n || !virtio_take(d->dev, &d->at, buf, n))
        return false;
    d->left -= n;
    return true;
}

static bool take_all(struct data *d, void *buf, u32 n)
{
    return d->left == n && take(d, buf, n);
}

static bool set_filter(struct data *d, unsigned command)
{
    struct net *net = net_of(d->dev);
    u8 bit = (u8)(1u << command), on;

    if (!net_has(d->dev, command >= RX_ALLUNI ? NET_CTRL_RX_EXTRA : NET_CTRL_RX) || !take_all(d, &on, 1) || on > 1)
        return false;
    net->filter = (u8)((net->filter & ~bit) | (on ? bit : 0));
    return true;
}

/* One of the two lists, behind those that are there already. */
static bool take_list(struct data *d, u8 (*list)[6], u32 room, u8 *count, bool *many)
{
    u32 n;

    if (!take(d, &n, sizeof(n)) || n > d->left / 6)
        return false;
    *many = n > room;
    *count = (u8)(*many ? 0 : n);
    if (*many) {
        virtio_skip(&d->at, 6ull * n);
        d->left -= 6ull * n;
        return true;
    }
    return take(d, list, 6 * n);
}

static bool set_table(struct data *d)
{
    struct net *net = net_of(d->dev);
    u8 list[NET_ADDRESSES][6] = {{0}}, nuni, nmulti;
    bool many_uni, many_multi;

    if (!net_has(d->dev, NET_CTRL_RX) || !take_list(d, list, NET_ADDRESSES, &nuni, &many_uni) ||
        !take_list(d, list + nuni, NET_ADDRESSES - nuni, &nmulti, &many_multi) || d->left)
        return false;
    memcpy(net->addresses, list, sizeof(list));
    net->nuni = nuni;
    net->nmulti = nmulti;
    net->filter &= (u8) ~(MANY_UNI | MANY_MULTI);
    net->filter |= (u8)((many_uni ? MANY_UNI : 0) | (many_multi ? MANY_MULTI : 0));
    return true;
}

static bool set_address(struct data *d)
{
    u8 mac[6];

    if (!net_has(d->dev, NET_CTRL_MAC_ADDR) || !take_all(d, mac, sizeof(mac)))
        return false;
    memcpy(net_of(d->dev)->mac, mac, sizeof(mac));
    virtio_of(d->dev)->generation++;
    return true;
}

static bool set_vlan(struct data *d, bool add)
{
    u64 *vlans = net_of(d->dev)->vlans, bit;
    u16 id;

    if (!net_has(d->dev, NET_CTRL_VLAN) || !take_all(d, &id, sizeof(id)) || id > 4095)
        return false;
    bit = (u64)1 << id % 64;
    vlans[id / 64] = add ? vlans[id / 64] | bit : vlans[id / 64] & ~bit;
    return true;
}

static bool acknowledge(struct data *d)
{
    struct net *net = net_of(d->dev);

    if (!net_has(d->dev, NET_GUEST_ANNOUNCE) || d->left || !(net->status & NET_ANNOUNCE))
        return false;
    net->status &= (u8)~NET_ANNOUNCE;
    virtio_of(d->dev)->generation++;
    return true;
}

static bool set_pairs(struct data *d)
{
    struct net *net = net_of(d->dev);
    u16 n;

    if (!net_has(d->dev, NET_MQ) || !take_all(d, &n, sizeof(n)) || !n || n > net->pairs)
        return false;
    net->active = (u8)n;
    return true;
}

static bool set_offloads(struct data *d)
{
    u64 offloads;

    if (!net_has(d->dev, NET_GUEST_OFFLOADS) || !take_all(d, &offloads, sizeof(offloads)) ||
        (offloads & ~(virtio_of(d->dev)->accepted & NET_GUEST)))
        return false;
    net_of(d->dev)->offloads = offloads;
    return true;
}

bool net_command(struct mmioshim_device *dev, const struct virtio_chain *chain)
{
    struct data d = {dev, virtio_out(chain), chain->out_length};
    u8 head[2];
    unsigned command;

    if (!take(&d, head, sizeof(head)))
        return false;
    command = (unsigned)head[0] << 8 | head[1];
    switch (command) {
    case RX_PROMISC ... RX_NOBCAST:
        return set_filter(&d, command);
    case MAC_TABLE_SET:
        return set_table(&d);
    case MAC_ADDR_SET:
        return set_address(&d);
    case VLAN_ADD:
    case VLAN_DEL:
        return set_vlan(&d, command == VLAN_ADD);
    case ANNOUNCE_ACK:
        return acknowledge(&d);
    case MQ_PAIRS_SET:
        return set_pairs(&d);
    case OFFLOADS_SET:
        return set_offloads(&d);
    default:
        return false;
    }
}

/* --- which frames are received --- */

static unsigned get16(const u8 *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static bool listed(const struct net *net, const u8 *mac, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++)
        if (memcmp(net->addresses[i], mac, 6) == 0)
            return true;
    return false;
}

static bool wants_tag(const struct mmioshim_device *dev, const u8 *frame, u32 n)
{
    unsigned id = n >= 16 && get16(frame + 12) == 0x8100 ? get16(frame + 14) & 0xfff : 0;

    return !id || !net_has(dev, NET_CTRL_VLAN) || net_of(dev)->vlans[id / 64] & (u64)1 << id % 64;
}

static bool wants_address(const struct net *net, const u8 *mac)
{
    static const u8 all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    if (memcmp(mac, all, 6) == 0)
        return !(net->filter & NET_NOBCAST);
    if (mac[0] & 1)
        return !(net->filter & NET_NOMULTI) &&
               ((net->filter & (NET_ALLMULTI | MANY_MULTI)) || listed(net, mac, net->nuni, net->nmulti));
    return !(net->filter & NET_NOUNI) && ((net->filter & (NET_ALLUNI | MANY_UNI)) || memcmp(mac, net->mac, 6) == 0 ||
                                          listed(net, mac, 0, net->nuni));
}

bool net_wants(const struct mmioshim_device *dev, const u8 *frame, u32 n)
{
    const struct net *net = net_of(dev);

    if (likely(!net_has(dev, NET_CTRL_RX) || (net->filter & NET_PROMISC)))
        return true;
    return wants_tag(dev, frame, n) && wants_address(net, frame);
}

/* --- and by which queues --- */

static u32 mix(u32 hash, const u8 *a, const u8 *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        hash = (hash ^ a[i] ^ b[i]) * 16777619u;
    return hash;
}

/* The same in both directions: addresses, and ports of TCP and UDP. */
static u32 flow(const u8 *frame, u32 n)
{
    u32 at = n >= 18 && get16(frame + 12) == 0x8100 ? 18 : 14;
    unsigned type = get16(frame + at - 2), ports = 0;
    const u8 *ip = frame + at;
    u32 hash = 2166136261u;

    if (type == 0x0800 && n - at >= 20) {
        ports = at + (ip[0] & 15u) * 4;
        hash = mix(hash, ip + 12, ip + 16, 4);
        ports = (ip[9] == 6 || ip[9] == 17) && !(get16(ip + 6) & 0x3fff) ? ports : 0; /* no fragments */
    } else if (type == 0x86dd && n - at >= 40) {
        hash = mix(hash, ip + 8, ip + 24, 16);
        ports = ip[6] == 6 || ip[6] == 17 ? at + 40 : 0;
    } else {
        hash = mix(hash, frame, frame + 6, 6);
    }
    if (ports && ports <= n && n - ports >= 4)
        hash = mix(hash, frame + ports, frame + ports + 2, 2);
    return hash ^ hash >> 15; /* its low bits know only low bits */
}

/* "... automatic receive steering": by the queue that the flow's last frame was sent through, 5.1.6.5.5.1 */
void net_learn(struct mmioshim_device *dev, const u8 *frame, u32 n, unsigned pair)
{
    struct net *net = net_of(dev);

    if (unlikely(net->active > 1))
        net->flows[flow(frame, n) % ARRAY_SIZE(net->flows)] = (u8)(pair + 1);
}

unsigned net_steer(const struct mmioshim_device *dev, const u8 *frame, u32 n)
{
    const struct net *net = net_of(dev);
    u32 hash;
    u8 learnt;

    if (likely(net->active <= 1))
        return 0;
    hash = flow(frame, n);
    learnt = net->flows[hash % ARRAY_SIZE(net->flows)];
    return learnt && learnt <= net->active ? learnt - 1u : hash % net->active;
}
