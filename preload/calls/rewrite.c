/*
 * Rewrites system calls. What changes in the program's text is two bytes or
 * one whole instruction that no jump leads into; it happens before anybody
 * runs it (at start, or while the loader maps the file), and no page is ever
 * writable and executable at once.
 */
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>

#include "base/debug.h"
#include "base/mem.h"
#include "base/range.h"
#include "base/sys.h"
#include "calls/site.h"
#include "cpu/cpu.h"

struct site calls_sites[STUB_COUNT] __attribute__((aligned(4096)));
static u32 nsites; /* ever used: all of them below this */
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
    bool own; /* differs from what is in the library's text */
};

static void put32(u8 *at, i64 value)
{
    i32 v = (i32)value;

    memcpy(at, &v, 4);
}

static bool reaches(u64 from, u64 to)
{
    i64 distance = (i64)(to - from);

    return distance > -0x7f000000 && distance < 0x7f000000;
}

/* Before the call: a copy of the instruction that made room for the jump. */
static void copy_before(struct image *image, const struct found *found, u64 stub)
{
    u64 from = found->at - found->prev;
    struct cpu_flow flow;
    i32 distance;

    cpu_flow((const u8 *)from, found->prev, &flow);
    memcpy(image->bytes, (const u8 *)from, found->prev);
    if (flow.relative) {
        memcpy(&distance, image->bytes + flow.relative, 4);
        put32(image->bytes + flow.relative, distance + (i64)(from - stub));
    }
    image->bytes[found->prev] = 0xeb;
    image->bytes[found->prev + 1] = (u8)(STUB_FIXED - found->prev - 2);
    image->own = true;
}

/* jmp *resume */
static unsigned put_back(struct image *image, unsigned at, u64 stub, const struct site *site)
{
    image->bytes[at] = 0xff;
    image->bytes[at + 1] = 0x25;
    put32(image->bytes + at + 2, (i64)((u64)site - (stub + at + 6)));
    return at + 6;
}

/* Behind it: the comparison that the jump lies over. */
static void copy_behind(struct image *image, const struct found *found, u64 stub, const struct site *site)
{
    unsigned n = *(const u8 *)(found->at + 2) == 0x48 ? 6 : 5;

    memcpy(image->bytes + STUB_AFTER, (const u8 *)(found->at + 2), n);
    put_back(image, STUB_AFTER + n, stub, site);
    image->own = true;
}

/* A call that makes a thread or a vfork child: syscall; lea site,%r11; jmp calls_apart */
static void part_ways(struct image *image, u64 stub, const struct site *site)
{
    static const u8 code[] = {0x0f, 0x05, 0x4c, 0x8d, 0x1d};
    u8 *at = image->bytes + STUB_APART;

    memcpy(at, code, sizeof(code));
    put32(at + 5, (i64)((u64)site - (stub + STUB_APART + 9)));
    at[9] = 0xe9;
    put32(at + 10, (i64)((u64)calls_apart - (stub + STUB_APART + 14)));
    image->own = true;
}

static bool makes_thread(u64 nr)
{
    return nr == SYS_clone || nr == SYS_clone3 || nr == SYS_vfork || nr == CALL_MAX;
}

/* The kernel's own way past page protection: nobody who runs in a neighbouring stub sees the page without its rights. */
static int mem = -1; /* open while sites are rewritten */

