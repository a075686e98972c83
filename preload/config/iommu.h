/*
 * The IOMMU in front of a device: the property iommus of its node (Linux
 * binding iommu/iommu.txt: a list of phandles, each with as many cells as the
 * node there says in #iommu-cells), or for a PCI function without one iommu-map
 * of its host (binding pci/pci-iommu.txt: requester id of the first function,
 * phandle, id of the first endpoint, how many). Ordinary context.
 */
#ifndef MMIOSHIM_CONFIG_IOMMU_H
#define MMIOSHIM_CONFIG_IOMMU_H

#include "config/machine.h"

struct machine_iommu {
    int node;      /* of the IOMMU, in the description; -1: there is none */
    bool more;     /* there are more entries than one */
    u32 cells;     /* of #iommu-cells */
    u32 id;        /* the first of the cells: which endpoint the device is */
};

/* 0, or -1 with one line: a property that makes no sense. */
int machine_iommu(const struct machine_desc *desc, const struct machine_window *window, struct machine_iommu *iommu,
                  struct fmt *error);

#endif
