/* What `mmioshim trace convert` writes: a format is one of these. */
#ifndef MMIOSHIM_TOOLS_TRACE_WRITE_H
#define MMIOSHIM_TOOLS_TRACE_WRITE_H

#include <stdio.h>

#include "trace_input.h"

struct trace_output {
    FILE *file;
    struct fmt buf;  /* what is not yet in the file */
    unsigned show;   /* TRACE_SHOW_ */
    void *own;       /* of the format */
};

struct trace_writer {
    const char *name;
    bool needs_time;
    void (*begin)(struct trace_output *out, struct trace_input *in);
    void (*item)(struct trace_output *out, struct trace_input *in, enum trace_item item);
    void (*end)(struct trace_output *out, struct trace_input *in);
};

/* NULL: no such format; the names of all are in trace_writer_names. */
const struct trace_writer *trace_writer_find(const char *name);
extern const char trace_writer_names[];

/* Brings what is in the buffer to the file, so that another piece of up to `room` bytes fits. */
void trace_output_room(struct trace_output *out, size_t room);
void trace_output_flush(struct trace_output *out);

/* Those that have a file of their own. */
void chrome_begin(struct trace_output *out, struct trace_input *in);
void chrome_item(struct trace_output *out, struct trace_input *in, enum trace_item item);
void chrome_end(struct trace_output *out, struct trace_input *in);
void vcd_begin(struct trace_output *out, struct trace_input *in);
void vcd_item(struct trace_output *out, struct trace_input *in, enum trace_item item);
void vcd_end(struct trace_output *out, struct trace_input *in);

#endif
