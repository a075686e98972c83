/*
 * The machine description: a flattened device tree read into plain structs.
 * Source: Devicetree Specification 0.4, sections 2.3 (standard properties)
 * and 5 (flattened format). Ordinary context, no malloc, no stdio.
 */
#ifndef MMIOSHIM_CONFIG_MACHINE_H
#define MMIOSHIM_CONFIG_MACHINE_H

#include "base/fmt.h"
#include "base/range.h"
#include "config/pci.h"
#include "mmioshim/device.h"

#define MACHINE_BANKS   32
#define MACHINE_WINDOWS 4096 /* of memory and of ports together */
#define MACHINE_PORTS   0x10000u /* x86 has one space of that many 1-byte I/O ports (SDM vol. 1, 19.3) */
#define MACHINE_NAME    64 /* bytes of a node name with its terminator: the specification allows 31 + "@" + address */
#define MACHINE_MAX_FDT (2u << 20)

struct machine_bank {
    struct range range; /* whole pages */
    char name[MACHINE_NAME];
};

/*
 * A node with reg: one window for each entry of reg; the second and later ones are named NODE:1, NODE:2, ...
 * A node inside another node whose own window covers it (a system controller with children) takes its bytes away
 * from that window: what is left is one window or several, the first under the old name, the others as NAME:+0xOFFSET.
 * The same holds for the nodes below the I/O port space, whose windows are ranges of ports.
 */
struct machine_window {
    struct range range; /* bytes, need not be whole pages */
    u64 offset;         /* of range.base within the entry of reg; 0 unless children cut the entry */
    char name[MACHINE_NAME];       /* "uart@10000000" */
    char compatible[MACHINE_NAME]; /* the first string (cut if longer, '?' for what does not print), "" without one */
    int node;                      /* offset in the blob, for properties */
    u16 entry;                     /* which entry of reg; behind those, ranges of a PCI host */
    u16 class;                     /* 1 and the number of its class; 0: found by the compatible strings */
    u16 function;                  /* 1 and the index of the PCI function that it belongs to; 0: none */
    u8 bar;                        /* of the function; PCI_CONFIG_SPACE: no BAR */
};

#define PCI_CONFIG_SPACE 0xff

/* Bytes that the device of a window sees: a piece of a window that others cut up keeps its offsets. */
static inline u64 machine_device_size(const struct machine_window *window)
{
    return window->offset + window->range.size;
}

struct machine_desc {
    const void *fdt; /* validated blob */
    u32 fdt_size;
    u64 hash; /* FNV-1a of the blob: two maps are the same when their blobs are */
    bool ioports; /* there is an I/O port space (a node "mmioshim,ioports"), be it an empty one */
    u32 nbanks;
    u32 nwindows;
    u32 nports;
    u32 nmoving; /* of functions on the PCI bus: where they are, if anywhere, is decided at run time */
    struct machine_bank banks[MACHINE_BANKS];       /* ascending, disjoint */
    /*
     * nwindows of memory, then nports of ports; each of the two ascending by base, disjoint. Then nmoving, whose ranges
     * begin at 0.
     */
    struct machine_window windows[MACHINE_WINDOWS];
    struct machine_pci pci;
};

/* Windows that stay where they are, of both address spaces. */
static inline u32 machine_fixed(const struct machine_desc *desc)
{
    return desc->nwindows + desc->nports;
}

/* All windows: a device each, numbered as in `windows`. */
static inline u32 machine_devices(const struct machine_desc *desc)
{
    return machine_fixed(desc) + desc->nmoving;
}

/*
 * Loads a built-in map by name ("virt", "virt-low", "pc") or a .dtb file. 0, or -1
 * with one line appended to `error`: "MAP: what is wrong" (where, what is
 * allowed), to which callers add what names the option. A truncated or
 * hostile blob, overlapping windows, overlapping banks, ranges that wrap or lie
 * outside user space (2^47) or above port 0xffff are errors; nothing is mapped here. Nodes with
 * status = "disabled" are no windows (a disabled memory node is no RAM), nor is what lies below them.
 * Banks are trimmed inwards to whole pages. The struct is large: give it static or mmapped storage.
 * The file's memory is never freed: desc->fdt points into it.
 */
int machine_load(struct machine_desc *desc, const char *map, struct fmt *error);
/*
 * The same from a blob in memory, which must stay and lie on an 8-byte boundary; never reads outside
 * [blob, blob+size). The error does not name a map.
 */
int machine_parse(struct machine_desc *desc, const void *blob, size_t size, struct fmt *error);

/* Is `string` one of the node's compatible strings? */
bool machine_compatible(const struct machine_desc *desc, const struct machine_window *window, const char *string);

/* Accessors for struct mmioshim_node, which is this: */
struct mmioshim_node {
    const struct machine_desc *desc;
    int node;
};
/* NULL: no such property; *length (bytes, may be NULL) is 0 then. */
const void *node_property(const struct mmioshim_node *node, const char *name, u32 *length);
/* False, and *value unchanged, when it is absent or not 4 bytes long. */
bool node_property_u32(const struct mmioshim_node *node, const char *name, u32 *value);
/* The same of another node, by its path. */
bool node_property_u32_at(const struct mmioshim_node *node, const char *path, const char *name, u32 *value);

#endif
