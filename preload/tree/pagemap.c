/*
 * /proc/PID/pagemap: a word for each page of 4096 bytes. Of pages that reach the machine it tells the machine's address,
 * which is what devices call it wherever dma-ranges say nothing else; as Linux tells the physical address, not that of a
 * bus. Of all others it tells what the host's kernel does, but for the number of the page: that is of an address where
 * no machine has anything, above 2^51, made of the virtual address. Zero would be what a user without privileges gets,
 * and is what drivers take for it (DPDK asks for the address of a variable, and gives up): DMA there is refused,
 * and the transcript says so. Source: Linux, Documentation/admin-guide/mm/pagemap.rst.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/mem.h"
#include "base/sys.h"
#include "memory/ram.h"
#include "memory/users.h"
#include "tree/parts.h"

#define NUMBER  (((u64)1 << 55) - 1) /* bits 0-54: page frame number, or where it is in swap */
#define GUARDED ((u64)1 << 57) /* write-protected by userfaultfd: by us (memory/dirty.c) */
#define FILE_   ((u64)1 << 61)
#define SWAPPED ((u64)1 << 62)
#define PRESENT ((u64)1 << 63)
#define NOWHERE ((u64)1 << 51) /* machines end at 2^47 (config/machine.h) */
#define LAST    ((u64)1 << 47) /* TASK_SIZE: nothing is told from here on */

#define WORDS 512

struct part {
    u64 first; /* page that words[0] is of */
    u64 count;
    u64 *words;
};

static u64 word_of(u64 host, u64 machine, bool shared, bool window)
{
    /* A private page that was written is a copy, and no page of the machine. */
    if (!shared && (host & (PRESENT | SWAPPED)) && !(host & FILE_))
        return host;
    return (host & ~(NUMBER | GUARDED | SWAPPED)) | PRESENT | (window ? 0 : FILE_) | machine >> PAGE_SHIFT;
}

static void of_range(const struct part *p, struct range r, u64 machine, bool shared, bool windows)
{
    struct range pages = range_clip(r, (struct range){p->first << PAGE_SHIFT, p->count << PAGE_SHIFT});

    for (u64 at = 0; at < pages.size; at += PAGE_SIZE) {
        u64 *word = &p->words[((pages.base + at) >> PAGE_SHIFT) - p->first];
        u64 addr = machine + (pages.base - r.base) + at;
        bool window = windows && view_trapped(tree_view, addr);

        if (!windows || window || view_find(tree_view, addr).kind == VIEW_RAM)
            *word = word_of(*word, addr, shared, window);
    }
}

/* What this process knows of itself. */
static void own_part(const struct part *p)
{
    struct range within = {p->first << PAGE_SHIFT, p->count << PAGE_SHIFT};
    u64 at = within.base;
    struct alias a;

    while (alias_walk(within, &at, &a))
        of_range(p, a.range, a.machine, a.shared, true);
}

/* Of others it is the kernel who knows what of RAM they have mapped. */
static void other_ram(void *context, const struct kernel_mapping *m)
{
    u64 addr;

    if (users_address(tree_machine->desc, m->offset, &addr))
        of_range(context, m->range, addr, m->shared, false);
}

static long fill(u32 pid, struct part *p)
{
    char path[40];
    struct fmt f = FMT_INIT(path);
    struct users users = {.context = p, .ram = other_ram};
    long fd, n;

    fmt_printf(&f, "/proc/%u/pagemap", pid);
    fd = sys_open(fmt_end(&f), O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    n = sys_pread((int)fd, p->words, p->count * 8, p->first * 8);
    sys_close((int)fd);
    if (n < 0)
        return n;
    p->count = (u64)n / 8;
    for (u64 i = 0; i < p->count; i++)
        p->words[i] = (p->words[i] & ~NUMBER) | (p->words[i] & PRESENT ? NOWHERE >> PAGE_SHIFT | (p->first + i) : 0);
    if (pid == (u32)sys_getpid())
        own_part(p);
    else
        users_ram_of(tree_machine->arena, pid, &users);
    return n;
}

static long read_words(const struct tree_node *node, u64 offset, void *to, size_t n)
{
    u64 words[WORDS], last = LAST >> PAGE_SHIFT, first = offset / 8;
    size_t done = 0;

    if (offset % 8 || n % 8)
        return -EINVAL;
    while (done < n && first < last) {
        struct part p = {first, MIN(MIN((n - done) / 8, last - first), (u64)WORDS), words};
        long got = fill(node->a, &p);

        if (got <= 0)
            return done ? (long)done : got;
        memcpy((u8 *)to + done, words, p.count * 8);
        done += p.count * 8;
        first += p.count;
    }
    return (long)done;
}

/* PAGEMAP_SCAN tells no page numbers: it is the host's. */
static long host_ioctl(const struct tree_node *node, u64 request, u64 argument)
{
    char path[40];
    struct fmt f = FMT_INIT(path);
    long fd, ret;

    fmt_printf(&f, "/proc/%u/pagemap", node->a);
    fd = sys_open(fmt_end(&f), O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    ret = sys_ioctl((int)fd, request, (void *)argument);
    sys_close((int)fd);
    return ret;
}

static u64 no_size(const struct tree_node *node)
{
    (void)node;
    return 0;
}

const struct tree_class pagemap_file = {
    .kind = TREE_FILE,
    .mode = 0400,
    .read = read_words,
    .size = no_size,
    .ioctl = host_ioctl,
};
