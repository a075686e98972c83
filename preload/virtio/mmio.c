/*
 * virtio,mmio: the transport's register window, version 2, or 1 where the node
 * or the attachment says so. Source: VIRTIO 1.2, section 4.2.
 *
 * It is a slot: an attachment plugs a device type in. An empty one has
 * DeviceID 0, a placeholder that drivers pass over (4.2.2.2). Having read 0 a
 * driver "MUST abort initialization and MUST NOT access any other register"
 * (4.2.3.1.1): such accesses are answered as by a device that has nothing
 * (reads give 0, writes go nowhere), and reported.
 */
#include "virtio/mmio.h"

#include "base/mem.h"
#include "base/types.h"
#include "mmioshim/device.h"
#include "virtio/mmio_legacy.h"
#include "virtio/virtio.h"

#include "base/trapsafe.h"

static const struct mmioshim_field status_fields[] = {
    {"ACKNOWLEDGE", 0, 1}, {"DRIVER", 1, 1},      {"DRIVER_OK", 2, 1},
    {"FEATURES_OK", 3, 1}, {"NEEDS_RESET", 6, 1}, {"FAILED", 7, 1},
};
static const struct mmioshim_field interrupt_fields[] = {{"USED", 0, 1}, {"CONFIG", 1, 1}};
static const struct mmioshim_field link_fields[] = {{"LINK_UP", 0, 1}, {"ANNOUNCE", 1, 1}};
static const struct mmioshim_field ready_fields[] = {{"READY", 0, 1}};
static const struct mmioshim_field reset_fields[] = {{"RESET", 0, 1}};

