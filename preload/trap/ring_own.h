/* What the files of the binary transcript share. Signals masked. */
#ifndef MMIOSHIM_TRAP_RING_OWN_H
#define MMIOSHIM_TRAP_RING_OWN_H

#include "trap/ring.h"

/* ring_file.c: the file that this process writes to. Hidden, else each is looked up in a table. */
#pragma GCC visibility push(hidden)
extern struct ring_header *ring_header; /* mapped; NULL: not yet */
extern u32 ring_epoch;      /* changes when every thread must begin anew: after fork, and after the end */
extern u32 ring_file_epoch; /* changes with the file */
extern bool ring_tsc;       /* ticks are those of the time stamp counter, else nanoseconds since 1970 */
extern bool ring_broken;    /* it cannot be written to any more */
#pragma GCC visibility pop

u64 ring_now(void); /* nanoseconds since 1970 */
struct ring_pair ring_pair_now(void);

static inline u64 ring_ticks(void)
{
    return likely(ring_tsc) ? __builtin_ia32_rdtsc() : ring_now();
}

/* Makes the file, or joins it. */
bool ring_open(struct thread *thread);
/*
 * Makes sure of disk space before anybody stores there: a store to a place that a full disk cannot give is a SIGBUS.
 * File systems that cannot promise it at least get the length.
 */
bool ring_reserve(int fd, u64 at, u64 bytes);
/* Pages that stores will find there. NULL: there are none. */
void *ring_map(int fd, u64 at, size_t bytes);

/* ring_room.c: the piece of it that a thread has */
#define RING_PAIR_TICKS (1u << 22) /* a millisecond or two: so often the two clocks are compared, if anything happens */

/* Room for so many slots, with all that comes before them. final: the reserve may be used. */
bool ring_make_room(struct thread *thread, unsigned slots, bool final);

static inline struct ring_slot *ring_take(struct ring_thread *r, unsigned slots)
{
    struct ring_slot *s = (struct ring_slot *)r->next;

    r->next += slots * RING_SLOT;
    r->repeat = NULL;
    return s;
}

/* Slots to write to; the word of the first is still 0. NULL: there is no room. at: ring_ticks(). */
static inline struct ring_slot *ring_room(struct thread *t, unsigned slots, u64 at)
{
    struct ring_thread *r = &t->ring;

    if (unlikely(r->ready != ring_epoch || (size_t)(r->end - r->next) < slots * RING_SLOT || r->dead ||
                 (ring_tsc && at - r->paired > RING_PAIR_TICKS)) &&
        !ring_make_room(t, slots, false))
        return NULL;
    return ring_take(r, slots);
}

/* ring_site.c: the number of a record's instruction, announced before. 0: none. */
u32 ring_site(struct thread *thread, const struct trace_record *rec);

#endif
