/*
 * /dev/hugepages: a hugetlbfs mount whose pages are the machine's (memory/huge.h). A descriptor is one of a file in memory
 * that all who have the file open share: locks and dup are the kernel's. Source: Linux, fs/hugetlbfs/inode.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "base/mem.h"
#include "base/sys.h"
#include "memory/dma.h"
#include "memory/huge.h"
#include "memory/users.h"
#include "tree/own.h"
#include "tree/parts.h"

#define HUGETLBFS_MAGIC 0x958458f6 /* linux/magic.h */

/* --- directories --- */

static bool list_files(const struct tree_node *dir, u32 index, struct tree_entry *entry)
{
    struct fmt name = FMT_INIT(entry->name);
    const struct huge_file *f;
    u32 number;

    huge_hold(tree_self());
    number = huge_list(dir->a, index);
    f = huge_file(number);
    if (f) {
        fmt_mem(&name, f->name, HUGE_NAME - 1);
        fmt_end(&name);
        entry->node = (struct tree_node){f->kind == HUGE_DIR ? &hugetlb_dir : &hugetlb_file, number, 0};
    }
    huge_let_go(tree_self());
    return f;
}

/* Others may remove files meanwhile, and a list has another order then. */
static bool find_file(const struct tree_node *dir, const char *name, struct tree_node *child)
{
    const struct huge_file *f;
    u32 number;

    huge_hold(tree_self());
    number = huge_find(dir->a, name);
    f = huge_file(number);
    if (f)
        *child = (struct tree_node){f->kind == HUGE_DIR ? &hugetlb_dir : &hugetlb_file, number, 0};
    huge_let_go(tree_self());
    return f;
}

static long make_file(const struct tree_node *dir, const char *name, bool directory, u32 mode)
{
    long number;

    huge_hold(tree_self());
    number = huge_make(dir->a, name, directory ? HUGE_DIR : HUGE_FILE, mode & 07777);
    huge_let_go(tree_self());
    return MIN(number, 0);
}

static long remove_file(const struct tree_node *node, bool directory)
{
    const struct huge_file *f;
    long ret;

    huge_hold(tree_self());
    f = huge_file(node->a);
    if (!node->a)
        ret = directory ? -EBUSY : -EISDIR;
    else if (!f)
        ret = -ENOENT;
    else if (directory != (f->kind == HUGE_DIR))
        ret = directory ? -ENOTDIR : -EISDIR;
    else
        ret = huge_unlink(node->a);
    huge_let_go(tree_self());
    return ret;
}

/* --- what is said of them --- */

static void describe(const struct tree_node *node, struct stat *st)
{
    const struct huge_file *f;

    st->st_dev = makedev(0, HUGETLB_DEVICE);
    huge_hold(tree_self());
    f = huge_file(node->a);
    if (f) {
        st->st_mode = (st->st_mode & S_IFMT) | f->mode;
        st->st_atim.tv_sec = st->st_mtim.tv_sec = st->st_ctim.tv_sec = f->changed;
        if (f->kind == HUGE_FILE)
            st->st_nlink = f->linked;
        st->st_size = (i64)f->size;
        st->st_blksize = HUGE_SIZE;
        st->st_blocks = (i64)(huge_pages_of(node->a) * (HUGE_SIZE / 512));
    }
    huge_let_go(tree_self());
}

static long describe_mount(const struct tree_node *node, struct statfs *st)
{
    (void)node;
    memset(st, 0, sizeof(*st));
    st->f_type = HUGETLBFS_MAGIC;
    st->f_bsize = st->f_frsize = HUGE_SIZE;
    st->f_namelen = HUGE_NAME - 1;
    return 0;
}

const struct tree_class hugetlb_dir = {
    .kind = TREE_DIR,
    .mode = 0755,
    .list = list_files,
    .find = find_file,
    .make = make_file,
    .remove = remove_file,
    .stat = describe,
    .statfs = describe_mount,
};

/* --- descriptors --- */

void hugetlb_path(u32 number, struct fmt *path)
{
    const struct huge_file *f = huge_file(number);
    u32 above[8];
    unsigned n = 0;

    for (; f && n < ARRAY_SIZE(above); f = huge_file(f->parent)) {
        above[n++] = number;
        number = f->parent;
    }
    fmt_str(path, HUGETLB_MOUNT);
    while (n-- > 0)
        fmt_printf(path, "/%s", huge_file(above[n])->name);
    fmt_end(path);
}

struct search {
    u64 dev, ino;
    int flags;
    long fd;
};

static bool look_at(void *context, u32 pid, u32 number, u64 dev, u64 ino)
{
    struct search *s = context;
    char path[64];
    struct fmt f = FMT_INIT(path);

    if (dev != s->dev || ino != s->ino)
        return true;
    fmt_printf(&f, "/proc/%u/fd/%u", pid, number);
    s->fd = sys_open(fmt_end(&f), s->flags, 0);
    return s->fd < 0;
}

/* A new description of the file in memory that somebody has. Negative: nobody has. */
static long another(const struct huge_file *f, int flags)
{
    struct search s = {f->dev, f->ino, flags & (O_ACCMODE | O_CLOEXEC | O_NONBLOCK | O_APPEND | O_SYNC | O_DSYNC), -ENOENT};
    struct users users = {.context = &s, .file = look_at};

    if (f->ino)
        users_walk(tree_machine->arena, &users);
    return s.fd;
}

