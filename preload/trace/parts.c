#include "trace/parts.h"

#include "base/mem.h"

#include "base/trapsafe.h"

const struct trace_device *part_device(const struct trace_record *record, const struct trace_names *names)
{
    return record->device < names->ndevices ? &names->devices[record->device] : NULL;
}

const struct mmioshim_register *part_register(const struct trace_record *record, const struct trace_names *names)
{
    const struct trace_device *device = part_device(record, names);

    if (!device || record->reg >= device->nregisters)
        return NULL;
    return &device->registers[record->reg];
}

const char *part_device_name(const struct trace_record *record, const struct trace_names *names)
{
    const struct trace_device *device = part_device(record, names);

    return device && device->name ? device->name : "unmapped";
}

/*
 * The record has the offset as the program used it, the table has it as the
 * data sheet does. They differ by reg-shift only for registers of one byte,
 * inside which nothing can start.
 */
unsigned part_inside(const struct trace_record *record, const struct mmioshim_register *reg)
{
    u64 start = reg->offset + (u64)record->element * reg->stride;
    u64 inside = record->offset - start;

    return inside < reg->width ? (unsigned)inside : 0;
}

void part_register_name(struct fmt *out, const struct trace_record *record, const struct mmioshim_register *reg)
{
    unsigned inside = part_inside(record, reg);

    fmt_str(out, reg->name);
    if (reg->count > 1) {
        fmt_char(out, '[');
        fmt_dec(out, record->element);
        fmt_char(out, ']');
    }
    if (inside) {
        fmt_char(out, '+');
        fmt_dec(out, inside);
    }
}

const char *part_op(const struct trace_record *record)
{
    return record->op == TRACE_READ ? "read" : "write";
}

unsigned part_width(const struct trace_record *record)
{
    return MIN(record->width, TRACE_MAX_WIDTH);
}

void part_time(struct fmt *out, u64 nanoseconds)
{
    u64 micros = nanoseconds / 1000 % 1000000;

    fmt_dec(out, nanoseconds / 1000000000);
    fmt_char(out, '.');
    for (u64 digit = 100000; digit; digit /= 10)
        fmt_char(out, (char)('0' + micros / digit % 10));
}

void part_range(struct fmt *out, struct range range)
{
    fmt_hex(out, range.base);
    fmt_char(out, '-');
    fmt_hex(out, range.size ? range_last(range) : range.base);
}

void part_pc(struct fmt *out, const struct trace_record *record, const struct trace_names *names)
{
    if (record->flags & TRACE_PRIVATE_PC || !names->pc)
        fmt_char(out, '?');
    else
        names->pc(names->context, record->pc, out);
}

size_t part_text(const struct trace_record *record, size_t start, char copy[TRACE_TEXT + 1])
{
    size_t n = 0;

    while (start < TRACE_TEXT && record->text[start])
        copy[n++] = record->text[start++];
    copy[n] = 0;
    return n;
}

u64 part_count(const struct trace_record *record)
{
    u64 count;

    memcpy(&count, record->value, sizeof(count));
    return count;
}

void part_line(struct fmt *out, const char *text)
{
    while (*text) {
        size_t n = 0;

        while ((u8)text[n] >= 0x20 && text[n] != 0x7f)
            n++;
        fmt_mem(out, text, n);
        text += n;
        if (*text == '\n') {
            fmt_str(out, "\\n");
        } else if (*text) {
            fmt_str(out, "\\x");
            fmt_hexpad(out, (u8)*text, 2);
        }
        text += *text != 0;
    }
}

u64 part_register_value(const struct trace_record *record, const struct mmioshim_register *reg)
{
    unsigned inside = part_inside(record, reg);
    unsigned room = MIN(reg->width, 8u);
    u64 value = 0;

    for (unsigned i = 0; i < part_width(record) && inside + i < room; i++)
        value |= (u64)record->value[i] << (8 * (inside + i));
    return value;
}
