/*
 * stdio: the program's own descriptors 0 and 1. They may be shared with others:
 * terminal modes and O_NONBLOCK are never touched, one byte is written at a
 * time, in program order, and none is read ahead.
 */
#include "backends/descriptor.h"

#include <fcntl.h>

#include "base/sys.h"

#include "base/trapsafe.h"

static int stdio_open(struct backend *b, const char *spec, struct fmt *error)
{
    if (*spec)
        return backend_refuse(&backend_stdio, spec, error);
    /* What was closed at the start stays so for us: another file may get its number later. */
    b->in = sys_fcntl(0, F_GETFD, 0) < 0 ? -1 : 0;
    b->out = sys_fcntl(1, F_GETFD, 0) < 0 ? -1 : 1;
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
