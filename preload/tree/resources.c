/*
 * /proc/iomem and /proc/ioports: the machine's map in the words of Linux. Addresses are shown to everybody: who runs under
 * us is root of the machine. Sources: Linux, kernel/resource.c, r_show; drivers/of/platform.c, of_device_make_bus_id;
 * drivers/pci/setup-res.c, drivers/pci/probe.c.
 */
#include "base/mem.h"
#include "config/pools.h"
#include "pci/pci.h"
#include "tree/own.h"
#include "tree/parts.h"

static const struct machine_desc *desc(void)
{
    return tree_machine->desc;
}

static void range_line(struct fmt *text, unsigned depth, unsigned digits, struct range r)
{
    for (unsigned i = 0; i < depth; i++)
        fmt_str(text, "  ");
    fmt_hexpad(text, r.base, r.base >> 32 ? 16 - (unsigned)__builtin_clzll(r.base) / 4 : digits);
    fmt_char(text, '-');
    fmt_hexpad(text, range_last(r), range_last(r) >> 32 ? 16 - (unsigned)__builtin_clzll(range_last(r)) / 4 : digits);
    fmt_str(text, " : ");
}

/* "uart@10000000": the node's name, without what windows of one node are told apart by. */
size_t resources_node_name(const struct machine_window *w)
{
    const char *end = strchr(w->name, ':');

    return end ? (size_t)(end - w->name) : strlen(w->name);
}

/* The address that Linux names a device by: of its first range. */
static u64 first_address(const struct machine_window *w)
{
    for (u32 i = 0; i < desc()->nwindows; i++)
        if (desc()->windows[i].node == w->node && !desc()->windows[i].entry)
            return desc()->windows[i].range.base - desc()->windows[i].offset;
    return w->range.base - w->offset;
}

/* "10000000.uart uart@10000000": device and resource, as a driver has them that asked for the range. */
static void device_name(struct fmt *text, const struct machine_window *w)
{
    size_t n = resources_node_name(w), plain = 0;

    while (plain < n && w->name[plain] != '@')
        plain++;
    if (plain < n) {
        fmt_hexpad(text, first_address(w), MAX(1u, 16 - (unsigned)__builtin_clzll(first_address(w) | 1) / 4));
        fmt_char(text, '.');
        fmt_mem(text, w->name, plain);
        fmt_char(text, ' ');
    }
    fmt_mem(text, w->name, n);
    fmt_char(text, '\n');
}

static void reserved_lines(struct fmt *text, const struct machine_pools *pools, struct range ram)
{
    struct range next, r;
    u64 from = ram.base;

    do { /* ascending, whatever the order in the tree */
        next.size = 0;
        for (u32 i = 0; pools && i < pools->nregions; i++) {
            r = range_clip(pools->regions[i].range, ram);
            if (!pools->regions[i].pool && r.size && r.base >= from && (!next.size || r.base < next.base))
                next = r;
        }
        if (!next.size)
            return;
        range_line(text, 1, 8, next);
        fmt_str(text, "Reserved\n");
        from = range_last(next) + 1;
    } while (range_has(ram, from));
}

/* --- PCI --- */

#define DEPTH 8 /* bridges below each other */

/* What a function, or a bridge for those below it, has of an address space. */
struct piece {
    struct range range;
    u32 function;
    bool bridge;
};

static bool as_piece(const struct pci_resource *r, u32 function, bool bridge, bool ports, struct range within, struct piece *out)
{
    bool io = r->flags & PCI_RESOURCE_IO;

    *out = (struct piece){{r->machine, r->size}, function, bridge};
    return r->size && r->machine != PCI_NOWHERE && io == ports && range_contains(within, r->machine, r->size);
}

