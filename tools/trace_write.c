#include "trace_write.h"

#include <stdlib.h>
#include <string.h>

#include "table.h"
#include "tool.h"

#define PIECE ((size_t)256 << 10) /* longer than any event */

void trace_output_flush(struct trace_output *out)
{
    if (out->buf.len)
        fwrite(out->buf.buf, 1, out->buf.len, out->file);
    out->buf.len = 0;
}

void trace_output_room(struct trace_output *out, size_t room)
{
    if (out->buf.cap - out->buf.len >= room)
        return;
    trace_output_flush(out);
    if (out->buf.cap >= room)
        return;
    free(out->buf.buf);
    out->buf.cap = room;
    out->buf.buf = tool_alloc(room);
}

/* --- text and JSON: as the library writes them --- */

/* True for the first who asks about a stack. */
static bool first_time(struct table *seen, u32 id)
{
    u64 *number = table_find(seen, id, 0);

    if (*number)
        return false;
    *number = 1;
    return true;
}

static void put_map(struct trace_output *out, struct trace_input *in, bool json)
{
    for (u32 i = 0; i < in->map.nbanks; i++) {
        trace_output_room(out, PIECE);
        trace_print_bank(&out->buf, &in->map.banks[i], json);
    }
    for (u32 i = 0; i < in->map.ndevices; i++) {
        trace_output_room(out, PIECE);
        trace_print_window(&out->buf, &in->map.devices[i], json);
    }
}

static void put_end(struct trace_output *out, struct trace_input *in, enum trace_item item, bool json)
{
    const struct trace_dirty *d = &in->dirty;

    if (item == ITEM_DIRTY) {
        trace_output_room(out, PIECE + d->nranges * 48);
        trace_print_dirty(&out->buf, d->mode, d->pages, d->total, d->ranges, d->nranges, d->note, json);
    } else {
        trace_print_exit(&out->buf, &in->totals, json);
    }
}

static void text_begin(struct trace_output *out, struct trace_input *in)
{
    put_map(out, in, false);
}

static void text_item(struct trace_output *out, struct trace_input *in, enum trace_item item)
{
    trace_output_room(out, PIECE);
    if (item == ITEM_RECORD)
        trace_print_text(&out->buf, &in->record, &in->names, out->show);
    else
        put_end(out, in, item, false);
}

static void json_begin(struct trace_output *out, struct trace_input *in)
{
    out->own = tool_alloc(sizeof(struct table));
    put_map(out, in, true);
}

static void json_item(struct trace_output *out, struct trace_input *in, enum trace_item item)
{
    const struct trace_record *r = &in->record;

    trace_output_room(out, PIECE);
    if (item != ITEM_RECORD) {
        put_end(out, in, item, true);
        return;
    }
    if (r->stack && first_time(out->own, r->stack))
        trace_print_json_stack(&out->buf, r->stack, &in->names);
    trace_print_json(&out->buf, r, &in->names, out->show);
}

static void json_end(struct trace_output *out, struct trace_input *in)
{
    (void)in;
    table_free(out->own);
    free(out->own);
}

/* --- mmiotrace --- */

static void mmiotrace_begin(struct trace_output *out, struct trace_input *in)
{
    trace_output_room(out, PIECE + in->map.ndevices * 256);
    trace_print_mmiotrace_begin(&out->buf, &in->names, in->started);
}

static void mmiotrace_item(struct trace_output *out, struct trace_input *in, enum trace_item item)
{
    static char text[4096];
    struct fmt line = FMT_INIT(text);
    const struct trace_dirty *d = &in->dirty;

    trace_output_room(out, PIECE);
    if (item == ITEM_RECORD) {
        trace_print_mmiotrace(&out->buf, &in->record, &in->names);
        return;
    }
    if (item == ITEM_DIRTY)
        trace_print_dirty(&line, d->mode, d->pages, d->total, d->ranges, d->nranges, d->note, false);
    else
        trace_print_exit(&line, &in->totals, false);
    trace_print_mmiotrace_mark(&out->buf, in->time, text, line.len);
}

static const struct trace_writer writers[] = {
    {"text", false, text_begin, text_item, NULL},
    {"json", false, json_begin, json_item, json_end},
    {"mmiotrace", true, mmiotrace_begin, mmiotrace_item, NULL},
    {"chrome", true, chrome_begin, chrome_item, chrome_end},
    {"vcd", true, vcd_begin, vcd_item, vcd_end},
};

const char trace_writer_names[] = "text json mmiotrace chrome vcd";

const struct trace_writer *trace_writer_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(writers); i++)
        if (strcmp(writers[i].name, name) == 0)
            return &writers[i];
    return NULL;
}
