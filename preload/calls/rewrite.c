/*
 * Rewrites system calls. What changes in the program's text is two bytes, or
 * whole instructions that no jump of their function leads into; it happens
 * before anybody runs it (at start, or while the loader maps the file), and no page is ever
 * writable and executable at once.
 */
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "base/debug.h"
#include "base/mem.h"
#include "base/range.h"
#include "base/sys.h"
#include "calls/known.h"
#include "cpu/cpu.h"

struct site calls_sites[STUB_COUNT] __attribute__((aligned(4096)));
static struct pool pools[POOLS] = {{calls_stubs[0], calls_sites, 0, STUB_COUNT}};
static u32 npools = 1;
static const call_function *wanted;

#define BATCH 1024

struct batch {
    struct found found[BATCH];
    unsigned count, seen;
};

static struct batch batch; /* the loader's lock, or being alone, guards it */

/* --- stubs --- */

struct image {
    u8 bytes[STUB_SIZE];
    u64 stub; /* where it will be */
    const struct site *site;
};

static void put32(u8 *at, i64 value)
{
    i32 v = (i32)value;

    memcpy(at, &v, 4);
}

/* An instruction (`n` bytes) whose last four are the distance from its end to `to`. */
static void put(struct image *image, unsigned at, const void *code, unsigned n, u64 to)
{
    memcpy(image->bytes + at, code, n);
    put32(image->bytes + at + n - 4, (i64)(to - (image->stub + at + n)));
}

#define MOV_EAX "\x8b\x05...."     /* mov x(%rip),%eax */
#define LEA_R11 "\x4c\x8d\x1d...." /* lea x(%rip),%r11 */
#define JMP     "\xff\x25...."     /* jmp *x(%rip) */
#define SYSCALL "\x0f\x05"
#define JMP_R11 "\x41\xff\x63"     /* jmp *x(%r11), x: one byte */

/* As entry.S has them. */
static void common_parts(struct image *image)
{
    const struct site *site = image->site;

    memset(image->bytes, 0xcc, STUB_SIZE);
    put(image, 0, MOV_EAX, 6, (u64)&site->nr);
    image->bytes[6] = 0xeb;
    image->bytes[7] = STUB_FIXED - 8;
    memset(image->bytes + 8, 0x90, STUB_FIXED - 8);
    put(image, STUB_FIXED, LEA_R11, 7, (u64)site);
    memcpy(image->bytes + STUB_FIXED + 7, JMP_R11, 3);
    image->bytes[STUB_FIXED + 10] = offsetof(struct site, enter);
    image->bytes[STUB_FIXED + 11] = 0x90;
    memcpy(image->bytes + STUB_TAIL, SYSCALL, 2);
    put(image, STUB_AFTER, JMP, 6, (u64)&site->resume);
}

/* Copies instructions to another place: displacements from rip follow. */
static void copy_code(struct image *image, unsigned at, u64 from, unsigned n)
{
    struct cpu_flow flow;
    i32 distance;

    memcpy(image->bytes + at, (const u8 *)from, n);
    for (unsigned done = 0; done < n && cpu_flow((const u8 *)from + done, n - done, &flow); done += flow.length) {
        if (!flow.relative)
            continue;
        memcpy(&distance, (const u8 *)from + done + flow.relative, 4);
        put32(image->bytes + at + done + flow.relative, distance + (i64)(from - (image->stub + at)));
    }
}

/* The call again, which comes back by calls_apart. */
static void second_call(struct image *image)
{
    memcpy(image->bytes + STUB_APART, SYSCALL, 2);
    put(image, STUB_APART + 2, LEA_R11, 7, (u64)image->site);
    memcpy(image->bytes + STUB_APART + 9, JMP_R11, 3);
    image->bytes[STUB_APART + 12] = offsetof(struct site, apart);
}

