#include "trap/bell.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/mem.h"
#include "base/sys.h"
#include "base/trapsafe.h"

static socklen_t bell_address(const struct arena *arena, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, arena->bell, sizeof(arena->bell));
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(arena->bell));
}

static bool bell_named(const struct arena *arena)
{
    return arena->bell[1];
}

static int bell_socket(void)
{
    return (int)sys(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* The kernel chooses the name: a zero byte and five digits (unix(7), "Autobind feature"). */
int bell_make(struct arena *arena)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(address);
    int fd = bell_socket();

    if (fd >= 0 && sys(SYS_bind, fd, &address, sizeof(sa_family_t)) == 0 &&
        sys(SYS_getsockname, fd, &address, &length) == 0) {
        memcpy(arena->bell, address.sun_path, sizeof(arena->bell));
        return fd;
    }
    if (fd >= 0)
        sys_close(fd);
    return -1;
}

bool bell_reaches(const struct arena *arena, bool loud)
{
    struct sockaddr_un address;
    socklen_t length = bell_address(arena, &address);
    int fd = bell_named(arena) ? bell_socket() : -1;
    long ret;

    if (fd < 0)
        return false;
    if (loud)
        ret = sys(SYS_sendto, fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL, &address, length);
    else
        ret = sys(SYS_connect, fd, &address, length);
    sys_close(fd);
    return ret >= 0 || ret == -EAGAIN; /* full: it has more than enough to wake up for */
}

bool bell_ring(const struct arena *arena)
{
    return bell_reaches(arena, true);
}

void bell_drain(int bell)
{
    char byte;

    while (sys(SYS_recvfrom, bell, &byte, 1, MSG_DONTWAIT, NULL, NULL) >= 0)
        ;
}
