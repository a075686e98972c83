/* The piece of the file that a thread has: a small one first, then its desk, which is copied out when it is full. */
#include "trap/ring_own.h"

#include <errno.h>
#include <signal.h>

#include "base/mem.h"
#include "base/sys.h"
#include "trap/sink.h"
#include "base/trapsafe.h"

#define SKIP 256u /* events between two tries when there was no room */

static void ring_leave_segment(struct ring_thread *r)
{
    if (r->base)
        sys_munmap(r->base, r->bytes);
    r->base = r->next = r->end = r->repeat = NULL;
    r->dead = false;
}

static void enter_segment(struct ring_thread *r, u8 *base, u64 place, u32 bytes)
{
    struct ring_segment *s = (void *)base;

    ring_leave_segment(r);
    s->self = ring_header->id ^ place;
    s->bytes = bytes;
    s->stream = r->stream;
    s->index = r->index++;
    s->desk = bytes == RING_DESK;
    s->pair = ring_pair_now();
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
    __atomic_fetch_sub(&ring_header->open, 1, __ATOMIC_RELAXED);
}

/*
 * A piece of the file that is this thread's alone, until end_claim() or give_back(). False: the file is as long as it may
 * be.
 */
static bool claim_place(u32 bytes, u64 *place)
{
    __atomic_fetch_add(&ring_header->open, 1, __ATOMIC_RELAXED);
    *place = __atomic_load_n(&ring_header->next, __ATOMIC_RELAXED);
    do {
        if (*place >= RING_LIMIT || bytes > RING_LIMIT - *place) {
            end_claim();
            return false;
        }
    } while (!__atomic_compare_exchange_n(&ring_header->next, place, *place + bytes, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return true;
}

/* It cannot be used. Where somebody else has claimed more meanwhile, it remains as a hole. */
static void give_back(u64 place, u32 bytes)
{
    u64 end = place + bytes;

    if (__atomic_compare_exchange_n(&ring_header->next, &end, place, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        end_claim();
}

static bool claim_mapped(struct ring_thread *r, u32 bytes)
{
    int fd = sink_descriptor();
    u64 place;
    u8 *base;

    if (fd < 0 || !claim_place(bytes, &place))
        return false;
    base = ring_reserve(fd, place, bytes) ? ring_map(fd, place, bytes) : NULL;
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

    head.self = ring_header->id ^ place;
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

    if (fd < 0 || __atomic_exchange_n(&ring_header->reserved, 1, __ATOMIC_RELAXED))
        return false;
    base = ring_map(fd, ring_header->reserve, RING_SMALLEST);
    if (base)
        enter_segment(r, base, ring_header->reserve, RING_SMALLEST);
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

/* Whose events follow. */
static void put_thread(struct thread *t, u64 at)
{
    struct ring_slot *s = ring_take(&t->ring, 1);

    s->time = at;
    s->addr = t->self.pid;
    s->offset = t->self.tid;
    s->value = t->pid_ordinal | (u64)t->tid_ordinal << 32;
    ring_commit(s, RING_THREAD, 0, 1, 0);
}

static void put_pair(struct ring_thread *r)
{
    struct ring_slot *s = ring_take(r, 1);
    struct ring_pair p = ring_pair_now();

    s->time = r->paired = p.ticks;
    s->value = p.ns;
    ring_commit(s, RING_TIME, 0, 1, 0);
}

static void begin_stream(struct ring_thread *r)
{
    ring_leave_segment(r);
    r->stream = __atomic_add_fetch(&ring_header->streams, 1, __ATOMIC_RELAXED);
    r->index = 0;
    r->ready = 0;
    r->skip = 0;
    r->epoch = ring_epoch;
}

bool ring_make_room(struct thread *t, unsigned slots, bool final)
{
    struct ring_thread *r = &t->ring;
    size_t need = (slots + 2) * (size_t)RING_SLOT;

    if (ring_broken || (r->skip && r->skip-- && !final && r->epoch == ring_epoch))
        return false;
    if (!ring_header && !ring_open(t)) {
        r->skip = SKIP;
        r->epoch = ring_epoch;
        return false;
    }
    if (r->epoch != ring_epoch || !r->stream)
        begin_stream(r);
    if (r->dead)
        ring_leave_segment(r);
    if ((size_t)(r->end - r->next) < need && !next_segment(r, need) && !(final && claim_reserve(r))) {
        r->skip = SKIP;
        return false;
    }
    if (r->ready != ring_epoch)
        put_thread(t, ring_ticks());
    if (ring_tsc && ring_ticks() - r->paired > RING_PAIR_TICKS)
        put_pair(r);
    r->ready = ring_epoch;
    return true;
}
