/*
 * pty: a pseudo-terminal of its own; people connect to its other side with any
 * terminal program. Nobody need be connected: what is sent meanwhile stays in
 * the terminal's buffer for whoever comes, and is lost once that is full.
 */
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "backends/backend.h"

#include "base/errname.h"
#include "base/mem.h"
#include "base/sys.h"

#include "base/trapsafe.h"

enum { RECHECK_MS = 50 }; /* how soon a wait notices that somebody has connected */

/* Bytes pass as they are, and nothing is echoed back to us (termios(3), "Raw mode"). */
static long make_raw(int fd)
{
    struct termios t;
    long ret = sys_ioctl(fd, TCGETS, &t);

    if (ret < 0)
        return ret;
    t.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    t.c_oflag &= ~(tcflag_t)OPOST;
    t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
    t.c_cflag = (t.c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    return sys_ioctl(fd, TCSETS, &t);
}

static long find_name(struct backend *b)
{
    struct fmt name = FMT_INIT(b->name);
    int number = 0;
    long ret = sys_ioctl(b->in, TIOCGPTN, &number);

    if (ret < 0)
        return ret;
    fmt_printf(&name, "/dev/pts/%d", number);
    fmt_end(&name);
    return 0;
}

/*
 * Linux reports that nobody is connected (POLLHUP) only when somebody has been
 * and left. So we come and leave.
 */
static void visit(const char *name)
{
    long fd = sys_open(name, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK, 0);

    if (fd >= 0)
        sys_close((int)fd);
}

static long open_terminal(struct backend *b)
{
    int locked = 0;
    long ret = sys_open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK, 0);

    if (ret < 0)
        return ret;
    b->in = b->out = (int)ret;
    b->owns = true;
    ret = sys_ioctl(b->in, TIOCSPTLCK, &locked);
    if (ret == 0)
        ret = make_raw(b->in);
    if (ret == 0)
        ret = find_name(b);
    if (ret == 0)
        visit(b->name);
    return ret;
}

/* Is it a link that an earlier run left behind? Anything else at that place is the user's. */
static bool stale_link(const char *path)
{
    static const char prefix[] = "/dev/pts/";
    char target[sizeof(prefix)];

    return sys_readlink(path, target, sizeof(target)) == sizeof(target) &&
           strncmp(target, prefix, sizeof(prefix) - 1) == 0;
}

static long make_link(struct backend *b)
{
    long ret = sys(SYS_symlink, b->name, b->link);

    if (ret == -EEXIST && stale_link(b->link)) {
        sys(SYS_unlink, b->link);
        ret = sys(SYS_symlink, b->name, b->link);
    }
    return ret;
}

static int parse(struct backend *b, const char *spec, struct fmt *error)
{
    char text[BACKEND_PATH + 8];
    struct fmt piece = FMT_INIT(text);

    backend_next(&spec, &piece);
    if (text[0])
        return backend_refuse(&backend_pty, text, error);
    while (backend_next(&spec, &piece)) {
        const char *link = backend_value(text, "link");

        if (!link || !*link)
            return backend_refuse(&backend_pty, text, error);
        if (strlen(link) >= sizeof(b->link)) {
            fmt_printf(error, "pty: the path of the link is longer than %d bytes", BACKEND_LINK - 1);
            return -1;
        }
        memcpy(b->link, link, strlen(link) + 1);
    }
    return 0;
}

/* The link belongs to the process that made it: others of the machine, and its children, leave it alone. */
static int pty_open(struct backend *b, const char *spec, struct fmt *error)
{
    long ret;

    if (parse(b, spec, error)) {
        b->link[0] = 0;
        return -1;
    }
    if (!b->first)
        b->link[0] = 0;
    ret = open_terminal(b);
    if (ret < 0) {
        fmt_printf(error, "cannot open a pseudo-terminal: %s", errname(ret));
        return -1;
    }
    if (!b->link[0])
        return 0;
    ret = make_link(b);
    if (ret < 0) {
        fmt_printf(error, "cannot make the link %s: %s", b->link, errname(ret));
        return -1;
    }
    b->mark = (u64)sys_getpid();
    return 0;
}

