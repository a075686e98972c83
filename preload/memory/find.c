#include "memory/find.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fmt.h"
#include "base/mem.h"
#include "base/process.h"
#include "base/sys.h"

#define MAX_ANCESTORS 64

static const char prefix[] = "/memfd:mmioshim-";

/* As getdents64(2) gives it. */
struct dent {
    u64 ino;
    i64 off;
    u16 reclen;
    u8 type;
    char name[];
};

static void fd_path(struct fmt *f, u32 pid, const char *name)
{
    fmt_str(f, "/proc/");
    if (pid)
        fmt_dec(f, pid);
    else
        fmt_str(f, "self");
    fmt_str(f, "/fd/");
    fmt_str(f, name);
    fmt_end(f);
}

static int number(const char *text)
{
    int n = 0;

    for (; *text >= '0' && *text <= '9'; text++)
        n = n * 10 + (*text - '0');
    return n;
}

/* One entry of /proc/PID/fd: takes it if it is a memfd of ours. */
static void look_at(struct found_machine *found, const char *name)
{
    char path[64], target[64];
    struct fmt f = FMT_INIT(path);
    long n, fd;

    fd_path(&f, found->pid, name);
    n = sys_readlink(path, target, sizeof(target) - 1);
    if (n <= 0 || found->nfiles == FOUND_FILES)
        return;
    target[n] = 0;
    if (strncmp(target, prefix, sizeof(prefix) - 1) != 0)
        return;
    fd = found->pid ? sys_open(path, O_RDWR | O_CLOEXEC, 0) : number(name);
    if (fd < 0)
        return;
    found->files[found->nfiles++] = (int)fd;
    if (strncmp(target + sizeof(prefix) - 1, "arena", 5) == 0)
        found->arena_fd = (int)fd;
}

static void scan(struct found_machine *found)
{
    char path[64];
    char buf[4096] __attribute__((aligned(8)));
    struct fmt f = FMT_INIT(path);
    long dir, n;

    found->nfiles = 0;
    found->arena_fd = -1;
    fd_path(&f, found->pid, "");
    dir = sys_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (dir < 0)
        return;
    while ((n = sys(SYS_getdents64, dir, buf, sizeof(buf))) > 0)
        for (long at = 0; at < n;) {
            const struct dent *d = (const void *)(buf + at);

            /* 0 to 2 are never ours (base/fds.h), and to ask about one takes as long as to map a page. */
            if (d->name[0] != '.' && number(d->name) > 2)
                look_at(found, d->name);
            at += d->reclen;
        }
    sys_close((int)dir);
}

void find_begin(struct found_machine *found)
{
    *found = (struct found_machine){.arena_fd = -1};
}

bool find_next(struct found_machine *found)
{
    while (found->depth < MAX_ANCESTORS) {
        if (found->depth++ == 0)
            found->pid = 0;
        else if (found->pid == 0)
            found->pid = (u32)sys(SYS_getppid);
        else
            found->pid = process_parent(found->pid);
        if (found->depth > 1 && found->pid <= 1)
            return false;
        scan(found);
        if (found->arena_fd >= 0)
            return true;
        find_drop(found);
    }
    return false;
}

int found_file(const struct found_machine *found, u64 dev, u64 ino)
{
    struct stat st = {0};

    /* The highest is ours: a program that holds /dev/mem has the same file at a low number, and keeps it. */
    for (unsigned i = found->nfiles; i-- > 0;)
        if (sys_fstat(found->files[i], &st) == 0 && st.st_dev == dev && st.st_ino == ino)
            return found->files[i];
    return -1;
}

void find_drop(struct found_machine *found)
{
    /* What was inherited but is of no use stays: it may be another machine's, of use to a child. */
    for (unsigned i = 0; i < found->nfiles && found->pid; i++)
        sys_close(found->files[i]);
    found->nfiles = 0;
    found->arena_fd = -1;
}
