/*
 * virtio-iommu: translates what the endpoints behind it reach. Source: VIRTIO
 * 1.2, 5.13. The tables are the core's (mmioshim_iommu); this is how a driver
 * programs them.
 *
 * MMIO mappings are not offered: no device reaches a window. Endpoints have no
 * regions of their own, so that PROBE has nothing to tell.
 */
#include "virtio/virtio.h"

#include <errno.h>

#include "base/mem.h"

#include "base/trapsafe.h"

enum { REQUESTS, EVENTS };

/* Feature bits, 5.13.3 */
enum { F_INPUT_RANGE = 1 << 0, F_DOMAIN_RANGE = 1 << 1, F_MAP_UNMAP = 1 << 2, F_PROBE = 1 << 4, F_BYPASS_CONFIG = 1 << 6 };

#define GRANULE     0x1000ull
#define INPUT_LAST  0xffffffffffffull /* 48 bits, as page tables of four levels reach */
#define DOMAIN_LAST 255u
#define PROBE_SIZE  64u

struct iommu {
    u8 boot;     /* bypass after power-on */
    u8 bypass;   /* the field of the configuration space */
    u8 waiting;  /* a fault waits for a buffer */
    u8 reserved[5];
    u64 doing; /* complement of `done` of the request queue while a request is carried out */
    struct mmioshim_dma_fault fault;
};

struct config { /* 5.13.4 */
    u64 page_size_mask;
    u64 input_first, input_last;
    u32 domain_first, domain_last;
    u32 probe_size;
    u8 bypass, reserved[3];
};

enum { BYPASS_AT = offsetof(struct config, bypass) };

enum { ATTACH = 1, DETACH, MAP, UNMAP, PROBE }; /* 5.13.6 */
enum { S_OK, S_IOERR, S_UNSUPP, S_DEVERR, S_INVAL, S_RANGE, S_NOENT, S_FAULT, S_NOMEM };
enum { ATTACH_F_BYPASS = 1 };
enum { MAP_F_READ = 1, MAP_F_WRITE = 2 };

struct head {
    u8 type, reserved[3];
};

struct tail {
    u8 status, reserved[3];
};

/* What follows the head in what the device reads. */
struct attach {
    u32 domain, endpoint, flags, reserved;
};

struct detach {
    u32 domain, endpoint, reserved[2];
};

struct map {
    u32 domain;
    u64 first, last, target;
    u32 flags;
} __attribute__((packed));

struct unmap {
    u32 domain;
    u64 first, last;
    u32 reserved;
} __attribute__((packed));

struct probe {
    u32 endpoint;
    u8 reserved[64];
};

union body {
    struct attach attach;
    struct detach detach;
    struct map map;
    struct unmap unmap;
    struct probe probe;
};

static struct iommu *iommu_of(const struct mmioshim_device *dev)
{
    return (struct iommu *)virtio_of(dev)->own;
}

/* --- requests --- */

/* -ENOTCONN: "the device MAY set the request status to VIRTIO_IOMMU_S_INVAL" (5.13.6.4.2). */
static u8 status_of(int ret)
{
    switch (ret) {
    case 0:
        return S_OK;
    case -ENOENT:
        return S_NOENT;
    case -ENOMEM:
        return S_NOMEM;
    case -ERANGE:
        return S_RANGE;
    default:
        return S_INVAL;
    }
}

/* "If the feature is not negotiated, any domain value is valid" (5.13.6). */
static bool domain_fits(const struct mmioshim_device *dev, u32 domain)
{
    return domain <= DOMAIN_LAST || !virtio_accepted(virtio_of(dev), F_DOMAIN_RANGE);
}

static bool input_fits(const struct mmioshim_device *dev, u64 last)
{
    return last <= INPUT_LAST || !virtio_accepted(virtio_of(dev), F_INPUT_RANGE);
}

/* 5.13.6.3.2. The flag of bypass is there with the feature only. */
static u8 do_attach(struct mmioshim_device *dev, const struct attach *r)
{
    u32 flags = virtio_accepted(virtio_of(dev), F_BYPASS_CONFIG) ? ATTACH_F_BYPASS : 0;

    if (r->reserved || (r->flags & ~flags))
        return S_INVAL;
    if (!dev->host->iommu->endpoint(dev, r->endpoint))
        return S_NOENT;
    if (!domain_fits(dev, r->domain))
        return S_RANGE;
    return status_of(dev->host->iommu->attach(dev, r->domain, r->endpoint, r->flags & ATTACH_F_BYPASS));
}

/* 5.13.6.4.2. Not attached any more, by who died before he could say so: done. */
static u8 do_detach(struct mmioshim_device *dev, const struct detach *r, bool again)
{
    int ret = dev->host->iommu->detach(dev, r->domain, r->endpoint);

    return again && ret == -ENOTCONN ? S_OK : status_of(ret);
}

