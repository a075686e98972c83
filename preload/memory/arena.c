#include "memory/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/errname.h"
#include "base/fds.h"
#include "base/mem.h"
#include "base/sys.h"
#include "devices/classes.h"
#include "memory/find.h"
#include "memory/huge.h"
#include "memory/named.h"

static int fail(struct fmt *error, const char *what, const char *where, long code)
{
    fmt_printf(error, "%s %s: %s", what, where, errname(code));
    return -1;
}

/* machine_load, whose message begins with the map. */
static int load_map(struct machine_desc *desc, const char *map, struct fmt *error)
{
    size_t before = error->len;

    fmt_str(error, "MMIOSHIM_MAP=");
    if (machine_load(desc, map, error) < 0)
        return -1;
    error->len = before;
    return 0;
}

/* The map of a machine that is about to be made. */
static int load_whole(struct machine_desc *desc, const char *map, const struct arena_plan *plan, struct fmt *error)
{
    if (load_map(desc, map, error) < 0)
        return -1;
    return plan->complete ? plan->complete(plan->context, desc, error) : 0;
}

static u64 ram_bytes(const struct machine_desc *desc)
{
    u64 bytes = 0;

    for (u32 i = 0; i < desc->nbanks; i++)
        bytes += desc->banks[i].range.size;
    return bytes;
}

bool machine_ram_offset(const struct machine_desc *desc, u64 addr, u64 *offset)
{
    u64 before = 0;

    for (u32 i = 0; i < desc->nbanks; i++) {
        if (range_has(desc->banks[i].range, addr)) {
            *offset = before + (addr - desc->banks[i].range.base);
            return true;
        }
        before += desc->banks[i].range.size;
    }
    return false;
}

u64 machine_dirty_start(const struct machine_desc *desc, u32 bank)
{
    u64 bits = 0;

    for (u32 i = 0; i < bank; i++)
        bits += (desc->banks[i].range.size / PAGE_SIZE + 63) & ~(u64)63;
    return bits;
}

bool machine_dirty_bit(const struct machine_desc *desc, u64 addr, u64 *bit)
{
    for (u32 i = 0; i < desc->nbanks; i++)
        if (range_has(desc->banks[i].range, addr)) {
            *bit = machine_dirty_start(desc, i) + (addr - desc->banks[i].range.base) / PAGE_SIZE;
            return true;
        }
    return false;
}

static u64 align64(u64 value)
{
    return (value + 63) & ~(u64)63;
}

static void create_pools(struct arena *arena, const struct machine_desc *desc, const struct machine_pools *pools)
{
    huge_create(huge_of(arena), desc, pools);
    for (u32 i = 0; i < pools->nbuffers; i++)
        arena->buffers[i] = (struct arena_buffer){.sync_offset = pools->buffers[i].sync_offset,
                                                  .sync_size = pools->buffers[i].sync_size,
                                                  .sync_mode = pools->buffers[i].sync_mode,
                                                  .sync_direction = pools->buffers[i].sync_direction};
}

/* Lays the tables out one after another; fills the header when the arena is there. Returns the size. */
static u64 lay_out(struct arena *arena, const struct machine_desc *desc, const struct machine_pools *pools,
                   const struct arena_plan *plan)
{
    u64 at, members = page_up(sizeof(struct arena));
    u64 devices = members + page_up(ARENA_MEMBERS * sizeof(struct arena_member));
    u64 lanes = devices + page_up(machine_devices(desc) * sizeof(struct arena_device));
    u64 iommu = lanes + page_up(lanes_bytes());
    u64 dirty = iommu + page_up(sizeof(struct iommu));
    u64 fdt = dirty + page_up(machine_dirty_start(desc, desc->nbanks) / 8);
    u64 huge = fdt + page_up(desc->fdt_size);
    struct arena_device *table = NULL;

    at = huge + page_up(huge_bytes(pools));
    if (arena) {
        arena->huge = huge;
        arena->members = members;
        arena->devices = devices;
        arena->lanes = lanes;
        arena->iommu = iommu;
        arena->dirty = dirty;
        arena->fdt = fdt;
        arena->fdt_size = desc->fdt_size;
        arena->ndevices = machine_devices(desc);
        arena->pages = ram_bytes(desc) / PAGE_SIZE;
        arena->dirty_bits = machine_dirty_start(desc, desc->nbanks);
        memcpy(arena_at(arena, fdt), desc->fdt, desc->fdt_size);
        table = arena_devices(arena);
    }
    for (u32 i = 0; i < machine_devices(desc); i++) {
        u16 class;
        u64 bytes = align64(plan->state_size(plan->context, i, &class));
        u32 nwires = plan->wires(plan->context, i);

        /* Big states (plain storage) start on a page, so that they can be mapped. */
        if (bytes >= PAGE_SIZE)
            at = page_up(at);
        if (table)
            table[i] = (struct arena_device){.class = class, .window = (u16)i, .state = at, .state_size = bytes,
                                             .wires = at + bytes, .nwires = nwires, .deadline = UINT64_MAX};
        at += bytes + align64(nwires * sizeof(struct arena_wire));
    }
    return page_up(at);
}

