/*
 * stdio: the program's own descriptors 0 and 1. They may be shared with others:
 * terminal modes and O_NONBLOCK are never touched, one byte is written at a
 * time, in program order, and none is read ahead.
 */
#include "backends/descriptor.h"

#include "base/trapsafe.h"

static int stdio_open(struct backend *b, const char *spec, struct fmt *error)
{
    if (*spec)
        return backend_refuse(&backend_stdio, spec, error);
    b->in = 0;
    b->out = 1;
    return 0;
}

const struct backend_ops backend_stdio = {
    .name = "stdio",
    .options = "",
    .doc = "the program's standard input and output",
    .open = stdio_open,
    .close = descriptor_close,
    .write = descriptor_write,
    .read = descriptor_read,
    .poll = descriptor_poll,
};
