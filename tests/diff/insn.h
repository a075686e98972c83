/*
 * An instruction as the test sees it: decoded by libZydis, independently of
 * the library under test, and brought to reach the windows.
 */
#ifndef MMIOSHIM_TESTS_DIFF_INSN_H
#define MMIOSHIM_TESTS_DIFF_INSN_H

#include <Zydis/Zydis.h>

#include "base/fmt.h"
#include "runner.h"

struct insn {
    u8 bytes[15];
    u8 length;
    ZydisDecodedInstruction in;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
};

/* Where the operand in a window lies. */
enum place {
    INSIDE,       /* anywhere in the window */
    ALIGNED,      /* the same, at a multiple of 64 */
    ACROSS_PAGE,  /* over the page boundary within the window */
    FROM_BELOW,   /* begins in ordinary memory */
    TO_ABOVE,     /* ends in ordinary memory */
    FROM_HOLE,    /* begins where nothing is */
    TO_HOLE,      /* ends where nothing is */
    PLACES
};

void insn_init(void);
/* False: no instruction. */
bool insn_decode(struct insn *i, const u8 *bytes, unsigned avail);
/* "add byte ptr [rax], cl" */
const char *insn_text(const struct insn *i);
/* Does it reach memory? */
bool insn_has_memory(const struct insn *i);
/* Why an instruction cannot be run here; NULL: it can. */
const char *insn_unsuitable(const struct insn *i);
/* The segment register that it loads, or ZYDIS_REGISTER_NONE. */
ZydisRegister insn_loads_segment(const struct insn *i);
/* Is it one of xsave, xsaveopt, xsavec, xrstor and their kin? */
bool insn_is_xsave(const struct insn *i);
/* Bytes of the largest memory operand, at least 1. */
unsigned insn_size(const struct insn *i);
/*
 * Sets registers, indices, displacements and the memory's content so that the operands lie in the arena, at least one
 * of them in a window. May change i->bytes (a displacement). False: it names no register and no displacement.
 */
bool insn_aim(struct insn *i, struct state *s, u64 rip, enum place place);
/*
 * One number for instructions that differ in register numbers and displacements only: encoding, prefixes, opcode,
 * widths, kinds of operands, kind of address.
 */
u64 insn_shape(const struct insn *i);

#endif
