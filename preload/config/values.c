/* Pieces that values of variables are made of: lists and numbers. */
#include "config/options.h"

bool list_next(const char **cursor, char separator, struct fmt *piece)
{
    const char *p = *cursor;

    while (*p == separator)
        p++;
    piece->len = 0;
    piece->full = false;
    while (*p && *p != separator)
        fmt_char(piece, *p++);
    *cursor = p;
    fmt_end(piece);
    return piece->len > 0;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 99;
}

static unsigned suffix_shift(char c)
{
    switch (c) {
    case 'k':
    case 'K':
        return 10;
    case 'm':
    case 'M':
        return 20;
    case 'g':
    case 'G':
        return 30;
    default:
        return 0;
    }
}

bool parse_u64(const char *text, u64 *value)
{
    unsigned base = 10, shift;
    const char *digits;
    u64 n = 0;

    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
        text += 2;
    }
    for (digits = text; digit_value(*text) < (int)base; text++) {
        u64 digit = (u64)digit_value(*text);

        if (n > (UINT64_MAX - digit) / base)
            return false;
        n = n * base + digit;
    }
    shift = suffix_shift(*text);
    if (text == digits || text[shift ? 1 : 0] || (n << shift) >> shift != n)
        return false;
    *value = n << shift;
    return true;
}