/* 5.13.6.5.2. Mapped already, likewise. */
static u8 do_map(struct mmioshim_device *dev, const struct map *r, bool again)
{
    int ret;

    if ((r->flags & ~(u32)(MAP_F_READ | MAP_F_WRITE)) || r->last < r->first)
        return S_INVAL;
    if (r->first % GRANULE || r->target % GRANULE || (r->last + 1) % GRANULE || !input_fits(dev, r->last) ||
        !domain_fits(dev, r->domain))
        return S_RANGE;
    if (r->last - r->first > UINT64_MAX - r->target)
        return S_FAULT;
    ret = dev->host->iommu->map(dev, r->domain, r->first, r->last, r->target, r->flags);
    return again && ret == -EEXIST ? S_OK : status_of(ret);
}

/* 5.13.6.6.2 */
static u8 do_unmap(struct mmioshim_device *dev, const struct unmap *r)
{
    if (r->reserved || r->last < r->first)
        return S_INVAL;
    if (!input_fits(dev, r->last) || !domain_fits(dev, r->domain))
        return S_RANGE;
    return status_of(dev->host->iommu->unmap(dev, r->domain, r->first, r->last));
}

/* Bytes behind the head; 0: there is no such request, or not without a feature that was not accepted. */
static size_t body_size(const struct mmioshim_device *dev, u8 type)
{
    bool maps = virtio_accepted(virtio_of(dev), F_MAP_UNMAP);

    switch (type) {
    case ATTACH:
        return sizeof(struct attach);
    case DETACH:
        return sizeof(struct detach);
    case MAP:
        return maps ? sizeof(struct map) : 0;
    case UNMAP:
        return maps ? sizeof(struct unmap) : 0;
    case PROBE: /* "is present": it may come without having been accepted */
        return sizeof(struct probe);
    default:
        return 0;
    }
}

static u8 carry_out(struct mmioshim_device *dev, u8 type, const union body *body, bool again)
{
    switch (type) {
    case ATTACH:
        return do_attach(dev, &body->attach);
    case DETACH:
        return do_detach(dev, &body->detach, again);
    case MAP:
        return do_map(dev, &body->map, again);
    case UNMAP:
        return do_unmap(dev, &body->unmap);
    default:
        return dev->host->iommu->endpoint(dev, body->probe.endpoint) ? S_OK : S_NOENT;
    }
}

/*
 * "If the properties list is smaller than probe_size, the device SHOULD NOT write any property" (5.13.6.7.2); there are
 * none, so all is zeroes, and the tail behind.
 */
static u32 answer_probe(struct mmioshim_device *dev, struct virtio_cursor *in, u64 room, u8 status)
{
    static const u8 properties[PROBE_SIZE];
    struct tail tail = {.status = status};
    u64 at = room - sizeof(tail);

    if (at < PROBE_SIZE)
        tail.status = S_INVAL;
    if (at < PROBE_SIZE || status != S_OK)
        virtio_skip(in, MIN(at, PROBE_SIZE));
    else if (!virtio_put(dev, in, properties, sizeof(properties)))
        return 0;
    return virtio_put(dev, in, &tail, sizeof(tail)) ? (u32)(MIN(at, PROBE_SIZE) + sizeof(tail)) : 0;
}

/* Bytes written. A request that nobody knows, or whose tail is not there, is given back as it is (5.13.6). */
static u32 request(struct mmioshim_device *dev, const struct virtio_chain *chain, bool again)
{
    struct virtio_cursor out = virtio_out(chain), in = virtio_in(chain);
    struct tail tail = {.status = S_INVAL};
    union body body;
    struct head head;
    size_t size;

    if (chain->in_length < sizeof(tail) || chain->out_length < sizeof(head) || !virtio_take(dev, &out, &head, sizeof(head)))
        return 0;
    size = body_size(dev, head.type);
    if (!size)
        return 0;
    if (chain->out_length - sizeof(head) >= size)
        tail.status = virtio_take(dev, &out, &body, size) ? carry_out(dev, head.type, &body, again) : S_IOERR;
    if (head.type == PROBE)
        return answer_probe(dev, &in, chain->in_length, tail.status);
    return virtio_put(dev, &in, &tail, sizeof(tail)) ? sizeof(tail) : 0;
}

static void serve_requests(struct mmioshim_device *dev)
{
    struct virtio_queue *q = &virtio_of(dev)->queues[REQUESTS];
    struct iommu *iommu = iommu_of(dev);
    struct virtio_chain chain;

    while (virtio_pop(dev, REQUESTS, &chain)) {
        bool again = iommu->doing == ~q->done;

        iommu->doing = ~q->done;
        virtio_push(dev, REQUESTS, &chain, request(dev, &chain, again));
        iommu->doing = 0;
    }
    virtio_signal(dev, REQUESTS);
}

/* --- faults --- */

struct report { /* 5.13.6.9 */
    u8 reason, reserved[3];
    u32 flags, endpoint, reserved1;
    u64 address;
};

enum { R_UNKNOWN, R_DOMAIN, R_MAPPING };
enum { FAULT_F_READ = 1, FAULT_F_WRITE = 2, FAULT_F_ADDRESS = 1 << 8 };

