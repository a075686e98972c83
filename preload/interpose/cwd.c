/* The program's working directory, its root, and what is mounted where. */
#include <errno.h>
#include <fcntl.h>

#include "base/mem.h"
#include "base/sys.h"
#include "interpose/paths.h"
#include "trap/backtrace.h"
#include "tree/overlay.h"

static enum call_answer go_host(struct call *call, unsigned arg, const struct tree_walk *w)
{
    long ret = w && w->moved ? sys(SYS_chdir, *w->path ? w->path : "/") : call_kernel(call);

    (void)arg;
    if (ret == 0)
        tree_cwd_left(process_own());
    return call_done(call, ret);
}

enum call_answer call_chdir(struct call *call)
{
    struct tree_walk w;

    if (!paths_find(AT_FDCWD, call->a[0], true, &w))
        return go_host(call, 0, NULL);
    if (w.where == TREE_FAILED)
        return call_done(call, w.error);
    return w.where == TREE_HOST ? go_host(call, 0, &w) : call_done(call, tree_chdir(&w, process_own()));
}

enum call_answer call_fchdir(struct call *call)
{
    struct tree_walk w;
    char path[TREE_PATH];

    if (!tree_fd((int)call->a[0], path))
        return go_host(call, 0, NULL);
    tree_find(&w, AT_FDCWD, path, true);
    return call_done(call, w.where == TREE_HERE ? tree_chdir(&w, process_own()) : -ENOENT);
}

/* A directory that only the overlay has. */
static enum call_answer host_cwd(struct call *call)
{
    char path[TREE_PATH];
    long n = sys(SYS_getcwd, path, sizeof(path)) - 1;

    if (n <= 0 || !overlay_strip(path, &n))
        return CALL_PASS;
    if (call->a[1] < (u64)n + 1)
        return call_done(call, -ERANGE);
    return call_done(call, probe_write(call->a[0], path, (size_t)n + 1) ? n + 1 : -EFAULT);
}

enum call_answer call_getcwd(struct call *call)
{
    size_t n = strlen(tree_cwd()) + 1;

    if (n == 1)
        return overlay_used() ? host_cwd(call) : CALL_PASS;
    if (call->a[1] < n)
        return call_done(call, -ERANGE);
    return call_done(call, probe_write(call->a[0], tree_cwd(), n) ? (long)n : -EFAULT);
}

/* Mounts, roots and name spaces: which file systems are where is looked up again. */
enum call_answer call_mounts(struct call *call)
{
    call->ret = (u64)calls_wait((long)call->nr, call->a[0], call->a[1], call->a[2], call->a[3], call->a[4], call->a[5]);
    if (tree_machine && !(long)call->ret)
        tree_mounts_changed(call->nr == SYS_chroot || call->nr == SYS_pivot_root);
    return (long)call->ret == CALLS_AGAIN ? CALL_AGAIN : CALL_DONE;
}
