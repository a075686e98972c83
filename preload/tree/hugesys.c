/*
 * How many huge pages there are: /sys/kernel/mm/hugepages, the same below /sys/devices/system/node/node0, /proc/sys/vm,
 * and the lines of /proc/meminfo. Sources: Linux, Documentation/admin-guide/mm/hugetlbpage.rst,
 * Documentation/filesystems/proc.rst; mm/hugetlb.c, hugetlb_report_meminfo.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/mem.h"
#include "base/sys.h"
#include "memory/huge.h"
#include "tree/own.h"
#include "tree/parts.h"

static struct huge_counts counts(void)
{
    struct huge_counts c;

    huge_hold(tree_self());
    c = huge_counts();
    huge_let_go(tree_self());
    return c;
}

#define MOST_PAGES 999999999999999999ull

static long set(const char *text, size_t n, void (*change)(u64 pages))
{
    u64 value;

    if (!tree_number(text, n, false, &value) || value > MOST_PAGES)
        return -EINVAL;
    huge_hold(tree_self());
    huge_collect();
    change(value);
    huge_let_go(tree_self());
    return (long)n;
}

static long set_pages(const struct tree_node *node, const char *text, size_t n)
{
    (void)node;
    return set(text, n, huge_want);
}

static long set_overcommit(const struct tree_node *node, const char *text, size_t n)
{
    (void)node;
    return set(text, n, huge_overcommit);
}

#define COUNT(name, bits, field, change) \
    static void show_##name(const struct tree_node *node, struct fmt *text) \
    { \
        (void)node; \
        fmt_printf(text, "%lu\n", counts().field); \
    } \
    static const struct tree_class name = {.kind = TREE_FILE, .mode = bits, .show = show_##name, .store = change}

COUNT(nr, 0644, total, set_pages);
COUNT(nr_overcommit, 0644, overcommit, set_overcommit);
COUNT(nr_free, 0444, free, NULL);
COUNT(nr_reserved, 0444, reserved, NULL);
COUNT(nr_surplus, 0444, surplus, NULL);

/* --- sysfs --- */

static const struct tree_fixed size_fixed[] = {
    {"free_hugepages", &nr_free},
    {"nr_hugepages", &nr},
    {"nr_hugepages_mempolicy", &nr},
    {"nr_overcommit_hugepages", &nr_overcommit},
    {"resv_hugepages", &nr_reserved},
    {"surplus_hugepages", &nr_surplus},
    {NULL, NULL},
};
static const struct tree_class size_dir = {.kind = TREE_DIR, .mode = 0755, .fixed = size_fixed};

static const struct tree_fixed sizes_fixed[] = {{"hugepages-2048kB", &size_dir}, {NULL, NULL}};
const struct tree_class hugesys_sizes = {.kind = TREE_DIR, .mode = 0755, .fixed = sizes_fixed};

static const struct tree_fixed node_size_fixed[] = {
    {"free_hugepages", &nr_free},
    {"nr_hugepages", &nr},
    {"surplus_hugepages", &nr_surplus},
    {NULL, NULL},
};
static const struct tree_class node_size_dir = {.kind = TREE_DIR, .mode = 0755, .fixed = node_size_fixed};

static const struct tree_fixed node_sizes_fixed[] = {{"hugepages-2048kB", &node_size_dir}, {NULL, NULL}};
static const struct tree_class node_sizes = {.kind = TREE_DIR, .mode = 0755, .fixed = node_sizes_fixed};

/* The machine's memory is all of node 0, where the host tells of nodes. */
static const struct tree_fixed node_fixed[] = {{"hugepages", &node_sizes}, {NULL, NULL}};
static const struct tree_class node0 = {.kind = TREE_DIR, .mode = 0755, .merged = true, .fixed = node_fixed};

static bool has_nodes(const struct tree_node *node)
{
    (void)node;
    return sys(SYS_faccessat, AT_FDCWD, "/sys/devices/system/node/node0", F_OK) == 0;
}

static const struct tree_fixed nodes_fixed[] = {{"node0", &node0}, {NULL, NULL}};
const struct tree_class hugesys_nodes = {
    .kind = TREE_DIR,
    .mode = 0755,
    .merged = true,
    .fixed = nodes_fixed,
    .there = has_nodes,
};

/* --- sysctl --- */

static const struct tree_fixed vm_fixed[] = {
    {"nr_hugepages", &nr},
    {"nr_hugepages_mempolicy", &nr},
    {"nr_overcommit_hugepages", &nr_overcommit},
    {NULL, NULL},
};
const struct tree_class hugesys_vm = {.kind = TREE_DIR, .mode = 0555, .merged = true, .fixed = vm_fixed};

/* --- /proc/meminfo --- */

static void line(struct fmt *text, const char *name, u64 value, unsigned width, const char *unit)
{
    char digits[24];
    struct fmt d = FMT_INIT(digits);

    fmt_dec(&d, value);
    fmt_str(text, name);
    for (size_t i = d.len; i < width; i++)
        fmt_char(text, ' ');
    fmt_mem(text, digits, d.len);
    fmt_str(text, unit);
}

static void huge_lines(struct fmt *text)
{
    struct huge_counts c = counts();

    line(text, "HugePages_Total:   ", c.total, 5, "\n");
    line(text, "HugePages_Free:    ", c.free, 5, "\n");
    line(text, "HugePages_Rsvd:    ", c.reserved, 5, "\n");
    line(text, "HugePages_Surp:    ", c.surplus, 5, "\n");
    line(text, "Hugepagesize:   ", HUGE_SIZE / 1024, 8, " kB\n");
    line(text, "Hugetlb:        ", c.total * (HUGE_SIZE / 1024), 8, " kB\n");
}

static bool is_huge_line(const char *l)
{
    return strncmp(l, "HugePages_", 10) == 0 || strncmp(l, "Hugepagesize:", 13) == 0 || strncmp(l, "Hugetlb:", 8) == 0;
}

/* The host's text, with other lines in the place of those that tell of huge pages. */
static void show_meminfo(const struct tree_node *node, struct fmt *text)
{
    char host[8192];
    bool done = false;
    const char *next;
    long n = sys_read_file("/proc/meminfo", host, sizeof(host) - 1);

    (void)node;
    host[MAX(n, 0)] = 0;
    for (const char *l = host; *l; l = next) {
        next = strchr(l, '\n');
        next = next ? next + 1 : l + strlen(l);
        if (!is_huge_line(l)) {
            fmt_mem(text, l, (size_t)(next - l));
            continue;
        }
        if (!done)
            huge_lines(text);
        done = true;
    }
    if (!done)
        huge_lines(text);
}

static u64 no_size(const struct tree_node *node)
{
    (void)node;
    return 0;
}

const struct tree_class hugesys_meminfo = {.kind = TREE_FILE, .mode = 0444, .show = show_meminfo, .size = no_size};
