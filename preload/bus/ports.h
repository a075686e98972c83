/*
 * The I/O privilege of this process as it believes it to be: iopl(2) and
 * ioperm(2) of a machine that has ports. Nothing here asks the kernel, nor
 * does anything depend on it but a line of lint: on hardware an access to a
 * port that was not granted is a SIGSEGV. Kept for the whole process (the kernel
 * keeps it for each thread); a child of fork inherits it, exec drops it.
 */
#ifndef MMIOSHIM_BUS_PORTS_H
#define MMIOSHIM_BUS_PORTS_H

#include "base/types.h"

/* iopl(2): level 0 to 3, 3 grants every port. 0 or -EINVAL. Any context. */
long ports_iopl(unsigned level);
/* ioperm(2): grants (on) or takes back ports [from, from+num). 0 or -EINVAL. Any context. */
long ports_ioperm(u64 from, u64 num, bool on);
/* Does the process hold all of [port, port+n)? What lies above 0xffff only iopl grants. Any context. */
bool ports_granted(u16 port, unsigned n);

#endif
