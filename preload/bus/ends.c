#include "bus/ends.h"

#include <fcntl.h>

#include "base/sys.h"

#define LAST_FD 1100 /* ours lie below 1024, or a little above where they had to move */

/* Inherited over exec. */
static int find_here(const struct backend_ops *ops, u64 wanted)
{
    for (int fd = 3; fd < LAST_FD; fd++)
        if (ops->identity(NULL, fd) == wanted)
            return fd;
    return -1;
}

/* pidfd_getfd(2): needs the right to trace the other process. */
static int find_in(u32 pid, const struct backend_ops *ops, u64 wanted)
{
    long pidfd = sys(SYS_pidfd_open, pid, 0);
    int found = -1;

    for (int fd = 3; pidfd >= 0 && fd < LAST_FD && found < 0; fd++) {
        long copy = sys(SYS_pidfd_getfd, pidfd, fd, 0);

        if (copy < 0)
            continue;
        if (ops->identity(NULL, (int)copy) == wanted)
            found = (int)copy;
        else
            sys_close((int)copy);
    }
    if (pidfd >= 0)
        sys_close((int)pidfd);
    return found;
}

int ends_find(struct machine *machine, const struct backend_ops *ops, u64 identity)
{
    const struct arena_member *m = arena_at(machine->arena, machine->arena->members);
    u32 self = (u32)sys_getpid();
    int fd = find_here(ops, identity);

    for (u32 i = 0; i < ARENA_MEMBERS && fd < 0; i++)
        if (m[i].pid && m[i].pid != self)
            fd = find_in(m[i].pid, ops, identity);
    return fd;
}
