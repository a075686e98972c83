/*
 * The working directory. The kernel knows none in the tree: while the program is in one, the kernel's is the root, and a
 * descriptor of ours that exec leaves open carries its name.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/fds.h"
#include "base/mem.h"
#include "base/sys.h"
#include "tree/own.h"
#include "tree/tree.h"

bool (*tree_own)(void);
const struct lock_self *(*tree_self)(void);

static char here[TREE_PATH];
/* Of the host's: whether it is near the tree; LOST: a vfork child moved, and nothing is remembered any more. */
static enum { ASK, NEAR, FAR, LOST } nearness;

const char *tree_cwd(void)
{
    return here;
}

static bool ask(void)
{
    char path[TREE_PATH];
    long n = sys(SYS_getcwd, path, sizeof(path));

    return n <= 0 || path[0] != '/' || tree_path_near(path);
}

bool tree_cwd_near(void)
{
    bool near;

    if (nearness == NEAR || nearness == FAR)
        return nearness == NEAR;
    if (!tree_asks_host())
        return false;
    near = ask();
    if (nearness == ASK)
        nearness = near ? NEAR : FAR;
    return near;
}

void tree_cwd_left(bool own)
{
    if (!own) {
        sys_close(fds_get(FD_CWD)); /* of its own table */
        nearness = LOST;
        return;
    }
    if (nearness != LOST)
        nearness = ASK;
    if (!here[0])
        return;
    here[0] = 0;
    fds_close(FD_CWD);
}

/* A vfork child tells the program that it will be: nobody else can be told, since this memory is its parent's. */
static long chdir_apart(int fd)
{
    long high;

    sys_close(fds_get(FD_CWD));
    high = sys_fcntl(fd, F_DUPFD, fds_floor());
    sys_close(fd);
    nearness = LOST;
    return high < 0 ? high : sys(SYS_chdir, "/");
}

static long open_directory(const struct tree_walk *w)
{
    long fd = tree_open(&w->node, w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    /* No program opens a directory to append to it. */
    if (fd >= 0)
        sys_fcntl((int)fd, F_SETFL, O_APPEND);
    return fd;
}

long tree_chdir(const struct tree_walk *w, bool own)
{
    long fd;

    if (w->node.class->kind != TREE_DIR)
        return -ENOTDIR;
    fd = open_directory(w);
    if (fd < 0)
        return fd;
    if (!own)
        return chdir_apart((int)fd);
    fds_close(FD_CWD);
    fds_adopt(FD_CWD, (int)fd);
    fds_share(FD_CWD);
    sys(SYS_chdir, "/");
    memcpy(here, w->path, w->length + 1);
    return 0;
}

void tree_cwd_start(void)
{
    char path[TREE_PATH];
    int floor = fds_floor();

    for (int fd = floor; fd < floor + 64; fd++) {
        if (fds_ours(fd) || !tree_fd(fd, path) || !(sys_fcntl(fd, F_GETFL, 0) & O_APPEND))
            continue;
        memcpy(here, path, strlen(path) + 1);
        fds_adopt(FD_CWD, fd);
        fds_share(FD_CWD);
        return;
    }
}
