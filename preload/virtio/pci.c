/*
 * virtio over PCI: the transport's structures behind one BAR, and the capabilities that say where they are. Source:
 * VIRTIO 1.2, section 4.1. Modern only: vendor 0x1af4, device 0x1040 and the type.
 *
 * With MSI-X each queue has a vector of its own, and the configuration another one; else one pin serves all, and the
 * ISR register tells why (4.1.4.5).
 */
#include "base/mem.h"
#include "virtio/pci.h"
#include "virtio/virtio.h"

#include "base/trapsafe.h"

/* 4.1.4.3 */
enum {
    DEVICE_FEATURE_SELECT = 0x00,
    DEVICE_FEATURE = 0x04,
    DRIVER_FEATURE_SELECT = 0x08,
    DRIVER_FEATURE = 0x0c,
    CONFIG_VECTOR = 0x10,
    NUM_QUEUES = 0x12,
    DEVICE_STATUS = 0x14,
    CONFIG_GENERATION = 0x15,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_VECTOR = 0x1a,
    QUEUE_ENABLE = 0x1c,
    QUEUE_NOTIFY_OFF = 0x1e,
    QUEUE_DESC = 0x20,
    QUEUE_DRIVER = 0x28,
    QUEUE_DEVICE = 0x30,
    QUEUE_NOTIFY_DATA = 0x38,
    QUEUE_RESET = 0x3a,
};

#define NO_VECTOR 0xffffu /* 4.1.5.1.2 */

struct transport {
    struct virtio virtio; /* first: virtio_of() */
    u32 device_select, driver_select;
    u16 queue, config_vector;
    u16 vectors[VIRTIO_QUEUES];
    u32 told_generation; /* of the configuration that the driver was last told of, */
    u32 told_status;     /* and whether it was told that a reset is needed */
};

static const struct mmioshim_field status_fields[] = {
    {"ACKNOWLEDGE", 0, 1}, {"DRIVER", 1, 1},      {"DRIVER_OK", 2, 1},
    {"FEATURES_OK", 3, 1}, {"NEEDS_RESET", 6, 1}, {"FAILED", 7, 1},
};
static const struct mmioshim_field isr_fields[] = {{"QUEUE", 0, 1}, {"CONFIG", 1, 1}};
static const struct mmioshim_field enable_fields[] = {{"ENABLE", 0, 1}};
static const struct mmioshim_field reset_fields[] = {{"RESET", 0, 1}};