static void identify(int fd, u64 *dev, u64 *ino)
{
    struct stat st = {0};

    sys_fstat(fd, &st);
    *dev = st.st_dev;
    *ino = st.st_ino;
}

static void *map_arena(int fd, u64 size)
{
    void *p = sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (sys_failed((long)p))
        return NULL;
    /* State of all devices has no place in the program's core dump. */
    sys(SYS_madvise, p, size, MADV_DONTDUMP);
    return p;
}

/* A file that would be longer than RLIMIT_FSIZE raises SIGXFSZ, which is not the program's. */
static long resize(int fd, u64 size)
{
    u64 signal = (u64)1 << (SIGXFSZ - 1), before = 0;
    long ret;

    sys(SYS_rt_sigprocmask, SIG_BLOCK, &signal, &before, sizeof(signal));
    ret = sys(SYS_ftruncate, fd, size);
    if (ret == -EFBIG)
        sys_drain(SIGXFSZ);
    sys(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
    return ret;
}

/* Fills the three files of a new machine. */
static int make(struct machine *m, const struct machine_desc *desc, const char *name, const char *map,
                const struct arena_plan *plan, struct fmt *error)
{
    const struct machine_pools *pools = machine_pools(desc, error);
    u64 size = pools ? lay_out(NULL, desc, pools, plan) : 0;
    struct arena *arena;
    long ret;

    if (!pools)
        return -1;
    ret = resize(m->arena_fd, size);
    if (ret == 0)
        ret = resize(m->ram_fd, ram_bytes(desc));
    /* Programs ask for the size of a file before they map it; 8 TiB is what file systems of a named machine hold. */
    if (ret == 0 && resize(m->mem_fd, (u64)1 << (*name ? 43 : 52)) < 0)
        ret = resize(m->mem_fd, 0);
    if (ret == -EFBIG) {
        fmt_printf(error, "MMIOSHIM_MAP=%s: RAM of %lu kB does not fit: the size of files is limited (ulimit -f)", map,
                   ram_bytes(desc) / 1024);
        return -1;
    }
    if (ret < 0)
        return fail(error, "machine", "cannot reserve its memory", ret);
    arena = map_arena(m->arena_fd, size);
    if (!arena)
        return fail(error, "machine", "cannot map its state", -ENOMEM);
    lay_out(arena, desc, pools, plan);
    create_pools(arena, desc, pools);
    arena->magic = ARENA_MAGIC;
    arena->version = ARENA_VERSION;
    arena->size = size;
    arena->map_hash = desc->hash;
    arena->clock_virtual = plan->clock_virtual;
    arena->next_deadline = UINT64_MAX;
    arena->uid = (u32)sys(SYS_geteuid);
    identify(m->ram_fd, &arena->ram_dev, &arena->ram_ino);
    identify(m->mem_fd, &arena->mem_dev, &arena->mem_ino);
    memcpy(arena->map, map, MIN(strlen(map), sizeof(arena->map) - 1));
    memcpy(arena->name, name, MIN(strlen(name), sizeof(arena->name) - 1));
    m->arena = arena;
    m->desc = desc;
    m->joined = false;
    if (plan->create(plan->context, m, error) < 0)
        return -1;
    __atomic_store_n(&arena->ready, 1, __ATOMIC_RELEASE);
    return 0;
}

struct arena *arena_open(int fd, const char **why)
{
    struct stat st = {0};
    struct arena *arena;

    *why = "is no machine";
    if (sys_fstat(fd, &st) < 0 || st.st_size < (long)sizeof(struct arena))
        return NULL;
    arena = map_arena(fd, (u64)st.st_size);
    if (!arena)
        return NULL;
    if (arena->magic != ARENA_MAGIC)
        *why = "is no machine";
    else if (arena->version != ARENA_VERSION)
        *why = "was made by another version of mmioshim";
    else if (!__atomic_load_n(&arena->ready, __ATOMIC_ACQUIRE))
        *why = "was never completed";
    else if (arena->size != (u64)st.st_size || arena->fdt_size > arena->size || arena->fdt > arena->size - arena->fdt_size)
        *why = "is damaged";
    else
        return arena;
    sys_munmap(arena, (size_t)st.st_size);
    return NULL;
}

static bool inside(const struct arena *arena, u64 offset, u64 bytes)
{
    return offset >= sizeof(*arena) && range_contains((struct range){0, arena->size}, offset, bytes);
}

static bool device_sound(struct arena *arena, const struct machine_desc *desc, u32 i)
{
    const struct arena_device *d = &arena_devices(arena)[i];
    const struct mmioshim_class *class = class_by_number(d->class);

    return d->window == i && class_number(class) == d->class &&
           (!desc->windows[i].class || desc->windows[i].class == d->class + 1u) &&
           d->state_size >= class_state_size(class, machine_device_size(&desc->windows[i])) &&
           inside(arena, d->state, d->state_size) && inside(arena, d->wires, d->nwires * sizeof(struct arena_wire));
}

static bool huge_sound(struct arena *arena, const struct machine_desc *desc)
{
    char text[256];
    struct fmt error = FMT_INIT(text);
    const struct machine_pools *pools = machine_pools(desc, &error);

    return pools && !(arena->huge & 7) && inside(arena, arena->huge, huge_bytes(pools)) &&
           huge_of(arena)->base == pools->huge.base && huge_of(arena)->pages == pools->huge.size >> HUGE_SHIFT;
}

/* Files of a named machine may be damaged: nothing in the arena is believed before this. */
bool arena_sound(struct arena *arena, const struct machine_desc *desc)
{
    if (arena->ndevices != machine_devices(desc) || arena->dirty_bits != machine_dirty_start(desc, desc->nbanks) ||
        arena->pages != ram_bytes(desc) / PAGE_SIZE || arena->irqs.nharts > ARENA_HARTS ||
        !inside(arena, arena->members, ARENA_MEMBERS * sizeof(struct arena_member)) ||
        !inside(arena, arena->devices, arena->ndevices * sizeof(struct arena_device)) ||
        (arena->lanes & ~PAGE_MASK) || !inside(arena, arena->lanes, lanes_bytes()) ||
        (arena->iommu & ~PAGE_MASK) || !inside(arena, arena->iommu, sizeof(struct iommu)) ||
        !inside(arena, arena->dirty, arena->dirty_bits / 8) || !huge_sound(arena, desc))
        return false;
    for (u32 i = 0; i < arena->ndevices; i++)
        if (!device_sound(arena, desc, i))
            return false;
    return true;
}

static bool copy_desc(struct machine *m, struct machine_desc *desc, struct fmt *error)
{
    struct stat st = {0};

    m->joined = true;
    if (machine_parse(desc, arena_at(m->arena, m->arena->fdt), m->arena->fdt_size, error) < 0)
        return false;
    if (arena_sound(m->arena, desc) && sys_fstat(m->ram_fd, &st) == 0 && (u64)st.st_size >= ram_bytes(desc))
        return true;
    fmt_printf(error, "machine %s: its files are damaged; `mmioshim machine rm %s` removes it", m->arena->name,
               m->arena->name);
    return false;
}

/* --- unnamed machines --- */

/* Takes the machine whose descriptors find_machine() saw, if it is the one that we are asked for. */
static int join_found(struct machine *m, const struct found_machine *found, struct machine_desc *desc, const char *map,
                      bool map_given, struct fmt *error)
{
    const char *why;
    struct arena *arena = arena_open(found->arena_fd, &why);

    if (!arena)
        return 1;
    if (map_given && strcmp(arena->map, map) != 0) {
        static struct machine_desc other;

        if (load_map(&other, map, error) < 0)
            return -1;
        if (other.hash != arena->map_hash) {
            sys_munmap(arena, arena->size);
            return 1;
        }
    }
    m->arena = arena;
    m->arena_fd = found->arena_fd;
    m->ram_fd = found_file(found, arena->ram_dev, arena->ram_ino);
    m->mem_fd = found_file(found, arena->mem_dev, arena->mem_ino);
    if (m->ram_fd < 0 || m->mem_fd < 0) {
        sys_munmap(arena, arena->size);
        return 1;
    }
    return copy_desc(m, desc, error) ? 0 : -1;
}

static int memfd(const char *name)
{
    return (int)sys(SYS_memfd_create, name, MFD_CLOEXEC);
}

static int attach_unnamed(struct machine *m, struct machine_desc *desc, const char *map, bool map_given,
                          const struct arena_plan *plan, struct fmt *error)
{
    struct found_machine found;
    int ret;

    for (find_begin(&found); find_next(&found);) {
        ret = join_found(m, &found, desc, map, map_given, error);
        if (ret <= 0)
            return ret;
        find_drop(&found);
    }
    if (load_whole(desc, map, plan, error) < 0)
        return -1;
    m->arena_fd = memfd("mmioshim-arena");
    m->ram_fd = memfd("mmioshim-ram");
    m->mem_fd = memfd("mmioshim-mem");
    if (m->arena_fd < 0 || m->ram_fd < 0 || m->mem_fd < 0)
        return fail(error, "machine", "cannot make its memory", MIN(MIN(m->arena_fd, m->ram_fd), m->mem_fd));
    return make(m, desc, "", map, plan, error);
}

/* --- named machines --- */

void named_path(struct fmt *f, const char *name)
{
    fmt_str(f, NAMED_DIR);
    fmt_str(f, name);
    fmt_end(f);
}

int named_open(const char *name, bool create, struct fmt *error)
{
    char path[160];
    struct fmt f = FMT_INIT(path);
    struct stat st = {0};
    long fd;

    named_path(&f, name);
    if (create)
        sys(SYS_mkdir, path, 0700);
    fd = sys_open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0) {
        fmt_printf(error, "machine %s: %s: %s", name, path,
                   fd == -EACCES ? "belongs to another user" : fd == -ENOENT ? "no such machine" : errname(fd));
        return -1;
    }
    if (sys_fstat((int)fd, &st) < 0 || st.st_uid != (u32)sys(SYS_geteuid) || (st.st_mode & 077)) {
        fmt_printf(error, "machine %s: %s belongs to another user", name, path);
        sys_close((int)fd);
        return -1;
    }
    sys(SYS_flock, fd, LOCK_EX);
    return (int)fd;
}

