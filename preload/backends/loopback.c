/* loopback: a cable from a network card to itself. The device knows what to do; there is nothing to open. */
#include <errno.h>

#include "backends/backend.h"

#include "base/trapsafe.h"

static int loopback_open(struct backend *b, const char *spec, struct fmt *error)
{
    return *spec ? backend_refuse(b->ops, spec, error) : 0;
}

static void loopback_close(struct backend *b)
{
    (void)b;
}

static long loopback_send(struct backend *b, const void *frame, size_t n)
{
    (void)b;
    (void)frame;
    (void)n;
    return -ENXIO;
}

static long loopback_receive(struct backend *b, u64 *position, void *frame, size_t room)
{
    (void)b;
    (void)position;
    (void)frame;
    (void)room;
    return -EAGAIN;
}

static const struct backend_packets loopback_ops = {.send = loopback_send, .receive = loopback_receive};

const struct backend_ops backend_loopback = {
    .name = "loopback",
    .options = "",
    .doc = "frames come back",
    .open = loopback_open,
    .close = loopback_close,
    .packets = &loopback_ops,
};
