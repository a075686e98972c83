/*
 * Mappings of /dev/mem: machine addresses at any address of the program. The
 * table is small, sorted and read without a lock: a sequence number that is
 * odd while it changes tells readers to look again.
 */
#include <errno.h>
#include <sched.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/sys.h"
#include "memory/ram.h"

#define MOST 65536u /* reserved address space only; pages come as they are used */

static struct alias *table;
static u32 count;
static u32 sequence;
static u32 writer; /* threads change the table one at a time */

static void change_begin(void)
{
    while (__atomic_exchange_n(&writer, 1, __ATOMIC_ACQUIRE))
        sys(SYS_sched_yield);
    __atomic_store_n(&sequence, sequence + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void change_end(void)
{
    __atomic_store_n(&sequence, sequence + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&writer, 0, __ATOMIC_RELEASE);
}

static bool search(u64 addr, struct alias *found)
{
    u32 low = 0, high = __atomic_load_n(&count, __ATOMIC_RELAXED);

    while (low < high) {
        u32 middle = low + (high - low) / 2;
        struct alias a = table[middle];

        if (range_has(a.range, addr)) {
            *found = a;
            return true;
        }
        if (a.range.base <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

bool alias_find(u64 addr, struct alias *alias)
{
    u32 before;
    bool found;

    if (likely(!__atomic_load_n(&count, __ATOMIC_RELAXED)) && !(__atomic_load_n(&sequence, __ATOMIC_RELAXED) & 1))
        return false;
    do {
        while ((before = __atomic_load_n(&sequence, __ATOMIC_ACQUIRE)) & 1)
            sys(SYS_sched_yield);
        found = search(addr, alias);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while (__atomic_load_n(&sequence, __ATOMIC_RELAXED) != before);
    return found;
}

static void insert(struct alias a)
{
    u32 at = count;

    if (!table)
        table = sys_pages(MOST * sizeof(*table));
    if (!table || count == MOST)
        return;
    while (at > 0 && table[at - 1].range.base > a.range.base)
        at--;
    memmove(&table[at + 1], &table[at], (count - at) * sizeof(a));
    table[at] = a;
    count++;
}

static void drop(u32 at)
{
    memmove(&table[at], &table[at + 1], (count - at - 1) * sizeof(*table));
    count--;
}

/* Cuts [r] out of every alias; what is cut out goes to `each`. Table being changed. */
static void cut(struct range r, void (*each)(struct alias part, int prot), int prot)
{
    for (u32 i = 0; i < count;) {
        struct alias a = table[i];
        struct range hit = range_clip(a.range, r);

        if (!hit.size) {
            i++;
            continue;
        }
        drop(i);
        if (hit.base > a.range.base)
            insert((struct alias){{a.range.base, hit.base - a.range.base}, a.machine, a.prot});
        if (range_last(hit) < range_last(a.range))
            insert((struct alias){{range_last(hit) + 1, range_last(a.range) - range_last(hit)},
                                  a.machine + (range_last(hit) + 1 - a.range.base), a.prot});
        if (each)
            each((struct alias){hit, a.machine + (hit.base - a.range.base), a.prot}, prot);
        i = 0;
        if (each)
            return; /* the part went back into the table: the caller goes on behind it */
    }
}

void alias_forget(u64 addr, u64 length)
{
    if (!__atomic_load_n(&count, __ATOMIC_RELAXED) || !length)
        return;
    change_begin();
    cut((struct range){addr, page_up(length)}, NULL, 0);
    change_end();
}

static void add(struct range range, u64 machine, int prot)
{
    change_begin();
    insert((struct alias){range, machine, prot});
    change_end();
}

/* One span of a mapping: RAM is mapped, the rest stays reserved and traps. Returns 0 or -errno. */
static long map_span(const struct machine *m, const struct view *view, u64 at, struct range span, int prot, int flags)
{
    u64 file_offset;
    long got;

    if (view_trapped(view, span.base) || !machine_ram_offset(m->desc, span.base, &file_offset))
        return 0;
    got = (long)sys_mmap((void *)at, span.size, prot, (flags & (MAP_SHARED | MAP_PRIVATE)) | MAP_FIXED | MAP_NORESERVE,
                         m->ram_fd, file_offset);
    return sys_failed(got) ? got : 0;
}

/* How far from a machine address, page by page, does one kind of thing go? */
static u64 same_kind(const struct machine *m, const struct view *view, u64 addr, u64 length)
{
    u64 first = 0, next = 0;
    bool ram = !view_trapped(view, addr) && machine_ram_offset(m->desc, addr, &first);
    struct view_span span = view_find(view, addr);
    u64 n = PAGE_SIZE;

    if (!ram && span.kind == VIEW_NONE && !view_trapped(view, addr))
        return MIN(length, MAX(PAGE_SIZE, page_down(range_last(span.range)) - addr));
    while (n < length) {
        bool here = !view_trapped(view, addr + n) && machine_ram_offset(m->desc, addr + n, &next);

        if (here != ram || (ram && next != first + n))
            break;
        n += PAGE_SIZE;
    }
    return MIN(n, length);
}

long alias_map(const struct machine *machine, const struct view *view, void *addr, u64 length, int prot, int flags,
               u64 offset)
{
    long base;
    u64 size = page_up(length);

    if (!length || !(flags & MAP_TYPE) || (offset & ~PAGE_MASK) || !range_valid((struct range){offset, size}))
        return -EINVAL;
    base = (long)sys_mmap(addr, size, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT)),
                          -1, 0);
    if (sys_failed(base))
        return base;
    alias_forget((u64)base, size);
    add((struct range){(u64)base, size}, offset, prot);
    for (u64 done = 0; done < size;) {
        u64 n = same_kind(machine, view, offset + done, size - done);
        long got = map_span(machine, view, (u64)base + done, (struct range){offset + done, n}, prot, flags);

        if (got < 0) {
            alias_forget((u64)base, size);
            sys_munmap((void *)base, size);
            return got;
        }
        done += n;
    }
    return base;
}

static void set_prot(struct alias part, int prot)
{
    part.prot = prot;
    insert(part);
}

bool alias_protect(const struct view *view, u64 addr, u64 length, int prot)
{
    struct range rest = {addr, page_up(length)};
    struct alias a;
    bool all = true;

    for (u64 at = 0; at < rest.size; at += PAGE_SIZE) {
        struct range page = {addr + at, PAGE_SIZE};

        if (!alias_find(page.base, &a)) {
            if (!view_trapped(view, page.base))
                all = false;
            continue;
        }
        change_begin();
        cut(page, set_prot, prot);
        change_end();
        if (view_find(view, a.machine + (page.base - a.range.base)).kind == VIEW_RAM &&
            !view_trapped(view, a.machine + (page.base - a.range.base)))
            all = false;
    }
    return all;
}

void alias_ram_pieces(void (*each)(void *context, struct range piece, u64 machine_addr), void *context)
{
    for (u32 i = 0; i < count; i++)
        each(context, table[i].range, table[i].machine);
}

bool alias_overlaps(struct range range)
{
    if (!range.size)
        return false;
    for (u32 i = 0; i < count; i++)
        if (range_overlaps(table[i].range, range))
            return true;
    return false;
}

void alias_after_fork(void)
{
    /* A thread of the parent that was changing the table is not here to finish. */
    writer = 0;
    sequence += sequence & 1;
}
