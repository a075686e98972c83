/*
 * The PCI part of a machine description: the host bridge and its functions,
 * read from the device tree into plain structs. Source: PCI Bus Binding to Open
 * Firmware (IEEE 1275), 2.2.1.1 and 2.2.1.2; binding pci-host-ecam-generic.
 * One host, segment 0. Who reads the functions is pci/describe.c.
 */
#ifndef MMIOSHIM_CONFIG_PCI_H
#define MMIOSHIM_CONFIG_PCI_H

#include "base/fmt.h"
#include "base/range.h"

#define PCI_HOST      "pci-host-ecam-generic"
#define PCI_RANGES    8
#define PCI_FUNCTIONS 128 /* bridges and virtual functions included */
#define PCI_BARS      7   /* six, and the expansion ROM */
#define PCI_ROM       6
#define PCI_VECTORS   2048u /* PCI Express Base 5.0, 7.7.2.2: most of MSI-X */

#define PCI_BUS_SIZE      (1u << 20) /* ECAM, 7.2.2: 20 bits of bus, device, function and register */
#define PCI_FUNCTION_SIZE 4096u

/* The ss bits of phys.hi */
enum pci_space { PCI_SPACE_CONFIG, PCI_SPACE_IO, PCI_SPACE_MEM32, PCI_SPACE_MEM64 };

/* A range of the host: addresses on the bus, and where the CPU has them. */
struct pci_range {
    u8 space; /* enum pci_space */
    bool prefetchable;
    struct range bus;
    u64 machine;
};

struct pci_bar {
    u64 size; /* bytes, a power of two; 0: there is none */
    u16 class; /* number of the device model behind it */
    u16 device; /* its number in the machine */
    bool io, wide, prefetchable; /* wide: 64 bits, takes the next BAR, too */
};

struct pci_function {
    int node;      /* in the blob */
    i16 parent;    /* the bridge above it, index of functions; -1: the host */
    i16 physical;  /* a virtual function's physical one; -1: it is none */
    u16 ordinal;   /* of a virtual function, from 0 */
    u8 bus, devfn; /* as firmware numbers the buses */
    u16 model;     /* index in pci/functions.def */
    u16 device;    /* number of its configuration space in the machine; BARs have their own */
    u16 vendor, id, subvendor, subsystem;
    u32 class;     /* base class, sub-class, interface */
    u8 revision;
    u8 pin;        /* 1 to 4: INTA to INTD; 0: none */
    u8 line;       /* what firmware writes to the register of that name */
    bool bridge, express;
    u8 secondary, subordinate; /* buses below a bridge */
    u8 msi;        /* messages, a power of two up to 32; 0: none */
    u8 msix_bar;
    u16 msix;      /* vectors, 0: none */
    u16 vfs;       /* TotalVFs, 0: no SR-IOV */
    u16 vf_offset, vf_stride;
    struct pci_bar bars[PCI_BARS];
    struct pci_bar vf_bars[PCI_ROM]; /* of each of its virtual functions */
};

struct machine_pci {
    bool present;
    int node;
    u8 first_bus, last_bus;
    struct range ecam; /* machine addresses */
    u32 nranges, nfunctions;
    struct pci_range ranges[PCI_RANGES];
    struct pci_function functions[PCI_FUNCTIONS]; /* a bridge comes before what is below it */
};

struct dt_node;
struct dt_bus;

/* Reads ranges and bus-range of a host; parent: the bus that it is on. 0, or -1 with one line. Ordinary context. */
int pci_read_host(struct machine_pci *pci, const struct dt_node *node, const struct dt_bus *parent, const void *fdt,
                  struct fmt *error);

/* Its place on a bus as the specification writes it. */
static inline unsigned pci_slot(u8 devfn)
{
    return devfn >> 3;
}

static inline unsigned pci_number(u8 devfn)
{
    return devfn & 7;
}

#endif
