/*
 * virtio-blk: a disk. Source: VIRTIO 1.2, 5.2. One queue. Requests are
 * answered at once, from the page cache of the host, where the host end can.
 */
#include "virtio/blk.h"

#include "base/mem.h"

#include "base/trapsafe.h"

#define SECTOR      BLK_SECTOR
#define MAX_RANGES  64u /* of one discard or write-zeroes request */
#define MAX_SECTORS BLK_MAX_SECTORS
#define SIZE_MOST   (1u << 22) /* bytes of a segment, as is said; more is taken */

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

/* --- requests --- */

static bool inside(struct mmioshim_device *dev, u64 sector, u64 bytes)
{
    u64 size = dev->host->disk_size(dev);

    return sector <= size / SECTOR && bytes <= size - sector * SECTOR;
}

/* "... MUST commit ... before completion" where the cache is a writethrough one, 5.2.6.2 */
bool blk_writethrough(const struct mmioshim_device *dev)
{
    const struct virtio *v = virtio_of(dev);

    return virtio_accepted(v, F_CONFIG_WCE) ? !blk_of(dev)->writeback : !virtio_accepted(v, F_FLUSH);
}

static u8 committed(struct mmioshim_device *dev)
{
    if (blk_writethrough(dev) && dev->host->disk_control(dev, MMIOSHIM_DISK_FLUSH, 0, 0))
        return S_IOERR;
    return S_OK;
}

u8 blk_check_data(struct mmioshim_device *dev, u64 sector, u64 bytes, bool write)
{
    return bytes % SECTOR || !inside(dev, sector, bytes) || (write && blk_of(dev)->readonly) ? S_IOERR : S_OK;
}

static u8 move(struct mmioshim_device *dev, struct virtio_cursor *data, u64 bytes, u64 sector, bool write)
{
    u64 position = sector * SECTOR;
    struct virtio_segment piece;

    if (blk_check_data(dev, sector, bytes, write) != S_OK)
        return S_IOERR;
    for (; bytes && (piece = virtio_next(data, bytes)).length; position += piece.length, bytes -= piece.length)
        if (write ? dev->host->disk_write(dev, position, piece.addr, piece.length)
                  : dev->host->disk_read(dev, position, piece.addr, piece.length))
            return S_IOERR;
    return write ? committed(dev) : S_OK;
}

u8 blk_check_range(struct mmioshim_device *dev, const struct blk_range *r, bool zero)
{
    /* "... MUST fail ... with UNSUPP if any unknown flag is set", and UNMAP is none of discard, 5.2.6.2 */
    if (r->flags & ~(zero ? BLK_UNMAP : 0))
        return S_UNSUPP;
    return r->sectors > MAX_SECTORS || !inside(dev, r->sector, (u64)r->sectors * SECTOR) ? S_IOERR : S_OK;
}

/* Ranges that are of no use any more, or zero. */
static u8 clear_one(struct mmioshim_device *dev, const struct blk_range *r, bool zero)
{
    enum mmioshim_disk what = !zero ? MMIOSHIM_DISK_DISCARD : r->flags & BLK_UNMAP ? MMIOSHIM_DISK_ZERO_UNMAP : MMIOSHIM_DISK_ZERO;
    u8 status = blk_check_range(dev, r, zero);

    if (status != S_OK)
        return status;
    if (r->sectors && dev->host->disk_control(dev, what, r->sector * SECTOR, (u64)r->sectors * SECTOR))
        return S_IOERR;
    return S_OK;
}

static u8 clear(struct mmioshim_device *dev, struct virtio_cursor *data, u64 bytes, bool zero)
{
    u8 status = S_OK;

    if (!virtio_accepted(virtio_of(dev), zero ? F_WRITE_ZEROES : F_DISCARD))
        return S_UNSUPP;
    if (!bytes || bytes % sizeof(struct blk_range) || bytes / sizeof(struct blk_range) > MAX_RANGES)
        return S_IOERR;
    for (; bytes && status == S_OK; bytes -= sizeof(struct blk_range)) {
        struct blk_range r;

        status = virtio_take(dev, data, &r, sizeof(r)) ? clear_one(dev, &r, zero) : S_IOERR;
    }
    return status == S_OK ? committed(dev) : status;
}

u8 blk_get_id(struct mmioshim_device *dev, struct virtio_cursor *data, u64 bytes)
{
    return virtio_put(dev, data, blk_of(dev)->id, MIN(bytes, BLK_ID_BYTES)) ? S_OK : S_IOERR;
}

/* data: what is behind the header, and before the byte of the status. */
static u8 perform(struct mmioshim_device *dev, const struct virtio_chain *chain, const struct blk_request *r, struct virtio_cursor *out)
{
    u64 out_bytes = chain->out_length - sizeof(*r), in_bytes = chain->in_length - 1;
    struct virtio_cursor in = virtio_in(chain);

    switch (r->type) {
    case T_IN:
        return move(dev, &in, in_bytes, r->sector, false);
    case T_OUT:
        return move(dev, out, out_bytes, r->sector, true);
    case T_FLUSH:
        return dev->host->disk_control(dev, MMIOSHIM_DISK_FLUSH, 0, 0) ? S_IOERR : S_OK;
    case T_GET_ID:
        return blk_get_id(dev, &in, in_bytes);
    case T_DISCARD:
    case T_WRITE_ZEROES:
        return clear(dev, out, out_bytes, r->type == T_WRITE_ZEROES);
    default:
        return S_UNSUPP;
    }
}

