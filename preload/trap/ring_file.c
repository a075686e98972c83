/* The file of the binary transcript: how it is made and joined, and what may happen to it. */
#include "trap/ring_own.h"

#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "base/mem.h"
#include "base/sys.h"
#include "memory/arena.h"
#include "trace/ringmap.h"
#include "trap/sink.h"
#include "base/trapsafe.h"

#define MAP_BYTES ((size_t)4 << 20)

struct ring_header *ring_header;
u32 ring_epoch = 1, ring_file_epoch = 1;
bool ring_tsc, ring_broken;

static struct bus *bus;
static u32 file_flags;
static struct ring_pair began;

/* --- time --- */

u64 ring_now(void)
{
    struct timespec t = {0, 0};

    clock_gettime(CLOCK_REALTIME, &t);
    return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

struct ring_pair ring_pair_now(void)
{
    u64 before = ring_ticks(), ns = ring_now();

    return (struct ring_pair){ring_tsc ? before + (ring_ticks() - before) / 2 : ns, ns};
}

/* SDM vol. 3, 17.17.1: CPUID.80000007H:EDX[8] says that the counter runs at one rate, always. */
static bool invariant_tsc(void)
{
    u32 a, b, c, d;

    return __get_cpuid(0x80000007, &a, &b, &c, &d) && d & 1u << 8;
}

/* --- the file --- */

void ring_lost(u64 n)
{
    if (ring_header)
        __atomic_fetch_add(&ring_header->lost, n, __ATOMIC_RELAXED);
}

bool ring_reserve(int fd, u64 at, u64 bytes)
{
    long ret = sys(SYS_fallocate, fd, 0, at, bytes);

    if (ret == -EOPNOTSUPP || ret == -ENOSYS)
        ret = sys(SYS_pwrite64, fd, "", 1, at + bytes - 1) == 1 ? 0 : -ENOSPC;
    if (ret == -EFBIG)
        sys_drain(SIGXFSZ);
    return ret == 0;
}

void *ring_map(int fd, u64 at, size_t bytes)
{
    void *p = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);
    long ret;

    if (sys_failed((long)p))
        return NULL;
    ret = sys(SYS_madvise, p, bytes, MADV_POPULATE_WRITE);
    if (ret == 0 || ret == -EINVAL) /* Linux before 5.14 does not know it */
        return p;
    sys_munmap(p, bytes);
    return NULL;
}

static size_t write_map(char *buf, size_t room)
{
    const struct machine_desc *desc = bus->machine->desc;
    struct fmt out = {.buf = buf, .cap = room};
    struct trace_bank *banks = sys_pages(desc->nbanks * sizeof(*banks) + 1);
    struct ring_map map = {banks, banks ? desc->nbanks : 0, bus->names, bus->ndevices};

    for (u32 i = 0; i < map.nbanks; i++)
        banks[i] = (struct trace_bank){desc->banks[i].name, desc->banks[i].range};
    ringmap_write(&out, &map);
    if (banks)
        sys_munmap(banks, desc->nbanks * sizeof(*banks) + 1);
    return out.full ? 0 : out.len;
}

static void fill_header(struct ring_header *h, size_t map, u64 reserve_at)
{
    struct ring_pair p = ring_pair_now();

    *h = (struct ring_header){.magic = RING_MAGIC, .version = RING_VERSION, .slot = RING_SLOT};
    h->id = (p.ns ^ p.ticks << 20 ^ (u64)sys_getpid() << 48) | 1;
    h->map = PAGE_SIZE;
    h->map_size = map;
    h->reserve = reserve_at;
    h->clock = ring_tsc ? RING_CLOCK_TSC : RING_CLOCK_REAL;
    h->flags = file_flags;
    h->start[0] = began;
    h->start[1] = p;
    h->next = reserve_at + RING_SMALLEST;
    __atomic_store_n(&h->complete, h->id, __ATOMIC_RELEASE);
}