/* REGISTER(offset, name, access, one line, other members) */
#define REGISTER(at, label, mode, text, ...) \
    {.name = (label), .offset = (at), .width = 4, .access = MMIOSHIM_##mode, .doc = (text), __VA_ARGS__}
#define VOLATILE .flags = MMIOSHIM_REG_VOLATILE

#define CONFIG(type, at, bytes, label, mode, text, ...) \
    {.name = (label), .offset = VIRTIO_CONFIG + (at), .width = (bytes), .access = MMIOSHIM_##mode, .view = (type), \
     .doc = (text), __VA_ARGS__}
#define BLK(...) CONFIG(VIRTIO_ID_BLOCK, __VA_ARGS__)
#define NET(...) CONFIG(VIRTIO_ID_NET, __VA_ARGS__)
#define IOMMU(...) CONFIG(VIRTIO_ID_IOMMU, __VA_ARGS__)

static const struct mmioshim_register registers[] = {
    REGISTER(VIRTIO_MAGIC_VALUE, "MagicValue", RO, "0x74726976, \"virt\""),
    REGISTER(VIRTIO_VERSION, "Version", RO, "2: virtio 1.x; 1: what was before"),
    REGISTER(VIRTIO_DEVICE_ID, "DeviceID", RO, "device type; 0: none is there"),
    REGISTER(VIRTIO_VENDOR_ID, "VendorID", RO, "who made the device"),
    REGISTER(VIRTIO_DEVICE_FEATURES, "DeviceFeatures", RO, "32 feature bits that the device offers"),
    REGISTER(VIRTIO_DEVICE_FEATURES_SEL, "DeviceFeaturesSel", WO, "which 32 bits DeviceFeatures shows"),
    REGISTER(VIRTIO_DRIVER_FEATURES, "DriverFeatures", WO, "32 feature bits that the driver accepts"),
    REGISTER(VIRTIO_DRIVER_FEATURES_SEL, "DriverFeaturesSel", WO, "which 32 bits DriverFeatures sets"),
    REGISTER(VIRTIO_GUEST_PAGE_SIZE, "GuestPageSize", WO, "version 1: what QueuePFN counts in, in bytes"),
    REGISTER(VIRTIO_QUEUE_SEL, "QueueSel", WO, "queue that the other queue registers are about"),
    REGISTER(VIRTIO_QUEUE_NUM_MAX, "QueueNumMax", RO, "largest size of the queue; 0: no such queue"),
    REGISTER(VIRTIO_QUEUE_NUM, "QueueNum", WO, "size of the queue that the driver will use"),
    REGISTER(VIRTIO_QUEUE_ALIGN, "QueueAlign", WO, "version 1: alignment of the used ring, in bytes"),
    REGISTER(VIRTIO_QUEUE_PFN, "QueuePFN", RW, "version 1: page of the queue, which is in use then; 0: it is not"),
    REGISTER(VIRTIO_QUEUE_READY, "QueueReady", RW, "1: the device may use the queue", MMIOSHIM_FIELDS(ready_fields)),
    REGISTER(VIRTIO_QUEUE_NOTIFY, "QueueNotify", WO, "number of a queue with new buffers"),
    REGISTER(VIRTIO_INTERRUPT_STATUS, "InterruptStatus", RO, "why the interrupt was raised", VOLATILE,
             MMIOSHIM_FIELDS(interrupt_fields)),
    REGISTER(VIRTIO_INTERRUPT_ACK, "InterruptACK", WO, "causes that have been handled",
             MMIOSHIM_FIELDS(interrupt_fields)),
    REGISTER(VIRTIO_STATUS, "Status", RW, "progress of initialisation; writing 0 resets the device", VOLATILE,
             MMIOSHIM_FIELDS(status_fields)),
    REGISTER(VIRTIO_QUEUE_DESC_LOW, "QueueDescLow", WO, "address of the descriptor area"),
    REGISTER(VIRTIO_QUEUE_DESC_HIGH, "QueueDescHigh", WO, "its high half"),
    REGISTER(VIRTIO_QUEUE_DRIVER_LOW, "QueueDriverLow", WO, "address of the driver area (available ring)"),
    REGISTER(VIRTIO_QUEUE_DRIVER_HIGH, "QueueDriverHigh", WO, "its high half"),
    REGISTER(VIRTIO_QUEUE_DEVICE_LOW, "QueueDeviceLow", WO, "address of the device area (used ring)"),
    REGISTER(VIRTIO_QUEUE_DEVICE_HIGH, "QueueDeviceHigh", WO, "its high half"),
    REGISTER(VIRTIO_SHM_SEL, "SHMSel", WO, "shared memory region that the other SHM registers are about"),
    REGISTER(VIRTIO_SHM_LEN_LOW, "SHMLenLow", RO, "length of the region; all ones: no such region"),
    REGISTER(VIRTIO_SHM_LEN_HIGH, "SHMLenHigh", RO, "its high half"),
    REGISTER(VIRTIO_SHM_BASE_LOW, "SHMBaseLow", RO, "address of the region; all ones: no such region"),
    REGISTER(VIRTIO_SHM_BASE_HIGH, "SHMBaseHigh", RO, "its high half"),
    REGISTER(VIRTIO_QUEUE_RESET, "QueueReset", RW, "1: resets the queue", MMIOSHIM_FIELDS(reset_fields)),
    REGISTER(VIRTIO_CONFIG_GENERATION, "ConfigGeneration", RO, "changes when the configuration space does", VOLATILE),
    /* Configuration of a network card, 5.1.4, of a disk, 5.2.4, and others: there while one is plugged in. */
    NET(0x00, 1, "mac", RO, "address of the card, byte by byte", .count = 6, .stride = 1),
    IOMMU(0x00, 8, "page_size_mask", RO, "sizes of pages that can be mapped, a bit each"),
    BLK(0x00, 8, "capacity", RO, "sectors of 512 bytes"),
    CONFIG(VIRTIO_ID_CONSOLE, 0x00, 2, "cols", RO, "columns of the terminal, 0: not known", VOLATILE),
    CONFIG(VIRTIO_ID_CONSOLE, 0x02, 2, "rows", RO, "its rows", VOLATILE),
    CONFIG(VIRTIO_ID_CONSOLE, 0x04, 4, "max_nr_ports", RO, "ports that there can be; 0: not offered"),
    NET(0x06, 2, "status", RO, "of the link", MMIOSHIM_FIELDS(link_fields)),
    NET(0x08, 2, "max_virtqueue_pairs", RO, "pairs of queues that there are; 0: one, and not offered"),
    CONFIG(VIRTIO_ID_CONSOLE, 0x08, 4, "emerg_wr", WO, "writes a character at once", .flags = MMIOSHIM_REG_DATA),
    IOMMU(0x08, 8, "input_range_start", RO, "first address that can be mapped"),
    BLK(0x08, 4, "size_max", RO, "most bytes of a segment of data"),
    NET(0x0a, 2, "mtu", RO, "longest packet that the network takes; 0: not offered"),
    BLK(0x0c, 4, "seg_max", RO, "most segments of data in a request"),
    IOMMU(0x10, 8, "input_range_end", RO, "last address that can be mapped"),
    BLK(0x10, 4, "geometry", RO, "not offered: 0"),
    BLK(0x14, 4, "blk_size", RO, "bytes of a block, to which requests should be aligned"),
    IOMMU(0x18, 4, "domain_range_start", RO, "first number of a domain"),
    BLK(0x18, 1, "physical_block_exp", RO, "log2 of logical blocks in a physical one"),
    BLK(0x19, 1, "alignment_offset", RO, "of the first aligned logical block"),
    BLK(0x1a, 2, "min_io_size", RO, "suggested minimum in blocks"),
    IOMMU(0x1c, 4, "domain_range_end", RO, "last number of a domain"),
    BLK(0x1c, 4, "opt_io_size", RO, "suggested optimum in blocks, 0: none"),
    IOMMU(0x20, 4, "probe_size", RO, "bytes of properties in a PROBE request"),
    BLK(0x20, 1, "writeback", RW, "1: data is safe after a flush; 0: after each write"),
    BLK(0x22, 2, "num_queues", RO, "not offered: 0"),
    IOMMU(0x24, 1, "bypass", RW, "1: devices that are attached to no domain reach RAM by its addresses"),
    BLK(0x24, 4, "max_discard_sectors", RO, "of one range"),
    BLK(0x28, 4, "max_discard_seg", RO, "ranges of one request"),
    BLK(0x2c, 4, "discard_sector_alignment", RO, "in sectors"),
    BLK(0x30, 4, "max_write_zeroes_sectors", RO, "of one range"),
    BLK(0x34, 4, "max_write_zeroes_seg", RO, "ranges of one request"),
    BLK(0x38, 1, "write_zeroes_may_unmap", RO, "1: zeroed ranges may take no room in the file"),
};

static const struct mmioshim_register *find_register(u64 offset)
{
    for (unsigned i = 0; i < ARRAY_SIZE(registers); i++)
        if (registers[i].offset == (offset & ~(u64)3))
            return &registers[i];
    return NULL;
}

/* "The driver MUST only use 32 bit wide and aligned reads and writes to access the control registers" (4.2.2.2). */
static enum mmioshim_status check(const struct mmioshim_device *dev, u64 offset, unsigned width,
                                  const struct mmioshim_register **reg)
{
    *reg = offset < VIRTIO_CONFIG ? find_register(offset) : NULL;
    if (!*reg || legacy_register((*reg)->offset) == !virtio_of(dev)->legacy) /* one of the other version */
        return MMIOSHIM_NO_REGISTER;
    return width == 4 && offset % 4 == 0 ? MMIOSHIM_OK : MMIOSHIM_BAD_WIDTH;
}

/* What a device that is not there shows: nothing. All ones is how "no such region" is said (4.2.2). */
static enum mmioshim_status read_absent(const struct mmioshim_register *reg, u64 *value)
{
    if (reg->access == MMIOSHIM_WO)
        return MMIOSHIM_WRITE_ONLY;
    if (reg->offset >= VIRTIO_SHM_LEN_LOW && reg->offset <= VIRTIO_SHM_BASE_HIGH)
        *value = UINT32_MAX;
    return MMIOSHIM_GUEST_BUG;
}

/* --- registers --- */

static u32 half(u64 value, u32 select)
{
    return select < 2 ? (u32)(value >> 32 * select) : 0;
}

static struct virtio_queue *selected(struct mmioshim_device *dev)
{
    struct transport *t = dev->state;

    return virtio_has_queue(dev, t->queue) ? &t->virtio.queues[t->queue] : NULL;
}

static void update_line(struct mmioshim_device *dev)
{
    dev->host->irq(dev, 0, virtio_of(dev)->isr != 0);
}

/* There is a device behind: what its registers show. */
static enum mmioshim_status read_register(struct mmioshim_device *dev, const struct mmioshim_register *reg, u64 *value)
{
    const struct transport *t = dev->state;
    const struct virtio_queue *q = selected(dev);

    switch (reg->offset) {
    case VIRTIO_DEVICE_FEATURES:
        *value = half(virtio_features(dev), t->device_features);
        break;
    case VIRTIO_QUEUE_NUM_MAX:
        *value = q ? VIRTIO_QUEUE_MAX : 0;
        break;
    case VIRTIO_QUEUE_READY:
        *value = q ? q->ready : 0;
        break;
    case VIRTIO_INTERRUPT_STATUS:
        *value = t->virtio.isr;
        break;
    case VIRTIO_STATUS: /* before 1.0 a device had no way to ask for a reset */
        *value = t->virtio.status & ~(t->virtio.legacy ? VIRTIO_NEEDS_RESET : 0u);
        break;
    case VIRTIO_QUEUE_PFN: /* "returns the currently used page number of the queue" */
        *value = q && q->ready && t->page_size ? q->desc / t->page_size : 0;
        break;
    case VIRTIO_QUEUE_RESET: /* 1 while it is under way: it is done at once */
        break;
    case VIRTIO_CONFIG_GENERATION:
        *value = t->virtio.generation;
        break;
    default:
        return read_absent(reg, value) == MMIOSHIM_WRITE_ONLY ? MMIOSHIM_WRITE_ONLY : MMIOSHIM_OK;
    }
    return MMIOSHIM_OK;
}

/* "The driver MUST only use 8, 16 or 32 bit wide and aligned" accesses, as the fields are (4.2.2.2). */
static enum mmioshim_status check_config(const struct mmioshim_device *dev, u64 offset, unsigned width)
{
    const struct virtio_type *type = virtio_type(virtio_of(dev));
    u64 at = offset - VIRTIO_CONFIG;

    if (!type || at >= type->config_size)
        return MMIOSHIM_NO_REGISTER;
    return width <= 4 && at % width == 0 && width <= type->config_size - at ? MMIOSHIM_OK : MMIOSHIM_BAD_WIDTH;
}

static enum mmioshim_status read_config(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    enum mmioshim_status status = check_config(dev, offset, width);

    if (status == MMIOSHIM_OK)
        virtio_read_config(dev, offset - VIRTIO_CONFIG, width, value);
    return status;
}

static enum mmioshim_status virtio_mmio_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    const struct virtio_type *type = virtio_type(virtio_of(dev));
    const struct mmioshim_register *reg;
    enum mmioshim_status status = check(dev, offset, width, &reg);

    *value = 0;
    if (offset >= VIRTIO_CONFIG)
        return read_config(dev, offset, width, value);
    if (status != MMIOSHIM_OK)
        return status;
    switch (offset) {
    case VIRTIO_MAGIC_VALUE:
        *value = VIRTIO_MAGIC;
        return MMIOSHIM_OK;
    case VIRTIO_VERSION:
        *value = virtio_of(dev)->legacy ? VIRTIO_MMIO_LEGACY : VIRTIO_MMIO_VERSION;
        return MMIOSHIM_OK;
    case VIRTIO_DEVICE_ID:
        *value = type ? type->id : VIRTIO_ID_NONE;
        return MMIOSHIM_OK;
    case VIRTIO_VENDOR_ID:
        *value = VIRTIO_VENDOR;
        return MMIOSHIM_OK;
    default:
        if (virtio_of(dev)->notified && virtio_live(virtio_of(dev)))
            dev->host->soon(dev); /* not yet done, or begun by a process that died */
        return type ? read_register(dev, reg, value) : read_absent(reg, value);
    }
}

