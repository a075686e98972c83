/* Every difference that is allowed, and why. All else is compared, to the bit. */
#include "left_out.h"

#include <signal.h>

/*
 * Bits that are left out: popf from a window cannot change NT and ID, because rt_sigreturn restores neither (Linux
 * arch/x86/kernel/signal_64.c, FIX_EFLAGS). All others are compared for all instructions, undefined ones too: both runs
 * are the same CPU's.
 */
u64 left_out_flags(const struct insn *i)
{
    return i->in.mnemonic == ZYDIS_MNEMONIC_POPF || i->in.mnemonic == ZYDIS_MNEMONIC_POPFQ ? 0x204000 : 0;
}

/*
 * fstp m80, fnstenv, fnsave and fxsave store in pieces, and so does the CPU: which of them it wrote before the one that
 * faults, and which one faults first, is the model's own affair.
 */
static bool in_pieces(const struct insn *i)
{
    unsigned size = insn_size(i);

    return size == 10 || (size > 8 && i->in.meta.isa_ext == ZYDIS_ISA_EXT_X87) || size == 512;
}

/*
 * The address of a fault is exact, but for what the CPU does in an order of its own: images of the x87 state field by
 * field, masked stores element by element (mostly, but not always from the lowest). There the page is compared.
 */
u64 left_out_address(const struct insn *i, const struct ending *want)
{
    bool masked = i->in.avx.mask.reg != ZYDIS_REGISTER_NONE && i->in.avx.mask.reg != ZYDIS_REGISTER_K0;

    if (want->signal != SIGSEGV)
        return 0;
    switch (i->in.mnemonic) {
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
        return PAGE_SIZE - 1;
    default:
        return masked || in_pieces(i) ? PAGE_SIZE - 1 : 0;
    }
}

/* Of a gather or scatter that faults, elements above the faulting one may be done or not (SDM vol. 2, VGATHERDPS). */
static bool is_vsib(const struct insn *i)
{
    for (unsigned k = 0; k < i->in.operand_count_visible; k++)
        if (i->ops[k].type == ZYDIS_OPERAND_TYPE_MEMORY && i->ops[k].mem.type == ZYDIS_MEMOP_TYPE_VSIB)
            return true;
    return false;
}

bool left_out_area(const struct insn *i, const struct ending *want)
{
    return is_vsib(i) && want->signal == SIGSEGV;
}

/*
 * A store whose second part faults: the CPU writes nothing, we have written the part in the window. Only that may
 * differ, and only then.
 */
#define STORES_FAIL_MIDWAY 0

struct left_out left_out_memory(const struct insn *i, const struct ending *want)
{
    unsigned size = insn_size(i);

    if (want->signal != SIGSEGV || !want->write)
        return (struct left_out){0, 0};
    if (is_vsib(i))
        return (struct left_out){0, ~(u64)0};
    if (in_pieces(i))
        return (struct left_out){want->addr - size, 2 * size};
    return (struct left_out){want->addr - size, STORES_FAIL_MIDWAY ? size : 0};
}

/*
 * Faults that the CPU raises though no byte is reached: a masked vextract checks its whole operand, enter the place
 * where rsp ends up, maskmov what it likes (SDM vol. 2, MASKMOVQ: implementation dependent).
 * We do what the instruction does instead. Alignment checks (AC) are made by the CPU only: by
 * none that traps first, as a string that goes on does.
 */
bool left_out_whole(const struct insn *i, const struct ending *got, const struct ending *want)
{
    if (want->signal == SIGBUS && want->code == BUS_ADRALN)
        return got->signal != SIGBUS || i->in.meta.category == ZYDIS_CATEGORY_STRINGOP;
    if (want->signal != SIGSEGV || got->signal == SIGSEGV)
        return false;
    switch (i->in.mnemonic) {
    case ZYDIS_MNEMONIC_VEXTRACTF32X4:
    case ZYDIS_MNEMONIC_VEXTRACTF64X2:
    case ZYDIS_MNEMONIC_VEXTRACTF32X8:
    case ZYDIS_MNEMONIC_VEXTRACTF64X4:
    case ZYDIS_MNEMONIC_VEXTRACTI32X4:
    case ZYDIS_MNEMONIC_VEXTRACTI64X2:
    case ZYDIS_MNEMONIC_VEXTRACTI32X8:
    case ZYDIS_MNEMONIC_VEXTRACTI64X4:
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
    case ZYDIS_MNEMONIC_ENTER:
        return true;
    default:
        return false;
    }
}
