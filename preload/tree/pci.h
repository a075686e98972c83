/* What the files of the PCI part share: names and places of functions. node.a is a function's number (pci/pci.h). */
#ifndef MMIOSHIM_TREE_PCI_H
#define MMIOSHIM_TREE_PCI_H

#include "pci/pci.h"
#include "tree/tree.h"

/* "0000:05:00.0" */
void pci_slot_name(u32 function, struct fmt *text);
/* "pci0000:00/0000:00:01.0/0000:05:00.0", below /sys/devices. */
void pci_slot_path(u32 function, struct fmt *text);
/* The way from its directory to /sys: "../../.../". */
void pci_slot_up(u32 function, struct fmt *text);
/* Is it there now? Virtual functions come and go. */
bool pci_present(u32 function);
/* The n-th function that is there; false: there are no more. */
bool pci_nth(u32 n, u32 *function);
/* A function by its name, which may end with a newline; -1: there is none. */
int pci_by_name(const char *text, size_t n);

/* The n-th function right below a bridge, or, -1, on the root bus. */
bool pci_list_below(int bridge, u32 n, struct tree_entry *entry);
/* /sys/devices/pci0000:00 */
extern const struct tree_class pci_root_dir;

/* pci_attr.c: the directory of a function */
extern const struct tree_class pci_function_dir;
extern const struct tree_class pci_config_file;

/* pci_drivers.c: /sys/bus/pci and the drivers there */
extern const struct tree_class pci_bus_dir;
/* driver_override, write. */
long pci_override(u32 function, const char *text, size_t n);

/* pci_uio.c: functions that uio_pci_generic has */
extern const struct tree_class pci_uio_dir; /* .../uio */
bool pci_uio_bound(u32 function);
/* Is its interrupt masked until somebody clears Interrupt Disable? */
bool pci_uio_masked(u32 function);
void pci_uio_unmask(u32 function);
bool pci_uio_bind(u32 function);
void pci_uio_unbind(u32 function);
/* The n-th of them: entries of /dev and /sys/class/uio. */
bool pci_uio_list(u32 n, bool dev, struct tree_entry *entry);
/* The number N of the uioN whose interrupt a device's line 0 is; false: none. */
bool pci_uio_number(u32 bus_device, u32 *number);

/* proc_pci.c: /proc/bus/pci */
extern const struct tree_class pci_proc_dir;

#endif
