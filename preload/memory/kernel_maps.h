/*
 * The kernel's list of this process's mappings, /proc/self/maps (proc(5)),
 * read without memory of its own. Any context; one reader at a time.
 */
#ifndef MMIOSHIM_MEMORY_KERNEL_MAPS_H
#define MMIOSHIM_MEMORY_KERNEL_MAPS_H

#include "base/range.h"

struct kernel_mapping {
    struct range range;
    bool read, write, shared;
    u64 offset; /* in the file */
    u64 device; /* of the file, as st_dev; 0: none */
    u64 inode;  /* of the file; 0: none */
};

/* Opens it once, while that is possible: descriptors may run out, and /proc be out of sight later. */
void kernel_maps_start(void);
/*
 * Calls `each` for every mapping, ascending. It may change protections: what is merged by that is seen from where it
 * went on. False: the list cannot be read.
 */
bool kernel_maps_walk(void (*each)(void *context, const struct kernel_mapping *mapping), void *context);
/* The same for another file of that kind, with a buffer of at least KERNEL_MAPS_LINE bytes, by any number of readers. */
#define KERNEL_MAPS_LINE 20480
bool kernel_maps_read(int fd, char *buf, size_t size, void (*each)(void *context, const struct kernel_mapping *mapping),
                      void *context);
/* vm.max_map_count; Linux' default where it cannot be read. */
u32 kernel_maps_limit(void);

#endif