/* Everything before the first segment. Log lock held. */
static struct ring_header *make_file(int fd)
{
    char *map = sys_pages(MAP_BYTES);
    size_t n = map ? write_map(map, MAP_BYTES) : 0;
    u64 reserve_at = PAGE_SIZE + page_up(n);
    struct ring_header *h = NULL;

    if (n && ring_reserve(fd, 0, reserve_at + RING_SMALLEST) &&
        sys(SYS_pwrite64, fd, map, n, PAGE_SIZE) == (long)n)
        h = ring_map(fd, 0, PAGE_SIZE);
    if (h)
        fill_header(h, n, reserve_at);
    if (map)
        sys_munmap(map, MAP_BYTES);
    return h;
}

/* What somebody else made; NULL: it is not whole. *foreign: it is something else. */
static struct ring_header *join_file(int fd, bool *foreign)
{
    struct stat st = {0};
    struct ring_header *h;
    char text[128];
    struct fmt ignored = FMT_INIT(text);

    *foreign = false;
    if (sys_fstat(fd, &st) < 0 || (u64)st.st_size < PAGE_SIZE)
        return NULL;
    h = ring_map(fd, 0, PAGE_SIZE);
    if (!h)
        return NULL;
    if (ring_check(h, (u64)st.st_size, &ignored) == 0 && h->clock == (ring_tsc ? RING_CLOCK_TSC : RING_CLOCK_REAL))
        return h;
    *foreign = h->magic && (h->magic != RING_MAGIC || h->complete == h->id);
    sys_munmap(h, PAGE_SIZE);
    return NULL;
}

bool ring_open(struct thread *t)
{
    struct arena *arena = bus->machine->arena;
    bool nested = lock_held(&arena->log_lock, &t->self), first, foreign = false;
    struct ring_header *h = NULL;
    int fd;

    if (!nested)
        lock_take(&arena->log_lock, &t->self);
    fd = sink_descriptor();
    if (!ring_header && fd >= 0 && sink_first(&first)) {
        h = first ? NULL : join_file(fd, &foreign);
        if (!h && !foreign)
            h = make_file(fd);
        __atomic_store_n(&ring_header, h, __ATOMIC_RELEASE);
    }
    ring_broken = ring_broken || foreign;
    if (!nested)
        lock_release(&arena->log_lock, &t->self);
    return ring_header != NULL;
}

/* --- what may happen to the file --- */

static bool patch_over(void *base, size_t bytes)
{
    return !sys_failed((long)sys_mmap(base, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}

bool ring_fault(u64 addr)
{
    struct thread *t = thread_self();
    struct ring_thread *r = t ? &t->ring : NULL;

    if (r && r->base && addr - (u64)r->base < r->bytes) {
        r->dead = true;
        return patch_over(r->base, r->bytes);
    }
    if (ring_header && addr - (u64)ring_header < PAGE_SIZE) {
        ring_broken = true;
        return patch_over(ring_header, PAGE_SIZE);
    }
    return false;
}

void ring_after_fork(bool own_file)
{
    ring_epoch++;
    if (!own_file)
        return;
    if (ring_header)
        sys_munmap(ring_header, PAGE_SIZE);
    ring_header = NULL;
    ring_broken = false;
    ring_file_epoch++;
}

/* A file system without shared mappings is found now, not when every event is lost. Nothing is touched. */
static bool can_map(void)
{
    int fd = sink_per_process() || !sink_wanted() ? -1 : sink_descriptor();
    void *p = fd >= 0 ? sys_mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : NULL;

    if (sys_failed((long)p))
        return false;
    if (p)
        sys_munmap(p, PAGE_SIZE);
    return true;
}

int ring_start(struct bus *b, bool filtered)
{
    bus = b;
    file_flags = filtered ? RING_FILTERED : 0;
    ring_tsc = invariant_tsc();
    began = ring_pair_now();
    return sink_mappable() && can_map() ? 0 : -1;
}
