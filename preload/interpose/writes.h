/*
 * Buffers that the kernel writes for the program (writes.def). With dirty pages
 * tracked by mprotect it cannot write into pages of RAM that are still closed
 * (EFAULT), so they are opened before the call. All of them count as written,
 * also those that the call then does not fill.
 */
#ifndef MMIOSHIM_INTERPOSE_WRITES_H
#define MMIOSHIM_INTERPOSE_WRITES_H

#include "calls/calls.h"

/* Once, before the others. */
void writes_start(void);
/* Does the kernel write anything of the program's for calls with this number? */
bool writes_known(u64 nr);
/* Opens what the kernel is about to write. In a call whose number is known. */
void writes_open(const struct call *call);

#endif
