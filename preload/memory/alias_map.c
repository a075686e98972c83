/* Mappings of /dev/mem: what the program's mmap and mremap make of the machine. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/sys.h"
#include "memory/ram.h"

/* --- mmap of /dev/mem --- */

/* What MAP_SHARED_VALIDATE knows, mmap(2): all flags that are older. Source: Linux, include/linux/mman.h, LEGACY_MAP_MASK. */
#define OLD_FLAGS \
    (MAP_TYPE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE | MAP_EXECUTABLE | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | \
     MAP_POPULATE | MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | MAP_32BIT)
#define PLACE_FLAGS (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT)
#define PAGE_FLAGS  (MAP_LOCKED | MAP_POPULATE | MAP_NONBLOCK)

struct mapping {
    const struct machine *machine;
    int flags;
    long error;
};

static void map_stretch(void *context, const struct stretch *s)
{
    struct mapping *m = context;
    long got;

    if (m->error)
        return;
    got = (long)sys_mmap((void *)s->addr, s->ram.size, s->prot,
                         (s->shared ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED | MAP_NORESERVE | m->flags,
                         m->machine->ram_fd, s->file_offset);
    if (sys_failed(got))
        m->error = got;
}

/* Maps what `a` says, but for its address; aliases held. Address, or -errno. */
static long map(const struct machine *machine, const struct view *view, void *addr, struct alias a, int flags)
{
    struct mapping m = {machine, flags & PAGE_FLAGS, 0};
    long base;

    if (!alias_room())
        return -ENOMEM;
    base = (long)sys_mmap(addr, a.range.size, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (flags & PLACE_FLAGS), -1, 0);
    if (sys_failed(base))
        return base;
    a.range.base = (u64)base;
    m.error = alias_add(&a);
    if (m.error) {
        sys_munmap((void *)base, a.range.size);
        return m.error;
    }
    alias_stretches(view, machine->desc, &a, map_stretch, &m);
    if (m.error)
        alias_unmap(a.range);
    return m.error ? m.error : base;
}

/* What mmap(2) refuses whatever there is. */
static long map_refused(u64 length, int prot, int flags, int status, u64 offset)
{
    int type = flags & MAP_TYPE;

    if (status < 0 || (status & O_PATH))
        return -EBADF;
    if ((offset & ~PAGE_MASK) || !length)
        return -EINVAL;
    if (!range_of_program((struct range){length, 1}).size)
        return -ENOMEM;
    if (type == MAP_SHARED_VALIDATE && (flags & ~OLD_FLAGS))
        return -EOPNOTSUPP;
    if (type == MAP_SHARED || type == MAP_SHARED_VALIDATE) {
        if ((prot & PROT_WRITE) && (status & O_ACCMODE) != O_RDWR)
            return -EACCES;
    } else if (type != MAP_PRIVATE) {
        return -EINVAL;
    }
    if ((status & O_ACCMODE) == O_WRONLY)
        return -EACCES;
    return range_valid((struct range){offset, page_up(length)}) ? 0 : -EINVAL;
}

long alias_map(const struct machine *machine, const struct view *view, void *addr, u64 length, int prot, int flags,
               int status, u64 offset)
{
    struct alias a = {.range = {0, page_up(length)}, .machine = offset, .prot = prot};
    long ret = map_refused(length, prot, flags, status, offset);

    if (ret < 0)
        return ret;
    a.shared = (flags & MAP_TYPE) != MAP_PRIVATE;
    a.sealed = a.shared && (status & O_ACCMODE) == O_RDONLY;
    alias_hold();
    ret = map(machine, view, addr, a, flags);
    alias_release();
    return ret;
}

/* --- mremap --- */

struct mover {
    u64 from, to; /* what is at `from` goes to `to`, piece by piece */
    u64 done;     /* bytes from the start of what moves */
    u64 limit;    /* no further than this */
    long error;
};

static void move_stretch(void *context, const struct stretch *s)
{
    struct mover *m = context;
    u64 at = s->addr - m->from;
    long got;

    if (m->error || at >= m->limit)
        return;
    got = sys(SYS_mremap, s->addr, s->ram.size, s->ram.size, MREMAP_MAYMOVE | MREMAP_FIXED, m->to + at);
    if (sys_failed(got))
        m->error = got;
    else
        m->done = at + s->ram.size;
}

/* Pages of a private mapping that were written exist nowhere else: they move themselves, all or none. */
static long move_private(const struct machine *machine, const struct view *view, struct alias a, u64 to)
{
    struct mover m = {.from = a.range.base, .to = to, .limit = a.range.size};
    struct mover back = {.from = to, .to = a.range.base};

    alias_stretches(view, machine->desc, &a, move_stretch, &m);
    if (!m.error)
        return 0;
    back.limit = m.done;
    a.range.base = to;
    alias_stretches(view, machine->desc, &a, move_stretch, &back);
    return m.error;
}

/* Is every byte of it in the table, in one piece of the machine? */
static bool in_one(struct range range)
{
    struct alias first = {.range = {0, 0}}, part;
    u64 at = range.base, next = at;

    while (alias_walk(range, &at, &part)) {
        if (!first.range.size)
            first = part;
        if (part.range.base != next || part.shared != first.shared ||
            part.machine - first.machine != part.range.base - first.range.base)
            return false;
        next = at;
    }
    return next - range.base == range.size;
}

static long move_to(const struct machine *machine, const struct view *view, struct range from, u64 to)
{
    struct alias part;
    u64 at = from.base;
    long ret = 0;

    while (!sys_failed(ret) && alias_walk(from, &at, &part)) {
        u64 there = to + (part.range.base - from.base);

        ret = map(machine, view, (void *)there, part, MAP_FIXED);
        if (!sys_failed(ret) && !part.shared)
            ret = move_private(machine, view, part, there);
    }
    if (sys_failed(ret)) {
        alias_unmap((struct range){to, from.size});
        return ret;
    }
    return 0;
}

/* What mremap(2) refuses, in the order of the kernel. */
static long remap_refused(struct range old, u64 size, int flags, struct range to)
{
    if ((flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED)) || ((flags & MREMAP_FIXED) && !(flags & MREMAP_MAYMOVE)) || !size)
        return -EINVAL;
    if ((flags & MREMAP_FIXED) && ((to.base & ~PAGE_MASK) || !range_of_program(to).size || range_overlaps(old, to)))
        return -EINVAL;
    /* As a mapping of a device: it does not grow, nor is it doubled (old size 0). */
    return size > old.size || !in_one(old) ? -EFAULT : 0;
}

static long remap(const struct machine *machine, const struct view *view, struct range old, u64 size, int flags, u64 to)
{
    long ret = remap_refused(old, size, flags, (struct range){to, size});

    if (ret < 0)
        return ret;
    if (!(flags & MREMAP_FIXED)) {
        if (size < old.size)
            ret = alias_unmap((struct range){old.base + size, old.size - size});
        return ret < 0 ? ret : (long)old.base;
    }
    ret = move_to(machine, view, (struct range){old.base, size}, to);
    if (ret == 0)
        ret = alias_unmap(old);
    return ret < 0 ? ret : (long)to;
}

long alias_remap(const struct machine *machine, const struct view *view, struct range old, u64 size, int flags, u64 to)
{
    long ret;

    alias_hold();
    ret = remap(machine, view, old, size, flags, to);
    alias_release();
    return ret;
}
