#include "config/pci.h"

#include <libfdt.h>

#include "base/mem.h"
#include "config/fdt.h"

#define ENTRY_CELLS(parent) (3 + (parent) + 2) /* ranges of a PCI bus: child address, parent address, size */

static int bad(const struct dt_node *node, const char *what, struct fmt *error)
{
    fmt_printf(error, "node %s: %s", node->name, what);
    return -1;
}

/* phys.hi is npt000ss bbbbbbbb dddddfff rrrrrrrr (2.2.1.1). */
static struct pci_range entry_of(const u8 *p, u32 parent_cells)
{
    u32 high = (u32)dt_cells(p, 1);
    struct range bus = {dt_cells(p + 4, 2), dt_cells(p + 12 + 4 * parent_cells, 2)};

    return (struct pci_range){.space = high >> 24 & 3, .prefetchable = high >> 30 & 1, .bus = bus,
                              .machine = dt_cells(p + 12, parent_cells)};
}

static bool usable(const struct pci_range *r)
{
    return r->space != PCI_SPACE_CONFIG && r->bus.size && range_valid(r->bus) &&
           range_valid((struct range){r->machine, r->bus.size}) &&
           (r->space == PCI_SPACE_MEM64 || range_contains((struct range){0, (u64)1 << 32}, r->bus.base, r->bus.size));
}

static int read_ranges(struct machine_pci *pci, const struct dt_node *node, const struct dt_bus *parent, struct fmt *error)
{
    const struct dt_prop *ranges = &node->prop[DT_RANGES];
    u32 entry = 4 * ENTRY_CELLS(parent->address_cells);

    if (ranges->len % entry) {
        fmt_printf(error, "node %s: ranges has %u bytes; allowed: multiples of %u", node->name, ranges->len, entry);
        return -1;
    }
    pci->nranges = 0;
    for (u32 i = 0; i < ranges->len / entry; i++) {
        struct pci_range r = entry_of(ranges->data + i * entry, parent->address_cells);

        if (pci->nranges == PCI_RANGES)
            return bad(node, "too many ranges; allowed: 8", error);
        if (!usable(&r))
            return bad(node, "an entry of ranges wraps, is empty, or lies in no space of addresses", error);
        pci->ranges[pci->nranges++] = r;
    }
    return 0;
}

static int read_buses(struct machine_pci *pci, const struct dt_node *node, const void *fdt, struct fmt *error)
{
    int len = 0;
    const u8 *p = fdt_getprop(fdt, node->offset, "bus-range", &len);
    u64 first = p && len == 8 ? dt_cells(p, 1) : 0, last = p && len == 8 ? dt_cells(p + 4, 1) : 255;

    if ((p && len != 8) || last > 255 || first > last)
        return bad(node, "bad bus-range; allowed: two numbers of 0-255, ascending", error);
    pci->first_bus = (u8)first;
    pci->last_bus = (u8)last;
    return 0;
}

static bool three_and_two(const void *fdt, int node)
{
    int a = 0, s = 0;
    const u8 *address = fdt_getprop(fdt, node, "#address-cells", &a), *size = fdt_getprop(fdt, node, "#size-cells", &s);

    return address && size && a == 4 && s == 4 && dt_cells(address, 1) == 3 && dt_cells(size, 1) == 2;
}

int pci_read_host(struct machine_pci *pci, const struct dt_node *node, const struct dt_bus *parent, const void *fdt,
                  struct fmt *error)
{
    if (!three_and_two(fdt, node->offset))
        return bad(node, "a PCI host has #address-cells 3 and #size-cells 2", error);
    if (read_ranges(pci, node, parent, error) < 0 || read_buses(pci, node, fdt, error) < 0)
        return -1;
    pci->present = true;
    pci->node = node->offset;
    return 0;
}
