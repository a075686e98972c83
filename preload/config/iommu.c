#include "config/iommu.h"

#include <libfdt.h>

#include "config/fdt.h"

int machine_iommu(const struct machine_desc *desc, const struct machine_window *window, struct machine_iommu *iommu,
                  struct fmt *error)
{
    struct mmioshim_node device = {desc, window->node}, node = {desc, -1};
    u32 length = 0;
    const u8 *p = node_property(&device, "iommus", &length);

    *iommu = (struct machine_iommu){.node = -1};
    if (!p || !length)
        return 0;
    if (length >= 4)
        node.node = fdt_node_offset_by_phandle(desc->fdt, (u32)dt_cells(p, 1));
    if (node.node < 0 || !node_property_u32(&node, "#iommu-cells", &iommu->cells) || iommu->cells > length / 4 - 1) {
        fmt_printf(error, "%s: iommus names no IOMMU; allowed: a phandle of a node with #iommu-cells, and so many cells",
                   window->name);
        return -1;
    }
    iommu->node = node.node;
    iommu->more = length > 4 + 4 * iommu->cells;
    iommu->id = iommu->cells ? (u32)dt_cells(p + 4, 1) : 0;
    return 0;
}
