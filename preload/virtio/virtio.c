#include "virtio/virtio.h"

#include "base/debug.h"
#include "base/fmt.h"
#include "base/mem.h"

#include "base/trapsafe.h"

#define TYPE(type) extern const struct virtio_type type;
#include "virtio/types.def"
#undef TYPE

static const struct virtio_type *const types[] = {
#define TYPE(type) &type,
#include "virtio/types.def"
#undef TYPE
};

/* What queues and transports offer whatever the type is. */
#define FEATURES \
    (VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED | VIRTIO_F_IN_ORDER | \
     VIRTIO_F_NOTIFICATION_DATA | VIRTIO_F_RING_RESET)

/* Those that a legacy interface has, 6.3. Of the types only the low half is seen there. */
#define LEGACY (VIRTIO_F_ANY_LAYOUT | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)

#define STATUS_BITS \
    (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK | VIRTIO_NEEDS_RESET | VIRTIO_FAILED)

/* --- what is plugged in --- */

const struct mmioshim_property virtio_parts[] = {
    {"blk:FILE[,readonly][,mmap][,serial=TEXT][,block-size=BYTES]", "a disk with the contents of a file"},
    {"blk:memory,size=BYTES[K|M|G][,...]", "a disk that lives and ends with the machine"},
    {"blk:nbd:SOCKET[,export=NAME][,...]", "a disk of an NBD server, by its unix socket"},
    {"console:END[+console:END...][+port:NAME=END...]", "terminals, and serial ports with names, each with a host end of a UART"},
    {"iommu", "an IOMMU; devices that its driver has not attached reach RAM as if it were not there"},
    {"iommu:bypass=off", "an IOMMU; they reach nothing"},
    {"net:loopback[,mac=MAC][,mtu=BYTES][,queues=PAIRS]", "a network card whose frames come back to it"},
    {"net:pcap[,out=FILE][,in=FILE][,mac=...]", "one that sends into a capture file and receives from another"},
    {"net:stream,path=PATH[,server][,mac=...]", "frames over a Unix stream socket, as QEMU's -netdev stream has them"},
    {"net:dgram,local=PATH,remote=PATH[,mac=...]", "the same over datagrams, one each, as -netdev dgram has them"},
    {"net:tap,ifname=NAME[,mac=...]", "a network interface of the host"},
    {"rng", "random bytes of the host"},
    {NULL, NULL},
};

const struct virtio_type *virtio_type(const struct virtio *v)
{
    return v->type && v->type <= ARRAY_SIZE(types) ? types[v->type - 1] : NULL;
}

/* What follows the name of a type in an attachment; NULL: it is another. */
static const char *options_of(const struct virtio_type *type, const char *attachment)
{
    size_t n = strlen(type->name);

    if (strncmp(attachment, type->name, n) != 0)
        return NULL;
    if (!attachment[n])
        return attachment + n;
    return attachment[n] == ':' ? attachment + n + 1 : NULL;
}

const struct virtio_type *virtio_type_named(const char *attachment)
{
    for (u16 i = 0; i < ARRAY_SIZE(types); i++)
        if (options_of(types[i], attachment))
            return types[i];
    return NULL;
}

/* Options of all types, which are taken out of an attachment. */
static const struct {
    const char *text;
    u8 poll;
} common[] = {
    {",poll=off", MMIOSHIM_POLL_OFF},
    {",poll=on", MMIOSHIM_POLL_MOVING},
    {",poll=always", MMIOSHIM_POLL_ALWAYS},
};

static size_t take_common(struct virtio *v, const char *at)
{
    for (size_t i = 0; i < ARRAY_SIZE(common); i++) {
        size_t n = strlen(common[i].text);

        if (strncmp(at, common[i].text, n) == 0 && (!at[n] || at[n] == ',')) {
            v->poll = common[i].poll;
            return n;
        }
    }
    return 0;
}

