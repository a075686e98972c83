/* IOMMU tables against a model that is a list; under fire; after a death. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

#include "base/process.h"
#include "base/sys.h"
#include "memory/iommu.h"
#include "memory/iommu_tree.h"
#include "unit.h"

enum { OWNER = 3, PAGE = 4096 };

static struct iommu *t;

static struct lock_self me(void)
{
    u32 pid = (u32)getpid();

    return (struct lock_self){.tid = (u32)sys_gettid(), .pid = pid, .start = process_start(pid)};
}

static struct lock_self self;

static void set_up(void)
{
    t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(t != MAP_FAILED);
    self = me();
    for (u32 id = 1; id <= 3; id++)
        CHECK(iommu_add(t, OWNER, id, id == 3));
}

static int map(u32 domain, u64 first, u64 last, u64 target, u8 flags)
{
    struct iommu_mapping m = {.first = first, .last = last, .target = target, .flags = flags};

    return iommu_map(t, OWNER, domain, &m, &self);
}

/* Where a byte lies and how much behind it; ~0: nowhere. */
static u64 look(u32 id, u64 addr, u64 *len, bool write, struct iommu_fault *fault)
{
    struct iommu_endpoint *ep = iommu_find(t, OWNER, id);
    u64 machine;
    bool ok;

    iommu_enter(ep, &self);
    ok = iommu_translate(t, ep, addr, len, write, &machine, fault);
    iommu_leave(ep, &self);
    return ok ? machine : ~0ull;
}

static u64 where(u32 id, u64 addr, bool write)
{
    struct iommu_fault fault;
    u64 len = 1;

    return look(id, addr, &len, write, &fault);
}

TEST(a_domain_lives_as_long_as_somebody_is_attached)
{
    set_up();
    CHECK_EQ(map(9, 0, PAGE - 1, 0, 3), -ENOENT);
    CHECK_EQ(iommu_attach(t, OWNER, 9, 4, false, &self), -ENOENT);
    CHECK_EQ(iommu_attach(t, OWNER + 1, 9, 1, false, &self), -ENOENT);
    CHECK_EQ(iommu_attach(t, OWNER, 9, 1, false, &self), 0);
    CHECK_EQ(iommu_attach(t, OWNER, 9, 1, false, &self), 0);
    CHECK_EQ(map(9, 0, PAGE - 1, 0x80000000, 3), 0);
    CHECK_EQ(where(1, 5, false), 0x80000005);
    CHECK_EQ(where(2, 5, false), ~0ull);
    CHECK_EQ(iommu_attach(t, OWNER, 9, 2, false, &self), 0);
    CHECK_EQ(where(2, 5, true), 0x80000005);
    CHECK_EQ(iommu_detach(t, OWNER, 8, 1, &self), -ENOTCONN);
    CHECK_EQ(iommu_detach(t, OWNER, 9, 3, &self), -ENOTCONN);
    CHECK_EQ(iommu_detach(t, OWNER, 9, 4, &self), -ENOENT);
    CHECK_EQ(iommu_detach(t, OWNER, 9, 1, &self), 0);
    CHECK_EQ(where(1, 5, false), ~0ull);
    CHECK_EQ(where(2, 5, false), 0x80000005);
    CHECK_EQ(iommu_detach(t, OWNER, 9, 2, &self), 0);
    CHECK_EQ(map(9, 0, PAGE - 1, 0, 3), -ENOENT);
    CHECK_EQ(iommu_attach(t, OWNER, 9, 2, false, &self), 0);
    CHECK_EQ(where(2, 5, false), ~0ull); /* the new one has nothing of the old */
    /* From one domain to another, which makes room for it. */
    for (u32 d = 100; d < 100 + 2 * IOMMU_DOMAINS; d++)
        CHECK_EQ(iommu_attach(t, OWNER, d, 1, false, &self), 0);
}

TEST(bypass)
{
    set_up();
    CHECK_EQ(where(1, 5, true), ~0ull);
    CHECK_EQ(where(3, 5, true), 5);
    iommu_bypass(t, OWNER, true, &self);
    CHECK_EQ(where(1, ~0ull - 1, true), ~0ull - 1);
    CHECK_EQ(iommu_attach(t, OWNER, 1, 1, false, &self), 0);
    CHECK_EQ(where(1, 5, true), ~0ull);
    CHECK_EQ(iommu_attach(t, OWNER, 1, 2, true, &self), -EINVAL);
    CHECK_EQ(iommu_attach(t, OWNER, 2, 2, true, &self), 0);
    CHECK_EQ(iommu_attach(t, OWNER, 2, 1, false, &self), -EINVAL);
    CHECK_EQ(where(1, 5, true), ~0ull); /* it has stayed where it was */
    iommu_bypass(t, OWNER, false, &self);
    CHECK_EQ(where(2, 5, true), 5);
    CHECK_EQ(map(2, 0, 9, 0, 3), -EINVAL);
    CHECK_EQ(iommu_unmap(t, OWNER, 2, 0, 9, &self), -EINVAL);
    iommu_detach_all(t, OWNER, &self);
    CHECK_EQ(where(2, 5, true), ~0ull);
    iommu_power_on(t, &self);
    CHECK_EQ(where(2, 5, true), ~0ull);
    CHECK_EQ(where(3, 5, true), 5);
}

