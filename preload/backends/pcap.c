/*
 * pcap: frames that are sent go into a capture file, frames that arrive come
 * from another. Source: "PCAP Capture File Format" (draft-ietf-opsawg-pcap).
 * Every process of a machine opens the files: records are appended whole, and
 * how far the input was read is the device's to know.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/uio.h>
#include <time.h>

#include "backends/descriptor.h"

#include "base/errname.h"
#include "base/mem.h"
#include "base/sys.h"

#include "base/trapsafe.h"

#define MAGIC      0xa1b2c3d4u /* times in microseconds */
#define MAGIC_NANO 0xa1b23c4du
#define ETHERNET   1u
#define SNAPLEN    262144u

struct file_header {
    u32 magic;
    u16 major, minor;
    u32 zone, accuracy, snaplen, link;
};

struct record_header {
    u32 seconds, fraction, captured, length;
};

/* In b->mark: the input has the other byte order. */
static u32 number(const struct backend *b, u32 value)
{
    return b->mark ? __builtin_bswap32(value) : value;
}

static int refuse(struct fmt *error, const char *path, const char *why)
{
    fmt_printf(error, "cannot use %s as a capture file: %s", path, why);
    return -1;
}

static int open_output(struct backend *b, const char *path, struct fmt *error)
{
    struct file_header h = {MAGIC, 2, 4, 0, 0, SNAPLEN, ETHERNET};
    long fd = sys_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | (b->first ? O_TRUNC : 0), 0666);

    if (fd < 0)
        return refuse(error, path, errname(fd));
    b->out = (int)fd;
    if (b->first && sys_write_all(b->out, &h, sizeof(h)) < 0)
        return refuse(error, path, "it cannot be written");
    return 0;
}

static int open_input(struct backend *b, const char *path, struct fmt *error)
{
    long fd = sys_open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
    struct file_header h;

    if (fd < 0)
        return refuse(error, path, errname(fd));
    b->in = (int)fd;
    if (sys_pread(b->in, &h, sizeof(h), 0) != sizeof(h))
        return refuse(error, path, "it has no header");
    b->mark = h.magic == __builtin_bswap32(MAGIC) || h.magic == __builtin_bswap32(MAGIC_NANO);
    if (number(b, h.magic) != MAGIC && number(b, h.magic) != MAGIC_NANO)
        return refuse(error, path, "it is no pcap file (pcapng is none)");
    if ((number(b, h.link) & 0xffff) != ETHERNET)
        return refuse(error, path, "its frames are not Ethernet");
    return 0;
}

/* ",out=PATH,in=PATH" */
static int pcap_open(struct backend *b, const char *spec, struct fmt *error)
{
    char text[BACKEND_PATH];
    struct fmt piece = FMT_INIT(text);

    b->owns = true;
    while (backend_next(&spec, &piece)) {
        const char *out = backend_value(text, "out"), *in = backend_value(text, "in");

        if (!*text)
            continue;
        if (!out && !in)
            return backend_refuse(b->ops, text, error);
        if (out ? open_output(b, out, error) : open_input(b, in, error))
            return -1;
    }
    return 0;
}

/* One call for the whole record: those of other processes stand before or behind it. */
static long pcap_send(struct backend *b, const void *frame, size_t n)
{
    struct record_header h = {.captured = (u32)n, .length = (u32)n};
    struct iovec parts[] = {{&h, sizeof(h)}, {(void *)(uintptr_t)frame, n}};
    struct timespec now = {0, 0};
    long done;

    if (b->out < 0)
        return (long)n;
    clock_gettime(CLOCK_REALTIME, &now);
    h.seconds = (u32)now.tv_sec;
    h.fraction = (u32)(now.tv_nsec / 1000);
    done = sys(SYS_writev, b->out, parts, 2);
    if (done == -EFBIG)
        sys_drain(SIGXFSZ); /* RLIMIT_FSIZE */
    return done < 0 ? done : (long)n;
}

/* A record that makes no sense is the end. */
static long pcap_receive(struct backend *b, u64 *position, void *frame, size_t room)
{
    u64 at = MAX(*position, sizeof(struct file_header));
    struct record_header h;
    u32 n;

    if (b->in < 0)
        return -EAGAIN;
    for (;; at += sizeof(h) + n) {
        if (sys_pread(b->in, &h, sizeof(h), at) != sizeof(h))
            break;
        n = number(b, h.captured);
        if (n > SNAPLEN)
            break;
        if (n > room || n < number(b, h.length)) /* longer than the device takes, or cut: as if it was never there */
            continue;
        if (sys_pread(b->in, frame, n, at + sizeof(h)) != (long)n)
            break;
        *position = at + sizeof(h) + n;
        return n;
    }
    return -EAGAIN;
}

static const struct backend_packets pcap_ops = {.send = pcap_send, .receive = pcap_receive};

const struct backend_ops backend_pcap = {
    .name = "pcap",
    .options = "[,out=FILE][,in=FILE]",
    .doc = "frames go into a capture file, and come from another",
    .open = pcap_open,
    .close = descriptor_close,
    .packets = &pcap_ops,
};
