/* Private to patch/: one patch. Under the lock (table.h), with the way into closed pages open (text.h). */
#ifndef MMIOSHIM_PATCH_MAKE_H
#define MMIOSHIM_PATCH_MAKE_H

#include "base/range.h"
#include "cpu/pun.h"
#include "patch/site.h"
#include "patch/text.h"

struct patch {
    u64 at; /* the instruction */
    const struct cpu_insn *insn;
    struct range window; /* its operand was in */
    struct pun_text text;
    struct pun_plan plan;
    struct pun_write writes[PUN_UNITS + 8]; /* of the plan, and what changes besides: there insn is the trampoline */
    unsigned nwrites;
    struct patch_site *made[PUN_UNITS]; /* so far, by a plan under way */
    unsigned nmade;
};

/* Of this process. Ordinary context, once. */
void make_start(void);
/* at, insn and window are there. False: it cannot be patched. */
bool make_patch(struct patch *patch);
/* From now on the trampoline of a site looks more closely at operands in this range. */
void make_range(struct patch_site *site, struct range range);
static inline bool make_in_range(const struct patch_site *s, u64 addr)
{
    return !((addr + s->minus_base) & s->mask);
}

#endif
