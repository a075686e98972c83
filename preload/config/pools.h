/*
 * Memory for DMA that the machine sets aside in its RAM: what /reserved-memory
 * says, buffers of u-dma-buf, and where pages of 2 MiB (huge pages) may lie.
 * Sources: Linux, Documentation/devicetree/bindings/reserved-memory; u-dma-buf
 * 4.8, Readme.md; Linux, Documentation/admin-guide/kernel-parameters.txt.
 * Ordinary context, no malloc, no stdio.
 */
#ifndef MMIOSHIM_CONFIG_POOLS_H
#define MMIOSHIM_CONFIG_POOLS_H

#include "config/machine.h"

#define HUGE_SHIFT 21
#define HUGE_SIZE  ((u64)1 << HUGE_SHIFT)
#define HUGE_MASK  (~(HUGE_SIZE - 1))

#define POOLS_REGIONS 32
#define POOLS_BUFFERS 8

/* A child of /reserved-memory with reg, in RAM or not. */
struct pools_region {
    struct range range; /* its first piece */
    u32 phandle;
    bool no_map;
    bool pool; /* compatible "shared-dma-pool" and reusable: others may use it meanwhile */
    char name[MACHINE_NAME];
};

/* A node "ikwzm,u-dma-buf", or one that the kernel's command line asks for. */
struct pools_buffer {
    struct range range; /* whole pages of RAM */
    u64 size;           /* as it was asked for */
    char name[32]; /* "udmabuf0" */
    bool coherent;
    u32 sync_mode, sync_direction;
    u64 sync_offset, sync_size;
};

struct machine_pools {
    u32 nregions, nbuffers;
    struct pools_region regions[POOLS_REGIONS];
    struct pools_buffer buffers[POOLS_BUFFERS];
    struct range huge; /* whole huge pages, all of RAM or not (see pools_free); size 0: there are none */
    u32 huge_boot;     /* how many there are at first */
};

/*
 * Pages may lie in a region that is a pool, else in the upper half of the largest bank. Buffers without a memory-region
 * lie at the upper end of the largest bank, the first highest. NULL, and one line: a buffer without size, or that does
 * not fit. The answer stays as it is for the same description.
 */
const struct machine_pools *machine_pools(const struct machine_desc *desc, struct fmt *error);
/* Is every byte of it RAM that nobody else has: no window, no region but a pool, no buffer? */
bool pools_free(const struct machine_desc *desc, const struct machine_pools *pools, struct range range);
/* Is every byte of it RAM, and none a window's? */
bool pools_ram(const struct machine_desc *desc, struct range range);

#endif
