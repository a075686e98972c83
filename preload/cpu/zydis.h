/*
 * Private to the files of cpu/ that know the decoder's library: an instruction
 * as libZydis sees it, on its way to a plan.
 */
#ifndef MMIOSHIM_CPU_ZYDIS_H
#define MMIOSHIM_CPU_ZYDIS_H

#include <Zydis/Zydis.h>

#include "cpu/plan.h"

struct view {
    ZydisDecodedInstruction in;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    const ZydisDecodedOperand *mem; /* the memory operand: the one in ModRM if there is one */
    struct cpu_insn *insn;
    struct plan *plan;
};

/* False: no instruction, or *more: it does not end within `avail` bytes. */
bool view_decode(struct view *v, const u8 *bytes, unsigned avail, bool *more);
/* The same without operands. */
bool view_decode_head(const u8 *bytes, unsigned avail, ZydisDecodedInstruction *in);
/* Finds v->mem and puts its address, size and direction into insn and plan. */
void view_memory(struct view *v);

/* Number of a register as it is encoded, or REG_NONE: not of that class. */
u8 view_gpr(ZydisRegister reg);
u8 view_vector(ZydisRegister reg);
bool view_is_segment(ZydisRegister reg);
/* The register operand with that encoding, or NULL. */
const ZydisDecodedOperand *view_encoded_in(const struct view *v, ZydisOperandEncoding encoding);
void view_set_segment(struct plan *p, ZydisRegister segment);
/* The other operand, a general register. */
void view_set_register(const struct view *v, const ZydisDecodedOperand *op);

/* Plans of instructions that are re-executed, and of gather and scatter. They answer why not, or NULL. */
const char *plan_execute(const struct view *v);
void plan_vsib(const struct view *v);
const char *plan_xsave(const struct view *v);

#define NO_CODE "no memory for executable code"

#endif
