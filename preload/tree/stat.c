#include "tree/stat.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "base/mem.h"
#include "base/sys.h"

#define FNV_START 0xcbf29ce484222325ull
#define FNV_PRIME 0x100000001b3ull

static u64 hash(u64 h, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ (u8)text[i]) * FNV_PRIME;
    return h;
}

/* Never 0, which some programs take for a file that was deleted. */
static u64 number(u64 h)
{
    return (h >> 1) | 1ull << 62;
}

u64 stat_ino(const char *path)
{
    return number(hash(FNV_START, path, strlen(path)));
}

u64 stat_ino_below(const char *path, const char *name)
{
    u64 h = hash(FNV_START, path, strlen(path));

    return number(hash(hash(h, "/", 1), name, strlen(name)));
}

u64 stat_ino_parent(const char *path)
{
    const char *slash = strrchr(path, '/');

    return number(hash(FNV_START, path, slash ? (size_t)(slash - path) : 0));
}

const char *tree_top(const char *path)
{
    static const char *const tops[] = {"/dev", "/proc", "/sys"};

    for (unsigned i = 0; i < ARRAY_SIZE(tops); i++) {
        size_t n = strlen(tops[i]);

        if (strncmp(path, tops[i], n) == 0 && (path[n] == '/' || !path[n]))
            return tops[i];
    }
    return "/";
}

static u64 device_of(const char *path)
{
    struct stat st = {0};

    sys(SYS_stat, tree_top(path), &st);
    return st.st_dev;
}

static u32 mode_of(const struct tree_node *node)
{
    static const u32 kinds[] = {[TREE_DIR] = S_IFDIR, [TREE_LINK] = S_IFLNK, [TREE_FILE] = S_IFREG, [TREE_DEVICE] = S_IFCHR};

    return kinds[node->class->kind] | (node->class->kind == TREE_LINK ? 0777 : node->class->mode);
}

static u32 links_of(const struct tree_node *node)
{
    struct tree_entry e;
    u32 n = 2;

    if (node->class->kind != TREE_DIR)
        return 1;
    for (u32 i = 0; tree_list(node, i, &e); i++)
        n += e.node.class->kind == TREE_DIR;
    return n;
}

/* Times: of when somebody first asked for one, as sysfs has that of the first look-up. */
static void stamp(struct stat *st)
{
    u64 *born = &tree_machine->arena->tree_born, none = 0;
    struct timespec now = {0};

    if (!__atomic_load_n(born, __ATOMIC_RELAXED)) {
        sys(SYS_clock_gettime, CLOCK_REALTIME, &now);
        __atomic_compare_exchange_n(born, &none, (u64)now.tv_sec, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    st->st_atim.tv_sec = st->st_mtim.tv_sec = st->st_ctim.tv_sec = (i64)__atomic_load_n(born, __ATOMIC_RELAXED);
}

void tree_stat(const struct tree_node *node, const char *path, struct stat *st)
{
    memset(st, 0, sizeof(*st));
    st->st_dev = device_of(path);
    st->st_ino = stat_ino(path);
    st->st_mode = mode_of(node);
    st->st_nlink = links_of(node);
    st->st_uid = (u32)sys(SYS_geteuid);
    st->st_gid = (u32)sys(SYS_getegid);
    if (node->class->kind == TREE_DEVICE)
        st->st_rdev = makedev(node->class->major, node->class->minor + node->a);
    st->st_size = (i64)tree_size(node);
    st->st_blksize = PAGE_SIZE;
    stamp(st);
    if (node->class->stat)
        node->class->stat(node, st);
}
