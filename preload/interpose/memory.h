/* Which calls on memory concern the machine. */
#ifndef MMIOSHIM_INTERPOSE_MEMORY_H
#define MMIOSHIM_INTERPOSE_MEMORY_H

#include "memory/ram.h"

/* The pages that a call means by an address, which should be that of a page, and a length. */
static inline struct range call_pages(u64 addr, u64 length)
{
    return (struct range){addr, page_up(length)};
}

/* Whole pages of the program that reach the machine, in part at least? */
static inline bool call_on_machine(struct range r)
{
    return !(r.base & ~PAGE_MASK) && range_valid(r) && alias_overlaps(r);
}

#endif
