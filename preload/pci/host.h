/* The configuration ports of a PCI host, for those who look where an access to them leads. */
#ifndef MMIOSHIM_PCI_HOST_H
#define MMIOSHIM_PCI_HOST_H

#include "base/types.h"

#define PCI_PORTS_DATA   0xcfcu
#define PCI_PORTS_ENABLE 0x80000000u
#define PCI_PORTS_BITS   0x80fffffcu /* those that CONFIG_ADDRESS keeps */

/* State of the device. */
struct pci_ports {
    u32 address; /* CONFIG_ADDRESS; atomic */
    u32 reserved;
};

#endif
