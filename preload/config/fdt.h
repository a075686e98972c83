/*
 * Reading a flattened device tree: checks, properties, translation of
 * addresses. Private to config/. Ordinary context, no malloc, no stdio.
 */
#ifndef MMIOSHIM_CONFIG_FDT_H
#define MMIOSHIM_CONFIG_FDT_H

#include "base/fmt.h"
#include "base/range.h"
#include "base/types.h"

#define DT_DEPTH 32 /* levels of nodes, the root included */

/* The properties that make the memory map. */
enum dt_prop_id {
    DT_REG, DT_RANGES, DT_ADDRESS_CELLS, DT_SIZE_CELLS, DT_STATUS, DT_DEVICE_TYPE, DT_COMPATIBLE, DT_PROPS
};

struct dt_prop {
    const u8 *data; /* NULL: absent */
    u32 len;        /* bytes */
};

struct dt_node {
    int offset; /* in the blob */
    const char *name;
    struct dt_prop prop[DT_PROPS];
};

/* How the addresses of a node's children reach the root bus. */
struct dt_bus {
    u32 address_cells, size_cells; /* of the children */
    const u8 *ranges;
    u32 nranges; /* entries; 0: identity */
    bool opaque; /* not at all */
    bool ports;  /* the I/O port space, or a bus inside it: addresses are ports */
    bool isa;    /* an ISA bus: the first cell of an address tells ports from memory */
    bool hidden; /* neither the node nor anything below it is part of the machine */
};

/*
 * Is this a whole, sane blob? 0, or -1 with the reason. Afterwards libfdt can
 * be trusted with it, and each call takes time linear in the node it is about.
 */
int dt_check(const void *blob, size_t size, struct fmt *error);

/* Collects a node's properties in one pass. 0, or -1 with the reason. */
int dt_read_node(struct dt_node *node, const void *fdt, int offset, struct fmt *error);

/* Is `string` among the node's compatible strings? */
bool dt_compatible(const struct dt_node *node, const char *string);

/* The first string of a property, NULL when it is absent or not terminated. */
const char *dt_string(const struct dt_prop *prop);

/* Describes the bus below a node; `parent` is the bus that the node itself sits on, NULL for the root. */
int dt_read_bus(struct dt_bus *bus, const struct dt_node *node, const struct dt_bus *parent, struct fmt *error);

/*
 * The same for a node whose children's addresses are I/O ports: it is the root of an address space of its own.
 */
int dt_read_ports(struct dt_bus *bus, const struct dt_node *node, const struct dt_bus *parent, struct fmt *error);

/* Does the bus have addresses of 64 bits at most and sizes, so that reg describes memory? */
bool dt_bus_has_memory(const struct dt_bus *bus);

/* A number of 1 or 2 cells, big-endian (specification 2.2.4). */
u64 dt_cells(const u8 *data, u32 cells);

enum dt_translation { DT_TRANSLATED, DT_UNREACHABLE, DT_TOO_MUCH_WORK };

/*
 * Translates an address on buses[depth] to the root bus, buses[0]. Each entry
 * of ranges that is looked at takes one from *budget.
 */
enum dt_translation dt_translate(const struct dt_bus *buses, unsigned depth, u64 *address, u32 *budget);

#endif
