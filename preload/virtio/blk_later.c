/*
 * Disks that answer later. Requests end in the order in which they were made available, so how far they are done is one
 * number (struct virtio_queue), and that is all that a worker needs to know who takes over: what is not done it
 * begins again. The list of what is under way is of use only to who began it.
 */
#include "virtio/blk.h"

#include "base/mem.h"

#include "base/trapsafe.h"

bool blk_later(struct mmioshim_device *dev)
{
    return dev->host->disk_later(dev);
}

void blk_stopped(struct mmioshim_device *dev, unsigned queue)
{
    struct blk *blk = blk_of(dev);

    (void)queue;
    blk->head = blk->nflights = 0;
    blk->nbegun = 0;
}

/* --- how one begins --- */

static bool begin(struct mmioshim_device *dev, struct mmioshim_transfer *t)
{
    t->safe = blk_writethrough(dev) && t->what != MMIOSHIM_DISK_READ;
    return dev->host->disk_begin(dev, t);
}

static u8 begin_move(struct mmioshim_device *dev, struct virtio_cursor *data, u64 bytes, u64 sector, bool write)
{
    struct mmioshim_transfer t = {.what = write ? MMIOSHIM_DISK_WRITE : MMIOSHIM_DISK_READ};
    u8 status = blk_check_data(dev, sector, bytes, write);
    struct virtio_segment piece;

    if (status != S_OK || !bytes)
        return status;
    t.position = sector * BLK_SECTOR;
    t.length = bytes;
    for (; bytes && t.npieces < MMIOSHIM_PIECES && (piece = virtio_next(data, bytes)).length; bytes -= piece.length)
        t.pieces[t.npieces++] = (struct mmioshim_piece){piece.addr, piece.length};
    return begin(dev, &t) ? S_LATER : S_IOERR;
}

static u8 begin_flush(struct mmioshim_device *dev)
{
    struct mmioshim_transfer t = {.what = MMIOSHIM_DISK_FLUSH};

    return begin(dev, &t) ? S_LATER : S_IOERR;
}

/* One range a request: that is what the configuration space says. */
static u8 begin_clear(struct mmioshim_device *dev, struct virtio_cursor *data, u64 bytes, bool zero)
{
    struct mmioshim_transfer t = {.what = zero ? MMIOSHIM_DISK_ZERO : MMIOSHIM_DISK_DISCARD};
    struct blk_range r;
    u8 status;

    if (!virtio_accepted(virtio_of(dev), zero ? F_WRITE_ZEROES : F_DISCARD))
        return S_UNSUPP;
    if (bytes != sizeof(r) || !virtio_take(dev, data, &r, sizeof(r)))
        return S_IOERR;
    status = blk_check_range(dev, &r, zero);
    if (status != S_OK || !r.sectors)
        return status;
    if (r.flags & BLK_UNMAP)
        t.what = MMIOSHIM_DISK_ZERO_UNMAP;
    t.position = r.sector * BLK_SECTOR;
    t.length = (u64)r.sectors * BLK_SECTOR;
    return begin(dev, &t) ? S_LATER : S_IOERR;
}

static u8 begin_request(struct mmioshim_device *dev, const struct virtio_chain *chain)
{
    struct virtio_cursor out = virtio_out(chain), in = virtio_in(chain);
    u64 in_bytes = chain->in_length - 1, out_bytes = chain->out_length - sizeof(struct blk_request);
    struct blk_request r;

    if (chain->out_length < sizeof(r) || !virtio_take(dev, &out, &r, sizeof(r)))
        return S_IOERR;
    switch (r.type) {
    case T_IN:
        return begin_move(dev, &in, in_bytes, r.sector, false);
    case T_OUT:
        return begin_move(dev, &out, out_bytes, r.sector, true);
    case T_FLUSH:
        return begin_flush(dev);
    case T_GET_ID:
        return blk_get_id(dev, &in, in_bytes);
    case T_DISCARD:
    case T_WRITE_ZEROES:
        return begin_clear(dev, &out, out_bytes, r.type == T_WRITE_ZEROES);
    default:
        return S_UNSUPP;
    }
}

/* Takes the next request. False: there is none, or it has to wait. */
static bool take(struct mmioshim_device *dev, unsigned queue)
{
    struct blk *blk = blk_of(dev);
    struct blk_flight *flight = &blk->flights[(blk->head + blk->nflights) % BLK_FLIGHTS];
    struct virtio_chain chain;

    if (blk->nflights == BLK_FLIGHTS || !virtio_pop(dev, queue, &chain))
        return false;
    if (!chain.in_length) {
        virtio_break(dev, "a request with no room for its status");
        return false;
    }
    *flight = (struct blk_flight){
        .status_at = virtio_in_last(&chain),
        .end = virtio_end_of(&chain, (u32)MIN(chain.in_length, UINT32_MAX)),
        .queue = (u16)queue,
        .status = begin_request(dev, &chain),
    };
    flight->begun = flight->status == S_LATER;
    blk->nbegun += flight->begun;
    blk->nflights++;
    return true;
}

/* --- how they end --- */

static void finish(struct mmioshim_device *dev, struct blk_flight *flight)
{
    if (!dev->host->dma_write(dev, flight->status_at, &flight->status, 1))
        flight->end.written = 0;
    virtio_push_end(dev, flight->queue, flight->end);
}

/* The oldest ones that have ended. */
static void finish_all(struct mmioshim_device *dev)
{
    struct blk *blk = blk_of(dev);
    int error;

    while (blk->nflights) {
        struct blk_flight *flight = &blk->flights[blk->head];

        if (flight->begun) {
            if (!dev->host->disk_ended(dev, &error))
                return;
            flight->status = error ? S_IOERR : S_OK;
            blk->nbegun--;
        }
        finish(dev, flight);
        blk->head = (blk->head + 1) % BLK_FLIGHTS;
        blk->nflights--;
    }
}

/*
 * What the device thinks is under way is, or else it is what another worker began who was killed, or what was begun before a
 * reset: then all that is not done is to be begun again.
 */
static void agree(struct mmioshim_device *dev, int begun)
{
    struct blk *blk = blk_of(dev);

    if (blk->nbegun && (u32)begun == blk->nbegun)
        return;
    dev->host->disk_forget(dev);
    blk_stopped(dev, 0);
    virtio_recover(dev);
}

/* False: it is not for this process to do, or not now. */
static bool serve(struct mmioshim_device *dev, unsigned queue)
{
    int begun = dev->host->disk_begun(dev);

    if (begun < 0)
        return false;
    agree(dev, begun);
    if (dev->host->disk_begun(dev) < 0)
        return false;
    finish_all(dev);
    while (take(dev, queue))
        finish_all(dev);
    virtio_signal(dev, queue);
    return !blk_of(dev)->nflights;
}

void blk_notify_later(struct mmioshim_device *dev, unsigned queue)
{
    /* Until they are done: whoever looks at a register sees to it that there is a worker. */
    if (!serve(dev, queue))
        virtio_again(dev, queue);
}
