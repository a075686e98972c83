#include "memory/dirty.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>

#include "base/errname.h"
#include "base/fds.h"
#include "base/mem.h"
#include "base/sys.h"
#include "memory/closed.h"
#include "memory/pmscan.h"

static const struct machine *machine;
static const struct view *view;
static enum dirty_mode mode = DIRTY_OFF;

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

/* --- RAM that the program reaches directly, at home and through aliases --- */

static const struct range everywhere = {0, UINT64_MAX};

/* Calls `each` for all RAM of the machine in a range of the program's addresses. */
static void stretches(struct range within, void (*each)(void *, const struct stretch *), void *context)
{
    u64 at = within.base;
    struct alias part;

    while (alias_walk(within, &at, &part))
        if (part.shared)
            alias_stretches(view, machine->desc, &part, each, context);
}

/* --- userfaultfd --- */


static bool uffd_arm_range(u64 addr, u64 size)
{
    struct uffdio_register reg = {.range = {addr, size}, .mode = UFFDIO_REGISTER_MODE_WP};
    struct uffdio_writeprotect wp = {.range = {addr, size}, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
    int fd = fds_get(FD_UFFD);

    return sys_ioctl(fd, UFFDIO_REGISTER, &reg) == 0 && sys_ioctl(fd, UFFDIO_WRITEPROTECT, &wp) == 0;
}

/* Halves what cannot be armed: something of the program's own, that came there behind our back, may lie in it. */
static void uffd_arm_parts(u64 addr, u64 size)
{
    u64 half = page_up(size / 2);

    if (uffd_arm_range(addr, size) || half >= size)
        return;
    uffd_arm_parts(addr, half);
    uffd_arm_parts(addr + half, size - half);
}

static void uffd_arm(void *context, const struct stretch *s)
{
    (void)context;
    uffd_arm_parts(s->addr, s->ram.size);
}

/* One call of PAGEMAP_SCAN from args->start on, which moves on. Regions, or -errno. */
static long scan_some(struct pm_scan *args, struct pm_region *regions, u32 most, u64 flags, u64 category)
{
    long n;

    args->size = sizeof(*args);
    args->flags = flags;
    args->vec = (u64)(uintptr_t)regions;
    args->vec_len = most;
    args->category_mask = args->return_mask = category;
    args->walk_end = 0;
    n = sys_ioctl(fds_get(FD_PAGEMAP), PM_SCAN, args);
    if (n >= 0)
        args->start = args->walk_end;
    return n;
}

/* Marks what was written in [addr, addr+size), which shows RAM from `ram` on. False: not all of it is armed. */
static bool scan_armed(u64 addr, u64 size, u64 ram)
{
    struct pm_region regions[64];
    struct pm_scan args = {.start = addr, .end = addr + size};

    while (args.start < args.end) {
        long n = scan_some(&args, regions, ARRAY_SIZE(regions), PM_SCAN_CHECK_ASYNC, PM_PAGE_WRITTEN);

        if (n < 0)
            return false;
        for (long i = 0; i < n; i++)
            dirty_mark(ram + (regions[i].start - addr), regions[i].end - regions[i].start);
    }
    return true;
}

/* The same around what is not armed: a mapping that the program made there behind our back. */
static void scan_around(const struct stretch *s)
{
    struct pm_region regions[16];
    struct pm_scan args = {.start = s->addr, .end = s->addr + s->ram.size};

    while (args.start < args.end) {
        long n = scan_some(&args, regions, ARRAY_SIZE(regions), 0, PM_PAGE_WPALLOWED);

        if (n < 0)
            return;
        for (long i = 0; i < n; i++)
            scan_armed(regions[i].start, regions[i].end - regions[i].start, s->ram.base + (regions[i].start - s->addr));
    }
}

static void scan_stretch(void *context, const struct stretch *s)
{
    (void)context;
    if (!scan_armed(s->addr, s->ram.size, s->ram.base))
        scan_around(s);
}

static void clear_stretch(void *context, const struct stretch *s)
{
    struct pm_region regions[64];
    struct pm_scan args = {.start = s->addr, .end = s->addr + s->ram.size};

    (void)context;
    while (args.start < args.end)
        if (scan_some(&args, regions, ARRAY_SIZE(regions), PM_SCAN_WP_MATCH, PM_PAGE_WRITTEN) < 0)
            return;
}

/* Can this kernel do it, on a page of RAM of our own? */
static bool uffd_works(void)
{
    struct pm_region region;
    struct pm_scan args;
    u8 *page = ram_map_host(machine, machine->desc->banks[0].range.base, PAGE_SIZE);
    bool works;

    if (!page)
        return false;
    args = (struct pm_scan){.start = (u64)page, .end = (u64)page + PAGE_SIZE};
    works = uffd_arm_range((u64)page, PAGE_SIZE) &&
            scan_some(&args, &region, 1, PM_SCAN_CHECK_ASYNC | PM_SCAN_WP_MATCH, PM_PAGE_WRITTEN) >= 0;
    sys_munmap(page, PAGE_SIZE);
    return works;
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
    if (!uffd_works()) {
        fds_close(FD_UFFD);
        fds_close(FD_PAGEMAP);
        return -EOPNOTSUPP;
    }
    stretches(everywhere, uffd_arm, NULL);
    return 0;
}

/* --- mprotect --- */

static void protect(void *context, const struct stretch *s)
{
    (void)context;
    closed_close(s);
}

struct lookup {
    u64 addr;
    struct stretch found;
};

static void note_stretch(void *context, const struct stretch *s)
{
    struct lookup *l = context;

    if (range_has((struct range){s->addr, s->ram.size}, l->addr))
        l->found = *s;
}

/* The stretch of RAM around an address of the program, if it is tracked and the program may write there. */
static bool writable(u64 addr, struct stretch *s)
{
    struct lookup l = {.addr = addr};
    struct alias a;

    if (!alias_find(addr, &a) || !a.shared || !(a.prot & PROT_WRITE))
        return false;
    alias_stretches(view, machine->desc, &a, note_stretch, &l);
    *s = l.found;
    return s->ram.size != 0;
}

bool dirty_fault(u64 addr)
{
    struct stretch s;
    bool done;

    if (!machine || mode != DIRTY_MPROTECT)
        return false;
    alias_hold();
    done = writable(addr, &s) && closed_open(&s, addr, 1);
    alias_release();
    return done;
}

static void allow(void *context, const struct stretch *part)
{
    bool *any = context;
    struct stretch s;

    if (writable(part->addr, &s))
        *any |= closed_open(&s, part->addr, part->ram.size);
}

bool dirty_allow(u64 addr, u64 len)
{
    struct range pages = {page_down(addr), 0};
    bool any = false;

    len = MIN(len, (u64)0x7ffff000); /* no system call moves more (read(2)) */
    if (!machine || mode != DIRTY_MPROTECT || !len || addr > UINT64_MAX - (u64)0x80000000)
        return false;
    pages.size = page_up((addr & ~PAGE_MASK) + len);
    if (!alias_overlaps(pages))
        return false;
    alias_hold();
    stretches(pages, allow, &any);
    alias_release();
    return any;
}

static void touch(void *context, const struct stretch *s)
{
    bool opened = false;

    (void)context;
    if (mode == DIRTY_MPROTECT)
        allow(&opened, s);
    dirty_mark(s->ram.base, s->ram.size);
}

void dirty_touch(struct range range)
{
    if (!machine || mode == DIRTY_OFF)
        return;
    alias_hold();
    stretches(range, touch, NULL);
    alias_release();
}

/* --- the program's mprotect --- */

struct protector {
    int key; /* -1: none */
    long error;
};

static void protect_pages(struct protector *p, u64 addr, u64 size, int prot)
{
    if (p->error)
        return;
    p->error = p->key == -1 ? sys_mprotect((void *)addr, size, prot) : sys(SYS_pkey_mprotect, addr, size, prot, p->key);
}

static void protect_as_asked(void *context, const struct stretch *s)
{
    protect_pages(context, s->addr, s->ram.size,
                  mode == DIRTY_MPROTECT && s->shared ? closed_prot(s->prot) : s->prot);
}

/* Aliases side by side from `at` on that may have the protection, as one range: few system calls, however they differ. */
static struct range alike(struct range within, u64 at, int prot)
{
    struct range run = {at, 0};
    struct alias part;

    while (alias_walk(within, &at, &part) && part.range.base - run.base == run.size &&
           !(part.sealed && (prot & PROT_WRITE)))
        run.size += part.range.size;
    return run;
}

static void protect_aliases(struct protector *p, struct range run, int prot)
{
    u64 at = run.base;
    struct alias part;

    p->error = alias_protect(run, prot);
    while (!p->error && alias_walk(run, &at, &part))
        alias_stretches(view, machine->desc, &part, protect_as_asked, p);
}

long dirty_protect(struct range range, int prot, int key)
{
    u64 from = range.base, at = from;
    struct protector p = {key, 0};
    struct alias part;

    alias_hold();
    while (!p.error && alias_walk(range, &at, &part)) {
        struct range run = alike(range, part.range.base, prot);

        if (part.range.base > from)
            protect_pages(&p, from, part.range.base - from, prot);
        if (!p.error && !run.size)
            p.error = -EACCES;
        if (!p.error)
            protect_aliases(&p, run, prot);
        from = at = run.base + run.size;
    }
    if (from - range.base < range.size)
        protect_pages(&p, from, range.size - (from - range.base), prot);
    alias_release();
    return p.error;
}

/* --- what the rest of the house asks for --- */

void dirty_track(struct range range)
{
    if (!machine || mode == DIRTY_OFF)
        return;
    alias_hold();
    stretches(range, mode == DIRTY_UFFD ? uffd_arm : protect, NULL);
    alias_release();
}

void dirty_collect_range(struct range range)
{
    if (machine && mode == DIRTY_UFFD)
        stretches(range, scan_stretch, NULL);
}

void dirty_collect(void)
{
    dirty_collect_range(everywhere);
}

void dirty_clear(void)
{
    if (!machine || mode == DIRTY_OFF)
        return;
    if (mode == DIRTY_UFFD)
        stretches(everywhere, clear_stretch, NULL);
    /* A page must not be open and clean: one that is opened meanwhile is closed again or marked, not neither. */
    alias_hold();
    memset(arena_dirty(machine->arena), 0, machine->arena->dirty_bits / 8);
    if (mode == DIRTY_MPROTECT) {
        closed_forget();
        stretches(everywhere, protect, NULL);
    }
    alias_release();
}

int dirty_test(u64 addr)
{
    u64 bit;
    struct alias a;

    if (!machine || mode == DIRTY_OFF)
        return -1;
    if (!alias_find(addr, &a) || !a.shared)
        return -1;
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
    fds_close(FD_MAPS);
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
    closed_start(m, v);
    stretches(everywhere, protect, NULL);
    return mode = DIRTY_MPROTECT;
}
