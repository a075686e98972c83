#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

void sys_drain(int signal)
{
    u64 set = (u64)1 << (signal - 1);
    struct timespec none = {0, 0};

    sys(SYS_rt_sigtimedwait, &set, NULL, &none, sizeof(set));
}

long sys_write_all(int fd, const void *buf, size_t n)
{
    const char *p = buf;

    while (n) {
        long done = sys_write(fd, p, n);

        if (done == -EINTR)
            continue;
        if (done == -EFBIG)
            sys_drain(SIGXFSZ);
        if (done == -EPIPE)
            sys_drain(SIGPIPE);
        if (done < 0)
            return done;
        if (done == 0)
            return -EIO;
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

long sys_read_file(const char *path, void *buf, size_t n)
{
    long fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0);
    size_t got = 0;

    if (fd < 0)
        return fd;
    while (got < n) {
        long done = sys_read((int)fd, (char *)buf + got, n - got);

        if (done == -EINTR)
            continue;
        if (done < 0) {
            sys_close((int)fd);
            return done;
        }
        if (done == 0)
            break;
        got += (size_t)done;
    }
    sys_close((int)fd);
    return (long)got;
}

void *sys_pages(size_t bytes)
{
    void *p = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return sys_failed((long)p) ? NULL : p;
}