static enum mmioshim_status rule(bool kept)
{
    return kept ? MMIOSHIM_OK : MMIOSHIM_GUEST_BUG;
}

/*
 * 2.2.1, 3.1.1: features are settled with FEATURES_OK, or in a legacy interface, which has no way to say no, by DRIVER_OK
 * (2.2.3).
 */
static enum mmioshim_status accept_features(struct mmioshim_device *dev, u32 value)
{
    struct transport *t = dev->state;
    u32 shift = 32 * (t->driver_features & 1);
    u64 accepted = (t->virtio.accepted & ~((u64)UINT32_MAX << shift)) | (u64)value << shift;

    if (t->virtio.status & (t->virtio.legacy ? VIRTIO_DRIVER_OK : VIRTIO_FEATURES_OK))
        return MMIOSHIM_GUEST_BUG;
    if (t->driver_features > 1)
        return rule(!value);
    if (t->virtio.legacy)
        return rule(virtio_accept_legacy(dev, accepted));
    t->virtio.accepted = accepted;
    return MMIOSHIM_OK;
}

/* "The driver MUST NOT access QueueNum, ... QueueDescLow, ... when QueueReady is not zero" (4.2.2.2). */
static enum mmioshim_status describe_queue(struct virtio_queue *q, u32 offset, u32 value)
{
    u64 *area = offset < VIRTIO_QUEUE_DRIVER_LOW ? &q->desc : offset < VIRTIO_QUEUE_DEVICE_LOW ? &q->driver : &q->device;

