/*
 * The built-in machine descriptions: blobs that the build makes from
 * config/maps/NAME.dts with dtc and config/maps/embed.sh. Any context.
 */
#ifndef MMIOSHIM_CONFIG_MAPS_H
#define MMIOSHIM_CONFIG_MAPS_H

#include <stddef.h>

struct builtin_map {
    const char *name;          /* "virt" */
    const unsigned char *blob; /* on an 8-byte boundary */
    size_t size;               /* bytes */
};

extern const struct builtin_map builtin_maps[];
extern const unsigned builtin_map_count;

/* NULL: no such map. */
const struct builtin_map *builtin_map_find(const char *name);

#endif
