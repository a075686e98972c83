/* Who of the machine's members uses what: descriptors and mappings as the kernel tells of them. In a call. */
#ifndef MMIOSHIM_MEMORY_USERS_H
#define MMIOSHIM_MEMORY_USERS_H

#include "memory/arena.h"
#include "memory/kernel_maps.h"

struct users {
    void *context;
    /* A file in memory of the tree (base name "mmioshim:"); number: of the descriptor. False: look no further. NULL: not asked. */
    bool (*file)(void *context, u32 pid, u32 number, u64 dev, u64 ino);
    /* RAM of the machine that is mapped, at its own address too; NULL: not asked. */
    void (*ram)(void *context, const struct kernel_mapping *mapping);
};

/* False: of somebody nothing can be known. */
bool users_walk(struct arena *arena, const struct users *users);
/* Mappings of RAM in one process. */
bool users_ram_of(struct arena *arena, u32 pid, const struct users *users);
/* Machine address of an offset in the RAM file; false: it is beyond it. */
bool users_address(const struct machine_desc *desc, u64 offset, u64 *addr);

#endif
