/* Private to trap/: parts of the route (struct cpu_bus, cpu/cpu.h) for accesses that no trap makes. */
#ifndef MMIOSHIM_TRAP_ROUTE_H
#define MMIOSHIM_TRAP_ROUTE_H

#include "trap/near.h"
#include "trap/trap.h"

/* As cpu_bus has them; the context is the trap. */
bool route_hold(void *context, u64 addr, unsigned n);
void route_end(void *context);
/* An access at an address of the program. False: it cannot be reached, is refused, or waits (trap->wait). */
bool route_program(struct trap *trap, u64 addr, void *data, unsigned n, bool write);

#endif
