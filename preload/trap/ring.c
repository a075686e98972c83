#include "trap/ring.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "base/mem.h"
#include "base/sys.h"
#include "memory/arena.h"
#include "trace/ringmap.h"
#include "trap/backtrace.h"
#include "trap/bump.h"
#include "trap/sink.h"
#include "base/trapsafe.h"

#define PAIR_TICKS (1u << 22) /* a millisecond or two: so often the two clocks are compared, if anything happens */
#define SKIP       256u       /* events between two tries when there was no room */
#define MAP_BYTES  ((size_t)4 << 20)

static struct bus *bus;
static struct ring_header *header; /* of the file, mapped; NULL: not yet */
static u32 ring_epoch = 1; /* changes when every thread must begin anew: after fork, and after the end */
static u32 file_epoch = 1; /* changes with the file */
static u32 file_flags;
static bool tsc, broken;
static struct ring_pair began;

/* --- time --- */

static u64 now(void)
{
    struct timespec t = {0, 0};

    clock_gettime(CLOCK_REALTIME, &t);
    return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

static inline u64 ticks(void)
{
    return likely(tsc) ? __builtin_ia32_rdtsc() : now();
}

static struct ring_pair pair(void)
{
    u64 before = ticks(), ns = now();

    return (struct ring_pair){tsc ? before + (ticks() - before) / 2 : ns, ns};
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
    if (header)
        __atomic_fetch_add(&header->lost, n, __ATOMIC_RELAXED);
}

/*
 * Makes sure of disk space before anybody stores there: a store to a place that a full disk cannot give is a SIGBUS.
 * File systems that cannot promise it at least get the length.
 */
static bool reserve(int fd, u64 at, u64 bytes)
{
    long ret = sys(SYS_fallocate, fd, 0, at, bytes);

    if (ret == -EOPNOTSUPP || ret == -ENOSYS)
        ret = sys(SYS_pwrite64, fd, "", 1, at + bytes - 1) == 1 ? 0 : -ENOSPC;
    if (ret == -EFBIG)
        sys_drain(SIGXFSZ);
    return ret == 0;
}

/* Pages that stores will find there. NULL: there are none. */
static void *map_shared(int fd, u64 at, size_t bytes)
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
    struct ring_pair p = pair();

    *h = (struct ring_header){.magic = RING_MAGIC, .version = RING_VERSION, .slot = RING_SLOT};
    h->id = (p.ns ^ p.ticks << 20 ^ (u64)sys_getpid() << 48) | 1;
    h->map = PAGE_SIZE;
    h->map_size = map;
    h->reserve = reserve_at;
    h->clock = tsc ? RING_CLOCK_TSC : RING_CLOCK_REAL;
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

    if (n && reserve(fd, 0, reserve_at + RING_SMALLEST) &&
        sys(SYS_pwrite64, fd, map, n, PAGE_SIZE) == (long)n)
        h = map_shared(fd, 0, PAGE_SIZE);
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
    h = map_shared(fd, 0, PAGE_SIZE);
    if (!h)
        return NULL;
    if (ring_check(h, (u64)st.st_size, &ignored) == 0 && h->clock == (tsc ? RING_CLOCK_TSC : RING_CLOCK_REAL))
        return h;
    *foreign = h->magic && (h->magic != RING_MAGIC || h->complete == h->id);
    sys_munmap(h, PAGE_SIZE);
    return NULL;
}

static bool open_header(struct thread *t)
{
    struct arena *arena = bus->machine->arena;
    bool nested = lock_held(&arena->log_lock, &t->self), first, foreign = false;
    struct ring_header *h = NULL;
    int fd;

    if (!nested)
        lock_take(&arena->log_lock, &t->self);
    fd = sink_descriptor();
    if (!header && fd >= 0 && sink_first(&first)) {
        h = first ? NULL : join_file(fd, &foreign);
        if (!h && !foreign)
            h = make_file(fd);
        __atomic_store_n(&header, h, __ATOMIC_RELEASE);
    }
    broken = broken || foreign;
    if (!nested)
        lock_release(&arena->log_lock, &t->self);
    return header != NULL;
}

/* --- segments --- */

static void leave_segment(struct ring_thread *r)
{
    if (r->base)
        sys_munmap(r->base, r->bytes);
    r->base = r->next = r->end = r->repeat = NULL;
    r->dead = false;
}

