/*
 * From what reg properties say to a flat, sorted list of windows. Private to
 * config/. Ordinary context, no malloc, no stdio.
 */
#ifndef MMIOSHIM_CONFIG_WINDOWS_H
#define MMIOSHIM_CONFIG_WINDOWS_H

#include "base/fmt.h"
#include "config/machine.h"

/* One entry of reg, translated to the root bus. */
struct reg_window {
    struct range range;
    const char *name;       /* of the node */
    const char *compatible; /* NULL: none */
    int node;               /* offset in the blob */
    int end;                /* offset of the first node that is not below this one */
    u16 entry;
    bool port; /* of the I/O port space */
};

/* "uart@10000000", "flash@20000000:1" */
void window_name(struct fmt *out, const char *node, u64 entry);

/*
 * Sorts `reg` and fills desc->windows: those of memory, then those of ports. A window inside the window of a node
 * above it wins its bytes; other overlaps are errors. 0, or -1 with the reason.
 */
int windows_flatten(struct machine_desc *desc, struct reg_window *reg, u32 count, struct fmt *error);

#endif
