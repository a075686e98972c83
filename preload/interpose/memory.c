/*
 * Mappings: those of /dev/mem show the machine, and what is known of aliases
 * and of RAM at its own address follows what the program does to them.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/sys.h"
#include "cpu/cpu.h"
#include "interpose/files.h"
#include "interpose/interpose.h"
#include "memory/dirty.h"
#include "trap/backtrace.h"

static struct range pages(u64 addr, u64 length)
{
    return (struct range){addr, page_up(length)};
}

/* Whole pages of the program that reach the machine, in part at least? */
static bool ours(struct range r)
{
    return !(r.base & ~PAGE_MASK) && range_valid(r) && alias_overlaps(r);
}

/* --- mmap, munmap --- */

static long map_mem(u64 addr, u64 length, int prot, int flags, int fd, u64 offset)
{
    int status = (int)sys_fcntl(fd, F_GETFL, 0);
    long got;

    if ((flags & MAP_FIXED) && ours(pages(addr, length)))
        dirty_collect_range(pages(addr, length));
    got = alias_map(interpose_machine, interpose_view, (void *)addr, length, prot, flags, status, offset);
    if (!sys_failed(got))
        dirty_track(pages((u64)got, length));
    return got;
}

/*
 * The call puts something of the program's own over what reaches the machine: what was written there is known only as
 * long as it is mapped.
 */
static long map_over(const struct call *call, struct range r)
{
    long got = -ENOMEM;

    alias_hold();
    if (alias_room()) {
        dirty_collect_range(r);
        got = call_kernel(call);
        if (!sys_failed(got))
            alias_forget(r);
    }
    alias_release();
    return got;
}

enum call_answer call_mmap(struct call *call)
{
    struct range r = pages(call->a[0], call->a[1]);
    int prot = (int)call->a[2], flags = (int)call->a[3], fd = (int)call->a[4];
    long got;

    if (!(flags & MAP_ANONYMOUS) && files_is_mem(fd))
        return call_done(call, map_mem(call->a[0], call->a[1], prot, flags, fd, call->a[5]));
    if ((flags & MAP_FIXED) && (flags & MAP_FIXED_NOREPLACE) != MAP_FIXED_NOREPLACE && ours(r))
        return call_done(call, map_over(call, r));
    if (!(prot & PROT_EXEC) || (flags & MAP_ANONYMOUS))
        return CALL_PASS;
    got = call_kernel(call);
    if (!sys_failed(got) && (flags & MAP_TYPE) == MAP_PRIVATE && !(prot & PROT_WRITE))
        calls_mapped((u64)got, call->a[1]);
    return call_done(call, got);
}

/* Other code may stand there soon: call stacks and decoded instructions are remembered by address. */
static void forget_code(void)
{
    cpu_forget();
    backtrace_forget();
}

enum call_answer call_munmap(struct call *call)
{
    struct range r = pages(call->a[0], call->a[1]);

    if (calls_unmapped(r.base, r.size))
        forget_code();
    if (!ours(r))
        return CALL_PASS;
    dirty_collect_range(r);
    return call_done(call, alias_unmap(r));
}

/* --- mremap --- */

static long remap_ours(struct range old, struct range to, int flags)
{
    long got;

    dirty_collect_range(old);
    if (flags & MREMAP_FIXED)
        dirty_collect_range(to);
    got = alias_remap(interpose_machine, interpose_view, old, to.size, flags, to.base);
    if (!sys_failed(got) && (u64)got != old.base)
        dirty_track((struct range){(u64)got, to.size});
    return got;
}

enum call_answer call_mremap(struct call *call)
{
    int flags = (int)call->a[3];
    struct range to = pages(call->a[4], call->a[2]);

    if (ours(pages(call->a[0], call->a[1] ? call->a[1] : 1)))
        return call_done(call, remap_ours(pages(call->a[0], call->a[1]), to, flags));
    if ((flags & MREMAP_FIXED) && ours(to))
        return call_done(call, map_over(call, to));
    return CALL_PASS;
}

/* --- mprotect, madvise --- */

enum call_answer call_mprotect(struct call *call)
{
    struct range r = pages(call->a[0], call->a[1]);
    int prot = (int)call->a[2];

    if ((prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC)) || !ours(r))
        return CALL_PASS;
    return call_done(call, dirty_protect(r, prot));
}

static long advise_fork(const struct call *call, struct range r)
{
    long ret;

    alias_hold();
    ret = call_kernel(call);
    if (ret == 0)
        alias_fork(r, (int)call->a[2] == MADV_DOFORK);
    alias_release();
    return ret;
}

enum call_answer call_madvise(struct call *call)
{
    struct range r = pages(call->a[0], call->a[1]);
    int advice = (int)call->a[2];

    if (!ours(r))
        return CALL_PASS;
    if (advice == MADV_DONTFORK || advice == MADV_DOFORK)
        return call_done(call, advise_fork(call, r));
    if (advice == MADV_REMOVE && alias_sealed(r))
        return call_done(call, -EACCES);
    /* What changes RAM or makes it writable; to all other advice it is a file like any other. */
    if (advice == MADV_REMOVE || advice == MADV_POPULATE_WRITE)
        dirty_touch(r);
    return CALL_PASS;
}
