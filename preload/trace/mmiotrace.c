/*
 * The format of the Linux kernel's mmiotrace (Documentation/trace/mmiotrace.rst, VERSION 20070824). It knows accesses to
 * mappings alone: ports, holes and everything that is said beside go into MARK lines, as text has them.
 */
#include "trace/print.h"

#include "trace/parts.h"

#include "base/trapsafe.h"

#define LINE 1000 /* a line is shorter than 1024 characters */

/* A MARK line whose text is `body`, whole lines or one without end: the breaks become spaces. */
void trace_print_mmiotrace_mark(struct fmt *out, u64 time, const char *body, size_t n)
{
    size_t start = out->len;

    while (n && body[n - 1] == '\n')
        n--;
    fmt_str(out, "MARK ");
    part_time(out, time);
    fmt_char(out, ' ');
    for (size_t i = 0; i < n && out->len - start < LINE; i++) {
        bool end = body[i] == '\n';

        while (end && i + 1 < n && body[i + 1] == ' ')
            i++;
        fmt_char(out, end ? ' ' : body[i]);
    }
    fmt_char(out, '\n');
}

/* Numbers of mappings begin at 1. Windows are where the program sees them. */
static void put_mapping(struct fmt *out, const struct trace_device *d, u32 id, u64 time)
{
    fmt_str(out, "MAP ");
    part_time(out, time);
    fmt_char(out, ' ');
    fmt_dec(out, id);
    fmt_char(out, ' ');
    fmt_hex(out, d->window.base);
    fmt_char(out, ' ');
    fmt_hex(out, d->window.base);
    fmt_char(out, ' ');
    fmt_hex(out, d->window.size);
    fmt_str(out, " 0x0 0\n");
}

void trace_print_mmiotrace_begin(struct fmt *out, const struct trace_names *names, u64 time)
{
    fmt_str(out, "VERSION 20070824\n");
    for (u32 i = 0; i < names->ndevices; i++)
        if (!names->devices[i].port && !names->devices[i].moves)
            put_mapping(out, &names->devices[i], i + 1, time);
}

/* At most 8 bytes of an access. */
static void put_piece(struct fmt *out, const struct trace_record *r, unsigned at, unsigned n)
{
    fmt_str(out, r->op == TRACE_READ ? "R " : "W ");
    fmt_dec(out, n);
    fmt_char(out, ' ');
    part_time(out, r->time);
    fmt_char(out, ' ');
    fmt_dec(out, r->device + 1u);
    fmt_char(out, ' ');
    fmt_hex(out, r->addr + at);
    fmt_char(out, ' ');
    fmt_hexbytes(out, r->value + at, n);
    fmt_char(out, ' ');
    fmt_hex(out, r->pc);
    fmt_char(out, ' ');
    fmt_dec(out, r->tid);
    fmt_char(out, '\n');
}

static void put_stack(struct fmt *out, const struct trace_record *r, const struct trace_names *names)
{
    char text[LINE + 256];
    struct fmt stack = FMT_INIT(text);

    fmt_str(&stack, "stack of #");
    fmt_dec(&stack, r->seq);
    fmt_char(&stack, '\n');
    trace_print_stack(&stack, r->stack, names);
    trace_print_mmiotrace_mark(out, r->time, text, stack.len);
}

static void put_as_text(struct fmt *out, const struct trace_record *record, const struct trace_names *names)
{
    struct trace_record r = *record;
    char text[LINE + 256];
    struct fmt line = FMT_INIT(text);

    r.stack = 0;
    trace_print_text(&line, &r, names, 0);
    trace_print_mmiotrace_mark(out, r.time, text, line.len);
}

void trace_print_mmiotrace(struct fmt *out, const struct trace_record *r, const struct trace_names *names)
{
    unsigned width = part_width(r);

    if (r->type == TRACE_MMIO && part_device(r, names))
        for (unsigned at = 0; at < width; at += 8)
            put_piece(out, r, at, MIN(width - at, 8u));
    else
        put_as_text(out, r, names);
    if (r->stack)
        put_stack(out, r, names);
}
