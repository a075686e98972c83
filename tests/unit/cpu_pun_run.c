/*
 * Real functions of this program, every instruction of them made to jump to a copy of itself: they must go on computing
 * what they computed, after each patch.
 */
#include "unit.h"

#include <sys/mman.h>

#include "cpu/cpu.h"
#include "cpu/pun.h"
#include "pun_space.h"

/* ---- subjects: in a section of their own, at several levels of optimisation ---- */

#ifdef __clang__
#define SUBJECT __attribute__((section("pun_subjects"), noinline))
#else
#define SUBJECT __attribute__((section("pun_subjects"), noinline, noclone))
#endif

struct node {
    struct node *left, *right;
    u32 key;
    u8 count;
    i16 depth;
};

#define SUBJECTS(level, how) \
    SUBJECT how static u32 hash_##level(const u8 *p, unsigned n) \
    { \
        u32 hash = 2166136261u; \
        for (unsigned i = 0; i < n; i++) \
            hash = (hash ^ p[i]) * 16777619u; \
        return hash; \
    } \
    SUBJECT how static struct node *grow_##level(struct node *tree, struct node *fresh) \
    { \
        if (!tree) \
            return fresh; \
        fresh->depth++; \
        if (fresh->key == tree->key) \
            tree->count++; \
        else if (fresh->key < tree->key) \
            tree->left = grow_##level(tree->left, fresh); \
        else \
            tree->right = grow_##level(tree->right, fresh); \
        return tree; \
    } \
    SUBJECT how static u64 walk_##level(const struct node *n, u64 (*visit)(const struct node *, u64), u64 sum) \
    { \
        if (!n) \
            return sum; \
        sum = walk_##level(n->left, visit, sum); \
        sum = visit(n, sum); \
        return walk_##level(n->right, visit, sum); \
    } \
    SUBJECT how static u64 visit_##level(const struct node *n, u64 sum) \
    { \
        switch (n->key & 7) { \
        case 0: return sum * 3 + n->count; \
        case 1: return sum ^ (u64)n->depth; \
        case 2: return sum + n->key; \
        case 3: return sum - (sum >> 7); \
        case 4: return sum << 1 | sum >> 63; \
        case 5: return sum * 31 + (u8)n->key; \
        case 6: return ~sum; \
        default: return sum + (u64)(i64)(i16)n->key; \
        } \
    } \
    SUBJECT how static void sort_##level(u16 *v, unsigned n) \
    { \
        for (unsigned i = 1; i < n; i++) { \
            u16 x = v[i]; \
            unsigned k = i; \
            for (; k > 0 && v[k - 1] > x; k--) \
                v[k] = v[k - 1]; \
            v[k] = x; \
        } \
    } \
    SUBJECT how static double mean_##level(const u16 *v, unsigned n) \
    { \
        double sum = 0; \
        for (unsigned i = 0; i < n; i++) \
            sum += v[i] * 0.5; \
        return sum / n; \
    } \
    SUBJECT how static u64 all_##level(u32 seed) \
    { \
        struct node nodes[24], *tree = NULL; \
        u16 v[40]; \
        u64 result; \
        memset(nodes, 0, sizeof(nodes)); \
        for (unsigned i = 0; i < 24; i++) { \
            seed = seed * 1103515245u + 12345u; \
            nodes[i].key = seed >> 16 & 63; \
            tree = grow_##level(tree, &nodes[i]); \
        } \
        for (unsigned i = 0; i < 40; i++) \
            v[i] = (u16)(seed = seed * 1103515245u + 12345u); \
        sort_##level(v, 40); \
        result = walk_##level(tree, visit_##level, hash_##level((const u8 *)v, sizeof(v))); \
        return result + (u64)(i64)(mean_##level(v, 40) * 1000); \
    }

#ifdef __clang__
#define O0 __attribute__((optnone))
#define O2
#define OS __attribute__((minsize))
#else
#define O0 __attribute__((optimize("O0")))
#define O2 __attribute__((optimize("O2")))
#define OS __attribute__((optimize("Os")))
#endif
SUBJECTS(0, O0)
SUBJECTS(2, O2)
SUBJECTS(s, OS)

extern u8 __start_pun_subjects[], __stop_pun_subjects[];

static u64 compute(void)
{
    u64 result = 0;

    for (u32 seed = 1; seed <= 3; seed++)
        result = result * 1000003 + all_0(seed) + all_2(seed) * 3 + all_s(seed) * 7;
    return result;
}

/* ---- rooms and trampolines ---- */

#define TRAMPOLINES (1u << 20)

static struct model model;
static u8 *trampolines[2]; /* 900 MiB below and above: within reach of the text and of the rooms on that side */
static unsigned used[2];

static bool map_page(u64 page)
{
    void *got = mmap((void *)page, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    if (got == (void *)page)
        return true;
    if (got != MAP_FAILED)
        munmap(got, PAGE_SIZE);
    return false;
}

static void put_jump(u64 at, u64 to)
{
    i64 distance = (i64)(to - at - 5);
    i32 displacement = (i32)distance;

    CHECK_EQ(displacement, distance);
    *(u8 *)at = 0xe9;
    memcpy((u8 *)at + 1, &displacement, 4);
}

/* A copy of the instruction, and back behind it. */
static u64 trampoline(const struct pun_book *book, const struct pun_jump *jump)
{
    unsigned side = jump->room > jump->insn, n;
    u8 bytes[15], *out = trampolines[side] + used[side];

    memcpy(bytes, (u8 *)jump->insn, jump->length);
    pun_original(book, jump->insn, bytes, jump->length);
    n = pun_copy(bytes, jump->length, jump->insn, (u64)out, out);
    CHECK(n > 0);
    put_jump((u64)out + n, jump->insn + jump->length);
    used[side] += 64;
    return (u64)out;
}

/* ---- patching ---- */

static bool whole_section(void *context, u64 at, struct pun_function *f)
{
    (void)context;
    *f = (struct pun_function){.begin = (u64)__start_pun_subjects, .end = (u64)__stop_pun_subjects};
    return at - f->begin < f->end - f->begin;
}

static struct pun_text text = {.function = whole_section};
static struct pun_book book;
static unsigned patched, tactics[8];

static void patch(u64 site)
{
    static struct pun_plan plan;
    struct pun_space space = model_space(&model);

    if (!pun_plan(&book, &text, site, &space, &plan))
        return;
    pun_commit(&book, &plan);
    for (unsigned i = 0; i < plan.njumps; i++)
        put_jump(plan.jumps[i].room, trampoline(&book, &plan.jumps[i]));
    for (unsigned i = 0; i < plan.nwrites; i++)
        memcpy((u8 *)plan.writes[i].at, plan.writes[i].bytes, plan.writes[i].length);
    patched++;
    tactics[plan.tactic]++;
}

static unsigned find_sites(u64 *sites, unsigned most)
{
    unsigned n = 0;
    struct cpu_flow flow;

    for (const u8 *p = __start_pun_subjects; p < __stop_pun_subjects && n < most; p += flow.length) {
        if (!cpu_flow(p, 15, &flow))
            break;
        if (pun_copyable(p, flow.length))
            sites[n++] = (u64)p;
    }
    return n;
}

static void prepare(void)
{
    u64 begin = page_down((u64)__start_pun_subjects), end = page_up((u64)__stop_pun_subjects);
    char error[256];
    struct fmt out = FMT_INIT(error);

    CHECK_EQ(cpu_init(&out), 0);
    CHECK_EQ(mprotect((void *)begin, end - begin, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
    text.base = (u64)__start_pun_subjects;
    text.size = (u64)(__stop_pun_subjects - __start_pun_subjects);
    text.bytes = __start_pun_subjects;
    for (unsigned side = 0; side < 2; side++) {
        trampolines[side] = mmap((void *)(begin + (side ? 900ul << 20 : -(900ul << 20))), TRAMPOLINES,
                                 PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(begin - (u64)trampolines[side] + (1 << 30) < 2u << 30);
    }
    model_init(&model);
    model.map = map_page;
    pun_init(&book, calloc(1, 1 << 20), 1 << 20);
}

static void run(u32 seed)
{
    static u64 sites[8192];
    unsigned n;
    u64 want;

    prepare();
    want = compute();
    n = find_sites(sites, 8192);
    CHECK(n > 600);
    model.random = seed;
    for (unsigned i = n; i > 1; i--) {
        unsigned k = (unsigned)(model_random(&model) % i);
        u64 keep = sites[k];

        sites[k] = sites[i - 1];
        sites[i - 1] = keep;
    }
    for (unsigned i = 0; i < n && !unit_failures; i++) {
        patch(sites[i]);
        if (i % 8 == 0 || i + 1 == n)
            CHECK_EQ(compute(), want);
    }
    CHECK(patched * 10 > n * 8);
    printf("# %u of %u instructions patched; tactics", patched, n);
    for (unsigned i = 1; i < 8; i++)
        printf(" %u", tactics[i]);
    printf("\n");
}

TEST(functions_that_are_copied_one_by_one)
{
    run(1);
}

TEST(in_another_order)
{
    run(2);
}

TEST(and_another)
{
    run(3);
}
