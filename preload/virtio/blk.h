/*
 * virtio-blk: requests that are answered at once (blk.c) and later (blk_later.c), and what is said of a disk where it is
 * attached (blk_plug.c).
 */
#ifndef MMIOSHIM_VIRTIO_BLK_H
#define MMIOSHIM_VIRTIO_BLK_H

#include "virtio/virtio.h"

#define BLK_SECTOR   512u
#define BLK_ID_BYTES 20u /* 5.2.6: of GET_ID */

#define BLK_FLIGHTS  32u /* requests of a disk that answers later, at once */

/* A request that was taken, and what is left to say of it. */
struct blk_flight {
    u64 status_at; /* bus address of the byte that tells how it ended */
    struct virtio_end end;
    u8 status;
    u8 begun;     /* a transfer of it is under way, whose end is the request's */
    u16 queue;
    u32 reserved;
};

struct blk {
    u8 readonly;
    u8 writeback; /* as the driver configured it */
    u8 mapped;    /* copies to and from a mapping of the file */
    u8 reserved;
    u32 block; /* bytes of a logical block */
    char id[BLK_ID_BYTES];
    u16 head, nflights; /* of the ring of flights, in the order in which they were taken */
    u32 nbegun;         /* transfers among them */
    struct blk_flight flights[BLK_FLIGHTS];
};

static inline struct blk *blk_of(const struct mmioshim_device *dev)
{
    return (struct blk *)virtio_of(dev)->own;
}

/* Requests and their ends, 5.2.6 */
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2, S_LATER = 0xff /* ours: it has no end yet */ };

#define BLK_MAX_SECTORS (1u << 22) /* of a range to discard or clear */
#define BLK_UNMAP       1u /* flag of a range, 5.2.6 */

struct blk_request {
    u32 type, reserved;
    u64 sector;
};

struct blk_range { /* virtio_blk_discard_write_zeroes, 5.2.6 */
    u64 sector;
    u32 sectors, flags;
};

/* Feature bits, 5.2.3 */
enum {
    F_SIZE_MAX = 1 << 1,
    F_SEG_MAX = 1 << 2,
    F_RO = 1 << 5,
    F_BLK_SIZE = 1 << 6,
    F_FLUSH = 1 << 9,
    F_TOPOLOGY = 1 << 10,
    F_CONFIG_WCE = 1 << 11,
    F_DISCARD = 1 << 13,
    F_WRITE_ZEROES = 1 << 14,
};

/* Must what is written be safe when the request ends? 5.2.6.2 */
bool blk_writethrough(const struct mmioshim_device *dev);
/* S_OK where a request may be made of these sectors. */
u8 blk_check_data(struct mmioshim_device *dev, u64 sector, u64 bytes, bool write);
u8 blk_check_range(struct mmioshim_device *dev, const struct blk_range *r, bool zero);
u8 blk_get_id(struct mmioshim_device *dev, struct virtio_cursor *data, u64 bytes);

/* blk_later.c: disks that answer later. worker */
bool blk_later(struct mmioshim_device *dev);
void blk_notify_later(struct mmioshim_device *dev, unsigned queue);
/* A queue is gone: nothing is under way any more. */
void blk_stopped(struct mmioshim_device *dev, unsigned queue);

int blk_plug(struct mmioshim_device *dev, const char *options, const char **why);

#endif
