/*
 * PCI: what the rest of the library sees of the bus. Functions are numbered from 0, bridges and virtual functions
 * included, the same in all processes of a machine. A number that is too large is a mistake of the caller's.
 *
 * What an access to configuration space sets going (interrupts, resets) is asked for by bus_requests, as by any access.
 */
#ifndef MMIOSHIM_PCI_PCI_H
#define MMIOSHIM_PCI_PCI_H

#include "bus/bus.h"

/* --- bring-up: ordinary context --- */

/*
 * Writes what MMIOSHIM_ATTACH says of PCI functions ("pci:05:00.0=testdev,bar0=4K") into the tree of a machine that is
 * about to be made: nodes below its host, with bridges to their buses. desc is parsed anew where there are any, and
 * keeps the hash of the tree as it was. 0, or -1 with one line.
 */
int pci_attach(struct machine_desc *desc, const char *attach, struct fmt *error);
/* "05:00.0" or "0000:05:00.0", up to `stop`; *length: bytes of it. False: no address. */
bool pci_parse_address(const char *text, char stop, u8 *bus, u8 *devfn, size_t *length);
/* The machine is made, its devices are created: places for BARs, as firmware finds them. 0, or -1 with one line. */
int pci_create(struct machine *machine, struct fmt *error);
/*
 * This process: addresses of both spaces lead to functions from now on. Behind bus_start(). attach: MMIOSHIM_ATTACH, whose
 * functions must be there. 0, or -1 with one line.
 */
int pci_start(struct bus *bus, struct view *view, struct view *ports, const char *attach, struct fmt *error);

/* --- enumeration: any context --- */

struct pci_info {
    u8 bus, devfn;  /* as firmware numbered the buses; segment 0 */
    bool there;     /* a virtual function is, while its physical one enables it */
    bool bridge;
    int parent;     /* bridge above it, -1: it is on the root bus */
    int physical;   /* of a virtual function; -1: it is none */
    u16 vendor, device, subvendor, subsystem; /* a virtual function's are what its registers do not say */
    u32 class;      /* base class, sub-class, interface */
    u8 revision;
    u32 irq;        /* number of the interrupt at its controller; 0: none */
    u16 vectors;    /* of MSI-X; 0: none */
    u8 messages;    /* of MSI; 0: none */
    unsigned config_size; /* 256 or 4096 bytes */
    u32 bus_device; /* its device in the machine: line 0 is the pin, line 1 + v message v, for irq_event_*() */
    u64 config;     /* machine address of its configuration space (ECAM) */
};

/* How many functions there can be; 0: the machine has no PCI. */
u32 pci_functions(void);
void pci_info(u32 function, struct pci_info *info);
/* Which function has this address; -1: none that is there. */
int pci_function_at(u8 bus, u8 devfn);

/* Flags of a line of `resource` in sysfs (include/linux/ioport.h) */
enum {
    PCI_RESOURCE_IO = 0x100,
    PCI_RESOURCE_MEMORY = 0x200,
    PCI_RESOURCE_PREFETCH = 0x2000,
    PCI_RESOURCE_READ_ONLY = 0x4000,
    PCI_RESOURCE_ALIGNED = 0x40000,
    PCI_RESOURCE_64 = 0x100000,
};

#define PCI_NOWHERE UINT64_MAX

struct pci_resource {
    u64 size;     /* bytes; 0: there is none */
    u64 bus;      /* address in the BAR now, decoded or not */
    u64 machine;  /* the same as the CPU has it: machine address, or number of a port (flags say IO); PCI_NOWHERE */
    u32 flags;    /* the low bits of the BAR included, as Linux shows them */
    u32 bus_device; /* the device behind it */
};

/* BARs 0 to 5, and 6: the expansion ROM. */
void pci_resource(u32 function, unsigned bar, struct pci_resource *resource);

/* --- access: no device is locked; signals masked or deferred --- */

/* Bytes of configuration space, any length and alignment; how many were inside it. Not logged, not counted. */
unsigned pci_config_read(u32 function, unsigned offset, void *buf, unsigned length, const struct lock_self *self);
unsigned pci_config_write(u32 function, unsigned offset, const void *buf, unsigned length, const struct lock_self *self);
/* What `enable` of sysfs does: decoding of memory and I/O. */
bool pci_enabled(u32 function);
void pci_enable(u32 function, bool on, const struct lock_self *self);
/* The driver that a function is bound to, for all processes; "": none. */
const char *pci_driver(u32 function);
void pci_bind(u32 function, const char *driver, const struct lock_self *self);
/* What a bridge passes on: 0 I/O, 1 memory, 2 prefetchable memory; size 0: nothing. Fields as above, without a device. */
void pci_forwards(u32 function, unsigned window, struct pci_resource *resource);
#define PCI_DRIVER_NAME 32
/* The only driver that may take it, "": any (driver_override). */
const char *pci_override_of(u32 function);
void pci_set_override(u32 function, const char *text, size_t n, const struct lock_self *self);
/* Which of the UIO devices of PCI functions it is, from 1; 0: none. */
u32 pci_uio_slot(u32 function);
void pci_set_uio_slot(u32 function, u32 slot, const struct lock_self *self);
/* The expansion ROM by way of sysfs: bytes read, none until it is shown. */
bool pci_rom_shown(u32 function);
void pci_show_rom(u32 function, bool shown, const struct lock_self *self);
size_t pci_rom_read(u32 function, u64 offset, void *to, size_t n, const struct lock_self *self);
/* Virtual functions: how many there can be, how many there are (0: not enabled), and which one a function is. */
u32 pci_sriov_total(u32 function);
u32 pci_sriov_enabled(u32 function);
void pci_sriov_enable(u32 function, u32 n, const struct lock_self *self);
u32 pci_sriov_index(u32 function);
/* A reset of the function alone, as by FLR: what its driver set is lost, BARs included. */
void pci_reset(u32 function, const struct lock_self *self);
/* Do messages stand for its pin, and may it reach memory? */
bool pci_uses_messages(u32 function);
bool pci_is_master(u32 function);
/* Its requester id (PCI Express Base 5.0, 2.2.6.2) for a device behind one of its BARs; false: it is behind none. */
bool pci_requester(const struct bus_device *device, u16 *id);

#endif