static int open_in(int dir, const char *file)
{
    return (int)sys(SYS_openat, dir, file, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int attach_named(struct machine *m, struct machine_desc *desc, const char *name, const char *map, bool map_given,
                        const struct arena_plan *plan, struct fmt *error)
{
    int dir = named_open(name, true, error);
    const char *why;
    struct stat st = {0};
    int ret = -1;

    if (dir < 0)
        return -1;
    m->arena_fd = open_in(dir, "arena");
    m->ram_fd = open_in(dir, "ram");
    m->mem_fd = open_in(dir, "mem");
    if (m->arena_fd < 0 || m->ram_fd < 0 || m->mem_fd < 0) {
        fail(error, "machine", name, MIN(MIN(m->arena_fd, m->ram_fd), m->mem_fd));
    } else if (sys_fstat(m->arena_fd, &st) == 0 && st.st_size == 0) {
        if (load_whole(desc, map, plan, error) == 0)
            ret = make(m, desc, name, map, plan, error);
    } else {
        m->arena = arena_open(m->arena_fd, &why);
        if (!m->arena)
            fmt_printf(error, "machine %s: " NAMED_DIR "%s/arena %s; `mmioshim machine rm %s` removes it", name, name, why,
                       name);
        else if (!map_given || strcmp(m->arena->map, map) == 0)
            ret = copy_desc(m, desc, error) ? 0 : -1;
        else if (load_map(desc, map, error) == 0 && desc->hash != m->arena->map_hash)
            fmt_printf(error, "machine %s: was made with another map: %s, not %s", name, m->arena->map, map);
        else if (desc->hash == m->arena->map_hash)
            ret = copy_desc(m, desc, error) ? 0 : -1;
    }
    /* A machine that could not be made leaves nothing for the next one to stumble over. */
    if (ret < 0 && m->arena && !m->joined && st.st_size == 0)
        sys(SYS_ftruncate, m->arena_fd, 0);
    sys_close(dir); /* and its lock */
    return ret;
}

int machine_attach(struct machine *machine, struct machine_desc *desc, const char *name, const char *map, bool map_given,
                   const struct arena_plan *plan, struct fmt *error)
{
    int ret;

    if (*name)
        ret = attach_named(machine, desc, name, map, map_given, plan, error);
    else
        ret = attach_unnamed(machine, desc, map, map_given, plan, error);
    if (ret < 0)
        return ret;
    machine->desc = desc;
    machine->arena_fd = fds_adopt(FD_ARENA, machine->arena_fd);
    machine->ram_fd = fds_adopt(FD_RAM, machine->ram_fd);
    machine->mem_fd = fds_adopt(FD_MEM, machine->mem_fd);
    if (machine->arena_fd < 0 || machine->ram_fd < 0 || machine->mem_fd < 0)
        return fail(error, "machine", "cannot keep its descriptors", -EMFILE);
    return 0;
}

struct arena_counters machine_totals(struct arena *arena)
{
    struct arena_counters totals = arena->counters;

    for (u32 i = 0; i < arena->ndevices; i++) {
        const struct arena_device *d = &arena_devices(arena)[i];

        totals.reads += d->reads + d->quiet[0];
        totals.writes += d->writes + d->quiet[1];
    }
    totals.accesses = totals.reads + totals.writes;
    return totals;
}
