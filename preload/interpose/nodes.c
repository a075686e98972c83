#include "interpose/nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sys.h"
#include "interpose/copy.h"
#include "trap/backtrace.h"
#include "trap/trap.h"
#include "tree/dirents.h"
#include "tree/overlay.h"
#include "tree/parts.h"

/* --- read and write --- */

/* Was it opened for this? Of a program that restricted its calls nothing is asked. */
static bool allowed(int fd, const struct tree_node *node, bool write)
{
    long flags = tree_asks_host() ? tree_fd_status(fd, node) : O_RDWR;

    return flags >= 0 && !(flags & O_PATH) && (flags & O_ACCMODE) != (write ? O_RDONLY : O_WRONLY);
}

static enum nodes_io io_of(const struct tree_node *node, bool write, long *error)
{
    const struct tree_class *c = node->class;

    if (c == &mem_device)
        return NODES_MEM;
    if (c->kind == TREE_DIR) {
        *error = write ? -EBADF : -EISDIR;
        return NODES_GONE;
    }
    if (c->event && !write)
        return NODES_EVENT;
    return c->show && !write ? NODES_KERNEL : NODES_OURS;
}

enum nodes_io nodes_io(int fd, bool write, u64 offset_known, u64 offset, struct tree_node *node, long *error)
{
    char path[TREE_PATH];
    enum nodes_io io;
    bool gone;

    if (!tree_fd_node_at(fd, path, node, &gone)) {
        if (!gone)
            return NODES_HOST;
        *error = strncmp(path, "/dev/uio", 8) == 0 ? -EIO : -ENODEV; /* drivers/uio/uio.c, uio_read() */
        return NODES_GONE;
    }
    io = io_of(node, write, error);
    if (offset_known && (i64)offset < 0)
        *error = -EINVAL;
    else if ((io == NODES_MEM || io == NODES_EVENT) && !allowed(fd, node, write))
        *error = -EBADF;
    if (*error)
        return NODES_GONE;
    /* Text is made anew when it is read from its beginning (sysfs(5)). */
    if (io == NODES_KERNEL && (offset_known ? offset : (u64)sys(SYS_lseek, fd, 0, SEEK_CUR)) == 0)
        tree_fill(fd, node, path);
    return io;
}

static long port_one(u32 port, u8 *bytes, unsigned width, bool write)
{
    return trap_access_port(port, bytes, width, write) ? (long)width : -EFAULT;
}

static long move_port(const struct tree_node *node, u8 *bytes, u64 n, u64 offset, bool write)
{
    u32 port, room;
    u64 done = 0;

    if (!node->class->port(node, offset, &port, &room))
        return node->class->bytewise ? 0 : -EINVAL;
    if (!node->class->bytewise)
        return (n == 1 || n == 2 || n == 4) && n <= room ? port_one(port, bytes, (unsigned)n, write) : -EINVAL;
    for (n = MIN(n, (u64)room); done < n; done++)
        if (port_one(port + (u32)done, bytes + done, 1, write) < 0)
            return done ? (long)done : -EFAULT;
    return (long)done;
}

static long move_at(const struct tree_node *node, u8 *bytes, u64 n, u64 offset, bool write)
{
    const struct tree_class *c = node->class;

    if (c->port)
        return move_port(node, bytes, n, offset, write);
    if (write && c->write)
        return c->write(node, offset, bytes, n);
    if (write)
        return c->store ? c->store(node, (const char *)bytes, MIN(n, (u64)PAGE_SIZE)) : -EIO;
    return c->read ? c->read(node, offset, bytes, n) : -EIO;
}

long nodes_move(int fd, const struct tree_node *node, void *bytes, u64 n, bool here, u64 offset, bool write)
{
    long done;

    if (!allowed(fd, node, write))
        return -EBADF;
    if (here)
        offset = (u64)sys(SYS_lseek, fd, 0, SEEK_CUR);
    done = move_at(node, bytes, n, offset, write);
    if (here && done > 0)
        sys(SYS_lseek, fd, offset + (u64)done, SEEK_SET);
    return done;
}

