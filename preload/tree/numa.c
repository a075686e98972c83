/*
 * /proc/self/numa_maps: huge pages stand there as of node 0, file by file, in the place of the files in memory that the
 * host sees. Other processes' is the host's. Source: Linux, fs/proc/task_mmu.c, show_numa_map; proc(5).
 */
#include <fcntl.h>

#include "base/mem.h"
#include "base/sys.h"
#include "memory/huge.h"
#include "memory/ram.h"
#include "tree/own.h"
#include "tree/parts.h"

static const struct range everything = {0, (u64)1 << 63};

/* Pages of one file, side by side. */
struct run {
    u64 addr, pages, index;
    u32 file;
};

static void put_run(struct fmt *text, const struct run *r)
{
    const struct huge_file *f = huge_file(r->file);

    if (!r->pages || !f)
        return;
    fmt_hexpad(text, r->addr, MAX(8u, 16 - (unsigned)__builtin_clzll(r->addr) / 4));
    fmt_str(text, " default file=");
    if (*f->name) {
        hugetlb_path(r->file, text);
        if (!f->linked)
            fmt_str(text, "\\040(deleted)");
    } else {
        fmt_str(text, "/anon_hugepage\\040(deleted)");
    }
    fmt_printf(text, " huge dirty=%lu N0=%lu kernelpagesize_kB=2048\n", r->pages, r->pages);
}

static void put_alias(struct fmt *text, const struct alias *a)
{
    struct run r = {.pages = 0};
    u64 index;

    for (u64 at = 0; at < a->range.size; at += HUGE_SIZE) {
        u32 file = huge_owner(a->machine + at, &index);

        if (r.pages && file == r.file && index == r.index + r.pages) {
            r.pages++;
            continue;
        }
        put_run(text, &r);
        r = (struct run){a->range.base + at, 1, index, file};
    }
    put_run(text, &r);
}

static u64 address_of(const char *line)
{
    u64 addr = 0;

    for (;; line++) {
        unsigned c = (unsigned char)*line, digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;

        if (digit >= 16)
            return addr;
        addr = addr * 16 + digit;
    }
}

/* The host's lines, but for those of huge pages. */
static void put_host(struct fmt *text, const char *host, bool own)
{
    struct alias a;

    for (const char *l = host, *next; *l; l = next) {
        next = strchr(l, '\n');
        next = next ? next + 1 : l + strlen(l);
        if (!own || !alias_find(address_of(l), &a) || !a.huge)
            fmt_mem(text, l, (size_t)(next - l));
    }
}

static void show_numa_maps(const struct tree_node *node, struct fmt *text)
{
    bool own = node->a == (u32)sys_getpid();
    char path[40], *host = sys_pages(TREE_TEXT);
    struct fmt p = FMT_INIT(path);
    struct alias part;
    u64 at = 0;
    long n;

    if (!host)
        return;
    fmt_printf(&p, "/proc/%u/numa_maps", node->a);
    n = sys_read_file(fmt_end(&p), host, TREE_TEXT - 1);
    host[MAX(n, 0)] = 0;
    put_host(text, host, own);
    sys_munmap(host, TREE_TEXT);
    huge_hold(tree_self());
    while (own && alias_walk(everything, &at, &part))
        if (part.huge)
            put_alias(text, &part);
    huge_let_go(tree_self());
}

static u64 no_size(const struct tree_node *node)
{
    (void)node;
    return 0;
}

static bool has_numa(const struct tree_node *node)
{
    (void)node;
    return sys(SYS_faccessat, AT_FDCWD, "/proc/self/numa_maps", F_OK) == 0;
}

const struct tree_class numa_maps = {.kind = TREE_FILE, .mode = 0444, .show = show_numa_maps, .size = no_size, .there = has_numa};
