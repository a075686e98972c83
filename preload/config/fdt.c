#include "config/fdt.h"

#include <libfdt.h>

#include "base/mem.h"
#include "config/machine.h"

#define MAX_PROPERTY_NAME 255 /* the specification says 31; vendors' trees have longer ones */
#define MAX_CELLS         4

static const char *const prop_names[DT_PROPS] = {
    [DT_REG] = "reg",
    [DT_RANGES] = "ranges",
    [DT_ADDRESS_CELLS] = "#address-cells",
    [DT_SIZE_CELLS] = "#size-cells",
    [DT_STATUS] = "status",
    [DT_DEVICE_TYPE] = "device_type",
    [DT_COMPATIBLE] = "compatible",
};

static int bad_blob(struct fmt *error, const char *what)
{
    fmt_printf(error, "not a usable device tree blob: %s", what);
    return -1;
}

/*
 * libfdt looks for the end of a property's name at each use. A bound on the
 * length of names keeps that linear for blobs that are made to be slow.
 */
static int check_strings(const void *blob, size_t size, struct fmt *error)
{
    struct range strings = {fdt_off_dt_strings(blob), fdt_size_dt_strings(blob)};
    const u8 *p = blob;
    size_t run = 0;

    if (!range_contains((struct range){0, size}, strings.base, strings.size))
        return strings.size ? bad_blob(error, "the strings lie outside") : 0;
    for (u64 i = 0; i < strings.size; i++) {
        run = p[strings.base + i] ? run + 1 : 0;
        if (run > MAX_PROPERTY_NAME)
            return bad_blob(error, "a property's name is longer than 255 bytes");
    }
    return 0;
}

int dt_check(const void *blob, size_t size, struct fmt *error)
{
    int result;

    if (size < sizeof(struct fdt_header))
        return bad_blob(error, "shorter than a header");
    if ((uintptr_t)blob % 8)
        return bad_blob(error, "not on an 8-byte boundary");
    if (fdt_magic(blob) != FDT_MAGIC)
        return bad_blob(error, "no FDT magic (0xd00dfeed)");
    if (fdt_version(blob) < 17) {
        fmt_printf(error, "not a usable device tree blob: version %u; allowed: 17 and later", fdt_version(blob));
        return -1;
    }
    if (fdt_totalsize(blob) > size)
        return bad_blob(error, "truncated");
    if (fdt_totalsize(blob) > MACHINE_MAX_FDT)
        return bad_blob(error, "larger than 2 MiB");
    size = fdt_totalsize(blob);
    if (check_strings(blob, size, error) < 0)
        return -1;
    result = fdt_check_full(blob, size);
    return result ? bad_blob(error, fdt_strerror(result)) : 0;
}

/* Names go into the transcript, so a line break in one could forge an event. */
static int check_name(const char *name, struct fmt *error)
{
    size_t n = 0;

    for (; name[n]; n++)
        if ((u8)name[n] <= ' ' || (u8)name[n] >= 0x7f)
            return bad_blob(error, "a node's name has a character that does not print");
    if (n >= MACHINE_NAME) {
        fmt_str(error, "node ");
        fmt_mem(error, name, MACHINE_NAME - 1);
        fmt_printf(error, "...: name too long; allowed: %d characters", MACHINE_NAME - 1);
        return -1;
    }
    return 0;
}

int dt_read_node(struct dt_node *node, const void *fdt, int offset, struct fmt *error)
{
    int property;

    memset(node, 0, sizeof(*node));
    node->offset = offset;
    node->name = fdt_get_name(fdt, offset, NULL);
    /* only the root's may be empty (5.4.1) */
    if (!node->name || (offset > 0 && !*node->name))
        return bad_blob(error, "a node without a name");
    if (check_name(node->name, error) < 0)
        return -1;
    fdt_for_each_property_offset(property, fdt, offset) {
        const char *name;
        int len = 0;
        const u8 *data = fdt_getprop_by_offset(fdt, property, &name, &len);

        if (!data || len < 0)
            return bad_blob(error, "a damaged property");
        for (unsigned i = 0; i < DT_PROPS; i++)
            if (!node->prop[i].data && strcmp(name, prop_names[i]) == 0)
                node->prop[i] = (struct dt_prop){data, (u32)len};
    }
    return 0;
}

const char *dt_string(const struct dt_prop *prop)
{
    for (u32 i = 0; i < prop->len; i++)
        if (!prop->data[i])
            return (const char *)prop->data;
    return NULL;
}

bool dt_compatible(const struct dt_node *node, const char *string)
{
    const struct dt_prop *list = &node->prop[DT_COMPATIBLE];

    return list->data && fdt_stringlist_contains((const char *)list->data, (int)list->len, string);
}

