/*
 * What version 1 of the virtio-mmio registers has that version 2 has not.
 * Source: VIRTIO 1.2, 4.2.4 "Legacy interface". Private to mmio.c, under the
 * device's lock.
 */
#ifndef MMIOSHIM_VIRTIO_MMIO_LEGACY_H
#define MMIOSHIM_VIRTIO_MMIO_LEGACY_H

#include "virtio/virtio.h"

struct transport {
    struct virtio virtio; /* first: virtio_of() */
    u32 device_features, driver_features, queue; /* what the ...Sel registers hold */
    u32 page_size; /* GuestPageSize: legacy */
};

/* Is a register there in one version only? 1: in version 1; 0: in version 2; -1: in both. */
int legacy_register(u32 offset);
enum mmioshim_status legacy_set_page(struct mmioshim_device *dev, u32 queue, u32 page);
enum mmioshim_status legacy_set_page_size(struct mmioshim_device *dev, u32 bytes);
enum mmioshim_status legacy_set_align(struct virtio_queue *q, u32 bytes);
/* Is any queue in use? */
bool legacy_ready(const struct virtio *v);
/* plug() of a slot of either version; the option "legacy" at the end of the attachment chooses version 1. */
int legacy_plug(struct mmioshim_device *dev, const char *attachment, const char **why);

#endif
