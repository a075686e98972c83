/*
 * mmap(2) of huge pages: each page is an alias of a page of the machine's pool, or a run of pages is, on addresses that
 * are multiples of 2 MiB. Private mappings have pages of their own, filled when they are made; so they have an address
 * that devices can use, too. Source: Linux, fs/hugetlbfs/inode.c, mm/mmap.c (ksys_mmap_pgoff).
 */
#include "interpose/huge.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/sys.h"
#include "interpose/memory.h"
#include "memory/dirty.h"
#include "memory/dma.h"
#include "memory/huge.h"
#include "patch/patch.h"
#include "trap/thread.h"
#include "tree/tree.h"

#define SIZE_BITS(flags) (((flags) >> MAP_HUGE_SHIFT) & MAP_HUGE_MASK)
#define PAGE_FLAGS       (MAP_LOCKED | MAP_POPULATE | MAP_NONBLOCK)

struct mapping {
    struct range where; /* as the program asked */
    int prot, flags;
    int fd, status; /* fd -1: anonymous */
    u32 file;  /* number; 0: not made yet */
    u64 first; /* page of the file */
    u64 pages; /* that there are; what is mapped beyond them is beyond the end of the file */
    u64 base;  /* where it is */
};

static const struct lock_self *self(void)
{
    return &thread_self()->self;
}

/* --- addresses --- */

static long reserve_at(u64 addr, u64 length, int flags)
{
    return (long)sys_mmap((void *)addr, length, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (flags & (MAP_FIXED_NOREPLACE | MAP_32BIT)), -1, 0);
}

/* Anywhere: more than is needed, less what is too much. */
static long reserve(u64 length, int flags)
{
    u64 slack = HUGE_SIZE - PAGE_SIZE, before;
    long got = reserve_at(0, length + slack, flags & MAP_32BIT);

    if (sys_failed(got))
        return got;
    before = -(u64)got & ~HUGE_MASK;
    if (before)
        sys_munmap((void *)got, before);
    if (before < slack)
        sys_munmap((void *)((u64)got + before + length), slack - before);
    return got + (long)before;
}

static long find_place(const struct mapping *m)
{
    u64 hint = m->where.base > HUGE_MASK ? 0 : (m->where.base + HUGE_SIZE - 1) & HUGE_MASK;
    long got;

    if (m->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        if (m->where.base & ~HUGE_MASK)
            return -EINVAL;
        return (m->flags & MAP_FIXED_NOREPLACE) ? reserve_at(m->where.base, m->where.size, m->flags) : (long)m->where.base;
    }
    if (hint) {
        got = reserve_at(hint, m->where.size, MAP_FIXED_NOREPLACE);
        if (!sys_failed(got) && (u64)got == hint)
            return got;
        if (!sys_failed(got))
            sys_munmap((void *)got, m->where.size);
    }
    return reserve(m->where.size, m->flags);
}

/* --- pages --- */

/* How many pages from there on lie one behind the other. */
static u64 run_of(const struct mapping *m, u64 at)
{
    u64 addr = huge_page_at(m->file, m->first + at), n = 1;

    while (at + n < m->pages && huge_page_at(m->file, m->first + at + n) == addr + (n << HUGE_SHIFT))
        n++;
    return n;
}

static long map_run(const struct mapping *m, u64 at, u64 n)
{
    return alias_map(interpose_machine, interpose_view, (void *)(m->base + (at << HUGE_SHIFT)), n << HUGE_SHIFT, m->prot,
                     MAP_SHARED | MAP_FIXED | (m->flags & PAGE_FLAGS), m->status, huge_page_at(m->file, m->first + at));
}

/* Beyond the end of the file is SIGBUS, as there is in the file that the descriptor is of. */
static long map_beyond(const struct mapping *m)
{
    u64 rest = m->where.size - (m->pages << HUGE_SHIFT);

    if (!rest || m->fd < 0)
        return 0;
    return (long)sys_mmap((void *)(m->base + (m->pages << HUGE_SHIFT)), rest, m->prot, MAP_SHARED | MAP_FIXED, m->fd,
                          (m->first + m->pages) << HUGE_SHIFT);
}

