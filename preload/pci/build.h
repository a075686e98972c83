/* Filling a configuration space: what models put there beside what every function has. Ordinary context. */
#ifndef MMIOSHIM_PCI_BUILD_H
#define MMIOSHIM_PCI_BUILD_H

#include "pci/own.h"

struct pci_space_writer {
    struct pci_state *state;
    u16 next; /* free place for a capability */
    u16 link; /* where its offset is to be written */
};

/* A value of 1, 2 or 4 bytes, the bits of it that can be written, and those that writing 1 clears. */
void pci_put(struct pci_space_writer *w, unsigned offset, unsigned width, u32 value, u32 mask, u32 clear);
/* A capability of so many bytes, zeroed; its offset, or 0: there is no room. */
u16 pci_add_capability(struct pci_space_writer *w, u8 id, unsigned length);

#endif