    if (q->ready)
        return MMIOSHIM_GUEST_BUG;
    if (offset == VIRTIO_QUEUE_NUM) {
        q->size = (u16)MIN(value, UINT16_MAX);
        return rule(value <= VIRTIO_QUEUE_MAX);
    }
    if (offset % 8)
        *area = (*area & UINT32_MAX) | (u64)value << 32;
    else
        *area = (*area & ~(u64)UINT32_MAX) | value;
    return MMIOSHIM_OK;
}

static enum mmioshim_status set_ready(struct mmioshim_device *dev, u32 queue, u32 value)
{
    struct virtio_queue *q = &virtio_of(dev)->queues[queue];

    if (value > 1)
        return MMIOSHIM_GUEST_BUG;
    if (value == q->ready)
        return MMIOSHIM_OK;
    if (value)
        return rule(virtio_enable(dev, queue));
    virtio_disable(dev, queue);
    return MMIOSHIM_OK;
}

static enum mmioshim_status reset_queue(struct mmioshim_device *dev, u32 queue, u32 value)
{
    if (value > 1 || !virtio_accepted(virtio_of(dev), VIRTIO_F_RING_RESET))
        return MMIOSHIM_GUEST_BUG;
    if (value)
        virtio_reset_queue(dev, queue);
    return MMIOSHIM_OK;
}

