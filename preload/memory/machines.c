/* Named machines seen from outside, for the `machine` command. Ordinary programs only. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/errname.h"
#include "base/process.h"
#include "base/sys.h"
#include "devices/classes.h"
#include "memory/arena.h"
#include "memory/clock.h"
#include "memory/named.h"
#include "memory/pmscan.h"

/* Maps a named machine without joining it. NULL with one line. */
static struct arena *open_machine(const char *name, struct machine_desc *desc, struct fmt *error)
{
    int dir = named_open(name, false, error);
    const char *why = "is not there";
    struct arena *arena;
    int fd;

    if (dir < 0)
        return NULL;
    fd = openat(dir, "arena", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    arena = fd < 0 ? NULL : arena_open(fd, &why);
    if (!arena)
        fmt_printf(error, "machine %s: its state %s", name, why);
    else if (machine_parse(desc, arena_at(arena, arena->fdt), arena->fdt_size, error) < 0)
        arena = NULL;
    else if (!arena_sound(arena, desc)) {
        fmt_printf(error, "machine %s: its files are damaged", name);
        arena = NULL;
    }
    if (fd >= 0)
        close(fd);
    close(dir);
    return arena;
}

static struct machine_desc *new_desc(void)
{
    return calloc(1, sizeof(struct machine_desc));
}

int machine_dir_list(void (*each)(const char *name, unsigned members, void *ctx), void *ctx)
{
    const char *prefix = NAMED_DIR;
    const char *base = strrchr(prefix, '/') + 1;
    DIR *dir = opendir("/var/tmp");
    struct dirent *entry;
    int count = 0;

    while (dir && (entry = readdir(dir))) {
        char text[256];
        struct fmt error = FMT_INIT(text);
        struct machine_desc *desc;
        struct arena *arena;

        if (strncmp(entry->d_name, base, strlen(base)) != 0)
            continue;
        desc = new_desc();
        arena = desc ? open_machine(entry->d_name + strlen(base), desc, &error) : NULL;
        if (arena) {
            each(arena->name, member_count(arena), ctx);
            count++;
            munmap(arena, arena->size);
        }
        free(desc);
    }
    if (dir)
        closedir(dir);
    return count;
}

int machine_dir_remove(const char *name, struct fmt *error)
{
    char text[256];
    struct fmt ignored = FMT_INIT(text), path = FMT_INIT(text);
    int dir = named_open(name, false, error);
    struct machine_desc *desc = new_desc();
    struct arena *arena;
    unsigned members = 0;

    if (dir < 0 || !desc) {
        free(desc);
        return -1;
    }
    close(dir);
    arena = open_machine(name, desc, &ignored);
    if (arena) {
        members = member_count(arena);
        munmap(arena, arena->size);
    }
    free(desc);
    if (members) {
        fmt_printf(error, "machine %s: %u process%s of it still run%s", name, members, members == 1 ? "" : "es",
                   members == 1 ? "s" : "");
        return -1;
    }
    dir = named_open(name, false, error);
    if (dir < 0)
        return -1;
    unlinkat(dir, "arena", 0);
    unlinkat(dir, "ram", 0);
    unlinkat(dir, "mem", 0);
    path.len = 0;
    named_path(&path, name);
    if (rmdir(text) < 0) {
        fmt_printf(error, "machine %s: %s cannot be removed: %s", name, text, errname(errno));
        close(dir);
        return -1;
    }
    close(dir);
    return 0;
}

/* --- dirty pages that living processes have not reported yet --- */

struct scanner {
    struct arena *arena;
    int pagemap;
    bool clear;
};

/* Reads, and with `clear` re-arms, the page tables of another process over one bank (needs the right to trace it). */
static void scan_bank(const struct scanner *s, struct range bank, u64 first_page)
{
    struct pm_region regions[64];
    struct pm_scan args = {
        .size = sizeof(args),
        .flags = s->clear ? PM_SCAN_WP_MATCH : 0,
        .start = bank.base,
        .end = bank.base + bank.size,
        .vec = (u64)(uintptr_t)regions,
        .vec_len = ARRAY_SIZE(regions),
        /* Windows, and what the program mapped over RAM, lie between: only what is armed counts. */
        .category_mask = PM_PAGE_WRITTEN | PM_PAGE_WPALLOWED,
        .return_mask = PM_PAGE_WRITTEN,
    };

    while (args.start < args.end) {
        long n = sys_ioctl(s->pagemap, PM_SCAN, &args);

        if (n < 0)
            return;
        for (long i = 0; i < n && !s->clear; i++)
            for (u64 a = regions[i].start; a < regions[i].end; a += PAGE_SIZE) {
                u64 page = first_page + (a - bank.base) / PAGE_SIZE;

                __atomic_fetch_or(&arena_dirty(s->arena)[page / 64], (u64)1 << (page % 64), __ATOMIC_RELAXED);
            }
        args.start = args.walk_end;
    }
}

static void scan_members(struct arena *arena, const struct machine_desc *desc, bool clear)
{
    struct arena_member *m = arena_at(arena, arena->members);

    for (u32 i = 0; i < ARENA_MEMBERS; i++) {
        char text[40];
        struct fmt f = FMT_INIT(text);
        struct scanner s = {arena, -1, clear};

        if (!m[i].pid || !(m[i].flags & MEMBER_SCANNED) || !process_alive(m[i].pid, m[i].start))
            continue;
        fmt_printf(&f, "/proc/%u/pagemap", m[i].pid);
        s.pagemap = open(fmt_end(&f), O_RDONLY | O_CLOEXEC);
        for (u32 b = 0; b < desc->nbanks && s.pagemap >= 0; b++)
            scan_bank(&s, desc->banks[b].range, machine_dirty_start(desc, b));
        if (s.pagemap >= 0)
            close(s.pagemap);
    }
}

int machine_dir_dirty(const char *name, void (*each)(const struct trace_bank *bank, const u8 *bitmap, u64 pages, void *ctx),
                      void *ctx, struct fmt *error)
{
    struct machine_desc *desc = new_desc();
    struct arena *arena = desc ? open_machine(name, desc, error) : NULL;

    if (!arena) {
        free(desc);
        return -1;
    }
    scan_members(arena, desc, false);
    for (u32 b = 0; b < desc->nbanks; b++) {
        struct trace_bank bank = {desc->banks[b].name, desc->banks[b].range};

        each(&bank, (const u8 *)arena_dirty(arena) + machine_dirty_start(desc, b) / 8, bank.range.size / PAGE_SIZE, ctx);
    }
    munmap(arena, arena->size);
    free(desc);
    return 0;
}

static struct lock_self own_identity(void)
{
    u32 pid = (u32)getpid();

