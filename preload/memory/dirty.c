#include "memory/dirty.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>

#include "base/errname.h"
#include "base/fds.h"
#include "base/mem.h"
#include "base/sys.h"
#include "memory/pmscan.h"

static const struct machine *machine;
static const struct view *view;
static enum dirty_mode mode = DIRTY_OFF;

/* mprotect splits the kernel's list of mappings; it ends near 65530 (vm.max_map_count). */
#define FAULTS_A_STEP 8192u
static u32 faults;

const char *dirty_mode_name(void)
{
    static const char *const names[] = {"auto", "uffd", "mprotect", "off"};

    return names[mode];
}

enum dirty_mode dirty_mode(void)
{
    return mode;
}

/* --- the bitmap --- */

void dirty_mark(u64 addr, u64 len)
{
    u64 first, last, page;

    if (!machine || mode == DIRTY_OFF || !len || !machine_dirty_bit(machine->desc, addr, &first))
        return;
    last = first + ((addr & ~PAGE_MASK) + (len - 1)) / PAGE_SIZE;
    for (page = first; page <= last && page < machine->arena->dirty_bits; page++) {
        u64 *word = &arena_dirty(machine->arena)[page / 64];
        u64 bit = (u64)1 << (page % 64);

        if (!(__atomic_load_n(word, __ATOMIC_RELAXED) & bit))
            __atomic_fetch_or(word, bit, __ATOMIC_RELAXED);
    }
}

u64 dirty_count(const struct arena *arena)
{
    const u64 *words = arena_dirty((struct arena *)(uintptr_t)arena);
    u64 n = 0;

    for (u64 i = 0; i < arena->dirty_bits / 64; i++)
        n += (u64)__builtin_popcountll(words[i]);
    return n;
}

static bool bit_at(const struct arena *arena, u64 page)
{
    return arena_dirty((struct arena *)(uintptr_t)arena)[page / 64] >> (page % 64) & 1;
}

u64 dirty_ranges(const struct machine_desc *desc, struct arena *arena, struct range *out, u64 most)
{
    u64 n = 0;

    for (u32 b = 0; b < desc->nbanks; b++) {
        struct range bank = desc->banks[b].range;
        u64 page = machine_dirty_start(desc, b);
        struct range *open = NULL;
        struct range spare;

        for (u64 at = 0; at < bank.size; at += PAGE_SIZE, page++) {
            if (!bit_at(arena, page)) {
                open = NULL;
                continue;
            }
            if (!open) {
                open = n < most ? &out[n] : &spare;
                *open = (struct range){bank.base + at, 0};
                n++;
            }
            open->size += PAGE_SIZE;
        }
    }
    return n;
}

/* --- pieces of RAM that the program reaches directly, at home and through aliases --- */

struct walk {
    void (*each)(u64 addr, struct range ram);
    u64 shift; /* address in the program minus machine address */
    struct range within;
};

static void walk_piece(void *context, struct range piece, u64 file_offset)
{
    struct walk *w = context;
    struct range r = range_clip(piece, w->within);

    (void)file_offset;
    if (r.size)
        w->each(r.base + w->shift, r);
}

static void walk_alias(void *context, struct range range, u64 machine_addr)
{
    struct walk w = {context, range.base - machine_addr, {machine_addr, range.size}};

    ram_pieces(view, machine->desc, walk_piece, &w);
}

static void every_piece(void (*each)(u64 addr, struct range ram))
{
    struct walk w = {each, 0, {0, UINT64_MAX}};

    ram_pieces(view, machine->desc, walk_piece, &w);
    alias_ram_pieces(walk_alias, each);
}

/* --- userfaultfd --- */

static bool uffd_failed;

