/*
 * RAM and windows in this process: RAM is mapped at its machine address from
 * the RAM file, pages with windows are reserved without access. Also other
 * views of the machine that the program maps through /dev/mem.
 */
#ifndef MMIOSHIM_MEMORY_RAM_H
#define MMIOSHIM_MEMORY_RAM_H

#include "memory/arena.h"
#include "memory/view.h"

/*
 * Maps everything at its address, never over something else. 0, or -1 with one
 * line that names what collides and with whom; then nothing stays mapped.
 * Ordinary context.
 */
int ram_map(const struct machine *machine, const struct view *view, struct fmt *error);

/* Calls `each` for every piece of RAM that the program reaches without a trap, at its machine address. */
void ram_pieces(const struct view *view, const struct machine_desc *desc,
                void (*each)(void *context, struct range piece, u64 file_offset), void *context);

/* RAM that shares a page with a window: where this process reads and writes it. NULL: no RAM there. Any context. */
void *ram_carved(u64 addr);
/* Another mapping of RAM for the shim's own use: valid for [addr, addr+len) in one bank, else NULL. Ordinary context. */
void *ram_map_host(const struct machine *machine, u64 addr, u64 len);

/* Calls `each` for what the trapped pages leave of a range of machine addresses. */
void ram_untrapped(const struct view *view, struct range range, u64 file_offset,
                   void (*each)(void *context, struct range piece, u64 file_offset), void *context);

/*
 * What the program reaches of the machine: RAM and windows at their own
 * address, from ram_map() on, and mappings of /dev/mem. What the program unmaps
 * or maps over is in no alias any more, at its own address neither.
 */
struct alias {
    struct range range; /* addresses in the program */
    u64 machine;        /* machine address of the first byte */
    int prot;           /* what the program asked for */
    bool shared;        /* false: MAP_PRIVATE, what is written there is no RAM of the machine */
    bool sealed;        /* shared, by a descriptor that is open for reading only: never to be written, mmap(2) */
    bool alone;         /* not in a child of fork: MADV_DONTFORK */
    u8 huge;            /* enum alias_huge */
};

enum alias_huge {
    ALIAS_SMALL, /* pages of 4096 bytes */
    ALIAS_HUGE,  /* huge pages */
    ALIAS_OWN,   /* the same of a private mapping: a child of fork has a copy */
};

/* RAM that an alias shows without a trap. */
struct stretch {
    u64 addr; /* in the program */
    struct range ram;
    u64 file_offset;
    int prot;
    bool shared;
};

/* The alias that holds an address; false: none. Any context, lock-free. */
bool alias_find(u64 addr, struct alias *alias);
/* The first alias that ends at or behind an address. Any context, lock-free. */
bool alias_next(u64 addr, struct alias *alias);
/* Changes whenever an alias does; 1 while one does. Any context, lock-free. */
static inline u32 alias_raw_version(void) /* odd while one does */
{
    __attribute__((visibility("hidden"))) extern u32 alias_sequence;

    return __atomic_load_n(&alias_sequence, __ATOMIC_ACQUIRE);
}

static inline u32 alias_version(void)
{
    u32 now = alias_raw_version();

    return now & 1 ? 1 : now;
}
/* Does any alias share a byte with a range? Any context, lock-free. */
bool alias_overlaps(struct range range);
/* Is any alias in a range one that must never be written? Any context, lock-free. */
bool alias_sealed(struct range range);
/*
 * Walks the aliases in a range of the program: *at begins as its base, *part is
 * an alias or what of it lies in the range. False: no more. Any context.
 */
bool alias_walk(struct range within, u64 *at, struct alias *part);
/* Calls `each` for RAM of an alias that is reached without a trap. Any context. */
void alias_stretches(const struct view *view, const struct machine_desc *desc, const struct alias *alias,
                     void (*each)(void *context, const struct stretch *stretch), void *context);

/*
 * Keeps other threads from changing aliases, and what the kernel maps there,
 * until alias_release(). Nests. Any context, signals masked.
 */
void alias_hold(void);
void alias_release(void);
/*
 * Changes; signals masked; each holds the table by itself. 0 or -errno:
 * -ENOMEM when the table is full, and then nothing has changed.
 */
long alias_add(const struct alias *alias);
/* Is there room for a change? */
bool alias_room(void);
/*
 * The program mapped something else over a range of its addresses. The caller holds the table since before it did, and
 * asked alias_room() then.
 */
void alias_forget(struct range range);
/* munmap(2) of whole pages, and what is known of them. */
long alias_unmap(struct range range);
/* Aliases in a range remember what the program asks for; nothing is told the kernel (dirty_protect). Aliases held. */
long alias_protect(struct range range, int prot);
/* What pages a range is made of. Takes the table by itself. */
long alias_set_huge(struct range range, enum alias_huge huge);
/* Is a range in children of fork? Aliases held. */
long alias_fork(struct range range, bool inherited);
/*
 * Maps [offset, offset+length) of the machine's addresses for a mmap of
 * /dev/mem: RAM from its file, everything else reserved and known as an alias.
 * addr and flags as for mmap(2), status as of F_GETFL of the descriptor.
 * Address, or -errno. Signals masked.
 */
long alias_map(const struct machine *machine, const struct view *view, void *addr, u64 length, int prot, int flags,
               int status, u64 offset);
/*
 * mremap(2) of `old`, whole pages, to `size` bytes, with MREMAP_FIXED to `to`:
 * shrinks and moves; growth is -EFAULT as for any device. Address, or -errno.
 * The new place is not yet tracked (dirty_track). Signals masked.
 */
long alias_remap(const struct machine *machine, const struct view *view, struct range old, u64 size, int flags, u64 to);
/* In the child of fork. */
void alias_after_fork(void);

#endif
