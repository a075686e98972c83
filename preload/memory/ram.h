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

/*
 * Maps [offset, offset+length) of the machine's addresses for a mmap of
 * /dev/mem: RAM from its file, everything else reserved and known as an alias.
 * addr and flags as for mmap(2). Address, or -errno. Ordinary context.
 */
long alias_map(const struct machine *machine, const struct view *view, void *addr, u64 length, int prot, int flags,
               u64 offset);
/* The program unmaps or maps over [addr, addr+length): forgets aliases there. Signals masked. */
void alias_forget(u64 addr, u64 length);
/* The program changes protections: aliases remember, and their trapped pages stay trapped. True: nothing else to do there. */
bool alias_protect(const struct view *view, u64 addr, u64 length, int prot);

struct alias {
    struct range range; /* addresses in the program */
    u64 machine;        /* machine address of the first byte */
    int prot;
};

/* The alias that holds an address; false: none. Any context, lock-free. */
bool alias_find(u64 addr, struct alias *alias);
/* Does any alias share a byte with a range? Ordinary context. */
bool alias_overlaps(struct range range);
/* In the child of fork. */
void alias_after_fork(void);
/* Calls `each` for RAM pieces of aliases (dirty tracking): range in the program, machine address. Ordinary context. */
void alias_ram_pieces(void (*each)(void *context, struct range piece, u64 machine_addr), void *context);

#endif
