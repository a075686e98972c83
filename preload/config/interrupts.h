/*
 * Which interrupts a node generates, and where they go. Source: Devicetree
 * Specification 0.4, section 2.4. Ordinary context, no malloc, no stdio.
 */
#ifndef MMIOSHIM_CONFIG_INTERRUPTS_H
#define MMIOSHIM_CONFIG_INTERRUPTS_H

#include "config/machine.h"

struct machine_interrupt {
    int controller; /* its node, -1: the entry goes nowhere */
    u32 number;     /* first cell of the specifier; of three (kind, number, flags) the second */
};

/*
 * Fills up to `most` of the entries of interrupts-extended or, without that, of interrupts. Returns how many there
 * are; 0 also where the properties make no sense.
 */
u32 machine_interrupts(const struct machine_desc *desc, int node, struct machine_interrupt *out, u32 most);
/*
 * Where the pin of a PCI function leads by way of bridges and of the host's interrupt-map; false: nowhere. Source:
 * Devicetree Specification 0.4, 2.4.3; PCI-to-PCI Bridge Architecture 1.2, 9.1.
 */
bool machine_pci_interrupt(const struct machine_desc *desc, u32 function, struct machine_interrupt *out);
/* Is the node a hart's own controller: inside a node of a CPU? *cpu gets that. */
bool machine_is_hart(const struct machine_desc *desc, int node, int *cpu);

#endif
