/* What the readers of text and of JSON lines share. */
#ifndef MMIOSHIM_TOOLS_LINE_INPUT_H
#define MMIOSHIM_TOOLS_LINE_INPUT_H

#include "table.h"
#include "trace_input.h"

struct line_stack {
    u32 id;
    unsigned count;
    const char *frames[TRACE_FRAMES];
};

struct lines {
    const char *data, *at, *end;
    char *line;       /* the line at hand, terminated; the parser may change it */
    size_t room;
    u64 number;       /* of that line */
    u64 others;       /* lines that are none of a transcript: the program's own output */
    u64 known;        /* lines that are */
    struct trace_bank *banks;
    struct trace_device *devices;
    struct mmioshim_register **registers; /* of each device: the model's, and those that only the transcript knows */
    size_t bank_room, device_room;
    struct line_stack *stacks;
    struct table by_id, by_frames; /* their places, from 1 */
    size_t nstacks, stack_room, range_room;
    const char *pc, *insn;     /* of the record at hand; NULL: not said */
    struct trace_record last;  /* the access before */
    struct block *blocks;      /* memory that lives as long as the reader */
    /* Reads the line at hand. ITEM_END: nothing to give, go on. map: only what says what there is. */
    enum trace_item (*parse)(struct trace_input *in, struct lines *l, bool map);
};

/* The next line; NULL at the end. */
char *lines_next(struct lines *l);
/* The same without going on. */
const char *lines_peek(const struct lines *l, size_t *length);
char *lines_keep(struct lines *l, const char *text, size_t n);

void lines_add_bank(struct trace_input *in, const char *name, struct range range);
void lines_add_device(struct trace_input *in, const char *name, const char *label, const char *compatible,
                      struct range range, bool port, bool moves);
/* Index by name, TRACE_NONE: "unmapped", or not in the map. */
u16 lines_device(const struct trace_input *in, const char *name);
/* Fills device, reg, element and offset. place: "THR", "priority[3]", "mtime+4", "+0x234". */
void lines_place(struct trace_input *in, struct trace_record *r, const char *place);
/* The stack with these frames; by_id: its number is known. */
u32 lines_stack(struct lines *l, const char *const *frames, unsigned count, u32 id);
/* Little-endian bytes of "0x...". */
bool lines_value(struct trace_record *r, const char *hex);
bool lines_range(const char *text, struct range *range);
u64 lines_time(const char *text); /* "sec.usec" */
void lines_add_range(struct trace_input *in, struct range range);

enum trace_item text_parse(struct trace_input *in, struct lines *l, bool map);
enum trace_item json_parse(struct trace_input *in, struct lines *l, bool map);

#endif
