/*
 * Files: /dev/mem is the machine's address space. Its descriptors are real
 * ones, of a file of the machine, so that dup, fork, exec and passing over
 * sockets need no bookkeeping: whatever has that file's identity is /dev/mem.
 * The real /dev/mem is never opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fds.h"
#include "base/fmt.h"
#include "base/mem.h"
#include "base/sys.h"
#include "interpose/files.h"
#include "interpose/interpose.h"
#include "patch/patch.h"
#include "trap/backtrace.h"

bool files_is_mem(int fd)
{
    const struct machine *m = interpose_machine;
    struct stat st = {0};

    return m && fd >= 0 && m->arena->mem_opened && sys_fstat(fd, &st) == 0 && st.st_ino == m->arena->mem_ino && st.st_dev == m->arena->mem_dev;
}

/*
 * A path that ends in "mem", absolute: also with doubled or dotted components, and relative to a directory. False: it is
 * another, or cannot be read.
 */
static bool mem_path(int dir, u64 given, struct fmt *f)
{
    char path[128], link[40];
    struct fmt l = FMT_INIT(link);
    long n;

    if (!interpose_string(given, path, sizeof(path)))
        return false;
    n = (long)strlen(path);
    if (n < 3 || strcmp(path + n - 3, "mem") != 0)
        return false;
    if (*path != '/') {
        if (dir == AT_FDCWD)
            fmt_str(&l, "/proc/self/cwd");
        else
            fmt_printf(&l, "/proc/self/fd/%d", dir);
        n = sys_readlink(fmt_end(&l), f->buf, f->cap / 2);
        if (n <= 0)
            return false;
        f->len = (size_t)n;
        if (f->buf[n - 1] != '/')
            fmt_char(f, '/');
    }
    for (const char *p = path; *p; p++) {
        if (p[0] == '.' && (p[1] == '/') && (p == path || p[-1] == '/')) {
            p++;
            continue;
        }
        if (*p == '/' && f->len && f->buf[f->len - 1] == '/')
            continue;
        fmt_char(f, *p);
    }
    fmt_end(f);
    return true;
}

/*
 * Does a path name /dev/mem? Who opens the memory of a process for writing may change its text past page protection:
 * what we have changed there is taken back, and stays so.
 */
static bool names_mem(int dir, u64 given, u64 flags)
{
    char text[256];
    struct fmt f = FMT_INIT(text);

    if (!mem_path(dir, given, &f))
        return false;
    if ((flags & O_ACCMODE) != O_RDONLY && strncmp(text, "/proc/", 6) == 0)
        patch_stop();
    return strcmp(text, "/dev/mem") == 0;
}

/* A new description of the machine's file: its own offset, its own flags. */
static long open_mem(int flags)
{
    char path[40];
    struct fmt f = FMT_INIT(path);
    long fd;

    if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return -EEXIST;
    if (flags & O_DIRECTORY)
        return -ENOTDIR;
    fmt_printf(&f, "/proc/self/fd/%d", fds_get(FD_MEM));
    __atomic_store_n(&interpose_machine->arena->mem_opened, 1, __ATOMIC_RELAXED);
    flags &= O_ACCMODE | O_CLOEXEC | O_NONBLOCK | O_SYNC | O_DSYNC | O_PATH;
    fd = sys_open(fmt_end(&f), flags, 0);
    if (fd == -ENOENT) /* no /proc here: a descriptor that shares its offset is better than none */
        fd = sys_fcntl(fds_get(FD_MEM), flags & O_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
    return fd;
}

enum call_answer call_open(struct call *call)
{
    return names_mem(AT_FDCWD, call->a[0], call->a[1]) ? call_done(call, open_mem((int)call->a[1])) : CALL_PASS;
}

enum call_answer call_creat(struct call *call)
{
    return names_mem(AT_FDCWD, call->a[0], O_WRONLY) ? call_done(call, open_mem(O_CREAT | O_WRONLY | O_TRUNC)) : CALL_PASS;
}

enum call_answer call_openat(struct call *call)
{
    return names_mem((int)call->a[0], call->a[1], call->a[2]) ? call_done(call, open_mem((int)call->a[2])) : CALL_PASS;
}

/* struct open_how: flags, mode, resolve. */
enum call_answer call_openat2(struct call *call)
{
    u64 how[3];

    if (call->a[3] < sizeof(how) || !probe_read(how, call->a[2], sizeof(how)) || !names_mem((int)call->a[0], call->a[1], how[0]))
        return CALL_PASS;
    return call_done(call, how[0] > INT32_MAX ? -EINVAL : open_mem((int)how[0]));
}

/* --- our descriptors are not the program's --- */

enum call_answer call_close(struct call *call)
{
    return fds_ours((int)call->a[0]) ? call_done(call, -EBADF) : CALL_PASS;
}

enum call_answer call_dup(struct call *call)
{
    return call_close(call);
}

enum call_answer call_fcntl(struct call *call)
{
    return call_close(call);
}

enum call_answer call_dup2(struct call *call)
{
    int from = (int)call->a[0], to = (int)call->a[1];

    if (fds_ours(from))
        return call_done(call, -EBADF);
    if (from != to && to >= 0)
        fds_yield(to);
    return CALL_PASS;
}

/* Goes around ours. */
enum call_answer call_close_range(struct call *call)
{
    u64 first = (u32)call->a[0], last = (u32)call->a[1];
    long ret = 0;

    if (first > last)
        return CALL_PASS;
    while (first <= last && ret == 0) {
        int ours = first > INT32_MAX ? -1 : fds_next((int)first);
        u64 end = ours < 0 || (u64)ours > last ? last : (u64)ours - 1;

        if (ours < 0 || (u64)ours != first)
            ret = sys(SYS_close_range, first, end, call->a[2]);
        if (ours < 0 || (u64)ours >= last)
            break;
        first = (u64)ours + 1;
    }
    return call_done(call, ret);
}
