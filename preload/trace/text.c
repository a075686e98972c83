/* The transcript as text: one line an event, then its call stack indented. */
#include "trace/print.h"

#include "base/mem.h"
#include "trace/parts.h"

#include "base/trapsafe.h"

static void put_op(struct fmt *out, const struct trace_record *record)
{
    fmt_str(out, part_op(record));
    fmt_dec(out, record->width);
}

/* " THR", or " +0x234" where the device has no register. */
static void put_place(struct fmt *out, const struct trace_record *record, const struct trace_names *names)
{
    const struct mmioshim_register *reg = part_register(record, names);

    if (reg) {
        fmt_char(out, ' ');
        part_register_name(out, record, reg);
    } else if (part_device(record, names)) {
        fmt_str(out, " +");
        fmt_hex(out, record->offset);
    }
}

static void put_fields(struct fmt *out, const struct trace_record *record, const struct mmioshim_register *reg)
{
    u64 value = part_register_value(record, reg);
    char before = ' ';

    for (unsigned i = 0; reg->fields && i < reg->nfields; i++) {
        const struct mmioshim_field *field = &reg->fields[i];
        u64 bits = field->lsb < 64 ? value >> field->lsb : 0;

        if (field->width < 64)
            bits &= ((u64)1 << field->width) - 1;
        if (!bits)
            continue;
        fmt_char(out, before);
        fmt_str(out, field->name);
        if (field->width > 1) {
            fmt_char(out, '=');
            fmt_hex(out, bits);
        }
        before = '|';
    }
}

/* A wider access to a data register (reg-io-width = 4) carries its character in the low byte. */
static void put_character(struct fmt *out, const struct trace_record *record)
{
    u8 c = record->value[0];

    for (unsigned i = 1; i < part_width(record); i++)
        if (record->value[i])
            return;
    if (c < 0x20 || c > 0x7e)
        return;
    fmt_str(out, " '");
    fmt_char(out, (char)c);
    fmt_char(out, '\'');
}

static void put_access(struct fmt *out, const struct trace_record *record, const struct trace_names *names)
{
    const struct mmioshim_register *reg = part_register(record, names);

    fmt_str(out, record->type == TRACE_PORT ? "[PORT] trap at " : "[MMIO] trap at ");
    fmt_hex(out, record->addr);
    fmt_str(out, " -> ");
    part_line(out, part_device_name(record, names));
    put_place(out, record, names);
    fmt_char(out, ' ');
    put_op(out, record);
    fmt_char(out, ' ');
    fmt_hexbytes(out, record->value, part_width(record));
    if (record->flags & TRACE_UNASSIGNED) {
        fmt_str(out, " unassigned");
    } else if (reg) {
        if (reg->flags & MMIOSHIM_REG_DATA)
            put_character(out, record);
        put_fields(out, record, reg);
    }
    fmt_str(out, " #");
    fmt_dec(out, record->seq);
}

static void put_lint(struct fmt *out, const struct trace_record *record, const struct trace_names *names)
{
    char text[TRACE_TEXT + 1];
    size_t rule = part_text(record, 0, text);

    fmt_str(out, "[LINT] ");
    part_line(out, text);
    if (record->seq) {
        fmt_str(out, " #");
        fmt_dec(out, record->seq);
    }
    fmt_char(out, ' ');
    part_line(out, part_device_name(record, names));
    if (record->width) {
        put_place(out, record, names);
        fmt_char(out, ' ');
        put_op(out, record);
    }
    if (part_text(record, rule + 1, text)) {
        fmt_str(out, ": ");
        part_line(out, text);
    }
}

static void put_dma(struct fmt *out, const struct trace_record *record, const struct trace_names *names)
{
    fmt_str(out, "[DMA] ");
    part_line(out, part_device_name(record, names));
    fmt_char(out, ' ');
    fmt_str(out, part_op(record));
    fmt_char(out, ' ');
    fmt_hex(out, record->addr);
    fmt_char(out, '+');
    fmt_dec(out, record->width);
    if (record->flags & TRACE_FAILED)
        fmt_str(out, " refused");
}

static void put_irq(struct fmt *out, const struct trace_record *record, const struct trace_names *names)
{
    fmt_str(out, "[IRQ] ");
    part_line(out, part_device_name(record, names));
    fmt_char(out, ' ');
    fmt_dec(out, record->addr);
    if (record->flags & TRACE_MESSAGE)
        fmt_str(out, " sent");
    else
        fmt_str(out, record->width ? " raised" : " lowered");
}

static void put_fault(struct fmt *out, const struct trace_record *record)
{
    char text[TRACE_TEXT + 1];

    fmt_str(out, "[FAULT] ");
    put_op(out, record);
    fmt_char(out, ' ');
    fmt_hex(out, record->addr);
    if (part_text(record, 0, text)) {
        fmt_char(out, ' ');
        part_line(out, text);
    }
}

static void put_mark(struct fmt *out, const struct trace_record *record)
{
    char text[TRACE_TEXT + 1];

    part_text(record, 0, text);
    fmt_str(out, "[MARK] ");
    part_line(out, text);
}

static void put_repeat(struct fmt *out, const struct trace_record *record)
{
    fmt_str(out, "[REPEAT] #");
    fmt_dec(out, record->seq);
    fmt_str(out, " repeated ");
    fmt_dec(out, part_count(record));
    fmt_str(out, part_count(record) == 1 ? " time" : " times");
}

/* MMIOSHIM_LOG_SHOW */
static void put_extras(struct fmt *out, const struct trace_record *record, const struct trace_names *names,
                       unsigned show)
{
    if (show & TRACE_SHOW_TIME) {
        fmt_str(out, " t=");
        part_time(out, record->time);
    }
    if (show & TRACE_SHOW_PID) {
        fmt_str(out, " pid=");
        fmt_dec(out, record->pid);
        fmt_str(out, " tid=");
        fmt_dec(out, record->tid);
    }
    if (show & TRACE_SHOW_INSN && record->insn_len && names->insn) {
        fmt_str(out, " insn=\"");
        names->insn(names->context, record, out);
        fmt_char(out, '"');
    }
}

void trace_print_stack(struct fmt *out, u32 stack, const struct trace_names *names)
{
    for (unsigned i = 0; stack && names->frame && i < TRACE_FRAMES; i++) {
        const char *frame = names->frame(names->context, stack, i);

        if (!frame)
            break;
        fmt_str(out, i ? "    by " : "    at ");
        part_line(out, frame);
        fmt_char(out, '\n');
    }
}

static void put_stack(struct fmt *out, u32 stack, const struct trace_names *names)
{
    size_t length = 0;
    const char *kept = stack && names->stack ? names->stack(names->context, stack, &length) : NULL;

    if (kept)
        fmt_mem(out, kept, length);
    else
        trace_print_stack(out, stack, names);
}

static bool put_event(struct fmt *out, const struct trace_record *record, const struct trace_names *names)
{
    switch (record->type) {
    case TRACE_MMIO:
    case TRACE_PORT:
        put_access(out, record, names);
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
        put_fault(out, record);
        return true;
    case TRACE_REPEAT:
        put_repeat(out, record);
        return true;
    default:
        return false;
    }
}

void trace_print_text(struct fmt *out, const struct trace_record *record, const struct trace_names *names,
                      unsigned show)
{
    if (!put_event(out, record, names))
        return;
    put_extras(out, record, names, show);
    fmt_char(out, '\n');
    put_stack(out, record->stack, names);
}
