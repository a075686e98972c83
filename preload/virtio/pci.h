/*
 * virtio over PCI: where the structures are behind the BAR of the function. Source: VIRTIO 1.2, 4.1.4.
 */
#ifndef MMIOSHIM_VIRTIO_PCI_H
#define MMIOSHIM_VIRTIO_PCI_H

#include "mmioshim/device.h"

/* Where the structures are in the BAR, and how large they are. */
enum {
    VIRTIO_PCI_COMMON = 0x0000,
    VIRTIO_PCI_COMMON_SIZE = 0x3c,
    VIRTIO_PCI_ISR = 0x1000,
    VIRTIO_PCI_ISR_SIZE = 1,
    VIRTIO_PCI_DEVICE = 0x2000,
    VIRTIO_PCI_NOTIFY = 0x3000,
    VIRTIO_PCI_NOTIFY_STEP = 4, /* notify_off_multiplier */
    VIRTIO_PCI_BAR_SIZE = 0x4000,
};

extern const struct mmioshim_class class_virtio_pci;

#endif
