/* virtio-blk, in two files: requests (blk.c), and what is said of a disk where it is attached (blk_plug.c). */
#ifndef MMIOSHIM_VIRTIO_BLK_H
#define MMIOSHIM_VIRTIO_BLK_H

#include "virtio/virtio.h"

#define BLK_SECTOR   512u
#define BLK_ID_BYTES 20u /* 5.2.6: of GET_ID */

struct blk {
    u8 readonly;
    u8 writeback; /* as the driver configured it */
    u16 reserved;
    u32 block; /* bytes of a logical block */
    char id[BLK_ID_BYTES];
};

static inline struct blk *blk_of(const struct mmioshim_device *dev)
{
    return (struct blk *)virtio_of(dev)->own;
}

int blk_plug(struct mmioshim_device *dev, const char *options, const char **why);

#endif
