#include "memory/huge.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <time.h>
#include <unistd.h>

#include "base/fds.h"
#include "base/mem.h"
#include "base/sys.h"
#include "memory/dirty.h"
#include "memory/dma.h"
#include "memory/users.h"

static const struct machine *machine;
static struct huge *h;

u64 huge_bytes(const struct machine_pools *pools)
{
    return sizeof(struct huge) + (pools->huge.size >> HUGE_SHIFT) * sizeof(struct huge_page);
}

void huge_create(struct huge *new, const struct machine_desc *desc, const struct machine_pools *pools)
{
    new->base = pools->huge.base;
    new->pages = (u32)(pools->huge.size >> HUGE_SHIFT);
    for (u32 i = 0; i < new->pages; i++) {
        struct range page = {new->base + ((u64)i << HUGE_SHIFT), HUGE_SIZE};

        if (pools_free(desc, pools, page))
            new->usable++;
        else
            new->table[i].file = HUGE_NONE;
    }
    new->wanted = MIN(pools->huge_boot, new->usable);
}

void huge_start(const struct machine *m)
{
    machine = m;
    h = huge_of(m->arena);
}

void huge_hold(const struct lock_self *self)
{
    lock_take(&h->lock, self);
}

void huge_let_go(const struct lock_self *self)
{
    lock_release(&h->lock, self);
}

/* Pages [first, first + count) of a file become another one's, 0: free. */
static void give_pages(u32 number, u64 first, u64 count, u32 to)
{
    for (u32 i = 0; i < h->pages; i++)
        if (h->table[i].file == number && h->table[i].index >= first && h->table[i].index - first < count)
            h->table[i] = (struct huge_page){to, to ? h->table[i].index : 0, 0};
}

/* --- files --- */

/* What another process wrote is not trusted. */
static u32 used_files(void)
{
    return MIN(h->used_files, HUGE_FILES);
}

struct huge_file *huge_file(u32 number)
{
    return number && number <= used_files() && h->files[number - 1].kind != HUGE_FREE ? &h->files[number - 1] : NULL;
}

static bool is_in(u32 number, u32 dir)
{
    const struct huge_file *f = huge_file(number);

    return f && f->linked && f->parent == dir;
}

u32 huge_list(u32 dir, u32 n)
{
    for (u32 i = 1; i <= used_files(); i++)
        if (is_in(i, dir) && n-- == 0)
            return i;
    return 0;
}

u32 huge_find(u32 dir, const char *name)
{
    for (u32 i = 1; i <= used_files(); i++)
        if (is_in(i, dir) && strncmp(h->files[i - 1].name, name, HUGE_NAME) == 0)
            return i;
    return 0;
}

static u32 free_entry(void)
{
    for (u32 i = 0; i < used_files(); i++)
        if (h->files[i].kind == HUGE_FREE)
            return i + 1;
    return h->used_files < HUGE_FILES ? ++h->used_files : 0;
}

static i64 now(void)
{
    struct timespec t = {0};

    sys(SYS_clock_gettime, CLOCK_REALTIME, &t);
    return t.tv_sec;
}

long huge_make(u32 dir, const char *name, enum huge_kind kind, u16 mode)
{
    u32 number;

    if (name && strlen(name) >= HUGE_NAME)
        return -ENAMETOOLONG;
    if (name && huge_find(dir, name))
        return -EEXIST;
    number = free_entry();
    if (!number) {
        huge_collect();
        number = free_entry();
    }
    if (!number)
        return -ENOSPC;
    h->files[number - 1] = (struct huge_file){.kind = kind, .linked = name, .mode = mode, .parent = dir, .changed = now()};
    if (name)
        memcpy(h->files[number - 1].name, name, strlen(name));
    return number;
}

void huge_drop(u32 number)
{
    give_pages(number, 0, UINT64_MAX, 0);
    h->files[number - 1] = (struct huge_file){.kind = HUGE_FREE};
}

long huge_unlink(u32 number)
{
    struct huge_file *f = huge_file(number);

    if (f->kind == HUGE_DIR && huge_list(number, 0))
        return -ENOTEMPTY;
    f->linked = false;
    if (f->kind == HUGE_DIR || (!f->ino && !huge_pages_of(number)))
        huge_drop(number);
    return 0;
}