TEST(permissions_and_faults)
{
    struct iommu_fault fault;
    u64 len = 10 * PAGE;

    set_up();
    CHECK_EQ(look(1, 77, &len, true, &fault), ~0ull);
    CHECK(fault.unattached && fault.write && fault.addr == 77 && fault.endpoint == 1 && fault.owner == OWNER);
    iommu_attach(t, OWNER, 1, 1, false, &self);
    CHECK_EQ(map(1, 0, PAGE - 1, 0x1000, IOMMU_READ), 0);
    CHECK_EQ(map(1, PAGE, 2 * PAGE - 1, 0x8000, IOMMU_WRITE), 0);
    CHECK_EQ(map(1, 2 * PAGE, ~0ull, 0x2000, 0), 0);
    CHECK_EQ(look(1, 77, &len, false, &fault), 0x1000 + 77);
    CHECK_EQ(len, PAGE - 77);
    CHECK_EQ(look(1, 77, &len, true, &fault), ~0ull);
    CHECK(!fault.unattached && fault.write && fault.addr == 77);
    CHECK_EQ(where(1, PAGE + 1, false), ~0ull);
    CHECK_EQ(where(1, PAGE + 1, true), 0x8001);
    CHECK_EQ(where(1, ~0ull, false), ~0ull);
    /* Each owner takes his own, in order; more than there is room for are lost. */
    for (u32 i = 0; i < IOMMU_FAULTS + 5; i++) {
        fault.owner = OWNER + i % 2;
        fault.addr = i;
        iommu_report(t, &fault, &self);
    }
    for (u32 i = 0; i < IOMMU_FAULTS; i += 2)
        CHECK(iommu_take_fault(t, OWNER, &fault, &self) && fault.addr == i);
    CHECK(!iommu_take_fault(t, OWNER, &fault, &self));
    CHECK(iommu_take_fault(t, OWNER + 1, &fault, &self) && fault.addr == 1);
}

TEST(the_whole_space_is_one_mapping)
{
    struct iommu_fault fault;
    u64 len = ~0ull;

    set_up();
    iommu_attach(t, OWNER, 1, 1, false, &self);
    CHECK_EQ(map(1, 0, ~0ull, 0, 3), 0);
    CHECK_EQ(look(1, 0, &len, true, &fault), 0);
    CHECK_EQ(len, ~0ull);
    CHECK_EQ(where(1, 12345, true), 12345);
    CHECK_EQ(map(1, ~0ull, ~0ull, 0, 3), -EEXIST);
    CHECK_EQ(iommu_unmap(t, OWNER, 1, 1, ~0ull, &self), -ERANGE);
    CHECK_EQ(iommu_unmap(t, OWNER, 1, 0, ~0ull - 1, &self), -ERANGE);
    CHECK_EQ(iommu_unmap(t, OWNER, 1, 0, ~0ull, &self), 0);
    CHECK_EQ(where(1, 12345, true), ~0ull);
}

/* The examples of VIRTIO 1.2, 5.13.6.6. */
TEST(unmap_as_the_specification_has_it)
{
    set_up();
    iommu_attach(t, OWNER, 1, 1, false, &self);
    CHECK_EQ(iommu_unmap(t, OWNER, 1, 0, 4, &self), 0);
    CHECK_EQ(map(1, 0, 9, 100, 3) | iommu_unmap(t, OWNER, 1, 0, 9, &self), 0);
    CHECK_EQ(where(1, 0, false), ~0ull);
    CHECK_EQ(map(1, 0, 4, 100, 3) | map(1, 5, 9, 200, 3) | iommu_unmap(t, OWNER, 1, 0, 9, &self), 0);
    CHECK_EQ(where(1, 5, false), ~0ull);
    CHECK_EQ(map(1, 0, 9, 100, 3), 0);
    CHECK_EQ(iommu_unmap(t, OWNER, 1, 0, 4, &self), -ERANGE);
    CHECK_EQ(where(1, 0, false), 100);
    CHECK_EQ(iommu_unmap(t, OWNER, 1, 0, 9, &self), 0);
    CHECK_EQ(map(1, 0, 4, 100, 3) | map(1, 5, 9, 200, 3) | iommu_unmap(t, OWNER, 1, 0, 4, &self), 0);
    CHECK_EQ(where(1, 5, false), 200);
    CHECK_EQ(where(1, 4, false), ~0ull);
    CHECK_EQ(iommu_unmap(t, OWNER, 1, 5, 9, &self), 0);
    CHECK_EQ(map(1, 0, 4, 100, 3) | map(1, 10, 14, 200, 3) | iommu_unmap(t, OWNER, 1, 0, 14, &self), 0);
    CHECK_EQ(where(1, 12, false), ~0ull);
}

