/* The transcript as JSON lines: the keys and their order are a contract with readers. */
#include "trace/print.h"

#include "trace/parts.h"

#include "base/trapsafe.h"

#define SCRATCH 256 /* longest disassembly or module name that is shown whole */

static void key(struct fmt *out, const char *name)
{
    fmt_str(out, ",\"");
    fmt_str(out, name);
    fmt_str(out, "\":");
}

static void key_text(struct fmt *out, const char *name, const char *text)
{
    key(out, name);
    fmt_char(out, '"');
    fmt_json(out, text);
    fmt_char(out, '"');
}

static void key_dec(struct fmt *out, const char *name, u64 value)
{
    key(out, name);
    fmt_dec(out, value);
}

/* Numbers that may pass 2^53 are strings: many readers hold a JSON number in a double. */
static void key_hex(struct fmt *out, const char *name, u64 value)
{
    key(out, name);
    fmt_char(out, '"');
    fmt_hex(out, value);
    fmt_char(out, '"');
}

static void key_register(struct fmt *out, const struct trace_record *record, const struct trace_names *names)
{
    const struct mmioshim_register *reg = part_register(record, names);
    char text[SCRATCH];
    struct fmt name = FMT_INIT(text);

    if (!reg) {
        key(out, "register");
        fmt_str(out, "null");
        return;
    }
    part_register_name(&name, record, reg);
    key_text(out, "register", fmt_end(&name));
}

static void key_pc(struct fmt *out, const struct trace_record *record, const struct trace_names *names)
{
    char text[SCRATCH];
    struct fmt pc = FMT_INIT(text);

    part_pc(&pc, record, names);
    key_text(out, "pc", fmt_end(&pc));
}

static void key_insn(struct fmt *out, const struct trace_record *record, const struct trace_names *names)
{
    char text[SCRATCH];
    struct fmt insn = FMT_INIT(text);

    if (record->insn_len && names->insn)
        names->insn(names->context, record, &insn);
    key_text(out, "insn", fmt_end(&insn));
}

static void put_access(struct fmt *out, const struct trace_record *record, const struct trace_names *names,
                       unsigned show)
{
    bool real = show & TRACE_SHOW_PID;

    fmt_str(out, record->type == TRACE_PORT ? "{\"type\":\"port\"" : "{\"type\":\"mmio\"");
    key_dec(out, "seq", record->seq);
    key_text(out, "op", part_op(record));
    key_dec(out, "width", record->width);
    key_hex(out, "addr", record->addr);
    key_text(out, "device", part_device_name(record, names));
    key_dec(out, "offset", record->offset);
    key_register(out, record, names);
    key(out, "value");
    fmt_char(out, '"');
    fmt_hexbytes(out, record->value, part_width(record));
    fmt_char(out, '"');
    key_dec(out, "pid", real ? record->pid : record->pid_ordinal);
    key_dec(out, "tid", real ? record->tid : record->tid_ordinal);
    key_insn(out, record, names);
    key_pc(out, record, names);
    key_dec(out, "stack", record->stack);
}

static void put_lint(struct fmt *out, const struct trace_record *record, const struct trace_names *names)
{
    char text[TRACE_TEXT + 1];
    size_t rule = part_text(record, 0, text);

    fmt_str(out, "{\"type\":\"lint\"");
    key_text(out, "rule", text);
    key_dec(out, "seq", record->seq);
    key_text(out, "device", part_device_name(record, names));
    key_register(out, record, names);
    part_text(record, rule + 1, text);
    key_text(out, "text", text);
}

static void put_dma(struct fmt *out, const struct trace_record *record, const struct trace_names *names)
{
    fmt_str(out, "{\"type\":\"dma\"");
    key_text(out, "device", part_device_name(record, names));
    key_text(out, "op", part_op(record));
    key_hex(out, "addr", record->addr);
    key_dec(out, "length", record->width);
    key(out, "ok");
    fmt_str(out, record->flags & TRACE_FAILED ? "false" : "true");
}

static void put_irq(struct fmt *out, const struct trace_record *record, const struct trace_names *names)
{
    fmt_str(out, "{\"type\":\"irq\"");
    key_text(out, "device", part_device_name(record, names));
    key_dec(out, "line", record->addr);
    key_dec(out, "level", record->width != 0);
    if (record->flags & TRACE_MESSAGE) {
        key(out, "message");
        fmt_str(out, "true");
    }
}

static void put_mark(struct fmt *out, const struct trace_record *record)
{
    char text[TRACE_TEXT + 1];

    part_text(record, 0, text);
    fmt_str(out, "{\"type\":\"mark\"");
    key_text(out, "text", text);
}

static void put_fault(struct fmt *out, const struct trace_record *record, const struct trace_names *names)
{
    fmt_str(out, "{\"type\":\"fault\"");
    key_text(out, "op", part_op(record));
    key_dec(out, "width", record->width);
    key_hex(out, "addr", record->addr);
    key_pc(out, record, names);
}

static void put_repeat(struct fmt *out, const struct trace_record *record)
{
    fmt_str(out, "{\"type\":\"repeat\"");
    key_dec(out, "seq", record->seq);
    key_dec(out, "count", part_count(record));
}

static bool put_event(struct fmt *out, const struct trace_record *record, const struct trace_names *names,
                      unsigned show)
{
    switch (record->type) {
    case TRACE_MMIO:
    case TRACE_PORT:
        put_access(out, record, names, show);
        return true;
    case TRACE_LINT:
        put_lint(out, record, names);
        return true;
    case TRACE_DMA:
        put_dma(out, record, names);
        return true;
    case TRACE_IRQ:
        put_irq(out, record, names);
        return true;
    case TRACE_MARK:
        put_mark(out, record);
        return true;
    case TRACE_FAULT:
        put_fault(out, record, names);
        return true;
    case TRACE_REPEAT:
        put_repeat(out, record);
        return true;
    default:
        return false;
    }
}

void trace_print_json(struct fmt *out, const struct trace_record *record, const struct trace_names *names,
                      unsigned show)
{
    if (!put_event(out, record, names, show))
        return;
    if (show & TRACE_SHOW_TIME) {
        key(out, "time");
        fmt_char(out, '"');
        part_time(out, record->time);
        fmt_char(out, '"');
    }
    fmt_str(out, "}\n");
}

void trace_print_json_stack(struct fmt *out, u32 stack, const struct trace_names *names)
{
    fmt_str(out, "{\"type\":\"stack\"");
    key_dec(out, "id", stack);
    key(out, "frames");
    fmt_char(out, '[');
    for (unsigned i = 0; names->frame && i < TRACE_FRAMES; i++) {
        const char *frame = names->frame(names->context, stack, i);

        if (!frame)
            break;
        fmt_str(out, i ? ",\"" : "\"");
        fmt_json(out, frame);
        fmt_char(out, '"');
    }
    fmt_str(out, "]}\n");
}
