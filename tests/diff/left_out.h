/*
 * What comparisons leave out, for which instructions. Each rule has its reason
 * beside it, and compare.c counts how often a rule was needed.
 */
#ifndef MMIOSHIM_TESTS_DIFF_LEFT_OUT_H
#define MMIOSHIM_TESTS_DIFF_LEFT_OUT_H

#include "insn.h"

/* A stretch of addresses. */
struct left_out {
    u64 first, bytes;
};

/* Bits of rflags. */
u64 left_out_flags(const struct insn *i);
/* Bits of si_addr, of an instruction that ended so in ordinary memory. */
u64 left_out_address(const struct insn *i, const struct ending *want);
/* The XSAVE area. */
bool left_out_area(const struct insn *i, const struct ending *want);
/* Memory. */
struct left_out left_out_memory(const struct insn *i, const struct ending *want);
/* Everything. */
bool left_out_whole(const struct insn *i, const struct ending *got, const struct ending *want);

#endif
