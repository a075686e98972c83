/*
 * Dirty pages by mprotect: pages of RAM that nobody wrote yet are closed to
 * writing, the fault of the first write opens them. Each page that is open
 * among closed ones takes two of the kernel's mappings, and of these a process
 * has 65530 (vm.max_map_count), with its own. So they are counted from time to
 * time, and when RAM takes too many, closed pages between open ones are opened
 * as well, the smallest gaps first, and each fault opens twice as much as
 * before. Where they cannot be counted (no /proc), faults are.
 *
 * What is opened counts as written. So the bitmap is exact as long as the
 * pieces that were written, neighbours being one piece, are fewer than a
 * quarter of vm.max_map_count (less half of what the program has of its own);
 * after that it may hold pages that were not written, but never lacks one that
 * was.
 */
#ifndef MMIOSHIM_MEMORY_CLOSED_H
#define MMIOSHIM_MEMORY_CLOSED_H

#include "memory/ram.h"

/* For this process. Ordinary context, or child of fork. */
void closed_start(const struct machine *machine, const struct view *view);
/* All is about to be closed again: a new beginning. Aliases held. */
void closed_forget(void);
/* What a page has while it is closed, where the program asked for `prot`. */
int closed_prot(int prot);
/* Closes what the program may write in a stretch. Signals masked, aliases held. */
void closed_close(const struct stretch *s);
/*
 * Opens the pages that hold [addr, addr+len), all in the stretch, and marks them: true if they can be written now.
 * Trap context, aliases held.
 */
bool closed_open(const struct stretch *s, u64 addr, u64 len);

#endif
