/*
 * Mappings: those of /dev/mem show the machine, and what is known of aliases
 * and of RAM at its own address follows what the program does to them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/sys.h"
#include "interpose/files.h"
#include "interpose/interpose.h"
#include "memory/dirty.h"
#include "trap/thread.h"

static struct range pages(const void *addr, size_t length)
{
    return (struct range){(u64)addr, page_up(length)};
}

/* Whole pages of the program that reach the machine, in part at least? */
static bool ours(struct range r)
{
    return interpose_machine && !(r.base & ~PAGE_MASK) && range_valid(r) && alias_overlaps(r);
}

static void *pointer(long got)
{
    got = interpose_result(got);
    return got == -1 ? MAP_FAILED : (void *)got;
}

/* --- mmap, munmap --- */

static void *map_mem(void *addr, size_t length, int prot, int flags, int fd, u64 offset)
{
    int access = (int)sys_fcntl(fd, F_GETFL, 0) & O_ACCMODE;
    u64 mask;
    long got;

    /* mmap(2): the descriptor must be open for reading, and for writing where a shared mapping is to be written. */
    if (access == O_WRONLY || (access != O_RDWR && (prot & PROT_WRITE) && (flags & MAP_TYPE) != MAP_PRIVATE))
        return (void *)interpose_result(-EACCES);

    signals_mask(&mask);
    if ((flags & MAP_FIXED) && ours(pages(addr, length)))
        dirty_collect_range(pages(addr, length));
    got = alias_map(interpose_machine, interpose_view, addr, length, prot, flags, offset);
    if (!sys_failed(got))
        dirty_track(pages((void *)got, length));
    signals_restore(&mask);
    return pointer(got);
}

/* Something of the program's own over what reaches the machine: what was written there is known only as long as it is mapped. */
static void *map_over(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    void *got = MAP_FAILED;
    u64 mask;

    signals_mask(&mask);
    if (alias_room()) {
        dirty_collect_range(pages(addr, length));
        got = REAL(mmap)(addr, length, prot, flags, fd, offset);
        if (got != MAP_FAILED)
            alias_forget(pages(addr, length));
    } else {
        interpose_result(-ENOMEM);
    }
    signals_restore(&mask);
    return got;
}

EXPORT void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    if (interpose_machine && !(flags & MAP_ANONYMOUS) && files_is_mem(fd))
        return map_mem(addr, length, prot, flags, fd, (u64)offset);
    if ((flags & MAP_FIXED) && !(flags & MAP_FIXED_NOREPLACE) && ours(pages(addr, length)))
        return map_over(addr, length, prot, flags, fd, offset);
    return REAL(mmap)(addr, length, prot, flags, fd, offset);
}

EXPORT void *mmap64(void *addr, size_t length, int prot, int flags, int fd, off64_t offset)
{
    return mmap(addr, length, prot, flags, fd, offset);
}

EXPORT int munmap(void *addr, size_t length)
{
    struct range r = pages(addr, length);
    u64 mask;
    long ret;

    if (!ours(r))
        return REAL(munmap)(addr, length);
    signals_mask(&mask);
    dirty_collect_range(r);
    ret = alias_unmap(r);
    signals_restore(&mask);
    return (int)interpose_result(ret);
}

/* --- mremap --- */

static void *remap_ours(struct range old, struct range to, int flags)
{
    u64 mask;
    long got;

    signals_mask(&mask);
    dirty_collect_range(old);
    if (flags & MREMAP_FIXED)
        dirty_collect_range(to);
    got = alias_remap(interpose_machine, interpose_view, old, to.size, flags, to.base);
    if (!sys_failed(got) && (u64)got != old.base)
        dirty_track(to);
    signals_restore(&mask);
    return pointer(got);
}

/* A mapping of the program's own moves to where the machine was reached. */
static void *remap_over(void *old, size_t old_length, size_t length, int flags, void *to)
{
    void *got = MAP_FAILED;
    u64 mask;

    signals_mask(&mask);
    if (alias_room()) {
        dirty_collect_range(pages(to, length));
        got = REAL(mremap)(old, old_length, length, flags, to);
        if (got != MAP_FAILED)
            alias_forget(pages(to, length));
    } else {
        interpose_result(-ENOMEM);
    }
    signals_restore(&mask);
    return got;
}

EXPORT void *mremap(void *old, size_t old_length, size_t length, int flags, ...)
{
    void *to = NULL;
    va_list list;

    /* As libc does: the address is passed with these flags alone. */
    if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
        va_start(list, flags);
        to = va_arg(list, void *);
        va_end(list);
    }
    if (ours(pages(old, old_length ? old_length : 1)))
        return remap_ours(pages(old, old_length), pages(to, length), flags);
    if ((flags & MREMAP_FIXED) && ours(pages(to, length)))
        return remap_over(old, old_length, length, flags, to);
    return REAL(mremap)(old, old_length, length, flags, to);
}

/* --- mprotect --- */

struct protector {
    int prot;
    int ret;
};

static void protect_piece(void *context, struct range piece, u64 file_offset)
{
    struct protector *p = context;

    (void)file_offset;
    if (p->ret == 0)
        p->ret = REAL(mprotect)((void *)piece.base, piece.size, p->prot);
}

/* What of a range is no alias: pages with windows stay without access, whatever the program asks for; the rest is its own. */
static int protect_others(struct range r, int prot)
{
    struct protector p = {prot, 0};
    u64 from = r.base, at = from;
    struct alias part;

    while (p.ret == 0 && alias_walk(r, &at, &part)) {
        if (part.range.base > from)
            ram_untrapped(interpose_view, (struct range){from, part.range.base - from}, 0, protect_piece, &p);
        from = at;
    }
    if (p.ret == 0 && from - r.base < r.size)
        ram_untrapped(interpose_view, (struct range){from, r.size - (from - r.base)}, 0, protect_piece, &p);
    return p.ret;
}

static int protect_ours(struct range r, int prot)
{
    long ret = alias_protect(r, prot);

    if (ret == 0)
        ret = dirty_protect(r);
    return ret < 0 ? (int)interpose_result(ret) : protect_others(r, prot);
}

EXPORT int mprotect(void *addr, size_t length, int prot)
{
    struct range r = pages(addr, length);
    u64 mask;
    int ret;

    if (!interpose_machine || (r.base & ~PAGE_MASK) || !range_valid(r) || !r.size ||
        (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC)) || (!ours(r) && !view_trapped_any(interpose_view, r)))
        return REAL(mprotect)(addr, length, prot);
    signals_mask(&mask);
    ret = protect_ours(r, prot);
    signals_restore(&mask);
    return ret;
}
