#include "backends/local.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/errname.h"
#include "base/fds.h"
#include "base/mem.h"
#include "base/sys.h"

#include "base/trapsafe.h"

long local_high(long fd)
{
    long high;

    if (fd < 0)
        return fd;
    high = sys_fcntl((int)fd, F_DUPFD_CLOEXEC, fds_floor());
    sys_close((int)fd);
    return high;
}

long local_socket(int type)
{
    return local_high(sys(SYS_socket, AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

static socklen_t fill(struct sockaddr_un *address, const char *path)
{
    size_t n = strlen(path);

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, path, n);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
}

long local_connect(int fd, const char *path)
{
    struct sockaddr_un address;
    socklen_t length = fill(&address, path);
    long ret;

    do
        ret = sys(SYS_connect, fd, &address, length);
    while (ret == -EINTR);
    return ret;
}

static int type_of(int fd)
{
    int type = SOCK_STREAM;
    socklen_t length = sizeof(type);

    sys(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &length);
    return type;
}

/* Is there a socket that nobody has open any more? To connect to it is how to know. */
static bool left_behind(int type, const char *path)
{
    struct stat st;
    long fd, ret;

    if (sys(SYS_lstat, path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    fd = local_socket(type);
    ret = fd < 0 ? fd : local_connect((int)fd, path);
    if (fd >= 0)
        sys_close((int)fd);
    return ret == -ECONNREFUSED;
}

long local_bind(int fd, const char *path)
{
    struct sockaddr_un address;
    socklen_t length = fill(&address, path);
    long ret = sys(SYS_bind, fd, &address, length);

    if (ret != -EADDRINUSE || !left_behind(type_of(fd), path))
        return ret;
    sys(SYS_unlink, path);
    return sys(SYS_bind, fd, &address, length);
}

static int refuse(const struct backend *b, const char *path, const char *why, struct fmt *error)
{
    fmt_printf(error, "%s: cannot use %s: %s", b->ops->name, path, why);
    return -1;
}

int local_check(const struct backend *b, int type, const char *path, bool ours, struct fmt *error)
{
    struct stat st;
    long fd, ret;

    if (sys(SYS_stat, path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return refuse(b, path, "it is no socket", error);
    if (!ours)
        return 0;
    fd = local_socket(type);
    ret = fd < 0 ? fd : local_bind((int)fd, path);
    if (fd >= 0)
        sys_close((int)fd);
    if (ret < 0)
        return refuse(b, path, ret == -EADDRINUSE ? "somebody is there already" : errname(ret), error);
    sys(SYS_unlink, path);
    return 0;
}

int local_path(const struct backend *b, const char *value, char path[LOCAL_PATH], struct fmt *error)
{
    size_t n = strlen(value);

    if (!n || n >= LOCAL_PATH) {
        fmt_printf(error, "%s: the path of a socket has 1 to %u bytes", b->ops->name, LOCAL_PATH - 1);
        return -1;
    }
    memcpy(path, value, n + 1);
    return 0;
}
