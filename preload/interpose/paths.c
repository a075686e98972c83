/* System calls that take a path, but those that open one (files.c): what is of the tree is answered by it. */
#include "interpose/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sys.h"
#include "interpose/nodes.h"
#include "trap/backtrace.h"
#include "trap/probe.h"
#include "tree/overlay.h"

bool paths_text(u64 given, char path[PATHS_TEXT])
{
    /* What is too long the kernel says so. */
    return tree_machine && interpose_string(given, path, PATHS_TEXT) && *path && strlen(path) < TREE_PATH;
}

/* A filter of the program's may kill for a call that the program does not make. */
static bool linked(int dir, const char *path, bool follow)
{
    return tree_asks_host() && tree_linked(dir, path, follow);
}

bool paths_find_within(int dir, u64 given, bool follow, u64 resolve, struct tree_walk *w)
{
    char path[PATHS_TEXT];

    if (!paths_text(given, path) || !tree_concerns_within(dir, path, resolve))
        return false;
    tree_find_within(w, dir, path, follow, resolve);
    return !w->stopped;
}

bool paths_find(int dir, u64 given, bool follow, struct tree_walk *w)
{
    char path[PATHS_TEXT];

    if (!paths_text(given, path) || (!tree_concerns(dir, path) && !linked(dir, path, follow)))
        return false;
    tree_find(w, dir, path, follow);
    return !w->stopped;
}

enum call_answer paths_moved(struct call *call, unsigned arg, const struct tree_walk *w)
{
    u64 a[6];

    if (!w->moved)
        return CALL_PASS;
    memcpy(a, call->a, sizeof(a));
    a[arg] = (u64)(*w->path ? w->path : "/");
    call->ret = (u64)calls_wait((long)call->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
    return (long)call->ret == CALLS_AGAIN ? CALL_AGAIN : CALL_DONE;
}

/* Of a path that was followed. True: the call is answered with *answer unless it is TREE_HERE's. */
static bool not_here(struct call *call, unsigned arg, const struct tree_walk *w, enum call_answer *answer)
{
    if (w->where == TREE_FAILED)
        *answer = call_done(call, w->error);
    else if (w->where == TREE_HOST)
        *answer = paths_moved(call, arg, w);
    return w->where != TREE_HERE;
}

/* Finds the path of argument `arg`; the answer as of not_here(). */
static bool elsewhere(struct call *call, int dir, unsigned arg, bool follow, struct tree_walk *w, enum call_answer *answer)
{
    *answer = CALL_PASS;
    return !paths_find(dir, call->a[arg], follow, w) || not_here(call, arg, w, answer);
}

/* AT_EMPTY_PATH with no path: the descriptor is meant, or the working directory. */
static bool means_descriptor(u64 path, u64 flags)
{
    char c = 0;

    return (flags & AT_EMPTY_PATH) && (!path || (probe_read(&c, path, 1) && !c));
}

/* --- stat --- */

static enum call_answer answer_stat(struct call *call, const struct tree_node *node, const char *path, u64 to)
{
    struct stat st;

    tree_stat(node, path, &st);
    return call_done(call, probe_write(to, &st, sizeof(st)) ? 0 : -EFAULT);
}

/* The device of what the kernel found. False: it did not tell. */
static bool found_on(const struct call *call, u64 to, u64 *device)
{
    struct statx_device {
        u32 major, minor;
    } x;

    if (!to)
        return false;
    if (call->nr != SYS_statx)
        return probe_word(to + offsetof(struct stat, st_dev), device);
    if (!probe_word(to + offsetof(struct statx, stx_dev_major), (u64 *)(void *)&x))
        return false;
    *device = makedev(x.major, x.minor);
    return true;
}

/*
 * Finds what is asked about. A path that may lead into the tree is followed; any other is the kernel's, and its answer
 * tells whether links led there after all. True: the call is answered with *answer unless it is TREE_HERE's.
 */
static bool answered(struct call *call, int dir, unsigned arg, bool follow, u64 to, struct tree_walk *w, enum call_answer *answer)
{
    char path[PATHS_TEXT];
    u64 device;

    *answer = CALL_PASS;
    if (!paths_text(call->a[arg], path))
        return true;
    if (tree_concerns(dir, path)) {
        tree_find(w, dir, path, follow);
        return w->stopped || not_here(call, arg, w, answer);
    }
    call->ret = (u64)calls_wait((long)call->nr, call->a[0], call->a[1], call->a[2], call->a[3], call->a[4], call->a[5]);
    *answer = (long)call->ret == CALLS_AGAIN ? CALL_AGAIN : CALL_DONE;
    if (*answer == CALL_AGAIN)
        return true;
    if (call->ret ? (long)call->ret != -ENOENT || !linked(dir, path, follow) : !found_on(call, to, &device) || !tree_device(device))
        return true;
    tree_find(w, dir, path, follow);
    return w->stopped || (w->where == TREE_HOST && !w->moved) || not_here(call, arg, w, answer);
}

static enum call_answer stat_path(struct call *call, int dir, unsigned arg, bool follow)
{
    struct tree_walk w;
    enum call_answer answer;

