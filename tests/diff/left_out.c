/* Every difference that is allowed, and why. All else is compared, to the bit. */
#include "left_out.h"

#include <cpuid.h>
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
 * What an instruction of many parts has done when one of them faults, and which part faults first, is the CPU model's
 * own. The library does as Intel's cores with AVX-512 do: there everything is compared; elsewhere such parts are not.
 */
static bool known_order(void)
{
    static int known = -1;
    unsigned a, b = 0, c = 0, d = 0;

    if (known < 0) {
        __cpuid(0, a, b, c, d);
        __builtin_cpu_init();
        known = b == signature_INTEL_ebx && c == signature_INTEL_ecx && d == signature_INTEL_edx &&
                __builtin_cpu_supports("avx512bw");
    }
    return known;
}

/* Each enabled element has an address of its own, or at least a fault of its own. */
static bool is_vsib(const struct insn *i)
{
    for (unsigned k = 0; k < i->in.operand_count_visible; k++)
        if (i->ops[k].type == ZYDIS_OPERAND_TYPE_MEMORY && i->ops[k].mem.type == ZYDIS_MEMOP_TYPE_VSIB)
            return true;
    return false;
}

static bool is_masked(const struct insn *i)
{
    switch (i->in.mnemonic) {
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
        return true;
    default:
        return i->in.avx.mask.reg != ZYDIS_REGISTER_NONE && i->in.avx.mask.reg != ZYDIS_REGISTER_K0;
    }
}

/* Images, and m80. */
static bool in_pieces(const struct insn *i)
{
    unsigned size = insn_size(i);

    return insn_is_xsave(i) || size == 512 || (size > 8 && i->in.meta.isa_ext == ZYDIS_ISA_EXT_X87);
}

u64 left_out_address(const struct insn *i, const struct ending *want)
{
    bool parts = is_masked(i) || in_pieces(i) || is_vsib(i);

    return want->signal == SIGSEGV && parts && !known_order() ? PAGE_SIZE - 1 : 0;
}

bool left_out_area(const struct insn *i, const struct ending *want)
{
    return want->signal == SIGSEGV && (is_vsib(i) || insn_is_xsave(i)) && !known_order();
}

struct left_out left_out_memory(const struct insn *i, const struct ending *want)
{
    bool parts = is_vsib(i) || in_pieces(i);

    return (struct left_out){0, want->signal == SIGSEGV && want->write && parts && !known_order() ? ~(u64)0 : 0};
}

/*
 * Alignment checks (AC) are made by the CPU only: not of what lies in a window, and not behind an access that traps, as
 * in a string that goes on. Stores that are masked out fault or not (SDM vol. 2, MASKMOVQ: implementation dependent).
 */
bool left_out_whole(const struct insn *i, const struct ending *got, const struct ending *want)
{
    if (want->signal == SIGBUS && want->code == BUS_ADRALN)
        return got->signal != SIGBUS || i->in.meta.category == ZYDIS_CATEGORY_STRINGOP;
    return (got->signal == SIGSEGV) != (want->signal == SIGSEGV) && (is_masked(i) || in_pieces(i)) && !known_order();
}
