/*
 * One word from an address that may be bad: the step of every stack walk.
 * probe_read and probe_write (trap/backtrace.h) take any length.
 */
#ifndef MMIOSHIM_TRAP_PROBE_H
#define MMIOSHIM_TRAP_PROBE_H

#include "base/types.h"

/* Reads 8 bytes, any alignment. False if that faulted; *value is then unchanged. Needs the fault handler. */
bool probe_word(u64 src, u64 *value);
/* Can the byte be written? It keeps its value, also against other threads. Needs the fault handler. */
bool probe_writable(u64 addr);

#endif
