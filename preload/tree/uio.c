/*
 * UIO, as uio_pdrv_genirq of Linux shows it: nodes of the device tree that are "generic-uio" or have "linux,uio-name".
 * Sources: Documentation/driver-api/uio-howto.rst, drivers/uio/uio.c
 * (formats). Numbers are in the order of the nodes in the blob.
 *
 * A device's interrupt is the first line of its first window. It is disabled by each event until somebody writes 1.
 */
#include <errno.h>
#include <libfdt.h>

#include "base/mem.h"
#include "bus/irq.h"
#include "tree/own.h"
#include "tree/parts.h"
#include "tree/pci.h"

#define MAPS  5 /* MAX_UIO_MAPS */
#define PORTS 5 /* MAX_UIO_PORT_REGIONS */

static const struct machine_window *window_at(u32 index)
{
    return &tree_machine->desc->windows[index];
}

static bool is_uio(const struct machine_window *w)
{
    struct mmioshim_node node = {tree_machine->desc, w->node};

    return machine_compatible(tree_machine->desc, w, "generic-uio") || node_property(&node, "linux,uio-name", NULL);
}

/* The node that comes next in the blob behind `after` (-1: the first); -1: there is none. */
static int next_node(int after)
{
    int best = -1;

    for (u32 i = 0; i < machine_fixed(tree_machine->desc); i++) {
        const struct machine_window *w = window_at(i);

        if (w->node > after && (best < 0 || w->node < best) && is_uio(w))
            best = w->node;
    }
    return best;
}

/* Node of number n, -1: there is none. */
static int node_of(u32 n)
{
    int node = next_node(-1);

    while (node >= 0 && n--)
        node = next_node(node);
    return node;
}

static bool number_of(int node, u32 *n)
{
    *n = 0;
    for (int at = next_node(-1); at >= 0; at = next_node(at), ++*n)
        if (at == node)
            return true;
    return false;
}

u32 uio_count(void)
{
    u32 n = 0;

    for (int at = next_node(-1); at >= 0; at = next_node(at))
        n++;
    return n;
}

/* --- regions --- */

struct region {
    u64 base, size;
    u16 entry; /* of reg */
    u32 device;
};

/* The index-th entry of reg that is memory, or ports; pieces that children cut it into are one region. */
static bool region_of(u32 uio, bool ports, u32 index, struct region *r)
{
    const struct machine_desc *desc = tree_machine->desc;
    u32 first = ports ? desc->nwindows : 0, end = ports ? machine_fixed(desc) : desc->nwindows;
    int node = node_of(uio);

    for (u32 entry = 0; node >= 0 && entry < 64; entry++) {
        bool found = false;

        for (u32 i = first; i < end; i++) {
            const struct machine_window *w = window_at(i);
            u64 base = w->range.base - w->offset, last = range_last(w->range);

            if (w->node != node || w->entry != entry)
                continue;
            if (!found)
                *r = (struct region){base, 0, (u16)entry, i};
            r->size = MAX(r->size, last - base + 1);
            found = true;
        }
        if (found && index-- == 0)
            return true;
    }
    return false;
}

static bool memory_region(const struct tree_node *n, struct region *r)
{
    return n->b < MAPS && region_of(n->a, false, n->b, r);
}

static bool port_region(const struct tree_node *n, struct region *r)
{
    return n->b < PORTS && region_of(n->a, true, n->b, r);
}

/* Whole pages, as uio_pdrv_genirq has them. */
static struct range pages_of(const struct region *r)
{
    u64 offset = r->base & ~PAGE_MASK;

    return (struct range){r->base - offset, page_up(offset + r->size)};
}

/* Its name: that of reg-names, else the node's. */
static void region_name(const struct region *r, struct fmt *text)
{
    struct mmioshim_node node = {tree_machine->desc, window_at(r->device)->node};
    u32 length;
    const char *names = node_property(&node, "reg-names", &length), *end = names + length;

    for (u16 i = 0; names && names < end; i++) {
        size_t n = 0;

        while (names + n < end && names[n])
            n++;
        if (i == r->entry) {
            fmt_mem(text, names, n);
            return;
        }
        names += n + 1;
    }
    fmt_str(text, fdt_get_name(tree_machine->desc->fdt, node.node, NULL));
}

