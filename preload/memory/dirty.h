/*
 * Which pages of RAM were written. The machine's bitmap is in the arena; how a
 * process learns of its own writes depends on the mode: userfaultfd with
 * asynchronous write protection (kernel 6.7) is scanned, mprotect faults mark
 * (closed.h says when they mark more than was written). Writes of devices mark
 * by themselves.
 */
#ifndef MMIOSHIM_MEMORY_DIRTY_H
#define MMIOSHIM_MEMORY_DIRTY_H

#include "memory/ram.h"

enum dirty_mode { DIRTY_AUTO, DIRTY_UFFD, DIRTY_MPROTECT, DIRTY_OFF };

/*
 * Starts tracking in this process (also again in a child of fork). Returns the
 * mode in force, or -1 with one line when a mode that was asked for cannot be
 * had. Ordinary context.
 */
int dirty_start(const struct machine *machine, const struct view *view, enum dirty_mode wanted, struct fmt *error);
const char *dirty_mode_name(void);
enum dirty_mode dirty_mode(void);
/* Aliases were mapped in this range of the program's addresses: tracks their RAM as well. Signals masked. */
void dirty_track(struct range range);
/* Brings the machine's bitmap up to date with this process. Any context, signals masked. */
void dirty_collect(void);
/* The same for what is reached in a range of the program's addresses, before it goes. */
void dirty_collect_range(struct range range);
/*
 * mprotect(2) of whole pages that hold aliases, with what of the program's own lies between: ascending, as far as it
 * goes. RAM gets what the program asks for less what tracking takes away meanwhile, and a protection key unless that is
 * -1; windows have none. 0 or -errno. Signals masked.
 */
long dirty_protect(struct range range, int prot, int key);
/* Forgets all dirty pages of the machine, as far as this process sees them. */
void dirty_clear(void);
/* A device wrote machine addresses [addr, addr+len), all RAM. Any context. */
void dirty_mark(u64 addr, u64 len);
/* A write fault at an address of the program: true if it was ours and the write may go on. Trap context. */
bool dirty_fault(u64 addr);
/* Makes [addr, addr+len) of the program writable and marks it, where it is tracked RAM. True if any of it was. */
bool dirty_allow(u64 addr, u64 len);
/*
 * The kernel is about to write RAM in a range of the program's addresses, or to zero it, whatever its protection: marks
 * it, and opens what the program may write. Signals masked.
 */
void dirty_touch(struct range range);
/* 1, 0, or -1: the address is no RAM. */
int dirty_test(u64 addr);
u64 dirty_count(const struct arena *arena);
/* Sorted ranges of dirty machine addresses; returns how many there are, fills at most `most`. */
u64 dirty_ranges(const struct machine_desc *desc, struct arena *arena, struct range *out, u64 most);

#endif
