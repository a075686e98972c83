/* Private to patch/: what is patched. Changes under the lock (patch_hold); looked up without. */
#ifndef MMIOSHIM_PATCH_TABLE_H
#define MMIOSHIM_PATCH_TABLE_H

#include "base/range.h"
#include "cpu/pun.h"
#include "patch/site.h"

extern struct pun_book table_book;
extern u32 table_sites; /* 0: nothing is patched yet */

/* False: no memory. Ordinary context, once. */
bool table_start(void);
void table_after_fork(void);
/* Takes the lock if it is free. */
bool table_try_hold(void);
/* The site of an instruction that is patched, or had to make room; NULL: it is neither. Any context. */
struct patch_site *table_site(u64 at);
/* In the place of one that is there, or as a new one. False: there is no room. */
bool table_enter(struct patch_site *site);
/* The code of these is gone. */
void table_forget(struct range range);

#endif