#define REGISTER(at, bytes, label, mode, text, ...) \
    {.name = (label), .offset = (at), .width = (bytes), .access = MMIOSHIM_##mode, .doc = (text), __VA_ARGS__}

static const struct mmioshim_register registers[] = {
    REGISTER(DEVICE_FEATURE_SELECT, 4, "device_feature_select", RW, "which 32 bits device_feature shows"),
    REGISTER(DEVICE_FEATURE, 4, "device_feature", RO, "32 feature bits that the device offers"),
    REGISTER(DRIVER_FEATURE_SELECT, 4, "driver_feature_select", RW, "which 32 bits driver_feature is"),
    REGISTER(DRIVER_FEATURE, 4, "driver_feature", RW, "32 feature bits that the driver accepts"),
    REGISTER(CONFIG_VECTOR, 2, "config_msix_vector", RW, "vector of configuration changes, 0xffff: none"),
    REGISTER(NUM_QUEUES, 2, "num_queues", RO, "how many queues there are"),
    REGISTER(DEVICE_STATUS, 1, "device_status", RW, "progress of initialisation; writing 0 resets the device",
             .flags = MMIOSHIM_REG_VOLATILE, MMIOSHIM_FIELDS(status_fields)),
    REGISTER(CONFIG_GENERATION, 1, "config_generation", RO, "changes when the configuration does", .flags = MMIOSHIM_REG_VOLATILE),
    REGISTER(QUEUE_SELECT, 2, "queue_select", RW, "queue that the other queue registers are about"),
    REGISTER(QUEUE_SIZE, 2, "queue_size", RW, "entries; 0: no such queue"),
    REGISTER(QUEUE_VECTOR, 2, "queue_msix_vector", RW, "vector of the queue, 0xffff: none"),
    REGISTER(QUEUE_ENABLE, 2, "queue_enable", RW, "1: the device may use the queue", MMIOSHIM_FIELDS(enable_fields)),
    REGISTER(QUEUE_NOTIFY_OFF, 2, "queue_notify_off", RO, "place of the queue among the notifications"),
    REGISTER(QUEUE_DESC, 8, "queue_desc", RW, "address of the descriptor area"),
    REGISTER(QUEUE_DRIVER, 8, "queue_driver", RW, "address of the driver area (available ring)"),
    REGISTER(QUEUE_DEVICE, 8, "queue_device", RW, "address of the device area (used ring)"),
    REGISTER(QUEUE_NOTIFY_DATA, 2, "queue_notify_data", RO, "not offered: 0"),
    REGISTER(QUEUE_RESET, 2, "queue_reset", RW, "1: resets the queue", MMIOSHIM_FIELDS(reset_fields)),
    REGISTER(VIRTIO_PCI_ISR, 1, "ISR", RO, "why the interrupt was raised; reading clears", .flags = MMIOSHIM_REG_VOLATILE,
             MMIOSHIM_FIELDS(isr_fields)),
    REGISTER(VIRTIO_PCI_NOTIFY, VIRTIO_PCI_NOTIFY_STEP, "notify", WO, "the queue has new buffers", .count = VIRTIO_QUEUES,
             .stride = VIRTIO_PCI_NOTIFY_STEP),
};

static enum mmioshim_status rule(bool kept)
{
    return kept ? MMIOSHIM_OK : MMIOSHIM_GUEST_BUG;
}

/* --- interrupts --- */

static void send(struct mmioshim_device *dev, u16 vector)
{
    if (vector != NO_VECTOR)
        dev->host->irq(dev, 1u + vector, true);
}

/* 4.1.5.3, 4.1.5.4: a message for each queue that has something, and one for the configuration. */
static void send_messages(struct mmioshim_device *dev)
{
    struct transport *t = dev->state;
    struct virtio *v = &t->virtio;
    u32 broken = v->status & VIRTIO_NEEDS_RESET;

    for (u32 left = v->signals; left; left &= left - 1)
        send(dev, t->vectors[__builtin_ctz(left)]);
    if ((v->isr & VIRTIO_ISR_CONFIG) && (t->told_generation != v->generation || t->told_status != broken))
        send(dev, t->config_vector);
    t->told_generation = v->generation;
    t->told_status = broken;
    v->isr &= (u8)~VIRTIO_ISR_USED;
}

static void interrupts(struct mmioshim_device *dev)
{
    struct virtio *v = virtio_of(dev);

    if (dev->host->messages(dev))
        send_messages(dev);
    else
        dev->host->irq(dev, 0, v->isr != 0);
    v->signals = 0;
}

/* --- common configuration --- */

static struct virtio_queue *selected(struct mmioshim_device *dev)
{
    struct transport *t = dev->state;

    return virtio_has_queue(dev, t->queue) ? &t->virtio.queues[t->queue] : NULL;
}

static u32 half(u64 value, u32 select)
{
    return select < 2 ? (u32)(value >> 32 * select) : 0;
}

/* The address that a register is half of. NULL: it is none of these. */
static u64 *area_of(struct virtio_queue *q, u64 offset)
{
    switch (offset & ~(u64)7) {
    case QUEUE_DESC:
        return &q->desc;
    case QUEUE_DRIVER:
        return &q->driver;
    case QUEUE_DEVICE:
        return &q->device;
    }
    return NULL;
}

/* "a queue_size of 0 means the queue is unavailable"; after a reset it is the largest that the device takes, 4.1.4.3. */
static u64 read_queue(struct mmioshim_device *dev, u64 offset)
{
    const struct transport *t = dev->state;
    struct virtio_queue *q = selected(dev);

    switch (q ? offset : 0) {
    case QUEUE_SIZE:
        return q->size ? q->size : VIRTIO_QUEUE_MAX;
    case QUEUE_VECTOR:
        return t->vectors[t->queue];
    case QUEUE_ENABLE:
        return q->ready;
    case QUEUE_NOTIFY_OFF:
        return t->queue;
    case QUEUE_NOTIFY_DATA:
    case QUEUE_RESET: /* 1 while it is under way: it is done at once */
        return 0;
    case 0:
        return offset == QUEUE_VECTOR ? NO_VECTOR : 0;
    }
    return half(*area_of(q, offset), offset >> 2 & 1);
}

static u64 read_common(struct mmioshim_device *dev, u64 offset)
{
    const struct transport *t = dev->state;
    const struct virtio *v = &t->virtio;

    switch (offset) {
    case DEVICE_FEATURE_SELECT:
        return t->device_select;
    case DEVICE_FEATURE:
        return half(virtio_features(dev), t->device_select);
    case DRIVER_FEATURE_SELECT:
        return t->driver_select;
    case DRIVER_FEATURE:
        return half(v->accepted, t->driver_select);
    case CONFIG_VECTOR:
        return t->config_vector;
    case NUM_QUEUES:
        return virtio_most_queues(dev);
    case DEVICE_STATUS:
        return v->status;
    case CONFIG_GENERATION:
        return v->generation & 0xff;
    case QUEUE_SELECT:
        return t->queue;
    }
    return read_queue(dev, offset);
}

/* 2.2.1, 3.1.1: features are settled with FEATURES_OK. */
static enum mmioshim_status accept_features(struct transport *t, u32 value)
{
    u32 shift = 32 * (t->driver_select & 1);

    if (t->virtio.status & VIRTIO_FEATURES_OK)
        return MMIOSHIM_GUEST_BUG;
    if (t->driver_select > 1)
        return rule(!value);
    t->virtio.accepted = (t->virtio.accepted & ~((u64)UINT32_MAX << shift)) | (u64)value << shift;
    return MMIOSHIM_OK;
}

/* "Upon reset ... all vectors are unmapped"; one that is not there "is returned as NO_VECTOR", 4.1.5.1.2.1. */
static u16 vector(const struct mmioshim_device *dev, u64 value)
{
    return value <= virtio_type(virtio_of(dev))->nqueues ? (u16)value : NO_VECTOR;
}

static void forget(struct transport *t)
{
    t->device_select = t->driver_select = 0;
    t->queue = 0;
    t->config_vector = NO_VECTOR;
    memset(t->vectors, 0xff, sizeof(t->vectors));
    t->told_generation = t->virtio.generation;
    t->told_status = 0;
}

static enum mmioshim_status set_status(struct mmioshim_device *dev, u64 value)
{
    struct transport *t = dev->state;
    bool good = virtio_set_status(dev, (u8)value);

    if (!value)
        forget(t);
    if (t->virtio.notified && virtio_live(&t->virtio))
        dev->host->soon(dev);
    return rule(good);
}

/* "The driver MUST NOT write a 0 to queue_enable", 4.1.4.3.2. */
static enum mmioshim_status enable(struct mmioshim_device *dev, struct virtio_queue *q, u64 value)
{
    struct transport *t = dev->state;

    if (value != 1)
        return MMIOSHIM_GUEST_BUG;
    if (!q->size)
        q->size = VIRTIO_QUEUE_MAX;
    return rule(q->ready || virtio_enable(dev, t->queue));
}

static enum mmioshim_status reset_queue(struct mmioshim_device *dev, u64 value)
{
    struct transport *t = dev->state;

    if (value != 1 || !virtio_accepted(&t->virtio, VIRTIO_F_RING_RESET))
        return MMIOSHIM_GUEST_BUG;
    virtio_reset_queue(dev, t->queue);
    return MMIOSHIM_OK;
}

/* "The driver MUST configure the other virtqueue fields before enabling the virtqueue", 4.1.4.3.2. */
static enum mmioshim_status describe_queue(struct virtio_queue *q, u64 offset, u64 value)
{
    u64 *area = area_of(q, offset);

    if (q->ready)
        return MMIOSHIM_GUEST_BUG;
    if (offset == QUEUE_SIZE) {
        q->size = (u16)value;
        return rule(value && value <= VIRTIO_QUEUE_MAX);
    }
    if (offset & 4)
        *area = (*area & UINT32_MAX) | value << 32;
    else
        *area = (*area & ~(u64)UINT32_MAX) | value;
    return MMIOSHIM_OK;
}

static enum mmioshim_status write_queue(struct mmioshim_device *dev, u64 offset, u64 value)
{
    struct transport *t = dev->state;
    struct virtio_queue *q = selected(dev);

    if (!q)
        return MMIOSHIM_GUEST_BUG;
    switch (offset) {
    case QUEUE_VECTOR:
        t->vectors[t->queue] = vector(dev, value);
        return MMIOSHIM_OK;
    case QUEUE_ENABLE:
        return enable(dev, q, value);
    case QUEUE_RESET:
        return reset_queue(dev, value);
    }
    return describe_queue(q, offset, value);
}

static enum mmioshim_status write_common(struct mmioshim_device *dev, u64 offset, u64 value)
{
    struct transport *t = dev->state;

    switch (offset) {
    case DEVICE_FEATURE_SELECT:
        t->device_select = (u32)value;
        return MMIOSHIM_OK;
    case DRIVER_FEATURE_SELECT:
        t->driver_select = (u32)value;
        return MMIOSHIM_OK;
    case DRIVER_FEATURE:
        return accept_features(t, (u32)value);
    case CONFIG_VECTOR:
        t->config_vector = vector(dev, value);
        return MMIOSHIM_OK;
    case DEVICE_STATUS:
        return set_status(dev, value);
    case QUEUE_SELECT:
        t->queue = (u16)value;
        return MMIOSHIM_OK;
    }
    return write_queue(dev, offset, value);
}

/*
 * "... 8-bit wide accesses for 8-bit wide fields, 16-bit wide and aligned accesses for 16-bit wide fields and 32-bit wide
 * and aligned accesses for 32-bit and 64-bit wide fields", 4.1.3.1. A wider one reaches its fields one after another.
 */
static enum mmioshim_status check_common(u64 offset, unsigned width, const struct mmioshim_register **reg)
{
    for (unsigned i = 0; i < ARRAY_SIZE(registers); i++) {
        const struct mmioshim_register *r = &registers[i];

        if (offset - r->offset >= r->width)
            continue;
        *reg = r;
        return width == MIN(r->width, 4) && (offset - r->offset) % width == 0 ? MMIOSHIM_OK : MMIOSHIM_BAD_WIDTH;
    }
    return MMIOSHIM_NO_REGISTER;
}

/* --- the other structures --- */

/* 4.1.4.5: "reading this register resets it to 0 and causes the device to de-assert the interrupt" */
static enum mmioshim_status read_isr(struct mmioshim_device *dev, unsigned width, u64 *value)
{
    struct virtio *v = virtio_of(dev);

    if (width != VIRTIO_PCI_ISR_SIZE)
        return MMIOSHIM_BAD_WIDTH;
    *value = v->isr;
    v->isr = 0;
    dev->host->irq(dev, 0, false);
    return MMIOSHIM_OK;
}

static enum mmioshim_status check_config(const struct mmioshim_device *dev, u64 at, unsigned width)
{
    const struct virtio_type *type = virtio_type(virtio_of(dev));

    if (at >= type->config_size)
        return MMIOSHIM_NO_REGISTER;
    return width <= 4 && at % width == 0 && width <= type->config_size - at ? MMIOSHIM_OK : MMIOSHIM_BAD_WIDTH;
}

static enum mmioshim_status read_config(struct mmioshim_device *dev, u64 at, unsigned width, u64 *value)
{
    enum mmioshim_status status = check_config(dev, at, width);

    if (status == MMIOSHIM_OK)
        virtio_read_config(dev, at, width, value);
    return status;
}

static enum mmioshim_status write_config(struct mmioshim_device *dev, u64 at, unsigned width, u64 value)
{
    enum mmioshim_status status = check_config(dev, at, width);

    if (status == MMIOSHIM_OK && !virtio_write_config(dev, at, width, value))
        status = MMIOSHIM_READ_ONLY;
    return status;
}

static bool notified_place(const struct mmioshim_device *dev, u64 at)
{
    return virtio_has_queue(dev, (u32)(at / VIRTIO_PCI_NOTIFY_STEP));
}

/* 4.1.5.2: the queue's number in 16 bits, or with NOTIFICATION_DATA 32 bits that tell how far the driver is, too. */
static enum mmioshim_status notify(struct mmioshim_device *dev, u64 at, unsigned width, u64 value)
{
    struct virtio *v = virtio_of(dev);
    bool data = virtio_accepted(v, VIRTIO_F_NOTIFICATION_DATA);
    u32 queue = (u32)(at / VIRTIO_PCI_NOTIFY_STEP);

    if (!notified_place(dev, at))
        return MMIOSHIM_NO_REGISTER;
    if (at % VIRTIO_PCI_NOTIFY_STEP || width < 2)
        return MMIOSHIM_BAD_WIDTH;
    if (!v->queues[queue].ready)
        return MMIOSHIM_GUEST_BUG;
    if (!virtio_notify(dev, queue))
        return MMIOSHIM_WAIT;
    return rule((v->status & VIRTIO_DRIVER_OK) && (value & 0xffff) == queue && width == (data ? 4 : 2));
}

static enum mmioshim_status virtio_pci_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    const struct mmioshim_register *reg;
    enum mmioshim_status status;

    *value = 0;
    if (!virtio_type(virtio_of(dev)))
        return MMIOSHIM_NO_REGISTER;
    if (offset >= VIRTIO_PCI_NOTIFY)
        return notified_place(dev, offset - VIRTIO_PCI_NOTIFY) ? MMIOSHIM_WRITE_ONLY : MMIOSHIM_NO_REGISTER;
    if (offset >= VIRTIO_PCI_DEVICE)
        return read_config(dev, offset - VIRTIO_PCI_DEVICE, width, value);
    if (offset >= VIRTIO_PCI_ISR)
        return offset == VIRTIO_PCI_ISR ? read_isr(dev, width, value) : MMIOSHIM_NO_REGISTER;
    status = check_common(offset, width, &reg);
    if (status != MMIOSHIM_OK)
        return status;
    if (virtio_of(dev)->notified && virtio_live(virtio_of(dev)))
        dev->host->soon(dev); /* not yet done, or begun by a process that died */
    *value = read_common(dev, offset);
    return MMIOSHIM_OK;
}

