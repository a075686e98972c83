/*
 * Buffers of u-dma-buf: /dev/NAME, and /sys/class/u-dma-buf/NAME, which earlier versions called /sys/class/udmabuf. A
 * buffer is a piece of RAM (config/pools.h); there are no caches to write back, so what concerns them is remembered and
 * shown. Source: u-dma-buf 5.0, Readme.md, u-dma-buf.c.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/mem.h"
#include "config/pools.h"
#include "memory/dma.h"
#include "tree/parts.h"

#define MAJOR 245 /* one of those for local use; the driver gets any that is free */

/* a of every node here: which buffer. */
static const struct machine_pools *pools(void)
{
    static char why[128];
    struct fmt error = FMT_INIT(why);

    return machine_pools(tree_machine->desc, &error);
}

static const struct pools_buffer *buffer_of(const struct tree_node *node)
{
    return &pools()->buffers[node->a];
}

static struct arena_buffer *state_of(const struct tree_node *node)
{
    return &tree_machine->arena->buffers[node->a];
}

static bool list_buffers(u32 index, struct tree_entry *entry, const struct tree_class *class)
{
    struct fmt name = FMT_INIT(entry->name);

    if (!pools() || index >= pools()->nbuffers)
        return false;
    fmt_str(&name, pools()->buffers[index].name);
    fmt_end(&name);
    entry->node = (struct tree_node){class, index, 0};
    return true;
}

/* --- the device --- */

static long move(const struct tree_node *node, u64 offset, void *bytes, size_t n, bool write)
{
    const struct pools_buffer *b = buffer_of(node);

    if (offset >= b->size)
        return 0;
    n = MIN(n, b->size - offset);
    if (!(write ? dma_write(b->range.base + offset, bytes, n) : dma_read(b->range.base + offset, bytes, n)))
        return -EFAULT;
    return (long)n;
}

static long read_buffer(const struct tree_node *node, u64 offset, void *to, size_t n)
{
    return move(node, offset, to, n, false);
}

static long write_buffer(const struct tree_node *node, u64 offset, const void *from, size_t n)
{
    return move(node, offset, (void *)(uintptr_t)from, n, true);
}

static long map_buffer(const struct tree_node *node, u64 offset, u64 length, u64 *machine)
{
    const struct pools_buffer *b = buffer_of(node);

    if ((offset & ~PAGE_MASK) || !length || !range_contains((struct range){0, b->range.size}, offset, page_up(length)))
        return -EINVAL;
    *machine = b->range.base + offset;
    return 0;
}

static const struct tree_class device = {
    .kind = TREE_DEVICE,
    .mode = 0600,
    .major = MAJOR,
    .read = read_buffer,
    .write = write_buffer,
    .map = map_buffer,
};

bool udmabuf_list_dev(u32 index, struct tree_entry *entry)
{
    return list_buffers(index, entry, &device);
}

/* --- attributes --- */

static long number_up_to(const char *text, size_t n, u64 most, u64 *value)
{
    return tree_number(text, n, true, value) && *value <= most ? 0 : -EINVAL;
}

