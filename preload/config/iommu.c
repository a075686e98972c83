#include "config/iommu.h"

#include <libfdt.h>

#include "config/fdt.h"

/* The node of a phandle, and its #iommu-cells. False: it is no IOMMU. */
static bool find_node(const struct machine_desc *desc, const u8 *phandle, struct machine_iommu *iommu)
{
    struct mmioshim_node node = {desc, fdt_node_offset_by_phandle(desc->fdt, (u32)dt_cells(phandle, 1))};

    if (node.node < 0 || !node_property_u32(&node, "#iommu-cells", &iommu->cells))
        return false;
    iommu->node = node.node;
    return true;
}

/* An entry of iommu-map. */
enum { MAP_RID, MAP_PHANDLE, MAP_ID, MAP_LENGTH, MAP_CELLS };

static int refuse_map(const struct machine_window *window, struct fmt *error)
{
    fmt_printf(error, "%s: iommu-map of its host makes no sense; allowed: entries of 4 cells, with the phandle of a node of 1 "
               "#iommu-cells", window->name);
    return -1;
}

/* "Any RID r in the interval [rid-base, rid-base + length) is associated with the listed IOMMU, with ... (r - rid-base + iommu-base)". */
static int through_map(const struct machine_desc *desc, const struct machine_window *window, struct machine_iommu *iommu,
                       struct fmt *error)
{
    const struct pci_function *f = &desc->pci.functions[window->function - 1];
    struct mmioshim_node host = {desc, desc->pci.node};
    u32 length = 0, mask = UINT32_MAX, rid;
    const u8 *p = node_property(&host, "iommu-map", &length);

    if (p && length % (4 * MAP_CELLS))
        return refuse_map(window, error);
    node_property_u32(&host, "iommu-map-mask", &mask);
    rid = ((u32)f->bus << 8 | f->devfn) & mask;
    for (; p && length; p += 4 * MAP_CELLS, length -= 4 * MAP_CELLS) {
        u32 at = rid - (u32)dt_cells(p + 4 * MAP_RID, 1);

        if (at >= (u32)dt_cells(p + 4 * MAP_LENGTH, 1))
            continue;
        iommu->id = (u32)dt_cells(p + 4 * MAP_ID, 1) + at;
        return find_node(desc, p + 4 * MAP_PHANDLE, iommu) && iommu->cells == 1 ? 0 : refuse_map(window, error);
    }
    return 0;
}

int machine_iommu(const struct machine_desc *desc, const struct machine_window *window, struct machine_iommu *iommu,
                  struct fmt *error)
{
    struct mmioshim_node device = {desc, window->node};
    u32 length = 0;
    const u8 *p = node_property(&device, "iommus", &length);

    *iommu = (struct machine_iommu){.node = -1};
    if (window->function && (!p || window->node == desc->pci.node))
        return through_map(desc, window, iommu, error);
    if (!p || !length)
        return 0;
    if (length < 4 || !find_node(desc, p, iommu) || iommu->cells > length / 4 - 1) {
        fmt_printf(error, "%s: iommus names no IOMMU; allowed: a phandle of a node with #iommu-cells, and so many cells",
                   window->name);
        return -1;
    }
    iommu->more = length > 4 + 4 * iommu->cells;
    iommu->id = iommu->cells ? (u32)dt_cells(p + 4, 1) : 0;
    return 0;
}