u32 huge_by_identity(u64 dev, u64 ino)
{
    for (u32 i = 1; i <= used_files(); i++)
        if (h->files[i - 1].kind == HUGE_FILE && h->files[i - 1].ino == ino && h->files[i - 1].dev == dev)
            return i;
    return 0;
}

long huge_resize(u32 number, u64 size)
{
    struct huge_file *f = huge_file(number);

    if (size & ~HUGE_MASK)
        return -EINVAL;
    if (size < f->size)
        huge_punch(number, size >> HUGE_SHIFT, UINT64_MAX);
    f->size = size;
    f->changed = now();
    return 0;
}

/* --- who uses what --- */

enum { OPEN = 1, HAS_PAGES = 2 };

struct marks {
    u8 file[HUGE_FILES];
};

static bool mark_file(void *context, u32 pid, u32 fd, u64 dev, u64 ino)
{
    struct marks *m = context;
    u32 number = huge_by_identity(dev, ino);

    (void)pid;
    (void)fd;
    if (number)
        m->file[number - 1] = OPEN;
    return true;
}

/* Everything but RAM at its own address, and the devices' mapping of it all (dma.c), which is larger than the pool. */
static void mark_ram(void *context, const struct kernel_mapping *map)
{
    struct range pool = {h->base, (u64)h->pages << HUGE_SHIFT};
    u64 addr;

    (void)context;
    if (!users_address(machine->desc, map->offset, &addr) || addr == map->range.base ||
        !range_contains(pool, addr, map->range.size))
        return;
    for (u64 i = (addr - h->base) >> HUGE_SHIFT; i <= (addr - h->base + (map->range.size - 1)) >> HUGE_SHIFT; i++)
        h->table[i].mapped = 1;
}

/* Pages of files that nobody can open or map any more, and that nobody has mapped. */
static void free_unused(struct marks *m)
{
    for (u32 i = 0; i < h->pages; i++) {
        const struct huge_file *f = huge_file(h->table[i].file);
        u8 *mark = f ? &m->file[f - h->files] : NULL;

        if (!f || f->linked || (*mark & OPEN))
            continue;
        if (h->table[i].mapped)
            *mark |= HAS_PAGES;
        else
            h->table[i] = (struct huge_page){0};
    }
}

/* keep: a file that is being made, and has no use yet. */
static void collect(u32 keep)
{
    struct marks marks = {{0}};
    struct users users = {&marks, mark_file, mark_ram};
    bool any = false;

    __atomic_store_n(&h->stale, 0, __ATOMIC_RELAXED);
    for (u32 i = 1; i <= used_files() && !any; i++)
        any = huge_file(i) && !h->files[i - 1].linked;
    for (u32 i = 0; i < h->pages && any; i++)
        h->table[i].mapped = 0;
    /* A child that was just made is no member yet: what it has from a parent that is gone would be taken from it. */
    if (!any || __atomic_load_n(&machine->arena->pending, __ATOMIC_RELAXED) || !users_walk(machine->arena, &users))
        return;
    free_unused(&marks);
    for (u32 i = 1; i <= used_files(); i++)
        if (i != keep && huge_file(i) && !h->files[i - 1].linked && !marks.file[i - 1])
            h->files[i - 1] = (struct huge_file){.kind = HUGE_FREE};
}

void huge_collect(void)
{
    collect(0);
}

/* --- pages --- */

static u64 address(u32 page)
{
    return h->base + ((u64)page << HUGE_SHIFT);
}

/* The table's size is what the description says, and no more is looked at. */
static u32 find_page(u32 number, u64 index)
{
    for (u32 i = 0; i < h->pages; i++)
        if (h->table[i].file == number && h->table[i].index == index)
            return i;
    return HUGE_NONE;
}

u64 huge_page_at(u32 number, u64 index)
{
    static u32 last; /* files are mapped page after page */
    u32 next = last + 1, page;

    if (next < h->pages && h->table[next].file == number && h->table[next].index == index)
        page = next;
    else
        page = find_page(number, index);
    if (page == HUGE_NONE)
        return 0;
    last = page;
    return address(page);
}

