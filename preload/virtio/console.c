/*
 * virtio-console: a terminal, or several ports of which some are terminals and
 * some have names. Source: VIRTIO 1.2, 5.3. What the driver sends goes to the
 * host end of the port; what waits there comes as soon as the driver
 * has a buffer for it. Without VIRTIO_CONSOLE_F_MULTIPORT there is port 0 alone.
 */
#include "virtio/console.h"

#include "base/fmt.h"
#include "base/mem.h"

#include "base/trapsafe.h"

struct config { /* 5.3.4 */
    u16 cols, rows;
    u32 max_nr_ports, emerg_wr;
};

/* Whose it is, when it is no queue of control messages. */
static unsigned port_of(unsigned queue)
{
    return queue < CONSOLE_CONTROL_RX ? 0 : queue / 2 - 1;
}

static bool receives(unsigned queue)
{
    return queue % 2 == 0;
}

/* --- bytes --- */

/* Bytes into a buffer until it is full or there are no more. */
static u32 fill(struct mmioshim_device *dev, unsigned port, const struct virtio_chain *chain)
{
    struct virtio_cursor in = virtio_in(chain);
    u8 bytes[256];
    u32 done = 0;

    for (;;) {
        u32 room = (u32)MIN(sizeof(bytes), chain->in_length - done), n = 0;

        while (n < room && dev->host->char_pending(dev, port))
            bytes[n++] = (u8)dev->host->char_receive(dev, port);
        if (!n || !virtio_put(dev, &in, bytes, n))
            return done;
        done += n;
    }
}

/* A terminal takes what comes; a port with a name may have a reader only while it is open. */
static bool takes_input(const struct mmioshim_device *dev, unsigned port)
{
    const struct console_port *p = &console_of(dev)->ports[port];

    return !console_multiport(dev) || (p->ready && (!p->name[0] || p->open));
}

/* "The device MUST NOT" fill buffers with nothing: it keeps them until there is something (5.3.6.2). */
static void receive(struct mmioshim_device *dev, unsigned port)
{
    unsigned queue = console_queue(port, CONSOLE_RX);
    struct virtio_chain chain;

    while (takes_input(dev, port) && dev->host->char_pending(dev, port))
        if (virtio_pop(dev, queue, &chain))
            virtio_push(dev, queue, &chain, fill(dev, port, &chain));
        else
            return;
    if (virtio_of(dev)->queues[queue].ready && (takes_input(dev, port) || !dev->host->char_pending(dev, port)))
        dev->host->wake_on_end(dev, port);
}

/* False: the host end takes no more, and this is not the place to wait for it. */
static bool send_bytes(struct mmioshim_device *dev, unsigned port, const u8 *bytes, u32 n)
{
    while (n) {
        u32 taken = (u32)dev->host->char_write(dev, port, bytes, n);

        if (!taken && !dev->host->char_wait(dev, port))
            return false;
        console_of(dev)->ports[port].sent += taken;
        bytes += taken;
        n -= taken;
    }
    return true;
}

static bool send(struct mmioshim_device *dev, unsigned port, const struct virtio_chain *chain)
{
    struct virtio_cursor out = virtio_out(chain);
    struct virtio_segment piece;
    u8 bytes[256];

    virtio_skip(&out, console_of(dev)->ports[port].sent);
    while ((piece = virtio_next(&out, sizeof(bytes))).length) {
        if (!dev->host->dma_read(dev, piece.addr, bytes, piece.length))
            return true; /* the rest is nowhere */
        if (!send_bytes(dev, port, bytes, piece.length))
            return false;
    }
    return true;
}

static void transmit(struct mmioshim_device *dev, unsigned port)
{
    unsigned queue = console_queue(port, CONSOLE_TX);
    struct virtio_chain chain;

    while (virtio_pop(dev, queue, &chain)) {
        if (!send(dev, port, &chain)) {
            virtio_again(dev, queue);
            break;
        }
        virtio_push(dev, queue, &chain, 0);
        console_of(dev)->ports[port].sent = 0;
    }
}