static enum mmioshim_status virtio_pci_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    const struct mmioshim_register *reg;
    enum mmioshim_status status;

    if (!virtio_type(virtio_of(dev)))
        return MMIOSHIM_NO_REGISTER;
    if (offset >= VIRTIO_PCI_NOTIFY)
        return notify(dev, offset - VIRTIO_PCI_NOTIFY, width, value);
    if (offset >= VIRTIO_PCI_DEVICE)
        return write_config(dev, offset - VIRTIO_PCI_DEVICE, width, value);
    if (offset >= VIRTIO_PCI_ISR)
        return offset == VIRTIO_PCI_ISR ? MMIOSHIM_READ_ONLY : MMIOSHIM_NO_REGISTER;
    status = check_common(offset, width, &reg);
    if (status != MMIOSHIM_OK)
        return status;
    if (reg->access == MMIOSHIM_RO)
        return MMIOSHIM_READ_ONLY;
    status = write_common(dev, offset, value);
    interrupts(dev);
    return status;
}

static void virtio_pci_service(struct mmioshim_device *dev)
{
    virtio_serve(dev);
    interrupts(dev);
}

static bool virtio_pci_poll(struct mmioshim_device *dev, bool last)
{
    bool moved = virtio_poll(dev, last);

    interrupts(dev);
    return moved;
}