/* The lowest piece of the functions below `parent` that begins at or behind an address. False: there is none. */
static bool next_piece(int parent, bool ports, struct range within, u64 from, struct piece *best)
{
    struct pci_info info;
    struct piece p;
    bool found = false;

    for (u32 f = 0; f < pci_functions(); f++) {
        pci_info(f, &info);
        for (unsigned i = 0; info.there && info.parent == parent && i < 10; i++) {
            struct pci_resource r = {0};

            if (i < 7)
                pci_resource(f, i, &r);
            else if (info.bridge)
                pci_forwards(f, i - 7, &r);
            if (as_piece(&r, f, i >= 7, ports, within, &p) && p.range.base >= from && (!found || p.range.base < best->range.base)) {
                *best = p;
                found = true;
            }
        }
    }
    return found;
}

/* The bus behind a bridge: register 0x19 of its configuration space (PCI-to-PCI Bridge Architecture 1.2, 3.2.5.4). */
static u8 bus_behind(u32 bridge)
{
    u8 number = 0;

    pci_config_read(bridge, 0x19, &number, 1, tree_self());
    return number;
}

static void pci_lines(struct fmt *text, int parent, bool ports, struct range within, unsigned depth)
{
    struct pci_info info;
    struct piece p;

    for (u64 from = within.base; next_piece(parent, ports, within, from, &p); from = range_last(p.range) + 1) {
        range_line(text, depth, ports ? 4 : 8, p.range);
        pci_info(p.function, &info);
        fmt_str(text, p.bridge ? "PCI Bus 0000:" : "0000:");
        fmt_hexpad(text, p.bridge ? bus_behind(p.function) : info.bus, 2);
        if (!p.bridge) {
            fmt_char(text, ':');
            fmt_hexpad(text, info.devfn >> 3, 2);
            fmt_printf(text, ".%u", info.devfn & 7u);
        }
        fmt_char(text, '\n');
        if (p.bridge && depth < DEPTH)
            pci_lines(text, (int)p.function, ports, p.range, depth + 1);
        if (range_last(p.range) == UINT64_MAX)
            return;
    }
}

/* A range of a host bridge, as its driver names it. False: it is another device's. */
static bool host_line(struct fmt *text, const struct machine_window *w, bool ports)
{
    struct pci_info info;

    if (!pci_functions() || !machine_compatible(desc(), w, "pci-host-ecam-generic"))
        return false;
    pci_info(0, &info);
    if (ports && w->range.base == 0xcf8)
        fmt_str(text, "PCI conf1");
    else if (!ports && range_has(w->range, info.config))
        fmt_str(text, "PCI ECAM");
    else
        fmt_mem(text, w->name, resources_node_name(w));
    fmt_char(text, '\n');
    if (!ports)
        pci_lines(text, -1, false, w->range, 1);
    return true;
}

/* --- the files --- */

static void show_iomem(const struct tree_node *node, struct fmt *text)
{
    char why[128];
    struct fmt error = FMT_INIT(why);
    const struct machine_pools *pools = machine_pools(desc(), &error);

    (void)node;
    for (u32 i = 0; i < tree_view->count; i++) {
        const struct view_span *s = &tree_view->spans[i];

        range_line(text, 0, 8, s->range);
        if (s->kind == VIEW_RAM) {
            fmt_str(text, "System RAM\n");
            reserved_lines(text, pools, s->range);
        } else if (!host_line(text, &desc()->windows[s->index], false)) {
            device_name(text, &desc()->windows[s->index]);
        }
    }
}

static void show_ioports(const struct tree_node *node, struct fmt *text)
{
    (void)node;
    for (u32 i = 0; i < tree_ports->count; i++) {
        const struct machine_window *w = &desc()->windows[tree_ports->spans[i].index];

        range_line(text, 0, 4, tree_ports->spans[i].range);
        if (host_line(text, w, true))
            continue;
        fmt_mem(text, w->name, resources_node_name(w));
        fmt_char(text, '\n');
    }
    pci_lines(text, -1, true, (struct range){0, MACHINE_PORTS}, 0);
}

static u64 no_size(const struct tree_node *node)
{
    (void)node;
    return 0;
}

const struct tree_class resources_iomem = {.kind = TREE_FILE, .mode = 0400, .show = show_iomem, .size = no_size};
const struct tree_class resources_ioports = {.kind = TREE_FILE, .mode = 0400, .show = show_ioports, .size = no_size};
