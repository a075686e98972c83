/*
 * stream: frames over a Unix stream socket, each behind its length, 32 bits,
 * most significant byte first: what QEMU's `-netdev stream` and `-netdev
 * socket` speak, and passt (QEMU's documentation of -netdev, net/stream.c).
 * The worker alone has the connection. The path and whether we are the server
 * are in b->link and b->mark.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "backends/local.h"

#include "base/mem.h"
#include "base/sys.h"

#include "base/trapsafe.h"

#define LENGTH_MAX 69632u  /* of a frame; QEMU's own limit. More is no frame, and the connection is of no use */
#define IN_SIZE    (1u << 18)
#define FIRST_WAIT 10000000ull   /* ns until a server that was not there is tried again, */
#define LAST_WAIT  1000000000ull /* twice as long each time, up to this */

struct stream {
    int listener;   /* of a server; 0: not yet */
    u64 wait, retry; /* ns: the next time it is tried */
    bool half;      /* the other side is done, what it sent is not yet read */
    u64 given;      /* position behind the frame that was given last */
    u32 frame;      /* its length, at `at`; 0: none */
    u32 at, have;   /* of `in` */
    u32 sent, left; /* of `out`: what the socket did not take of a frame that it began to take */
    u8 out[4 + LENGTH_MAX];
    u8 in[IN_SIZE];
};