static int plug_type(struct mmioshim_device *dev, const char *attachment, const char **why)
{
    struct virtio *v = virtio_of(dev);

    for (u16 i = 0; i < ARRAY_SIZE(types); i++) {
        const char *options = options_of(types[i], attachment);

        if (!options)
            continue;
        v->type = (u16)(i + 1);
        *why = "it does not take poll";
        return v->poll && types[i]->unpolled ? -1 : types[i]->plug(dev, options, why);
    }
    return -1;
}

int virtio_plug(struct mmioshim_device *dev, const char *attachment, const char **why)
{
    char text[VIRTIO_END];
    struct fmt rest = FMT_INIT(text);

    if (!attachment)
        return 0;
    while (*attachment) {
        size_t n = take_common(virtio_of(dev), attachment);

        attachment += n;
        if (!n)
            fmt_char(&rest, *attachment++);
    }
    *why = rest.full ? "the path is too long" : "no such device";
    return rest.full ? -1 : plug_type(dev, fmt_end(&rest), why);
}

/* --- status and features --- */

/*
 * "A device SHOULD offer VIRTIO_F_ACCESS_PLATFORM if its access to memory is through bus addresses distinct from and
 * translated by the platform to physical addresses" (6.1). It fails to go on without, as it may: the addresses would be
 * others than the driver means.
 */
static u64 platform(const struct mmioshim_device *dev)
{
    return dev->host->translated && dev->host->translated(dev) ? VIRTIO_F_ACCESS_PLATFORM : 0;
}

u64 virtio_features(const struct mmioshim_device *dev)
{
    const struct virtio_type *type = virtio_type(virtio_of(dev));

    u64 own = type && type->features ? type->features(dev) : 0;

    if (!type)
        return 0;
    return virtio_of(dev)->legacy ? LEGACY | (u32)own : FEATURES | platform(dev) | own;
}

static bool agrees(const struct mmioshim_device *dev)
{
    const struct virtio *v = virtio_of(dev);
    const struct virtio_type *type = virtio_type(v);

    return !(v->accepted & ~virtio_features(dev)) && virtio_accepted(v, VIRTIO_F_VERSION_1) &&
           !(platform(dev) & ~v->accepted) &&
           (!type->agrees || type->agrees(dev, v->accepted));
}

bool virtio_accept_legacy(struct mmioshim_device *dev, u64 features)
{
    struct virtio *v = virtio_of(dev);
    const struct virtio_type *type = virtio_type(v);

    v->accepted = features & virtio_features(dev);
    if (type->agrees && !type->agrees(dev, v->accepted))
        v->accepted &= LEGACY;
    return v->accepted == features;
}

void virtio_reset(struct mmioshim_device *dev)
{
    struct virtio *v = virtio_of(dev);
    const struct virtio_type *type = virtio_type(v);

    v->status = v->isr = 0;
    v->accepted = v->notified = 0;
    v->quiet = 0;
    if (v->poll)
        dev->host->poll(dev, MMIOSHIM_POLL_OFF);
    v->signals = 0;
    memset(v->queues, 0, sizeof(v->queues));
    if (type && type->reset)
        type->reset(dev);
}

void virtio_power_on(struct mmioshim_device *dev)
{
    const struct virtio_type *type = virtio_type(virtio_of(dev));

    if (type && type->power_on)
        type->power_on(dev);
    virtio_reset(dev);
}

int virtio_translates(const struct mmioshim_device *dev)
{
    const struct virtio_type *type = virtio_type(virtio_of(dev));

    return type && type->translates ? type->translates(dev) : -1;
}