static int read_cell_count(u32 *count, u32 absent, const struct dt_node *node, enum dt_prop_id id, struct fmt *error)
{
    const struct dt_prop *prop = &node->prop[id];

    *count = absent;
    if (!prop->data)
        return 0;
    *count = prop->len == 4 ? (u32)dt_cells(prop->data, 1) : UINT32_MAX;
    if (*count <= MAX_CELLS)
        return 0;
    fmt_printf(error, "node %s: bad %s; allowed: 0-%d", *node->name ? node->name : "/", prop_names[id], MAX_CELLS);
    return -1;
}

bool dt_bus_has_memory(const struct dt_bus *bus)
{
    return bus->address_cells >= 1 && bus->address_cells <= 2 && bus->size_cells >= 1 && bus->size_cells <= 2;
}

static int read_ranges(struct dt_bus *bus, const struct dt_node *node, const struct dt_bus *parent, struct fmt *error)
{
    const struct dt_prop *ranges = &node->prop[DT_RANGES];
    u32 entry;

    if (!ranges->data || ranges->len == 0)
        return 0;
    if (!dt_bus_has_memory(bus)) {
        bus->opaque = true;
        return 0;
    }
    entry = 4 * (bus->address_cells + parent->address_cells + bus->size_cells);
    if (ranges->len % entry) {
        fmt_printf(error, "node %s: ranges has %u bytes; allowed: multiples of %u", node->name, ranges->len, entry);
        return -1;
    }
    bus->ranges = ranges->data;
    bus->nranges = ranges->len / entry;
    return 0;
}

/*
 * Specification 2.3.5: #address-cells and #size-cells are not inherited, their
 * defaults are 2 and 1. 2.3.8: without ranges no address passes the node; with
 * an empty one all do. Buses of three address cells (PCI) assign addresses by
 * software, so what their children's reg holds is no memory.
 */
int dt_read_bus(struct dt_bus *bus, const struct dt_node *node, const struct dt_bus *parent, struct fmt *error)
{
    memset(bus, 0, sizeof(*bus));
    if (parent && parent->hidden) {
        bus->hidden = true;
        return 0;
    }
    if (read_cell_count(&bus->address_cells, 2, node, DT_ADDRESS_CELLS, error) < 0 ||
        read_cell_count(&bus->size_cells, 1, node, DT_SIZE_CELLS, error) < 0)
        return -1;
    bus->opaque = bus->address_cells < 1 || bus->address_cells > 2;
    if (!parent)
        return 0;
    bus->ports = parent->ports;
    bus->isa = bus->address_cells == 2 && dt_compatible(node, "isa");
    bus->opaque |= parent->opaque || !node->prop[DT_RANGES].data;
    return bus->opaque ? 0 : read_ranges(bus, node, parent, error);
}

int dt_read_ports(struct dt_bus *bus, const struct dt_node *node, const struct dt_bus *parent, struct fmt *error)
{
    const char *what = NULL;

    if (dt_read_bus(bus, node, parent, error) < 0)
        return -1;
    if (node->prop[DT_RANGES].data || node->prop[DT_REG].data)
        what = "an I/O port space is no part of memory and has neither reg nor ranges";
    else if (!dt_bus_has_memory(bus))
        what = "bad #address-cells or #size-cells of an I/O port space; allowed: 1-2";
    bus->ports = true;
    bus->opaque = false;
    if (!what)
        return 0;
    fmt_printf(error, "node %s: %s", node->name, what);
    return -1;
}

u64 dt_cells(const u8 *data, u32 cells)
{
    u64 value = 0;

    for (u32 i = 0; i < 4 * cells; i++)
        value = value << 8 | data[i];
    return value;
}

/* One step, from `bus` to `parent`. */
static enum dt_translation translate_step(const struct dt_bus *bus, const struct dt_bus *parent, u64 *address,
                                          u32 *budget)
{
    u32 child = 4 * bus->address_cells, up = 4 * parent->address_cells;
    const u8 *entry = bus->ranges;

    if (bus->nranges == 0)
        return DT_TRANSLATED;
    for (u32 i = 0; i < bus->nranges; i++, entry += child + up + 4 * bus->size_cells) {
        struct range from = {dt_cells(entry, bus->address_cells), dt_cells(entry + child + up, bus->size_cells)};
        u64 to = dt_cells(entry + child, parent->address_cells);

        if ((*budget)-- == 0)
            return DT_TOO_MUCH_WORK;
        if (!range_has(from, *address))
            continue;
        /* an entry that wraps leads nowhere */
        if (*address - from.base > UINT64_MAX - to)
            return DT_UNREACHABLE;
        *address = to + (*address - from.base);
        return DT_TRANSLATED;
    }
    return DT_UNREACHABLE;
}

enum dt_translation dt_translate(const struct dt_bus *buses, unsigned depth, u64 *address, u32 *budget)
{
    if (buses[depth].opaque)
        return DT_UNREACHABLE;
    for (; depth > 0; depth--) {
        enum dt_translation step = translate_step(&buses[depth], &buses[depth - 1], address, budget);

        if (step != DT_TRANSLATED)
            return step;
    }
    return DT_TRANSLATED;
}