#define SHOW(name, bits, format, value, change) \
    static void show_##name(const struct tree_node *node, struct fmt *text) \
    { \
        fmt_printf(text, format "\n", value); \
    } \
    static const struct tree_class name = {.kind = TREE_FILE, .mode = bits, .show = show_##name, .store = change}

#define SET(name, most) \
    static long set_##name(const struct tree_node *node, const char *text, size_t n) \
    { \
        u64 value; \
        long ret = number_up_to(text, n, most, &value); \
    \
        if (ret == 0) \
            state_of(node)->name = (__typeof__(state_of(node)->name))value; \
        return ret < 0 ? ret : (long)n; \
    }

/*
 * A command: bits 63-32 offset, 31-4 size, 3-2 direction, bit 0 alone: what the attributes say; 0: nothing. It is done at
 * once, and reads as 0 then.
 */
static long sync_for(const struct tree_node *node, const char *text, size_t n, u32 owner)
{
    const struct arena_buffer *s = state_of(node);
    u64 command, offset, size;
    long ret = number_up_to(text, n, UINT64_MAX, &command);

    if (ret < 0 || !command)
        return ret < 0 ? ret : (long)n;
    offset = command & ~(u64)1 ? command >> 32 : s->sync_offset;
    size = command & ~(u64)1 ? command & 0xfffffff0u : s->sync_size;
    if (offset > buffer_of(node)->size || size > buffer_of(node)->size - offset)
        return -EINVAL;
    state_of(node)->sync_owner = owner;
    return (long)n;
}

static long set_for_cpu(const struct tree_node *node, const char *text, size_t n)
{
    return sync_for(node, text, n, 0);
}

static long set_for_device(const struct tree_node *node, const char *text, size_t n)
{
    return sync_for(node, text, n, 1);
}

static u64 address_of(const struct tree_node *node)
{
    return buffer_of(node)->range.base;
}

/* "%pad": a bus address of 64 bits. */
static void show_phys_addr(const struct tree_node *node, struct fmt *text)
{
    fmt_str(text, "0x");
    fmt_hexpad(text, address_of(node), 16);
    fmt_char(text, '\n');
}

static const struct tree_class phys_addr = {.kind = TREE_FILE, .mode = 0444, .show = show_phys_addr};

SET(sync_mode, 7)
SET(sync_offset, UINT64_MAX)
SET(sync_size, UINT64_MAX)
SET(sync_direction, 2)
SHOW(driver_version, 0444, "%s", node ? "5.0.0" : "", NULL);
SHOW(size, 0444, "%lu", buffer_of(node)->size, NULL);
SHOW(sync_mode, 0664, "%u", state_of(node)->sync_mode, set_sync_mode);
SHOW(sync_offset, 0664, "%lx", state_of(node)->sync_offset, set_sync_offset);
SHOW(sync_size, 0664, "%lu", state_of(node)->sync_size, set_sync_size);
SHOW(sync_direction, 0664, "%u", state_of(node)->sync_direction, set_sync_direction);
SHOW(sync_owner, 0444, "%u", state_of(node)->sync_owner, NULL);
SHOW(sync_for_cpu, 0664, "%u", node ? 0u : 0u, set_for_cpu);
SHOW(sync_for_device, 0664, "%u", node ? 0u : 0u, set_for_device);
SHOW(dma_coherent, 0444, "%u", (unsigned)buffer_of(node)->coherent, NULL);
SHOW(dev_number, 0444, "245:%u", node->a, NULL);
SHOW(uevent, 0644, "MAJOR=245\nMINOR=%u", node->a, NULL);

/* --- /sys/class --- */

static const struct tree_fixed buffer_fixed[] = {
    {"dev", &dev_number},
    {"dma_coherent", &dma_coherent},
    {"driver_version", &driver_version},
    {"phys_addr", &phys_addr},
    {"size", &size},
    {"sync_direction", &sync_direction},
    {"sync_for_cpu", &sync_for_cpu},
    {"sync_for_device", &sync_for_device},
    {"sync_mode", &sync_mode},
    {"sync_offset", &sync_offset},
    {"sync_owner", &sync_owner},
    {"sync_size", &sync_size},
    {"uevent", &uevent},
    {NULL, NULL},
};
static const struct tree_class buffer_dir = {.kind = TREE_DIR, .mode = 0755, .fixed = buffer_fixed};

static bool list_class(const struct tree_node *dir, u32 index, struct tree_entry *entry)
{
    (void)dir;
    return list_buffers(index, entry, &buffer_dir);
}

/* The driver is there where a buffer is. */
static bool any(const struct tree_node *node)
{
    (void)node;
    return pools() && pools()->nbuffers;
}

const struct tree_class udmabuf_class = {.kind = TREE_DIR, .mode = 0755, .list = list_class, .there = any};