/* --- events --- */

/* Sleeps until the descriptor is readable, as a read would: a signal restarts it where it would restart a read. */
static long wait_readable(int fd)
{
    u32 unused;

    return calls_wait(SYS_recvfrom, (u64)fd, (u64)&unused, sizeof(unused), MSG_PEEK, 0, 0);
}

static long put_count(const struct iovec *vectors, unsigned n, u32 count)
{
    u64 done = 0;

    for (unsigned i = 0; i < n && done < sizeof(count); done += vectors[i++].iov_len)
        if (copy_out((u64)vectors[i].iov_base, (u8 *)&count + done, vectors[i].iov_len) != vectors[i].iov_len)
            return -EFAULT;
    return sizeof(count);
}

enum call_answer nodes_event(struct call *call, const struct tree_node *node, const struct iovec *vectors, unsigned n)
{
    int fd = (int)call->a[0];
    u64 total = 0;
    u32 count;
    long ret;

    for (unsigned i = 0; i < n; i++)
        total += MIN((u64)vectors[i].iov_len, (u64)16);
    if (total != sizeof(count))
        return call_done(call, -EINVAL);
    while ((ret = node->class->event(node, fd, &count)) == -EAGAIN && !(sys_fcntl(fd, F_GETFL, 0) & O_NONBLOCK)) {
        ret = wait_readable(fd);
        if (ret == CALLS_AGAIN)
            return CALL_AGAIN;
        if (ret < 0)
            break;
    }
    return call_done(call, ret < 0 ? ret : put_count(vectors, n, count));
}

/* --- mmap --- */

enum call_answer nodes_map(int fd, u64 offset, u64 length, u64 *machine, int *status, long *error)
{
    struct tree_node node;
    bool gone;

    *error = 0;
    if (!tree_fd_node(fd, &node, &gone)) {
        *error = -ENODEV;
        return gone ? CALL_DONE : CALL_PASS;
    }
    *machine = offset;
    *status = (int)tree_fd_status(fd, &node);
    if (node.class != &mem_device)
        *error = node.class->map ? node.class->map(&node, offset, length, machine) : -ENODEV;
    return CALL_DONE;
}

/* --- directories --- */

#define CHUNK 32768

static bool whole_entries(const u8 *entries, size_t room, size_t *n, u64 *next)
{
    size_t at = 0;

    while (room - at >= 24) {
        u16 length;

        memcpy(&length, entries + at + 16, sizeof(length));
        if (!length || length > room - at)
            break;
        memcpy(next, entries + at + 8, sizeof(*next));
        at += length;
    }
    *n = at;
    return at != 0;
}

static long read_directory(int fd, const struct tree_node *dir, const char *path, u64 to, size_t room)
{
    u8 entries[CHUNK];
    u64 at = (u64)sys(SYS_lseek, fd, 0, SEEK_CUR), next = at;
    size_t whole;
    long n;

    if (!allowed(fd, dir, false)) /* O_PATH */
        return -EBADF;
    if (at == 0)
        tree_fill(fd, dir, path);
    n = sys_pread(fd, entries, MIN(room, sizeof(entries)), at);
    if (n <= 0)
        return n;
    if (!whole_entries(entries, (size_t)n, &whole, &next))
        return -EINVAL;
    if (!probe_write(to, entries, whole))
        return -EFAULT;
    sys(SYS_lseek, fd, next, SEEK_SET);
    return (long)whole;
}

/*
 * Directories of the host that the tree adds to: the host's entries come first, and behind them ours. How far ours were
 * read is known here, by descriptor, since the kernel's offset stays where the host's end.
 */
static struct {
    int fd; /* + 1 */
    u32 next;
} ends[64];
static u32 nends;

