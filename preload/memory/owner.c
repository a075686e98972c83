#include "memory/owner.h"

#include <fcntl.h>

#include "base/mem.h"
#include "base/sys.h"

/* Shadow of AddressSanitizer on x86-64 Linux (LLVM, "AddressSanitizerAlgorithm", 64-bit mapping). */
static const struct range asan_shadow = {0x7fff8000, 0x10007fff8000 - 0x7fff8000};

struct mapping {
    struct range range;
    const char *name;
};

static u64 hex(const char **p)
{
    u64 value = 0;

    for (;; ++*p) {
        if (**p >= '0' && **p <= '9')
            value = value << 4 | (u64)(**p - '0');
        else if (**p >= 'a' && **p <= 'f')
            value = value << 4 | (u64)(**p - 'a' + 10);
        else
            return value;
    }
}

/* "start-end perms offset dev inode   name", proc(5). */
static struct mapping parse_line(char *line)
{
    struct mapping m = {.name = ""};
    const char *p = line;
    u64 end;

    m.range.base = hex(&p);
    if (*p == '-')
        p++;
    end = hex(&p);
    m.range.size = end - m.range.base;
    for (int field = 0; field < 4 && *p; field++) {
        while (*p == ' ')
            p++;
        while (*p && *p != ' ')
            p++;
    }
    while (*p == ' ')
        p++;
    m.name = p;
    return m;
}

static void describe(const struct mapping *m, struct range wanted, struct fmt *out)
{
    if (*m->name)
        fmt_str(out, m->name);
    else if (range_contains(asan_shadow, m->range.base, m->range.size) || range_has(asan_shadow, wanted.base))
        fmt_str(out, "AddressSanitizer's shadow memory (use the map virt-low)");
    else
        fmt_str(out, "an anonymous mapping");
    fmt_printf(out, " at %lx-%lx", m->range.base, range_last(m->range));
}

void owner_describe(struct range range, struct fmt *out)
{
    char buf[8192];
    size_t have = 0;
    long fd = sys_open("/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    long n;

    while (fd >= 0 && (n = sys_read((int)fd, buf + have, sizeof(buf) - 1 - have)) > 0) {
        char *line = buf, *end;

        have += (size_t)n;
        buf[have] = 0;
        while ((end = strchr(line, '\n'))) {
            struct mapping m;

            *end = 0;
            m = parse_line(line);
            if (range_overlaps(m.range, range)) {
                describe(&m, range, out);
                sys_close((int)fd);
                return;
            }
            line = end + 1;
        }
        have = strlen(line);
        memmove(buf, line, have);
    }
    if (fd >= 0)
        sys_close((int)fd);
    fmt_str(out, "nothing that /proc/self/maps shows");
}
