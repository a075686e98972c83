/*
 * Formatting into a caller's buffer: no malloc, no locale, no stdio.
 * Any context, also signal handlers. Output that does not fit is dropped and
 * `full` is set, so that a caller can say that something is missing.
 */
#ifndef MMIOSHIM_BASE_FMT_H
#define MMIOSHIM_BASE_FMT_H

#include "base/types.h"

struct fmt {
    char *buf;
    size_t cap;
    size_t len;
    bool full;
};

#define FMT_INIT(array) {.buf = (array), .cap = sizeof(array)}

static inline void fmt_char(struct fmt *f, char c)
{
    if (likely(f->len < f->cap))
        f->buf[f->len++] = c;
    else
        f->full = true;
}

void fmt_mem(struct fmt *f, const char *text, size_t len);
void fmt_str(struct fmt *f, const char *text);
/* Decimal, unpadded. */
void fmt_dec(struct fmt *f, u64 value);
void fmt_int(struct fmt *f, i64 value);
/* "0x" and lower-case digits, unpadded. */
void fmt_hex(struct fmt *f, u64 value);
/* Lower-case digits, zero-padded to `digits`, no prefix. */
void fmt_hexpad(struct fmt *f, u64 value, unsigned digits);
/* A little-endian integer of `width` bytes (1 to 64) as "0x...", unpadded. */
void fmt_hexbytes(struct fmt *f, const void *bytes, unsigned width);
/* The inside of a JSON string: quotes, backslashes and control characters escaped; bytes that are no UTF-8 become U+FFFD. */
void fmt_json(struct fmt *f, const char *text);
/* printf subset: %s %c %d %u %x %lx %lu %ld %zu %% and %p-free; for messages, not for hot paths. */
void fmt_printf(struct fmt *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Terminates the text (truncating it if full) and returns it. */
const char *fmt_end(struct fmt *f);

#endif
