#include "memory/users.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/process.h"
#include "base/sys.h"

static const char prefix[] = "/memfd:mmioshim:";

/* As getdents64(2) gives it. */
struct dent {
    u64 ino;
    i64 off;
    u16 reclen;
    u8 type;
    char name[];
};

static long open_of(u32 pid, const char *name, int flags)
{
    char path[64];
    struct fmt f = FMT_INIT(path);

    fmt_printf(&f, "/proc/%u/%s", pid, name);
    return sys_open(fmt_end(&f), flags | O_CLOEXEC, 0);
}

static u32 number(const char *text)
{
    u32 n = 0;

    for (; *text >= '0' && *text <= '9'; text++)
        n = n * 10 + (u32)(*text - '0');
    return n;
}

/* False: look no further. */
static bool look_at(const struct users *u, u32 pid, long dir, const char *name)
{
    char target[sizeof(prefix)];
    struct stat st = {0};
    long n = sys(SYS_readlinkat, dir, name, target, sizeof(target));

    if (n < (long)sizeof(prefix) - 1 || memcmp(target, prefix, sizeof(prefix) - 1) != 0 ||
        sys(SYS_newfstatat, dir, name, &st, 0) < 0)
        return true;
    return u->file(u->context, pid, number(name), st.st_dev, st.st_ino);
}

/* 1, 0: look no further; -1: nothing can be known. */
static int files_of(u32 pid, const struct users *u)
{
    char buf[4096] __attribute__((aligned(8)));
    long dir = open_of(pid, "fd", O_RDONLY | O_DIRECTORY), n;
    int more = 1;

    if (dir < 0)
        return -1;
    while (more && (n = sys(SYS_getdents64, dir, buf, sizeof(buf))) > 0)
        for (long at = 0; at < n && more; at += ((const struct dent *)(const void *)(buf + at))->reclen) {
            const struct dent *d = (const void *)(buf + at);

            more = d->name[0] == '.' || look_at(u, pid, dir, d->name);
        }
    sys_close((int)dir);
    return more;
}

struct ram_walk {
    const struct arena *arena;
    const struct users *users;
};

static void if_ram(void *context, const struct kernel_mapping *m)
{
    const struct ram_walk *w = context;

    if (m->inode == w->arena->ram_ino && m->device == w->arena->ram_dev)
        w->users->ram(w->users->context, m);
}

bool users_ram_of(struct arena *arena, u32 pid, const struct users *u)
{
    char buf[KERNEL_MAPS_LINE];
    struct ram_walk w = {arena, u};
    long fd = open_of(pid, "maps", O_RDONLY);
    bool done;

    if (fd < 0)
        return false;
    done = kernel_maps_read((int)fd, buf, sizeof(buf), if_ram, &w);
    sys_close((int)fd);
    return done;
}

bool users_walk(struct arena *arena, const struct users *u)
{
    const struct arena_member *m = arena_at(arena, arena->members);
    u32 n = MIN(__atomic_load_n(&arena->members_used, __ATOMIC_ACQUIRE), ARENA_MEMBERS);

    for (u32 i = 0; i < n; i++) {
        u32 pid = __atomic_load_n(&m[i].pid, __ATOMIC_RELAXED);
        bool known = m[i].namespace == process_namespace();
        int files = 1;

        if (!pid || (known && !process_alive(pid, m[i].start)))
            continue;
        if (known && u->file)
            files = files_of(pid, u);
        if (files == 0)
            return true;
        if (known && files > 0 && (!u->ram || users_ram_of(arena, pid, u)))
            continue;
        if (!known || process_alive(pid, m[i].start))
            return false;
    }
    return true;
}

bool users_address(const struct machine_desc *desc, u64 offset, u64 *addr)
{
    for (u32 i = 0; i < desc->nbanks; i++) {
        if (offset < desc->banks[i].range.size) {
            *addr = desc->banks[i].range.base + offset;
            return true;
        }
        offset -= desc->banks[i].range.size;
    }
    return false;
}
