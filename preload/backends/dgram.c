/*
 * dgram: frames over Unix datagram sockets, one each: what QEMU's `-netdev
 * dgram` speaks. The worker alone has the socket: in has our address and does
 * everything; out is connected to the other one, only because that is how
 * poll(2) tells when there is room. b->link has both paths, one behind the
 * other, and b->mark when ours is tried again.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "backends/local.h"

#include "base/mem.h"
#include "base/sys.h"

#include "base/trapsafe.h"

#define WAIT 1000000000ull /* ns until an address that cannot be had is tried again */

struct dgram {
    u64 given;  /* position behind the frame that was given last */
    u32 length; /* of it; 0: none */
    u8 frame[65536];
};

static const char *remote(const struct backend *b)
{
    return b->link + LOCAL_PATH;
}

static bool bind_here(struct backend *b)
{
    long fd = local_socket(SOCK_DGRAM);

    if (fd >= 0 && local_bind((int)fd, b->link) == 0) {
        b->in = (int)fd;
        return true;
    }
    if (fd >= 0)
        sys_close((int)fd);
    return false;
}

static u64 dgram_attend(struct backend *b, unsigned revents, u64 now)
{
    (void)revents;
    if (!b->own && !(b->own = sys_pages(sizeof(struct dgram))))
        return now + WAIT;
    if (!b->up && now >= b->mark) {
        b->up = bind_here(b);
        b->mark = now + WAIT;
    }
    return b->up ? UINT64_MAX : b->mark;
}

/* False: nobody is there to wait for. */
static bool wait_for_room(struct backend *b)
{
    long fd;

    if (b->out >= 0)
        sys_close(b->out);
    fd = local_socket(SOCK_DGRAM);
    if (fd >= 0 && local_connect((int)fd, remote(b)) < 0) {
        sys_close((int)fd);
        fd = -1;
    }
    b->out = fd < 0 ? -1 : (int)fd;
    return fd >= 0;
}

static long dgram_send(struct backend *b, const void *frame, size_t n)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(remote(b)) + 1);
    long ret;

    if (!b->up)
        return -ENOTCONN;
    memcpy(address.sun_path, remote(b), strlen(remote(b)));
    do
        ret = sys(SYS_sendto, b->in, frame, n, MSG_DONTWAIT | MSG_NOSIGNAL, &address, length);
    while (ret == -EINTR);
    if (ret != -EAGAIN)
        return ret;
    b->full = wait_for_room(b);
    return b->full ? -EAGAIN : -ENOTCONN;
}

static long dgram_receive(struct backend *b, u64 *position, void *frame, size_t room)
{
    struct dgram *d = b->own;

    if (!b->up)
        return -EAGAIN;
    if (*position == d->given)
        d->length = 0;
    while (!d->length) {
        long n = sys(SYS_recvfrom, b->in, d->frame, sizeof(d->frame), MSG_DONTWAIT | MSG_TRUNC, NULL, NULL);

        if (n < 0 && n != -EINTR)
            return -EAGAIN;
        if (n > 0 && (size_t)n <= MIN(room, sizeof(d->frame)))
            d->length = (u32)n;
    }
    memcpy(frame, d->frame, d->length);
    d->given = ++*position;
    return d->length;
}

/* ",local=PATH,remote=PATH" */
static int dgram_open(struct backend *b, const char *spec, struct fmt *error)
{
    char text[BACKEND_PATH];
    struct fmt piece = FMT_INIT(text);

    _Static_assert(sizeof(b->link) >= 2 * LOCAL_PATH, "both paths");
    b->link[LOCAL_PATH] = 0;
    while (backend_next(&spec, &piece)) {
        const char *here = backend_value(text, "local"), *there = backend_value(text, "remote");

        if (!*text)
            continue;
        if (!here && !there)
            return backend_refuse(b->ops, text, error);
        if (local_path(b, here ? here : there, b->link + (here ? 0 : LOCAL_PATH), error) < 0)
            return -1;
    }
    if (!b->link[0] || !remote(b)[0]) {
        fmt_str(error, "dgram needs the paths of two sockets: local=PATH,remote=PATH");
        return -1;
    }
    return !b->first || (local_check(b, SOCK_DGRAM, b->link, true, error) == 0 &&
                         local_check(b, SOCK_DGRAM, remote(b), false, error) == 0) ? 0 : -1;
}

static void dgram_close(struct backend *b)
{
    if (!b->own)
        return;
    if (b->in >= 0) {
        sys(SYS_unlink, b->link);
        sys_close(b->in);
    }
    if (b->out >= 0)
        sys_close(b->out);
    b->in = b->out = -1;
    sys_munmap(b->own, sizeof(struct dgram));
    b->own = NULL;
}

static const struct backend_packets dgram_ops = {.send = dgram_send, .receive = dgram_receive, .attend = dgram_attend};

const struct backend_ops backend_dgram = {
    .name = "dgram",
    .options = ",local=PATH,remote=PATH",
    .doc = "frames over Unix datagram sockets, one each, as with QEMU's -netdev dgram",
    .open = dgram_open,
    .close = dgram_close,
    .packets = &dgram_ops,
};