static long map_pages(const struct mapping *m)
{
    struct range mapped = {m->base, m->pages << HUGE_SHIFT};
    bool own = (m->flags & MAP_TYPE) == MAP_PRIVATE;
    long got = 0;

    for (u64 at = 0, n; at < m->pages && !sys_failed(got); at += n) {
        n = run_of(m, at);
        got = map_run(m, at, n);
    }
    if (!sys_failed(got))
        got = map_beyond(m);
    if (!sys_failed(got) && mapped.size)
        got = alias_set_huge(mapped, own ? ALIAS_OWN : ALIAS_HUGE);
    if (sys_failed(got)) {
        alias_unmap((struct range){m->base, m->where.size});
        return got;
    }
    if (mapped.size)
        dirty_track(mapped);
    return 0;
}

/* Pages of a file's own, with what is in the file that is mapped privately. */
static void copy_pages(u32 from, u64 first, u32 to, u64 pages)
{
    u8 buf[PAGE_SIZE];

    for (u64 i = 0; i < pages; i++) {
        u64 source = huge_page_at(from, first + i), target = huge_page_at(to, i);

        for (u64 at = 0; source && at < HUGE_SIZE; at += PAGE_SIZE)
            if (dma_read(source + at, buf, PAGE_SIZE))
                dma_write(target + at, buf, PAGE_SIZE);
    }
}

static long make_own(struct mapping *m)
{
    long number = huge_make(0, NULL, HUGE_FILE, 0600);

    if (number < 0)
        return -ENOMEM;
    if (huge_fill((u32)number, 0, m->pages) < 0) {
        huge_drop((u32)number);
        return -ENOMEM;
    }
    if (m->file)
        copy_pages(m->file, m->first, (u32)number, m->pages);
    m->file = (u32)number;
    m->first = 0;
    return 0;
}

/* A mapping that may be written makes the file as long as it is. */
static void grow(struct mapping *m)
{
    struct huge_file *f = huge_file(m->file);
    u64 end = (m->first << HUGE_SHIFT) + m->where.size;

    if ((m->prot & PROT_WRITE) && f->size < end && (m->status & O_ACCMODE) == O_RDWR && sys(SYS_ftruncate, m->fd, end) == 0)
        f->size = end;
    m->pages = MIN(m->where.size >> HUGE_SHIFT,
                   f->size >> HUGE_SHIFT > m->first ? (f->size >> HUGE_SHIFT) - m->first : 0);
}

static long map_held(struct mapping *m)
{
    bool own = m->fd < 0 || (m->flags & MAP_TYPE) == MAP_PRIVATE;
    long ret;

    m->pages = m->where.size >> HUGE_SHIFT;
    if (m->file && !huge_file(m->file))
        return -ENODEV;
    if (m->file)
        grow(m);
    ret = own ? make_own(m) : huge_fill(m->file, m->first, m->pages);
    if (ret < 0)
        return ret;
    if (own)
        m->status = O_RDWR;
    ret = find_place(m);
    if (!sys_failed(ret)) {
        m->base = (u64)ret;
        ret = map_pages(m);
    }
    if (sys_failed(ret) && own)
        huge_drop(m->file);
    return ret;
}

/* What mmap(2) refuses whatever there is. */
static long refused(const struct mapping *m, u64 offset, u64 length)
{
    int type = m->flags & MAP_TYPE;

    if (m->status < 0 || (m->status & O_PATH))
        return -EBADF;
    if (!length || (offset & ~HUGE_MASK))
        return -EINVAL;
    if (!range_of_program((struct range){length, 1}).size || offset > ((u64)UINT32_MAX << HUGE_SHIFT))
        return -ENOMEM;
    if (type != MAP_SHARED && type != MAP_SHARED_VALIDATE && type != MAP_PRIVATE)
        return -EINVAL;
    if ((m->status & O_ACCMODE) == O_WRONLY)
        return -EACCES;
    return type != MAP_PRIVATE && (m->prot & PROT_WRITE) && (m->status & O_ACCMODE) != O_RDWR ? -EACCES : 0;
}

