/* What an address of the program is to us, and where the last access went. Trap context. */
#ifndef MMIOSHIM_TRAP_NEAR_H
#define MMIOSHIM_TRAP_NEAR_H

#include <sys/mman.h>

#include "memory/view.h"

/* Where an access went: part of one page with one owner, so that the next one need not look. */
struct near {
    u64 base, size; /* in the program; size 0: nothing yet */
    u64 machine;    /* of base */
    int prot;       /* what the program mapped it for */
    struct view_span span;
};

/* The one that the last access found, as long as nobody changed what it hangs on. */
struct kept_near {
    struct near near;
    u32 aliases; /* alias_version() */
    u32 changing; /* a fault may come in the middle of a change, and trap again */
    u64 view; /* *view->version */
};

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
