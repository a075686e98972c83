/*
 * The binary transcript (MMIOSHIM_LOG_FORMAT=ring): a file that every process
 * of a machine maps and writes to without a lock. Little-endian throughout:
 *
 *   header    what is fixed, and the counters that the writers share
 *   map       devices, their registers and the RAM ([MEM]), see ringmap.h
 *   reserve   one small segment, kept for [DIRTY] and [EXIT] on a full disk
 *   segments  each belongs to one stream, and a stream to one thread (when that ends, to its successor); they
 *             begin at multiples of a page, and what nobody wrote is 0
 *
 * A segment is its head and then records. A record is one slot, or several in
 * a row; the word that says what it is is written last, so that a writer that
 * dies leaves no half record. Records of a stream are in order; between
 * streams `order` decides, then `time`.
 *
 * A thread has few pages mapped: a first small segment, and then one that is
 * its desk. When the desk is full it is copied to a new place, cleared, and
 * goes on as the next segment of the stream: a page that is written to by
 * copying costs a third of one that is mapped anew. Who dies in between leaves
 * the same segment twice: then the copy counts, whose head is written last.
 *
 * Whoever reads believes nothing: every length is checked against what is there.
 */
#ifndef MMIOSHIM_TRACE_RINGFILE_H
#define MMIOSHIM_TRACE_RINGFILE_H

#include "base/fmt.h"
#include "base/mem.h"
#include "trace/print.h"

#define RING_MAGIC    0x474e49524f494d4dull /* "MMIORING" */
#define RING_SEGMENT  0x544d4753474e4952ull /* "RINGSGMT" */
#define RING_VERSION  1u
#define RING_SLOT     64u
#define RING_SMALLEST 4096u        /* bytes of the first segment of a stream */
#define RING_DESK     (64u << 10) /* of the one behind it */
#define RING_LIMIT    ((u64)4 << 30) /* bytes of a file */

enum { RING_CLOCK_REAL = 0, RING_CLOCK_TSC = 1 };
enum { RING_FILTERED = 1 }; /* accesses are left out on purpose: numbers that are missing say nothing */

/* One moment on the writers' clock and in nanoseconds since 1970. */
struct ring_pair {
    u64 ticks, ns;
};

struct ring_header {
    u64 magic;
    u32 version;
    u32 slot;     /* RING_SLOT */
    u64 id;       /* of this file: its segments carry it, too */
    u64 complete; /* id, once all that is fixed is written */
    u64 map, map_size; /* where the map is */
    u64 reserve;  /* where the reserve is */
    u32 clock;    /* RING_CLOCK_REAL: ticks are nanoseconds since 1970 */
    u32 flags;
    struct ring_pair start[2]; /* as the process began, and as the file did */
    u64 unused[4];
    /* Changed by all writers, atomically. */
    u64 next;     /* where the next segment goes */
    u64 lost;     /* events that found no room */
    u32 streams, sites; /* last numbers given */
    u32 reserved; /* 1: somebody uses the reserve */
    u32 open;     /* claims whose place is not all in the file (yet, or for ever): next may lie behind its end */
};

struct ring_segment {
    u64 magic;
    u64 self;   /* id of the file xor the segment's place in it */
    u32 bytes;
    u32 stream;
    u32 index;  /* within the stream, from 0 */
    u32 desk;   /* 1: it may be there as a copy, too */
    struct ring_pair pair;
    u64 unused2[2];
};

/* What a record can be beside an event (enum trace_type). The slot's fields hold other things then. */
enum ring_type {
    RING_THREAD = 64, /* from here on: pid in addr, tid in offset, their ordinals in the halves of value */
    RING_SITE,        /* number in site, pc in addr, length of the instruction in element; more: 16 bytes, "module+0xoffset" */
    RING_STACK,       /* number in stack, frames in element; more: their texts, each terminated */
    RING_TIME,        /* a pair: time, and nanoseconds in value */
    RING_DIRTY,       /* pages in addr, of all in offset, ranges in value; more: mode, note, both terminated */
    RING_RANGES,      /* how many in element; more: base and size of each */
    RING_EXIT,        /* accesses, reads, writes in addr, offset, value; more: lint, lost */
};

