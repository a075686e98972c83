/* What is attached to a network card: the kind of host end up to the comma, then options of the card and of the end. */
#include "virtio/net.h"

#include "base/fmt.h"
#include "base/mem.h"

#include "base/trapsafe.h"

static const struct {
    const char *name;
    u8 end;
    const char *options[3]; /* that its host end takes */
} kinds[] = {
    {"loopback", NET_END_LOOPBACK, {NULL}},
    {"pcap", NET_END_PCAP, {"out=", "in=", NULL}},
    {"stream", NET_END_STREAM, {"path=", "server", NULL}},
    {"dgram", NET_END_DGRAM, {"local=", "remote=", NULL}},
    {"tap", NET_END_TAP, {"ifname=", NULL}},
};

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
        net->attached_mac[i] = (u8)(high << 4 | low);
    }
    return !(net->attached_mac[0] & 1);
}

/* A decimal number in [least, most]; 0: it is none. */
static u32 number(const char *text, u32 least, u32 most)
{
    u32 value = 0;

    for (; *text >= '0' && *text <= '9' && value <= most; text++)
        value = value * 10 + (u32)(*text - '0');
    return *text || value < least || value > most ? 0 : value;
}

/* Bytes before the next comma. */
static size_t piece_length(const char *text)
{
    size_t n = 0;

    while (text[n] && text[n] != ',')
        n++;
    return n;
}

/* What follows "key=" in an option, else NULL. */
static const char *value_of(const char *option, const char *key)
{
    size_t n = strlen(key);

    return strncmp(option, key, n) == 0 ? option + n : NULL;
}

static int set_option(struct net *net, unsigned kind, const char *option, struct fmt *end, const char **why)
{
    const char *mac = value_of(option, "mac="), *mtu = value_of(option, "mtu="), *pairs = value_of(option, "queues=");

    if (mac) {
        *why = "a MAC is six bytes in hex of one card, 52:54:00:12:34:56";
        return set_mac(net, mac) ? 0 : -1;
    }
    if (mtu) {
        *why = "an MTU is a number of bytes from 68 to 9000";
        return (net->mtu = (u16)number(mtu, NET_MTU_MIN, NET_MTU_MAX)) ? 0 : -1;
    }
    if (pairs) {
        *why = "queues is the number of pairs of queues, 1 to 7";
        return (net->pairs = (u8)number(pairs, 1, NET_PAIRS)) ? 0 : -1;
    }
    for (const char *const *known = kinds[kind].options; *known; known++)
        if (strchr(*known, '=') ? value_of(option, *known) != NULL : strcmp(option, *known) == 0) {
            fmt_printf(end, ",%s", option);
            return 0;
        }
    *why = "net does not take this option";
    return -1;
}

/* Number of the kind with this name; ARRAY_SIZE(kinds): there is none. */
static unsigned find_kind(const char *text, size_t n)
{
    unsigned i = 0;

    while (i < ARRAY_SIZE(kinds) && (strlen(kinds[i].name) != n || strncmp(kinds[i].name, text, n) != 0))
        i++;
    return i;
}

int net_plug(struct mmioshim_device *dev, const char *options, const char **why)
{
    struct net *net = net_of(dev);
    struct fmt end = FMT_INIT(virtio_of(dev)->end);
    size_t n = piece_length(options);
    unsigned kind = find_kind(options, n);

    *net = (struct net){.attached_mac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56}, .pairs = 1}; /* administered locally */
    *why = "net has the host ends loopback, pcap, stream, dgram and tap";
    if (kind == ARRAY_SIZE(kinds))
        return -1;
    net->end = kinds[kind].end;
    net->status = kind == NET_END_LOOPBACK || kind == NET_END_PCAP ? NET_LINK_UP : 0; /* else net_attend() says so */
    fmt_mem(&end, options, n);
    for (const char *at = options + n; *at; at += n) {
        char option[VIRTIO_END];
        struct fmt o = FMT_INIT(option);

        n = 1 + piece_length(at + 1);
        fmt_mem(&o, at + 1, n - 1);
        if (set_option(net, kind, fmt_end(&o), &end, why) < 0)
            return -1;
    }
    fmt_end(&end);
    net_forget(dev);
    *why = "the paths are too long";
    return end.full ? -1 : 0;
}

/* What was attached is the same; what a driver can change is what it can make of it. */
bool net_valid(const struct mmioshim_device *dev, const void *own)
{
    const struct net *net = net_of(dev), *saved = own;

    if (memcmp(saved->attached_mac, net->attached_mac, 6) != 0 || saved->end != net->end || saved->pairs != net->pairs ||
        saved->mtu != net->mtu)
        return false;
    for (unsigned i = 0; i < sizeof(saved->reserved); i++)
        if (saved->reserved[i])
            return false;
    return saved->linked <= 1 && saved->active && saved->active <= net->pairs && !(saved->status & ~(NET_LINK_UP | NET_ANNOUNCE)) &&
           saved->nuni <= NET_ADDRESSES && saved->nmulti <= NET_ADDRESSES - saved->nuni && !(saved->offloads & ~NET_GUEST);
}
