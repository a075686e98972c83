/*
 * What a device on a bus can reach of the machine's memory: dma-ranges of the
 * buses above it (Devicetree Specification 2.3.9). Ordinary context.
 */
#ifndef MMIOSHIM_CONFIG_DMA_H
#define MMIOSHIM_CONFIG_DMA_H

#include "config/machine.h"

#define MACHINE_DMA 16 /* pieces that a device can have */

/* Bus addresses [bus.base, bus.base + bus.size) are machine addresses from `machine` on. */
struct machine_dma_piece {
    struct range bus;
    u64 machine;
};

struct machine_dma {
    bool all; /* bus addresses are machine addresses */
    u32 count;
    struct machine_dma_piece pieces[MACHINE_DMA];
};

/* 0, or -1 with one line: a property that makes no sense, or too many pieces. */
int machine_dma(const struct machine_desc *desc, const struct machine_window *window, struct machine_dma *dma,
                struct fmt *error);

#endif