/* A free place, or, where so many directories are at their ends at once, somebody's. Other threads look for one, too. */
static u32 *new_end(int fd)
{
    u32 turn = __atomic_add_fetch(&nends, 1, __ATOMIC_RELAXED) % ARRAY_SIZE(ends);

    for (unsigned i = 0; i < ARRAY_SIZE(ends); i++) {
        int free = 0;

        if (__atomic_compare_exchange_n(&ends[i].fd, &free, fd + 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            turn = i;
            break;
        }
    }
    ends[turn].next = 0;
    __atomic_store_n(&ends[turn].fd, fd + 1, __ATOMIC_RELAXED);
    return &ends[turn].next;
}

static u32 *end_of(int fd, bool make)
{
    for (unsigned i = 0; i < ARRAY_SIZE(ends); i++)
        if (__atomic_load_n(&ends[i].fd, __ATOMIC_RELAXED) == fd + 1)
            return &ends[i].next;
    return make ? new_end(fd) : NULL;
}

static void drop_ends(u32 first, u32 last)
{
    for (unsigned i = 0; nends && i < ARRAY_SIZE(ends); i++) {
        int fd = __atomic_load_n(&ends[i].fd, __ATOMIC_RELAXED);

        if (fd && (u32)fd - 1 >= first && (u32)fd - 1 <= last)
            __atomic_compare_exchange_n(&ends[i].fd, &fd, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
}

void nodes_forget(u32 first, u32 last)
{
    drop_ends(first, last);
    tree_fd_forget(first, last);
}

static long read_ours(int fd, const struct tree_walk *w, u64 to, size_t room)
{
    u8 entries[CHUNK];
    u32 *next = end_of(fd, true);
    long n = dirents_more(&w->node, w->path, *next, entries, MIN(room, sizeof(entries)), next);

    return n > 0 && !probe_write(to, entries, (size_t)n) ? -EFAULT : n;
}

static long read_merged(int fd, const struct tree_walk *w, u64 to, size_t room)
{
    u8 entries[CHUNK];
    long n;

    while (!end_of(fd, false)) {
        n = sys(SYS_getdents64, fd, entries, MIN(room, sizeof(entries)));
        if (n < 0)
            return n;
        if (n == 0)
            break;
        n = (long)dirents_strip(&w->node, w->path, entries, (size_t)n);
        if (n)
            return probe_write(to, entries, (size_t)n) ? n : -EFAULT;
    }
    return read_ours(fd, w, to, room);
}

enum call_answer call_getdents(struct call *call)
{
    int fd = (int)call->a[0];
    struct tree_walk w;
    char path[TREE_PATH];

    if (!tree_fd_near(fd))
        return CALL_PASS;
    if (!tree_directory(fd, path))
        return CALL_PASS;
    tree_find(&w, AT_FDCWD, path, true);
    if (tree_fd(fd, path))
        return call_done(call, w.where != TREE_HERE            ? -ENOENT
                               : w.node.class->kind != TREE_DIR ? -ENOTDIR
                                                                : read_directory(fd, &w.node, path, call->a[1], (u32)call->a[2]));
    if (w.where != TREE_HOST || w.overlaid)
        return CALL_PASS;
    if (!w.merged) {
        if (overlay_find(w.path) != OVERLAY_DIR && strncmp(w.path, "/sys/", 5) != 0)
            return CALL_PASS;
        w.node.class = NULL; /* of the host, with what the overlay adds, and without what the tree hides */
    }
    return call_done(call, read_merged(fd, &w, call->a[1], (u32)call->a[2]));
}

/* A file ends where its size says, not where its text does, and has no holes: as of the kernel's generic_file_llseek(). */
static bool seek_from_end(struct call *call)
{
    int fd = (int)call->a[0];
    struct tree_node node;
    i64 at = (i64)call->a[1], size;
    bool gone;

    if (!tree_fd_node(fd, &node, &gone))
        return false;
    if (node.class == &mem_device || node.class == &port_device) { /* which have no end: drivers/char/mem.c, memory_lseek() */
        call_done(call, -EINVAL);
        return true;
    }
    if (node.class->kind != TREE_FILE)
        return false;
    size = (i64)tree_size(&node);
    if (call->a[2] != SEEK_END && (at < 0 || at >= size))
        call_done(call, -ENXIO);
    else
        call_done(call, sys(SYS_lseek, fd, call->a[2] == SEEK_END ? size + at : call->a[2] == SEEK_HOLE ? size : at, SEEK_SET));
    return true;
}

/* Offsets of entries that the tree adds are none of the host's. */
enum call_answer call_lseek(struct call *call)
{
    int fd = (int)call->a[0];

    if (unlikely(tree_used()) && call->a[2] >= SEEK_END && seek_from_end(call))
        return CALL_DONE;
    if (likely(!nends))
        return CALL_PASS;
    if (call->a[2] == SEEK_SET && call->a[1] >= DIRENTS_OURS && (i64)call->a[1] > 0 && tree_fd_near(fd)) {
        u32 *next = end_of(fd, true);

        *next = (u32)call->a[1];
        return call_done(call, (long)call->a[1]);
    }
    if (end_of(fd, false) && call->a[2] == SEEK_CUR && !call->a[1])
        return call_done(call, (long)(DIRENTS_OURS + *end_of(fd, false)));
    drop_ends((u32)fd, (u32)fd);
    return CALL_PASS;
}

/* --- the rest --- */

enum call_answer call_ftruncate(struct call *call)
{
    struct tree_node node;
    bool gone;

    if (!tree_fd_node((int)call->a[0], &node, &gone))
        return gone ? call_done(call, -ENODEV) : CALL_PASS;
    if (node.class->resize)
        return call_done(call, node.class->resize(&node, (int)call->a[0], call->a[1]));
    return call_done(call, node.class->kind == TREE_FILE ? 0 : -EINVAL);
}

enum call_answer call_fallocate(struct call *call)
{
    struct tree_node node;
    bool gone;
    int fd = (int)call->a[0];

    if (!tree_fd_node(fd, &node, &gone))
        return gone ? call_done(call, -ENODEV) : CALL_PASS;
    if (!node.class->allocate)
        return call_done(call, node.class->kind == TREE_FILE ? -EOPNOTSUPP : -ENODEV);
    return call_done(call, node.class->allocate(&node, fd, (int)call->a[1], call->a[2], call->a[3]));
}

/*
 * Does what the kernel moves by itself miss the node? It would end in the file in memory, or come out of it where that does
 * not have what the node has. Whoever is told so reads and writes.
 */
static bool misses(int from, int to)
{
    struct tree_node node;
    bool gone;

    if (tree_fd_node(to, &node, &gone) || gone)
        return true;
    return (tree_fd_node(from, &node, &gone) && (node.class->kind != TREE_FILE || node.class->huge || node.class->port)) || gone;
}

enum call_answer call_sendfile(struct call *call)
{
    return misses((int)call->a[1], (int)call->a[0]) ? call_done(call, -EINVAL) : CALL_PASS;
}

/* splice(2), copy_file_range(2) */
enum call_answer call_splice(struct call *call)
{
    return misses((int)call->a[0], (int)call->a[2]) ? call_done(call, -EINVAL) : CALL_PASS;
}

/* Those that the kernel answers for every file. */
static bool about_descriptor(u32 request)
{
    return request == FIOCLEX || request == FIONCLEX || request == FIONBIO || request == FIOASYNC;
}

enum call_answer call_ioctl(struct call *call)
{
    struct tree_node node;
    bool gone;

    if (!tree_fd_node((int)call->a[0], &node, &gone))
        return gone ? call_done(call, -ENODEV) : CALL_PASS;
    if (about_descriptor((u32)call->a[1]))
        return CALL_PASS;
    if (!node.class->ioctl)
        return call_done(call, -ENOTTY);
    return call_done(call, node.class->ioctl(&node, (u32)call->a[1], call->a[2]));
}
