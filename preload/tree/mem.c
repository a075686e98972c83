/* /dev/mem, mem(4): the machine's address space. */
#include <errno.h>
#include <fcntl.h>

#include "base/fds.h"
#include "base/sys.h"
#include "tree/parts.h"

/* A new description of the machine's file: its own offset, its own flags. */
static long mem_descriptor(const struct tree_node *node, int flags)
{
    char path[40];
    struct fmt f = FMT_INIT(path);
    long fd;

    (void)node;
    fmt_printf(&f, "/proc/self/fd/%d", fds_get(FD_MEM));
    flags &= O_ACCMODE | O_CLOEXEC | O_NONBLOCK | O_SYNC | O_DSYNC | O_PATH;
    fd = sys_open(fmt_end(&f), flags, 0);
    if (fd == -ENOENT) /* no /proc here: a descriptor that shares its offset is better than none */
        fd = sys_fcntl(fds_get(FD_MEM), flags & O_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
    return fd;
}

const struct tree_class mem_device = {
    .kind = TREE_DEVICE,
    .mode = 0640,
    .major = 1,
    .minor = 1,
    .descriptor = mem_descriptor,
};
