/* A transcript for ui.perfetto.dev: a track for each thread, one for each device, call stacks as a tree. */
#include <stdlib.h>
#include <string.h>

#include "table.h"
#include "tool.h"
#include "trace/chrome.h"
#include "trace/parts.h"
#include "trace_write.h"

#define ROOM ((size_t)64 << 10) /* longer than any event */

struct frame {
    u64 parent;
    char *text;
};

struct chrome {
    struct frame *frames; /* number 1 is the first */
    size_t nframes, frame_room;
    struct table by_text, by_stack, threads, processes;
    struct record_place {
        u64 time;
        u32 pid, tid;
        bool any;
    } *last; /* of each device: its last access */
    u64 flows;
    bool comma;
    struct trace_totals totals;
    bool ended;
};

static u64 hash_text(const char *text)
{
    u64 h = 0xcbf29ce484222325ull; /* FNV-1a, 64 bits */

    for (; *text; text++)
        h = (h ^ (u8)*text) * 0x100000001b3ull;
    return h;
}

static u64 new_frame(struct chrome *c, u64 parent, const char *text)
{
    c->frames = table_grow(c->frames, c->nframes, &c->frame_room, sizeof(*c->frames));
    c->frames[c->nframes++] = (struct frame){parent, tool_format("%s", text)};
    return c->nframes;
}

/* The number of a frame below the one that called it; equal hashes of different texts go on looking. */
static u64 frame_number(struct chrome *c, u64 parent, const char *text)
{
    for (u64 hash = hash_text(text);; hash++) {
        u64 *number = table_find(&c->by_text, parent, hash);

        if (!*number)
            *number = new_frame(c, parent, text);
        else if (strcmp(c->frames[*number - 1].text, text) != 0)
            continue;
        return *number;
    }
}

/* The innermost frame of a stack; 0: it has none. */
static u64 stack_frame(struct chrome *c, const struct trace_names *names, u32 stack)
{
    const char *texts[TRACE_FRAMES];
    u64 *known = stack ? table_find(&c->by_stack, stack, 0) : NULL, number = 0;
    unsigned n = 0;

    if (!known || *known)
        return known ? *known : 0;
    while (n < TRACE_FRAMES && (texts[n] = names->frame(names->context, stack, n)))
        n++;
    while (n--)
        number = frame_number(c, number, texts[n]);
    *known = number;
    return number;
}

/* --- events --- */

static struct fmt *next_event(struct trace_output *out)
{
    struct chrome *c = out->own;

    trace_output_room(out, ROOM);
    fmt_str(&out->buf, c->comma ? ",\n" : "\n");
    c->comma = true;
    return &out->buf;
}

void chrome_begin(struct trace_output *out, struct trace_input *in)
{
    struct chrome *c = out->own = tool_alloc(sizeof(*c));

    c->last = tool_alloc((in->map.ndevices + 1) * sizeof(*c->last));
    trace_output_room(out, ROOM);
    fmt_str(&out->buf, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
    chrome_name(next_event(out), "process_name", CHROME_MACHINE, 0, "machine");
    for (u32 i = 0; i < in->map.ndevices; i++)
        chrome_name(next_event(out), "thread_name", CHROME_MACHINE, i + 1, in->map.devices[i].name);
}

static void name_thread(struct trace_output *out, const struct trace_record *r)
{
    struct chrome *c = out->own;
    u64 *process = table_find(&c->processes, r->pid, 0), *thread;
    char text[64];
    struct fmt name = FMT_INIT(text);

    if (!*process) {
        *process = 1;
        fmt_printf(&name, "process %u", r->pid);
        chrome_name(next_event(out), "process_name", r->pid, r->tid, fmt_end(&name));
    }
    thread = table_find(&c->threads, r->pid, r->tid);
    if (*thread)
        return;
    *thread = 1;
    name.len = 0;
    fmt_printf(&name, "thread %u", r->tid);
    chrome_name(next_event(out), "thread_name", r->pid, r->tid, fmt_end(&name));
}

/* From the access that a device had last to the line that it raised. */
static void put_flow(struct trace_output *out, struct trace_input *in)
{
    struct chrome *c = out->own;
    const struct trace_record *r = &in->record;
    const struct record_place *last = &c->last[r->device];
    struct chrome_track from = {in->started, last->pid, last->tid}, to = {in->started, CHROME_MACHINE, r->device + 1u};

    if (!last->any || !r->width)
        return;
    c->flows++;
    chrome_flow(next_event(out), 's', c->flows, last->time, &from);
    chrome_flow(next_event(out), 'f', c->flows, r->time, &to);
}

static void put_record(struct trace_output *out, struct trace_input *in)
{
    struct chrome *c = out->own;
    const struct trace_record *r = &in->record;

    if (!chrome_on_device(r, &in->names))
        name_thread(out, r);
    chrome_event(next_event(out), r, &in->names, in->started, stack_frame(c, &in->names, r->stack));
    if (!part_device(r, &in->names))
        return;
    if (r->type == TRACE_MMIO || r->type == TRACE_PORT)
        c->last[r->device] = (struct record_place){r->time, r->pid, r->tid, true};
    if (r->type == TRACE_IRQ)
        put_flow(out, in);
}

void chrome_item(struct trace_output *out, struct trace_input *in, enum trace_item item)
{
    struct chrome *c = out->own;

    if (item == ITEM_RECORD) {
        put_record(out, in);
    } else if (item == ITEM_DIRTY) {
        chrome_counter(next_event(out), "dirty pages", "pages", in->dirty.pages, in->time, in->started);
    } else {
        c->totals = in->totals;
        c->ended = true;
    }
}

void chrome_end(struct trace_output *out, struct trace_input *in)
{
    struct chrome *c = out->own;

    trace_output_room(out, ROOM);
    fmt_str(&out->buf, "\n],\"stackFrames\":{");
    for (size_t i = 0; i < c->nframes; i++) {
        trace_output_room(out, ROOM);
        fmt_str(&out->buf, i ? ",\n" : "\n");
        chrome_frame(&out->buf, i + 1, c->frames[i].text, c->frames[i].parent);
        free(c->frames[i].text);
    }
    trace_output_room(out, ROOM);
    fmt_str(&out->buf, "\n},\"otherData\":{\"started\":\"");
    part_time(&out->buf, in->started);
    if (c->ended)
        fmt_printf(&out->buf, "\",\"accesses\":\"%lu\",\"reads\":\"%lu\",\"writes\":\"%lu\",\"lint\":\"%lu\",\"lost\":\"%lu",
                   c->totals.accesses, c->totals.reads, c->totals.writes, c->totals.lint, c->totals.lost);
    fmt_str(&out->buf, "\"}}\n");
    free(c->frames);
    table_free(&c->by_text);
    table_free(&c->by_stack);
    table_free(&c->threads);
    table_free(&c->processes);
    free(c->last);
    free(c);
}
