#include "memory/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/errname.h"
#include "base/mem.h"
#include "base/sys.h"
#include "memory/owner.h"

/* RAM pages that hold a window too: at most two for each merged range of trapped pages. */
struct carved {
    u64 page;
    u8 *host;
};

static struct carved *carved;
static u32 ncarved;

void *ram_carved(u64 addr)
{
    for (u32 i = 0; i < ncarved; i++)
        if (carved[i].page == page_down(addr))
            return carved[i].host + (addr - carved[i].page);
    return NULL;
}

void *ram_map_host(const struct machine *machine, u64 addr, u64 len)
{
    u64 first, last;
    void *p;

    if (!len || !machine_ram_offset(machine->desc, addr, &first) ||
        !machine_ram_offset(machine->desc, addr + (len - 1), &last) || last - first != len - 1)
        return NULL;
    p = sys_mmap(NULL, page_up((first & ~PAGE_MASK) + len), PROT_READ | PROT_WRITE, MAP_SHARED, machine->ram_fd,
                 page_down(first));
    return sys_failed((long)p) ? NULL : (u8 *)p + (first & ~PAGE_MASK);
}

void ram_untrapped(const struct view *view, struct range r, u64 file_offset,
                   void (*each)(void *context, struct range piece, u64 file_offset), void *context)
{
    u64 base = r.base;

    for (u32 i = 0; i < view->ntrapped && r.size; i++) {
        struct range t = view->trapped[i];

        if (!range_overlaps(t, r))
            continue;
        if (t.base > r.base)
            each(context, (struct range){r.base, t.base - r.base}, file_offset + (r.base - base));
        if (range_last(t) >= range_last(r))
            return;
        r.size = range_last(r) - range_last(t);
        r.base = range_last(t) + 1;
    }
    if (r.size)
        each(context, r, file_offset + (r.base - base));
}

void ram_pieces(const struct view *view, const struct machine_desc *desc,
                void (*each)(void *context, struct range piece, u64 file_offset), void *context)
{
    u64 offset = 0;

    for (u32 i = 0; i < desc->nbanks; i++) {
        ram_untrapped(view, desc->banks[i].range, offset, each, context);
        offset += desc->banks[i].range.size;
    }
}

struct mapper {
    const struct machine *machine;
    struct fmt *error;
    struct range *done; /* what is mapped so far, to take it back */
    u32 ndone;
    bool failed;
};

/* Asked once: to open a file in /proc takes longer than to map a range. */
static u64 lowest_address(void)
{
    static u64 value;
    static bool known;
    char text[24] = "";

    if (known || sys_read_file("/proc/sys/vm/mmap_min_addr", text, sizeof(text) - 1) <= 0)
        return value;
    for (const char *p = text; *p >= '0' && *p <= '9'; p++)
        value = value * 10 + (u64)(*p - '0');
    known = true;
    return value;
}

/* Says why [r] could not be had. */
static void explain(struct mapper *m, const char *what, const char *name, struct range r, long code)
{
    struct rlimit limit = {0, 0};
    struct fmt *f = m->error;

    fmt_printf(f, "%s %s %lx-%lx ", what, name, r.base, range_last(r));
    if (code == -EEXIST || code == 0) {
        fmt_str(f, "collides with ");
        owner_describe(r, f);
    } else if (r.base < lowest_address()) {
        fmt_printf(f, "lies below vm.mmap_min_addr (%lx)", lowest_address());
    } else if (code == -ENOMEM && sys(SYS_prlimit64, 0, RLIMIT_AS, NULL, &limit) == 0 &&
               limit.rlim_cur != RLIM_INFINITY) {
        fmt_printf(f, "does not fit: address space is limited to %lu kB (ulimit -v)", limit.rlim_cur / 1024);
    } else {
        fmt_printf(f, "cannot be reserved: %s", errname(code));
    }
    m->failed = true;
}