bool virtio_set_status(struct mmioshim_device *dev, u8 status)
{
    struct virtio *v = virtio_of(dev);
    u8 bits = STATUS_BITS & ~(v->legacy ? VIRTIO_FEATURES_OK : 0), before = v->status, set = status & bits & ~before;
    /* "The driver MUST NOT clear a device status bit", 2.1.1; NEEDS_RESET is the device's */
    bool good = !(before & ~status & ~VIRTIO_NEEDS_RESET) && !(status & ~bits) && !(set & VIRTIO_NEEDS_RESET);

    if (!status) {
        virtio_reset(dev);
        return true;
    }
    set &= (u8)~VIRTIO_NEEDS_RESET;
    if ((set & VIRTIO_FEATURES_OK) && ((before & VIRTIO_DRIVER_OK) || !agrees(dev)))
        set &= (u8)~VIRTIO_FEATURES_OK; /* 2.2.2: how a device says no. That is no fault of the driver. */
    if ((set & VIRTIO_DRIVER_OK) && !((before | set) & VIRTIO_FEATURES_OK) && !v->legacy) {
        set &= (u8)~VIRTIO_DRIVER_OK; /* 3.1.1: step 8 comes behind step 5 */
        good = false;
    }
    v->status |= set;
    if (v->poll && virtio_live(v))
        dev->host->poll(dev, v->poll);
    debug(VIRTIO, 1, "%s: status %x, features %lx", dev->name, (unsigned)v->status, v->accepted);
    return good;
}

void virtio_break(struct mmioshim_device *dev, const char *why)
{
    struct virtio *v = virtio_of(dev);

    debug(VIRTIO, 1, "%s: needs a reset: %s", dev->name, why);
    if (v->status & VIRTIO_NEEDS_RESET)
        return;
    /* "... MUST send a device configuration change notification" to a driver that is there, 2.1.2 */
    v->status |= VIRTIO_NEEDS_RESET;
    if (v->status & VIRTIO_DRIVER_OK && !v->legacy)
        v->isr |= VIRTIO_ISR_CONFIG;
}

/* --- queues --- */

static unsigned count(const struct mmioshim_device *dev, const struct virtio_type *type)
{
    return type->queues ? type->queues(dev) : type->nqueues;
}

unsigned virtio_most_queues(struct mmioshim_device *dev)
{
    struct virtio *v = virtio_of(dev);
    u64 accepted = v->accepted;
    unsigned most;

    v->accepted = virtio_features(dev);
    most = count(dev, virtio_type(v));
    v->accepted = accepted;
    return most;
}

bool virtio_has_queue(const struct mmioshim_device *dev, u32 queue)
{
    const struct virtio_type *type = virtio_type(virtio_of(dev));

    return type && queue < count(dev, type);
}

void virtio_reset_queue(struct mmioshim_device *dev, unsigned queue)
{
    struct virtio *v = virtio_of(dev);

    virtio_disable(dev, queue);
    v->queues[queue] = (struct virtio_queue){.size = 0};
    v->quiet &= ~(1u << queue);
    v->notified &= ~((u64)1 << queue);
}

void virtio_disable(struct mmioshim_device *dev, unsigned queue)
{
    struct virtio *v = virtio_of(dev);
    const struct virtio_type *type = virtio_type(v);

    v->queues[queue].ready = 0;
    if (type->stopped)
        type->stopped(dev, queue);
}

void virtio_serve(struct mmioshim_device *dev)
{
    struct virtio *v = virtio_of(dev);
    const struct virtio_type *type = virtio_type(v);
    bool later = type && type->later && type->later(dev);
    u64 queues = (later ? ~(u64)0 : 0) | (type && type->has_input ? (u64)1 << type->input : 0) |
                 (type && type->inputs ? type->inputs(dev) : 0);

    if (type && type->attend)
        type->attend(dev);
    queues |= v->notified;
    /* "The device MUST NOT consume buffers or send any used buffer notifications to the driver before DRIVER_OK", 2.1.2 */
    if (!type || !virtio_live(v))
        return;
    if (v->poll && !v->quiet)
        dev->host->poll(dev, v->poll);
    /*
     * A driver can have the device write new requests into its own queue for ever. It has to come back for those: the
     * queue stays notified, and the next access to a register goes on.
     */
    v->left = VIRTIO_AT_ONCE;
    v->again = 0;
    if (!later)
        virtio_recover(dev);
    for (unsigned i = 0; i < type->nqueues; i++)
        if (queues & (u64)1 << i && v->queues[i].ready)
            type->notify(dev, i);
    if (v->left)
        v->notified = (v->notified & ~queues) | v->again;
}

