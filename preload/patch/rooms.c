/*
 * Pools of slots for trampolines, each with the data of its site in a page
 * that the trampoline can address; and pages for jumps at addresses that puns
 * dictate. All of it is mapped to be run only, and written by write.c. Nothing
 * is ever unmapped: a thread may be anywhere in it.
 */
#include "patch/rooms.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/range.h"
#include "base/sys.h"
#include "base/trapsafe.h"

#define SLOT_SIZE  (TRAMPOLINE_MAX + 32) /* SLOT_JUMP before the trampoline, and the padding */
#define POOL_SLOTS 64
#define POOLS      1024
#define PAGES      16384
#define STEP       0x10000
#define HEAP       ((u64)256 << 20) /* room to grow for the program's heap */
#define FAR        ((u64)512 << 20)
#define LOWEST     ((u64)0x10000)
#define HIGHEST    ((u64)0x7fffffff0000)

struct pool {
    u64 code;
    struct patch_site *sites;
    u32 used; /* ever */
};

#define CODE_BYTES page_up(POOL_SLOTS * SLOT_SIZE)
#define SITE_BYTES page_up(POOL_SLOTS * sizeof(struct patch_site))

static struct pool pools[POOLS];
static u32 npools;
static struct patch_site *given_back[16]; /* slots of plans that were not used */

/* A page of rooms: bit i: byte i is taken. */
struct room_page {
    u64 base;
    u64 taken[PAGE_SIZE / 64];
};

static struct room_page *pages; /* ascending by first use; address space only until they are used */
static u32 npages;

/* ---- memory near the text ---- */

static bool in_heap(u64 at, u64 size)
{
    u64 end = (u64)sys(SYS_brk, 0);

    return at + size > page_down(end) && at < end + HEAP;
}

static bool no_memory; /* ulimit -v, or too many mappings: every place would be refused, and there are very many */

