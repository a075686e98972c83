#include "trace/chrome.h"

#include "base/mem.h"
#include "trace/parts.h"

#include "base/trapsafe.h"

#define SCRATCH 512

static void key(struct fmt *out, const char *name)
{
    fmt_str(out, ",\"");
    fmt_str(out, name);
    fmt_str(out, "\":");
}

static void key_dec(struct fmt *out, const char *name, u64 value)
{
    key(out, name);
    fmt_dec(out, value);
}

static void key_text(struct fmt *out, const char *name, const char *text)
{
    key(out, name);
    fmt_char(out, '"');
    fmt_json(out, text);
    fmt_char(out, '"');
}

/* Microseconds with three digits behind the point. */
static void put_ts(struct fmt *out, u64 time, u64 start)
{
    u64 ns = time > start ? time - start : 0;

    key(out, "ts");
    fmt_dec(out, ns / 1000);
    fmt_char(out, '.');
    for (u64 digit = 100; digit; digit /= 10)
        fmt_char(out, (char)('0' + ns / digit % 10));
}

static void put_track(struct fmt *out, u32 pid, u32 tid)
{
    key_dec(out, "pid", pid);
    key_dec(out, "tid", tid);
}

bool chrome_on_device(const struct trace_record *r, const struct trace_names *names)
{
    return (r->type == TRACE_IRQ || r->type == TRACE_DMA) && part_device(r, names);
}

/* The line of text without its end. */
static const char *as_text(struct fmt *line, const struct trace_record *record, const struct trace_names *names)
{
    struct trace_record r = *record;

    r.stack = 0;
    trace_print_text(line, &r, names, 0);
    if (line->len && line->buf[line->len - 1] == '\n')
        line->len--;
    return fmt_end(line);
}

static void put_access_name(struct fmt *out, const struct trace_record *r, const struct trace_names *names)
{
    const struct mmioshim_register *reg = part_register(r, names);
    char text[SCRATCH];
    struct fmt name = FMT_INIT(text);

    fmt_str(&name, part_device_name(r, names));
    fmt_char(&name, ' ');
    if (reg) {
        part_register_name(&name, r, reg);
    } else {
        fmt_char(&name, '+');
        fmt_hex(&name, r->offset);
    }
    fmt_char(&name, ' ');
    fmt_str(&name, part_op(r));
    fmt_dec(&name, r->width);
    fmt_json(out, fmt_end(&name));
}

/* Numbers of 64 bits are texts: many readers hold a JSON number in a double. */
static void put_access(struct fmt *out, const struct trace_record *r, const struct trace_names *names)
{
    char text[SCRATCH];
    struct fmt pc = FMT_INIT(text);

    fmt_str(out, "{\"name\":\"");
    put_access_name(out, r, names);
    fmt_str(out, r->type == TRACE_PORT ? "\",\"cat\":\"port\",\"ph\":\"X\",\"dur\":0.001"
                                       : "\",\"cat\":\"mmio\",\"ph\":\"X\",\"dur\":0.001");
    fmt_str(out, ",\"args\":{\"seq\":\"");
    fmt_dec(out, r->seq);
    fmt_str(out, "\",\"addr\":\"");
    fmt_hex(out, r->addr);
    fmt_str(out, "\",\"value\":\"");
    fmt_hexbytes(out, r->value, part_width(r));
    fmt_char(out, '"');
    part_pc(&pc, r, names);
    key_text(out, "pc", fmt_end(&pc));
    if (r->flags & TRACE_UNASSIGNED)
        fmt_str(out, ",\"unassigned\":true");
    fmt_char(out, '}');
}

static void put_instant(struct fmt *out, const struct trace_record *r, const struct trace_names *names)
{
    static const char *const cats[] = {[TRACE_LINT] = "lint", [TRACE_DMA] = "dma", [TRACE_IRQ] = "irq",
                                       [TRACE_MARK] = "mark", [TRACE_FAULT] = "fault", [TRACE_REPEAT] = "repeat"};
    char text[SCRATCH * 2];
    struct fmt line = FMT_INIT(text);

    fmt_str(out, "{\"name\":\"");
    fmt_json(out, as_text(&line, r, names));
    fmt_str(out, "\",\"cat\":\"");
    fmt_str(out, r->type < ARRAY_SIZE(cats) && cats[r->type] ? cats[r->type] : "event");
    fmt_str(out, "\",\"ph\":\"i\",\"s\":\"t\"");
}

void chrome_event(struct fmt *out, const struct trace_record *r, const struct trace_names *names, u64 start, u64 frame)
{
    if (r->type == TRACE_MMIO || r->type == TRACE_PORT)
        put_access(out, r, names);
    else
        put_instant(out, r, names);
    put_ts(out, r->time, start);
    if (chrome_on_device(r, names))
        put_track(out, CHROME_MACHINE, r->device + 1u);
    else
        put_track(out, r->pid, r->tid);
    if (frame)
        key_dec(out, "sf", frame);
    fmt_char(out, '}');
}

void chrome_name(struct fmt *out, const char *what, u32 pid, u32 tid, const char *name)
{
    fmt_str(out, "{\"name\":\"");
    fmt_str(out, what);
    fmt_str(out, "\",\"ph\":\"M\",\"ts\":0");
    put_track(out, pid, tid);
    fmt_str(out, ",\"args\":{\"name\":\"");
    fmt_json(out, name);
    fmt_str(out, "\"}}");
}

void chrome_flow(struct fmt *out, char ph, u64 id, u64 time, const struct chrome_track *track)
{
    fmt_str(out, "{\"name\":\"interrupt\",\"cat\":\"irq\",\"ph\":\"");
    fmt_char(out, ph);
    fmt_str(out, ph == 'f' ? "\",\"bp\":\"e\"" : "\"");
    key_dec(out, "id", id);
    put_ts(out, time, track->start);
    put_track(out, track->pid, track->tid);
    fmt_char(out, '}');
}

void chrome_counter(struct fmt *out, const char *name, const char *what, u64 value, u64 time, u64 start)
{
    fmt_str(out, "{\"name\":\"");
    fmt_json(out, name);
    fmt_str(out, "\",\"ph\":\"C\"");
    put_ts(out, time, start);
    put_track(out, CHROME_MACHINE, 0);
    fmt_str(out, ",\"args\":{\"");
    fmt_json(out, what);
    fmt_str(out, "\":");
    fmt_dec(out, value);
    fmt_str(out, "}}");
}

/* "uart_putc+0x1c (driver)": the module is the category. */
void chrome_frame(struct fmt *out, u64 id, const char *frame, u64 parent)
{
    const char *module = strrchr(frame, '(');
    char text[SCRATCH * 2];
    struct fmt name = FMT_INIT(text);

    fmt_char(out, '"');
    fmt_dec(out, id);
    fmt_str(out, "\":{\"category\":\"");
    if (module && module > frame && module[-1] == ' ') {
        fmt_str(&name, module + 1);
        if (name.len && name.buf[name.len - 1] == ')')
            name.len--;
        fmt_json(out, fmt_end(&name));
        name.len = 0;
        fmt_mem(&name, frame, (size_t)(module - 1 - frame));
    } else {
        fmt_str(&name, frame);
    }
    fmt_str(out, "\",\"name\":\"");
    fmt_json(out, fmt_end(&name));
    fmt_char(out, '"');
    if (parent) {
        fmt_str(out, ",\"parent\":\"");
        fmt_dec(out, parent);
        fmt_char(out, '"');
    }
    fmt_char(out, '}');
}