    if (answered(call, dir, arg, follow, call->a[arg + 1], &w, &answer))
        return answer;
    return answer_stat(call, &w.node, w.path, call->a[arg + 1]);
}

enum call_answer call_stat(struct call *call)
{
    return stat_path(call, AT_FDCWD, 0, true);
}

enum call_answer call_lstat(struct call *call)
{
    return stat_path(call, AT_FDCWD, 0, false);
}

static enum call_answer stat_descriptor(struct call *call, u64 to)
{
    struct tree_node node;
    char path[TREE_PATH];
    bool gone;

    if (!tree_fd_node_at((int)call->a[0], path, &node, &gone))
        return CALL_PASS;
    return answer_stat(call, &node, path, to);
}

enum call_answer call_fstat(struct call *call)
{
    return stat_descriptor(call, call->a[1]);
}

static enum call_answer stat_cwd(struct call *call)
{
    struct tree_walk w;

    if (!*tree_cwd())
        return CALL_PASS;
    tree_find(&w, AT_FDCWD, tree_cwd(), true);
    return w.where == TREE_HERE ? answer_stat(call, &w.node, w.path, call->a[2]) : call_done(call, -ENOENT);
}

#define STAT_FLAGS (AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE) /* fs/stat.c, vfs_statx() */

enum call_answer call_fstatat(struct call *call)
{
    if (call->a[3] & ~(u32)STAT_FLAGS)
        return CALL_PASS; /* the kernel refuses it before it looks at the path */
    if (means_descriptor(call->a[1], call->a[3]))
        return (int)call->a[0] == AT_FDCWD ? stat_cwd(call) : stat_descriptor(call, call->a[2]);
    return stat_path(call, (int)call->a[0], 1, !(call->a[3] & AT_SYMLINK_NOFOLLOW));
}

static struct statx_timestamp stamp(struct timespec t)
{
    return (struct statx_timestamp){.tv_sec = t.tv_sec, .tv_nsec = (u32)t.tv_nsec};
}

static enum call_answer answer_statx(struct call *call, const struct tree_node *node, const char *path)
{
    struct stat st;
    struct statx x;

    tree_stat(node, path, &st);
    memset(&x, 0, sizeof(x));
    x.stx_mask = STATX_BASIC_STATS;
    x.stx_blksize = (u32)st.st_blksize;
    x.stx_nlink = (u32)st.st_nlink;
    x.stx_uid = st.st_uid;
    x.stx_gid = st.st_gid;
    x.stx_mode = (u16)st.st_mode;
    x.stx_ino = st.st_ino;
    x.stx_size = (u64)st.st_size;
    x.stx_blocks = (u64)st.st_blocks;
    x.stx_atime = stamp(st.st_atim);
    x.stx_mtime = stamp(st.st_mtim);
    x.stx_ctime = stamp(st.st_ctim);
    x.stx_dev_major = major(st.st_dev);
    x.stx_dev_minor = minor(st.st_dev);
    x.stx_rdev_major = major(st.st_rdev);
    x.stx_rdev_minor = minor(st.st_rdev);
    return call_done(call, probe_write(call->a[4], &x, sizeof(x)) ? 0 : -EFAULT);
}

enum call_answer call_statx(struct call *call)
{
    int fd = (int)call->a[0];
    u32 flags = (u32)call->a[2];
    struct tree_walk w;
    enum call_answer answer;

