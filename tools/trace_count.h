/* What `mmioshim trace stats` and `report` count, in one pass over a transcript. */
#ifndef MMIOSHIM_TOOLS_TRACE_COUNT_H
#define MMIOSHIM_TOOLS_TRACE_COUNT_H

#include "table.h"
#include "trace_input.h"

/* Accesses of one kind: to a register, from a place in the program, with a call stack. */
struct count {
    u64 reads, writes;
    struct trace_record first; /* the first of them */
    char *text;                /* of a place: "driver+0x1189"; of findings: the rule */
};

struct counts {
    struct count *all;
    size_t n, room;
    struct table index;
};

/* A run of equal reads by one thread at one place. */
struct poll {
    struct trace_record first;
    u64 times; /* reads, the first included */
    u64 last_seq, until; /* number and time of the last */
};

struct trace_counts {
    struct count all;
    struct counts devices;   /* TRACE_NONE stands for holes */
    struct counts registers;
    struct counts sites;     /* by place and register */
    struct counts stacks;
    struct counts rules;     /* in reads: how often */
    struct poll *polls;      /* runs of at least 3 */
    size_t npolls, poll_room;
    u64 lint, other;         /* findings; events that are neither accesses nor findings */
    u64 first_seq, last_seq; /* of accesses */
    u64 from, until;         /* nanoseconds since 1970, 0: no times */
    struct table processes, threads;
    bool ended;              /* there is an [EXIT]: its numbers are in input->totals */
    struct trace_totals totals;
};

void trace_count(struct trace_counts *counts, struct trace_input *input);
void trace_counts_free(struct trace_counts *counts);

/* Most accesses first; those with equally many in the order in which they came. */
void counts_sort(struct counts *counts);

/* "uart@10000000", "unmapped" */
const char *count_device(const struct trace_input *input, const struct trace_record *record);
/* "LSR", "+0x234" */
void count_register(const struct trace_input *input, const struct trace_record *record, struct fmt *out);

#endif
