/* From an offset to the register that lies there. */
#include "trace/print.h"

#include "base/trapsafe.h"

/* Does the offset lie in the register, and in which element? *exact: at its first byte. */
static bool covers(const struct mmioshim_register *reg, u64 offset, u16 *element, bool *exact)
{
    u64 inside = offset - reg->offset;
    u64 index = 0;

    if (offset < reg->offset)
        return false;
    if (reg->count > 1 && reg->stride) {
        index = MIN(inside / reg->stride, (u64)reg->count - 1);
        inside -= index * reg->stride;
    }
    *element = (u16)index;
    *exact = inside == 0;
    return inside < MAX(reg->width, 1);
}

static bool direction_fits(const struct mmioshim_register *reg, bool write)
{
    return reg->access == MMIOSHIM_RW || (reg->access == MMIOSHIM_WO) == write;
}

/*
 * Several registers may share an address: RBR and THR by direction, RBR and
 * DLL by view. The better fit wins: at its first byte, then by direction, then
 * the one that is there in this view only. A write to a read-only register
 * still finds it, when nothing else is there.
 */
u16 trace_find_register(const struct mmioshim_register *registers, u16 count, u64 offset, unsigned view, bool write,
                        u16 *element)
{
    u16 found = TRACE_NONE;
    int best = -1;

    *element = 0;
    for (u16 i = 0; i < count && registers[i].offset <= offset; i++) {
        const struct mmioshim_register *reg = &registers[i];
        u16 index;
        bool exact;
        int fit;

        if ((reg->view && reg->view != view) || !covers(reg, offset, &index, &exact))
            continue;
        fit = exact * 4 + direction_fits(reg, write) * 2 + (reg->view != 0);
        if (fit > best) {
            best = fit;
            found = i;
            *element = index;
        }
    }
    return found;
}
