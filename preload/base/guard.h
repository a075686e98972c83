/*
 * Copies from and to memory that may go away meanwhile: the mapping of a file
 * that somebody cuts, or that has no room on its disk.
 */
#ifndef MMIOSHIM_BASE_GUARD_H
#define MMIOSHIM_BASE_GUARD_H

#include "base/types.h"

/*
 * Copies n bytes, ascending. False: a SIGSEGV or SIGBUS came in the middle, and
 * some of them may have been copied. Any context with DF clear and neither
 * signal blocked; needs the fault handler.
 */
bool guard_copy(void *dst, const void *src, size_t n);
/* Where a fault at this instruction goes on; 0: it is not one of guard_copy(). Trap context. */
u64 guard_fixup(u64 rip);

#endif