    if ((flags & ~(u32)STAT_FLAGS) || (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE || ((u32)call->a[3] & STATX__RESERVED))
        return CALL_PASS;
    if (means_descriptor(call->a[1], call->a[2])) {
        bool gone;

        if (fd == AT_FDCWD && *tree_cwd())
            tree_find(&w, AT_FDCWD, tree_cwd(), true);
        else if (fd == AT_FDCWD || !tree_fd_node_at(fd, w.path, &w.node, &gone))
            return CALL_PASS;
        if (fd == AT_FDCWD && w.where != TREE_HERE)
            return call_done(call, -ENOENT);
        return answer_statx(call, &w.node, w.path);
    }
    if (answered(call, fd, 1, !(call->a[2] & AT_SYMLINK_NOFOLLOW), call->a[4], &w, &answer))
        return answer;
    return answer_statx(call, &w.node, w.path);
}

/* --- access --- */

static enum call_answer access_path(struct call *call, int dir, unsigned arg, bool follow)
{
    struct tree_walk w;
    enum call_answer answer;
    u32 wants;

    if (answered(call, dir, arg, follow, 0, &w, &answer))
        return answer;
    wants = (u32)call->a[arg + 1];
    if (wants & ~(u32)(R_OK | W_OK | X_OK))
        return call_done(call, -EINVAL);
    if (sys(SYS_geteuid) == 0)
        wants &= ~(u32)(R_OK | W_OK);
    return call_done(call, wants & ~((u32)w.node.class->mode >> 6) ? -EACCES : 0);
}

enum call_answer call_access(struct call *call)
{
    return access_path(call, AT_FDCWD, 0, true);
}

enum call_answer call_faccessat(struct call *call)
{
    if (call->nr == SYS_faccessat2 && ((u32)call->a[3] & ~(u32)(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)))
        return CALL_PASS;
    return access_path(call, (int)call->a[0], 1, call->nr == SYS_faccessat || !(call->a[3] & AT_SYMLINK_NOFOLLOW));
}

/* --- readlink --- */

static enum call_answer answer_link(struct call *call, const char *target, size_t length, unsigned arg)
{
    size_t n = MIN(length, (size_t)(u32)call->a[arg + 1]);

    if ((int)call->a[arg + 1] <= 0)
        return call_done(call, -EINVAL);
    return call_done(call, probe_write(call->a[arg], target, n) ? (long)n : -EFAULT);
}

/* What follows "/proc/PID/" in a path, of this process or any thread of it; NULL: it is another. */
static const char *of_own_process(const char *path)
{
    char own[40];
    struct fmt f = FMT_INIT(own);

    fmt_printf(&f, "/proc/%d/", sys_getpid());
    fmt_end(&f);
    return strncmp(path, own, f.len) == 0 ? path + f.len : NULL;
}

/* "fd/N": N; -1: it is none. */
static int descriptor_in(const char *rest)
{
    int fd = 0;

    if (strncmp(rest, "fd/", 3) != 0 || !rest[3])
        return -1;
    for (rest += 3; *rest; rest++) {
        if (*rest < '0' || *rest > '9' || fd > 1000000)
            return -1;
        fd = fd * 10 + *rest - '0';
    }
    return fd;
}

/* Links of the host's /proc that tell of one of our files, or directories: as the program knows it. */
static bool own_link(const char *path, char *target)
{
    const char *rest = of_own_process(path);

    if (!rest)
        return false;
    if (strcmp(rest, "cwd") == 0 && *tree_cwd()) {
        memcpy(target, tree_cwd(), strlen(tree_cwd()) + 1);
        return true;
    }
    return tree_fd(descriptor_in(rest), target);
}

static enum call_answer answer_host_link(struct call *call, unsigned arg, const struct tree_walk *w)
{
    char target[TREE_PATH], path[TREE_PATH + 1];
    long n;

    if (!w->slash && own_link(w->path, target))
        return answer_link(call, target, strlen(target), arg + 1);
    memcpy(path, w->path, w->length + 1);
    if (w->slash || !*path) /* of what is no directory the kernel says so */
        memcpy(path + w->length, "/", 2);
    n = sys_readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        return call_done(call, n);
    target[n] = 0;
    if (strncmp(w->path, "/proc/", 6) == 0 && !tree_fd_name(target, &n))
        overlay_strip(target, &n);
    return answer_link(call, target, (size_t)n, arg + 1);
}

static enum call_answer answer_node_link(struct call *call, unsigned arg, const struct tree_node *node)
{
    char target[TREE_PATH];
    struct fmt f = FMT_INIT(target);