static enum mmioshim_status write_queue(struct mmioshim_device *dev, u32 offset, u32 value)
{
    struct transport *t = dev->state;
    struct virtio_queue *q = selected(dev);

    if (!q)
        return MMIOSHIM_GUEST_BUG;
    switch (offset) {
    case VIRTIO_QUEUE_READY:
        return set_ready(dev, t->queue, value);
    case VIRTIO_QUEUE_ALIGN:
        return legacy_set_align(q, value);
    case VIRTIO_QUEUE_PFN:
        return legacy_set_page(dev, t->queue, value);
    case VIRTIO_QUEUE_RESET:
        return reset_queue(dev, t->queue, value);
    default:
        return describe_queue(q, offset, value);
    }
}

/* 4.2.2: a queue's number, or with NOTIFICATION_DATA that in the low half, and how far the driver is in the high one. */
static enum mmioshim_status notify(struct mmioshim_device *dev, u32 value)
{
    struct virtio *v = virtio_of(dev);
    u32 queue = virtio_accepted(v, VIRTIO_F_NOTIFICATION_DATA) ? value & 0xffff : value;

    if (!virtio_has_queue(dev, queue) || !v->queues[queue].ready)
        return MMIOSHIM_GUEST_BUG;
    if (!virtio_notify(dev, queue))
        return MMIOSHIM_WAIT;
    return rule(v->status & VIRTIO_DRIVER_OK || v->legacy); /* "... MUST NOT send any buffer available notifications before", 3.1.1 */
}

static enum mmioshim_status set_status(struct mmioshim_device *dev, u32 value)
{
    struct transport *t = dev->state;
    bool good = virtio_set_status(dev, (u8)value) && value <= UINT8_MAX;

    if (!(value & UINT8_MAX))
        t->device_features = t->driver_features = t->queue = 0;
    update_line(dev);
    if (t->virtio.notified && virtio_live(&t->virtio))
        dev->host->soon(dev);
    return rule(good);
}

static enum mmioshim_status acknowledge(struct mmioshim_device *dev, u32 value)
{
    virtio_of(dev)->isr &= (u8)~value;
    update_line(dev);
    return rule(!(value & ~(u32)(VIRTIO_ISR_USED | VIRTIO_ISR_CONFIG)));
}

static enum mmioshim_status write_register(struct mmioshim_device *dev, u32 offset, u32 value)
{
    struct transport *t = dev->state;

    switch (offset) {
    case VIRTIO_DEVICE_FEATURES_SEL:
        t->device_features = value;
        return MMIOSHIM_OK;
    case VIRTIO_DRIVER_FEATURES_SEL:
        t->driver_features = value;
        return MMIOSHIM_OK;
    case VIRTIO_DRIVER_FEATURES:
        return accept_features(dev, value);
    case VIRTIO_GUEST_PAGE_SIZE:
        return legacy_set_page_size(dev, value);
    case VIRTIO_QUEUE_SEL:
        t->queue = value;
        return MMIOSHIM_OK;
    case VIRTIO_QUEUE_NOTIFY:
        return notify(dev, value);
    case VIRTIO_INTERRUPT_ACK:
        return acknowledge(dev, value);
    case VIRTIO_STATUS:
        return set_status(dev, value);
    case VIRTIO_SHM_SEL: /* no type has shared memory */
        return MMIOSHIM_OK;
    default:
        return write_queue(dev, offset, value);
    }
}

