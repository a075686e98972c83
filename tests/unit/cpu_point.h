/* Registers for the cases of cpu_form.h. */
#ifndef MMIOSHIM_TESTS_CPU_POINT_H
#define MMIOSHIM_TESTS_CPU_POINT_H

#include "cpu_form.h"
#include "cpu_harness.h"

/* Registers such that the operand lies at `at`. */
static inline void point_to(struct machine *m, enum form form, u64 at)
{
    u64 high = rnd() << 32;

    m->gpr[9] = rnd() & 0x3f;
    switch (form) {
    case FORM_BASE:
        m->gpr[7] = at;
        break;
    case FORM_SIB:
        m->gpr[6] = rnd();
        m->gpr[3] = at - 0x40 - 2 * m->gpr[6];
        break;
    case FORM_REX:
        m->gpr[12] = rnd();
        m->gpr[13] = at + 0x1230 - 8 * m->gpr[12];
        break;
    case FORM_GS:
        m->gpr[14] = at - 0x10 - gs_base;
        break;
    case FORM_NARROW:
        m->gpr[9] = rnd();
        m->gpr[5] = (u32)(at - 0x7c - m->gpr[9]) | high;
        break;
    case FORM_NARROW_GS: /* the sum wraps at 32 bits before gs is added */
        m->gpr[9] = rnd();
        m->gpr[14] = (u32)(at - gs_base + 8 - 4 * m->gpr[9]) | high;
        break;
    default:
        break;
    }
}

/* Bit offsets in registers move the operand: they must stay within the data. */
static inline void tame_bit_offsets(struct machine *m, const char *text)
{
    if (!strstr(text, "bt"))
        return;
    for (unsigned i = 0; i < 16; i++)
        m->gpr[i] = (u64)((i64)(m->gpr[i] << 48) >> 50);
}

#endif