static int pty_adopt(struct backend *b, int fd, struct fmt *error)
{
    long ret;

    b->ops = &backend_pty;
    b->in = b->out = fd;
    b->owns = true;
    b->ended = false;
    b->mark = 0;
    b->link[0] = 0;
    ret = find_name(b);
    if (ret < 0)
        fmt_printf(error, "descriptor %d is no pseudo-terminal: %s", fd, errname(ret));
    return ret < 0 ? -1 : 0;
}

/* The number of the terminal and 1. */
static u64 pty_identity(const struct backend *b, int fd)
{
    u32 number;

    return sys_ioctl(fd < 0 ? b->in : fd, TIOCGPTN, &number) == 0 ? (u64)number + 1 : 0;
}

/* Does the link still point at our terminal? */
static bool link_is_ours(const struct backend *b)
{
    char target[BACKEND_NAME];
    long length = sys_readlink(b->link, target, sizeof(target));

    return length > 0 && (size_t)length == strlen(b->name) && strncmp(target, b->name, (size_t)length) == 0;
}

static void pty_close(struct backend *b)
{
    if (b->mark == (u64)sys_getpid() && link_is_ours(b))
        sys(SYS_unlink, b->link);
    b->mark = 0;
    if (b->owns && b->in >= 0)
        sys_close(b->in);
    b->in = b->out = -1;
    b->owns = false;
}

static short look(const struct backend *b, unsigned events, int timeout_ms)
{
    struct pollfd fd = {.fd = b->in, .events = 0};

    if (events & BACKEND_IN)
        fd.events |= POLLIN;
    if (events & BACKEND_OUT)
        fd.events |= POLLOUT;
    return sys(SYS_poll, &fd, 1, timeout_ms) > 0 ? fd.revents : 0;
}

static unsigned ready(const struct backend *b, unsigned events, short revents)
{
    unsigned found = 0;
    int bytes = 0;

    if ((events & BACKEND_IN) && (revents & POLLIN) && sys_ioctl(b->in, FIONREAD, &bytes) == 0 && bytes > 0)
        found |= BACKEND_IN;
    /* With nobody there a write never waits: what does not fit is dropped. */
    if ((events & BACKEND_OUT) && (revents & (POLLOUT | POLLHUP | POLLERR | POLLNVAL)))
        found |= BACKEND_OUT;
    return found;
}

/* While nobody is connected POLLHUP ends every poll at once: such a wait sleeps in steps. */
static unsigned pty_poll(struct backend *b, unsigned events, int timeout_ms)
{
    for (;;) {
        short revents = look(b, events, 0);
        unsigned found = ready(b, events, revents);
        int step = timeout_ms < 0 ? RECHECK_MS : MIN(timeout_ms, RECHECK_MS);

        if (found || timeout_ms == 0)
            return found;
        if (!(revents & POLLHUP))
            return ready(b, events, look(b, events, timeout_ms));
        if (sys(SYS_poll, NULL, 0, step) < 0)
            return 0;
        if (timeout_ms > 0)
            timeout_ms -= step;
    }
}

static long pty_write(struct backend *b, const void *buf, size_t n)
{
    long done = sys_write(b->out, buf, n);

    if ((done == -EAGAIN || done == -EIO || done == 0) && n && (look(b, 0, 0) & POLLHUP))
        return (long)n;
    return done == -EINTR || done == -EIO || (done == 0 && n) ? -EAGAIN : done;
}

/* EIO is how Linux says that nobody is connected: not the end, somebody may come. */
static long pty_read(struct backend *b, void *buf, size_t n)
{
    long got = sys_read(b->in, buf, n);

    return got == -EINTR || got == -EIO || (got == 0 && n) ? -EAGAIN : got;
}

const struct backend_ops backend_pty = {
    .name = "pty",
    .options = "[,link=PATH]",
    .doc = "a pseudo-terminal, raw; link makes a symbolic link to it",
    .open = pty_open,
    .adopt = pty_adopt,
    .identity = pty_identity,
    .close = pty_close,
    .write = pty_write,
    .read = pty_read,
    .poll = pty_poll,
};
