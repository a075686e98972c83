#include "trap/recall.h"

#include <sys/mman.h>

#include "base/sys.h"
#include "base/trapsafe.h"

struct recall *recall_make(void)
{
    void *p = sys_mmap(NULL, sizeof(struct recall), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (sys_failed((long)p))
        return NULL;
    sys(SYS_madvise, p, sizeof(struct recall), MADV_DONTDUMP);
    return p;
}

static u64 mix(u64 word)
{
    word *= 0x9e3779b97f4a7c15ULL;
    return word ^ word >> 32;
}

static unsigned place_of(u64 rip)
{
    return (unsigned)(rip ^ rip >> 7) % RECALL_PLACES;
}

static u64 return_address(const struct recall *recall, const struct walk_start *start)
{
    const struct return_place *place = &recall->place[place_of(start->rip)];
    u64 value = 0;

    if (place->rip == start->rip)
        probe_word((place->rbp ? start->rbp : start->rsp) + (u64)(i64)place->offset, &value);
    return value;
}

static unsigned set_of(const struct recall *recall, const struct walk_start *start)
{
    return (unsigned)(mix(start->rip ^ start->rsp << 20 ^ return_address(recall, start) << 7) >> 16) % RECALL_SETS;
}

static bool same_start(const struct recalled *walk, const struct walk_start *start)
{
    return walk->start.rip == start->rip && walk->start.rsp == start->rsp && walk->start.epoch == start->epoch &&
           walk->start.max == start->max && (walk->start.rbp == start->rbp || !walk->rbp);
}

struct stack *recall_find(const struct recall *recall, const struct walk_start *start)
{
    const struct recalled *way = recall->set[set_of(recall, start)];

    for (unsigned i = 0; i < RECALL_WAYS; i++, way++)
        if (same_start(way, start) && way->stack && probe_same(way->word, way->count))
            return way->stack;
    return NULL;
}

/* A way that is empty or out of date, else each in its turn. */
static struct recalled *victim(struct recalled *way, u32 epoch)
{
    for (unsigned i = 0; i < RECALL_WAYS; i++)
        if (!way[i].stack || way[i].start.epoch != epoch)
            return &way[i];
    return &way[way[0].turn++ % RECALL_WAYS];
}

struct recalled *recall_begin(struct recall *recall, const struct walk_start *start, const struct return_place *place,
                              struct reads *reads)
{
    struct recalled *walk;

    *reads = (struct reads){.lost = true};
    if (!recall)
        return NULL;
    recall->place[place_of(start->rip)] = *place;
    walk = victim(recall->set[set_of(recall, start)], start->epoch);
    /* Whoever finds it half written, as a child of fork may, finds it empty. */
    __atomic_store_n(&walk->stack, NULL, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    walk->start = *start;
    *reads = (struct reads){.word = walk->word, .room = RECALL_WORDS};
    return walk;
}

struct recalled *recall_end(struct recalled *walk, const struct reads *reads)
{
    if (!walk || reads->lost || !reads->count)
        return NULL;
    walk->count = reads->count;
    walk->rbp = reads->rbp;
    return walk;
}

void recall_keep(struct recalled *walk, struct stack *stack)
{
    __atomic_store_n(&walk->stack, stack, __ATOMIC_RELEASE);
}
