#include "base/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

#include "base/sys.h"

static int table[FD_COUNT]; /* descriptor + 1; 0: none */
static int lowest = INT32_MAX; /* none of them was ever below */
static int owner;           /* process whose descriptors these are */
static int inheriting;      /* how many calls want them inherited now */

/* Below the limit, and below 1024 so that the kernel's table stays small. */
int fds_floor(void)
{
    struct rlimit limit = {0, 0};
    u64 top = 1024;

    if (sys(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit) == 0 && limit.rlim_cur < top)
        top = limit.rlim_cur;
    return top > 48 ? (int)top - 32 : top > 8 ? (int)top / 2 : 3;
}

static int move_high(int fd, int not_this)
{
    int from = fds_floor();
    long high = sys_fcntl(fd, F_DUPFD_CLOEXEC, from);

    if (high < 0)
        high = sys_fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (high >= 0 && high == not_this) {
        long other = sys_fcntl(fd, F_DUPFD_CLOEXEC, (int)high + 1);

        if (other < 0)
            other = sys_fcntl(fd, F_DUPFD_CLOEXEC, 3);
        sys_close((int)high);
        high = other;
    }
    return (int)high;
}

static void put(unsigned use, int fd)
{
    if (fd >= 0 && fd < __atomic_load_n(&lowest, __ATOMIC_RELAXED))
        __atomic_store_n(&lowest, fd, __ATOMIC_RELAXED);
    __atomic_store_n(&table[use], fd < 0 ? 0 : fd + 1, __ATOMIC_RELAXED);
}

enum fd_use fds_reserve(void)
{
    static unsigned reserved;

    return reserved < FD_BACKENDS ? FD_BACKEND + reserved++ : 0;
}

int fds_adopt(enum fd_use use, int fd)
{
    int high = move_high(fd, -1);

    sys_close(fd);
    if (high >= 0)
        put(use, high);
    return high;
}

int fds_get(enum fd_use use)
{
    return __atomic_load_n(&table[use], __ATOMIC_RELAXED) - 1;
}

void fds_close(enum fd_use use)
{
    int fd = fds_get(use);

    if (fd < 0)
        return;
    __atomic_store_n(&table[use], 0, __ATOMIC_RELAXED);
    sys_close(fd);
}

bool fds_ours(int fd)
{
    if (likely(fd < __atomic_load_n(&lowest, __ATOMIC_RELAXED)))
        return false;
    for (unsigned i = 0; i < FD_COUNT; i++)
        if (__atomic_load_n(&table[i], __ATOMIC_RELAXED) == fd + 1)
            return true;
    return false;
}

void fds_yield(int fd)
{
    if (!fds_ours(fd))
        return;
    if (!fds_owned()) {
        /* A vfork child: the table is its parent's. A copy that is inherited is found again by what it is. */
        sys_fcntl(fd, F_DUPFD, fds_floor());
        return;
    }
    for (unsigned i = 0; i < FD_COUNT; i++) {
        if (fd < 0 || __atomic_load_n(&table[i], __ATOMIC_RELAXED) != fd + 1)
            continue;
        put(i, move_high(fd, fd));
    }
}

static bool shared[FD_COUNT] = {[FD_ARENA] = true, [FD_RAM] = true, [FD_MEM] = true};

void fds_share(enum fd_use use)
{
    shared[use] = true;
}

void fds_own(void)
{
    owner = sys_getpid();
    inheriting = 0;
}

bool fds_owned(void)
{
    return !owner /* not yet */ || sys_getpid() == owner;
}

void fds_inherit(bool inherit)
{
    /* The count is the owner's; a vfork child that execs would leave its share behind in it. */
    if (fds_owned() &&
        __atomic_fetch_add(&inheriting, inherit ? 1 : -1, __ATOMIC_RELAXED) != (inherit ? 0 : 1))
        return;
    for (unsigned i = 0; i < FD_COUNT; i++)
        if (shared[i] && fds_get(i) >= 0)
            sys_fcntl(fds_get(i), F_SETFD, inherit ? 0 : FD_CLOEXEC);
}

int fds_next(int from)
{
    int best = -1;

    for (unsigned i = 0; i < FD_COUNT; i++) {
        int fd = __atomic_load_n(&table[i], __ATOMIC_RELAXED) - 1;

        if (fd >= from && fd >= 0 && (best < 0 || fd < best))
            best = fd;
    }
    return best;
}