static enum mmioshim_status write_config(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    enum mmioshim_status status = check_config(dev, offset, width);

    if (status == MMIOSHIM_OK && !virtio_write_config(dev, offset - VIRTIO_CONFIG, width, value))
        status = MMIOSHIM_READ_ONLY;
    return status;
}

static enum mmioshim_status virtio_mmio_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    const struct mmioshim_register *reg;
    enum mmioshim_status status = check(dev, offset, width, &reg);

    if (offset >= VIRTIO_CONFIG)
        return write_config(dev, offset, width, value);
    if (status != MMIOSHIM_OK)
        return status;
    if (reg->access == MMIOSHIM_RO)
        return MMIOSHIM_READ_ONLY;
    return virtio_type(virtio_of(dev)) ? write_register(dev, (u32)offset, (u32)value) : MMIOSHIM_GUEST_BUG;
}

static void virtio_mmio_service(struct mmioshim_device *dev)
{
    virtio_serve(dev);
    update_line(dev);
}

static bool virtio_mmio_poll(struct mmioshim_device *dev, bool last)
{
    bool moved = virtio_poll(dev, last);

    update_line(dev);
    return moved;
}

static unsigned virtio_mmio_view(const struct mmioshim_device *dev)
{
    const struct virtio_type *type = virtio_type(virtio_of(dev));

    return type ? type->id : 0;
}

/* --- life --- */

/* What is plugged in stays, whatever is reset. */
static void virtio_mmio_reset(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    struct transport *t = dev->state;

    (void)kind;
    t->device_features = t->driver_features = t->queue = t->page_size = 0;
    virtio_power_on(dev);
    update_line(dev);
}

static int virtio_mmio_create(struct mmioshim_device *dev, const struct mmioshim_node *node, const char **why)
{
    (void)why;
    virtio_of(dev)->legacy = dev->host->property(node, "mmioshim,legacy", &(u32){0}) != NULL;
    return 0;
}

static const char *virtio_mmio_end(const struct mmioshim_device *dev)
{
    return virtio_of(dev)->end;
}

static int virtio_mmio_load(struct mmioshim_device *dev, u32 version, const void *buf, size_t size)
{
    struct transport saved;

    if (version != 3 || size != sizeof(saved))
        return -1;
    memcpy(&saved, buf, sizeof(saved));
    if ((saved.page_size & (saved.page_size - 1)) || (legacy_ready(&saved.virtio) && saved.virtio.legacy && !saved.page_size) ||
        !virtio_valid(dev, &saved.virtio))
        return -1;
    memcpy(dev->state, &saved, sizeof(saved));
    update_line(dev);
    return 0;
}

static const char *const compatible[] = {"virtio,mmio", NULL};

static const struct mmioshim_property properties[] = {
    {"mmioshim,legacy", "version 1 of the registers, as before VIRTIO 1.0; so does `,legacy` at the end of an attachment"},
    {NULL, NULL},
};

const struct mmioshim_class class_virtio_mmio = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "virtio_mmio",
    .label = "VIRTIO",
    .description = "virtio-mmio transport: a slot for a virtio device",
    .compatible = compatible,
    .properties = properties,
    .parts = virtio_parts,
    .min_size = VIRTIO_CONFIG,
    .widths = 1 | 2 | 4 | 8, /* the device decides: configuration space has natural widths, registers have 4 */
    .split = false,
    .registers = registers,
    .nregisters = ARRAY_SIZE(registers),
    .lines = 1,
    .version = 3,
    .state_size = sizeof(struct transport),
    .create = virtio_mmio_create,
    .plug = legacy_plug,
    .end = virtio_mmio_end,
    .translates = virtio_translates,
    .reset = virtio_mmio_reset,
    .read = virtio_mmio_read,
    .write = virtio_mmio_write,
    .view = virtio_mmio_view,
    .service = virtio_mmio_service,
    .poll = virtio_mmio_poll,
    .load = virtio_mmio_load,
};