/* --- against a model --- */

enum { SPACE = 256 };
static u64 rng = 88172645463325252ull;

static u32 dice(u32 sides)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (u32)(rng >> 32) % sides;
}

/* Depth of a tree, all of whose nodes are in order and have the height that they say. */
static unsigned depth(u32 root, u64 low, u64 high)
{
    const struct iommu_mapping *m = &t->mappings[root];
    unsigned a, b;

    if (!root)
        return 0;
    CHECK(m->first >= low && m->last <= high && m->first <= m->last);
    a = depth(m->child[0], low, m->first);
    b = depth(m->child[1], m->last, high);
    CHECK(a > b ? a - b < 2 : b - a < 2);
    CHECK_EQ(m->height, 1 + (a > b ? a : b));
    return 1 + (a > b ? a : b);
}

TEST(random_changes_against_a_list_of_bytes)
{
    static u32 owner[SPACE]; /* which map made this byte, 0: none */
    u32 maps = 0;

    set_up();
    iommu_attach(t, OWNER, 1, 1, false, &self);
    for (u32 i = 0; i < 30000; i++) {
        u32 a = dice(SPACE), b = a + dice(dice(8) ? 6 : 60), expected = 0;

        b = b < SPACE ? b : SPACE - 1;
        if (dice(2)) {
            for (u32 k = a; k <= b; k++)
                expected |= owner[k];
            CHECK_EQ(map(1, a, b, 1000 + a, IOMMU_READ), expected ? -EEXIST : 0);
            for (u32 k = a; k <= b && !expected; k++)
                owner[k] = maps + 1;
            maps++;
        } else {
            bool cut = (a && owner[a] && owner[a] == owner[a - 1]) || (b + 1 < SPACE && owner[b] && owner[b] == owner[b + 1]);

            CHECK_EQ(iommu_unmap(t, OWNER, 1, a, b, &self), cut ? -ERANGE : 0);
            for (u32 k = a; k <= b && !cut; k++)
                owner[k] = 0;
        }
        CHECK_EQ(where(1, a, false), owner[a] ? 1000 + a : ~0ull);
        CHECK_EQ(where(1, b, false), owner[b] ? 1000 + b : ~0ull);
        if (i % 64 == 0)
            depth(t->domains[0].root, 0, SPACE);
        if (unit_failures)
            return;
    }
    CHECK(t->used < SPACE + 2); /* what is free is used again */
}

TEST(as_many_as_there_is_room_for)
{
    set_up();
    iommu_attach(t, OWNER, 1, 1, false, &self);
    iommu_attach(t, OWNER, 2, 2, false, &self);
    for (u64 i = 1; i < IOMMU_MAPPINGS; i++)
        CHECK_EQ(map(i % 2 ? 1 : 2, i * PAGE, i * PAGE + PAGE - 1, i * PAGE, 3), 0);
    CHECK_EQ(map(1, 0, PAGE - 1, 0, 3), -ENOMEM);
    CHECK(depth(t->domains[0].root, 0, ~0ull) < TREE_DEPTH - 8);
    for (u64 i = 1; i < IOMMU_MAPPINGS; i++) {
        CHECK_EQ(where(1, i * PAGE, false), i % 2 ? i * PAGE : ~0ull);
        CHECK_EQ(where(2, i * PAGE, false), i % 2 ? ~0ull : i * PAGE);
    }
    CHECK_EQ(iommu_detach(t, OWNER, 2, 2, &self), 0); /* the end of a domain is the end of its mappings */
    CHECK_EQ(map(1, 0, PAGE - 1, 0, 3), 0);
    CHECK_EQ(iommu_unmap(t, OWNER, 1, 0, ~0ull, &self), 0);
    CHECK_EQ(t->domains[0].root, 0);
}

/* --- no mapping outlives its unmap --- */

static u32 page_state, stop; /* 1: it must not be touched */

