/* The table of MSI-X vectors, and what is pending, in a BAR of their own. */
#ifndef MMIOSHIM_PCI_MSIX_H
#define MMIOSHIM_PCI_MSIX_H

#include "base/types.h"
#include "mmioshim/device.h"

struct msix_entry {
    u32 address, address_high, data, control;
};

enum { MSIX_ENTRY = 16, MSIX_MASKED = 1 /* in control */ };

/* Bytes of the BAR: the table in the lower half, pending bits in the upper one. */
static inline u64 msix_size(unsigned vectors)
{
    u64 half = 2048;

    while (half < (u64)vectors * MSIX_ENTRY)
        half *= 2;
    return 2 * half;
}

extern const struct mmioshim_class class_pci_msix;

/* The entry of a vector, in the state of the device; read with atomic loads. */
const struct msix_entry *msix_entry(const void *state, unsigned vector);

#endif
