/* The worker's bell: a datagram socket whose abstract name is in the arena. Any context. */
#ifndef MMIOSHIM_TRAP_BELL_H
#define MMIOSHIM_TRAP_BELL_H

#include "memory/arena.h"

/* A new one, that others find; its descriptor, or -1. */
int bell_make(struct arena *arena);
/* False: nobody hears it. loud: it wakes the worker. */
bool bell_reaches(const struct arena *arena, bool loud);
bool bell_ring(const struct arena *arena);
/* What rang is heard. */
void bell_drain(int bell);

#endif
