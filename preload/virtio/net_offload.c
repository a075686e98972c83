/*
 * What a card does for its driver: checksums, and TCP segments that are too
 * large for the wire. Sources: VIRTIO 1.2, 5.1.6.2; RFC 1071 (checksum),
 * RFC 791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP), RFC 3168 (CWR), RFC 6864
 * (identification).
 */
#include "virtio/net.h"

#include "base/mem.h"

#include "base/trapsafe.h"

enum { IP_TCP = 6, ETHER_IPV4 = 0x0800, ETHER_IPV6 = 0x86dd, ETHER_VLAN = 0x8100 };
enum { TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_CWR = 0x80, TCP_FLAGS = 13, TCP_SUM = 16, TCP_MIN = 20 };
enum { SIZE_MIN = 48 }; /* a driver that asks for smaller pieces wants to keep the card busy */

static u16 get16(const u8 *p)
{
    return (u16)(p[0] << 8 | p[1]);
}

static u32 get32(const u8 *p)
{
    return (u32)get16(p) << 16 | get16(p + 2);
}

static void put16(u8 *p, u32 value)
{
    p[0] = (u8)(value >> 8);
    p[1] = (u8)value;
}

static void put32(u8 *p, u32 value)
{
    put16(p, value >> 16);
    put16(p + 2, value);
}

/* --- the Internet checksum, RFC 1071 --- */

/* Big-endian words; the sum of 64 KiB of them fits. */
static u32 add_up(u32 sum, const u8 *p, u32 n)
{
    for (; n > 1; p += 2, n -= 2)
        sum += get16(p);
    return n ? sum + (u32)(p[0] << 8) : sum;
}

static u16 fold(u32 sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (u16)sum;
}

void net_checksum(const struct net_header *h, u8 *frame, u32 n)
{
    u8 *field = frame + h->csum_start + h->csum_offset;
    u16 sum = (u16)~fold(add_up(0, frame + h->csum_start, n - h->csum_start));

    /* The field holds the sum of the pseudo header (5.1.6.2). 0 would say "none" to UDP (RFC 768), and is equal to this. */
    put16(field, sum ? sum : 0xffff);
}

/* --- what a header may say --- */

static bool checksum_good(const struct net_header *h, u32 n)
{
    return h->csum_start < n && n - h->csum_start >= 2 &&
           h->csum_offset <= n - h->csum_start - 2;
}

static bool large_good(const struct mmioshim_device *dev, const struct net_header *h)
{
    u8 type = h->gso_type & (u8)~NET_GSO_ECN;

    if ((h->gso_type & NET_GSO_ECN) && !net_has(dev, NET_HOST_ECN))
        return false;
    if (type != NET_GSO_TCPV4 && type != NET_GSO_TCPV6)
        return false;
    /* "... the driver MUST also set VIRTIO_NET_HDR_F_NEEDS_CSUM", 5.1.6.2.1 */
    return net_has(dev, type == NET_GSO_TCPV4 ? NET_HOST_TSO4 : NET_HOST_TSO6) && h->gso_size &&
           (h->flags & NET_NEEDS_CSUM);
}

bool net_header_good(const struct mmioshim_device *dev, struct net_header *h, u32 n)
{
    if (!net_has(dev, NET_CSUM))
        h->flags = 0;
    if (!net_has(dev, NET_HOST_TSO4 | NET_HOST_TSO6))
        h->gso_type = NET_GSO_NONE;
    if (likely(!(h->flags & NET_NEEDS_CSUM) && h->gso_type == NET_GSO_NONE))
        return true;
    if ((h->flags & NET_NEEDS_CSUM) && !checksum_good(h, n))
        return false;
    return h->gso_type == NET_GSO_NONE || large_good(dev, h);
}

/* --- large segments --- */

