/*
 * Files: /dev/mem is the machine's address space. Its descriptors are real
 * ones, of a file of the machine, so that dup, fork, exec and passing over
 * sockets need no bookkeeping: whatever has that file's identity is /dev/mem.
 * The real /dev/mem is never opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fds.h"
#include "base/fmt.h"
#include "base/mem.h"
#include "base/sys.h"
#include "interpose/files.h"
#include "interpose/interpose.h"
#include "trap/backtrace.h"

bool files_is_mem(int fd)
{
    const struct machine *m = interpose_machine;
    struct stat st = {0};

    return m && fd >= 0 && m->arena->mem_opened && sys_fstat(fd, &st) == 0 && st.st_ino == m->arena->mem_ino && st.st_dev == m->arena->mem_dev;
}

/* A path that may be anything, also no address at all; false: too long for what is looked for, or not to be read. */
static bool copy_path(const char *path, char *out, size_t room)
{
    for (size_t done = 0; done < room;) {
        size_t n = MIN(room - done, MIN((size_t)64, (size_t)(PAGE_SIZE - ((u64)(path + done) & ~PAGE_MASK))));

        if (!probe_read(out + done, (u64)(path + done), n))
            return false;
        for (; n; n--, done++)
            if (!out[done])
                return true;
    }
    return false;
}

/* Does a path name /dev/mem? Also with doubled or dotted components, and relative to a directory. */
static bool names_mem(int dir, const char *given)
{
    char text[256], path[128];
    struct fmt f = FMT_INIT(text);
    long n;

    if (!interpose_machine || !copy_path(given, path, sizeof(path)))
        return false;
    n = (long)strlen(path);
    if (n < 3 || strcmp(path + n - 3, "mem") != 0)
        return false;
    if (*path != '/') {
        char link[40];
        struct fmt l = FMT_INIT(link);

        if (dir == AT_FDCWD)
            fmt_str(&l, "/proc/self/cwd");
        else
            fmt_printf(&l, "/proc/self/fd/%d", dir);
        n = sys_readlink(fmt_end(&l), text, sizeof(text) / 2);
        if (n <= 0)
            return false;
        f.len = (size_t)n;
        if (text[n - 1] != '/')
            fmt_char(&f, '/');
    }
    for (const char *p = path; *p; p++) {
        if (p[0] == '.' && (p[1] == '/') && (p == path || p[-1] == '/')) {
            p++;
            continue;
        }
        if (*p == '/' && f.len && text[f.len - 1] == '/')
            continue;
        fmt_char(&f, *p);
    }
    return strcmp(fmt_end(&f), "/dev/mem") == 0;
}

/* A new description of the machine's file: its own offset, its own flags. */
static int open_mem(int flags)
{
    char path[40];
    struct fmt f = FMT_INIT(path);
    long fd;

    if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return (int)interpose_result(-EEXIST);
    if (flags & O_DIRECTORY)
        return (int)interpose_result(-ENOTDIR);
    fmt_printf(&f, "/proc/self/fd/%d", fds_get(FD_MEM));
    __atomic_store_n(&interpose_machine->arena->mem_opened, 1, __ATOMIC_RELAXED);
    flags &= O_ACCMODE | O_CLOEXEC | O_NONBLOCK | O_SYNC | O_DSYNC | O_PATH;
    fd = sys_open(fmt_end(&f), flags, 0);
    if (fd == -ENOENT) /* no /proc here: a descriptor that shares its offset is better than none */
        fd = sys_fcntl(fds_get(FD_MEM), flags & O_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
    return (int)interpose_result(fd);
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | 020000000 /* __O_TMPFILE */)) { \
        va_list list; \
        va_start(list, flags); \
        mode = va_arg(list, mode_t); \
        va_end(list); \
    }

EXPORT int open(const char *path, int flags, ...)
{
    MODE(flags)
    return names_mem(AT_FDCWD, path) ? open_mem(flags) : REAL(open)(path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...)
{
    MODE(flags)
    return names_mem(AT_FDCWD, path) ? open_mem(flags) : REAL(open64)(path, flags, mode);
}

EXPORT int openat(int dir, const char *path, int flags, ...)
{
    MODE(flags)
    return names_mem(dir, path) ? open_mem(flags) : REAL(openat)(dir, path, flags, mode);
}

EXPORT int openat64(int dir, const char *path, int flags, ...)
{
    MODE(flags)
    return names_mem(dir, path) ? open_mem(flags) : REAL(openat64)(dir, path, flags, mode);
}

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

EXPORT int __open_2(const char *path, int flags)
{
    return names_mem(AT_FDCWD, path) ? open_mem(flags) : REAL(__open_2)(path, flags);
}

EXPORT int __open64_2(const char *path, int flags)
{
    return names_mem(AT_FDCWD, path) ? open_mem(flags) : REAL(__open64_2)(path, flags);
}

EXPORT int __openat_2(int dir, const char *path, int flags)
{
    return names_mem(dir, path) ? open_mem(flags) : REAL(__openat_2)(dir, path, flags);
}

EXPORT int __openat64_2(int dir, const char *path, int flags)
{
    return names_mem(dir, path) ? open_mem(flags) : REAL(__openat64_2)(dir, path, flags);
}

/* --- our descriptors are not the program's --- */

EXPORT int close(int fd)
{
    return fds_ours(fd) ? (int)interpose_result(-EBADF) : REAL(close)(fd);
}

EXPORT int dup2(int from, int to)
{
    if (fds_ours(from))
        return (int)interpose_result(-EBADF);
    if (from != to)
        fds_yield(to);
    return REAL(dup2)(from, to);
}

EXPORT int dup3(int from, int to, int flags)
{
    if (fds_ours(from))
        return (int)interpose_result(-EBADF);
    if (from != to)
        fds_yield(to);
    return REAL(dup3)(from, to, flags);
}

/* Goes around ours. */
static int close_all(unsigned first, unsigned last, int flags)
{
    long ret = 0;

    while (first <= last && ret == 0) {
        int ours = first > INT32_MAX ? -1 : fds_next((int)first);
        unsigned end = ours < 0 || (unsigned)ours > last ? last : (unsigned)ours - 1;

        if (ours < 0 || (unsigned)ours != first)
            ret = sys(SYS_close_range, first, end, flags);
        if (ours < 0 || (unsigned)ours >= last)
            break;
        first = (unsigned)ours + 1;
    }
    return (int)interpose_result(ret);
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
    if (!interpose_machine || first > last)
        return REAL(close_range)(first, last, flags);
    return close_all(first, last, flags);
}

EXPORT void closefrom(int first)
{
    if (!interpose_machine)
        REAL(closefrom)(first);
    else
        close_all(first < 0 ? 0 : (unsigned)first, ~0u, 0);
}
