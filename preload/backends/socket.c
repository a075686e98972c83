/*
 * socket: a stream socket of the unix domain. As a server it waits for nobody:
 * whoever comes is accepted when the device looks at its end the next time, or
 * wants input; one client at a time, and others wait until it has gone.
 * While nobody is there what is sent is lost, as on a cable that is not plugged in.
 * As a client it is connected at start, or the machine does not start; when
 * the other side goes it does not come back.
 */
#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include "backends/socket.h"

#include "base/errname.h"
#include "base/fds.h"
#include "base/mem.h"
#include "base/sys.h"

#include "base/trapsafe.h"

#define PATIENCE 5 /* seconds for a server whose queue is full */

/* --- opening --- */

static int parse(struct sockaddr_un *address, bool *server, const char *spec, struct fmt *error)
{
    char text[BACKEND_PATH + 8];
    struct fmt piece = FMT_INIT(text);
    size_t n;

    backend_next(&spec, &piece);
    n = strlen(text);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (!n || n >= sizeof(address->sun_path)) {
        fmt_str(error, n ? "socket: the path is longer than 107 bytes" : "socket needs a path: socket:PATH");
        return -1;
    }
    memcpy(address->sun_path, text, n);
    while (backend_next(&spec, &piece)) {
        if (strcmp(text, "server") != 0)
            return backend_refuse(&backend_socket, text, error);
        *server = true;
    }
    return 0;
}

static long make_socket(int flags)
{
    return sys(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
}

static long connect_to(int fd, const struct sockaddr_un *address)
{
    struct timeval patience = {PATIENCE, 0};

    sys(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return sys(SYS_connect, fd, address, sizeof(*address));
}

/* Did an earlier run leave the socket behind? Whoever listens there, and any other file, is left alone. */
static bool stale(const struct sockaddr_un *address)
{
    struct stat st = {0};
    bool is_socket = sys(SYS_lstat, address->sun_path, &st) == 0 && S_ISSOCK(st.st_mode);
    long fd = is_socket ? make_socket(0) : -1;
    bool refused = fd >= 0 && sys(SYS_connect, fd, address, sizeof(*address)) == -ECONNREFUSED;

    if (fd >= 0)
        sys_close((int)fd);
    return refused;
}

static long serve(int fd, const struct sockaddr_un *address)
{
    long ret = sys(SYS_bind, fd, address, sizeof(*address));

    if (ret == -EADDRINUSE && stale(address)) {
        sys(SYS_unlink, address->sun_path);
        ret = sys(SYS_bind, fd, address, sizeof(*address));
    }
    return ret == 0 ? sys(SYS_listen, fd, 1) : ret;
}

static int socket_open(struct backend *b, const char *spec, struct fmt *error)
{
    struct sockaddr_un address;
    bool server = false;
    long fd, ret;

    if (parse(&address, &server, spec, error))
        return -1;
    fd = make_socket(server ? SOCK_NONBLOCK : 0);
    ret = fd < 0 ? fd : server ? serve((int)fd, &address) : connect_to((int)fd, &address);
    if (ret == 0)
        ret = socket_box_make(b, server ? (int)fd : -1, server ? -1 : (int)fd);
    else if (fd >= 0)
        sys_close((int)fd);
    if (ret < 0)
        fmt_printf(error, "cannot %s %s: %s", server ? "listen at" : "connect to", address.sun_path, errname(ret));
    return ret < 0 ? -1 : 0;
}

static int socket_adopt(struct backend *b, int fd, struct fmt *error)
{
    long ret = socket_box_adopt(b, fd);

    if (ret < 0)
        fmt_printf(error, "cannot share a socket: %s", errname(ret));
    return ret < 0 ? -1 : 0;
}

/* The last process of the machine takes its name away. */
static void socket_close(struct backend *b)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(address);
    int listener = socket_listener(b);

    if (listener >= 0 && sys(SYS_getsockname, listener, &address, &length) == 0 && address.sun_path[0] == '/')
        sys(SYS_unlink, address.sun_path);
    socket_box_close(b);
}

/* --- who is there --- */

static short look(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};

    return fd >= 0 && sys(SYS_poll, &p, 1, 0) > 0 ? p.revents : 0;
}