static void uffd_arm(u64 addr, struct range ram)
{
    struct uffdio_register reg = {.range = {addr, ram.size}, .mode = UFFDIO_REGISTER_MODE_WP};
    struct uffdio_writeprotect wp = {.range = {addr, ram.size}, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
    int fd = fds_get(FD_UFFD);

    if (uffd_failed || sys_ioctl(fd, UFFDIO_REGISTER, &reg) < 0 || sys_ioctl(fd, UFFDIO_WRITEPROTECT, &wp) < 0)
        uffd_failed = true;
}

/* Scans one piece into the bitmap; `clear` forgets instead. */
static void scan(u64 addr, struct range ram, bool clear)
{
    struct pm_region regions[64];
    struct pm_scan args = {
        .size = sizeof(args),
        .flags = PM_SCAN_CHECK_ASYNC | (clear ? PM_SCAN_WP_MATCH : 0),
        .start = addr,
        .end = addr + ram.size,
        .vec = (u64)(uintptr_t)regions,
        .vec_len = ARRAY_SIZE(regions),
        .category_mask = PM_PAGE_WRITTEN,
        .return_mask = PM_PAGE_WRITTEN,
    };

    while (args.start < args.end) {
        long n = sys_ioctl(fds_get(FD_PAGEMAP), PM_SCAN, &args);

        if (n < 0) {
            uffd_failed = true;
            return;
        }
        for (long i = 0; i < n && !clear; i++)
            dirty_mark(ram.base + (regions[i].start - addr), regions[i].end - regions[i].start);
        args.start = args.walk_end;
    }
}

static void scan_piece(u64 addr, struct range ram)
{
    scan(addr, ram, false);
}

static void clear_piece(u64 addr, struct range ram)
{
    scan(addr, ram, true);
}

static void check_piece(u64 addr, struct range ram)
{
    scan(addr, (struct range){ram.base, PAGE_SIZE}, true);
}

/* 0 or -errno. */
static long uffd_start(void)
{
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_WP_ASYNC | UFFD_WP_UNPOPULATED | UFFD_WP_SHMEM};
    long fd = sys(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_FLAG_USER_ONLY);
    long map;

    if (fd < 0)
        return fd;
    map = sys_ioctl((int)fd, UFFDIO_API, &api);
    if (map < 0) {
        sys_close((int)fd);
        return map;
    }
    map = sys_open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
    if (map < 0) {
        sys_close((int)fd);
        return map;
    }
    fds_adopt(FD_UFFD, (int)fd);
    fds_adopt(FD_PAGEMAP, (int)map);
    uffd_failed = false;
    every_piece(uffd_arm);
    if (!uffd_failed)
        every_piece(check_piece);
    if (uffd_failed) {
        fds_close(FD_UFFD);
        fds_close(FD_PAGEMAP);
        return -EOPNOTSUPP;
    }
    return 0;
}

/* --- mprotect --- */

static void protect(u64 addr, struct range ram)
{
    sys_mprotect((void *)addr, ram.size, PROT_READ);
}

static void unprotect(u64 addr, struct range ram)
{
    sys_mprotect((void *)addr, ram.size, PROT_READ | PROT_WRITE);
    dirty_mark(ram.base, ram.size);
}

/* Machine address of an address of the program that is directly reached RAM; *end = last byte of that stretch in the program. */
static bool tracked(u64 addr, u64 *ram, u64 *first, u64 *last, int *prot)
{
    struct alias a = {{0, UINT64_MAX}, 0, PROT_READ | PROT_WRITE};
    u64 machine_addr = addr;
    struct view_span span;

    if (alias_find(addr, &a))
        machine_addr = a.machine + (addr - a.range.base);
    span = view_find(view, machine_addr);
    if (span.kind != VIEW_RAM || view_trapped(view, machine_addr))
        return false;
    *ram = machine_addr;
    /* The stretch of RAM around it, in addresses of the program. */
    *first = MAX(addr - MIN(machine_addr - span.range.base, addr), a.range.base);
    *last = addr + MIN(range_last(span.range) - machine_addr, range_last(a.range) - addr);
    *prot = a.prot;
    return true;
}

