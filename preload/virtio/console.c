/*
 * virtio-console: one port, no features but emergency writes. Source: VIRTIO
 * 1.2, 5.3. What the driver sends goes to the host end byte by byte; what
 * waits there comes as soon as the driver has a buffer for it.
 */
#include "virtio/virtio.h"

#include "base/fmt.h"
#include "base/mem.h"

#include "base/trapsafe.h"

enum { RX, TX };

enum { F_EMERG_WRITE = 1 << 2 }; /* 5.3.3 */

struct config { /* 5.3.4 */
    u16 cols, rows;
    u32 max_nr_ports, emerg_wr;
};

struct console {
    u64 sent; /* bytes of the request that is under way, whoever began it */
};

static struct console *console_of(const struct mmioshim_device *dev)
{
    return (struct console *)virtio_of(dev)->own;
}

/* Bytes into a buffer until it is full or there are no more. */
static u32 fill(struct mmioshim_device *dev, const struct virtio_chain *chain)
{
    struct virtio_cursor in = virtio_in(chain);
    u8 bytes[256];
    u32 done = 0;

    for (;;) {
        u32 room = (u32)MIN(sizeof(bytes), chain->in_length - done), n = 0;

        while (n < room && dev->host->char_pending(dev, 0))
            bytes[n++] = (u8)dev->host->char_receive(dev, 0);
        if (!n || !virtio_put(dev, &in, bytes, n))
            return done;
        done += n;
    }
}

/* "The device MUST NOT" fill buffers with nothing: it keeps them until there is something (5.3.6.2). */
static void receive(struct mmioshim_device *dev)
{
    struct virtio_chain chain;

    while (dev->host->char_pending(dev, 0))
        if (virtio_pop(dev, RX, &chain))
            virtio_push(dev, RX, &chain, fill(dev, &chain));
        else
            return;
    if (virtio_of(dev)->queues[RX].ready)
        dev->host->wake_on_input(dev);
}

/* False: the host end takes no more, and this is not the place to wait for it. */
static bool send_bytes(struct mmioshim_device *dev, const u8 *bytes, u32 n)
{
    for (u32 i = 0; i < n; i++, console_of(dev)->sent++)
        while (!dev->host->char_send(dev, 0, bytes[i]))
            if (!dev->host->char_wait(dev, 0))
                return false;
    return true;
}

static bool send(struct mmioshim_device *dev, const struct virtio_chain *chain)
{
    struct virtio_cursor out = virtio_out(chain);
    struct virtio_segment piece;
    u8 bytes[256];

    virtio_skip(&out, console_of(dev)->sent);
    while ((piece = virtio_next(&out, sizeof(bytes))).length) {
        if (!dev->host->dma_read(dev, piece.addr, bytes, piece.length))
            return true; /* the rest is nowhere */
        if (!send_bytes(dev, bytes, piece.length))
            return false;
    }
    return true;
}

static void console_notify(struct mmioshim_device *dev, unsigned queue)
{
    struct virtio_chain chain;

    if (queue == RX) {
        receive(dev);
        virtio_signal(dev, RX);
        return;
    }
    while (virtio_pop(dev, TX, &chain)) {
        if (!send(dev, &chain)) {
            virtio_again(dev, TX);
            break;
        }
        virtio_push(dev, TX, &chain, 0);
        console_of(dev)->sent = 0;
    }
    virtio_signal(dev, TX);
}

/* A host end that takes nothing now is waited for before anything is done. */
static bool console_waits(struct mmioshim_device *dev, unsigned queue)
{
    return queue == TX && !dev->host->char_room(dev, 0);
}

static u64 console_features(const struct mmioshim_device *dev)
{
    (void)dev;
    return F_EMERG_WRITE;
}

static void console_config(struct mmioshim_device *dev, u8 *space)
{
    (void)dev;
    (void)space; /* size and ports were not offered, and what is written here reads as 0 */
}

/* 5.3.4: emerg_wr works whatever the state of the device is, also before features are settled. */
static bool console_set_config(struct mmioshim_device *dev, unsigned offset, unsigned width, u32 value)
{
    if (offset != offsetof(struct config, emerg_wr) || width != 4)
        return false;
    dev->host->char_send(dev, 0, (u8)value);
    return true;
}

static void console_reset(struct mmioshim_device *dev)
{
    console_of(dev)->sent = 0;
}

static bool console_valid(const struct mmioshim_device *dev, const void *own)
{
    (void)dev;
    (void)own;
    return true;
}

/* The specification of a host end as a UART takes it. */
static int console_plug(struct mmioshim_device *dev, const char *options, const char **why)
{
    static const char *const kinds[] = {"stdio", "pty", "file", "null"};
    struct fmt end = FMT_INIT(virtio_of(dev)->end);
    size_t n = 0;
    bool known = false;

    while (options[n] && options[n] != ':' && options[n] != ',')
        n++;
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
        known |= strlen(kinds[i]) == n && strncmp(kinds[i], options, n) == 0;
    fmt_str(&end, options);
    fmt_end(&end);
    *why = known ? "the path is too long" : "console has the host ends stdio, pty, file and null";
    return known && !end.full ? 0 : -1;
}

const struct virtio_type virtio_console = {
    .id = VIRTIO_ID_CONSOLE,
    .nqueues = 2,
    .config_size = sizeof(struct config),
    .name = "console",
    .plug = console_plug,
    .features = console_features,
    .valid = console_valid,
    .reset = console_reset,
    .config = console_config,
    .set_config = console_set_config,
    .waits = console_waits,
    .notify = console_notify,
    .input = RX,
    .has_input = true,
};