static long first(struct huge_file *f, u32 number, int flags)
{
    char path[TREE_PATH];
    struct fmt p = FMT_INIT(path);
    struct stat st = {0};
    long fd;

    hugetlb_path(number, &p);
    fd = tree_file(path, MFD_CLOEXEC);
    if (fd < 0)
        return fd;
    sys(SYS_ftruncate, fd, f->size);
    sys_fstat((int)fd, &st);
    f->dev = st.st_dev;
    f->ino = st.st_ino;
    return tree_reopen(fd, flags);
}

static void set_size(const struct huge_file *f, u64 size)
{
    long fd = another(f, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return;
    sys(SYS_ftruncate, fd, size);
    sys_close((int)fd);
}

static long open_file(const struct tree_node *node, int flags)
{
    struct huge_file *f;
    long fd = -ENOENT;

    huge_hold(tree_self());
    f = huge_file(node->a);
    if (f) {
        fd = another(f, flags);
        if (fd < 0)
            fd = first(f, node->a, flags);
        if (fd >= 0 && (flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY) {
            set_size(f, 0);
            huge_resize(node->a, 0);
        }
    }
    huge_let_go(tree_self());
    return fd;
}

bool hugetlb_fd(int fd, const char *path, struct tree_node *node)
{
    struct stat st = {0};

    if ((strncmp(path, HUGETLB_MOUNT "/", sizeof(HUGETLB_MOUNT)) != 0 && strncmp(path, "/memfd:", 7) != 0) ||
        sys_fstat(fd, &st) < 0)
        return false;
    huge_hold(tree_self());
    *node = (struct tree_node){&hugetlb_file, huge_by_identity(st.st_dev, st.st_ino), 0};
    huge_let_go(tree_self());
    return node->a;
}

/* --- contents --- */

static long read_file(const struct tree_node *node, u64 offset, void *to, size_t n)
{
    const struct huge_file *f;
    size_t done = 0;

    huge_hold(tree_self());
    f = huge_file(node->a);
    n = f && offset < f->size ? MIN(n, f->size - offset) : 0;
    while (done < n) {
        u64 at = offset + done, page = huge_page_at(node->a, at >> HUGE_SHIFT);
        size_t part = MIN(n - done, HUGE_SIZE - (at & ~HUGE_MASK));

        if (!page || !dma_read(page + (at & ~HUGE_MASK), (u8 *)to + done, part))
            memset((u8 *)to + done, 0, part);
        done += part;
    }
    huge_let_go(tree_self());
    return (long)done;
}

/* There is none in hugetlbfs: vfs_write() finds no method. */
static long write_file(const struct tree_node *node, u64 offset, const void *from, size_t n)
{
    (void)node;
    (void)offset;
    (void)from;
    (void)n;
    return -EINVAL;
}

static long resize_file(const struct tree_node *node, int fd, u64 size)
{
    struct huge_file *f;
    long ret = -EINVAL;

    if ((size & ~HUGE_MASK) || (i64)size < 0)
        return ret;
    huge_hold(tree_self());
    f = huge_file(node->a);
    ret = fd < 0 ? 0 : sys(SYS_ftruncate, fd, size); /* which knows seals, and who may write */
    if (f && fd < 0)
        set_size(f, size);
    if (f && ret == 0)
        ret = huge_resize(node->a, size);
    huge_let_go(tree_self());
    return ret;
}

static long allocate(u32 number, int fd, int mode, u64 offset, u64 length)
{
    u64 end = offset + length, first_page = offset >> HUGE_SHIFT, last = (end - 1) >> HUGE_SHIFT;
    struct huge_file *f = huge_file(number);

    if (mode & FALLOC_FL_PUNCH_HOLE) {
        first_page = (offset + HUGE_SIZE - 1) >> HUGE_SHIFT; /* whole pages only */
        if (end >> HUGE_SHIFT > first_page)
            huge_punch(number, first_page, (end >> HUGE_SHIFT) - first_page);
        return 0;
    }
    if (huge_fill(number, first_page, last - first_page + 1) < 0)
        return -ENOSPC;
    if (!(mode & FALLOC_FL_KEEP_SIZE) && end > f->size) {
        f->size = (last + 1) << HUGE_SHIFT;
        sys(SYS_ftruncate, fd, f->size);
    }
    return 0;
}

static long allocate_file(const struct tree_node *node, int fd, int mode, u64 offset, u64 length)
{
    long ret = -EBADF;

    if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
        return -EOPNOTSUPP;
    if ((i64)offset < 0 || (i64)length <= 0)
        return -EINVAL;
    if (length > (u64)INT64_MAX - HUGE_SIZE - offset)
        return -EFBIG;
    huge_hold(tree_self());
    if (huge_file(node->a) && (sys_fcntl(fd, F_GETFL, 0) & O_ACCMODE) != O_RDONLY)
        ret = allocate(node->a, fd, mode, offset, length);
    huge_let_go(tree_self());
    return ret;
}

static u64 size_of(const struct tree_node *node)
{
    const struct huge_file *f;
    u64 size;

    huge_hold(tree_self());
    f = huge_file(node->a);
    size = f ? f->size : 0;
    huge_let_go(tree_self());
    return size;
}

const struct tree_class hugetlb_file = {
    .kind = TREE_FILE,
    .mode = 0666,
    .huge = true,
    .remove = remove_file,
    .resize = resize_file,
    .allocate = allocate_file,
    .stat = describe,
    .statfs = describe_mount,
    .read = read_file,
    .write = write_file,
    .size = size_of,
    .descriptor = open_file,
};
