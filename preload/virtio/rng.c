/* virtio-rng: random bytes of the host's kernel. Source: VIRTIO 1.2, 5.4. One queue, no features, no configuration. */
#include "virtio/virtio.h"

#include "base/trapsafe.h"

#define PIECE 256u  /* as many as getrandom(2) gives at once and whole */
#define MOST  4096u /* bytes for one request, however large its buffer is */

static int rng_plug(struct mmioshim_device *dev, const char *options, const char **why)
{
    (void)dev;
    *why = "rng takes no options";
    return *options ? -1 : 0;
}

/* "The device MUST place one or more random bytes into the buffer", 5.4.6.2; it may give fewer than there is room for. */
static u32 fill(struct mmioshim_device *dev, const struct virtio_chain *chain)
{
    struct virtio_cursor in = virtio_in(chain);
    u8 bytes[PIECE];
    u32 done = 0;

    for (;;) {
        struct virtio_segment piece = virtio_next(&in, MIN(PIECE, MOST - done));
        size_t got = piece.length ? dev->host->random(dev, bytes, piece.length) : 0;

        if (!got || !dev->host->dma_write(dev, piece.addr, bytes, got))
            return done;
        done += (u32)got;
        if (got < piece.length)
            return done;
    }
}

static void rng_notify(struct mmioshim_device *dev, unsigned queue)
{
    struct virtio_chain chain;

    while (virtio_pop(dev, queue, &chain))
        virtio_push(dev, queue, &chain, fill(dev, &chain));
    virtio_signal(dev, queue);
}

const struct virtio_type virtio_rng = {
    .id = VIRTIO_ID_RNG,
    .nqueues = 1,
    .name = "rng",
    .plug = rng_plug,
    .notify = rng_notify,
};
