#include "memory/closed.h"

#include <asm-generic/errno-base.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/sys.h"
#include "memory/dirty.h"
#include "memory/kernel_maps.h"
#include "base/trapsafe.h"

static const struct machine *machine;
static const struct view *view;

/* All below is changed while aliases are held. */
static u32 left;    /* pieces that may be opened before mappings are counted again */
static u64 granule; /* what a fault opens, aligned: grows as mappings must be saved */

#define LARGEST (4096 * PAGE_SIZE) /* granule */
#define FEWEST  64u   /* pieces between two counts, where the program itself has nearly used up its mappings */
#define BLIND   8192u /* and where they cannot be counted */

int closed_prot(int prot)
{
    /* On x86 a page that can be written can be read. */
    return prot & PROT_WRITE ? (prot & ~PROT_WRITE) | PROT_READ : prot;
}

void closed_close(const struct stretch *s)
{
    if (s->shared && (s->prot & PROT_WRITE))
        sys_mprotect((void *)s->addr, s->ram.size, closed_prot(s->prot));
}

/* --- gaps: what is closed between two pieces that are open --- */

/* Sizes in pages: exact below 64, then by powers of two. */
#define EXACT 64u
#define SIZES (EXACT + 58)

static u32 size_class(u64 size)
{
    u64 n = size / PAGE_SIZE;

    return n < EXACT ? (u32)n : EXACT + (57 - (u32)__builtin_clzll(n));
}

struct survey {
    struct stretch at; /* the stretch that was looked up last */
    u64 open_to;       /* end of an open piece, 0: what came last was none */
    struct range gap;  /* a closed piece behind one that is open */
    u64 addr;          /* looked for */
    struct range piece; /* the closed piece around it */
    u32 all, ours;     /* mappings */
    u32 gaps[SIZES];
    u32 largest; /* gaps up to this class are opened; 0: none */
};

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

/* Does a mapping lie in RAM that the program may write? Then the stretch around it is v->at. */
static bool tracked(struct survey *v, const struct kernel_mapping *m)
{
    struct lookup l = {.addr = m->range.base};
    struct alias a;

    if (!m->shared || m->inode != machine->arena->ram_ino)
        return false;
    if (range_contains((struct range){v->at.addr, v->at.ram.size}, m->range.base, m->range.size))
        return true;
    if (!alias_find(m->range.base, &a) || !a.shared || !(a.prot & PROT_WRITE))
        return false;
    alias_stretches(view, machine->desc, &a, note_stretch, &l);
    v->at = l.found;
    return range_contains((struct range){v->at.addr, v->at.ram.size}, m->range.base, m->range.size);
}

/* Opens all of [addr, addr+size) in a stretch. 0 or -errno. */
static long open_piece(const struct stretch *s, u64 addr, u64 size)
{
    dirty_mark(s->ram.base + (addr - s->addr), size);
    return sys_mprotect((void *)addr, size, s->prot);
}

static void end_gap(struct survey *v)
{
    u32 class = size_class(v->gap.size);

    if (v->largest >= class)
        open_piece(&v->at, v->gap.base, v->gap.size);
    v->gaps[class]++;
}

static void look(void *context, const struct kernel_mapping *m)
{
    struct survey *v = context;
    bool ours = tracked(v, m), behind = v->open_to == m->range.base;
    u64 end = range_last(m->range) + 1;

    v->all++;
    v->ours += ours;
    if (ours && m->write) {
        if (v->gap.size && range_last(v->gap) + 1 == m->range.base &&
            range_contains((struct range){v->at.addr, v->at.ram.size}, v->gap.base, v->gap.size))
            end_gap(v);
        v->open_to = end;
        v->gap.size = 0;
        return;
    }
    v->open_to = 0;
    v->gap = ours && behind ? m->range : (struct range){0, 0};
    if (ours && range_has(m->range, v->addr))
        v->piece = m->range;
}

/* --- how much may be opened --- */

/* How many mappings may RAM take? Half of what the program leaves. */
static u32 allowed(const struct survey *v)
{
    u32 limit = kernel_maps_limit(), own = v->all - v->ours;

    return own < limit ? (limit - own) / 2 : 0;
}