static int waiting(int fd)
{
    int bytes = 0;

    return fd >= 0 && sys_ioctl(fd, FIONREAD, &bytes) == 0 ? bytes : 0;
}

/* Somebody new, when there is nobody, or only somebody who has said that he will send no more. */
static void welcome(struct backend *b)
{
    long fd = -1;

    if (socket_listener(b) >= 0 && (look(socket_listener(b), POLLIN) & POLLIN))
        fd = sys(SYS_accept4, socket_listener(b), NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        socket_changed(b, (int)fd, false);
}

/* Nothing of what he sent is left. */
static void farewell(struct backend *b)
{
    socket_changed(b, -1, false);
    welcome(b);
}

/* The input has ended: he has gone, or still listens (shutdown(2), SHUT_WR). */
static void input_ended(struct backend *b, short revents)
{
    if (revents & POLLHUP)
        farewell(b);
    else if (!b->socket.half)
        socket_changed(b, socket_talk(b), true);
}

/* As the machine sees it now. Only the owner of the descriptors may change them. */
static void catch_up(struct backend *b)
{
    int talk;
    short revents;

    if (unlikely(__atomic_load_n(b->epoch, __ATOMIC_ACQUIRE) != b->socket.seen))
        socket_follow(b);
    talk = socket_talk(b);
    revents = look(talk, POLLIN);
    if (likely(talk >= 0 && !b->socket.half && !(revents & (POLLIN | POLLHUP))))
        return;
    if (talk >= 0 && (waiting(talk) || !fds_owned()))
        return;
    if (talk >= 0)
        input_ended(b, revents);
    if (socket_talk(b) < 0 || b->socket.half)
        welcome(b);
}

static bool socket_connected(struct backend *b)
{
    catch_up(b);
    return socket_talk(b) >= 0;
}

/* --- bytes --- */

static unsigned ready(struct backend *b, unsigned events)
{
    int talk = socket_talk(b);
    unsigned found = 0;

    if ((events & BACKEND_IN) && waiting(talk))
        found |= BACKEND_IN;
    if ((events & BACKEND_OUT) && (talk < 0 || look(talk, POLLOUT)))
        found |= BACKEND_OUT;
    return found;
}

/* A wait may have no lock, and changes nothing. */
static unsigned socket_poll(struct backend *b, unsigned events, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = events & BACKEND_IN ? b->in : -1, .events = POLLIN},
                           {.fd = events & BACKEND_OUT ? b->out : -1, .events = POLLOUT}};

    if (timeout_ms == 0)
        catch_up(b);
    else if (!(events & BACKEND_OUT) || b->out >= 0)
        sys(SYS_poll, fds, 2, timeout_ms);
    return ready(b, events);
}

static long socket_write(struct backend *b, const void *buf, size_t n)
{
    long done;

    catch_up(b);
    if (socket_talk(b) < 0)
        return (long)n;
    done = sys(SYS_sendto, socket_talk(b), buf, n, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
    if (done == -EAGAIN || done == -EINTR || (done == 0 && n))
        return -EAGAIN;
    return done < 0 ? (long)n : done; /* he goes: what he has sent can still be read */
}

static long socket_read(struct backend *b, void *buf, size_t n)
{
    long got;

    catch_up(b);
    if (socket_talk(b) < 0)
        return b->ended ? 0 : -EAGAIN;
    got = sys(SYS_recvfrom, socket_talk(b), buf, n, MSG_DONTWAIT, NULL, NULL);
    return got > 0 ? got : -EAGAIN;
}

const struct backend_ops backend_socket = {
    .name = "socket",
    .options = ":PATH[,server]",
    .doc = "a stream socket of the unix domain: connected to a server at PATH, or (server) there for clients, one at a time",
    .open = socket_open,
    .adopt = socket_adopt,
    .identity = socket_box_identity,
    .follow = socket_follow,
    .connected = socket_connected,
    .close = socket_close,
    .write = socket_write,
    .read = socket_read,
    .poll = socket_poll,
};