/* --- queues --- */

static bool is_control(unsigned queue)
{
    return queue == CONSOLE_CONTROL_RX || queue == CONSOLE_CONTROL_TX;
}

static void tell(struct mmioshim_device *dev)
{
    if (!virtio_of(dev)->queues[CONSOLE_CONTROL_RX].ready)
        return;
    console_tell(dev);
    virtio_signal(dev, CONSOLE_CONTROL_RX);
}

/* A port that is there now, or open, may have something to receive. */
static void after_control(struct mmioshim_device *dev)
{
    for (unsigned port = 0; port < console_of(dev)->nports; port++)
        if (virtio_of(dev)->queues[console_queue(port, CONSOLE_RX)].ready) {
            receive(dev, port);
            virtio_signal(dev, console_queue(port, CONSOLE_RX));
        }
}

static void control(struct mmioshim_device *dev, unsigned queue)
{
    if (queue == CONSOLE_CONTROL_TX) {
        console_hear(dev);
        virtio_signal(dev, CONSOLE_CONTROL_TX);
        after_control(dev);
    }
    tell(dev);
}

static void console_notify(struct mmioshim_device *dev, unsigned queue)
{
    unsigned port = port_of(queue);

    if (is_control(queue)) {
        control(dev, queue);
        return;
    }
    if (receives(queue))
        receive(dev, port);
    else
        transmit(dev, port);
    virtio_signal(dev, queue);
    console_look(dev, port);
    if (console_of(dev)->ports[port].untold)
        tell(dev);
}

static unsigned console_queues(const struct mmioshim_device *dev)
{
    return console_of(dev)->nports > 1 ? console_queue((unsigned)console_of(dev)->nports, CONSOLE_RX) : 2;
}

static u64 console_inputs(const struct mmioshim_device *dev)
{
    u64 queues = 0;

    for (unsigned port = 0; port < console_of(dev)->nports; port++)
        queues |= (u64)1 << console_queue(port, CONSOLE_RX);
    return queues;
}

/* A host end that takes nothing now is waited for before anything is done. */
static bool console_waits(struct mmioshim_device *dev, unsigned queue)
{
    return !is_control(queue) && !receives(queue) && !dev->host->char_room(dev, port_of(queue));
}

/* --- features and configuration --- */

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* The size is that of a terminal, where the end is one. */
static u64 console_features(const struct mmioshim_device *dev)
{
    const char *end = virtio_of(dev)->end;
    bool terminal = starts(end, "stdio") || starts(end, "pty");

    return CONSOLE_F_EMERG_WRITE | (terminal ? CONSOLE_F_SIZE : 0) |
           (console_of(dev)->nports > 1 ? CONSOLE_F_MULTIPORT : 0);
}

static void console_config(struct mmioshim_device *dev, u8 *space)
{
    struct config c = {.max_nr_ports = console_of(dev)->nports > 1 ? (u32)console_of(dev)->nports : 0};

    if (console_features(dev) & CONSOLE_F_SIZE)
        dev->host->char_size(dev, 0, &c.cols, &c.rows);
    memcpy(space, &c, sizeof(c)); /* what is written to emerg_wr reads as 0 */
}

/* 5.3.4: emerg_wr works whatever the state of the device is, also before features are settled. */
static bool console_set_config(struct mmioshim_device *dev, unsigned offset, unsigned width, u32 value)
{
    if (offset != offsetof(struct config, emerg_wr) || width != 4)
        return false;
    dev->host->char_send(dev, 0, (u8)value);
    return true;
}

/* --- life --- */

/* Of a port its name stays. */
static void console_reset(struct mmioshim_device *dev)
{
    for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
        struct console_port *p = &console_of(dev)->ports[i], fresh = {.sent = 0};

        memcpy(fresh.name, p->name, sizeof(p->name));
        *p = fresh;
    }
}

