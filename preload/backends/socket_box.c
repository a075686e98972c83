/*
 * One connection for all processes of a machine, whichever of them accepted it.
 * What one process opens, others do not have. So the descriptors lie in a box: a
 * datagram socket that is connected to itself, and takes nothing from anybody
 * else. It holds one message with copies of them (unix(7), SCM_RIGHTS), which is looked
 * at without being taken out (MSG_PEEK), and replaced when they change. The
 * box is inherited, or got as the master of a pty is (bus/ends.c); that there
 * is something else in it a counter in the arena tells.
 */
#include "backends/socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/fds.h"
#include "base/mem.h"
#include "base/sys.h"

#include "base/trapsafe.h"

enum { LISTENS = 1, TALKS = 2, HALF = 4 };

struct message {
    struct msghdr header;
    struct iovec piece;
    u8 what;
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } rights;
};

static void prepare(struct message *m)
{
    memset(m, 0, sizeof(*m));
    m->piece = (struct iovec){&m->what, 1};
    m->header.msg_iov = &m->piece;
    m->header.msg_iovlen = 1;
}

int socket_listener(const struct backend *b)
{
    return b->socket.listener ? fds_get(b->socket.listener) : -1;
}

int socket_talk(const struct backend *b)
{
    return b->socket.talk ? fds_get(b->socket.talk) : -1;
}

static int box(const struct backend *b)
{
    return b->socket.box ? fds_get(b->socket.box) : -1;
}

/* Who listens for somebody new is readable when he comes. */
static void settle(struct backend *b, bool half)
{
    bool talks = socket_talk(b) >= 0;

    b->socket.half = half && talks;
    b->use[0] = talks && !half ? b->socket.talk : b->socket.listener;
    b->use[1] = talks ? b->socket.talk : 0;
    b->in = b->use[0] ? fds_get(b->use[0]) : -1;
    b->out = b->use[1] ? fds_get(b->use[1]) : -1;
    b->ended = b->in < 0 || (half && socket_listener(b) < 0);
}

/* --- the box --- */

/* What was in it is closed with the message. */
static void empty(int fd)
{
    u8 what;

    while (sys(SYS_recvfrom, fd, &what, 1, MSG_DONTWAIT, NULL, NULL) >= 0)
        ;
}

static long put(const struct backend *b)
{
    int fds[2] = {socket_listener(b), socket_talk(b)};
    unsigned n = 0;
    struct message m;

    prepare(&m);
    m.what = (u8)((fds[0] >= 0 ? LISTENS : 0) | (fds[1] >= 0 ? TALKS : 0) | (b->socket.half ? HALF : 0));
    m.rights.align = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    for (unsigned i = 0; i < 2; i++)
        if (fds[i] >= 0)
            memcpy(CMSG_DATA(&m.rights.align) + sizeof(int) * n++, &fds[i], sizeof(int));
    if (n) {
        m.rights.align.cmsg_len = CMSG_LEN(n * sizeof(int));
        m.header.msg_control = &m.rights;
        m.header.msg_controllen = CMSG_SPACE(n * sizeof(int));
    }
    return sys(SYS_sendmsg, box(b), &m.header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Copies of what is in it, -1: nothing. False: the box is empty, because somebody died who was about to fill it. */
static bool look(const struct backend *b, int *listener, int *talk, bool *half)
{
    struct message m;
    int fds[2] = {-1, -1};
    unsigned n = 0;

    prepare(&m);
    m.header.msg_control = &m.rights;
    m.header.msg_controllen = sizeof(m.rights);
    *listener = *talk = -1;
    if (sys(SYS_recvmsg, box(b), &m.header, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1)
        return false;
    if (m.header.msg_controllen >= CMSG_LEN(sizeof(int)) && m.rights.align.cmsg_type == SCM_RIGHTS)
        memcpy(fds, CMSG_DATA(&m.rights.align), MIN(sizeof(fds), m.rights.align.cmsg_len - CMSG_LEN(0)));
    if (m.what & LISTENS)
        *listener = fds[n++];
    if (m.what & TALKS)
        *talk = fds[n];
    *half = m.what & HALF;
    return true;
}

/* --- changes --- */

static void replace(enum fd_use use, int fd)
{
    fds_close(use);
    if (fd >= 0)
        fds_adopt(use, fd);
}

void socket_follow(struct backend *b)
{
    int listener, talk;
    bool half;

    if (!fds_owned())
        return;
    b->socket.seen = __atomic_load_n(b->epoch, __ATOMIC_ACQUIRE);
    if (!look(b, &listener, &talk, &half)) {
        put(b);
        return;
    }
    if (listener >= 0 && socket_listener(b) < 0)
        fds_adopt(b->socket.listener, listener);
    else if (listener >= 0)
        sys_close(listener);
    replace(b->socket.talk, talk);
    settle(b, half);
}

void socket_changed(struct backend *b, int talk, bool half)
{
    if (talk != socket_talk(b))
        replace(b->socket.talk, talk);
    settle(b, half);
    empty(box(b));
    put(b);
    b->socket.seen = __atomic_add_fetch(b->epoch, 1, __ATOMIC_ACQ_REL);
    b->moved = true;
}

/* --- life --- */

static bool reserve(struct backend *b)
{
    u16 uses[3] = {(u16)fds_reserve(), (u16)fds_reserve(), (u16)fds_reserve()};

    if (!uses[0] || !uses[1] || !uses[2])
        return false;
    b->socket.box = uses[0];
    b->socket.listener = uses[1];
    b->socket.talk = uses[2];
    return true;
}

/* Connected to itself: "the socket will receive only datagrams from that peer". */
static long make_box(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(address);
    long fd = sys(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret;

    if (fd < 0)
        return fd;
    ret = sys(SYS_bind, fd, &address, sizeof(sa_family_t));
    if (ret == 0)
        ret = sys(SYS_getsockname, fd, &address, &length);
    if (ret == 0)
        ret = sys(SYS_connect, fd, &address, length);
    if (ret < 0)
        sys_close((int)fd);
    return ret < 0 ? ret : fd;
}

long socket_box_make(struct backend *b, int listener, int talk)
{
    long fd = make_box();

    if (fd < 0)
        return fd;
    if (!reserve(b)) {
        sys_close((int)fd);
        return -EMFILE;
    }
    fds_adopt(b->socket.box, (int)fd);
    fds_share(b->socket.box);
    if (listener >= 0)
        fds_adopt(b->socket.listener, listener);
    if (talk >= 0)
        fds_adopt(b->socket.talk, talk);
    b->socket.seen = __atomic_load_n(b->epoch, __ATOMIC_ACQUIRE);
    settle(b, false);
    fd = put(b);
    return fd < 0 ? fd : 0;
}

long socket_box_adopt(struct backend *b, int fd)
{
    if (!reserve(b))
        return -EMFILE;
    fds_adopt(b->socket.box, fd);
    fds_share(b->socket.box);
    socket_follow(b);
    return 0;
}

/* The kernel's number of the socket. */
u64 socket_box_identity(const struct backend *b, int fd)
{
    struct stat st;

    if (fd < 0)
        fd = box(b);
    return fd >= 0 && sys_fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) ? st.st_ino : 0;
}

void socket_box_close(struct backend *b)
{
    if (!b->socket.box)
        return;
    fds_close(b->socket.box);
    fds_close(b->socket.listener);
    fds_close(b->socket.talk);
    b->socket.box = b->socket.listener = b->socket.talk = 0;
}