    if (node->class->kind != TREE_LINK)
        return call_done(call, -EINVAL);
    tree_show(node, &f);
    return answer_link(call, target, f.len, arg + 1);
}

static enum call_answer read_link(struct call *call, int dir, unsigned arg)
{
    struct tree_walk w;

    if (!paths_find(dir, call->a[arg], false, &w))
        return CALL_PASS;
    if (w.where == TREE_FAILED)
        return call_done(call, w.error);
    return w.where == TREE_HOST ? answer_host_link(call, arg, &w) : answer_node_link(call, arg, &w.node);
}

enum call_answer call_readlink(struct call *call)
{
    return read_link(call, AT_FDCWD, 0);
}

/* No path: a link that was opened by O_PATH and O_NOFOLLOW. */
enum call_answer call_readlinkat(struct call *call)
{
    struct tree_node node;
    bool gone;

    if (call->a[1] && means_descriptor(call->a[1], AT_EMPTY_PATH) && tree_fd_node((int)call->a[0], &node, &gone) &&
        node.class->kind == TREE_LINK)
        return answer_node_link(call, 1, &node);
    return read_link(call, (int)call->a[0], 1);
}

/* --- what changes directories and attributes --- */

/* The call needs what is there, to remove or replace it: the tree is not the program's to change. */
static enum call_answer changes(struct call *call, int dir, unsigned arg, bool follow, long error)
{
    struct tree_walk w;
    enum call_answer answer;

    return elsewhere(call, dir, arg, follow, &w, &answer) ? answer : call_done(call, error);
}

static enum call_answer removes(struct call *call, int dir, unsigned arg, bool directory)
{
    struct tree_walk w;
    enum call_answer answer;

    if (elsewhere(call, dir, arg, false, &w, &answer))
        return answer;
    if (w.dots) /* fs/namei.c, do_rmdir(), do_unlinkat() */
        return call_done(call, !directory ? -EISDIR : w.dots == 1 ? -EINVAL : -ENOTEMPTY);
    return call_done(call, w.node.class->remove ? w.node.class->remove(&w.node, directory) : -EPERM);
}

enum call_answer call_change(struct call *call)
{
    return removes(call, AT_FDCWD, 0, call->nr == SYS_rmdir);
}

enum call_answer call_change_at(struct call *call)
{
    if ((u32)call->a[2] & ~(u32)AT_REMOVEDIR)
        return CALL_PASS;
    return removes(call, (int)call->a[0], 1, call->a[2] & AT_REMOVEDIR);
}

/* Modes, owners and times may be set, as those of sysfs; nobody remembers them. */
enum call_answer call_attribute(struct call *call)
{
    return changes(call, AT_FDCWD, 0, call->nr != SYS_lchown, 0);
}

enum call_answer call_attribute_at(struct call *call)
{
    struct tree_node node;
    bool gone;

    if (call->nr != SYS_utimensat || call->a[1])
        return changes(call, (int)call->a[0], 1, true, 0);
    return tree_fd_node((int)call->a[0], &node, &gone) ? call_done(call, 0) : CALL_PASS; /* futimens */
}

/* The permissions that new files do not get; umask(2) itself tells them only by changing them, for other threads too. */
static u32 creation_mask(void)
{
    char text[4096];
    const char *p;
    u32 mask = 0;
    long n = sys_read_file("/proc/self/status", text, sizeof(text) - 1);

    text[MAX(n, 0)] = 0;
    p = strstr(text, "\nUmask:\t");
    for (p = p ? p + 8 : ""; *p >= '0' && *p <= '7'; p++)
        mask = mask * 8 + (u32)(*p - '0');
    return mask;
}

long paths_make(const struct tree_walk *w, bool directory, u32 mode)
{
    const char *name = strrchr(w->path, '/');

    if (!w->parent.class->make)
        return -EPERM;
    return w->parent.class->make(&w->parent, name + 1, directory, mode & ~creation_mask());
}

/* The call makes a name. */
static enum call_answer makes(struct call *call, int dir, unsigned arg)
{
    struct tree_walk w;
    enum call_answer answer;

