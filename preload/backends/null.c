/* null: takes everything, gives nothing. */
#include <errno.h>

#include "backends/backend.h"

#include "base/sys.h"

#include "base/trapsafe.h"

static int null_open(struct backend *b, const char *spec, struct fmt *error)
{
    (void)b;
    return *spec ? backend_refuse(&backend_null, spec, error) : 0;
}

static void null_close(struct backend *b)
{
    (void)b;
}

static long null_write(struct backend *b, const void *buf, size_t n)
{
    (void)b;
    (void)buf;
    return (long)n;
}

static long null_read(struct backend *b, void *buf, size_t n)
{
    (void)b;
    (void)buf;
    (void)n;
    return -EAGAIN;
}

/* Waiting for input from here takes all the time there is. */
static unsigned null_poll(struct backend *b, unsigned events, int timeout_ms)
{
    (void)b;
    if (events & BACKEND_OUT)
        return BACKEND_OUT;
    if (timeout_ms != 0)
        sys(SYS_poll, NULL, 0, timeout_ms);
    return 0;
}

const struct backend_ops backend_null = {
    .name = "null",
    .options = "",
    .doc = "output is discarded, there is no input",
    .open = null_open,
    .close = null_close,
    .write = null_write,
    .read = null_read,
    .poll = null_poll,
};
