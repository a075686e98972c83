/* Private to patch/: the program's code. Under patch.c's lock. */
#ifndef MMIOSHIM_PATCH_TEXT_H
#define MMIOSHIM_PATCH_TEXT_H

#include "cpu/pun.h"

/*
 * What stands in the place of an instruction while it changes: hlt, a byte that makes a SIGSEGV, which is never blocked.
 * int3 would kill a thread that blocks SIGTRAP.
 */
#define TEXT_STOP 0xf4

/* The code of the loaded file that has an address. False: it belongs to none, or to one that is left alone. Trap context. */
bool text_find(u64 at, struct pun_text *text);
/* Does an address belong to a file that the loader has mapped? Any context. */
bool text_loaded(u64 at);
/* What the program itself changes is never patched again. */
void text_leave_alone(u64 base, u64 size);

/* Changes the text as a plan says, while threads run in it. False: it cannot be written, and nothing has changed. */
bool text_write(const struct pun_write *writes, unsigned count);
/* Writes where nobody runs yet. */
bool text_put(u64 at, const void *bytes, unsigned n);
/* Other cores will run what is written from now on. */
void text_start(void);
/* Opens and closes the way into closed pages, around the three above. False: there is none. */
bool text_open(void);
void text_close(void);

#endif