/* --- life --- */

static int virtio_pci_plug(struct mmioshim_device *dev, const char *attachment, const char **why)
{
    return virtio_plug(dev, attachment, why);
}

static const char *virtio_pci_end(const struct mmioshim_device *dev)
{
    return virtio_of(dev)->end;
}

static void virtio_pci_reset(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    (void)kind;
    virtio_power_on(dev);
    forget(dev->state);
    virtio_of(dev)->signals = 0;
    dev->host->irq(dev, 0, false);
}

static bool vectors_valid(const struct mmioshim_device *dev, const struct transport *t)
{
    if (t->virtio.signals >> VIRTIO_QUEUES || (t->config_vector != NO_VECTOR && vector(dev, t->config_vector) == NO_VECTOR))
        return false;
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
        if (t->vectors[i] != NO_VECTOR && vector(dev, t->vectors[i]) == NO_VECTOR)
            return false;
    return true;
}

static int virtio_pci_load(struct mmioshim_device *dev, u32 version, const void *buf, size_t size)
{
    struct transport saved;

    if (version != 1 || size != sizeof(saved))
        return -1;
    memcpy(&saved, buf, sizeof(saved));
    if (!virtio_valid(dev, &saved.virtio) || !vectors_valid(dev, &saved))
        return -1;
    memcpy(dev->state, &saved, sizeof(saved));
    interrupts(dev);
    return 0;
}

static const char *const compatible[] = {NULL};

const struct mmioshim_class class_virtio_pci = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "virtio_pci",
    .label = "VIRTIO",
    .description = "virtio-pci transport: the structures behind the BAR of a virtio function",
    .compatible = compatible,
    .parts = virtio_parts,
    .min_size = VIRTIO_PCI_BAR_SIZE,
    .widths = 1 | 2 | 4 | 8, /* the device decides */
    .split = true,
    .registers = registers,
    .nregisters = ARRAY_SIZE(registers),
    .lines = 2 + VIRTIO_QUEUES, /* the pin; messages of the configuration and of queues */
    .version = 1,
    .state_size = sizeof(struct transport),
    .plug = virtio_pci_plug,
    .end = virtio_pci_end,
    .translates = virtio_translates,
    .reset = virtio_pci_reset,
    .read = virtio_pci_read,
    .write = virtio_pci_write,
    .service = virtio_pci_service,
    .poll = virtio_pci_poll,
    .load = virtio_pci_load,
};
