/* What devices do by themselves once an access has set it going, and what the log says of it. */
#ifndef MMIOSHIM_TRAP_SERVE_H
#define MMIOSHIM_TRAP_SERVE_H

#include "trap/trap.h"

/* Runs the services that an access asked for. The access is complete and logged; no lock is held. Trap context. */
void trap_serve(struct trap *t, struct bus *bus, const struct bus_requests *r);
/* DMA is logged from now on, if anything is. Behind log_start(). Ordinary context. */
void trap_serve_start(void);

#endif