static bool port_valid(const struct console_port *p, const struct console_port *now)
{
    static const u8 none[sizeof(p->reserved)];

    return memcmp(p->name, now->name, sizeof(p->name)) == 0 && p->sent <= (u64)1 << 32 && !(p->untold >> TELL_KINDS) &&
           p->added <= 1 && p->ready <= 1 && p->open <= 1 && p->connected <= 1 && p->seen <= 1 &&
           memcmp(p->reserved, none, sizeof(none)) == 0;
}

static bool console_valid(const struct mmioshim_device *dev, const void *own)
{
    const struct console *c = own, *now = console_of(dev);

    for (unsigned i = 0; i < CONSOLE_PORTS; i++)
        if (!port_valid(&c->ports[i], &now->ports[i]))
            return false;
    return c->nports == now->nports;
}

/* --- what is plugged in --- */

static size_t until_next(const char *text)
{
    size_t n = 0;

    while (text[n] && !starts(text + n, "+console:") && !starts(text + n, "+port:"))
        n++;
    return n;
}

static bool known_end(const char *spec)
{
    static const char *const kinds[] = {"stdio", "pty", "file", "socket", "null"};
    size_t n = 0;
    bool known = false;

    while (spec[n] && spec[n] != ':' && spec[n] != ',' && spec[n] != '+')
        n++;
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
        known |= strlen(kinds[i]) == n && strncmp(kinds[i], spec, n) == 0;
    return known;
}

/* "NAME=END": what follows the '='; NULL: that is no name. */
static const char *take_name(const char *text, char *name)
{
    size_t n = 0;

    while (text[n] && text[n] != '=' && text[n] != '+' && text[n] != ',')
        n++;
    if (text[n] != '=' || !n || n >= CONSOLE_NAME)
        return NULL;
    memcpy(name, text, n);
    return text + n + 1;
}

/* A host end, and what follows it; NULL with *why. */
static const char *plug_port(struct mmioshim_device *dev, const char *end, struct fmt *ends, const char **why)
{
    struct console *c = console_of(dev);
    size_t n;

    *why = "console has the host ends stdio, pty, file, socket and null";
    if (!known_end(end))
        return NULL;
    n = until_next(end);
    if (c->nports++)
        fmt_char(ends, '\n');
    fmt_mem(ends, end, n);
    *why = "the paths of its host ends are too long";
    return ends->full ? NULL : end + n;
}

/* Host ends as a UART takes them: "END[+console:END...][+port:NAME=END...]". */
static int console_plug(struct mmioshim_device *dev, const char *options, const char **why)
{
    struct console *c = console_of(dev);
    struct fmt ends = FMT_INIT(virtio_of(dev)->end);

    options = plug_port(dev, options, &ends, why);
    while (options && *options) {
        *why = "console has 7 ports at most";
        if (c->nports == CONSOLE_PORTS)
            return -1;
        *why = "the name of a port has 1 to 47 characters, none of them ',' or '+', and an end behind '='";
        options = starts(options, "+console:") ? options + 9 : take_name(options + 6, c->ports[c->nports].name);
        if (options)
            options = plug_port(dev, options, &ends, why);
    }
    fmt_end(&ends);
    *why = ends.full ? "the paths of its host ends are too long" : *why;
    return options && !ends.full ? 0 : -1;
}

const struct virtio_type virtio_console = {
    .id = VIRTIO_ID_CONSOLE,
    .nqueues = VIRTIO_QUEUES,
    .queues = console_queues,
    .config_size = sizeof(struct config),
    .name = "console",
    .unpolled = true,
    .plug = console_plug,
    .features = console_features,
    .valid = console_valid,
    .reset = console_reset,
    .config = console_config,
    .set_config = console_set_config,
    .waits = console_waits,
    .notify = console_notify,
    .inputs = console_inputs,
};
