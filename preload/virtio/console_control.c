/* virtio-console: control messages about ports. Source: VIRTIO 1.2, 5.3.6.2. */
#include "virtio/console.h"

#include "base/mem.h"

#include "base/trapsafe.h"

enum {
    DEVICE_READY, /* from the driver; those that follow are about a port */
    DEVICE_ADD,
    DEVICE_REMOVE, /* ports stay as long as the device */
    PORT_READY,    /* from the driver */
    CONSOLE_PORT,
    RESIZE,
    PORT_OPEN, /* from both */
    PORT_NAME,
};

struct control {
    u32 id; /* of the port */
    u16 event, value;
};

struct resize {
    u16 columns, rows;
};

/* --- to the driver --- */

struct message {
    struct control control;
    union {
        struct resize resize;
        char name[CONSOLE_NAME];
    };
};

/* How many bytes it has. */
static u32 compose(const struct console *c, u32 id, unsigned kind, struct message *m)
{
    static const u8 events[TELL_KINDS] = {DEVICE_ADD, CONSOLE_PORT, PORT_NAME, RESIZE, PORT_OPEN};
    const struct console_port *p = &c->ports[id];
    u32 n = sizeof(m->control);

    m->control = (struct control){id, events[kind], 0};
    switch (kind) {
    case TELL_CONSOLE:
        m->control.value = 1;
        break;
    case TELL_NAME: /* "without a NUL terminator" */
        m->control.value = 1;
        memcpy(m->name, p->name, strlen(p->name));
        return n + (u32)strlen(p->name);
    case TELL_RESIZE:
        m->resize = (struct resize){p->columns, p->rows};
        return n + (u32)sizeof(m->resize);
    case TELL_OPEN:
        m->control.value = p->connected;
        break;
    }
    return n;
}

/* False: there is no buffer. */
static bool tell_one(struct mmioshim_device *dev, u32 id, unsigned kind)
{
    struct console *c = console_of(dev);
    struct virtio_chain chain;
    struct virtio_cursor in;
    struct message m;
    u32 n = compose(c, id, kind, &m);

    if (!virtio_pop(dev, CONSOLE_CONTROL_RX, &chain))
        return false;
    in = virtio_in(&chain);
    n = (u32)MIN(n, chain.in_length); /* the end of a name that has no room is lost */
    virtio_push(dev, CONSOLE_CONTROL_RX, &chain, virtio_put(dev, &in, &m, n) ? n : 0);
    c->ports[id].untold &= (u8)~(1u << kind);
    return true;
}

void console_tell(struct mmioshim_device *dev)
{
    struct console *c = console_of(dev);

    for (u32 id = 0; id < c->nports; id++)
        while (c->ports[id].untold)
            if (!tell_one(dev, id, (unsigned)__builtin_ctz(c->ports[id].untold)))
                return;
}

/* --- what there is to tell --- */

static void want(struct console_port *p, unsigned kind)
{
    p->untold |= (u8)(1u << kind);
}

static void look_size(struct mmioshim_device *dev, unsigned port)
{
    struct console_port *p = &console_of(dev)->ports[port];
    u16 columns = 0, rows = 0;

    dev->host->char_size(dev, port, &columns, &rows);
    if (p->columns == columns && p->rows == rows)
        return;
    p->columns = columns;
    p->rows = rows;
    if (console_multiport(dev) && p->ready)
        want(p, TELL_RESIZE);
    if (port == 0 && p->seen)
        virtio_config_changed(dev);
}

void console_look(struct mmioshim_device *dev, unsigned port)
{
    struct console_port *p = &console_of(dev)->ports[port];
    bool connected = dev->host->char_connected(dev, port);

    if (connected != p->connected && p->ready)
        want(p, TELL_OPEN);
    p->connected = connected;
    if (!p->name[0] && virtio_accepted(virtio_of(dev), CONSOLE_F_SIZE))
        look_size(dev, port);
    p->seen = 1;
}

/* --- from the driver --- */

/* "The device MUST NOT specify a port which exists in a VIRTIO_CONSOLE_DEVICE_ADD message", 5.3.6.2.1 */
static void device_ready(struct console *c, bool good)
{
    for (u32 id = 0; good && id < c->nports; id++) {
        if (!c->ports[id].added)
            want(&c->ports[id], TELL_ADD);
        c->ports[id].added = 1;
    }
}

static void port_ready(struct mmioshim_device *dev, u32 id, bool good)
{
    struct console_port *p = &console_of(dev)->ports[id];

    p->ready = 0;
    console_look(dev, id);
    p->ready = good;
    if (!good)
        return;
    want(p, p->name[0] ? TELL_NAME : TELL_CONSOLE);
    if (p->columns || p->rows)
        want(p, TELL_RESIZE);
    if (p->connected)
        want(p, TELL_OPEN);
}

/* What makes no sense is ignored: there is no answer that could say so. */
static void obey(struct mmioshim_device *dev, const struct control *m)
{
    struct console *c = console_of(dev);

    if (m->event == DEVICE_READY) {
        device_ready(c, m->value == 1);
        return;
    }
    if (m->id >= c->nports || !c->ports[m->id].added)
        return;
    if (m->event == PORT_READY)
        port_ready(dev, m->id, m->value == 1);
    else if (m->event == PORT_OPEN)
        c->ports[m->id].open = m->value == 1;
}

void console_hear(struct mmioshim_device *dev)
{
    struct virtio_chain chain;

    while (virtio_pop(dev, CONSOLE_CONTROL_TX, &chain)) {
        struct virtio_cursor out = virtio_out(&chain);
        struct control m;

        if (virtio_take(dev, &out, &m, sizeof(m)))
            obey(dev, &m);
        virtio_push(dev, CONSOLE_CONTROL_TX, &chain, 0);
    }
}