/* --- attributes --- */

static void show_line(struct fmt *text)
{
    fmt_char(text, '\n');
}

static void show_padded(struct fmt *text, u64 value)
{
    fmt_str(text, "0x");
    fmt_hexpad(text, value, 16);
    show_line(text);
}

static void show_map_name(const struct tree_node *n, struct fmt *text)
{
    struct region r;

    if (memory_region(n, &r))
        region_name(&r, text);
    show_line(text);
}

static void show_map_addr(const struct tree_node *n, struct fmt *text)
{
    struct region r = {0};

    memory_region(n, &r);
    show_padded(text, pages_of(&r).base);
}

static void show_map_size(const struct tree_node *n, struct fmt *text)
{
    struct region r = {0};

    memory_region(n, &r);
    show_padded(text, pages_of(&r).size);
}

static void show_map_offset(const struct tree_node *n, struct fmt *text)
{
    struct region r = {0};

    memory_region(n, &r);
    fmt_hex(text, r.base & ~PAGE_MASK);
    show_line(text);
}

static void show_port_name(const struct tree_node *n, struct fmt *text)
{
    struct region r;

    if (port_region(n, &r))
        region_name(&r, text);
    show_line(text);
}

static void show_port_start(const struct tree_node *n, struct fmt *text)
{
    struct region r = {0};

    port_region(n, &r);
    fmt_hex(text, r.base);
    show_line(text);
}

static void show_port_size(const struct tree_node *n, struct fmt *text)
{
    struct region r = {0};

    port_region(n, &r);
    fmt_hex(text, r.size);
    show_line(text);
}

static void show_port_type(const struct tree_node *n, struct fmt *text)
{
    (void)n;
    fmt_str(text, "port_x86\n");
}

static void show_name(const struct tree_node *n, struct fmt *text)
{
    struct mmioshim_node node = {tree_machine->desc, node_of(n->a)};
    u32 length = 0;
    const char *name = node_property(&node, "linux,uio-name", &length);

    if (!name || !length)
        name = fdt_get_name(tree_machine->desc->fdt, node.node, (int *)&length);
    for (u32 i = 0; i < length && name[i] && name[i] != '@'; i++)
        fmt_char(text, name[i]);
    show_line(text);
}

static void show_version(const struct tree_node *n, struct fmt *text)
{
    (void)n;
    fmt_str(text, "devicetree\n");
}

/* Its interrupt: a line of the device of its first window. False: it has none. */
static bool line_of(u32 uio, u32 *device)
{
    struct mmioshim_node node = {tree_machine->desc, node_of(uio)};
    struct region r;

    if (!region_of(uio, false, 0, &r) && !region_of(uio, true, 0, &r))
        return false;
    *device = r.device;
    return (node_property(&node, "interrupts", NULL) || node_property(&node, "interrupts-extended", NULL)) &&
           arena_devices(tree_machine->arena)[r.device].nwires;
}

static void show_event(const struct tree_node *n, struct fmt *text)
{
    u32 device;

    fmt_dec(text, line_of(n->a, &device) ? irq_event_count(tree_bus, device, 0) : 0);
    show_line(text);
}

static void show_dev(const struct tree_node *n, struct fmt *text)
{
    fmt_printf(text, "%d:%u\n", UIO_MAJOR, n->a);
}

static void show_uevent(const struct tree_node *n, struct fmt *text)
{
    fmt_printf(text, "MAJOR=%d\nMINOR=%u\nDEVNAME=uio%u\n", UIO_MAJOR, n->a, n->a);
}

#define ATTRIBUTE(id, function) static const struct tree_class id = {.kind = TREE_FILE, .mode = 0444, .show = function}
ATTRIBUTE(map_name, show_map_name);
ATTRIBUTE(map_addr, show_map_addr);
ATTRIBUTE(map_size, show_map_size);
ATTRIBUTE(map_offset, show_map_offset);
ATTRIBUTE(port_name, show_port_name);
ATTRIBUTE(port_start, show_port_start);
ATTRIBUTE(port_size, show_port_size);
ATTRIBUTE(port_type, show_port_type);
ATTRIBUTE(uio_name, show_name);
ATTRIBUTE(uio_version, show_version);
ATTRIBUTE(uio_events, show_event);
ATTRIBUTE(uio_dev, show_dev);
ATTRIBUTE(uio_uevent, show_uevent);

