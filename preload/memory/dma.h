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
bool dma_read(u64 addr, void *buf, size_t len);
bool dma_write(u64 addr, const void *buf, size_t len);

#endif
