/* Descriptors of the tree: files in memory, known by their names, and what is remembered of the program's descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/mem.h"
#include "base/sys.h"
#include "bus/listeners.h"
#include "tree/dirents.h"
#include "tree/overlay.h"
#include "tree/own.h"
#include "tree/parts.h"
#include "tree/tree.h"

#define KNOWN 65536 /* descriptors above this are asked about each time */

/* What is known of a descriptor: two bits whether it is the tree's, two whether it is a directory near it. */
enum { UNKNOWN = 0, NO = 1, YES = 2, FILE_BITS = 3, NEAR_SHIFT = 2 };
static u8 known[KNOWN];

static u8 recall(int fd, unsigned shift)
{
    return fd >= 0 && fd < KNOWN ? (__atomic_load_n(&known[fd], __ATOMIC_RELAXED) >> shift) & FILE_BITS : UNKNOWN;
}

/* In a vfork child the descriptors are its own and this memory is its parent's: nothing is noted. */
static void note(int fd, unsigned shift, u8 what)
{
    if (fd < 0 || fd >= KNOWN || !tree_own())
        return;
    __atomic_and_fetch(&known[fd], (u8) ~(FILE_BITS << shift), __ATOMIC_RELAXED);
    __atomic_or_fetch(&known[fd], (u8)(what << shift), __ATOMIC_RELAXED);
}

void tree_fd_forget(u32 first, u32 last)
{
    for (u32 fd = first; fd <= last && fd < KNOWN; fd++)
        if (__atomic_load_n(&known[fd], __ATOMIC_RELAXED))
            __atomic_store_n(&known[fd], UNKNOWN, __ATOMIC_RELAXED);
}

/* --- names --- */

#define MARK "/memfd:mmioshim:"
#define GONE " (deleted)"

bool tree_fd_name(char *link, long *length)
{
    size_t n = (size_t)*length, mark = sizeof(MARK) - 1, gone = sizeof(GONE) - 1;

    if (n < mark + gone || memcmp(link, MARK, mark) != 0 || memcmp(link + n - gone, GONE, gone) != 0)
        return false;
    *length = (long)(n - mark - gone);
    memmove(link, link + mark, (size_t)*length);
    link[*length] = 0;
    return true;
}

/* What the kernel calls it. Bytes, or -errno. */
static long read_link(int fd, char *path)
{
    char link[40];
    struct fmt f = FMT_INIT(link);
    long n;

    fmt_printf(&f, "/proc/self/fd/%d", fd);
    n = sys_readlink(fmt_end(&f), path, TREE_PATH - 1);
    path[n > 0 ? n : 0] = 0;
    return n;
}

static bool name_of(int fd, char *path)
{
    long n = read_link(fd, path);

    return n > 0 && tree_fd_name(path, &n);
}

static bool is_ours(int fd, const struct stat *st, char *path)
{
    const struct arena *a = tree_machine->arena;

    if (st->st_ino == a->mem_ino && st->st_dev == a->mem_dev) {
        memcpy(path, "/dev/mem", sizeof("/dev/mem"));
        return true;
    }
    if (S_ISSOCK(st->st_mode))
        return uio_fd(fd, path);
    return st->st_dev == a->tree_dev && name_of(fd, path);
}

/* Of a number that nobody has nothing is known: it may become a copy of a descriptor of the tree. */
static u8 ask(int fd, char *path)
{
    struct stat st = {0};

    if (sys_fstat(fd, &st) < 0)
        return UNKNOWN;
    return is_ours(fd, &st, path) ? YES : NO;
}

bool tree_fd(int fd, char *path)
{
    u8 what;

    if (fd < 0 || !tree_used() || recall(fd, 0) == NO || (!tree_asks_host() && recall(fd, 0) == UNKNOWN))
        return false;
    what = ask(fd, path);
    note(fd, 0, what);
    return what == YES;
}

bool tree_fd_node_at(int fd, char *path, struct tree_node *node, bool *gone)
{
    struct tree_walk w;

    *gone = false;
    if (!tree_fd(fd, path))
        return false;
    if (hugetlb_fd(fd, path, node))
        return true;
    tree_find(&w, AT_FDCWD, path, false);
    *node = w.node;
    *gone = w.where != TREE_HERE;
    return !*gone;
}

bool tree_fd_node(int fd, struct tree_node *node, bool *gone)
{
    char path[TREE_PATH];

    return tree_fd_node_at(fd, path, node, gone);
}