static void enter_segment(struct ring_thread *r, u8 *base, u64 place, u32 bytes)
{
    struct ring_segment *s = (void *)base;

    leave_segment(r);
    s->self = header->id ^ place;
    s->bytes = bytes;
    s->stream = r->stream;
    s->index = r->index++;
    s->desk = bytes == RING_DESK;
    s->pair = pair();
    r->paired = s->pair.ticks;
    __atomic_store_n(&s->magic, RING_SEGMENT, __ATOMIC_RELEASE);
    r->base = base;
    r->bytes = bytes;
    r->place = place;
    r->next = base + sizeof(*s);
    r->end = base + bytes;
}

/* What was claimed is in the file. */
static void end_claim(void)
{
    __atomic_fetch_sub(&header->open, 1, __ATOMIC_RELAXED);
}

/*
 * A piece of the file that is this thread's alone, until end_claim() or give_back(). False: the file is as long as it may
 * be.
 */
static bool claim_place(u32 bytes, u64 *place)
{
    __atomic_fetch_add(&header->open, 1, __ATOMIC_RELAXED);
    *place = __atomic_load_n(&header->next, __ATOMIC_RELAXED);
    do {
        if (*place >= RING_LIMIT || bytes > RING_LIMIT - *place) {
            end_claim();
            return false;
        }
    } while (!__atomic_compare_exchange_n(&header->next, place, *place + bytes, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return true;
}

/* It cannot be used. Where somebody else has claimed more meanwhile, it remains as a hole. */
static void give_back(u64 place, u32 bytes)
{
    u64 end = place + bytes;

    if (__atomic_compare_exchange_n(&header->next, &end, place, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        end_claim();
}

static bool claim_mapped(struct ring_thread *r, u32 bytes)
{
    int fd = sink_descriptor();
    u64 place;
    u8 *base;

    if (fd < 0 || !claim_place(bytes, &place))
        return false;
    base = reserve(fd, place, bytes) ? map_shared(fd, place, bytes) : NULL;
    if (!base) {
        give_back(place, bytes);
        return false;
    }
    enter_segment(r, base, place, bytes);
    end_claim();
    return true;
}

static bool write_at(int fd, const void *data, size_t n, u64 at)
{
    const u8 *p = data;

    while (n) {
        long done = sys(SYS_pwrite64, fd, p, n, at);

        if (done == -EINTR)
            continue;
        if (done == -EFBIG)
            sys_drain(SIGXFSZ);
        if (done <= 0)
            return false;
        p += done;
        at += (u64)done;
        n -= (size_t)done;
    }
    return true;
}

/* The head comes last: a copy that has one is whole. */
static bool copy_desk(const struct ring_thread *r, int fd, u64 place)
{
    struct ring_segment head = *(const struct ring_segment *)r->base;

    head.self = header->id ^ place;
    head.desk = 0;
    return write_at(fd, r->base + sizeof(head), r->bytes - sizeof(head), place + sizeof(head)) &&
           write_at(fd, &head, sizeof(head), place);
}

static bool clear_desk(struct ring_thread *r)
{
    int fd = sink_descriptor();
    struct ring_segment *s = (void *)r->base;
    u64 place;

    if (fd < 0 || !claim_place(r->bytes, &place))
        return false;
    if (!copy_desk(r, fd, place)) {
        give_back(place, r->bytes);
        return false;
    }
    end_claim();
    for (u8 *slot = r->base + sizeof(*s); slot < r->end; slot += RING_SLOT)
        *(volatile u64 *)slot = 0;
    __atomic_store_n(&s->index, r->index++, __ATOMIC_RELEASE);
    r->next = r->base + sizeof(*s);
    return true;
}

/* The last of the file, for what is said at the end. */
static bool claim_reserve(struct ring_thread *r)
{
    int fd = sink_descriptor();
    u8 *base;

    if (fd < 0 || __atomic_exchange_n(&header->reserved, 1, __ATOMIC_RELAXED))
        return false;
    base = map_shared(fd, header->reserve, RING_SMALLEST);
    if (base)
        enter_segment(r, base, header->reserve, RING_SMALLEST);
    return base;
}

static bool next_segment(struct ring_thread *r, size_t need)
{
    size_t whole = need + sizeof(struct ring_segment);

    if (whole > RING_DESK)
        return false;
    if (r->base && r->bytes == RING_DESK)
        return clear_desk(r);
    if (!r->index && whole <= RING_SMALLEST && claim_mapped(r, RING_SMALLEST))
        return true;
    return claim_mapped(r, RING_DESK) || (whole <= RING_SMALLEST && claim_mapped(r, RING_SMALLEST));
}

static struct ring_slot *take(struct ring_thread *r, unsigned slots)
{
    struct ring_slot *s = (void *)r->next;

    r->next += slots * RING_SLOT;
    r->repeat = NULL;
    return s;
}

/* Whose events follow. */
static void put_thread(struct thread *t, u64 at)
{
    struct ring_slot *s = take(&t->ring, 1);

    s->time = at;
    s->addr = t->self.pid;
    s->offset = t->self.tid;
    s->value = t->pid_ordinal | (u64)t->tid_ordinal << 32;
    ring_commit(s, RING_THREAD, 0, 1, 0);
}

static void put_pair(struct ring_thread *r)
{
    struct ring_slot *s = take(r, 1);
    struct ring_pair p = pair();

    s->time = r->paired = p.ticks;
    s->value = p.ns;
    ring_commit(s, RING_TIME, 0, 1, 0);
}

static void begin_stream(struct ring_thread *r)
{
    leave_segment(r);
    r->stream = __atomic_add_fetch(&header->streams, 1, __ATOMIC_RELAXED);
    r->index = 0;
    r->ready = 0;
    r->skip = 0;
    r->epoch = ring_epoch;
}

/* Room for so many slots, with all that comes before them. final: the reserve may be used. */
static bool __attribute__((noinline)) make_room(struct thread *t, unsigned slots, bool final)
{
    struct ring_thread *r = &t->ring;
    size_t need = (slots + 2) * (size_t)RING_SLOT;

    if (broken || (r->skip && r->skip-- && !final && r->epoch == ring_epoch))
        return false;
    if (!header && !open_header(t)) {
        r->skip = SKIP;
        r->epoch = ring_epoch;
        return false;
    }
    if (r->epoch != ring_epoch || !r->stream)
        begin_stream(r);
    if (r->dead)
        leave_segment(r);
    if ((size_t)(r->end - r->next) < need && !next_segment(r, need) && !(final && claim_reserve(r))) {
        r->skip = SKIP;
        return false;
    }
    if (r->ready != ring_epoch)
        put_thread(t, ticks());
    if (tsc && ticks() - r->paired > PAIR_TICKS)
        put_pair(r);
    r->ready = ring_epoch;
    return true;
}

static inline struct ring_slot *room(struct thread *t, unsigned slots, u64 at)
{
    struct ring_thread *r = &t->ring;

    if (unlikely(r->ready != ring_epoch || (size_t)(r->end - r->next) < slots * RING_SLOT || r->dead ||
                 (tsc && at - r->paired > PAIR_TICKS)) &&
        !make_room(t, slots, false))
        return NULL;
    return take(r, slots);
}

/* --- instructions --- */

#define SITES  16384u
#define PROBES 8u

/* An instruction that made accesses, as it was announced. */
struct site {
    u64 pc, insn[2]; /* its bytes, the rest 0 */
    u32 id;
    u32 file;        /* the file that it was announced in */
    u32 code;        /* when its text was right last */
    u8 length;
    char text[];
};

static struct site *sites[SITES];

static void put_site(struct thread *t, struct site *s)
{
    size_t text = strlen(s->text) + 1;
    unsigned slots = ring_slots(sizeof(s->insn) + text);
    struct ring_slot *slot = room(t, slots, ticks());

    if (!slot)
        return;
    slot->addr = s->pc;
    slot->element = s->length;
    memcpy(slot + 1, s->insn, sizeof(s->insn));
    memcpy((u8 *)(slot + 1) + sizeof(s->insn), s->text, text);
    ring_commit(slot, RING_SITE, 0, slots, s->id);
}

static struct site *make_site(struct thread *t, u64 pc, const u64 insn[2], u8 length)
{
    char buf[400];
    struct fmt text = FMT_INIT(buf);
    struct site *s;

    backtrace_where(pc, &text);
    fmt_end(&text);
    s = bump_alloc(sizeof(*s) + strlen(buf) + 1);
    if (!s || (!header && !open_header(t)))
        return NULL;
    *s = (struct site){.pc = pc, .insn = {insn[0], insn[1]}, .length = length};
    memcpy(s->text, buf, strlen(buf) + 1);
    s->id = __atomic_add_fetch(&header->sites, 1, __ATOMIC_RELAXED);
    s->file = file_epoch;
    s->code = backtrace_epoch();
    put_site(t, s);
    return s;
}

/* Still the same module there? */
static bool site_holds(struct site *s)
{
    char buf[400];
    struct fmt text = FMT_INIT(buf);
    u32 code = backtrace_epoch();

    if (likely(s->file == file_epoch && s->code == code))
        return true;
    if (s->file != file_epoch)
        return false;
    backtrace_where(s->pc, &text);
    if (strcmp(fmt_end(&text), s->text) != 0)
        return false;
    s->code = code;
    return true;
}

/* The number of an instruction, announced before. 0: none. */
static u32 site_of(struct thread *t, const struct trace_record *rec)
{
    u64 insn[2] = {0, 0};
    u32 hash = (u32)(rec->pc * 0x9e3779b97f4a7c15ull >> 40);
    struct site *s;
    u32 at = 0;

    if (!rec->pc)
        return 0;
    memcpy(insn, rec->insn, 16);
    if (rec->insn_len < 8) {
        insn[0] &= ((u64)1 << 8 * rec->insn_len) - 1;
        insn[1] = 0;
    } else {
        insn[1] &= ((u64)1 << 8 * (MIN(rec->insn_len, 15) - 8)) - 1;
    }
    for (u32 i = 0; i < PROBES; i++) {
        at = (hash + i) % SITES;
        s = __atomic_load_n(&sites[at], __ATOMIC_ACQUIRE);
        if (!s)
            break;
        if (s->pc != rec->pc || s->insn[0] != insn[0] || s->insn[1] != insn[1] || s->length != rec->insn_len)
            continue;
        if (likely(site_holds(s)))
            return s->id;
        break;
    }
    /* One that is stale, or that finds no place, gives its place to this one. */
    s = make_site(t, rec->pc, insn, rec->insn_len);
    if (s)
        __atomic_store_n(&sites[at], s, __ATOMIC_RELEASE);
    return s ? s->id : 0;
}

/* --- events --- */

bool ring_put(struct thread *t, const struct trace_record *rec, u64 order)
{
    u32 site = site_of(t, rec);
    u64 at = ticks();
    struct ring_slot *s = room(t, ring_slots(ring_more(rec)), at);

    if (unlikely(!s))
        return false;
    ring_pack(s, rec, site, order, at);
    return true;
}

bool ring_repeat(struct thread *t, u64 first_seq, u64 order)
{
    struct ring_slot *s = (void *)t->ring.repeat;
    struct trace_record rec;
    u64 count = 1;

    if (likely(s && t->ring.ready == ring_epoch && !t->ring.dead && s->addr == first_seq)) {
        s->order = order;
        s->time = ticks();
        __atomic_store_n(&s->value, s->value + 1, __ATOMIC_RELEASE);
        return true;
    }
    memset(&rec, 0, sizeof(rec));
    rec.type = TRACE_REPEAT;
    rec.device = rec.reg = TRACE_NONE;
    rec.seq = first_seq;
    memcpy(rec.value, &count, sizeof(count));
    if (!ring_put(t, &rec, order))
        return false;
    t->ring.repeat = t->ring.next - RING_SLOT;
    return true;
}

void ring_repeat_ends(struct thread *t, u64 order)
{
    struct ring_slot *s = (void *)t->ring.repeat;

    if (s && t->ring.ready == ring_epoch && !t->ring.dead) {
        s->order = order;
        s->time = ticks();
    }
    t->ring.repeat = NULL;
}

void ring_stack(struct thread *t, u32 stack)
{
    struct ring_slot *s;
    const char *frame;
    size_t bytes = 0;
    unsigned n = 0;
    char *out;

    for (; n < TRACE_FRAMES && (frame = backtrace_frame(stack, n)); n++)
        bytes += strlen(frame) + 1;
    s = room(t, ring_slots(bytes), ticks());
    if (!s)
        return;
    s->stack = stack;
    s->element = (u16)n;
    out = (char *)(s + 1);
    for (unsigned i = 0; i < n; i++) {
        frame = backtrace_frame(stack, i);
        memcpy(out, frame, strlen(frame) + 1);
        out += strlen(frame) + 1;
    }
    ring_commit(s, RING_STACK, 0, ring_slots(bytes), 0);
}

/* --- the end --- */

/* What must not be lost even on a full disk. */
static struct ring_slot *final_room(struct thread *t, size_t more)
{
    struct ring_thread *r = &t->ring;
    unsigned slots = ring_slots(more);

    if ((r->ready != ring_epoch || r->dead || (size_t)(r->end - r->next) < slots * RING_SLOT) &&
        !make_room(t, slots, true))
        return NULL;
    return take(r, slots);
}

#define RANGES_EACH 124u /* ranges in one record: half a small segment */

static void put_ranges(struct thread *t, u64 order, const struct range *ranges, u64 nranges)
{
    for (u64 done = 0; done < nranges;) {
        u16 n = (u16)MIN(nranges - done, (u64)RANGES_EACH);
        size_t more = n * sizeof(*ranges);
        struct ring_slot *s = final_room(t, more);

        if (!s)
            return;
        s->order = order;
        s->time = ticks();
        s->element = n;
        memcpy(s + 1, ranges + done, more);
        ring_commit(s, RING_RANGES, 0, ring_slots(more), 0);
        done += n;
    }
}

void ring_dirty(struct thread *t, u64 order, const char *mode, u64 pages, u64 total, const struct range *ranges,
                u64 nranges, const char *note)
{
    size_t m = strlen(mode) + 1, n = note ? strlen(note) + 1 : 1;
    struct ring_slot *s = final_room(t, m + n);

    if (!s)
        return;
    s->order = order;
    s->time = ticks();
    s->addr = pages;
    s->offset = total;
    s->value = nranges;
    memcpy(s + 1, mode, m);
    memcpy((char *)(s + 1) + m, note ? note : "", n);
    ring_commit(s, RING_DIRTY, 0, ring_slots(m + n), 0);
    put_ranges(t, order, ranges, nranges);
}

void ring_exit(struct thread *t, u64 order, const struct trace_totals *totals)
{
    u64 more[2] = {totals->lint, totals->lost};
    struct ring_slot *s = final_room(t, sizeof(more));

    if (!s)
        return;
    s->order = order;
    s->time = ticks();
    s->addr = totals->accesses;
    s->offset = totals->reads;
    s->value = totals->writes;
    memcpy(s + 1, more, sizeof(more));
    ring_commit(s, RING_EXIT, 0, ring_slots(sizeof(more)), 0);
}

static bool alone(void)
{
    struct stat st = {0};

    /* A directory has a link for itself, one of its parent, one of each directory in it: here, threads. */
    return sys(SYS_stat, "/proc/self/task", &st) == 0 && st.st_nlink == 3;
}

void ring_close(struct thread *t, bool last)
{
    struct ring_thread *r = &t->ring;
    u64 end = r->place + r->bytes, used = page_up((u64)(r->next - r->base));
    int fd = sink_descriptor();

    if (header && fd >= 0 && last && r->base && !r->dead && r->epoch == ring_epoch && r->place != header->reserve && alone() &&
        __atomic_compare_exchange_n(&header->next, &end, r->place + used, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        ((struct ring_segment *)r->base)->bytes = (u32)used;
        sys(SYS_ftruncate, fd, r->place + used);
    }
    ring_epoch++; /* who goes on (a failed exec, another thread) begins anew */
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
        __atomic_fetch_add(&bus->machine->arena->counters.lost, 1, __ATOMIC_RELAXED);
        return patch_over(r->base, r->bytes);
    }
    if (header && addr - (u64)header < PAGE_SIZE) {
        broken = true;
        return patch_over(header, PAGE_SIZE);
    }
    return false;
}

void ring_after_fork(bool own_file)
{
    ring_epoch++;
    if (!own_file)
        return;
    if (header)
        sys_munmap(header, PAGE_SIZE);
    header = NULL;
    broken = false;
    file_epoch++;
}

int ring_start(struct bus *b, bool filtered)
{
    bus = b;
    file_flags = filtered ? RING_FILTERED : 0;
    tsc = invariant_tsc();
    began = pair();
    return sink_mappable() ? 0 : -1;
}
