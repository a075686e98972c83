/*
 * Words at addresses that may be bad: the steps of every stack walk.
 * probe_read and probe_write (trap/backtrace.h) take any length.
 */
#ifndef MMIOSHIM_TRAP_PROBE_H
#define MMIOSHIM_TRAP_PROBE_H

#include "base/types.h"

/* Reads 8 bytes, any alignment. False if that faulted; *value is then unchanged. Needs the fault handler. */
bool probe_word(u64 src, u64 *value);
/* A word as it was read. */
struct probe_word {
    u64 address, value;
};

/* Are the words, one at least, what they were? False as well if one cannot be read. Needs the fault handler. */
bool probe_same(const struct probe_word *words, size_t n);
/* Can the byte be written? It keeps its value, also against other threads. Needs the fault handler. */
bool probe_writable(u64 addr);

#endif