/* How far all queues are. */
static u64 places(const struct virtio *v)
{
    u64 sum = 0;

    for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
        sum = sum * 31 + v->queues[i].done + v->queues[i].ahead;
    return sum;
}

bool virtio_poll(struct mmioshim_device *dev, bool last)
{
    struct virtio *v = virtio_of(dev);
    u64 before = places(v);

    if (!virtio_live(v))
        return false;
    virtio_hush(dev, !last);
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
        v->notified |= (u64)v->queues[i].ready << i;
    virtio_serve(dev);
    return places(v) != before;
}

/* --- configuration space --- */

bool virtio_read_config(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    const struct virtio_type *type = virtio_type(virtio_of(dev));
    u8 space[256] = {0};

    if (!type || offset >= type->config_size || width > type->config_size - offset)
        return false;
    type->config(dev, space);
    *value = 0;
    memcpy(value, space + offset, width);
    return true;
}

bool virtio_write_config(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    const struct virtio_type *type = virtio_type(virtio_of(dev));

    return type && offset < type->config_size && width <= type->config_size - offset && type->set_config &&
           type->set_config(dev, (unsigned)offset, width, (u32)value);
}

void virtio_again(struct mmioshim_device *dev, unsigned queue)
{
    virtio_of(dev)->again |= 1u << queue;
}

void virtio_config_changed(struct mmioshim_device *dev)
{
    struct virtio *v = virtio_of(dev);

    v->generation++;
    if (virtio_live(v) && v->status & VIRTIO_DRIVER_OK)
        v->isr |= VIRTIO_ISR_CONFIG;
}

/* --- snapshots --- */

static bool queue_valid(const struct virtio *v, const struct virtio_queue *q)
{
    bool packed = virtio_accepted(v, VIRTIO_F_RING_PACKED);

    if (q->ready > 1 || q->next_wrap > 1 || q->used_wrap > 1 || q->told_wrap > 1 || q->ahead_wrap > 1 || q->together ||
        (q->align && !v->legacy))
        return false;
    if (!q->ready)
        return true;
    if (!q->size || q->size > VIRTIO_QUEUE_MAX || !(v->status & VIRTIO_FEATURES_OK || v->legacy))
        return false;
    return packed ? q->next < q->size && q->used < q->size && q->told < q->size && q->ahead < q->size : !(q->size & (q->size - 1));
}

/* What is plugged in is no part of a snapshot: with something else it would be that of another machine. */
static bool same_parts(const struct mmioshim_device *dev, const struct virtio *v)
{
    const struct virtio *now = virtio_of(dev);
    const struct virtio_type *type = virtio_type(now);

    if (v->type != now->type || v->legacy != now->legacy || memcmp(v->end, now->end, sizeof(v->end)) != 0)
        return false;
    return type && type->valid ? type->valid(dev, v->own) : memcmp(v->own, now->own, sizeof(v->own)) == 0;
}

bool virtio_valid(const struct mmioshim_device *dev, const struct virtio *v)
{
    if (!same_parts(dev, v) || (v->status & ~STATUS_BITS) || v->isr > (VIRTIO_ISR_USED | VIRTIO_ISR_CONFIG) ||
        v->poll != virtio_of(dev)->poll)
        return false;
    if ((v->status & VIRTIO_FEATURES_OK || v->legacy) && v->accepted & ~virtio_features(dev))
        return false;
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
        if (!queue_valid(v, &v->queues[i]) || (v->queues[i].ready && !virtio_has_queue(dev, i)))
            return false;
    return true;
}

bool virtio_notify(struct mmioshim_device *dev, u32 queue)
{
    struct virtio *v = virtio_of(dev);

    if (virtio_live(v) && virtio_type(v)->waits && virtio_type(v)->waits(dev, queue))
        return false;
    v->notified |= (u64)1 << queue;
    if (virtio_live(v))
        dev->host->soon(dev);
    return true;
}
