#include "backends/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/sys.h"

#include "base/trapsafe.h"

#define GONE (POLLERR | POLLHUP | POLLNVAL)

/* A terminal whose foreground belongs to others: a read would fail, or stop the program (SIGTTIN). */
static bool in_background(int fd)
{
    int foreground = 0;

    return sys_ioctl(fd, TIOCGPGRP, &foreground) == 0 && foreground > 0 && foreground != sys(SYS_getpgid, 0);
}

/* Bytes before the end of a regular file of which FIONREAD, an int, says 0. */
static bool regular_has_more(int fd, const struct stat *st)
{
    return S_ISREG(st->st_mode) && sys(SYS_lseek, fd, 0, SEEK_CUR) < st->st_size;
}

/*
 * POLLIN alone does not mean that there is a byte: it also announces the end
 * of file, and /dev/null announces it for ever. FIONREAD knows; where it is
 * not supported a read decides once, and its answer stays.
 */
static bool has_input(struct backend *b, short revents)
{
    struct stat st;
    int bytes = 0;

    if (!(revents & POLLIN)) {
        if (revents & GONE)
            b->ended = true;
        return false;
    }
    if (sys_ioctl(b->in, FIONREAD, &bytes) == 0) {
        b->ended = bytes == 0 && !(sys_fstat(b->in, &st) == 0 && regular_has_more(b->in, &st));
        return !b->ended && !in_background(b->in);
    }
    if (sys_fstat(b->in, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))
        b->ended = true;
    return !b->ended;
}

static unsigned look(struct backend *b, unsigned events, int timeout_ms)
{
    /* poll(2) passes over negative descriptors. */
    struct pollfd fds[2] = {
        {.fd = events & BACKEND_IN ? b->in : -1, .events = POLLIN},
        {.fd = events & BACKEND_OUT ? b->out : -1, .events = POLLOUT},
    };
    unsigned ready = 0;

    if (sys(SYS_poll, fds, 2, timeout_ms) <= 0)
        return 0;
    if (has_input(b, fds[0].revents))
        ready |= BACKEND_IN;
    if (fds[1].revents)
        ready |= BACKEND_OUT;
    return ready;
}

unsigned descriptor_poll(struct backend *b, unsigned events, int timeout_ms)
{
    unsigned ready;

    if ((events & BACKEND_OUT) && b->out < 0)
        return BACKEND_OUT | (events & BACKEND_IN ? look(b, BACKEND_IN, 0) : 0);
    ready = look(b, events, 0);
    if (ready || timeout_ms == 0)
        return ready;
    /* An input that has ended would cut every wait short. */
    if (b->ended || b->in < 0)
        events &= ~(unsigned)BACKEND_IN;
    return events ? look(b, events, timeout_ms) : 0;
}

long descriptor_read(struct backend *b, void *buf, size_t n)
{
    long got;

    if (n == 0)
        return 0;
    if (!look(b, BACKEND_IN, 0))
        return b->ended || b->in < 0 ? 0 : -EAGAIN;
    got = sys_read(b->in, buf, n);
    if (got == 0)
        b->ended = true;
    return got == -EINTR ? -EAGAIN : got;
}

static u64 signal_bit(int signal)
{
    return (u64)1 << (signal - 1);
}

/* Takes a masked signal that our own write raised, unless one of the program's was waiting already. */
static void take_back(int signal, u64 pending_before)
{
    if (!(pending_before & signal_bit(signal)))
        sys_drain(signal);
}

long descriptor_write(struct backend *b, const void *buf, size_t n)
{
    u64 pending = 0;
    long done;

    if (n == 0)
        return 0;
    if (b->out < 0)
        return -EBADF;
    if (!look(b, BACKEND_OUT, 0))
        return -EAGAIN;
    sys(SYS_rt_sigpending, &pending, sizeof(pending));
    done = sys_write(b->out, buf, 1);
    if (done == -EPIPE)
        take_back(SIGPIPE, pending);
    else if (done == -EFBIG) /* RLIMIT_FSIZE */
        take_back(SIGXFSZ, pending);
    return done == -EINTR || done == 0 ? -EAGAIN : done;
}

void descriptor_close(struct backend *b)
{
    if (b->owns && b->in >= 0)
        sys_close(b->in);
    if (b->owns && b->out >= 0 && b->out != b->in)
        sys_close(b->out);
    b->in = b->out = -1;
    b->owns = false;
}
