/* Mappings: those of /dev/mem show the machine, and aliases follow what the program does to them. */
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

static void *map_mem(void *addr, size_t length, int prot, int flags, int fd, u64 offset)
{
    int access = (int)sys_fcntl(fd, F_GETFL, 0) & O_ACCMODE;
    u64 mask;
    long got;

    /* mmap(2): the descriptor must be open for reading, and for writing where a shared mapping is to be written. */
    if (access == O_WRONLY || (access != O_RDWR && (prot & PROT_WRITE) && (flags & MAP_TYPE) != MAP_PRIVATE))
        return (void *)interpose_result(-EACCES);

    signals_mask(&mask);
    got = alias_map(interpose_machine, interpose_view, addr, length, prot, flags, offset);
    if (got > 0 || got < -4095)
        dirty_track_alias((struct range){(u64)got, length});
    signals_restore(&mask);
    got = interpose_result(got);
    return got == -1 ? MAP_FAILED : (void *)got;
}

/* Before aliases go: what was written through them is known only as long as they are mapped. */
static void forget(void *addr, size_t length)
{
    u64 mask;

    if (!interpose_machine || ((u64)addr & ~PAGE_MASK) || !alias_overlaps((struct range){(u64)addr, page_up(length)}))
        return;
    signals_mask(&mask);
    dirty_collect();
    alias_forget((u64)addr, length);
    signals_restore(&mask);
}

EXPORT void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    void *got;

    if (interpose_machine && !(flags & MAP_ANONYMOUS) && files_is_mem(fd))
        return map_mem(addr, length, prot, flags, fd, (u64)offset);
    got = REAL(mmap)(addr, length, prot, flags, fd, offset);
    if (got != MAP_FAILED && (flags & MAP_FIXED))
        forget(got, length);
    return got;
}

EXPORT void *mmap64(void *addr, size_t length, int prot, int flags, int fd, off64_t offset)
{
    return mmap(addr, length, prot, flags, fd, offset);
}

EXPORT int munmap(void *addr, size_t length)
{
    forget(addr, length);
    return REAL(munmap)(addr, length);
}

/* Trapped pages stay without access, whatever the program asks for; what it asked for is remembered for aliases. */
static int protect_pages(void *addr, size_t length, int prot)
{
    for (u64 at = (u64)addr, end = at + page_up(length); at < end; at += PAGE_SIZE) {
        struct alias a = {.machine = at};
        bool alias = alias_find(at, &a);
        u64 machine = alias ? a.machine + (at - a.range.base) : at;

        if (view_trapped(interpose_view, machine) ||
            (alias && view_find(interpose_view, machine).kind != VIEW_RAM))
            continue;
        if (REAL(mprotect)((void *)at, PAGE_SIZE, prot) < 0)
            return -1;
    }
    return 0;
}

static bool any_of_ours(u64 addr, u64 length)
{
    struct range r = {addr, length};

    return view_trapped_any(interpose_view, r) || alias_overlaps(r);
}

EXPORT int mprotect(void *addr, size_t length, int prot)
{
    u64 mask;
    int ret;

    if (!interpose_machine || ((u64)addr & ~PAGE_MASK) || !any_of_ours((u64)addr, page_up(length)))
        return REAL(mprotect)(addr, length, prot);
    signals_mask(&mask);
    ret = alias_protect(interpose_view, (u64)addr, length, prot) ? 0 : protect_pages(addr, length, prot);
    signals_restore(&mask);
    return ret;
}
