/* MMIOSHIM_LOG_FILTER: which events the transcript shows. */
#include "trace/print.h"

#include "base/mem.h"
#include "trace/parts.h"

#include "base/trapsafe.h"

#define ALLOWED "allowed: device=GLOB, op=read|write, addr=FIRST-LAST, joined by commas, or all"

struct text {
    const char *at;
    size_t len;
};

static bool text_is(struct text t, const char *word)
{
    return strlen(word) == t.len && memcmp(t.at, word, t.len) == 0;
}

/* Splits at the first `separator`: the part before it is returned, *rest becomes what follows it. */
static struct text text_cut(struct text *rest, char separator, bool *found)
{
    struct text first = {rest->at, 0};

    while (first.len < rest->len && rest->at[first.len] != separator)
        first.len++;
    *found = first.len < rest->len;
    rest->at += first.len + *found;
    rest->len -= first.len + *found;
    return first;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 16;
}

/* Decimal or 0x hexadecimal, the whole text. */
static bool parse_number(struct text t, u64 *value)
{
    unsigned base = 10;

    if (t.len > 2 && t.at[0] == '0' && (t.at[1] == 'x' || t.at[1] == 'X')) {
        base = 16;
        t.at += 2;
        t.len -= 2;
    }
    *value = 0;
    for (size_t i = 0; i < t.len; i++) {
        u64 digit = (u64)digit_value(t.at[i]);

        if (digit >= base || *value > (UINT64_MAX - digit) / base)
            return false;
        *value = *value * base + digit;
    }
    return t.len != 0;
}

static const char *parse_device(struct trace_filter *filter, struct text value)
{
    if (filter->device[0])
        return "device is given twice; a glob (device=virtio*) matches several";
    if (value.len == 0)
        return "device needs a name or glob, such as device=uart*";
    if (value.len >= sizeof(filter->device))
        return "the name of a device has at most 63 characters";
    memcpy(filter->device, value.at, value.len);
    filter->device[value.len] = 0;
    return NULL;
}

static const char *parse_op(struct trace_filter *filter, struct text value)
{
    if (filter->op != 0xff)
        return "op is given twice; without it reads and writes are shown";
    if (text_is(value, "read"))
        filter->op = TRACE_READ;
    else if (text_is(value, "write"))
        filter->op = TRACE_WRITE;
    else
        return "op is read or write";
    return NULL;
}

static const char *parse_addr(struct trace_filter *filter, struct text value)
{
    bool ranged;
    struct text first = text_cut(&value, '-', &ranged);

    if (filter->by_addr)
        return "addr is given twice; it takes one range";
    if (!parse_number(first, &filter->first) || (ranged && !parse_number(value, &filter->last)))
        return "addr is FIRST-LAST or one address, decimal or 0x hexadecimal";
    if (!ranged)
        filter->last = filter->first;
    if (filter->last < filter->first)
        return "the last address of addr lies before the first";
    filter->by_addr = true;
    return NULL;
}

static const char *parse_piece(struct trace_filter *filter, struct text piece)
{
    bool found;
    struct text name = text_cut(&piece, '=', &found);

    if (!found)
        return text_is(name, "all") ? "all stands alone" : "a condition is KEY=VALUE; " ALLOWED;
    if (text_is(name, "device"))
        return parse_device(filter, piece);
    if (text_is(name, "op"))
        return parse_op(filter, piece);
    if (text_is(name, "addr"))
        return parse_addr(filter, piece);
    return "unknown key; " ALLOWED;
}

int trace_filter_parse(struct trace_filter *filter, const char *text, const char **why)
{
    struct text rest = {text, strlen(text)};
    bool more = true;

    *why = NULL;
    memset(filter, 0, sizeof(*filter));
    filter->op = 0xff;
    if (rest.len == 0 || text_is(rest, "all"))
        return 0;
    while (more && !*why) {
        struct text piece = text_cut(&rest, ',', &more);

        *why = parse_piece(filter, piece);
    }
    return *why ? -1 : 0;
}

/* Shell pattern with * and ?. On a mismatch only the latest * can take one character more. */
static bool glob_match(const char *pattern, const char *name)
{
    const char *star = NULL, *retry = NULL;

    while (*name) {
        if (*pattern == '*') {
            star = ++pattern;
            retry = name;
        } else if (*pattern == '?' || *pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star;
            name = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

/* Does an access of `width` bytes at addr touch first to last? No sum: the access may end at 2^64. */
static bool touches(const struct trace_filter *filter, u64 addr, u64 width)
{
    if (addr > filter->last)
        return false;
    return addr >= filter->first || filter->first - addr < width;
}

/* Marks and fatal faults are no accesses: they are always shown. An interrupt has neither direction nor address. */
bool trace_filter_match(const struct trace_filter *filter, const struct trace_record *record,
                        const struct trace_names *names)
{
    if (record->type == TRACE_MARK || record->type == TRACE_FAULT)
        return true;
    if (filter->device[0] && !glob_match(filter->device, part_device_name(record, names)))
        return false;
    if (record->type == TRACE_IRQ)
        return filter->op == 0xff && !filter->by_addr;
    if (filter->op != 0xff && filter->op != record->op)
        return false;
    return !filter->by_addr || touches(filter, record->addr, record->width);
}
