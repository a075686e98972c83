/*
 * disk: the bytes of a regular file, by position. Every process of a machine
 * opens it; the kernel keeps them coherent. Its size is what it was when it
 * was opened: a disk does not grow.
 *
 * mmap: bytes are copied from and to a mapping, which spares a system call.
 * Where that faults (the file was cut, has a hole and no room for it, cannot
 * be read) the system call is made all the same, and says what is wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "backends/descriptor.h"
#include "backends/disk.h"

#include "base/errname.h"
#include "base/guard.h"
#include "base/mem.h"
#include "base/range.h"
#include "base/sys.h"

#include "base/trapsafe.h"

enum { SOON = 2048 };

static int refuse(struct fmt *error, const char *path, const char *why)
{
    fmt_printf(error, "cannot use %s as a disk: %s", path, why);
    return -1;
}

static int look(struct backend *b, const char *path, struct fmt *error)
{
    struct stat st;
    long ret = sys_fstat(b->in, &st);

    if (ret < 0)
        return refuse(error, path, errname(ret));
    if (!S_ISREG(st.st_mode))
        return refuse(error, path, "it is no regular file");
    if (st.st_size <= 0 || st.st_size % 512)
        return refuse(error, path, "its size is not a multiple of 512");
    b->base = 0;
    b->size = (u64)st.st_size;
    return 0;
}

/* It costs addresses, and memory of the program's only as far as it is used (RssFile). */
static int map(struct backend *b, const char *path, bool readonly, struct fmt *error)
{
    long p = (long)sys_mmap(NULL, b->size, readonly ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, b->in, 0);

    if (sys_failed(p)) {
        fmt_printf(error, "cannot map %s: %s", path, errname(p));
        return -1;
    }
    sys(SYS_madvise, p, b->size, MADV_DONTDUMP);
    b->map = (u8 *)p;
    return 0;
}

static int disk_open(struct backend *b, const char *spec, struct fmt *error)
{
    char path[BACKEND_PATH], option[64];
    struct fmt p = FMT_INIT(path), o = FMT_INIT(option);
    bool readonly = false, mapped = false;
    long fd;

    backend_next(&spec, &p);
    while (backend_next(&spec, &o)) {
        if (strcmp(option, "readonly") == 0)
            readonly = true;
        else if (strcmp(option, "mmap") == 0)
            mapped = true;
        else
            return backend_refuse(b->ops, option, error);
    }
    if (!path[0] || p.full) {
        fmt_str(error, "disk needs the path of a file");
        return -1;
    }
    fd = sys_open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
    if (fd < 0)
        return refuse(error, path, errname(fd));
    b->owns = true;
    b->readonly = readonly;
    b->in = b->out = (int)fd;
    return look(b, path, error) < 0 || (mapped && map(b, path, readonly, error) < 0) ? -1 : 0;
}

static void disk_close(struct backend *b)
{
    if (b->map)
        sys_munmap(b->map, b->size);
    b->map = NULL;
    descriptor_close(b);
}

static u64 disk_size(struct backend *b)
{
    return b->size;
}

static bool in_map(const struct backend *b, size_t n, u64 position)
{
    return b->map && range_contains((struct range){0, b->size}, position, n);
}

static long disk_pread(struct backend *b, void *buf, size_t n, u64 position)
{
    if (in_map(b, n, position) && guard_copy(buf, b->map + position, n))
        return (long)n;
    return sys_pread(b->in, buf, n, b->base + position);
}

static long disk_pwrite(struct backend *b, const void *buf, size_t n, u64 position)
{
    long done;

    if (in_map(b, n, position) && guard_copy(b->map + position, buf, n))
        return (long)n;
    done = sys(SYS_pwrite64, b->out, buf, n, b->base + position);
    if (done == -EFBIG)
        sys_drain(SIGXFSZ); /* RLIMIT_FSIZE */
    return done;
}

/* Prefetches what the processor has room to wait for; of what is not mapped it fetches nothing. */
static void disk_soon(struct backend *b, u64 position, size_t n)
{
    n = in_map(b, n, position) ? MIN(n, (size_t)SOON) : 0;
    for (size_t at = 0; at < n; at += 64)
        __builtin_prefetch(b->map + position + at);
}

static int disk_flush(struct backend *b)
{
    return (int)sys(SYS_fdatasync, b->out);
}

/* What lies there afterwards is nobody's business, so a file system that has no holes has done it. */
static int disk_discard(struct backend *b, u64 position, u64 n)
{
    long ret = sys(SYS_fallocate, b->out, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, b->base + position, n);

    return ret == -EOPNOTSUPP || ret == -ENOSYS ? 0 : (int)ret;
}

static int write_zeroes(struct backend *b, u64 position, u64 n)
{
    static const u8 zeroes[4096];

    while (n) {
        long done = disk_pwrite(b, zeroes, MIN(n, sizeof(zeroes)), position);

        if (done == -EINTR)
            continue;
        if (done <= 0)
            return done ? (int)done : -EIO;
        position += (u64)done;
        n -= (u64)done;
    }
    return 0;
}

static int disk_zero(struct backend *b, u64 position, u64 n, bool unmap)
{
    int mode = FALLOC_FL_KEEP_SIZE | (unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
    long ret = sys(SYS_fallocate, b->out, mode, b->base + position, n);

    return ret == -EOPNOTSUPP || ret == -ENOSYS ? write_zeroes(b, position, n) : (int)ret;
}

const struct backend_disk disk_file_ops = {
    .size = disk_size,
    .read = disk_pread,
    .write = disk_pwrite,
    .soon = disk_soon,
    .flush = disk_flush,
    .discard = disk_discard,
    .zero = disk_zero,
};

/* Opened by the devices that have a disk alone: as a stream it is nothing. */
const struct backend_ops backend_disk = {
    .name = "disk",
    .options = ":FILE[,readonly][,mmap]",
    .doc = "the bytes of a regular file, by position",
    .open = disk_open,
    .close = disk_close,
    .disk = &disk_file_ops,
};