long tree_fd_status(int fd, const struct tree_node *node)
{
    long flags = sys_fcntl(fd, F_GETFL, 0);
    int access = flags >= 0 && node->class->event ? listener_access(fd) : -1;

    return access < 0 ? flags : (flags & ~(long)O_ACCMODE) | access;
}

/* --- directories of the host --- */

/* The host's file systems below the tree's: asked for once, until mounts change. */
enum { TOPS = 4, ROOT = TOPS - 1 };
static struct {
    u64 device[TOPS];
    u64 root; /* inode */
    bool asked;
} tops;
static bool moved_root;

static void ask_tops(void)
{
    static const char *const paths[TOPS] = {"/dev", "/proc", "/sys", [ROOT] = "/"};
    struct stat st;

    for (unsigned i = 0; i < TOPS; i++) {
        memset(&st, 0, sizeof(st));
        tops.device[i] = sys(SYS_stat, paths[i], &st) == 0 ? st.st_dev : 0;
    }
    tops.root = st.st_ino;
    __atomic_store_n(&tops.asked, true, __ATOMIC_RELEASE);
}

bool tree_device(u64 device)
{
    if (unlikely(!__atomic_load_n(&tops.asked, __ATOMIC_ACQUIRE))) {
        if (!tree_asks_host())
            return false;
        ask_tops();
    }
    for (unsigned i = 0; i < ROOT; i++)
        if (tops.device[i] == device)
            return true;
    return device == tree_machine->arena->tree_dev;
}