static bool map_at(u64 at, u64 size, int prot)
{
    void *got;

    if (no_memory || in_heap(at, size))
        return false;
    got = sys_mmap((void *)at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if ((u64)got == at) {
        sys(SYS_madvise, at, size, MADV_DONTDUMP);
        return true;
    }
    no_memory = (long)got == -ENOMEM && at + size <= HIGHEST;
    if (!sys_failed((long)got)) /* a kernel that does not know the flag */
        sys_munmap(got, size);
    return false;
}

/* The middle of [first, last] first, and places farther and farther from it on both sides. */
static u64 place_within(u64 first, u64 last, u64 size)
{
    u64 middle = page_down(first + (last - first) / 2);

    for (u64 k = 0; k * STEP < (last - first) / 2; k++) {
        if (map_at(middle - k * STEP, size, PROT_READ | PROT_EXEC))
            return middle - k * STEP;
        if (map_at(middle + k * STEP, size, PROT_READ | PROT_EXEC))
            return middle + k * STEP;
    }
    return 0;
}

/* Half a gigabyte below the text, where neither a heap grows nor the next library goes; else anywhere. */
static u64 place_near(u64 first, u64 last, u64 size)
{
    u64 middle = first + (last - first) / 2, below = middle > first + FAR ? middle - FAR : first;
    u64 place = place_within(below - MIN(below - first, FAR / 2), below + FAR / 2, size);

    return place ? place : place_within(first, last, size);
}

/* ---- slots ---- */

static struct pool *new_pool(u64 first, u64 last)
{
    struct pool *p = &pools[npools];
    u64 place = npools < POOLS && last > first ? place_near(first, last, CODE_BYTES + SITE_BYTES) : 0;

    if (!place || sys_mprotect((void *)(place + CODE_BYTES), SITE_BYTES, PROT_READ | PROT_WRITE) < 0)
        return NULL;
    *p = (struct pool){.code = place, .sites = (struct patch_site *)(place + CODE_BYTES)};
    __atomic_store_n(&npools, npools + 1, __ATOMIC_RELEASE);
    return p;
}

static u64 slot_of(const struct pool *p, const struct patch_site *site)
{
    return p->code + (u64)(site - p->sites) * SLOT_SIZE;
}

static const struct pool *pool_of(const struct patch_site *site)
{
    for (u32 i = 0; i < npools; i++)
        if ((u64)site - (u64)pools[i].sites < SITE_BYTES)
            return &pools[i];
    return NULL;
}

static struct patch_site *slot_within(u64 first, u64 last, u64 *code)
{
    for (unsigned i = 0; i < ARRAY_SIZE(given_back); i++) {
        struct patch_site *s = given_back[i];
        u64 at = s ? slot_of(pool_of(s), s) : 0;

        if (!s || at < first || at > last)
            continue;
        given_back[i] = NULL;
        *code = at;
        return s;
    }
    for (u32 i = npools; i-- > 0;) {
        struct pool *p = &pools[i];
        u64 at = p->code + (u64)p->used * SLOT_SIZE;

        if (p->used == POOL_SLOTS || at < first || at > last)
            continue;
        *code = at;
        return &p->sites[p->used++];
    }
    return NULL;
}

static struct patch_site *new_slot(u64 first, u64 last, u64 *slot)
{
    struct patch_site *s;

    first = MAX(first, LOWEST);
    last = MIN(last, HIGHEST) - SITE_BYTES - CODE_BYTES;
    s = slot_within(first, last, slot);
    if (!s && new_pool(first, last))
        s = slot_within(first, last, slot);
    return s;
}

struct patch_site *rooms_slot(u64 insn, u64 room, u64 *code)
{
    u64 reach = (u64)PUN_REACH, low = MAX(insn, room), high = MIN(insn, room), slot;
    struct patch_site *s = new_slot(low > reach ? low - reach : 0, high + reach, &slot);

    if (s)
        *code = slot + SLOT_JUMP;
    return s;
}

static const struct pool *pool_with(u64 rip)
{
    u32 n = __atomic_load_n(&npools, __ATOMIC_ACQUIRE);

    for (u32 i = 0; i < n; i++)
        if (rip - pools[i].code < CODE_BYTES)
            return &pools[i];
    return NULL;
}

struct patch_site *rooms_slot_at(u64 room, u64 *code)
{
    const struct pool *p = pool_with(room);

    if (!p || (room - p->code) % SLOT_SIZE)
        return NULL;
    *code = room + SLOT_JUMP;
    return &p->sites[(room - p->code) / SLOT_SIZE];
}

struct patch_site *rooms_site_of(u64 rip)
{
    const struct pool *p = pool_with(rip);
    u64 slot = p ? (rip - p->code) / SLOT_SIZE : POOL_SLOTS;

    return slot < POOL_SLOTS && p->sites[slot].at ? &p->sites[slot] : NULL;
}

/* ---- rooms ---- */

static bool room_free(const struct room_page *page, u64 at, unsigned size)
{
    for (u64 i = at - page->base; i < at - page->base + size; i++)
        if (page->taken[i / 64] >> i % 64 & 1)
            return false;
    return true;
}

static void room_set(struct room_page *page, u64 at, unsigned size, bool taken)
{
    for (u64 i = at - page->base; i < at - page->base + size; i++)
        page->taken[i / 64] = (page->taken[i / 64] & ~((u64)1 << i % 64)) | (u64)taken << i % 64;
}

/* The first of first, first + step, ... that is not below `from`. */
static u64 next_at(u64 first, u64 step, u64 from)
{
    return from <= first ? first : first + (from - first + step - 1) / step * step;
}

static bool take_in(struct room_page *page, u64 first, u64 last, u64 step, unsigned size, u64 *at)
{
    u64 end = page->base + PAGE_SIZE - size;

    for (u64 a = next_at(first, step, page->base); a <= last && a <= end; a += step)
        if (room_free(page, a, size)) {
            room_set(page, a, size, true);
            *at = a;
            return true;
        }
    return false;
}

static struct room_page *new_page(u64 base)
{
    struct room_page *page;

    if (!pages)
        pages = sys_pages(PAGES * sizeof(*pages));
    if (!pages || npages == PAGES || !map_at(base, PAGE_SIZE, PROT_READ | PROT_EXEC))
        return NULL;
    page = &pages[npages];
    page->base = base;
    __atomic_store_n(&npages, npages + 1, __ATOMIC_RELEASE);
    return page;
}

#define TRIES 48

/* New pages: spread over the choice, because neighbours tend to be taken alike. */
static bool take_new(u64 first, u64 last, u64 step, unsigned size, u64 *at)
{
    u64 choices = (last - first) / step + 1, stride = MAX(choices / TRIES, (u64)1);

    for (u64 k = 0; k < choices; k += stride) {
        u64 a = first + k * step;
        struct room_page *page = (a & ~PAGE_MASK) + size <= PAGE_SIZE ? new_page(page_down(a)) : NULL;

        if (page)
            return take_in(page, a, last, step, size, at);
        if (step * stride < PAGE_SIZE && choices > TRIES)
            k += PAGE_SIZE / step;
    }
    return false;
}

static bool take(void *context, u64 first, u64 last, u64 step, unsigned size, u64 *at)
{
    u64 slot;

    (void)context;
    if (step == 1 && last - first > (u64)PUN_REACH) {
        struct patch_site *s = new_slot(first, last, &slot);

        if (s) {
            *at = slot;
            return true;
        }
    }
    for (u32 i = npages; i-- > 0;)
        if (pages[i].base + PAGE_SIZE > first && pages[i].base <= last && take_in(&pages[i], first, last, step, size, at))
            return true;
    return take_new(first, last, step, size, at);
}

static void give_back(void *context, u64 at, unsigned size)
{
    u64 code;
    struct patch_site *s = rooms_slot_at(at, &code);

    (void)context;
    for (unsigned i = 0; s && i < ARRAY_SIZE(given_back); i++)
        if (!given_back[i]) {
            given_back[i] = s;
            return;
        }
    for (u32 i = 0; !s && i < npages; i++)
        if (at - pages[i].base < PAGE_SIZE)
            room_set(&pages[i], at, size, false);
}

const struct pun_space rooms_space = {.take = take, .give_back = give_back};

bool rooms_within(u64 base, u64 size)
{
    u32 n = __atomic_load_n(&npools, __ATOMIC_ACQUIRE), m = __atomic_load_n(&npages, __ATOMIC_ACQUIRE);
    struct range r = {base, size};

    for (u32 i = 0; i < n; i++)
        if (range_overlaps((struct range){pools[i].code, CODE_BYTES + SITE_BYTES}, r))
            return true;
    for (u32 i = 0; i < m; i++)
        if (range_overlaps((struct range){pages[i].base, PAGE_SIZE}, r))
            return true;
    return false;
}

void rooms_gone(void)
{
    __atomic_store_n(&npools, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&npages, 0, __ATOMIC_RELEASE);
}

bool rooms_have(u64 rip)
{
    u32 n = __atomic_load_n(&npages, __ATOMIC_ACQUIRE);

    if (pool_with(rip))
        return true;
    for (u32 i = 0; i < n; i++)
        if (rip - pages[i].base < PAGE_SIZE)
            return true;
    return false;
}
