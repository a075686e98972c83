/* What the files of the reader of binary transcripts share. */
#ifndef MMIOSHIM_TOOLS_RING_OWN_H
#define MMIOSHIM_TOOLS_RING_OWN_H

#include "trace/ringfile.h"
#include "trace_input.h"

struct segment {
    u32 stream, index, desk;
    u64 at, bytes;
};

/* A record that later ones refer to by its number. */
struct definition {
    u32 id;
    const struct ring_slot *slot;
    char *text; /* of a stack, as text shows it; made when first asked for */
    size_t length;
};

struct definitions {
    struct definition *all;
    size_t count, room;
};

/* Whose record comes next in a stream. */
struct stream {
    size_t segment, end; /* of the sorted table */
    u64 at;              /* within the segment */
    const struct ring_slot *slot; /* the next one to give, NULL: none */
    u32 pid, tid;
    u16 pid_ordinal, tid_ordinal;
};

struct ring {
    const u8 *data;
    size_t size;
    const struct ring_header *header;
    struct segment *segments;
    size_t nsegments, segment_room;
    struct stream *streams;
    struct stream **heap;
    size_t nstreams, nheap;
    struct definitions sites, stacks;
    struct ring_pair *pairs;
    size_t npairs, pair_room;
    const struct ring_slot *site; /* of the record at hand */
    void *pool;
    u64 ranges_room;
};

/* The first thing that was found wrong is what is told. */
void ring_say(struct trace_input *in, const char *what);
/* The record at a place of a segment, whole; NULL: there are no more. */
const struct ring_slot *ring_record(struct trace_input *in, const struct segment *s, u64 at);
/* Text number `i` behind a slot and `skip` bytes; NULL: there is none, or it is not terminated. */
const char *ring_text(const struct ring_slot *slot, size_t skip, unsigned i);
/* Finds segments, definitions and clocks. False: no memory. */
bool ring_look(struct trace_input *in);
/* NULL: nobody defined it. */
struct definition *ring_defined(struct definitions *d, u32 id);
/* Ticks to nanoseconds since 1970. */
u64 ring_to_ns(const struct ring *ring, u64 ticks);

#endif