/* "If a buffer is too small to contain the fault report, the device SHOULD NOT use multiple buffers": it is lost. */
static void put_report(struct mmioshim_device *dev, const struct mmioshim_dma_fault *f, const struct virtio_chain *chain)
{
    struct report r = {.reason = f->unattached ? R_DOMAIN : R_MAPPING, .endpoint = f->endpoint, .address = f->addr};
    struct virtio_cursor in = virtio_in(chain);
    bool fits = chain->in_length >= sizeof(r);

    r.flags = FAULT_F_ADDRESS | (f->write ? FAULT_F_WRITE : FAULT_F_READ);
    virtio_push(dev, EVENTS, chain, fits && virtio_put(dev, &in, &r, sizeof(r)) ? sizeof(r) : 0);
}

/* "If no buffer is available, the device can either wait for one to be consumed, or drop the event." It waits. */
static void serve_faults(struct mmioshim_device *dev)
{
    struct iommu *iommu = iommu_of(dev);
    struct virtio_chain chain;

    for (;;) {
        if (!iommu->waiting && !dev->host->iommu->fault(dev, &iommu->fault))
            break;
        iommu->waiting = 1;
        if (!virtio_pop(dev, EVENTS, &chain))
            break;
        put_report(dev, &iommu->fault, &chain);
        iommu->waiting = 0;
    }
    virtio_signal(dev, EVENTS);
}

static void iommu_notify(struct mmioshim_device *dev, unsigned queue)
{
    if (queue == REQUESTS)
        serve_requests(dev);
    else
        serve_faults(dev);
}

/* --- configuration --- */

static u64 iommu_features(const struct mmioshim_device *dev)
{
    (void)dev;
    return F_INPUT_RANGE | F_DOMAIN_RANGE | F_MAP_UNMAP | F_PROBE | F_BYPASS_CONFIG;
}

static void iommu_config(struct mmioshim_device *dev, u8 *space)
{
    struct config c = {.page_size_mask = ~(GRANULE - 1), .input_last = INPUT_LAST, .domain_last = DOMAIN_LAST,
                       .probe_size = PROBE_SIZE, .bypass = iommu_of(dev)->bypass};

    memcpy(space, &c, sizeof(c));
}

/* "The driver MUST NOT write to any other field", nor "a value different than 0 or 1" (5.13.4.1). */
static bool iommu_set_config(struct mmioshim_device *dev, unsigned offset, unsigned width, u32 value)
{
    if (!virtio_accepted(virtio_of(dev), F_BYPASS_CONFIG) || offset != BYPASS_AT || width != 1 || value > 1)
        return false;
    iommu_of(dev)->bypass = (u8)value;
    dev->host->iommu->bypass(dev, value);
    return true;
}

/* --- life --- */

static int iommu_plug(struct mmioshim_device *dev, const char *options, const char **why)
{
    bool off = strcmp(options, "bypass=off") == 0;

    *why = "iommu takes bypass=on and bypass=off";
    if (*options && !off && strcmp(options, "bypass=on") != 0)
        return -1;
    *iommu_of(dev) = (struct iommu){.boot = !off};
    return 0;
}

static int iommu_translates(const struct mmioshim_device *dev)
{
    return iommu_of(dev)->boot;
}

/* "When the device is reset, endpoints are not attached to any domain" (5.13.5). bypass "SHOULD NOT change" (5.13.4.2). */
static void iommu_reset(struct mmioshim_device *dev)
{
    struct iommu *iommu = iommu_of(dev);
    struct mmioshim_dma_fault old;

    iommu->waiting = 0;
    iommu->doing = 0;
    iommu->fault = (struct mmioshim_dma_fault){0};
    if (!dev->host->iommu) /* the machine is reset from outside, tables and all */
        return;
    dev->host->iommu->detach_all(dev);
    while (dev->host->iommu->fault(dev, &old))
        ;
}

/* "... but SHOULD be restored to its initial value on system reset" */
static void iommu_power_on(struct mmioshim_device *dev)
{
    struct iommu *iommu = iommu_of(dev);

    iommu->bypass = iommu->boot;
    if (dev->host->iommu)
        dev->host->iommu->bypass(dev, iommu->bypass);
}

static bool iommu_valid(const struct mmioshim_device *dev, const void *own)
{
    const struct iommu *now = iommu_of(dev), *saved = own;

    return saved->boot == now->boot && saved->bypass <= 1 && saved->waiting <= 1;
}

const struct virtio_type virtio_iommu = {
    .id = VIRTIO_ID_IOMMU,
    .nqueues = 2,
    .modern = true,
    .config_size = sizeof(struct config),
    .name = "iommu",
    .plug = iommu_plug,
    .features = iommu_features,
    .valid = iommu_valid,
    .reset = iommu_reset,
    .power_on = iommu_power_on,
    .translates = iommu_translates,
    .config = iommu_config,
    .set_config = iommu_set_config,
    .notify = iommu_notify,
    .has_input = true, /* a fault is one */
    .input = EVENTS,
};

_Static_assert(sizeof(struct config) == 40 && sizeof(struct map) == 32 && sizeof(struct unmap) == 24, "5.13.6");
_Static_assert(sizeof(struct report) == 24 && sizeof(struct iommu) <= VIRTIO_PRIVATE, "5.13.6.9");
