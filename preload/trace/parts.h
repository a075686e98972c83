/*
 * Pieces that printers share, those of trace/ and of the command. Pure, any context; records and names are not trusted: an index out
 * of range is no device and no register.
 */
#ifndef MMIOSHIM_TRACE_PARTS_H
#define MMIOSHIM_TRACE_PARTS_H

#include "trace/print.h"

/* The device or register that a record names; NULL: none. */
const struct trace_device *part_device(const struct trace_record *record, const struct trace_names *names);
const struct mmioshim_register *part_register(const struct trace_record *record, const struct trace_names *names);

/* Name of the device, "unmapped" where there is none. */
const char *part_device_name(const struct trace_record *record, const struct trace_names *names);

/* Bytes by which an access starts behind the first byte of its register: 4 for the upper half of an 8-byte one. */
unsigned part_inside(const struct trace_record *record, const struct mmioshim_register *reg);

/* "THR", "priority[3]", "mtime+4" */
void part_register_name(struct fmt *out, const struct trace_record *record, const struct mmioshim_register *reg);

/* "read" or "write" */
const char *part_op(const struct trace_record *record);

/* Bytes of value that a record really holds. */
unsigned part_width(const struct trace_record *record);

/* Seconds and six digits of microseconds. */
void part_time(struct fmt *out, u64 nanoseconds);

/* "0x80000000-0x80001fff": first and last byte. */
void part_range(struct fmt *out, struct range range);

/* A module and offset, "?" for code of no file. */
void part_pc(struct fmt *out, const struct trace_record *record, const struct trace_names *names);

/* Copies the text of a record, from `start` up to its terminator or the end of the record. Returns the length. */
size_t part_text(const struct trace_record *record, size_t start, char copy[TRACE_TEXT + 1]);

/* The first eight bytes of value, as REPEAT carries its count. */
u64 part_count(const struct trace_record *record);

/* Text of others (marks, symbol names), which must not break the rule of one line an event: controls are escaped. */
void part_line(struct fmt *out, const char *text);

/* The value in the register's own bit positions; bytes beyond the register are not its business. */
u64 part_register_value(const struct trace_record *record, const struct mmioshim_register *reg);

#endif
