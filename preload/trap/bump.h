/*
 * Storage that is never given back: names, stacks, modules. Lock-free, any
 * context. A thread that dies in the middle of it leaves nothing behind.
 */
#ifndef MMIOSHIM_TRAP_BUMP_H
#define MMIOSHIM_TRAP_BUMP_H

#include "base/types.h"

/* Zeroed, aligned to 16 bytes. NULL when the kernel gives no more memory. */
void *bump_alloc(size_t bytes);

#endif