static void make_image(struct image *image, const struct found *found)
{
    common_parts(image);
    second_call(image);
    if (found->tactic == TACTIC_PREV) {
        copy_code(image, 0, found->at - found->prev, found->prev);
        image->bytes[found->prev] = 0xeb;
        image->bytes[found->prev + 1] = (u8)(STUB_FIXED - found->prev - 2);
    }
    if (found->tactic == TACTIC_NEXT) {
        copy_code(image, STUB_AFTER, found->at + 2, found->next);
        put(image, STUB_AFTER + found->next, JMP, 6, (u64)&image->site->resume);
    }
}

/* Is the stub in the library's text good for it as it is? */
static bool ready_made(const struct found *found, u64 stub)
{
    return (found->tactic == TACTIC_MOVE || found->tactic == TACTIC_GAP) &&
           stub - (u64)calls_stubs < STUB_COUNT * STUB_SIZE;
}

static bool fresh;   /* at start nobody runs in the library's stubs yet: they are open for writing, not for execution */
static int mem = -1; /* /proc/self/mem, open while sites are rewritten */

/*
 * Later it is the kernel's own way past page protection: nobody who runs in a neighbouring stub sees the page without
 * its rights.
 */
static bool write_stub(const struct image *image)
{
    if (fresh && image->stub - (u64)calls_stubs < sizeof(calls_stubs)) {
        memcpy((void *)image->stub, image->bytes, STUB_SIZE);
        return true;
    }
    if (mem < 0)
        mem = (int)sys_open("/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
    return mem >= 0 && sys(SYS_pwrite64, mem, image->bytes, STUB_SIZE, image->stub) == STUB_SIZE;
}

/* --- pools --- */

#define POOL_STUBS 64 /* of a pool near a program: a page of stubs, a page of their sites */
#define STEP       0x10000
#define FAR        0x70000000

static bool reaches(u64 from, u64 to)
{
    i64 distance = (i64)(to - from);

    return distance > -FAR && distance < FAR;
}

static bool in_reach(const struct pool *pool, u64 at)
{
    return reaches(at, (u64)pool->stubs) && reaches(at, (u64)pool->stubs + pool->capacity * STUB_SIZE);
}

/* Below the text, where no heap grows; else above it, well away. */
static u64 place_near(u64 at)
{
    for (u64 k = 1; k < FAR / STEP; k++) {
        bool below = k < FAR / STEP / 2;
        u64 to = below ? page_down(at) - k * STEP : page_down(at) + FAR - (k - FAR / STEP / 2) * STEP;
        void *got;

        if (below && at < k * STEP + STEP)
            continue;
        got = sys_mmap((void *)to, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
                       -1, 0);
        if ((u64)got == to)
            return to;
        if (!sys_failed((long)got)) /* a kernel that does not know the flag */
            sys_munmap(got, 2 * PAGE_SIZE);
    }
    return 0;
}

static struct pool *make_pool(u64 at)
{
    struct pool *pool = &pools[npools];
    u64 place = npools < POOLS ? place_near(at) : 0;

    if (!place || sys_mprotect((void *)place, PAGE_SIZE, PROT_READ | PROT_EXEC) < 0)
        return NULL;
    *pool = (struct pool){(const u8 *)place, (struct site *)(place + PAGE_SIZE), 0, POOL_STUBS};
    __atomic_store_n(&npools, npools + 1, __ATOMIC_RELEASE);
    return pool;
}

/* A new one, or one of code that is gone. NULL: all are in use. */
static struct site *free_in(struct pool *pool)
{
    if (pool->count < pool->capacity)
        return &pool->sites[pool->count++];
    for (u32 i = 0; i < pool->capacity; i++)
        if (!pool->sites[i].at)
            return &pool->sites[i];
    return NULL;
}

static u64 stub_of(const struct pool *pool, const struct site *site)
{
    return (u64)pool->stubs + (u64)(site - pool->sites) * STUB_SIZE;
}

static struct site *free_site(u64 at, u64 *stub)
{
    struct site *site = NULL;
    struct pool *pool;

    for (u32 i = 0; i < npools && !site; i++) {
        pool = &pools[i];
        site = in_reach(pool, at) ? free_in(pool) : NULL;
    }
    if (!site && (pool = make_pool(at)))
        site = free_in(pool);
    if (site)
        *stub = stub_of(pool, site);
    return site;
}

struct site *calls_site_of(u64 rip)
{
    u32 n = __atomic_load_n(&npools, __ATOMIC_ACQUIRE);

    for (u32 i = 0; i < n; i++) {
        u64 offset = rip - (u64)pools[i].stubs;
        struct site *site = &pools[i].sites[offset / STUB_SIZE];

        if (offset < pools[i].capacity * STUB_SIZE)
            return site->at ? site : NULL;
    }
    return NULL;
}

static struct site *make_site(const struct found *found)
{
    u64 stub = 0;
    struct site *site = free_site(found->at, &stub);
    struct image image = {.stub = stub, .site = site};

    if (!site)
        return NULL;
    *site = (struct site){
        .resume = found->at + 2 + found->next,
        .tail = stub + STUB_TAIL,
        .restart = found->tactic == TACTIC_MOVE   ? found->at - 5
                   : found->tactic == TACTIC_PREV ? stub + STUB_FIXED
                                                  : found->at,
        .nr = (u32)found->nr,
        .before = found->prev,
        .at = found->at,
        .enter = (u64)calls_enter,
        .tactic = found->tactic,
        .behind = found->tactic == TACTIC_NEXT ? stub + STUB_AFTER : found->at + 2,
        .apart = (u64)calls_apart,
    };
    if (ready_made(found, stub))
        return site;
    make_image(&image, found);
    if (write_stub(&image))
        return site;
    site->at = 0;
    return NULL;
}

/* --- the program's text --- */

static void put_jump(u64 at, u64 to)
{
    *(u8 *)at = 0xe9;
    put32((u8 *)at + 1, (i64)(to - (at + 5)));
}

static bool rewrite(const struct found *found)
{
    struct site *site;
    u64 stub;

    if (found->tactic == TACTIC_NONE || !(site = make_site(found)))
        return false;
    stub = site->tail - STUB_TAIL;
    switch (found->tactic) {
    case TACTIC_MOVE:
        put_jump(found->at - 5, stub);
        break;
    case TACTIC_PREV:
        put_jump(found->at - found->prev, stub);
        break;
    case TACTIC_GAP:
        put_jump(found->gap, stub + STUB_FIXED);
        *(u8 *)found->at = 0xeb;
        *(u8 *)(found->at + 1) = (u8)(found->gap - (found->at + 2));
        break;
    case TACTIC_NEXT:
        put_jump(found->at, stub + STUB_FIXED);
        break;
    }
    return true;
}

static void collect(void *context, const struct found *found)
{
    struct batch *b = context;

    b->seen++;
    if ((found->nr < CALL_MAX && !wanted[found->nr]) || b->count == BATCH)
        return;
    b->found[b->count++] = *found;
}

static void rewrite_text(const struct text *text, const char *name)
{
    u64 base = page_down((u64)text->base);
    u64 size = page_up((u64)text->base + text->size) - base;
    unsigned done = 0;
    bool known;

    batch.count = batch.seen = 0;
    known = known_find(text, collect, &batch);
    if (!known) {
        batch.count = batch.seen = 0;
        sites_find(text, collect, &batch);
    }
    if (!batch.count || sys_mprotect((void *)base, size, PROT_READ | PROT_WRITE) < 0)
        return;
    for (unsigned i = 0; i < batch.count; i++)
        done += rewrite(&batch.found[i]);
    sys_mprotect((void *)base, size, PROT_READ | PROT_EXEC);
    if (mem >= 0)
        sys_close(mem);
    mem = -1;
    debug(SYS, 1, "%s: %u system calls (%s), %u of interest, %u rewritten", name, batch.seen, known ? "known" : "searched",
          batch.count, done);
    for (unsigned i = 0; i < batch.count; i++)
        debug(SYS, 3, "site: %s+%lx, way %u", name, batch.found[i].at - (u64)text->base, (unsigned)batch.found[i].tactic);
    for (unsigned i = 0; i < batch.count; i++)
        if (batch.found[i].tactic == TACTIC_NONE)
            debug(SYS, 2, "left alone: %s+%lx, number %u", name, batch.found[i].at - (u64)text->base, (unsigned)batch.found[i].nr);
}

static void each_text(void *name, const struct text *text)
{
    if ((u64)calls_enter - (u64)text->base >= text->size)
        rewrite_text(text, name);
}

static int each_module(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    (void)context;
    /* The vdso asks for nothing but time, which is of interest where the kernel cannot write into closed pages. */
    if (info->dlpi_addr != getauxval(AT_SYSINFO_EHDR) || wanted[SYS_clock_gettime])
        known_texts(info, each_text, (void *)(info->dlpi_name[0] ? info->dlpi_name : "the program"));
    return 0;
}

void calls_start(const call_function *table)
{
    wanted = table;
    fresh = sys_mprotect((void *)calls_stubs, sizeof(calls_stubs), PROT_READ | PROT_WRITE) == 0;
    dl_iterate_phdr(each_module, NULL);
    if (fresh)
        sys_mprotect((void *)calls_stubs, sizeof(calls_stubs), PROT_READ | PROT_EXEC);
    fresh = false;
    calls_table(table);
}

unsigned calls_sites_in(struct range within, struct range *found, unsigned most)
{
    u32 n = __atomic_load_n(&npools, __ATOMIC_ACQUIRE);
    unsigned count = 0;

    for (u32 i = 0; i < n; i++)
        for (u32 k = 0; k < pools[i].count; k++) {
            const struct site *s = &pools[i].sites[k];
            u64 from = s->at - MAX(s->before, (u8)MOVE_SIZE);
            struct range r = {from, MAX(s->resume, s->at + 2) - from};

            if (s->at && range_overlaps(r, within) && count++ < most)
                found[count - 1] = r;
        }
    return count;
}

/* --- code that comes and goes --- */

#define MAPPED 64

static struct range mapped[MAPPED];
static bool forgotten; /* there was more than there is room for */
static u32 lock;       /* the program may map code in several threads */

static void enter(void)
{
    while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
        sys(SYS_sched_yield);
}

static void leave(void)
{
    __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
}

static void map_text(void *argument)
{
    const struct text *text = argument;
    unsigned i;

    enter();
    for (i = 0; i < MAPPED && mapped[i].size; i++)
        ;
    if (i < MAPPED)
        mapped[i] = (struct range){(u64)text->base, text->size};
    else
        forgotten = true;
    rewrite_text(text, "mapped");
    leave();
}

bool calls_code(u64 base, u64 length)
{
    struct range range = {base, length};
    bool code = forgotten;

    for (unsigned i = 0; i < MAPPED && !code; i++)
        code = mapped[i].size && range_overlaps(mapped[i], range);
    return code;
}

void calls_unmapped(u64 base, u64 length)
{
    struct range gone = {base, length};

    enter();
    for (unsigned i = 0; i < MAPPED; i++)
        if (mapped[i].size && range_overlaps(mapped[i], gone))
            mapped[i].size = 0;
    for (u32 i = 0; i < npools; i++)
        for (u32 k = 0; k < pools[i].count; k++)
            if (pools[i].sites[k].at - base < length)
                pools[i].sites[k].at = 0;
    leave();
}

void calls_after_fork(void)
{
    lock = 0; /* its holder, if any, is the parent's thread */
}

void calls_mapped(u64 base, u64 length)
{
    struct text text = {.base = (const u8 *)base, .size = length};

    calls_guarded(map_text, &text);
}
