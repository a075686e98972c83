/*
 * The machine map inside a binary transcript: RAM, devices, and what their
 * registers are called, so that a reader needs nothing else. Numbers are
 * little-endian, texts are terminated, nothing is aligned.
 */
#ifndef MMIOSHIM_TRACE_RINGMAP_H
#define MMIOSHIM_TRACE_RINGMAP_H

#include "trace/print.h"

struct ring_map {
    const struct trace_bank *banks;
    u32 nbanks;
    const struct trace_device *devices;
    u32 ndevices;
};

/* Appends the map to out; out->full says that it did not fit. Any context. */
void ringmap_write(struct fmt *out, const struct ring_map *map);

/*
 * Reads it back. What it is made of goes to `pool`, whose size need not exceed ringmap_pool(size) bytes; texts stay
 * where they are in data. 0, or -1 when it is not well-formed. Any context.
 */
int ringmap_read(struct ring_map *map, const void *data, size_t size, void *pool, size_t room);
size_t ringmap_pool(size_t size);

#endif
