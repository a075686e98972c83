/*
 * Mappings: those of /dev/mem show the machine, and what is known of aliases
 * follows what the program maps and unmaps there.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/sys.h"
#include "cpu/cpu.h"
#include "interpose/interpose.h"
#include "interpose/huge.h"
#include "interpose/memory.h"
#include "interpose/nodes.h"
#include "memory/dirty.h"
#include "patch/patch.h"
#include "trap/backtrace.h"

/* --- mmap, munmap --- */

/* Status: as of F_GETFL. */
static long map_mem(struct range where, u64 length, int prot, int flags, int status, u64 offset)
{
    long got;

    if ((flags & MAP_FIXED) && call_on_machine(where))
        dirty_collect_range(where);
    got = alias_map(interpose_machine, interpose_view, (void *)where.base, length, prot, flags, status, offset);
    if (!sys_failed(got))
        dirty_track(call_pages((u64)got, length));
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

/* What of a mapping is there to be read: beyond the end of its file is SIGBUS, and what only runs may be unreadable. */
static u64 readable(const struct call *call)
{
    struct stat st = {0};

    if (!((int)call->a[2] & PROT_READ) || sys_fstat((int)call->a[4], &st) < 0 || st.st_size <= 0 ||
        call->a[5] >= (u64)st.st_size)
        return 0;
    return MIN(call->a[1], (u64)st.st_size - call->a[5]);
}

enum call_answer call_mmap(struct call *call)
{
    struct range r = call_pages(call->a[0], call->a[1]);
    int prot = (int)call->a[2], flags = (int)call->a[3], fd = (int)call->a[4];
    bool code = (flags & (MAP_ANONYMOUS | MAP_TYPE)) == MAP_PRIVATE && (prot & (PROT_EXEC | PROT_WRITE)) == PROT_EXEC;
    bool over = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) == MAP_FIXED && call_on_machine(r);
    long got;
    u64 text, machine_addr;
    int status;

    if (huge_mmap(call))
        return CALL_DONE;
    if (!(flags & MAP_ANONYMOUS) && nodes_map(fd, call->a[5], call->a[1], &machine_addr, &status, &got) == CALL_DONE)
        return call_done(call, got ? got : map_mem(r, call->a[1], prot, flags, status, machine_addr));
    if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) == MAP_FIXED)
        patch_forget(r.base, r.size);
    if (!over && !code)
        return CALL_PASS;
    got = over ? map_over(call, r) : call_kernel(call);
    if (!sys_failed(got) && code && (text = readable(call)))
        calls_mapped((u64)got, text);
    return call_done(call, got);
}

/* A segment's size is known to the kernel alone. Without SHM_REMAP it is put over nothing. */
enum call_answer call_shmat(struct call *call)
{
    u64 addr = call->a[2] & SHM_RND ? page_down(call->a[1]) : call->a[1];
    struct shmid_ds segment = {0};
    struct range r;

    if (!(call->a[2] & SHM_REMAP) || sys(SYS_shmctl, call->a[0], IPC_STAT, &segment) < 0)
        return CALL_PASS;
    r = call_pages(addr, segment.shm_segsz);
    return call_on_machine(r) ? call_done(call, map_over(call, r)) : CALL_PASS;
}

/* Are all bytes of it in shared aliases, by a descriptor for writing, with one protection? */
static bool shared_alike(struct range r, int *prot)
{
    u64 at = r.base, next = at;
    struct alias part;

    while (alias_walk(r, &at, &part)) {
        if (part.range.base == r.base)
            *prot = part.prot;
        if (part.range.base != next || !part.shared || part.sealed || part.prot != *prot)
            return false;
        next = at;
    }
    return next - r.base == r.size;
}

/* Another place of the machine at the same address, remap_file_pages(2). */
enum call_answer call_remap_file_pages(struct call *call)
{
    struct range r = {page_down(call->a[0]), page_down(call->a[1])};
    int prot = 0;
    long got;

    if (!call_on_machine(r))
        return CALL_PASS;
    if (call->a[2] || call->a[3] > UINT64_MAX / PAGE_SIZE || !shared_alike(r, &prot))
        return call_done(call, -EINVAL);
    got = map_mem(r, r.size, prot, MAP_SHARED | MAP_FIXED, O_RDWR, call->a[3] * PAGE_SIZE);
    return call_done(call, sys_failed(got) ? got : 0);
}

/* Other code may stand there soon: call stacks and decoded instructions are remembered by address. */
static void forget_code(void)
{
    cpu_forget();
    backtrace_forget();
}

enum call_answer call_munmap(struct call *call)
{
    struct range r = call_pages(call->a[0], call->a[1]);

    bool machine = call_on_machine(r);
    long ret;

    patch_forget(r.base, r.size);

    if (!machine && !calls_code(r.base, r.size))
        return CALL_PASS;
    if (machine && huge_torn(r))
        return call_done(call, -EINVAL);
    if (machine)
        dirty_collect_range(r);
    ret = machine ? alias_unmap(r) : call_kernel(call);
    if (ret == 0 && calls_code(r.base, r.size)) {
        calls_unmapped(r.base, r.size);
        forget_code();
    }
    return call_done(call, ret);
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
    struct range to = call_pages(call->a[4], call->a[2]);

    patch_take_back(call->a[0], call->a[1]);
    if (flags & MREMAP_FIXED)
        patch_forget(to.base, to.size);

    if (call_on_machine(call_pages(call->a[0], call->a[1] ? call->a[1] : 1)))
        return call_done(call, remap_ours(call_pages(call->a[0], call->a[1]), to, flags));
    if ((flags & MREMAP_FIXED) && call_on_machine(to))
        return call_done(call, map_over(call, to));
    return CALL_PASS;
}
