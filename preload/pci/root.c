/*
 * The host bridge as a function on its own bus, at 00.0, where systems and tools look for it; it does nothing. The ids are
 * those of QEMU's, which the pci.ids of every system knows.
 */
#include "pci/models.h"

const struct pci_model pci_root = {
    .name = "host",
    .description = "the host bridge itself: 00:00.0, unless something else is there",
    .vendor = 0x1b36,
    .device = 0x0008,
    .class = 0x060000,
    .bare = true,
};
