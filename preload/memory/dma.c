#include "memory/dma.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/fds.h"
#include "base/mem.h"
#include "base/sys.h"
#include "memory/dirty.h"
#include "base/trapsafe.h"

static const struct machine_desc *desc;
static const struct view *view;
static u8 *host; /* the whole RAM file, NULL: none */
struct dma_main dma_main;

/*
 * RAM at its own address is the program's to unmap and to protect: devices
 * have a mapping of their own. It costs addresses only; where these are
 * limited, the program needs them more.
 */
static u8 *map_all(const struct machine *machine)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    u64 bytes = 0;
    long p;

    for (u32 i = 0; i < machine->desc->nbanks; i++)
        bytes += machine->desc->banks[i].range.size;
    if (!bytes || sys(SYS_prlimit64, 0, RLIMIT_AS, NULL, &limit) < 0 || limit.rlim_cur != RLIM_INFINITY)
        return NULL;
    p = (long)sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, machine->ram_fd, 0);
    if (sys_failed(p))
        return NULL;
    sys(SYS_madvise, p, bytes, MADV_DONTDUMP);
    return (u8 *)p;
}

static void find_main(struct arena *arena)
{
    struct dma_main *m = &dma_main;
    u64 offset, bit;

    memset(m, 0, sizeof(*m));
    for (u32 i = 0; host && i < view->count; i++)
        if (view->spans[i].kind == VIEW_RAM && view->spans[i].range.size > m->ram.size)
            m->ram = view->spans[i].range;
    if (m->ram.size && machine_ram_offset(desc, m->ram.base, &offset) && machine_dirty_bit(desc, m->ram.base, &bit)) {
        m->host = host + offset;
        m->dirty = arena_dirty(arena);
        m->page = bit - m->ram.base / PAGE_SIZE;
    } else {
        m->ram.size = 0;
    }
}

void dma_start(const struct machine *machine, const struct view *v)
{
    desc = machine->desc;
    view = v;
    host = map_all(machine);
    find_main(machine->arena);
}

/* How many bytes from addr on, at most len, are RAM in one piece of the file? */
static size_t ram_here(u64 addr, size_t len)
{
    struct view_span span = view_find(view, addr);

    return span.kind == VIEW_RAM ? MIN(len, range_last(span.range) - addr + 1) : 0;
}

static bool all_ram(u64 addr, size_t len)
{
    if (!range_valid((struct range){addr, len}))
        return false;
    for (size_t n; len; addr += n, len -= n) {
        n = ram_here(addr, len);
        if (!n)
            return false;
    }
    return true;
}

/* By system calls: the descriptor may have got another number since. */
static bool file_copy(u64 offset, u8 *buf, size_t n, bool write)
{
    while (n) {
        long got = sys(write ? SYS_pwrite64 : SYS_pread64, fds_get(FD_RAM), buf, n, offset);

        if (got == -EINTR)
            continue;
        if (got == -EFBIG)
            sys_drain(SIGXFSZ); /* RLIMIT_FSIZE counts for this file too */
        if (got <= 0)
            return false;
        buf += got;
        offset += (u64)got;
        n -= (size_t)got;
    }
    return true;
}

static bool copy(u64 offset, u8 *buf, size_t n, bool write)
{
    if (!host)
        return file_copy(offset, buf, n, write);
    memcpy(write ? host + offset : buf, write ? buf : host + offset, n);
    return true;
}

static bool transfer(u64 addr, u8 *buf, size_t len, bool write)
{
    if (!all_ram(addr, len))
        return false;
    for (size_t n; len; addr += n, buf += n, len -= n) {
        u64 offset;

        n = ram_here(addr, len);
        if (!machine_ram_offset(desc, addr, &offset))
            return false;
        if (write)
            dirty_mark(addr, n);
        if (!copy(offset, buf, n, write))
            return false;
    }
    return true;
}

bool dma_reaches_other(u64 addr, size_t len)
{
    return all_ram(addr, len);
}

void *dma_get_other(u64 addr, size_t *len, bool write)
{
    size_t n = ram_here(addr, *len);
    u64 offset;

    if (!host || !n || !machine_ram_offset(desc, addr, &offset))
        return NULL;
    if (write)
        dirty_mark(addr, n);
    *len = n;
    return host + offset;
}

bool dma_move_other(u64 addr, void *buf, size_t len, bool write)
{
    return transfer(addr, buf, len, write);
}
