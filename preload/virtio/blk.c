/*
 * virtio-blk: a disk. Source: VIRTIO 1.2, 5.2. One queue. Requests are
 * answered at once, from the page cache of the host.
 */
#include "virtio/blk.h"

#include "base/mem.h"

#include "base/trapsafe.h"

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

/* Requests and their ends, 5.2.6 */
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };

#define SECTOR      BLK_SECTOR
#define MAX_RANGES  64u /* of one discard or write-zeroes request, */
#define MAX_SECTORS (1u << 22) /* and what each may span */
#define SIZE_MOST   (1u << 22) /* bytes of a segment, as is said; more is taken */
#define UNMAP       1u  /* flag of a range, 5.2.6 */

struct config { /* 5.2.4 */
    u64 capacity; /* sectors */
    u32 size_max, seg_max;
    u8 geometry[4];
    u32 blk_size;
    u8 physical_block_exp, alignment_offset;
    u16 min_io_size;
    u32 opt_io_size;
    u8 writeback, unused0;
    u16 num_queues;
    u32 max_discard_sectors, max_discard_seg, discard_sector_alignment;
    u32 max_write_zeroes_sectors, max_write_zeroes_seg;
    u8 write_zeroes_may_unmap, unused1[3];
};

_Static_assert(offsetof(struct config, writeback) == 32 && sizeof(struct config) == 64, "5.2.4");

struct request {
    u32 type, reserved;
    u64 sector;
};

struct range { /* virtio_blk_discard_write_zeroes, 5.2.6 */
    u64 sector;
    u32 sectors, flags;
};

/* --- requests --- */

static bool inside(struct mmioshim_device *dev, u64 sector, u64 bytes)
{
    u64 size = dev->host->disk_size(dev);

    return sector <= size / SECTOR && bytes <= size - sector * SECTOR;
}

/* "... MUST commit ... before completion" where the cache is a writethrough one, 5.2.6.2 */
static bool writeback(const struct mmioshim_device *dev)
{
    const struct virtio *v = virtio_of(dev);

    return virtio_accepted(v, F_CONFIG_WCE) ? blk_of(dev)->writeback : virtio_accepted(v, F_FLUSH);
}

static u8 committed(struct mmioshim_device *dev)
{
    if (!writeback(dev) && dev->host->disk_control(dev, MMIOSHIM_DISK_FLUSH, 0, 0))
        return S_IOERR;
    return S_OK;
}

static u8 move(struct mmioshim_device *dev, struct virtio_cursor *data, u64 bytes, u64 sector, bool write)
{
    u64 position = sector * SECTOR;
    struct virtio_segment piece;

    if (bytes % SECTOR || !inside(dev, sector, bytes) || (write && blk_of(dev)->readonly))
        return S_IOERR;
    for (; (piece = virtio_next(data, bytes)).length; position += piece.length, bytes -= piece.length)
        if (write ? dev->host->disk_write(dev, position, piece.addr, piece.length)
                  : dev->host->disk_read(dev, position, piece.addr, piece.length))
            return S_IOERR;
    return write ? committed(dev) : S_OK;
}

/* Ranges that are of no use any more, or zero. */
static u8 clear_one(struct mmioshim_device *dev, const struct range *r, bool zero)
{
    enum mmioshim_disk what = !zero ? MMIOSHIM_DISK_DISCARD : r->flags & UNMAP ? MMIOSHIM_DISK_ZERO_UNMAP : MMIOSHIM_DISK_ZERO;

    /* "... MUST fail ... with UNSUPP if any unknown flag is set", and UNMAP is none of discard, 5.2.6.2 */
    if (r->flags & ~(zero ? UNMAP : 0))
        return S_UNSUPP;
    if (r->sectors > MAX_SECTORS || !inside(dev, r->sector, (u64)r->sectors * SECTOR))
        return S_IOERR;
    if (r->sectors && dev->host->disk_control(dev, what, r->sector * SECTOR, (u64)r->sectors * SECTOR))
        return S_IOERR;
    return S_OK;
}

static u8 clear(struct mmioshim_device *dev, struct virtio_cursor *data, u64 bytes, bool zero)
{
    u8 status = S_OK;

    if (!virtio_accepted(virtio_of(dev), zero ? F_WRITE_ZEROES : F_DISCARD))
        return S_UNSUPP;
    if (!bytes || bytes % sizeof(struct range) || bytes / sizeof(struct range) > MAX_RANGES)
        return S_IOERR;
    for (; bytes && status == S_OK; bytes -= sizeof(struct range)) {
        struct range r;

        status = virtio_take(dev, data, &r, sizeof(r)) ? clear_one(dev, &r, zero) : S_IOERR;
    }
    return status == S_OK ? committed(dev) : status;
}

