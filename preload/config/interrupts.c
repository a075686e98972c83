#include "config/interrupts.h"

#include <libfdt.h>

#include "base/mem.h"
#include "config/fdt.h"

#define MOST_SEARCHES 4096 /* for controllers, of one node: real ones have one, or one for each hart */

enum { NO_NUMBER = 0xffffffff }; /* what QEMU and SiFive write for a context that is not wired */

static int controller_of(const struct machine_desc *desc, u32 phandle)
{
    static u64 last_hash;
    static u32 last;
    static int node;

    /* Most devices have the same one, and each search goes through the whole tree. */
    if (last_hash != desc->hash || last != phandle) {
        node = fdt_node_offset_by_phandle(desc->fdt, phandle);
        last = phandle;
        last_hash = desc->hash;
    }
    return node >= 0 ? node : -1;
}

static bool cells_of(const struct machine_desc *desc, int controller, u32 *cells)
{
    struct mmioshim_node node = {desc, controller};

    return controller >= 0 && node_property_u32(&node, "#interrupt-cells", cells) && *cells >= 1 && *cells <= 4;
}

/* The first node above that is a controller, or says which one it is. */
static int parent_above(const struct machine_desc *desc, int node)
{
    u32 cells;

    for (int depth = 0; node >= 0 && depth < DT_DEPTH; depth++) {
        struct mmioshim_node n = {desc, node};
        u32 phandle;

        if (node_property(&n, "#interrupt-cells", &cells))
            return node;
        if (node_property_u32(&n, "interrupt-parent", &phandle))
            return controller_of(desc, phandle);
        node = fdt_parent_offset(desc->fdt, node);
    }
    return -1;
}

static int parent_of(const struct machine_desc *desc, int node)
{
    static u64 last_hash;
    static int last_bus, last;
    struct mmioshim_node n = {desc, node};
    u32 phandle;
    int bus;

    if (node_property_u32(&n, "interrupt-parent", &phandle))
        return controller_of(desc, phandle);
    bus = fdt_parent_offset(desc->fdt, node);
    if (last_hash != desc->hash || last_bus != bus) { /* most devices are on one bus */
        last = parent_above(desc, bus);
        last_bus = bus;
        last_hash = desc->hash;
    }
    return last;
}

static struct machine_interrupt specifier(int controller, const u8 *data, u32 cells)
{
    u32 number = (u32)dt_cells(data + (cells == 3 ? 4 : 0), 1);

    return (struct machine_interrupt){number == NO_NUMBER ? -1 : controller, number};
}

static u32 extended(const struct machine_desc *desc, const u8 *data, u32 length, struct machine_interrupt *out, u32 most)
{
    u32 n = 0, searches = 0, before = 0;

    while (length >= 4 && searches < MOST_SEARCHES) {
        u32 phandle = (u32)dt_cells(data, 1), cells = 0;
        int controller = controller_of(desc, phandle);

        searches += phandle != before;
        before = phandle;
        if (phandle && (!cells_of(desc, controller, &cells) || length < 4 + 4 * cells))
            return n;
        if (n < most)
            out[n] = phandle ? specifier(controller, data + 4, cells) : (struct machine_interrupt){-1, 0};
        n++;
        data += 4 + 4 * cells;
        length -= 4 + 4 * cells;
    }
    return n;
}

u32 machine_interrupts(const struct machine_desc *desc, int node, struct machine_interrupt *out, u32 most)
{
    struct mmioshim_node n = {desc, node};
    u32 length = 0, cells = 1;
    const u8 *data = node_property(&n, "interrupts-extended", &length);
    int parent;

    if (data)
        return extended(desc, data, length, out, most);
    data = node_property(&n, "interrupts", &length);
    if (!data)
        return 0;
    parent = parent_of(desc, node);
    if (!cells_of(desc, parent, &cells)) { /* nobody answers; the numbers are for the log */
        parent = -1;
        cells = 1;
    }
    for (u32 i = 0; i < length / (4 * cells) && i < most; i++)
        out[i] = specifier(parent, data + 4 * cells * i, cells);
    return length / (4 * cells);
}

/* --- pins of PCI functions --- */

#define MAP_CELLS 4 /* of a PCI function's interrupt: address of three cells, and its pin */

/* "Interrupt pin swizzling": a bridge turns what comes from below by the number of the device, 9.1. */
static u32 swizzle(const struct machine_pci *pci, const struct pci_function *f, u8 *slot)
{
    u32 pin = f->pin;

    for (; f->parent >= 0; f = &pci->functions[f->parent])
        pin = (pin - 1 + pci_slot(f->devfn)) % 4 + 1;
    *slot = f->devfn;
    return pin;
}

/* One entry of the map: child address and pin, controller, its address, its specifier. *length: bytes. False: damaged. */
static bool map_entry(const struct machine_desc *desc, const u8 *p, u32 left, u32 *length, struct machine_interrupt *out)
{
    struct mmioshim_node node = {.desc = desc};
    u32 address = 0, cells;

    if (left < 4 * (MAP_CELLS + 1))
        return false;
    node.node = controller_of(desc, (u32)dt_cells(p + 4 * MAP_CELLS, 1));
    if (!cells_of(desc, node.node, &cells))
        return false;
    node_property_u32(&node, "#address-cells", &address); /* absent: none, as Linux has it */
    if (address > 4 || left < 4 * (MAP_CELLS + 1 + address + cells))
        return false;
    *length = 4 * (MAP_CELLS + 1 + address + cells);
    *out = specifier(node.node, p + 4 * (MAP_CELLS + 1 + address), cells);
    return true;
}

static bool entry_is(const u8 *p, const u8 *mask, u32 high, u32 pin)
{
    u32 wanted[MAP_CELLS] = {high, 0, 0, pin};

    for (unsigned i = 0; i < MAP_CELLS; i++) {
        u32 bits = mask ? (u32)dt_cells(mask + 4 * i, 1) : UINT32_MAX;

        if (((u32)dt_cells(p + 4 * i, 1) & bits) != (wanted[i] & bits))
            return false;
    }
    return true;
}

bool machine_pci_interrupt(const struct machine_desc *desc, u32 function, struct machine_interrupt *out)
{
    const struct pci_function *f = &desc->pci.functions[function];
    struct mmioshim_node host = {desc, desc->pci.node};
    u32 length = 0, bytes = 0, entry;
    const u8 *map = node_property(&host, "interrupt-map", &length);
    const u8 *mask = node_property(&host, "interrupt-map-mask", &bytes);
    u8 slot;
    u32 pin = swizzle(&desc->pci, f, &slot);

    if (!f->pin || !map || (mask && bytes != 4 * MAP_CELLS))
        return false;
    for (; map_entry(desc, map, length, &entry, out); map += entry, length -= entry)
        if (entry_is(map, mask, (u32)slot << 8, pin))
            return out->controller >= 0;
    return false;
}

bool machine_is_hart(const struct machine_desc *desc, int node, int *cpu)
{
    struct mmioshim_node n = {desc, node};
    u32 length = 0;
    const char *type;

    *cpu = node < 0 ? -1 : fdt_parent_offset(desc->fdt, node);
    if (*cpu < 0 || !node_property(&n, "interrupt-controller", NULL))
        return false;
    n.node = *cpu;
    type = node_property(&n, "device_type", &length);
    return type && length == sizeof("cpu") && memcmp(type, "cpu", sizeof("cpu")) == 0;
}