/* Opens gaps, the smallest first, until RAM takes no more than `most` mappings, if that can be. How many it takes then. */
static u32 coarsen(const struct survey *v, u32 most)
{
    struct survey again = {.largest = 0};
    u32 ours = v->ours;

    while (ours > most && again.largest < SIZES - 1) {
        u32 gives = 2 * v->gaps[++again.largest];

        ours -= MIN(ours, gives);
    }
    if (again.largest)
        kernel_maps_walk(look, &again);
    return ours;
}

/* Looks how many mappings there are, and makes them fewer where they are too many. */
static void count_again(void)
{
    struct survey v = {.addr = 0};
    u32 most, ours;

    if (!kernel_maps_walk(look, &v)) {
        granule = MIN(granule * 8, LARGEST);
        left = BLIND;
        return;
    }
    most = allowed(&v);
    ours = v.ours;
    if (ours > most - most / 4) {
        ours = coarsen(&v, most / 2);
        granule = MIN(granule * 2, LARGEST);
    }
    left = MAX((most - MIN(most, ours)) / 2, FEWEST);
}

/* --- when there are no mappings left --- */

/*
 * Opening all of RAM may need a few mappings before it gives many back; these
 * are kept for that.
 */
#define SPARE 8
static u8 *spare;

static void spare_keep(void)
{
    long p;

    if (spare)
        return;
    p = (long)sys_mmap(NULL, 2 * SPARE * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_failed(p))
        return;
    for (u64 i = 0; i < SPARE; i++)
        sys_mprotect((void *)((u64)p + 2 * i * PAGE_SIZE), PAGE_SIZE, PROT_READ);
    spare = (u8 *)p;
}

static void open_stretch(void *context, const struct stretch *s)
{
    (void)context;
    if (s->shared && (s->prot & PROT_WRITE))
        open_piece(s, s->addr, s->ram.size);
}

static void open_all(void)
{
    const struct range everywhere = {0, UINT64_MAX};
    struct alias part;
    u64 at = 0;

    if (spare)
        sys_munmap(spare, 2 * SPARE * PAGE_SIZE);
    spare = NULL;
    while (alias_walk(everywhere, &at, &part))
        alias_stretches(view, machine->desc, &part, open_stretch, NULL);
}

/* The kernel has no mapping left for [addr, addr+size). 0 or -errno. */
static long open_without(const struct stretch *s, u64 addr, u64 size)
{
    struct survey v = {.addr = addr};
    long ret = -ENOMEM;

    if (kernel_maps_walk(look, &v)) {
        if (coarsen(&v, v.ours / 2) < v.ours)
            ret = sys_mprotect((void *)addr, size, s->prot);
        /* A whole piece needs no mapping more. */
        v.piece = range_clip(v.piece, (struct range){s->addr, s->ram.size});
        if (ret == -ENOMEM && range_contains(v.piece, addr, size))
            ret = open_piece(s, v.piece.base, v.piece.size);
    }
    if (ret == -ENOMEM) {
        open_all();
        ret = sys_mprotect((void *)addr, size, s->prot);
    }
    left = FEWEST;
    return ret;
}

bool closed_open(const struct stretch *s, u64 addr, u64 len)
{
    u64 first = page_down(addr), size = page_up((addr - first) + len);
    u64 begin = MAX(first & ~(granule - 1), s->addr);
    u64 last = MIN((first + (size - 1)) | (granule - 1), s->addr + (s->ram.size - 1));
    long ret = -ENOMEM;

    if (left)
        left--;
    else
        count_again();
    if (granule > PAGE_SIZE)
        ret = open_piece(s, begin, last - begin + 1);
    /* Only what is asked for, where there is something else in the granule, or no mapping left for it. */
    if (ret < 0)
        ret = open_piece(s, first, size);
    if (ret == -ENOMEM)
        ret = open_without(s, first, size);
    return ret == 0;
}

void closed_forget(void)
{
    left = BLIND;
    granule = PAGE_SIZE;
}

void closed_start(const struct machine *m, const struct view *v)
{
    machine = m;
    view = v;
    closed_forget();
    kernel_maps_start();
    spare_keep();
}
