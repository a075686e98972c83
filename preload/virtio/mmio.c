/*
 * virtio,mmio: the transport's register window, version 2. Source: VIRTIO 1.2,
 * section 4.2.
 *
 * The transport says who it is, and what device type sits behind it. Behind
 * this one sits none: DeviceID is 0, a placeholder that drivers pass over
 * (4.2.2.2). Having read 0 a driver "MUST abort initialization and MUST NOT
 * access any other register" (4.2.3.1.1): such accesses are answered as by a
 * device that has nothing (reads give 0, writes go nowhere), and reported.
 */
#include "virtio/mmio.h"

#include "base/mem.h"
#include "base/types.h"
#include "mmioshim/device.h"

#include "base/trapsafe.h"

struct transport {
    u32 type; /* device type behind it: what DeviceID shows */
    u32 reserved;
};

static const struct mmioshim_field status_fields[] = {
    {"ACKNOWLEDGE", 0, 1}, {"DRIVER", 1, 1},      {"DRIVER_OK", 2, 1},
    {"FEATURES_OK", 3, 1}, {"NEEDS_RESET", 6, 1}, {"FAILED", 7, 1},
};
static const struct mmioshim_field interrupt_fields[] = {{"USED", 0, 1}, {"CONFIG", 1, 1}};
static const struct mmioshim_field ready_fields[] = {{"READY", 0, 1}};
static const struct mmioshim_field reset_fields[] = {{"RESET", 0, 1}};

/* REGISTER(offset, name, access, one line, other members) */
#define REGISTER(at, label, mode, text, ...) \
    {.name = (label), .offset = (at), .width = 4, .access = MMIOSHIM_##mode, .doc = (text), __VA_ARGS__}
#define VOLATILE .flags = MMIOSHIM_REG_VOLATILE

static const struct mmioshim_register registers[] = {
    REGISTER(VIRTIO_MAGIC_VALUE, "MagicValue", RO, "0x74726976, \"virt\""),
    REGISTER(VIRTIO_VERSION, "Version", RO, "2: virtio 1.x"),
    REGISTER(VIRTIO_DEVICE_ID, "DeviceID", RO, "device type; 0: none is there"),
    REGISTER(VIRTIO_VENDOR_ID, "VendorID", RO, "who made the device"),
    REGISTER(VIRTIO_DEVICE_FEATURES, "DeviceFeatures", RO, "32 feature bits that the device offers"),
    REGISTER(VIRTIO_DEVICE_FEATURES_SEL, "DeviceFeaturesSel", WO, "which 32 bits DeviceFeatures shows"),
    REGISTER(VIRTIO_DRIVER_FEATURES, "DriverFeatures", WO, "32 feature bits that the driver accepts"),
    REGISTER(VIRTIO_DRIVER_FEATURES_SEL, "DriverFeaturesSel", WO, "which 32 bits DriverFeatures sets"),
    REGISTER(VIRTIO_QUEUE_SEL, "QueueSel", WO, "queue that the other queue registers are about"),
    REGISTER(VIRTIO_QUEUE_NUM_MAX, "QueueNumMax", RO, "largest size of the queue; 0: no such queue"),
    REGISTER(VIRTIO_QUEUE_NUM, "QueueNum", WO, "size of the queue that the driver will use"),
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
};

static const struct mmioshim_register *find_register(u64 offset)
{
    for (unsigned i = 0; i < ARRAY_SIZE(registers); i++)
        if (registers[i].offset == (offset & ~(u64)3))
            return &registers[i];
    return NULL;
}

/* "The driver MUST only use 32 bit wide and aligned reads and writes to access the control registers" (4.2.2.2). */
static enum mmioshim_status check(u64 offset, unsigned width, const struct mmioshim_register **reg)
{
    *reg = offset < VIRTIO_CONFIG ? find_register(offset) : NULL;
    if (!*reg)
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

static enum mmioshim_status virtio_mmio_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    const struct transport *transport = dev->state;
    const struct mmioshim_register *reg;
    enum mmioshim_status status = check(offset, width, &reg);

    *value = 0;
    if (status != MMIOSHIM_OK)
        return status;
    switch (offset) {
    case VIRTIO_MAGIC_VALUE:
        *value = VIRTIO_MAGIC;
        return MMIOSHIM_OK;
    case VIRTIO_VERSION:
        *value = VIRTIO_MMIO_VERSION;
        return MMIOSHIM_OK;
    case VIRTIO_DEVICE_ID:
        *value = transport->type;
        return MMIOSHIM_OK;
    case VIRTIO_VENDOR_ID:
        *value = VIRTIO_VENDOR;
        return MMIOSHIM_OK;
    default:
        return read_absent(reg, value);
    }
}

static enum mmioshim_status virtio_mmio_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    const struct mmioshim_register *reg;
    enum mmioshim_status status = check(offset, width, &reg);

    (void)dev;
    (void)value;
    if (status != MMIOSHIM_OK)
        return status;
    return reg->access == MMIOSHIM_RO ? MMIOSHIM_READ_ONLY : MMIOSHIM_GUEST_BUG;
}

/* The type is what is plugged in: no reset changes it. */
static void virtio_mmio_reset(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    (void)kind;
    dev->host->irq(dev, 0, false);
}

static int virtio_mmio_load(struct mmioshim_device *dev, u32 version, const void *buf, size_t size)
{
    struct transport transport;

    if (version != 1 || size != sizeof(transport))
        return -1;
    memcpy(&transport, buf, sizeof(transport));
    /* A snapshot with another type behind the transport is one of another machine. */
    if (transport.type != VIRTIO_ID_NONE || transport.reserved)
        return -1;
    virtio_mmio_reset(dev, MMIOSHIM_RESET_COLD);
    return 0;
}

static const char *const compatible[] = {"virtio,mmio", NULL};

const struct mmioshim_class class_virtio_mmio = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "virtio_mmio",
    .label = "VIRTIO",
    .description = "virtio-mmio transport, version 2, with no device behind it",
    .compatible = compatible,
    .min_size = VIRTIO_CONFIG,
    .widths = 1 | 2 | 4 | 8, /* the device decides: configuration space has natural widths, registers have 4 */
    .split = false,
    .registers = registers,
    .nregisters = ARRAY_SIZE(registers),
    .lines = 1,
    .version = 1,
    .state_size = sizeof(struct transport),
    .reset = virtio_mmio_reset,
    .read = virtio_mmio_read,
    .write = virtio_mmio_write,
    .load = virtio_mmio_load,
};
