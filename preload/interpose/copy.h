/*
 * Bytes between us and memory of the program that may lie in a window, as the
 * kernel would copy them: RAM and ordinary memory as they are, registers at the
 * width that is asked for.
 */
#ifndef MMIOSHIM_INTERPOSE_COPY_H
#define MMIOSHIM_INTERPOSE_COPY_H

#include <sys/uio.h>

#include "base/types.h"

/* Does a buffer of the program touch a window, so that the kernel could not reach it? */
bool copy_touches_window(u64 at, u64 n);
/* Bytes copied: less than n where memory is missing. */
u64 copy_in(void *to, u64 from, u64 n);
u64 copy_out(u64 to, const void *from, u64 n);
/* How many bytes from there on copy_in() or copy_out() would reach; no device notices. */
u64 copy_reach(u64 at, u64 n, bool to_program);
/* Width of one access of a register: what is asked for when it is 2, 4 or 8 bytes in all, else words of 4, else bytes. */
unsigned copy_width(u64 machine, u64 left, u64 whole);
/* One lint line: the call takes a window for memory. */
void copy_lint(const char *call, const struct iovec *vectors, unsigned count, bool to_program);

#endif
