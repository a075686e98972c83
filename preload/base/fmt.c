#include "base/fmt.h"

#include <stdarg.h>

#include "base/mem.h"

void fmt_mem(struct fmt *f, const char *text, size_t len)
{
    size_t room = f->cap - f->len;

    if (len > room) {
        len = room;
        f->full = true;
    }
    memcpy(f->buf + f->len, text, len);
    f->len += len;
}

void fmt_str(struct fmt *f, const char *text)
{
    fmt_mem(f, text, strlen(text));
}

void fmt_dec(struct fmt *f, u64 value)
{
    char digits[20];
    size_t n = sizeof(digits);

    do
        digits[--n] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    fmt_mem(f, digits + n, sizeof(digits) - n);
}

void fmt_int(struct fmt *f, i64 value)
{
    if (value < 0)
        fmt_char(f, '-');
    fmt_dec(f, value < 0 ? -(u64)value : (u64)value);
}

static const char hex_digits[] = "0123456789abcdef";

void fmt_hexpad(struct fmt *f, u64 value, unsigned digits)
{
    char out[16];

    if (digits > sizeof(out))
        digits = sizeof(out);
    for (unsigned i = digits; i-- > 0; value >>= 4)
        out[i] = hex_digits[value & 15];
    fmt_mem(f, out, digits);
}

void fmt_hex(struct fmt *f, u64 value)
{
    unsigned digits = value ? (67 - (unsigned)__builtin_clzll(value)) / 4 : 1;

    fmt_mem(f, "0x", 2);
    fmt_hexpad(f, value, digits);
}

void fmt_hexbytes(struct fmt *f, const void *bytes, unsigned width)
{
    const u8 *p = bytes;
    unsigned n = width;

    fmt_mem(f, "0x", 2);
    while (n > 1 && p[n - 1] == 0)
        n--;
    if (n == 0 || p[n - 1] >= 16)
        fmt_hexpad(f, n ? p[n - 1] : 0, n ? 2 : 1);
    else
        fmt_hexpad(f, p[n - 1], 1);
    while (n > 1)
        fmt_hexpad(f, p[--n - 1], 2);
}

/* Length of the well-formed UTF-8 sequence at s, or 0 (Unicode 15.0, table 3-7). */
static unsigned utf8_length(const u8 *s)
{
    unsigned n;
    u8 low = 0x80, high = 0xbf;

    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        n = 2;
    else if (s[0] >= 0xe0 && s[0] <= 0xef)
        n = 3;
    else if (s[0] >= 0xf0 && s[0] <= 0xf4)
        n = 4;
    else
        return 0;
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    if (s[1] < low || s[1] > high)
        return 0;
    for (unsigned i = 2; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

void fmt_json(struct fmt *f, const char *text)
{
    const u8 *s = (const u8 *)text;

    while (*s) {
        unsigned n = utf8_length(s);

        if (*s == '"' || *s == '\\') {
            fmt_char(f, '\\');
            fmt_char(f, (char)*s);
        } else if (*s < 0x20) {
            fmt_str(f, "\\u00");
            fmt_hexpad(f, *s, 2);
        } else if (n == 0) {
            fmt_str(f, "\\ufffd");
        } else {
            fmt_mem(f, (const char *)s, n);
        }
        s += n ? n : 1;
    }
}

void fmt_printf(struct fmt *f, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    for (const char *p = format; *p; p++) {
        unsigned wide = 0;

        if (*p != '%') {
            fmt_char(f, *p);
            continue;
        }
        for (p++; *p == 'l' || *p == 'z'; p++)
            wide++;
        switch (*p) {
        case 's':
            fmt_str(f, va_arg(args, const char *));
            break;
        case 'c':
            fmt_char(f, (char)va_arg(args, int));
            break;
        case 'd':
            fmt_int(f, wide ? va_arg(args, i64) : va_arg(args, int));
            break;
        case 'u':
            fmt_dec(f, wide ? va_arg(args, u64) : va_arg(args, unsigned));
            break;
        case 'x':
            fmt_hex(f, wide ? va_arg(args, u64) : va_arg(args, unsigned));
            break;
        case '%':
            fmt_char(f, '%');
            break;
        default:
            fmt_char(f, '?');
            break;
        }
        if (!*p)
            break;
    }
    va_end(args);
}

const char *fmt_end(struct fmt *f)
{
    if (f->len == f->cap) {
        f->full = true;
        f->len--;
    }
    f->buf[f->len] = 0;
    return f->buf;
}