#define RING_WRITE    0x80u /* in flags, beside those of the record */
#define RING_NUMBERED 0x40u /* its seq is its order; else it has none */
#define RING_FLAGS    0x07u

struct ring_slot {
    u8 type;    /* enum trace_type, enum ring_type; 0: nothing (yet) */
    u8 flags;
    u16 slots;  /* of the record, this one included */
    u32 site;   /* where the instruction is, 0: nowhere */
    u64 order;  /* accesses: seq; others: the last number that was given before */
    u64 time;   /* ticks */
    u64 addr;   /* REPEAT: seq */
    u64 offset;
    u64 value;  /* an access of more than 8 bytes has all of it in the next slot */
    u32 stack;
    u32 width;
    u16 device, reg, element;
    u16 unused;
};

_Static_assert(sizeof(struct ring_slot) == RING_SLOT, "the format is fixed");
_Static_assert(sizeof(struct ring_segment) == RING_SLOT, "the format is fixed");
_Static_assert(sizeof(struct ring_header) == 160 && offsetof(struct ring_header, next) == 128, "the format is fixed");
_Static_assert(TRACE_MAX_WIDTH <= RING_SLOT && (int)TRACE_REPEAT < (int)RING_THREAD, "the format is fixed");

static inline bool ring_is_access(const struct trace_record *r)
{
    return r->type == TRACE_MMIO || r->type == TRACE_PORT;
}

/* Bytes that a record has behind its slot: a wide value, or its text. */
size_t ring_text_bytes(const struct trace_record *r);

static inline size_t ring_more(const struct trace_record *r)
{
    if (likely(ring_is_access(r)))
        return r->width > 8 ? TRACE_MAX_WIDTH : 0;
    return ring_text_bytes(r);
}

static inline unsigned ring_slots(size_t more)
{
    return 1 + (unsigned)((more + RING_SLOT - 1) / RING_SLOT);
}

/* The word that makes a record valid. */
static inline void ring_commit(struct ring_slot *s, unsigned type, unsigned flags, unsigned slots, u32 site)
{
    u64 word = type | (u64)flags << 8 | (u64)slots << 16 | (u64)site << 32;

    __atomic_store_n((u64 *)s, word, __ATOMIC_RELEASE);
}

/* Writes an event into slots that are there (ring_more, ring_slots). Any context. */
static inline void ring_pack(struct ring_slot *s, const struct trace_record *r, u32 site, u64 order, u64 ticks)
{
    size_t more = ring_more(r);
    unsigned flags = (r->flags & RING_FLAGS) | (r->op == TRACE_WRITE ? RING_WRITE : 0);

    s->order = order;
    s->time = ticks;
    s->addr = r->type == TRACE_REPEAT ? r->seq : r->addr;
    s->offset = r->offset;
    memcpy(&s->value, r->value, sizeof(s->value));
    s->stack = r->stack;
    s->width = r->width;
    s->device = r->device;
    s->reg = r->reg;
    s->element = r->element;
    if (unlikely(more))
        memcpy(s + 1, ring_is_access(r) ? r->value : (const u8 *)r->text, more);
    if (r->type != TRACE_REPEAT && r->seq)
        flags |= RING_NUMBERED;
    ring_commit(s, r->type, flags, ring_slots(more), site);
}

/*
 * Reads an event that has its whole record before it: s->slots slots, checked by the caller. False: it is none, or
 * not well-formed. seq is set; pid, tid, pc and insn are the reader's business, and time is in ticks. Any context.
 */
bool ring_unpack(const struct ring_slot *s, struct trace_record *r);

/*
 * Checks what is fixed in a header; `size` is the file's. 0, or -1 with the reason: no ring, of another version, cut
 * off. Any context.
 */
int ring_check(const struct ring_header *h, u64 size, struct fmt *error);
/*
 * Is there a segment at this place of a file of `size` bytes, which is all in memory? Its bytes that the file has go
 * to *bytes.
 */
bool ring_segment_at(const struct ring_header *h, const u8 *file, u64 size, u64 at, u64 *bytes);

#endif
