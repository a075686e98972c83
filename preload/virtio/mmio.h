/*
 * Register offsets of the virtio-mmio transport, version 2, and of version 1.
 * Source: VIRTIO 1.2, sections 4.2.2 "MMIO Device Register Layout" and 4.2.4
 * "Legacy interface".
 */
#ifndef MMIOSHIM_VIRTIO_MMIO_H
#define MMIOSHIM_VIRTIO_MMIO_H

enum {
    VIRTIO_MAGIC_VALUE = 0x000,
    VIRTIO_VERSION = 0x004,
    VIRTIO_DEVICE_ID = 0x008,
    VIRTIO_VENDOR_ID = 0x00c,
    VIRTIO_DEVICE_FEATURES = 0x010,
    VIRTIO_DEVICE_FEATURES_SEL = 0x014,
    VIRTIO_DRIVER_FEATURES = 0x020,
    VIRTIO_DRIVER_FEATURES_SEL = 0x024,
    VIRTIO_GUEST_PAGE_SIZE = 0x028, /* version 1 */
    VIRTIO_QUEUE_SEL = 0x030,
    VIRTIO_QUEUE_NUM_MAX = 0x034,
    VIRTIO_QUEUE_NUM = 0x038,
    VIRTIO_QUEUE_ALIGN = 0x03c, /* version 1 */
    VIRTIO_QUEUE_PFN = 0x040,   /* version 1 */
    VIRTIO_QUEUE_READY = 0x044, /* version 2, as those from QueueDescLow to QueueReset and ConfigGeneration */
    VIRTIO_QUEUE_NOTIFY = 0x050,
    VIRTIO_INTERRUPT_STATUS = 0x060,
    VIRTIO_INTERRUPT_ACK = 0x064,
    VIRTIO_STATUS = 0x070,
    VIRTIO_QUEUE_DESC_LOW = 0x080,
    VIRTIO_QUEUE_DESC_HIGH = 0x084,
    VIRTIO_QUEUE_DRIVER_LOW = 0x090,
    VIRTIO_QUEUE_DRIVER_HIGH = 0x094,
    VIRTIO_QUEUE_DEVICE_LOW = 0x0a0,
    VIRTIO_QUEUE_DEVICE_HIGH = 0x0a4,
    VIRTIO_SHM_SEL = 0x0ac,
    VIRTIO_SHM_LEN_LOW = 0x0b0,
    VIRTIO_SHM_LEN_HIGH = 0x0b4,
    VIRTIO_SHM_BASE_LOW = 0x0b8,
    VIRTIO_SHM_BASE_HIGH = 0x0bc,
    VIRTIO_QUEUE_RESET = 0x0c0,
    VIRTIO_CONFIG_GENERATION = 0x0fc,
    VIRTIO_CONFIG = 0x100, /* device-specific, natural width */
};

enum {
    VIRTIO_MAGIC = 0x74726976, /* "virt" */
    VIRTIO_MMIO_VERSION = 2,
    VIRTIO_MMIO_LEGACY = 1,
    VIRTIO_VENDOR = 0x4f494d4d, /* "MMIO" */
    VIRTIO_ID_NONE = 0,         /* "a device with ID 0 is a placeholder" */
    VIRTIO_ID_NET = 1,          /* 5 */
    VIRTIO_ID_BLOCK = 2,
    VIRTIO_ID_CONSOLE = 3,
    VIRTIO_ID_RNG = 4,
    VIRTIO_ID_IOMMU = 23,
};

#endif