    if (!elsewhere(call, dir, arg, false, &w, &answer))
        return call_done(call, -EEXIST);
    if (answer == CALL_DONE && w.where == TREE_FAILED && w.parent.class)
        call->ret = (u64)(call->nr == SYS_mkdir || call->nr == SYS_mkdirat ? paths_make(&w, true, (u32)call->a[arg + 1]) : -EPERM);
    return answer;
}

enum call_answer call_make(struct call *call)
{
    return makes(call, AT_FDCWD, 0);
}

enum call_answer call_make_at(struct call *call)
{
    return makes(call, (int)call->a[0], 1);
}

enum call_answer call_make_second(struct call *call)
{
    return makes(call, AT_FDCWD, 1);
}

enum call_answer call_make_third(struct call *call)
{
    return makes(call, (int)call->a[1], 2);
}

/* From one name to another: between the tree and the host nothing moves. */
static enum call_answer pair(struct call *call, int from_dir, unsigned from, int to_dir, unsigned to)
{
    struct tree_walk w;

    if (paths_find(from_dir, call->a[from], false, &w) && w.where != TREE_HOST)
        return call_done(call, w.where == TREE_FAILED ? w.error : call->nr == SYS_link || call->nr == SYS_linkat ? -EXDEV : -EPERM);
    if (paths_find(to_dir, call->a[to], false, &w) && w.where != TREE_HOST)
        return call_done(call, w.where == TREE_FAILED && !w.parent.class ? w.error : -EPERM);
    return CALL_PASS;
}

enum call_answer call_pair(struct call *call)
{
    return pair(call, AT_FDCWD, 0, AT_FDCWD, 1);
}

enum call_answer call_pair_at(struct call *call)
{
    return pair(call, (int)call->a[0], 1, (int)call->a[2], 3);
}

/* --- the rest --- */

enum call_answer call_truncate(struct call *call)
{
    struct tree_walk w;
    enum call_answer answer;

    if (elsewhere(call, AT_FDCWD, 0, true, &w, &answer))
        return answer;
    if (w.node.class->resize)
        return call_done(call, w.node.class->resize(&w.node, -1, call->a[1]));
    return call_done(call, w.node.class->kind == TREE_DIR ? -EISDIR : w.node.class->kind == TREE_FILE ? 0 : -EINVAL);
}

/* A file system is asked about: that of the host's at the same place, unless the node knows better. */
static long answer_statfs(const struct tree_node *node, const char *path, u64 to)
{
    struct statfs st;

    if (!node || !node->class->statfs)
        return sys(SYS_statfs, tree_top(path), to);
    node->class->statfs(node, &st);
    return probe_write(to, &st, sizeof(st)) ? 0 : -EFAULT;
}

enum call_answer call_statfs(struct call *call)
{
    struct tree_walk w;
    enum call_answer answer;

    return elsewhere(call, AT_FDCWD, 0, true, &w, &answer) ? answer : call_done(call, answer_statfs(&w.node, w.path, call->a[1]));
}

enum call_answer call_fstatfs(struct call *call)
{
    struct tree_node node;
    char path[TREE_PATH];
    bool gone, here = tree_fd_node_at((int)call->a[0], path, &node, &gone);

    return here || gone ? call_done(call, answer_statfs(here ? &node : NULL, path, call->a[1])) : CALL_PASS;
}

enum call_answer call_xattr(struct call *call)
{
    struct tree_walk w;
    enum call_answer answer;

    if (elsewhere(call, AT_FDCWD, 0, true, &w, &answer))
        return answer;
    if (call->nr == SYS_listxattr || call->nr == SYS_llistxattr)
        return call_done(call, 0);
    return call_done(call, call->nr == SYS_getxattr || call->nr == SYS_lgetxattr ? -ENODATA : -EOPNOTSUPP);
}

/* Files of these kinds tell nobody of changes: a watch is taken, on what stands there in the host. */
enum call_answer call_watch(struct call *call)
{
    struct tree_walk w;
    enum call_answer answer;

    if (elsewhere(call, AT_FDCWD, 1, true, &w, &answer))
        return answer;
    return call_done(call, sys(SYS_inotify_add_watch, call->a[0], tree_top(w.path), call->a[2]));
}