static u32 get32(const u8 *p)
{
    return (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
}

/* --- the connection --- */

static void hang_up(struct backend *b)
{
    struct stream *s = b->own;

    sys_close(b->in);
    b->up = b->full = false;
    b->in = s->listener ? s->listener : -1;
    b->listens = s->listener;
    s->half = false;
    s->frame = s->at = s->have = s->left = 0;
    s->wait = FIRST_WAIT;
    s->retry = 0;
}

static void connected(struct backend *b, long fd)
{
    b->in = (int)fd;
    b->up = true;
    b->listens = false;
}

static long try_connect(struct backend *b)
{
    long fd = local_socket(SOCK_STREAM), ret = fd < 0 ? fd : local_connect((int)fd, b->link);

    if (ret == 0)
        connected(b, fd);
    else if (fd >= 0)
        sys_close((int)fd);
    return ret;
}

static long listen_there(struct backend *b)
{
    struct stream *s = b->own;
    long fd = local_socket(SOCK_STREAM), ret = fd < 0 ? fd : local_bind((int)fd, b->link);

    if (ret == 0)
        ret = sys(SYS_listen, fd, 1);
    if (ret < 0) {
        if (fd >= 0)
            sys_close((int)fd);
        return ret;
    }
    b->in = s->listener = (int)fd;
    b->listens = true;
    return 0;
}

/* One at a time: who comes meanwhile waits to be accepted. */
static long try_accept(struct backend *b)
{
    struct stream *s = b->own;
    long fd = s->listener ? 0 : listen_there(b);

    if (fd == 0)
        fd = local_high(sys(SYS_accept4, s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd >= 0)
        connected(b, fd);
    return fd;
}

/* Nobody is there. When to look again. */
static u64 seek(struct backend *b, u64 now)
{
    struct stream *s = b->own;

    if (now < s->retry)
        return s->retry;
    if ((b->mark ? try_accept(b) : try_connect(b)) >= 0 || b->listens)
        return UINT64_MAX;
    s->wait = MIN(2 * s->wait, LAST_WAIT);
    s->retry = now + s->wait;
    return s->retry;
}

/* The other side is gone. What it sent before is still to be had. */
static void look_half(struct backend *b)
{
    struct stream *s = b->own;
    u8 byte;

    if (s->frame || s->have != s->at || sys(SYS_recvfrom, b->in, &byte, 1, MSG_PEEK | MSG_DONTWAIT, NULL, NULL) > 0)
        s->half = true;
    else
        hang_up(b);
}

/* What was begun is sent first. False: there is still no room. */
static bool flush(struct backend *b)
{
    struct stream *s = b->own;

    while (s->left) {
        long n = sys(SYS_sendto, b->in, s->out + s->sent, s->left, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);

        if (n == -EINTR)
            continue;
        if (n == -EAGAIN)
            return !(b->full = true);
        if (n < 0) {
            hang_up(b);
            return true;
        }
        s->sent += (u32)n;
        s->left -= (u32)n;
    }
    return true;
}

static u64 stream_attend(struct backend *b, unsigned revents, u64 now)
{
    struct stream *s = b->own;

    if (!s) {
        s = b->own = sys_pages(sizeof(*s));
        if (!s)
            return now + LAST_WAIT;
        s->wait = FIRST_WAIT;
    }
    if (b->up)
        flush(b);
    if (b->up && !s->half && (revents & (POLLHUP | POLLERR)))
        look_half(b);
    return b->up ? UINT64_MAX : seek(b, now);
}

/* --- frames --- */

static long stream_send(struct backend *b, const void *frame, size_t n)
{
    struct stream *s = b->own;
    u8 length[4] = {(u8)(n >> 24), (u8)(n >> 16), (u8)(n >> 8), (u8)n};
    struct iovec parts[] = {{length, 4}, {(void *)(uintptr_t)frame, n}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    long done;

    if (!b->up || n > LENGTH_MAX)
        return -ENOTCONN;
    if (!flush(b))
        return -EAGAIN;
    if (!b->up)
        return -ENOTCONN;
    do
        done = sys(SYS_sendmsg, b->in, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (done == -EINTR);
    if (done == -EAGAIN)
        b->full = true;
    else if (done < 0)
        hang_up(b);
    if (done < 0 || (size_t)done == n + 4)
        return done < 0 ? done : (long)n;
    memcpy(s->out, length, 4);
    memcpy(s->out + 4, frame, n);
    s->sent = (u32)done;
    s->left = (u32)(n + 4) - s->sent;
    b->full = true;
    return (long)n;
}

/* Is a whole frame there? Those that the device cannot take are passed over. */
static bool find_frame(struct backend *b, size_t room)
{
    struct stream *s = b->own;

    while (!s->frame && s->have - s->at >= 4) {
        u32 n = get32(s->in + s->at);

        if (n > LENGTH_MAX) {
            hang_up(b);
            return false;
        }
        if (n > s->have - s->at - 4)
            return false;
        if (n && n <= room)
            s->frame = n;
        else
            s->at += 4 + n;
    }
    return s->frame;
}

/* More bytes. False: there are none now. */
static bool fill(struct backend *b)
{
    struct stream *s = b->own;
    long n;

    if (s->at) {
        memmove(s->in, s->in + s->at, s->have - s->at);
        s->have -= s->at;
        s->at = 0;
    }
    do
        n = sys(SYS_recvfrom, b->in, s->in + s->have, IN_SIZE - s->have, MSG_DONTWAIT, NULL, NULL);
    while (n == -EINTR);
    if (n > 0)
        s->have += (u32)n;
    else if (n != -EAGAIN)
        hang_up(b);
    return n > 0;
}

static long stream_receive(struct backend *b, u64 *position, void *frame, size_t room)
{
    struct stream *s = b->own;

    if (!b->up)
        return -EAGAIN;
    if (s->frame && *position == s->given) {
        s->at += 4 + s->frame;
        s->frame = 0;
    }
    while (!find_frame(b, room))
        if (!b->up || !fill(b))
            return -EAGAIN;
    memcpy(frame, s->in + s->at + 4, s->frame);
    s->given = ++*position;
    return s->frame;
}

/* --- life --- */

/* ",path=PATH[,server]" */
static int stream_open(struct backend *b, const char *spec, struct fmt *error)
{
    char text[BACKEND_PATH];
    struct fmt piece = FMT_INIT(text);

    while (backend_next(&spec, &piece)) {
        const char *path = backend_value(text, "path");

        if (path && local_path(b, path, b->link, error) < 0)
            return -1;
        if (strcmp(text, "server") == 0)
            b->mark = 1;
        else if (!path && *text)
            return backend_refuse(b->ops, text, error);
    }
    if (!*b->link) {
        fmt_str(error, "stream needs the path of a socket: path=PATH");
        return -1;
    }
    return b->first ? local_check(b, SOCK_STREAM, b->link, b->mark, error) : 0;
}

static void stream_close(struct backend *b)
{
    struct stream *s = b->own;

    if (!s)
        return;
    if (b->up)
        hang_up(b);
    if (s->listener) {
        sys(SYS_unlink, b->link);
        sys_close(s->listener);
    }
    sys_munmap(s, sizeof(*s));
    b->own = NULL;
    b->in = -1;
    b->listens = false;
}

static const struct backend_packets stream_ops = {.send = stream_send, .receive = stream_receive, .attend = stream_attend};

const struct backend_ops backend_stream = {
    .name = "stream",
    .options = ",path=PATH[,server]",
    .doc = "frames over a Unix stream socket, as with QEMU's -netdev stream; a client comes back until it finds its server",
    .open = stream_open,
    .close = stream_close,
    .packets = &stream_ops,
};