static bool write_stub(const struct image *image, u64 stub)
{
    if (!image->own)
        return true;
    if (mem < 0)
        mem = (int)sys_open("/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
    return mem >= 0 && sys(SYS_pwrite64, mem, image->bytes, STUB_SIZE, stub) == STUB_SIZE;
}

/* A new one, or one of code that is gone. NULL: there are as many sites as there are stubs. */
static struct site *free_site(void)
{
    if (nsites < STUB_COUNT)
        return &calls_sites[nsites++];
    for (u32 i = 0; i < STUB_COUNT; i++)
        if (!calls_sites[i].at)
            return &calls_sites[i];
    return NULL;
}

static struct site *make_site(const struct found *found)
{
    struct site *site = free_site();
    u64 stub = site ? (u64)calls_stubs[site - calls_sites] : 0;
    struct image image = {.own = false};

    if (!site)
        return NULL;
    *site = (struct site){
        .resume = found->at + 2,
        .tail = stub + STUB_TAIL,
        .restart = found->at,
        .nr = found->nr,
        .at = found->at,
        .enter = (u64)calls_enter,
        .tactic = found->tactic,
    };
    memcpy(image.bytes, (const u8 *)stub, STUB_SIZE);
    if (found->tactic == TACTIC_MOVE)
        site->restart = found->at - 5;
    if (found->tactic == TACTIC_PREV) {
        site->restart = stub + STUB_FIXED;
        copy_before(&image, found, stub);
    }
    if (found->tactic == TACTIC_NEXT) {
        site->resume += *(const u8 *)(found->at + 2) == 0x48 ? 6 : 5;
        copy_behind(&image, found, stub, site);
    }
    if (makes_thread(found->nr)) {
        part_ways(&image, stub, site);
    }
    return write_stub(&image, stub) ? site : NULL;
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

    if (found->tactic == TACTIC_NONE || !reaches(found->at, (u64)calls_stubs) ||
        !reaches(found->at, (u64)calls_stubs + sizeof(calls_sites)) || !(site = make_site(found)))
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

    batch.count = batch.seen = 0;
    sites_find(text, collect, &batch);
    if (!batch.count || sys_mprotect((void *)base, size, PROT_READ | PROT_WRITE) < 0)
        return;
    for (unsigned i = 0; i < batch.count; i++)
        done += rewrite(&batch.found[i]);
    sys_mprotect((void *)base, size, PROT_READ | PROT_EXEC);
    if (mem >= 0)
        sys_close(mem);
    mem = -1;
    debug(SYS, 1, "%s: %u system calls, %u of interest, %u rewritten", name, batch.seen, batch.count, done);
    for (unsigned i = 0; i < batch.count; i++)
        if (batch.found[i].tactic == TACTIC_NONE)
            debug(SYS, 2, "left alone: %s+%lx, number %u", name, batch.found[i].at - (u64)text->base, (unsigned)batch.found[i].nr);
}

static int each_module(struct dl_phdr_info *info, size_t size, void *context)
{
    struct text text = {0};

    (void)size;
    (void)context;
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME)
            text.eh_frame_hdr = (const u8 *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];

        if (p->p_type != PT_LOAD || (p->p_flags & (PF_X | PF_W)) != PF_X)
            continue;
        text.base = (const u8 *)(info->dlpi_addr + p->p_vaddr);
        text.size = p->p_memsz;
        if ((u64)calls_enter - (u64)text.base >= text.size)
            rewrite_text(&text, info->dlpi_name[0] ? info->dlpi_name : "the program");
    }
    return 0;
}

void calls_start(const call_function *table)
{
    wanted = table;
    dl_iterate_phdr(each_module, NULL);
    calls_table(table);
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

bool calls_unmapped(u64 base, u64 length)
{
    struct range gone = {base, length};
    bool code = forgotten;

    for (unsigned i = 0; i < MAPPED && !code; i++)
        code = mapped[i].size && range_overlaps(mapped[i], gone);
    if (!code)
        return false;
    enter();
    for (unsigned i = 0; i < MAPPED; i++)
        if (mapped[i].size && range_overlaps(mapped[i], gone))
            mapped[i].size = 0;
    for (u32 i = 0; i < nsites; i++)
        if (calls_sites[i].at - base < length)
            calls_sites[i].at = 0;
    leave();
    return true;
}

void calls_mapped(u64 base, u64 length)
{
    struct text text = {(const u8 *)base, length, NULL};

    calls_guarded(map_text, &text);
}