/* One mapping at its place or not at all; old kernels take MAP_FIXED_NOREPLACE for a hint. */
static long map_at(struct mapper *m, struct range r, int prot, int flags, int fd, u64 offset)
{
    long got;

    if (r.base < lowest_address())
        return -EPERM;
    got = (long)sys_mmap((void *)r.base, r.size, prot, flags | MAP_FIXED_NOREPLACE, fd, offset);
    if (!sys_failed(got) && (u64)got != r.base) {
        sys_munmap((void *)got, r.size);
        return -EEXIST;
    }
    if (sys_failed(got))
        return got;
    m->done[m->ndone++] = r;
    return 0;
}

static const char *bank_name(const struct machine_desc *desc, u64 addr)
{
    for (u32 i = 0; i < desc->nbanks; i++)
        if (range_has(desc->banks[i].range, addr))
            return desc->banks[i].name;
    return "";
}

static const char *window_name(const struct machine_desc *desc, struct range r)
{
    for (u32 i = 0; i < desc->nwindows; i++)
        if (range_overlaps(desc->windows[i].range, r))
            return desc->windows[i].name;
    return "";
}

static void map_piece(void *context, struct range piece, u64 file_offset)
{
    struct mapper *m = context;
    long got;

    if (m->failed)
        return;
    got = map_at(m, piece, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->machine->ram_fd, file_offset);
    if (got < 0)
        explain(m, "RAM", bank_name(m->machine->desc, piece.base), piece, got);
    else /* a core dump would bring every page of it to life */
        sys(SYS_madvise, piece.base, piece.size, MADV_DONTDUMP);
}

/* RAM and windows at their own address are where the program reaches them first of all. */
static void add_home(void *context, struct range piece, u64 file_offset)
{
    struct alias home = {piece, piece.base, PROT_READ | PROT_WRITE, true, false, false, ALIAS_SMALL};
    struct mapper *m = context;

    (void)file_offset;
    if (m->failed || alias_add(&home) == 0)
        return;
    fmt_str(m->error, "machine: no memory for its tables");
    m->failed = true;
}

/* Remembers RAM in a trapped page, with a second mapping of it. */
static void carve(const struct machine *machine, u64 page)
{
    u64 offset;
    u8 *host;

    if (ncarved && carved[ncarved - 1].page == page)
        return;
    if (!machine_ram_offset(machine->desc, page, &offset))
        return;
    host = ram_map_host(machine, page, PAGE_SIZE);
    if (host)
        carved[ncarved++] = (struct carved){page, host};
}

int ram_map(const struct machine *machine, const struct view *view, struct fmt *error)
{
    struct mapper m = {.machine = machine, .error = error};
    u64 most = 2 * (u64)view->ntrapped + machine->desc->nbanks;

    m.done = sys_pages((most + 1) * sizeof(*m.done));
    carved = sys_pages((2 * (size_t)view->ntrapped + 1) * sizeof(*carved));
    if (!m.done || !carved) {
        fmt_str(error, "machine: no memory for its tables");
        return -1;
    }
    for (u32 i = 0; i < view->ntrapped && !m.failed; i++) {
        struct range t = view->trapped[i];
        long got = map_at(&m, t, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (got < 0)
            explain(&m, "window", window_name(machine->desc, t), t, got);
        else
            sys(SYS_madvise, t.base, t.size, MADV_DONTDUMP);
    }
    if (!m.failed)
        ram_pieces(view, machine->desc, map_piece, &m);
    if (!m.failed)
        ram_pieces(view, machine->desc, add_home, &m);
    for (u32 i = 0; i < view->ntrapped; i++)
        add_home(&m, view->trapped[i], 0);
    for (u32 i = 0; m.failed && i < m.ndone; i++)
        sys_munmap((void *)m.done[i].base, m.done[i].size);
    sys_munmap(m.done, (most + 1) * sizeof(*m.done));
    for (u32 i = 0; !m.failed && i < view->ntrapped; i++) {
        carve(machine, view->trapped[i].base);
        carve(machine, page_down(range_last(view->trapped[i])));
    }
    return m.failed ? -1 : 0;
}
