/*
 * DMA: how devices reach RAM. Every byte of a transfer must be RAM of the
 * machine, never a window; what is written is dirty. All or nothing. Trap or
 * worker context.
 */
#ifndef MMIOSHIM_MEMORY_DMA_H
#define MMIOSHIM_MEMORY_DMA_H

#include "base/mem.h"
#include "memory/dirty.h"
#include "memory/ram.h"

/* Maps RAM once more, for devices alone: what the program does to its own mappings is nothing to them. Ordinary context. */
void dma_start(const struct machine *machine, const struct view *view);

/* The largest piece of RAM in one: almost all there is, found without a search. */
__attribute__((visibility("hidden"))) extern struct dma_main {
    struct range ram; /* of the machine; size 0: none */
    u8 *host;         /* and where it is */
    const u64 *dirty; /* the machine's bitmap, */
    u64 page;         /* and its bit for the page of address 0, which need not be there */
} dma_main;

static inline u8 *dma_in_main(u64 addr, size_t len)
{
    return likely(range_contains(dma_main.ram, addr, len)) ? dma_main.host + (addr - dma_main.ram.base) : NULL;
}

/* dirty_mark() there: mostly the page is known to be dirty. */
static inline void dma_mark_main(u64 addr, size_t len)
{
    u64 page = dma_main.page + addr / PAGE_SIZE;

    if (unlikely(len > PAGE_SIZE - addr % PAGE_SIZE ||
                 !(__atomic_load_n(&dma_main.dirty[page / 64], __ATOMIC_RELAXED) >> page % 64 & 1)))
        dirty_mark(addr, len);
}

/* For what lies elsewhere, or not in one piece, or has no mapping. */
bool dma_reaches_other(u64 addr, size_t len);
void *dma_get_other(u64 addr, size_t *len, bool write);
bool dma_move_other(u64 addr, void *buf, size_t len, bool write);

/* Naturally aligned 2, 4 and 8 bytes are indivisible, as on a bus, where there is a mapping. */
static inline bool dma_read(u64 addr, void *buf, size_t len)
{
    const u8 *p = dma_in_main(addr, len);

    if (unlikely(!p))
        return dma_move_other(addr, buf, len, false);
    memcpy(buf, p, len);
    return true;
}

static inline bool dma_write(u64 addr, const void *buf, size_t len)
{
    u8 *p = dma_in_main(addr, len);

    if (unlikely(!p))
        return dma_move_other(addr, (void *)(uintptr_t)buf, len, true);
    dma_mark_main(addr, len);
    memcpy(p, buf, len);
    return true;
}

/* Is every byte RAM? */
static inline bool dma_reaches(u64 addr, size_t len)
{
    return dma_in_main(addr, len) || dma_reaches_other(addr, len);
}

/*
 * The memory at a machine address for who moves bytes himself, *len shortened to what lies there in one piece; NULL: no
 * RAM, or no mapping of it (then dma_read and dma_write work all the same). What will be written is marked dirty here.
 */
static inline void *dma_get(u64 addr, size_t *len, bool write)
{
    u8 *p = dma_in_main(addr, *len);

    if (unlikely(!p))
        return dma_get_other(addr, len, write);
    if (write)
        dma_mark_main(addr, *len);
    return p;
}

#endif
