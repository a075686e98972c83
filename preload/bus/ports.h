/*
 * The I/O privilege of this process as it believes it to be: iopl(2) and
 * ioperm(2) of a machine that has ports. Nothing here asks the kernel, nor
 * does anything depend on it but a line of lint: on hardware an access to a
 * port that was not granted is a SIGSEGV. Kept for the whole process (the kernel
 * keeps it for each thread) and inherited over fork. Over exec it is kept that something
 * was granted, not what: every port then counts as granted.
 */
#ifndef MMIOSHIM_BUS_PORTS_H
#define MMIOSHIM_BUS_PORTS_H

#include "memory/arena.h"

/* Bring-up, after this process became a member: takes over what it, or its parent, had before exec. Ordinary. */
void ports_start(struct arena *arena);
/* Was anything granted to this process? Any context. */
bool ports_any(void);
/* iopl(2): level 0 to 3, 3 grants every port. 0 or -EINVAL. Any context. */
long ports_iopl(unsigned level);
/* ioperm(2): grants (on) or takes back ports [from, from+num). 0 or -EINVAL. Any context. */
long ports_ioperm(u64 from, u64 num, bool on);
/* Does the process hold all of [port, port+n)? What lies above 0xffff only iopl grants. Any context. */
bool ports_granted(u16 port, unsigned n);

#endif
