#include "memory/kernel_maps.h"

#include <fcntl.h>

#include "base/fds.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/trapsafe.h"

/* Linux, include/linux/mm.h, DEFAULT_MAX_MAP_COUNT. */
#define DEFAULT_LIMIT 65530u

static u32 limit = DEFAULT_LIMIT;

/* Longer than any line: four numbers, and a path of at most 4096 bytes, each perhaps an escape of four. */
static char buffer[KERNEL_MAPS_LINE];

void kernel_maps_start(void)
{
    char text[16] = "";
    u64 value = 0;
    long fd;

    if (sys_read_file("/proc/sys/vm/max_map_count", text, sizeof(text) - 1) > 0)
        for (const char *p = text; *p >= '0' && *p <= '9'; p++)
            value = value * 10 + (u64)(*p - '0');
    limit = value ? (u32)MIN(value, (u64)INT32_MAX) : DEFAULT_LIMIT;
    fds_close(FD_MAPS);
    fd = sys_open("/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
    if (fd >= 0)
        fds_adopt(FD_MAPS, (int)fd);
}

u32 kernel_maps_limit(void)
{
    return limit;
}

static u64 number(const char **p, unsigned base)
{
    u64 value = 0;

    for (;; ++*p) {
        unsigned c = (unsigned char)**p, digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;

        if (digit >= base)
            return value;
        value = value * base + digit;
    }
}

/* As stat(2) gives it. Source: Linux, include/linux/kdev_t.h, new_encode_dev. */
static u64 device_number(u64 major, u64 minor)
{
    return (minor & 0xff) | major << 8 | (minor & ~(u64)0xff) << 12;
}

/* "start-end perms offset major:minor inode path" */
static struct kernel_mapping parse(const char *p)
{
    struct kernel_mapping m = {.range = {0, 0}};

    m.range.base = number(&p, 16);
    p += *p == '-';
    m.range.size = number(&p, 16) - m.range.base;
    p += *p == ' ';
    for (unsigned i = 0; *p && *p != ' '; i++, p++) {
        m.read |= i == 0 && *p == 'r';
        m.write |= i == 1 && *p == 'w';
        m.shared |= i == 3 && *p == 's';
    }
    p += *p == ' ';
    m.offset = number(&p, 16);
    p += *p == ' ';
    m.device = number(&p, 16);
    p += *p == ':';
    m.device = device_number(m.device, number(&p, 16));
    p += *p == ' ';
    m.inode = number(&p, 10);
    return m;
}

bool kernel_maps_read(int fd, char *buf, size_t size, void (*each)(void *context, const struct kernel_mapping *mapping),
                      void *context)
{
    u64 offset = 0, end = 0;
    size_t have = 0;
    long n;

    while ((n = sys_pread(fd, buf + have, size - 1 - have, offset)) > 0) {
        char *line = buf, *stop;

        offset += (u64)n;
        have += (size_t)n;
        buf[have] = 0;
        while ((stop = strchr(line, '\n'))) {
            struct kernel_mapping m;

            *stop = 0;
            m = parse(line);
            line = stop + 1;
            /* Merged since with one that was seen: the rest of it is new. */
            m.offset += end > m.range.base ? end - m.range.base : 0;
            m.range = range_clip(m.range, (struct range){end, UINT64_MAX - end});
            if (!m.range.size)
                continue;
            end = range_last(m.range) + 1;
            each(context, &m);
        }
        have -= (size_t)(line - buf);
        memmove(buf, line, have);
    }
    return n == 0;
}

bool kernel_maps_walk(void (*each)(void *context, const struct kernel_mapping *mapping), void *context)
{
    return kernel_maps_read(fds_get(FD_MAPS), buffer, sizeof(buffer), each, context);
}
