/* Private to patch/: executable memory near the program's text. Under patch.c's lock. */
#ifndef MMIOSHIM_PATCH_ROOMS_H
#define MMIOSHIM_PATCH_ROOMS_H

#include "cpu/pun.h"
#include "patch/site.h"

#define SLOT_JUMP 8 /* a trampoline begins so far in its slot, when the slot's begin is the room of a jump to it */

/* Where jumps can go. A wide choice gives the begin of a slot. */
extern const struct pun_space rooms_space;

/* A slot for a trampoline, and its site, in reach of its instruction and of a room. NULL: there is none. *code: TRAMPOLINE_MAX bytes. */
struct patch_site *rooms_slot(u64 insn, u64 room, u64 *code);
/* The slot that begins at a room, NULL: it is a room for a jump only. */
struct patch_site *rooms_slot_at(u64 room, u64 *code);
/* The site whose trampoline lies at an address, and where it begins. NULL: none. Any context. */
struct patch_site *rooms_site_of(u64 rip);
/* Does a range have a byte of them? Any context. */
bool rooms_within(u64 base, u64 size);
/* Nobody looks there any more. */
void rooms_gone(void);
/* Is that a page of rooms or trampolines? Any context. */
bool rooms_have(u64 rip);

#endif
