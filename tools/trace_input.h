/*
 * A transcript that is read: binary, text or JSON lines. What is in the file
 * is not believed; what it does not say is left at 0. The file is in memory
 * and stays there.
 */
#ifndef MMIOSHIM_TOOLS_TRACE_INPUT_H
#define MMIOSHIM_TOOLS_TRACE_INPUT_H

#include "trace/print.h"
#include "trace/ringmap.h"

enum trace_format { TRACE_RING, TRACE_TEXT_LINES, TRACE_JSON_LINES };

enum trace_item { ITEM_END, ITEM_RECORD, ITEM_DIRTY, ITEM_EXIT };

struct trace_dirty {
    const char *mode, *note; /* note: NULL when there is none */
    u64 pages, total;
    struct range *ranges;
    u64 nranges;
};

struct trace_input {
    enum trace_format format;
    struct ring_map map;
    struct trace_names names; /* of the map and of the record at hand */
    bool timed;               /* records have a time */
    bool filtered;            /* accesses were left out on purpose */
    u64 started;              /* when the transcript began, nanoseconds since 1970 */
    u64 lost;                 /* events that the writers counted as lost */
    /* The item at hand. */
    u64 time; /* of a record, [DIRTY], [EXIT]: nanoseconds since 1970 */
    struct trace_record record;
    struct trace_dirty dirty;
    struct trace_totals totals;
    /* What was found wrong on the way: one line without a file name; empty: nothing. */
    struct fmt damage;
    char damage_text[160];
    void *own; /* of the reader */
    enum trace_item (*next)(struct trace_input *input);
    void (*rewind)(struct trace_input *input);
};

/* 0, or -1 with the reason. `path` in messages is the caller's business. */
int trace_input_open(struct trace_input *input, const u8 *data, size_t size, struct fmt *error);
/* Ends with ITEM_END; records are in the machine's order. */
static inline enum trace_item trace_input_next(struct trace_input *input)
{
    return input->next(input);
}

void trace_input_close(struct trace_input *input);

/* The readers of each kind. */
int ring_input_open(struct trace_input *input, const u8 *data, size_t size, struct fmt *error);
void ring_input_close(struct trace_input *input);
int line_input_open(struct trace_input *input, const u8 *data, size_t size, struct fmt *error);
void line_input_close(struct trace_input *input);

#endif