static long map(struct mapping *m, u64 offset, u64 length)
{
    bool fixed = (m->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) == MAP_FIXED;
    long ret = refused(m, offset, length);

    if (ret < 0)
        return ret;
    m->where.size = (length + HUGE_SIZE - 1) & HUGE_MASK;
    m->first = offset >> HUGE_SHIFT;
    if (fixed) {
        patch_forget(m->where.base, m->where.size);
        if (call_on_machine(m->where))
            dirty_collect_range(m->where);
    }
    huge_hold(self());
    ret = map_held(m);
    huge_let_go(self());
    return ret < 0 ? ret : (long)m->base;
}

bool huge_mmap(struct call *call)
{
    struct mapping m = {.where = {call->a[0], 0}, .prot = (int)call->a[2], .flags = (int)call->a[3], .fd = -1,
                        .status = O_RDWR};
    struct tree_node node;
    bool gone;

    if (m.flags & MAP_ANONYMOUS) {
        if (!(m.flags & MAP_HUGETLB))
            return false;
        call_done(call, SIZE_BITS(m.flags) && SIZE_BITS(m.flags) != HUGE_SHIFT ? -EINVAL : map(&m, 0, call->a[1]));
        return true;
    }
    m.fd = (int)call->a[4];
    if (!tree_fd_node(m.fd, &node, &gone) || !node.class->huge)
        return false;
    m.file = node.a;
    m.status = (int)sys_fcntl(m.fd, F_GETFL, 0);
    call_done(call, map(&m, call->a[5], call->a[1]));
    return true;
}

/* --- munmap, fork --- */

static bool torn_at(u64 addr)
{
    struct alias a;

    return (addr & ~HUGE_MASK) && alias_find(addr, &a) && a.huge && a.range.base < addr;
}

bool huge_torn(struct range r)
{
    struct alias part;
    u64 at = r.base;

    while (alias_walk(r, &at, &part))
        if (part.huge)
            huge_unmapped();
    return torn_at(r.base) || torn_at(r.base + r.size);
}

static void copy_own(const struct alias *a)
{
    long got = alias_map(interpose_machine, interpose_view, (void *)a->range.base, a->range.size, a->prot,
                         MAP_PRIVATE | MAP_FIXED, O_RDWR, a->machine);

    if (!sys_failed(got))
        alias_set_huge(a->range, ALIAS_OWN);
}

/* What the child writes is its own. Until then a page shows what the parent writes there, which no real copy does. */
void huge_after_fork(void)
{
    struct range all = {0, (u64)1 << 63};
    struct alias part;
    u64 at = 0;

    while (alias_walk(all, &at, &part))
        if (part.huge == ALIAS_OWN && part.shared)
            copy_own(&part);
}

/* --- memfd_create --- */

/* One whose pages are huge: named as the kernel's links tell of it. */
static long make_memfd(const char *name, u64 flags)
{
    char path[260];
    struct fmt f = {.buf = path, .cap = 230};
    struct stat st = {0};
    long fd, number;

    fmt_str(&f, "/memfd:");
    fmt_str(&f, name);
    f.cap = sizeof(path);
    fmt_str(&f, " (deleted)");
    fd = tree_file(fmt_end(&f), (unsigned)(flags & (MFD_CLOEXEC | MFD_ALLOW_SEALING)));
    if (fd < 0)
        return fd;
    sys_fstat((int)fd, &st);
    huge_hold(self());
    number = huge_make(0, NULL, HUGE_FILE, 0777);
    if (number > 0) {
        huge_file((u32)number)->dev = st.st_dev;
        huge_file((u32)number)->ino = st.st_ino;
    }
    huge_let_go(self());
    if (number < 0)
        sys_close((int)fd);
    return number < 0 ? number : fd;
}

enum call_answer call_memfd_create(struct call *call)
{
    u64 flags = call->a[1], size = (flags >> MFD_HUGE_SHIFT) & MFD_HUGE_MASK;
    char name[250];

    if (!(flags & MFD_HUGETLB))
        return CALL_PASS;
    if ((flags & ~((u64)MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | ((u64)MFD_HUGE_MASK << MFD_HUGE_SHIFT))) ||
        !interpose_string(call->a[0], name, sizeof(name)))
        return CALL_PASS; /* the kernel says what is wrong */
    if (size && size != HUGE_SHIFT)
        return call_done(call, -ENODEV);
    return call_done(call, make_memfd(name, flags));
}