static void *transfers(void *count)
{
    struct lock_self mine = me();
    struct iommu_endpoint *ep = iommu_find(t, OWNER, 1);

    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
        struct iommu_fault fault;
        u64 machine, len = 1;

        iommu_enter(ep, &mine);
        if (iommu_translate(t, ep, 0, &len, true, &machine, &fault)) {
            for (volatile u32 i = 0; i < dice(200); i++)
                ;
            CHECK_EQ(__atomic_load_n(&page_state, __ATOMIC_SEQ_CST), 0);
            ++*(u64 *)count;
        }
        iommu_leave(ep, &mine);
    }
    return NULL;
}

TEST(no_transfer_is_under_way_behind_an_unmap_or_a_detach)
{
    pthread_t thread;
    u64 count = 0;

    set_up();
    iommu_attach(t, OWNER, 1, 1, false, &self);
    CHECK_EQ(pthread_create(&thread, NULL, transfers, &count), 0);
    for (u32 i = 0; i < 2000 || (!__atomic_load_n(&count, __ATOMIC_RELAXED) && i < 2000000); i++) {
        CHECK_EQ(map(1, 0, PAGE - 1, 0, 3), 0);
        sched_yield();
        if (i % 2)
            CHECK_EQ(iommu_unmap(t, OWNER, 1, 0, PAGE - 1, &self), 0);
        else
            CHECK_EQ(iommu_detach(t, OWNER, 1, 1, &self), 0);
        __atomic_store_n(&page_state, 1, __ATOMIC_SEQ_CST);
        sched_yield();
        __atomic_store_n(&page_state, 0, __ATOMIC_SEQ_CST);
        CHECK_EQ(iommu_attach(t, OWNER, 1, 1, false, &self), 0);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    pthread_join(thread, NULL);
    CHECK(count > 0);
}

/* --- a death in the middle of a change --- */

/* Whatever is there stays reachable by its own data: what the list has is what is translated. */
static void compare(u64 pages)
{
    for (u64 p = 0; p < pages; p++) {
        u64 found = ~0ull;

        for (u32 i = 1; i < t->used; i++)
            if (t->mappings[i].domain && t->mappings[i].first == p * PAGE)
                found = t->mappings[i].target;
        CHECK_EQ(where(1, p * PAGE, false), found);
    }
}

TEST(who_dies_while_changing_leaves_tables_that_hold)
{
    unsigned torn = 0;

    set_up();
    iommu_attach(t, OWNER, 1, 1, false, &self);
    for (u32 round = 0; round < 12; round++) {
        volatile u64 *progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        pid_t child = fork();

        if (!child) {
            self = me();
            rng += round;
            for (;; ++*progress) {
                u64 page = dice(64);

                if (dice(8))
                    map(1, page * PAGE, page * PAGE + PAGE - 1, 0, 3);
                else
                    iommu_unmap(t, OWNER, 1, page * PAGE, (page + dice(8)) * PAGE + PAGE - 1, &self);
            }
        }
        while (*progress < 1000)
            sched_yield();
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        torn += t->changing != 0;
        CHECK(t->nendpoints == 3);
        iommu_unmap(t, OWNER, 1, 0, ~0ull, &self); /* and goes on */
        depth(t->domains[0].root, 0, ~0ull);
        munmap((void *)progress, PAGE);
    }
    printf("# %u of 12 died in the middle of a change\n", torn);
}

/* The same, made on purpose: a tree that leads nowhere. */
TEST(a_torn_tree_is_not_believed)
{
    set_up();
    iommu_attach(t, OWNER, 1, 1, false, &self);
    for (u64 p = 0; p < 40; p++)
        CHECK_EQ(map(1, p * PAGE, p * PAGE + PAGE - 1, (p + 100) * PAGE, 3), 0);
    t->changing = 1;
    t->domains[0].root = t->mappings[t->domains[0].root].child[0];
    for (u32 i = 1; i < t->used; i++)
        t->mappings[i].child[1] = i + 3; /* and round and round */
    compare(40);
    CHECK_EQ(map(1, 40 * PAGE, 41 * PAGE - 1, 0, 3), 0);
    CHECK_EQ(t->changing, 0);
    depth(t->domains[0].root, 0, ~0ull);
    compare(41);
    /* Without the mark, as in a damaged file: wrong answers, but an end, and nothing outside. */
    for (u32 i = 1; i < t->used; i++)
        t->mappings[i].child[0] = t->mappings[i].child[1] = i * 0x01010101u;
    for (u64 p = 0; p < 40; p++)
        where(1, p * PAGE, true);
    iommu_unmap(t, OWNER, 1, 0, ~0ull, &self);
    map(1, 0, 99, 0, 3);
}