/* Opens a granule of pages around addr. Granules grow as faults add up, so that mappings do not run out. */
static bool open_granule(u64 addr)
{
    u64 ram, first, last, granule, begin, end;
    int prot;

    if (!tracked(addr, &ram, &first, &last, &prot) || !(prot & PROT_WRITE))
        return false;
    granule = PAGE_SIZE << (3 * MIN(__atomic_fetch_add(&faults, 1, __ATOMIC_RELAXED) / FAULTS_A_STEP, 4u));
    begin = MAX(addr & ~(granule - 1), page_up(first));
    end = MIN(addr | (granule - 1), last);
    /* Pages that share their page with a window are not ours to open. */
    if (begin > page_down(addr))
        begin = page_down(addr);
    dirty_mark(ram - (addr - begin), end - begin + 1);
    if (sys_mprotect((void *)begin, page_up(end - begin + 1), PROT_READ | PROT_WRITE) < 0)
        every_piece(unprotect);
    return true;
}

bool dirty_fault(u64 addr)
{
    return machine && mode == DIRTY_MPROTECT && open_granule(addr);
}

bool dirty_allow(u64 addr, u64 len)
{
    bool any = false;

    if (!machine || mode != DIRTY_MPROTECT || !len)
        return false;
    len = MIN(len, (u64)0x7ffff000); /* no system call moves more (read(2)) */
    for (u64 page = page_down(addr); page - page_down(addr) < page_up((addr & ~PAGE_MASK) + len); page += PAGE_SIZE) {
        u64 ram, first, last;
        int prot;

        if (tracked(page, &ram, &first, &last, &prot))
            any |= open_granule(page);
        else if (!any && page - page_down(addr) > ((u64)1 << 30))
            break; /* nobody's buffer is that large and begins outside RAM */
    }
    return any;
}

/* --- what the rest of the house asks for --- */

void dirty_track_alias(struct range piece)
{
    struct alias a;

    if (!machine || mode == DIRTY_OFF || !alias_find(piece.base, &a))
        return;
    walk_alias((void *)(mode == DIRTY_UFFD ? uffd_arm : protect), a.range, a.machine);
}

void dirty_collect(void)
{
    if (machine && mode == DIRTY_UFFD)
        every_piece(scan_piece);
}

void dirty_clear(void)
{
    if (!machine || mode == DIRTY_OFF)
        return;
    if (mode == DIRTY_UFFD)
        every_piece(clear_piece);
    memset(arena_dirty(machine->arena), 0, machine->arena->dirty_bits / 8);
    if (mode == DIRTY_MPROTECT) {
        faults = 0;
        every_piece(protect);
    }
}

int dirty_test(u64 addr)
{
    u64 bit;
    struct alias a;

    if (!machine || mode == DIRTY_OFF)
        return -1;
    if (alias_find(addr, &a))
        addr = a.machine + (addr - a.range.base);
    if (view_find(view, addr).kind != VIEW_RAM || !machine_dirty_bit(machine->desc, addr, &bit))
        return -1;
    dirty_collect();
    return bit_at(machine->arena, bit);
}

int dirty_start(const struct machine *m, const struct view *v, enum dirty_mode wanted, struct fmt *error)
{
    long why = 0;

    machine = m;
    view = v;
    fds_close(FD_UFFD);
    fds_close(FD_PAGEMAP);
    mode = wanted;
    if (wanted == DIRTY_OFF || !m->arena->pages)
        return mode = wanted == DIRTY_AUTO ? DIRTY_OFF : wanted;
    if (wanted != DIRTY_MPROTECT) {
        why = uffd_start();
        if (why == 0)
            return mode = DIRTY_UFFD;
        if (wanted == DIRTY_UFFD) {
            mode = DIRTY_OFF;
            fmt_printf(error, "MMIOSHIM_DIRTY_MODE=uffd: the kernel refuses it here: %s; allowed: auto, mprotect, off",
                       errname(why));
            return -1;
        }
    }
    faults = 0;
    every_piece(protect);
    return mode = DIRTY_MPROTECT;
}