u32 huge_owner(u64 addr, u64 *index)
{
    struct range pool = {h->base, (u64)h->pages << HUGE_SHIFT};
    const struct huge_page *page = range_has(pool, addr) ? &h->table[(addr - h->base) >> HUGE_SHIFT] : NULL;

    *index = page ? page->index : 0;
    return page && huge_file(page->file) ? page->file : 0;
}

u64 huge_pages_of(u32 number)
{
    u64 n = 0;

    for (u32 i = 0; i < h->pages; i++)
        n += h->table[i].file == number;
    return n;
}

/* They get a file of their own, without a name. */
void huge_punch(u32 number, u64 first, u64 count)
{
    long orphan = huge_make(0, NULL, HUGE_FILE, 0);

    if (orphan > 0)
        give_pages(number, first, count, (u32)orphan);
}

/* A hole reads as zeroes, and costs nothing. Where the RAM file cannot have one, zeroes are written. */
static void zero(u32 page)
{
    static const u8 nothing[PAGE_SIZE];
    u64 offset, addr = address(page), at;
    int fd = fds_get(FD_RAM);

    if (!machine_ram_offset(machine->desc, addr, &offset))
        return;
    at = (u64)sys(SYS_lseek, fd, offset, SEEK_DATA);
    if (sys_failed((long)at) ? (long)at == -ENXIO : at - offset >= HUGE_SIZE)
        return; /* nobody ever wrote there */
    dirty_mark(addr, HUGE_SIZE);
    if (sys(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, HUGE_SIZE) == 0)
        return;
    for (u64 done = 0; done < HUGE_SIZE; done += PAGE_SIZE)
        dma_write(addr + done, nothing, PAGE_SIZE);
}

static u64 used_pages(void)
{
    u64 n = 0;

    for (u32 i = 0; i < h->pages; i++)
        n += h->table[i].file && h->table[i].file != HUGE_NONE;
    return n;
}

static u64 free_pages(void)
{
    u64 used = used_pages(), most = MIN((u64)h->usable, (u64)h->wanted + h->overcommit);

    return most > used ? most - used : 0;
}

/* Where `count` pages lie free side by side; else the first free one at or behind `from`. */
static u32 room_for(u64 count)
{
    u64 run = 0;

    for (u32 i = 0; i < h->pages; i++) {
        run = h->table[i].file ? 0 : run + 1;
        if (run == count)
            return i + 1 - (u32)count;
    }
    return 0;
}

static void fill(u32 number, u64 first, u64 count, u64 missing)
{
    u32 page = room_for(missing);

    for (u64 i = first; i - first < count; i++) {
        if (find_page(number, i) != HUGE_NONE)
            continue;
        while (page < h->pages && h->table[page].file)
            page++;
        if (page == h->pages)
            return;
        zero(page);
        h->table[page++] = (struct huge_page){number, (u32)i, 0};
    }
}

long huge_fill(u32 number, u64 first, u64 count)
{
    u64 missing = count;

    if (count > h->pages || first > UINT32_MAX - count)
        return -ENOMEM;
    for (u32 i = 0; i < h->pages; i++)
        missing -= h->table[i].file == number && h->table[i].index - first < count;
    if (missing && (missing > free_pages() || __atomic_load_n(&h->stale, __ATOMIC_RELAXED)))
        collect(number);
    if (missing > free_pages())
        return -ENOMEM;
    if (missing)
        fill(number, first, count, missing);
    return 0;
}

/* --- counts --- */

struct huge_counts huge_counts(void)
{
    struct huge_counts c = {.overcommit = h->overcommit};
    u64 used;

    huge_collect();
    used = used_pages();
    c.wanted = MIN(h->wanted, h->usable);
    c.total = MAX(c.wanted, used);
    c.free = c.total - used;
    c.surplus = c.total - c.wanted;
    return c;
}

void huge_unmapped(void)
{
    __atomic_store_n(&h->stale, 1, __ATOMIC_RELAXED);
}

void huge_want(u64 pages)
{
    h->wanted = (u32)MIN(pages, (u64)h->usable);
}

void huge_overcommit(u64 pages)
{
    h->overcommit = (u32)MIN(pages, (u64)UINT32_MAX);
}