/* Where IP begins, behind tags; 0: it is not what it should be. */
static u32 find_ip(const u8 *frame, u32 n, bool six)
{
    u32 at = 12;

    while (at + 4 < n && get16(frame + at) == ETHER_VLAN)
        at += 4;
    if (at + 2 > n || get16(frame + at) != (six ? ETHER_IPV6 : ETHER_IPV4))
        return 0;
    return at + 2;
}

/* Where TCP begins: the driver says so (csum_start), and with IPv4 the packet does, too. */
static bool ip_good(const struct net_cut *c)
{
    const u8 *ip = c->large + c->ip;

    if (c->six)
        return c->tcp - c->ip >= 40 && ip[0] >> 4 == 6;
    return c->tcp - c->ip >= 20 && ip[0] >> 4 == 4 && (ip[0] & 15u) * 4 == c->tcp - c->ip && ip[9] == IP_TCP;
}

bool net_cut_begin(struct net_cut *c, const struct net_header *h, const u8 *large, u32 n, u32 most)
{
    u32 tcp_length;

    *c = (struct net_cut){.large = large, .length = n, .tcp = h->csum_start, .size = h->gso_size};
    c->six = (h->gso_type & ~NET_GSO_ECN) == NET_GSO_TCPV6;
    c->ip = find_ip(large, n, c->six);
    if (!c->ip || c->tcp <= c->ip || c->tcp > n || n - c->tcp < TCP_MIN || h->csum_offset != TCP_SUM || !ip_good(c))
        return false;
    tcp_length = (large[c->tcp + 12] >> 4) * 4u;
    if (tcp_length < TCP_MIN || tcp_length > n - c->tcp || c->size < SIZE_MIN)
        return false;
    c->headers = c->tcp + tcp_length;
    return c->headers <= most && c->size <= most - c->headers;
}

static void finish_ip(const struct net_cut *c, u8 *ip, u32 payload)
{
    u32 header = c->tcp - c->ip;

    if (c->six) {
        put16(ip + 4, header - 40 + c->headers - c->tcp + payload);
        return;
    }
    put16(ip + 2, c->headers - c->ip + payload);
    put16(ip + 4, get16(ip + 4) + (u32)c->number);
    put16(ip + 10, 0);
    put16(ip + 10, (u16)~fold(add_up(0, ip, header)));
}

/* PSH and FIN are said once, at the end; CWR once, at the beginning (RFC 3168, 6.1.2). */
static void finish_tcp(const struct net_cut *c, u8 *tcp, bool last)
{
    put32(tcp + 4, get32(tcp + 4) + c->done);
    if (!last)
        tcp[TCP_FLAGS] &= (u8)~(TCP_FIN | TCP_PSH);
    if (c->number)
        tcp[TCP_FLAGS] &= (u8)~TCP_CWR;
}

/* The pseudo header: addresses, length and protocol (RFC 9293, 3.1; RFC 8200, 8.1). */
static u16 tcp_checksum(const struct net_cut *c, const u8 *frame, u32 n)
{
    const u8 *ip = frame + c->ip;
    u32 length = n - c->tcp, sum = length + IP_TCP;

    sum = c->six ? add_up(sum, ip + 8, 32) : add_up(sum, ip + 12, 8);
    return (u16)~fold(add_up(sum, frame + c->tcp, length));
}

u32 net_cut_next(struct net_cut *c, u8 *frame)
{
    u32 left = c->length - c->headers - c->done, payload = MIN(left, c->size), n = c->headers + payload;

    if (!left && c->number)
        return 0;
    memcpy(frame, c->large, c->headers);
    memcpy(frame + c->headers, c->large + c->headers + c->done, payload);
    finish_ip(c, frame + c->ip, payload);
    finish_tcp(c, frame + c->tcp, payload == left);
    put16(frame + c->tcp + TCP_SUM, 0);
    put16(frame + c->tcp + TCP_SUM, tcp_checksum(c, frame, n));
    c->done += payload;
    c->number++;
    return n;
}
