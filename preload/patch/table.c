/* The lock, and sites by the addresses of their instructions. */
#include "patch/table.h"

#include <linux/futex.h>

#include "base/sys.h"
#include "base/trapsafe.h"

#define BOOK  ((u64)8 << 20)
#define SITES 65536u

struct pun_book table_book;
u32 table_sites;
static u32 lock; /* 0: free, 1: held, 2: held, and others wait */

/* ---- the lock ---- */

void patch_hold(void)
{
    u32 none = 0;

    if (__atomic_compare_exchange_n(&lock, &none, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    while (__atomic_exchange_n(&lock, 2, __ATOMIC_ACQUIRE))
        sys(SYS_futex, &lock, FUTEX_WAIT_PRIVATE, 2, NULL);
}

void patch_release(void)
{
    if (__atomic_exchange_n(&lock, 0, __ATOMIC_RELEASE) == 2)
        sys(SYS_futex, &lock, FUTEX_WAKE_PRIVATE, 1);
}

bool table_try_hold(void)
{
    u32 none = 0;

    return __atomic_compare_exchange_n(&lock, &none, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* ---- sites by address ---- */

static struct patch_site **sites; /* by address of the instruction, open addressing; an entry is never emptied */

static u32 slot_of(u64 at)
{
    return (u32)((at * 0x9e3779b97f4a7c15u) >> 48) % SITES;
}

struct patch_site *table_site(u64 at)
{
    if (likely(!__atomic_load_n(&table_sites, __ATOMIC_RELAXED)))
        return NULL;
    for (u32 i = slot_of(at);; i = (i + 1) % SITES) {
        struct patch_site *s = __atomic_load_n(&sites[i], __ATOMIC_ACQUIRE);

        if (!s || (s->at == at && !s->gone))
            return s;
    }
}

bool table_enter(struct patch_site *site)
{
    u32 i = slot_of(site->at);

    if (table_sites >= SITES / 2)
        return false;
    while (sites[i] && sites[i]->at != site->at)
        i = (i + 1) % SITES;
    table_sites += !sites[i];
    __atomic_store_n(&sites[i], site, __ATOMIC_RELEASE);
    return true;
}

const struct cpu_insn *patch_insn(u64 at)
{
    const struct patch_site *s = table_site(at);

    return s ? s->insn : NULL;
}

static u64 forgotten;

u64 patch_forgotten(void)
{
    return __atomic_load_n(&forgotten, __ATOMIC_ACQUIRE);
}

void table_forget(struct range r)
{
    __atomic_add_fetch(&forgotten, 1, __ATOMIC_SEQ_CST); /* before any of them is */
    for (u32 i = 0; i < SITES; i++)
        if (sites[i] && range_has(r, sites[i]->at))
            sites[i]->gone = true;
    pun_forget(&table_book, r.base, r.size);
}

void table_after_fork(void)
{
    lock = 0;
}

bool table_start(void)
{
    void *memory = sys_pages(BOOK);

    sites = sys_pages(SITES * sizeof(*sites));
    if (!memory || !sites)
        return false;
    pun_init(&table_book, memory, BOOK);
    return true;
}
