#include "tree/tree.h"

bool tree_number(const char *text, size_t n, bool hexadecimal, u64 *value)
{
    unsigned base = hexadecimal && n > 2 && text[0] == '0' && (text[1] | 0x20) == 'x' ? 16 : 10;
    size_t i = base == 16 ? 2 : 0, first = i;

    for (*value = 0; i < n; i++) {
        unsigned digit = tree_digit(text[i]);

        if (digit >= base)
            break;
        if (*value > (UINT64_MAX - digit) / base)
            return false;
        *value = *value * base + digit;
    }
    return i > first && (i == n || (i + 1 == n && text[i] == '\n'));
}

unsigned tree_digit(char c)
{
    return c >= '0' && c <= '9' ? (unsigned)(c - '0') : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (unsigned)((c | 0x20) - 'a' + 10) : 16;
}