/* The status is the last byte that can be written, however the driver cuts its buffers (2.7.4.1). What was written is known by it. */
static u32 tell_status(struct mmioshim_device *dev, u64 at, u8 status, u64 in_length)
{
    return dev->host->dma_write(dev, at, &status, 1) ? (u32)MIN(in_length, UINT32_MAX) : 0;
}

static void answer(struct mmioshim_device *dev, unsigned queue, const struct virtio_chain *chain, const struct blk_request *r,
                   struct virtio_cursor *out)
{
    u8 status = r ? perform(dev, chain, r, out) : S_IOERR;

    virtio_push(dev, queue, chain, tell_status(dev, virtio_in_last(chain), status, chain->in_length));
}

/* --- transfers: several are done one right behind the other, and given back as one --- */

#define AT_ONCE 32u

/* A transfer of one piece, that may be done. */
struct transfer {
    u64 position, addr, status_at;
    u32 length;
    bool write;
    struct virtio_end end;
};

struct transfers {
    u32 n;
    struct transfer each[AT_ONCE];
};

static u8 do_transfer(struct mmioshim_device *dev, const struct transfer *t)
{
    int ret = t->write ? dev->host->disk_write(dev, t->position, t->addr, t->length)
                       : dev->host->disk_read(dev, t->position, t->addr, t->length);

    return ret ? S_IOERR : S_OK;
}

static void end_transfers(struct mmioshim_device *dev, unsigned queue, struct transfers *all)
{
    struct virtio_end ends[AT_ONCE];
    u8 status[AT_ONCE];
    u32 n = all->n;

    all->n = 0;
    if (!n || !virtio_live(virtio_of(dev)))
        return;
    for (u32 i = 0; i < n; i++) {
        if (i + 1 < n)
            dev->host->disk_soon(dev, all->each[i + 1].position, all->each[i + 1].length);
        status[i] = do_transfer(dev, &all->each[i]);
    }
    for (u32 i = 0; i < n; i++) {
        ends[i] = all->each[i].end;
        ends[i].written = tell_status(dev, all->each[i].status_at, status[i], ends[i].written);
    }
    virtio_push_together(dev, queue, ends, n);
}

/* Header, data and status each in a buffer of their own; not what has to be safe before it ends. */
static bool is_transfer(struct mmioshim_device *dev, const struct virtio_chain *chain, const struct blk_request *r)
{
    const struct virtio_segment *s = chain->segments;
    bool write = r->type == T_OUT;

    if (chain->out + chain->in != 3 || chain->in != (write ? 1 : 2) || s[0].length != sizeof(*r) || !s[1].length || s[2].length != 1)
        return false;
    return r->type <= T_OUT && s[1].length % SECTOR == 0 && inside(dev, r->sector, s[1].length) &&
           !(write && (blk_of(dev)->readonly || blk_writethrough(dev)));
}

static void add_transfer(struct transfers *all, const struct virtio_chain *chain, const struct blk_request *r)
{
    const struct virtio_segment *s = chain->segments;

    all->each[all->n++] = (struct transfer){
        .position = r->sector * SECTOR,
        .addr = s[1].addr,
        .length = s[1].length,
        .write = r->type == T_OUT,
        .status_at = s[2].addr,
        .end = virtio_end_of(chain, (u32)MIN(chain->in_length, UINT32_MAX)),
    };
}

static void take_request(struct mmioshim_device *dev, unsigned queue, const struct virtio_chain *chain, struct transfers *all)
{
    struct virtio_cursor out = virtio_out(chain);
    struct blk_request r;
    bool whole;

    if (!chain->in_length) {
        virtio_break(dev, "a request with no room for its status");
        return;
    }
    whole = chain->out_length >= sizeof(r) && virtio_take(dev, &out, &r, sizeof(r));
    if (whole && is_transfer(dev, chain, &r)) {
        add_transfer(all, chain, &r);
        if (all->n == AT_ONCE)
            end_transfers(dev, queue, all);
        return;
    }
    end_transfers(dev, queue, all);
    answer(dev, queue, chain, whole ? &r : NULL, &out);
}

static void blk_notify(struct mmioshim_device *dev, unsigned queue)
{
    struct virtio_chain chain;
    struct transfers all;

    if (blk_later(dev)) {
        blk_notify_later(dev, queue);
        return;
    }
    all.n = 0;
    while (virtio_pop(dev, queue, &chain))
        take_request(dev, queue, &chain, &all);
    end_transfers(dev, queue, &all);
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
        c.max_discard_seg = c.max_write_zeroes_seg = blk_later(dev) ? 1 : MAX_RANGES;
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
    blk_stopped(dev, 0);
}

static bool blk_valid(const struct mmioshim_device *dev, const void *own)
{
    struct blk blk = *blk_of(dev);
    const struct blk *saved = own;

    blk.writeback = saved->writeback;
    return saved->writeback <= 1 && memcmp(&blk, saved, offsetof(struct blk, head)) == 0 && saved->head < BLK_FLIGHTS &&
           saved->nflights <= BLK_FLIGHTS;
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
    .later = blk_later,
    .stopped = blk_stopped,
};

_Static_assert(sizeof(struct blk) <= VIRTIO_PRIVATE, "there is room for it");