bool tree_top_there(const char *path)
{
    return !moved_root || !tree_asks_host() || sys(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
}

void tree_mounts_changed(bool rooted)
{
    moved_root |= rooted;
    __atomic_store_n(&tops.asked, false, __ATOMIC_RELEASE);
    tree_fd_forget(0, KNOWN - 1);
}

/* Most directories are on other file systems than the tree is. */
static bool far_away(const struct stat *st)
{
    return !tree_device(st->st_dev) && (st->st_dev != tops.device[ROOT] || st->st_ino != tops.root);
}

bool tree_directory(int fd, char *path)
{
    long n = read_link(fd, path);

    if (n <= 0)
        return false;
    if (!tree_fd_name(path, &n))
        overlay_strip(path, &n);
    return path[0] == '/';
}

static u8 near(int fd)
{
    struct stat st = {0};
    char path[TREE_PATH];

    if (sys_fstat(fd, &st) < 0)
        return UNKNOWN;
    return (overlay_used() || !far_away(&st)) && tree_directory(fd, path) && tree_path_near(path) ? YES : NO;
}

bool tree_fd_near(int fd)
{
    u8 what = recall(fd, NEAR_SHIFT);

    if (what == UNKNOWN && !tree_asks_host())
        return false;
    if (what == UNKNOWN) {
        what = near(fd);
        note(fd, NEAR_SHIFT, what);
    }
    return what == YES;
}

/* --- new ones --- */

/* Another description of the same file, with the flags that the program asked for, in the place of `fd`. */
long tree_reopen(long fd, int flags)
{
    char link[40];
    struct fmt f = FMT_INIT(link);
    long again, cloexec = flags & O_CLOEXEC;

    fmt_printf(&f, "/proc/self/fd/%d", (int)fd);
    again = sys_open(fmt_end(&f), flags & (O_ACCMODE | O_CLOEXEC | O_NONBLOCK | O_APPEND | O_SYNC | O_DSYNC | O_PATH), 0);
    if (again < 0) { /* no /proc: one that may do more is better than none */
        sys_fcntl((int)fd, F_SETFD, cloexec ? FD_CLOEXEC : 0);
        return fd;
    }
    sys(SYS_dup3, again, fd, cloexec);
    sys_close((int)again);
    return fd;
}

/* The kernel has one file system for all of them. */
static void learn_device(int fd)
{
    struct stat st = {0};

    if (!tree_machine->arena->tree_dev && sys_fstat(fd, &st) == 0)
        __atomic_store_n(&tree_machine->arena->tree_dev, st.st_dev, __ATOMIC_RELAXED);
}

long tree_file(const char *path, unsigned flags)
{
    char name[250]; /* memfd_create(2): 249 bytes */
    struct fmt f = FMT_INIT(name);
    long fd;

    fmt_str(&f, "mmioshim:");
    fmt_str(&f, path);
    fmt_end(&f);
    if (f.full)
        return -ENAMETOOLONG;
    fd = sys(SYS_memfd_create, name, flags);
    if (fd < 0)
        return fd;
    learn_device((int)fd);
    __atomic_store_n(&tree_machine->arena->tree_opened, 1, __ATOMIC_RELEASE);
    return fd;
}

static long memory_file(const struct tree_node *node, const char *path, int flags)
{
    long fd = tree_file(path, MFD_CLOEXEC);

    if (fd >= 0 && !(flags & O_PATH))
        tree_fill((int)fd, node, path);
    return fd < 0 ? fd : tree_reopen(fd, flags);
}

/* Its mode says what may be done, root may all but in sysfs: fs/kernfs/file.c, kernfs_fop_open(). */
static bool permits(const struct tree_node *node, const char *path, int flags)
{
    int access = flags & O_ACCMODE;
    u32 wants = (access != O_WRONLY ? 0444 : 0) | (access != O_RDONLY ? 0222 : 0);

    if ((flags & O_PATH) || (sys(SYS_geteuid) == 0 && strncmp(path, "/sys/", 5) != 0))
        return true;
    return (!(wants & 0444) || (node->class->mode & 0444)) && (!(wants & 0222) || (node->class->mode & 0222));
}

static long refuse(const struct tree_node *node, const char *path, int flags)
{
    const struct tree_class *c = node->class;
    bool writes = (flags & O_ACCMODE) != O_RDONLY && !(flags & O_PATH);

    if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return -EEXIST;
    if ((flags & O_TMPFILE) == O_TMPFILE)
        return c->kind == TREE_DIR ? -EOPNOTSUPP : -ENOTDIR;
    if (c->kind == TREE_DIR)
        return writes || (flags & O_CREAT) ? -EISDIR : 0;
    if (flags & O_DIRECTORY)
        return -ENOTDIR;
    if (c->kind == TREE_LINK)
        return flags & O_PATH ? 0 : -ELOOP;
    if (!permits(node, path, flags))
        return -EACCES;
    return c->opens && !(flags & O_PATH) ? c->opens(node, flags) : 0;
}

/* The path that the node being opened was found at. */
static __thread const char *opening;

long tree_open_plain(const struct tree_node *node, int flags)
{
    return memory_file(node, opening, flags);
}

long tree_open(const struct tree_node *node, const char *path, int flags)
{
    long fd = refuse(node, path, flags);

    if (fd < 0)
        return fd;
    opening = path;
    if (node->class->descriptor && !(flags & O_PATH))
        fd = node->class->descriptor(node, flags);
    else
        fd = memory_file(node, path, flags);
    if (fd >= 0) {
        __atomic_store_n(&tree_machine->arena->tree_opened, 1, __ATOMIC_RELEASE);
        note((int)fd, 0, UNKNOWN);
        note((int)fd, NEAR_SHIFT, node->class->kind == TREE_DIR ? YES : NO);
    }
    return fd;
}

/* --- contents --- */

static long open_to_fill(int fd)
{
    char link[40];
    struct fmt f = FMT_INIT(link);

    fmt_printf(&f, "/proc/self/fd/%d", fd);
    return sys_open(fmt_end(&f), O_WRONLY | O_TRUNC | O_CLOEXEC, 0);
}

/* Bytes at fixed offsets: those that can be read without harm, for who reads by other ways than ours. */
static void fill_bytes(const struct tree_node *node, struct fmt *text)
{
    long n = node->class->read(node, 0, text->buf, MIN(text->cap, tree_size(node)));

    text->len = n > 0 ? (size_t)n : 0;
}

void tree_fill(int fd, const struct tree_node *node, const char *path)
{
    const struct tree_class *c = node->class;
    struct fmt text = {.cap = TREE_TEXT};
    long to;

    if (c->kind == TREE_DEVICE || c->kind == TREE_LINK || (c->kind == TREE_FILE && !c->show && !c->read))
        return;
    text.buf = sys_pages(TREE_TEXT);
    if (!text.buf)
        return;
    if (c->kind == TREE_DIR)
        dirents_make(node, path, &text);
    else if (c->show)
        c->show(node, &text);
    else
        fill_bytes(node, &text);
    to = open_to_fill(fd);
    if (to >= 0) {
        sys_write_all((int)to, text.buf, text.len);
        sys_close((int)to);
    }
    sys_munmap(text.buf, TREE_TEXT);
}
