/*
 * Where the program reaches the machine without the help of a page's own
 * address: RAM at home, and mappings of /dev/mem at any address. The table is
 * sorted and read without a lock: a sequence number that is odd while it
 * changes tells readers to look again. Who changes it holds a lock, also while
 * the kernel is told, so that table and kernel agree for whoever holds it.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/sys.h"
#include "memory/ram.h"

/* Reserved address space only; pages come as they are used. The kernel has no more mappings either. */
#define MOST  65536u
#define SLACK 2u /* a cut splits twice before it takes out what lies between */

static struct alias *table;
static u32 count;
u32 alias_sequence;
static u32 holder; /* 0: nobody, 1: somebody, 2: somebody, and others wait */

/*
 * A program's stack may lie in RAM: its next page may be one that nobody wrote yet, and the fault comes in the middle of
 * what is done here. This thread then goes on with the table as it is.
 */
static __thread u32 depth __attribute__((tls_model("initial-exec")));

void alias_hold(void)
{
    u32 none = 0;

    if (depth++)
        return;
    if (__atomic_compare_exchange_n(&holder, &none, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    while (__atomic_exchange_n(&holder, 2, __ATOMIC_ACQUIRE))
        sys(SYS_futex, &holder, FUTEX_WAIT_PRIVATE, 2, NULL);
}

void alias_release(void)
{
    if (--depth)
        return;
    if (__atomic_exchange_n(&holder, 0, __ATOMIC_RELEASE) == 2)
        sys(SYS_futex, &holder, FUTEX_WAKE_PRIVATE, 1);
}

/* No such fault while the table is half changed: the stack that is needed until then is written before. */
static void touch_stack(void)
{
    __asm__ volatile("orq $0, -1024(%%rsp)" : : : "memory", "cc");
}

static void change_begin(void)
{
    touch_stack();
    __atomic_store_n(&alias_sequence, alias_sequence + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void change_end(void)
{
    __atomic_store_n(&alias_sequence, alias_sequence + 1, __ATOMIC_RELEASE);
}

void alias_after_fork(void)
{
    u32 kept = 0;

    /* A thread of the parent that held the table is not here to let go of it. */
    holder = 0;
    depth = 0;
    alias_sequence += 2 - (alias_sequence & 1); /* the table changes below */
    for (u32 i = 0; i < count; i++)
        if (!table[i].alone)
            table[kept++] = table[i];
    count = kept;
}

/* --- reading --- */

/* Index of the first entry that ends at or behind addr. */
static u32 lower(u64 addr)
{
    u32 low = 0, high = __atomic_load_n(&count, __ATOMIC_RELAXED);

    while (low < high) {
        u32 middle = low + (high - low) / 2;

        if (range_last(table[middle].range) < addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool alias_next(u64 addr, struct alias *alias)
{
    u32 before;
    bool found;

    do {
        u32 at;

        while (((before = __atomic_load_n(&alias_sequence, __ATOMIC_ACQUIRE)) & 1) && !depth) {
            alias_hold(); /* asleep until it is changed */
            alias_release();
        }
        at = lower(addr);
        found = at < __atomic_load_n(&count, __ATOMIC_RELAXED);
        if (found)
            *alias = table[at];
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while (!depth && __atomic_load_n(&alias_sequence, __ATOMIC_RELAXED) != before);
    return found;
}

bool alias_find(u64 addr, struct alias *alias)
{
    struct alias a;

    if (!alias_next(addr, &a) || !range_has(a.range, addr))
        return false;
    *alias = a;
    return true;
}

bool alias_overlaps(struct range range)
{
    struct alias a;

    return range.size && alias_next(range.base, &a) && range_overlaps(a.range, range);
}

bool alias_walk(struct range within, u64 *at, struct alias *part)
{
    struct alias a;

    if (!range_has(within, *at) || !alias_next(*at, &a))
        return false;
    part->range = range_clip(a.range, (struct range){*at, within.size - (*at - within.base)});
    if (!part->range.size)
        return false;
    part->machine = a.machine + (part->range.base - a.range.base);
    part->prot = a.prot;
    part->shared = a.shared;
    part->sealed = a.sealed;
    part->alone = a.alone;
    part->huge = a.huge;
    *at = range_last(part->range) + 1;
    return true;
}

bool alias_sealed(struct range range)
{
    struct alias part;
    u64 at = range.base;

    while (alias_walk(range, &at, &part))
        if (part.sealed)
            return true;
    return false;
}

struct stretcher {
    const struct alias *alias;
    void (*each)(void *, const struct stretch *);
    void *context;
};

static void stretch_piece(void *context, struct range piece, u64 file_offset)
{
    struct stretcher *s = context;
    const struct alias *a = s->alias;
    struct range ram = range_clip(piece, (struct range){a->machine, a->range.size});
    struct stretch out = {a->range.base + (ram.base - a->machine), ram, file_offset + (ram.base - piece.base), a->prot,
                          a->shared};

    if (ram.size)
        s->each(s->context, &out);
}

void alias_stretches(const struct view *view, const struct machine_desc *desc, const struct alias *alias,
                     void (*each)(void *context, const struct stretch *stretch), void *context)
{
    struct stretcher s = {alias, each, context};

    ram_pieces(view, desc, stretch_piece, &s);
}

/* --- changing: between change_begin and change_end --- */

static bool room(u32 more)
{
    if (!table)
        table = sys_pages((MOST + SLACK) * sizeof(*table));
    return table && count + more <= MOST;
}

/* The entry that addr would split; NULL: none. */
static const struct alias *torn(u64 addr)
{
    u32 at = lower(addr);

    return at < count && table[at].range.base < addr ? &table[at] : NULL;
}

/* A cut needs room only where it is a hole in one entry. */
static bool room_to_cut(struct range r)
{
    const struct alias *a = torn(r.base);

    return room(a && a == torn(range_last(r) + 1));
}

/* Makes addr the beginning of an entry, if it lies in one. */
static u32 split(u64 addr)
{
    u32 at = lower(addr);
    struct alias *a = &table[at];
    u64 n;

    if (at == count || a->range.base >= addr)
        return at;
    memmove(a + 1, a, (count - at) * sizeof(*a));
    count++;
    n = addr - a->range.base;
    a[0].range.size = n;
    a[1].range = (struct range){addr, a[1].range.size - n};
    a[1].machine += n;
    return at + 1;
}

static bool joins(const struct alias *a, const struct alias *b)
{
    return a->prot == b->prot && a->shared == b->shared && a->sealed == b->sealed && a->alone == b->alone && a->huge == b->huge &&
           b->range.base - a->range.base == a->range.size &&
           b->machine - a->machine == a->range.size;
}

/* Makes one entry of neighbours that are alike, from the one before `from` to the one at `to`. */
static void merge(u32 from, u32 to)
{
    u32 kept = from ? from - 1 : 0;
    u32 next = MIN(to + 1, count);

    if (kept >= next)
        return;
    for (u32 i = kept + 1; i < next; i++) {
        if (joins(&table[kept], &table[i]))
            table[kept].range.size += table[i].range.size;
        else
            table[++kept] = table[i];
    }
    memmove(&table[kept + 1], &table[next], (count - next) * sizeof(*table));
    count -= next - (kept + 1);
}

/* Takes a range out; returns where it was. */
static u32 cut(struct range r)
{
    u32 first = split(r.base), next = split(range_last(r) + 1);

    memmove(&table[first], &table[next], (count - next) * sizeof(*table));
    count -= next - first;
    return first;
}

static long add(const struct alias *alias)
{
    u32 at;

    if (!room(2))
        return -ENOMEM;
    change_begin();
    at = cut(alias->range);
    memmove(&table[at + 1], &table[at], (count - at) * sizeof(*table));
    table[at] = *alias;
    count++;
    merge(at, at + 1);
    change_end();
    return 0;
}

long alias_add(const struct alias *alias)
{
    long ret;

    alias_hold();
    ret = add(alias);
    alias_release();
    return ret;
}

bool alias_room(void)
{
    return count + 2 <= MOST;
}

void alias_forget(struct range range)
{
    struct range r = range_of_program(range);

    if (!r.size || !room_to_cut(r))
        return;
    change_begin();
    cut(r);
    change_end();
}

static long unmap(struct range range)
{
    struct range r = range_of_program(range);
    long ret;

    if (!r.size)
        return -EINVAL;
    if (!room_to_cut(r))
        return -ENOMEM;
    ret = sys_munmap((void *)range.base, range.size);
    if (ret == 0)
        alias_forget(range);
    return ret;
}

long alias_unmap(struct range range)
{
    long ret;

    alias_hold();
    ret = unmap(range);
    alias_release();
    return ret;
}

/* Changes entries in a range; aliases held. */
static long change(struct range range, void (*set)(struct alias *, int), int value)
{
    struct range r = range_of_program(range);
    u32 first, next;

    if (!r.size)
        return 0;
    if (!room(!!torn(r.base) + !!torn(range_last(r) + 1)))
        return -ENOMEM;
    change_begin();
    first = split(r.base);
    next = split(range_last(r) + 1);
    for (u32 i = first; i < next; i++)
        set(&table[i], value);
    merge(first, next);
    change_end();
    return 0;
}

static void set_prot(struct alias *a, int prot)
{
    a->prot = prot;
}

static void set_alone(struct alias *a, int alone)
{
    a->alone = alone;
}

static void set_huge(struct alias *a, int huge)
{
    a->huge = (u8)huge;
}

long alias_set_huge(struct range range, enum alias_huge huge)
{
    long ret;

    alias_hold();
    ret = change(range, set_huge, huge);
    alias_release();
    return ret;
}

long alias_protect(struct range range, int prot)
{
    return change(range, set_prot, prot);
}

long alias_fork(struct range range, bool inherited)
{
    return change(range, set_alone, !inherited);
}
