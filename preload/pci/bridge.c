/* A bridge to another bus: on the root bus a PCI Express root port, below one a conventional bridge. */
#include "pci/models.h"

/* The ids of QEMU's bridges, which the pci.ids of every system knows. */
#define VENDOR 0x1b36
#define PORT   0x000c
#define BRIDGE 0x0001

static const struct mmioshim_property options[] = {
    {"bus", "number of the bus below; default: the next one that is free"},
    {"vendor, device, revision", "its ids"},
    {NULL, NULL},
};

static int bridge_setup(struct pci_function *f, const char *text, const char **why)
{
    (void)text;
    (void)why;
    f->express = f->parent < 0;
    f->id = f->express ? PORT : BRIDGE;
    return 0;
}

const struct pci_model pci_bridge = {
    .name = "bridge",
    .description = "a bridge to another bus: a root port on bus 0, a PCI-to-PCI bridge elsewhere",
    .options = options,
    .vendor = VENDOR,
    .device = PORT,
    .class = 0x060400,
    .bridge = true,
    .setup = bridge_setup,
};