/* --- directories --- */

static void numbered(struct tree_entry *e, const char *name, u32 n)
{
    struct fmt f = FMT_INIT(e->name);

    fmt_printf(&f, "%s%u", name, n);
    fmt_end(&f);
}

static const struct tree_fixed map_fixed[] = {
    {"addr", &map_addr}, {"name", &map_name}, {"offset", &map_offset}, {"size", &map_size}, {NULL, NULL},
};
static const struct tree_class map_dir = {.kind = TREE_DIR, .mode = 0755, .fixed = map_fixed};

static bool list_maps(const struct tree_node *dir, u32 index, struct tree_entry *e)
{
    struct region r;

    e->node = (struct tree_node){&map_dir, dir->a, index};
    numbered(e, "map", index);
    return memory_region(&e->node, &r);
}

static const struct tree_fixed port_fixed[] = {
    {"name", &port_name}, {"porttype", &port_type}, {"size", &port_size}, {"start", &port_start}, {NULL, NULL},
};
static const struct tree_class port_dir = {.kind = TREE_DIR, .mode = 0755, .fixed = port_fixed};

static bool list_ports(const struct tree_node *dir, u32 index, struct tree_entry *e)
{
    struct region r;

    e->node = (struct tree_node){&port_dir, dir->a, index};
    numbered(e, "port", index);
    return port_region(&e->node, &r);
}

static bool has_maps(const struct tree_node *dir)
{
    struct region r;

    return region_of(dir->a, false, 0, &r);
}

static bool has_ports(const struct tree_node *dir)
{
    struct region r;

    return region_of(dir->a, true, 0, &r);
}

static const struct tree_class maps_dir = {.kind = TREE_DIR, .mode = 0755, .list = list_maps, .there = has_maps};
static const struct tree_class ports_dir = {.kind = TREE_DIR, .mode = 0755, .list = list_ports, .there = has_ports};

/* The platform device: "10010000.timer", by its address and its name. */
static void platform_name(u32 uio, struct fmt *text)
{
    struct region r = {0};
    const char *name = fdt_get_name(tree_machine->desc->fdt, node_of(uio), NULL);

    if (!region_of(uio, false, 0, &r))
        region_of(uio, true, 0, &r);
    fmt_hexpad(text, r.base, r.base >> 32 ? 16 : 8);
    fmt_char(text, '.');
    for (; name && *name && *name != '@'; name++)
        fmt_char(text, *name);
}

static void show_device(const struct tree_node *n, struct fmt *text)
{
    fmt_str(text, "../../../");
    platform_name(n->a, text);
}

static void show_subsystem(const struct tree_node *n, struct fmt *text)
{
    (void)n;
    fmt_str(text, "../../../../../class/uio");
}

static void show_of_node(const struct tree_node *n, struct fmt *text)
{
    char path[512];

    if (fdt_get_path(tree_machine->desc->fdt, node_of(n->a), path, sizeof(path)) == 0)
        fmt_printf(text, "../../../firmware/devicetree/base%s", path);
}

static const struct tree_class device_link = {.kind = TREE_LINK, .show = show_device};
static const struct tree_class subsystem_link = {.kind = TREE_LINK, .show = show_subsystem};
static const struct tree_class of_node_link = {.kind = TREE_LINK, .show = show_of_node};

static const struct tree_fixed uio_fixed[] = {
    {"dev", &uio_dev},         {"device", &device_link}, {"event", &uio_events},     {"maps", &maps_dir},     {"name", &uio_name},
    {"portio", &ports_dir},    {"subsystem", &subsystem_link}, {"uevent", &uio_uevent}, {"version", &uio_version}, {NULL, NULL},
};
static const struct tree_class uio_dir = {.kind = TREE_DIR, .mode = 0755, .fixed = uio_fixed};

/* .../10010000.timer/uio has one entry, uioN. */
static bool list_only(const struct tree_node *dir, u32 index, struct tree_entry *e)
{
    e->node = (struct tree_node){&uio_dir, dir->a, 0};
    numbered(e, "uio", dir->a);
    return index == 0;
}

static const struct tree_class only_dir = {.kind = TREE_DIR, .mode = 0755, .list = list_only};

