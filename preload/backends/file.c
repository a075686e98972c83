/*
 * file: output goes to a file, input comes from another. Every process of a
 * machine opens it, so writes append, and only the process that creates the
 * machine truncates. The position in the input is each process's own, shared
 * by what it forks.
 */
#include <errno.h>
#include <fcntl.h>

#include "backends/descriptor.h"

#include "base/errname.h"
#include "base/mem.h"
#include "base/sys.h"

#include "base/trapsafe.h"

/* O_NONBLOCK: a FIFO or a serial line must not hold up the program; regular files do not care. */
#define FLAGS (O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

struct request {
    char out[BACKEND_PATH];
    char in[BACKEND_PATH];
    bool append;
};

static int fill(char *path, const char *text, struct fmt *error)
{
    size_t size = strlen(text) + 1;

    if (size == 1 || size > BACKEND_PATH) {
        fmt_str(error, size == 1 ? "file needs a path: file:PATH" : "file: the path is longer than 4095 bytes");
        return -1;
    }
    memcpy(path, text, size);
    return 0;
}

static int parse(const char *spec, struct request *request, struct fmt *error)
{
    char text[BACKEND_PATH + 8];
    struct fmt piece = FMT_INIT(text);

    backend_next(&spec, &piece);
    if (fill(request->out, text, error))
        return -1;
    while (backend_next(&spec, &piece)) {
        const char *in = backend_value(text, "in");

        if (in) {
            if (fill(request->in, in, error))
                return -1;
        } else if (strcmp(text, "append") == 0) {
            request->append = true;
        } else {
            return backend_refuse(&backend_file, text, error);
        }
    }
    return 0;
}

static int open_path(const char *path, int flags, const char *purpose, struct fmt *error)
{
    long fd = sys_open(path, flags | FLAGS, 0666);

    if (fd == -ENXIO)
        fmt_printf(error, "cannot open %s for %s: a FIFO that nobody reads", path, purpose);
    else if (fd < 0)
        fmt_printf(error, "cannot open %s for %s: %s", path, purpose, errname(fd));
    return (int)fd;
}

static int file_open(struct backend *b, const char *spec, struct fmt *error)
{
    struct request request = {.append = false};
    int truncate;

    if (parse(spec, &request, error))
        return -1;
    truncate = b->first && !request.append ? O_TRUNC : 0;
    b->owns = true;
    b->out = open_path(request.out, O_WRONLY | O_CREAT | O_APPEND | truncate, "output", error);
    if (b->out < 0)
        return -1;
    if (request.in[0])
        b->in = open_path(request.in, O_RDONLY, "input", error);
    return request.in[0] && b->in < 0 ? -1 : 0;
}

const struct backend_ops backend_file = {
    .name = "file",
    .options = ":PATH[,append][,in=PATH]",
    .doc = "output to a file, emptied when the machine starts unless append is given; input from another",
    .open = file_open,
    .close = descriptor_close,
    .write = descriptor_write,
    .read = descriptor_read,
    .poll = descriptor_poll,
};