static u8 get_id(struct mmioshim_device *dev, struct virtio_cursor *data, u64 bytes)
{
    return virtio_put(dev, data, blk_of(dev)->id, MIN(bytes, BLK_ID_BYTES)) ? S_OK : S_IOERR;
}

/* in: without the byte of the status. */
static u8 perform(struct mmioshim_device *dev, const struct virtio_chain *chain, u64 in_bytes)
{
    struct virtio_cursor out = virtio_out(chain), in = virtio_in(chain);
    u64 out_bytes = chain->out_length - sizeof(struct request);
    struct request r;

    if (chain->out_length < sizeof(r) || !virtio_take(dev, &out, &r, sizeof(r)))
        return S_IOERR;
    switch (r.type) {
    case T_IN:
        return move(dev, &in, in_bytes, r.sector, false);
    case T_OUT:
        return move(dev, &out, out_bytes, r.sector, true);
    case T_FLUSH:
        return dev->host->disk_control(dev, MMIOSHIM_DISK_FLUSH, 0, 0) ? S_IOERR : S_OK;
    case T_GET_ID:
        return get_id(dev, &in, in_bytes);
    case T_DISCARD:
    case T_WRITE_ZEROES:
        return clear(dev, &out, out_bytes, r.type == T_WRITE_ZEROES);
    default:
        return S_UNSUPP;
    }
}

/* The status is the last byte that can be written, however the driver cuts its buffers (2.7.4.1). */
static void answer(struct mmioshim_device *dev, unsigned queue, const struct virtio_chain *chain)
{
    struct virtio_cursor end = virtio_in(chain);
    u8 status;

    if (!chain->in_length) {
        virtio_break(dev, "a request with no room for its status");
        return;
    }
    status = perform(dev, chain, chain->in_length - 1);
    virtio_skip(&end, chain->in_length - 1);
    if (virtio_put(dev, &end, &status, 1))
        virtio_push(dev, queue, chain, (u32)MIN(chain->in_length, UINT32_MAX));
    else
        virtio_push(dev, queue, chain, 0);
}

static void blk_notify(struct mmioshim_device *dev, unsigned queue)
{
    struct virtio_chain chain;

    while (virtio_pop(dev, queue, &chain))
        answer(dev, queue, &chain);
    virtio_signal(dev, queue);
}

/* --- configuration --- */

static u64 blk_features(const struct mmioshim_device *dev)
{
    u64 always = F_SIZE_MAX | F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY | F_CONFIG_WCE;

    return always | (blk_of(dev)->readonly ? F_RO : F_DISCARD | F_WRITE_ZEROES);
}

static void blk_config(struct mmioshim_device *dev, u8 *space)
{
    const struct blk *blk = blk_of(dev);
    struct config c = {
        .capacity = dev->host->disk_size(dev) / SECTOR,
        .size_max = SIZE_MOST,
        .seg_max = VIRTIO_QUEUE_MAX - 2, /* beside header and status */
        .blk_size = blk->block,
        .min_io_size = 1,
        .writeback = blk->writeback,
    };

    if (!blk->readonly) {
        c.max_discard_sectors = c.max_write_zeroes_sectors = MAX_SECTORS;
        c.max_discard_seg = c.max_write_zeroes_seg = MAX_RANGES;
        c.discard_sector_alignment = blk->block / SECTOR;
        c.write_zeroes_may_unmap = 1;
    }
    memcpy(space, &c, sizeof(c));
}

static bool blk_set_config(struct mmioshim_device *dev, unsigned offset, unsigned width, u32 value)
{
    if (offset != offsetof(struct config, writeback) || width != 1 || value > 1 ||
        !virtio_accepted(virtio_of(dev), F_CONFIG_WCE))
        return false;
    blk_of(dev)->writeback = (u8)value;
    return true;
}

/* --- life --- */

/* 5.2.5.1, as a device that offers both FLUSH and CONFIG_WCE starts */
static void blk_reset(struct mmioshim_device *dev)
{
    blk_of(dev)->writeback = 1;
}

static bool blk_valid(const struct mmioshim_device *dev, const void *own)
{
    struct blk blk = *blk_of(dev);
    const struct blk *saved = own;

    blk.writeback = saved->writeback;
    return saved->writeback <= 1 && memcmp(&blk, saved, sizeof(blk)) == 0;
}

const struct virtio_type virtio_blk = {
    .id = VIRTIO_ID_BLOCK,
    .nqueues = 1,
    .config_size = sizeof(struct config),
    .name = "blk",
    .plug = blk_plug,
    .features = blk_features,
    .valid = blk_valid,
    .reset = blk_reset,
    .config = blk_config,
    .set_config = blk_set_config,
    .notify = blk_notify,
};