    return (struct lock_self){.tid = (u32)sys_gettid(), .pid = pid, .start = process_start(pid)};
}

static void no_irq(struct mmioshim_device *dev, unsigned line, bool level)
{
    (void)dev;
    (void)line;
    (void)level;
}

static struct arena *resetting;

static u64 its_clock(struct mmioshim_device *dev)
{
    (void)dev;
    return clock_now(resetting);
}

static u64 its_wall_clock(struct mmioshim_device *dev)
{
    (void)dev;
    return clock_wall(resetting);
}

static void its_wake_at(struct mmioshim_device *dev, u64 ns)
{
    clock_ask(resetting, dev->index, ns);
}

static void its_poll(struct mmioshim_device *dev, enum mmioshim_poll how)
{
    __atomic_store_n(&arena_devices(resetting)[dev->index].polled, how, __ATOMIC_RELEASE);
}

static void lower_wires(struct arena *arena, u32 i)
{
    struct arena_wire *wires = arena_wires(arena, i);

    for (u32 w = 0; w < arena_devices(arena)[i].nwires; w++)
        wires[w].level = wires[w].kept = 0;
}

/* A device of a machine that this process does not take part in: reset reaches its state, and nothing else. */
static void reset_device(struct arena *arena, const struct machine_desc *desc, u32 i, const struct lock_self *self)
{
    static const struct mmioshim_host host = {
        .irq = no_irq, .clock = its_clock, .wall_clock = its_wall_clock, .wake_at = its_wake_at,
        .poll = its_poll,
    };
    struct arena_device *shared = &arena_devices(arena)[i];
    struct mmioshim_device dev = {
        .class = class_by_number(shared->class),
        .host = &host,
        .state = arena_at(arena, shared->state),
        .size = machine_device_size(&desc->windows[i]),
        .name = desc->windows[i].name,
        .index = i,
    };

    lock_take(&shared->lock, self);
    if (dev.class->reset)
        dev.class->reset(&dev, MMIOSHIM_RESET_COLD);
    lower_wires(arena, i);
    lock_release(&shared->lock, self);
}

int machine_dir_reset(const char *name, struct fmt *error)
{
    struct machine_desc *desc = new_desc();
    struct arena *arena = desc ? open_machine(name, desc, error) : NULL;
    struct lock_self self = own_identity();

    if (!arena) {
        free(desc);
        return -1;
    }
    lanes_start(arena_lanes(arena), false);
    resetting = arena;
    for (u32 i = 0; i < arena->ndevices && i < machine_devices(desc); i++)
        reset_device(arena, desc, i, &self);
    iommu_power_on(arena_iommu(arena), &self);
    __atomic_fetch_add(&arena->map_version, 1, __ATOMIC_RELEASE);
    lock_take(&arena->irqs.lock, &self);
    for (u32 i = 0; i < arena->irqs.nharts; i++)
        arena->irqs.hart[i].pending = 0;
    lock_release(&arena->irqs.lock, &self);
    scan_members(arena, desc, true);
    memset(arena_dirty(arena), 0, arena->dirty_bits / 8);
    munmap(arena, arena->size);
    free(desc);
    return 0;
}
