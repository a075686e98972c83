/* Opening and closing: what is of the tree, and descriptors that are ours or become others. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>

#include "base/fds.h"
#include "base/mem.h"
#include "base/sys.h"
#include "interpose/interpose.h"
#include "interpose/nodes.h"
#include "interpose/paths.h"
#include "patch/patch.h"
#include "trap/backtrace.h"

/* Who opens the memory of a process for writing may change its text past page protection: what we changed there is taken back. */
static void writes_memory(const struct tree_walk *w, u64 flags)
{
    if ((flags & O_ACCMODE) != O_RDONLY && w->length > 4 && strncmp(w->path, "/proc/", 6) == 0 &&
        strcmp(w->path + w->length - 4, "/mem") == 0)
        patch_stop();
}

/* A name that a directory of the tree has not. */
static long create(struct tree_walk *w, u64 flags, u32 mode)
{
    char path[TREE_PATH];
    long ret;

    if (!w->parent.class || !(flags & O_CREAT) || (flags & O_DIRECTORY))
        return w->error;
    memcpy(path, w->path, w->length + 1);
    ret = w->parent.class->make ? paths_make(w, false, mode) : -EACCES;
    if (ret < 0 && (ret != -EEXIST || (flags & O_EXCL)))
        return ret;
    tree_find(w, AT_FDCWD, path, true);
    return w->where == TREE_HERE ? tree_open(&w->node, w->path, (int)flags & ~(O_CREAT | O_EXCL)) : -ENOENT;
}

/* Of what a link of the host's led to: is it a device, or a file of sysfs, that somebody may write to? */
static bool leads_here(int fd)
{
    struct stat st = {0};

    return sys_fstat(fd, &st) == 0 && tree_device(st.st_dev);
}

/*
 * A path whose text leads past the tree: the kernel opens it, and links of the host's are looked for where it finds nothing, or
 * something that is to be written and lies where the tree is. True: the call is answered.
 */
static bool open_far(struct call *call, int dir, const char *path, u64 flags, bool follow, enum call_answer *answer)
{
    long fd = calls_wait((long)call->nr, call->a[0], call->a[1], call->a[2], call->a[3], call->a[4], call->a[5]);

    call->ret = (u64)fd;
    *answer = fd == CALLS_AGAIN ? CALL_AGAIN : CALL_DONE;
    if (fd == -ENOENT)
        return !follow || !tree_linked(dir, path, follow);
    if (fd < 0 || !(flags & O_ACCMODE) || (flags & (O_CREAT | O_PATH)) || !leads_here((int)fd))
        return true;
    sys_close((int)fd);
    return false;
}

static bool follows(u64 flags)
{
    return !(flags & O_NOFOLLOW) && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
}

static enum call_answer open_found(struct call *call, struct tree_walk *w, unsigned arg, u64 flags, u64 mode)
{
    if ((flags & O_CREAT) && w->slash && w->where != TREE_HOST && (w->where == TREE_HERE || w->parent.class))
        return call_done(call, -EISDIR); /* fs/namei.c, open_last_lookups() */
    if (w->where == TREE_HERE)
        return call_done(call, tree_open(&w->node, w->path, (int)flags));
    if (w->where == TREE_FAILED)
        return call_done(call, create(w, flags, (u32)mode));
    writes_memory(w, flags);
    return paths_moved(call, arg, w);
}

/* `arg`: which argument the path is. */
static enum call_answer open_path(struct call *call, int dir, unsigned arg, u64 flags, u64 mode)
{
    bool follow = follows(flags);
    enum call_answer answer;
    char path[PATHS_TEXT];
    struct tree_walk w;

    if (!paths_text(call->a[arg], path))
        return CALL_PASS;
    if (!tree_concerns(dir, path)) {
        if (!tree_asks_host())
            return CALL_PASS;
        if (open_far(call, dir, path, flags, follow, &answer))
            return answer;
    }
    tree_find(&w, dir, path, follow);
    return w.stopped ? CALL_PASS : open_found(call, &w, arg, flags, mode);
}

enum call_answer call_open(struct call *call)
{
    return open_path(call, AT_FDCWD, 0, call->a[1], call->a[2]);
}

enum call_answer call_creat(struct call *call)
{
    return open_path(call, AT_FDCWD, 0, O_CREAT | O_WRONLY | O_TRUNC, call->a[1]);
}

enum call_answer call_openat(struct call *call)
{
    return open_path(call, (int)call->a[0], 1, call->a[2], call->a[3]);
}

/* The tree, or an overlay, led to another place of the host, by the rules: `w` has it, and there is nothing left to resolve. */
static enum call_answer open_moved(struct call *call, const struct tree_walk *w, const struct open_how *how)
{
    struct open_how there = {.flags = how->flags, .mode = how->mode};

    call->ret = (u64)calls_wait(SYS_openat2, (u64)AT_FDCWD, (u64)(*w->path ? w->path : "/"), (u64)&there, sizeof(there), 0, 0);
    return (long)call->ret == CALLS_AGAIN ? CALL_AGAIN : CALL_DONE;
}

enum call_answer call_openat2(struct call *call)
{
    struct open_how how;
    struct tree_walk w;
    long error;

    if (call->a[3] < sizeof(how) || !probe_read(&how, call->a[2], sizeof(how)) ||
        !paths_find_within((int)call->a[0], call->a[1], follows(how.flags), how.resolve, &w))
        return CALL_PASS;
    error = sys(SYS_openat2, AT_FDCWD, "", call->a[2], call->a[3]); /* the kernel looks at the flags first, then at the path */
    if (error != -ENOENT)
        return call_done(call, error);
    if (w.where != TREE_HOST)
        return open_found(call, &w, 1, how.flags, how.mode);
    writes_memory(&w, how.flags);
    return w.moved ? open_moved(call, &w, &how) : CALL_PASS;
}

/* --- our descriptors are not the program's --- */

static enum call_answer unless_ours(struct call *call)
{
    return fds_ours((int)call->a[0]) ? call_done(call, -EBADF) : CALL_PASS;
}

enum call_answer call_close(struct call *call)
{
    if (fds_ours((int)call->a[0]))
        return call_done(call, -EBADF);
    nodes_forget((u32)call->a[0], (u32)call->a[0]);
    return CALL_PASS;
}

enum call_answer call_dup(struct call *call)
{
    return unless_ours(call);
}

enum call_answer call_fcntl(struct call *call)
{
    struct tree_node node;
    bool gone;

    if ((int)call->a[1] == F_GETFL && tree_fd_node((int)call->a[0], &node, &gone) && node.class->event)
        return call_done(call, tree_fd_status((int)call->a[0], &node));
    return unless_ours(call);
}

enum call_answer call_dup2(struct call *call)
{
    int from = (int)call->a[0], to = (int)call->a[1];

    if (fds_ours(from))
        return call_done(call, -EBADF);
    if (from != to && to >= 0) {
        fds_yield(to);
        nodes_forget((u32)to, (u32)to);
    }
    return CALL_PASS;
}

/* Goes around ours. */
enum call_answer call_close_range(struct call *call)
{
    u64 first = (u32)call->a[0], last = (u32)call->a[1];
    long ret = 0;

    if (first > last)
        return CALL_PASS;
    nodes_forget((u32)first, (u32)last);
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
