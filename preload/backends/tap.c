/*
 * tap: a network interface of the host (the kernel's
 * Documentation/networking/tuntap.rst). Frames carry the header of virtio
 * (IFF_VNET_HDR), so the kernel does what a driver leaves undone, and the other
 * way around. The worker alone has it. The name of the interface is in b->link,
 * and when it is tried again in b->mark.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include "backends/local.h"

#include "base/errname.h"
#include "base/mem.h"
#include "base/sys.h"

#include "base/trapsafe.h"

#define WAIT   1000000000ull /* ns until an interface that cannot be had is tried again */
#define HEADER 12            /* of VIRTIO 1.2, 5.1.6, with num_buffers */

struct tap {
    u64 given;  /* position behind the frame that was given last */
    u32 length; /* of it with its header; 0: none */
    unsigned offload;
    u8 frame[HEADER + 65550];
};

static long set_up(int fd, const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int header = HEADER;
    long ret;

    memcpy(request.ifr_name, name, MIN(strlen(name), IFNAMSIZ - 1u));
    ret = sys_ioctl(fd, TUNSETIFF, &request);
    if (ret == 0)
        ret = sys_ioctl(fd, TUNSETVNETHDRSZ, &header);
    return ret < 0 ? ret : sys(SYS_ioctl, fd, TUNSETOFFLOAD, 0);
}

/* A descriptor, or -errno. */
static long open_interface(const char *name)
{
    long fd = local_high(sys_open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK, 0)), ret;

    if (fd < 0)
        return fd;
    ret = set_up((int)fd, name);
    if (ret < 0)
        sys_close((int)fd);
    return ret < 0 ? ret : fd;
}

static u64 tap_attend(struct backend *b, unsigned revents, u64 now)
{
    long fd;

    (void)revents;
    if (!b->own && !(b->own = sys_pages(sizeof(struct tap))))
        return now + WAIT;
    if (b->in < 0 && now >= b->mark) {
        fd = open_interface(b->link);
        b->in = fd < 0 ? -1 : (int)fd;
        b->mark = now + WAIT;
    }
    b->up = b->in >= 0;
    return b->up ? UINT64_MAX : b->mark;
}

static long tap_send(struct backend *b, const void *frame, size_t n)
{
    long ret;

    if (!b->up)
        return -ENOTCONN;
    do
        ret = sys_write(b->in, frame, n);
    while (ret == -EINTR);
    b->full |= ret == -EAGAIN;
    return ret;
}

/* An interface that was taken away: another one is made. */
static void lose(struct backend *b)
{
    struct tap *t = b->own;

    sys_close(b->in);
    b->in = -1;
    b->up = false;
    t->offload = t->length = 0;
}

static long tap_receive(struct backend *b, u64 *position, void *frame, size_t room)
{
    struct tap *t = b->own;

    if (!b->up)
        return -EAGAIN;
    if (*position == t->given)
        t->length = 0;
    while (!t->length) {
        long n = sys_read(b->in, t->frame, sizeof(t->frame));

        if (n == -EBADFD)
            lose(b);
        if (n < 0 && n != -EINTR)
            return -EAGAIN;
        if (n > 0 && (size_t)n <= room)
            t->length = (u32)n;
    }
    memcpy(frame, t->frame, t->length);
    t->given = ++*position;
    return t->length;
}

static void tap_offload(struct backend *b, unsigned kinds)
{
    struct tap *t = b->own;

    _Static_assert(PACKET_CSUM == TUN_F_CSUM && PACKET_TSO4 == TUN_F_TSO4 && PACKET_TSO6 == TUN_F_TSO6 &&
                   PACKET_ECN == TUN_F_TSO_ECN, "the kernel's numbers");
    if (b->up && kinds != t->offload && sys(SYS_ioctl, b->in, TUNSETOFFLOAD, kinds) == 0)
        t->offload = kinds;
}

/* What the worker will do is tried, so that a lack of permission is known before the program runs. */
static int try(struct backend *b, struct fmt *error)
{
    long fd = open_interface(b->link);

    if (fd < 0) {
        fmt_printf(error, "tap: cannot have interface %s: %s; it needs /dev/net/tun and CAP_NET_ADMIN, or an interface "
                   "of this user (ip tuntap add NAME mode tap user USER) that nobody else has open", b->link, errname(fd));
        return -1;
    }
    sys_close((int)fd);
    return 0;
}

/* ",ifname=NAME" */
static int tap_open(struct backend *b, const char *spec, struct fmt *error)
{
    char text[BACKEND_PATH];
    struct fmt piece = FMT_INIT(text);

    while (backend_next(&spec, &piece)) {
        const char *name = backend_value(text, "ifname");

        if (!*text)
            continue;
        if (!name || !*name || strlen(name) >= IFNAMSIZ || strchr(name, '%') || strchr(name, '/'))
            return backend_refuse(b->ops, text, error);
        memcpy(b->link, name, strlen(name) + 1);
    }
    if (!*b->link) {
        fmt_str(error, "tap needs the name of an interface: ifname=NAME");
        return -1;
    }
    return b->first ? try(b, error) : 0;
}

static void tap_close(struct backend *b)
{
    if (!b->own)
        return;
    if (b->in >= 0)
        sys_close(b->in);
    b->in = -1;
    sys_munmap(b->own, sizeof(struct tap));
    b->own = NULL;
}

static const struct backend_packets tap_ops = {
    .send = tap_send,
    .receive = tap_receive,
    .attend = tap_attend,
    .offload = tap_offload,
};

const struct backend_ops backend_tap = {
    .name = "tap",
    .options = ",ifname=NAME",
    .doc = "a network interface of the host, made for as long as the machine lives unless it is there",
    .open = tap_open,
    .close = tap_close,
    .packets = &tap_ops,
};
