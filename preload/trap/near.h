/* What an address of the program is to us, and where the last access went. Trap context. */
#ifndef MMIOSHIM_TRAP_NEAR_H
#define MMIOSHIM_TRAP_NEAR_H

#include <sys/mman.h>

#include "memory/view.h"

/* Ordinary context, once. */
void near_start(const struct view *view);
/* Does an address of the machine lie in a page that traps, or is it nobody's? */
bool near_traps(u64 machine);

/* May the program do this through the alias that it mapped? On x86 a page that can be written can be read. */
static inline bool near_allows(int prot, bool write)
{
    return prot & (write ? PROT_WRITE : PROT_READ | PROT_WRITE);
}

#endif
