/*
 * From the nodes below a PCI host to its functions, and to the devices that
 * they are made of. Ordinary context, no malloc, no stdio.
 */
#ifndef MMIOSHIM_PCI_DESCRIBE_H
#define MMIOSHIM_PCI_DESCRIBE_H

#include "config/machine.h"

/* Fills desc->pci.functions, and the windows that move. 0, or -1 with one line. */
int pci_describe(struct machine_desc *desc, struct fmt *error);
/* "05:00.0" */
void pci_address(struct fmt *out, u8 bus, u8 devfn);

#endif
