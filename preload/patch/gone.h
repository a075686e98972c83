/* Private to patch/: code that comes and goes. */
#ifndef MMIOSHIM_PATCH_GONE_H
#define MMIOSHIM_PATCH_GONE_H

#include "base/range.h"
#include "patch/make.h"

extern bool patch_enabled;
extern struct patch patch_now; /* the one under way, or the last one; under the lock, but for patch_code_of() */

/* There are sites in this code. Under the lock. */
void gone_note(struct range text);
/* Traps in this code were not counted. Under the lock. */
void patch_forget_counts(struct range range);

#endif
