/*
 * DMA: how devices reach RAM. Every byte of a transfer must be RAM of the
 * machine, never a window; what is written is dirty. All or nothing. Trap or
 * worker context.
 */
#ifndef MMIOSHIM_MEMORY_DMA_H
#define MMIOSHIM_MEMORY_DMA_H

#include "memory/ram.h"

/* Maps RAM once more, for devices alone: what the program does to its own mappings is nothing to them. Ordinary context. */
void dma_start(const struct machine *machine, const struct view *view);
/* Naturally aligned 2, 4 and 8 bytes are indivisible, as on a bus, where there is a mapping. */
bool dma_read(u64 addr, void *buf, size_t len);
bool dma_write(u64 addr, const void *buf, size_t len);
/* Is every byte RAM? */
bool dma_reaches(u64 addr, size_t len);
/*
 * The memory at a machine address for who moves bytes himself, *len shortened to what lies there in one piece; NULL: no
 * RAM, or no mapping of it (then dma_read and dma_write work all the same). What will be written is marked dirty here.
 */
void *dma_get(u64 addr, size_t *len, bool write);

#endif
