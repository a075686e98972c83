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
static struct range main_ram; /* the largest piece of RAM in one; no map of this process changes */
static u8 *main_host;         /* and where it is; NULL: none */

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

static void find_main(void)
{
    u64 offset;

    main_ram.size = 0;
    main_host = NULL;
    for (u32 i = 0; i < view->count; i++)
        if (view->spans[i].kind == VIEW_RAM && view->spans[i].range.size > main_ram.size)
            main_ram = view->spans[i].range;
    if (host && main_ram.size && machine_ram_offset(desc, main_ram.base, &offset))
        main_host = host + offset;
}

void dma_start(const struct machine *machine, const struct view *v)
{
    desc = machine->desc;
    view = v;
    host = map_all(machine);
    find_main();
}

/* Almost all there is, without a search. */
static inline u8 *in_main(u64 addr, size_t len)
{
    return likely(main_host && range_contains(main_ram, addr, len)) ? main_host + (addr - main_ram.base) : NULL;
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

bool dma_reaches(u64 addr, size_t len)
{
    return in_main(addr, len) || all_ram(addr, len);
}

void *dma_get(u64 addr, size_t *len, bool write)
{
    u8 *p = in_main(addr, *len);
    size_t n = p ? *len : ram_here(addr, *len);
    u64 offset;

    if (p) {
        if (write)
            dirty_mark(addr, n);
        return p;
    }
    if (!host || !n || !machine_ram_offset(desc, addr, &offset))
        return NULL;
    if (write)
        dirty_mark(addr, n);
    *len = n;
    return host + offset;
}

bool dma_read(u64 addr, void *buf, size_t len)
{
    const u8 *p = in_main(addr, len);

    if (!p)
        return transfer(addr, buf, len, false);
    memcpy(buf, p, len);
    return true;
}

bool dma_write(u64 addr, const void *buf, size_t len)
{
    u8 *p = in_main(addr, len);

    if (!p)
        return transfer(addr, (u8 *)(uintptr_t)buf, len, true);
    dirty_mark(addr, len);
    memcpy(p, buf, len);
    return true;
}
