/*
 * /proc/PID of members of the machine: what they are told of mounts and of their pages. All else there is the host's.
 * Source: proc(5).
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/process.h"
#include "base/sys.h"
#include "tree/parts.h"

#define HOST_TEXT TREE_TEXT

/* A file of the host in memory that is to be given back; NULL: it cannot be read. */
static char *read_host(u32 pid, const char *name)
{
    char path[64];
    struct fmt p = FMT_INIT(path);
    char *text = sys_pages(HOST_TEXT);
    long n;

    fmt_printf(&p, "/proc/%u/%s", pid, name);
    n = text ? sys_read_file(fmt_end(&p), text, HOST_TEXT - 1) : -ENOMEM;
    if (n >= 0) {
        text[n] = 0;
        return text;
    }
    if (text)
        sys_munmap(text, HOST_TEXT);
    return NULL;
}

struct line {
    const char *text;
    size_t length; /* without its end */
};

static bool next_line(const char **at, struct line *l)
{
    const char *end = strchr(*at, '\n');

    l->text = *at;
    l->length = end ? (size_t)(end - *at) : strlen(*at);
    *at += l->length + (end != NULL);
    return l->length != 0;
}

/* The n-th word of a line. */
static struct line word(struct line l, unsigned n)
{
    struct line w = {l.text, 0};
    const char *end = l.text + l.length;

    for (;; n--) {
        for (w.length = 0; w.text + w.length < end && w.text[w.length] != ' '; w.length++)
            ;
        if (!n || w.text + w.length == end)
            return n ? (struct line){end, 0} : w;
        w.text += w.length + 1;
    }
}

static bool is(struct line w, const char *text)
{
    return strlen(text) == w.length && memcmp(w.text, text, w.length) == 0;
}

static u64 number(struct line w)
{
    u64 n = 0;

    for (size_t i = 0; i < w.length && w.text[i] >= '0' && w.text[i] <= '9'; i++)
        n = n * 10 + (u64)(w.text[i] - '0');
    return n;
}

static void put(struct fmt *text, struct line l)
{
    fmt_mem(text, l.text, l.length);
    fmt_char(text, '\n');
}

/* --- mounts --- */

/* The host's own huge pages are nobody's business. */
static void show_mounts(const struct tree_node *node, struct fmt *text)
{
    char *host = read_host(node->a, "mounts");
    const char *at = host;
    struct line l;

    if (!host)
        return;
    while (next_line(&at, &l))
        if (!is(word(l, 2), "hugetlbfs") && !is(word(l, 1), HUGETLB_MOUNT))
            put(text, l);
    fmt_str(text, "hugetlbfs " HUGETLB_MOUNT " hugetlbfs rw,relatime,pagesize=2M 0 0\n");
    sys_munmap(host, HOST_TEXT);
}

/* "ID PARENT MAJOR:MINOR ROOT MOUNT OPTIONS [TAG]... - TYPE SOURCE OPTIONS" */
static bool is_huge_mount(struct line l)
{
    unsigned dash = 6;

    while (word(l, dash).length && !is(word(l, dash), "-"))
        dash++;
    return is(word(l, 4), HUGETLB_MOUNT) || is(word(l, dash + 1), "hugetlbfs");
}

static void show_mountinfo(const struct tree_node *node, struct fmt *text)
{
    char *host = read_host(node->a, "mountinfo");
    const char *at = host;
    u64 last = 0, root = 0, dev = 0;
    struct line l;

    if (!host)
        return;
    while (next_line(&at, &l)) {
        last = MAX(last, number(l));
        if (is(word(l, 4), "/"))
            root = number(l);
        if (is(word(l, 4), "/dev"))
            dev = number(l);
        if (!is_huge_mount(l))
            put(text, l);
    }
    fmt_printf(text, "%lu %lu 0:%lu / " HUGETLB_MOUNT " rw,relatime - hugetlbfs hugetlbfs rw,pagesize=2M\n", last + 1,
               dev ? dev : root, (u64)HUGETLB_DEVICE);
    sys_munmap(host, HOST_TEXT);
}

static u64 no_size(const struct tree_node *node)
{
    (void)node;
    return 0;
}

static const struct tree_class mounts = {.kind = TREE_FILE, .mode = 0444, .show = show_mounts, .size = no_size};
static const struct tree_class mountinfo = {.kind = TREE_FILE, .mode = 0444, .show = show_mountinfo, .size = no_size};

/* --- the directory --- */

static const struct tree_fixed process_fixed[] = {
    {"mountinfo", &mountinfo},
    {"mounts", &mounts},
    {"numa_maps", &numa_maps},
    {"pagemap", &pagemap_file},
    {NULL, NULL},
};
static const struct tree_class process = {.kind = TREE_DIR, .mode = 0555, .merged = true, .fixed = process_fixed};

/* Who is killed stays a member until somebody needs its place; /proc has none that its parent has waited for. */
static bool is_there(u32 pid)
{
    char path[32];
    struct fmt p = FMT_INIT(path);

    fmt_printf(&p, "/proc/%u", pid);
    return !tree_asks_host() || sys(SYS_faccessat, AT_FDCWD, fmt_end(&p), F_OK) == 0;
}

static bool is_member(u32 pid)
{
    const struct arena_member *m = arena_at(tree_machine->arena, tree_machine->arena->members);
    u32 n = MIN(__atomic_load_n(&tree_machine->arena->members_used, __ATOMIC_ACQUIRE), ARENA_MEMBERS);

    if (pid == (u32)sys_getpid())
        return true;
    if (!is_there(pid))
        return false;
    for (u32 i = 0; i < n; i++)
        if (m[i].pid == pid && m[i].namespace == process_namespace())
            return true;
    return false;
}

bool process_find(const struct tree_node *dir, const char *name, struct tree_node *child)
{
    u64 pid = 0;

    (void)dir;
    if (*name == '0') /* "01" is no name of process 1 */
        return false;
    for (const char *p = name; *p; p++) {
        if (*p < '0' || *p > '9' || pid > UINT32_MAX / 10)
            return false;
        pid = pid * 10 + (u64)(*p - '0');
    }
    *child = (struct tree_node){&process, (u32)pid, 0};
    return pid && is_member((u32)pid);
}
