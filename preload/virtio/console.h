/* The two halves of virtio-console: bytes (console.c), and what is said of ports (console_control.c). */
#ifndef MMIOSHIM_VIRTIO_CONSOLE_H
#define MMIOSHIM_VIRTIO_CONSOLE_H

#include "virtio/virtio.h"

enum { CONSOLE_PORTS = (VIRTIO_QUEUES - 2) / 2, CONSOLE_NAME = 48 };

/* Queues, 5.3.2: those of port 0, of control messages, and of the other ports. Receiving ones are even. */
enum { CONSOLE_RX, CONSOLE_TX, CONSOLE_CONTROL_RX, CONSOLE_CONTROL_TX };

enum { CONSOLE_F_SIZE = 1 << 0, CONSOLE_F_MULTIPORT = 1 << 1, CONSOLE_F_EMERG_WRITE = 1 << 2 }; /* 5.3.3 */

/* What the driver has not been told yet, in the order in which it is told. */
enum { TELL_ADD, TELL_CONSOLE, TELL_NAME, TELL_RESIZE, TELL_OPEN, TELL_KINDS };

/* The host end of the same number is the other side of a port. */
struct console_port {
    u64 sent;          /* bytes of the request that is under way, whoever began it */
    u16 columns, rows; /* of the terminal, as it was last seen; 0: not known */
    u8 untold;         /* a bit for each TELL_ */
    u8 added;          /* the driver has been told that there is one */
    u8 ready, open;    /* what the driver said of it */
    u8 connected;      /* somebody was on the other side at the last look */
    u8 seen;           /* it was looked at since the reset */
    u8 reserved[6];
    char name[CONSOLE_NAME]; /* "": a console */
};

struct console {
    u64 nports;
    struct console_port ports[CONSOLE_PORTS];
};

_Static_assert(sizeof(struct console) <= VIRTIO_PRIVATE, "there is room for it");

static inline struct console *console_of(const struct mmioshim_device *dev)
{
    return (struct console *)virtio_of(dev)->own;
}

static inline bool console_multiport(const struct mmioshim_device *dev)
{
    return virtio_accepted(virtio_of(dev), CONSOLE_F_MULTIPORT);
}

static inline unsigned console_queue(unsigned port, unsigned direction)
{
    return port ? 2 + 2 * port + direction : direction;
}

/* Looks who is on the other side, and how large his terminal is; the driver will be told. */
void console_look(struct mmioshim_device *dev, unsigned port);
/* Messages to the driver, as far as it has buffers for them. */
void console_tell(struct mmioshim_device *dev);
/* Messages from it. */
void console_hear(struct mmioshim_device *dev);

#endif
