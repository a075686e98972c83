/* Private to calls/: the program's vector registers. */
#ifndef MMIOSHIM_CALLS_VECTORS_H
#define MMIOSHIM_CALLS_VECTORS_H

#include "base/types.h"

/*
 * Writes this thread's vector registers to an area (64-byte aligned) as a signal frame has them, for rt_sigreturn; at most
 * 512 + 64 + the components that XCR0 has, and 4 bytes. Any context.
 */
void vectors_save(u8 *area);

#endif
