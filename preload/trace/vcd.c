#include "trace/vcd.h"

#include "base/trapsafe.h"

/* Printable ASCII, 33 to 126 (IEEE 1364-2005, 18.2.1). */
#define CODES 94u

void vcd_code(struct fmt *out, u64 n)
{
    do {
        fmt_char(out, (char)('!' + n % CODES));
        n /= CODES;
    } while (n--);
}

void vcd_name(struct fmt *out, const char *name)
{
    for (; *name; name++) {
        bool letter = (*name | 0x20) >= 'a' && (*name | 0x20) <= 'z';

        fmt_char(out, letter || (*name >= '0' && *name <= '9') ? *name : '_');
    }
}

void vcd_variable(struct fmt *out, const char *name, int element, unsigned bits, u64 code)
{
    fmt_str(out, bits == 1 ? "$var wire " : "$var reg ");
    fmt_dec(out, bits);
    fmt_char(out, ' ');
    vcd_code(out, code);
    fmt_char(out, ' ');
    vcd_name(out, name);
    if (element >= 0) {
        fmt_char(out, '_');
        fmt_dec(out, (u64)element);
    }
    if (bits > 1) {
        fmt_str(out, " [");
        fmt_dec(out, bits - 1);
        fmt_str(out, ":0]");
    }
    fmt_str(out, " $end\n");
}

void vcd_time(struct fmt *out, u64 nanoseconds)
{
    fmt_char(out, '#');
    fmt_dec(out, nanoseconds);
    fmt_char(out, '\n');
}

void vcd_value(struct fmt *out, unsigned bits, bool known, u64 value, u64 code)
{
    if (bits > 1)
        fmt_char(out, 'b');
    if (!known)
        fmt_char(out, 'x');
    for (unsigned bit = bits; known && bit-- > 0;)
        fmt_char(out, value >> bit & 1 ? '1' : '0');
    if (bits > 1)
        fmt_char(out, ' ');
    vcd_code(out, code);
    fmt_char(out, '\n');
}