static void show_driver_override(const struct tree_node *n, struct fmt *text)
{
    (void)n;
    fmt_str(text, "(null)\n");
}
ATTRIBUTE(driver_override, show_driver_override);

static const struct tree_fixed platform_fixed[] = {
    {"driver_override", &driver_override}, {"of_node", &of_node_link}, {"uio", &only_dir}, {NULL, NULL},
};
static const struct tree_class platform_device = {.kind = TREE_DIR, .mode = 0755, .fixed = platform_fixed};

static bool list_platform(const struct tree_node *dir, u32 index, struct tree_entry *e)
{
    struct fmt f = FMT_INIT(e->name);

    (void)dir;
    if (node_of(index) < 0)
        return false;
    e->node = (struct tree_node){&platform_device, index, 0};
    platform_name(index, &f);
    fmt_end(&f);
    return true;
}

const struct tree_class uio_platform = {.kind = TREE_DIR, .mode = 0755, .merged = true, .list = list_platform};

static void show_class_link(const struct tree_node *n, struct fmt *text)
{
    fmt_str(text, "../../devices/platform/");
    platform_name(n->a, text);
    fmt_printf(text, "/uio/uio%u", n->a);
}

static const struct tree_class class_link = {.kind = TREE_LINK, .show = show_class_link};

static bool list_class(const struct tree_node *dir, u32 index, struct tree_entry *e)
{
    (void)dir;
    if (index >= uio_count())
        return pci_uio_list(index - uio_count(), false, e);
    e->node = (struct tree_node){&class_link, index, 0};
    numbered(e, "uio", index);
    return true;
}

const struct tree_class uio_class = {.kind = TREE_DIR, .mode = 0755, .list = list_class};

/* --- /dev/uioN --- */

/* The descriptor becomes readable at events: it is a listener of the line (bus/irq.h). */
static long open_events(const struct tree_node *n, int flags)
{
    u32 device;

    if (!line_of(n->a, &device))
        return tree_open_plain(n, flags);
    irq_event_set(tree_bus, device, 0, false, true, tree_self());
    return irq_event_open(tree_bus, device, 0, flags, tree_self());
}

bool uio_fd(int fd, char *path)
{
    struct fmt f = {.buf = path, .cap = TREE_PATH};
    u32 device, line, n;

    if (!irq_event_line(tree_bus, fd, &device, &line))
        return false;
    if (device >= machine_devices(tree_machine->desc) || !number_of(window_at(device)->node, &n))
        if (line != 0 || !pci_uio_number(device, &n))
            n = UINT32_MAX; /* its driver has left it: a name that nothing has */
    fmt_printf(&f, "/dev/uio%u", n);
    fmt_end(&f);
    return true;
}

static long read_event(const struct tree_node *n, int fd, u32 *count)
{
    u32 device;

    if (!line_of(n->a, &device))
        return -EIO;
    return irq_event_read(tree_bus, fd, count, tree_self());
}

static long control(const struct tree_node *n, u64 offset, const void *from, size_t length)
{
    u32 device;
    i32 on;

    (void)offset;
    if (!line_of(n->a, &device))
        return -EIO;
    if (length != sizeof(on))
        return -EINVAL;
    memcpy(&on, from, sizeof(on));
    irq_event_mask(tree_bus, device, 0, !on, tree_self());
    return sizeof(on);
}

static long map_region(const struct tree_node *n, u64 offset, u64 length, u64 *machine)
{
    struct tree_node map = {n->class, n->a, (u32)MIN(offset / PAGE_SIZE, (u64)MAPS)};
    struct region r;

    if (!memory_region(&map, &r) || page_up(length) > pages_of(&r).size)
        return -EINVAL;
    *machine = pages_of(&r).base;
    return 0;
}

static const struct tree_class uio_device = {
    .kind = TREE_DEVICE,
    .mode = 0600,
    .major = UIO_MAJOR,
    .descriptor = open_events,
    .event = read_event,
    .write = control,
    .map = map_region,
};

bool uio_list_dev(u32 index, struct tree_entry *e)
{
    if (index >= uio_count())
        return pci_uio_list(index - uio_count(), true, e);
    e->node = (struct tree_node){&uio_device, index, 0};
    numbered(e, "uio", index);
    return true;
}
