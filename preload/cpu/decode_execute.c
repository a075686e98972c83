/*
 * Plans of instructions that the CPU itself runs on a scratch: the stub, the
 * register state that it needs, and the elements of vector operands.
 */
#include "cpu/zydis.h"

#undef alloca /* a macro of stdlib.h, which the decoder's headers include */
#include "base/trapsafe.h"

static bool is_x87(ZydisRegister reg)
{
    return (reg >= ZYDIS_REGISTER_ST0 && reg <= ZYDIS_REGISTER_ST7) ||
           (reg >= ZYDIS_REGISTER_MM0 && reg <= ZYDIS_REGISTER_MM7) || reg == ZYDIS_REGISTER_X87CONTROL ||
           reg == ZYDIS_REGISTER_X87STATUS || reg == ZYDIS_REGISTER_X87TAG;
}

static bool is_vector_encoding(const struct view *v)
{
    return v->in.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX || v->in.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
           v->in.encoding == ZYDIS_INSTRUCTION_ENCODING_XOP;
}

static u8 components_of(const struct view *v, ZydisRegister reg)
{
    u8 number = view_vector(reg);

    if (number != REG_NONE) {
        if (number >= 16)
            return XC_SSE | XC_AVX | XC_HI16;
        return is_vector_encoding(v) ? XC_SSE | XC_AVX | XC_ZMM_HI : XC_SSE;
    }
    if (reg >= ZYDIS_REGISTER_K0 && reg <= ZYDIS_REGISTER_K7)
        return XC_OPMASK;
    if (reg == ZYDIS_REGISTER_MXCSR)
        return XC_SSE;
    return is_x87(reg) ? XC_X87 : 0;
}

/* k0 in the place of the mask means that there is none. */
static bool is_no_mask(const ZydisDecodedOperand *op)
{
    return op->encoding == ZYDIS_OPERAND_ENCODING_MASK && op->reg.value == ZYDIS_REGISTER_K0;
}

/*
 * Which state must be there, and which must come back. Narrow VEX and EVEX
 * instructions zero the upper parts of their destination: those of a component
 * in its initial state are zero already, so it can be left out.
 */
static void plan_components(const struct view *v)
{
    struct plan *p = v->plan;
    bool converts = v->in.meta.category == ZYDIS_CATEGORY_CONVERT;

    for (unsigned i = 0; i < v->in.operand_count; i++)
        if (v->ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER && !is_no_mask(&v->ops[i]))
            p->load |= components_of(v, v->ops[i].reg.value);
    if (v->in.meta.isa_ext == ZYDIS_ISA_EXT_X87 || v->in.meta.isa_ext == ZYDIS_ISA_EXT_MMX)
        p->load |= XC_X87;
    if (v->in.meta.isa_set == ZYDIS_ISA_SET_FXSAVE || v->in.meta.isa_set == ZYDIS_ISA_SET_FXSAVE64)
        p->load |= XC_X87 | XC_SSE;
    if (converts) /* cvtsd2si rax, m64: no vector register, but MXCSR rounds and collects */
        p->load |= XC_SSE;
    if (is_vector_encoding(v) && v->in.avx.vector_length < 512)
        p->lazy |= XC_ZMM_HI;
    if (is_vector_encoding(v) && v->in.avx.vector_length < 256)
        p->lazy |= XC_AVX;
    p->save = p->load;
    if (v->insn->writes && !v->insn->reads) /* a store changes no vector register, but x87 and the sticky bits */
        p->save &= (u8)(XC_X87 | (converts ? XC_SSE : 0));
}

static unsigned used_registers(const struct view *v)
{
    unsigned used = 0;

    for (unsigned i = 0; i < v->in.operand_count; i++)
        if (v->ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER && view_gpr(v->ops[i].reg.value) != REG_NONE)
            used |= 1u << view_gpr(v->ops[i].reg.value);
    return used;
}

/* A register that the instruction does not use and that [register] can name without SIB or REX. */
static u8 free_register(unsigned used)
{
    static const u8 candidates[] = {RSI, RDI, RBX, RCX, RDX, RAX};

    for (unsigned i = 0; i < sizeof(candidates); i++)
        if (!(used >> candidates[i] & 1))
            return candidates[i];
    return REG_NONE;
}

static bool names_rsp(const ZydisDecodedOperand *op)
{
    return op && view_gpr(op->reg.value) == RSP;
}

static u8 tail_offset(const struct view *v)
{
    if (v->in.raw.disp.size)
        return (u8)(v->in.raw.disp.offset + v->in.raw.disp.size / 8);
    return (u8)(v->in.raw.modrm.offset + (v->in.attributes & ZYDIS_ATTRIB_HAS_SIB ? 2 : 1));
}

static unsigned cut(const struct view *v, u8 out[15])
{
    struct plan *p = v->plan;
    unsigned used = used_registers(v);
    struct surgery s = {
        .bytes = v->insn->bytes,
        .length = v->insn->length,
        .modrm = v->in.raw.modrm.offset,
        .tail = tail_offset(v),
        .in_reg = names_rsp(view_encoded_in(v, ZYDIS_OPERAND_ENCODING_MODRM_REG)),
        .in_vvvv = names_rsp(view_encoded_in(v, ZYDIS_OPERAND_ENCODING_NDSNDD)),
        .elision = v->in.attributes & (ZYDIS_ATTRIB_HAS_XACQUIRE | ZYDIS_ATTRIB_HAS_XRELEASE),
    };

    p->scratch = s.scratch = free_register(used);
    if (p->scratch == REG_NONE)
        return 0;
    if (used >> RSP & 1) {
        p->stand_in = s.stand_in = free_register(used | 1u << p->scratch);
        if (p->stand_in == REG_NONE || (!s.in_reg && !s.in_vvvv))
            return 0;
    }
    return surgery_operate(&s, out);
}

static unsigned broadcast_lanes(ZydisBroadcastMode mode)
{
    static const u8 lanes[ZYDIS_BROADCAST_MODE_MAX_VALUE + 1] = {
        [ZYDIS_BROADCAST_MODE_1_TO_2] = 2,   [ZYDIS_BROADCAST_MODE_1_TO_4] = 4,
        [ZYDIS_BROADCAST_MODE_1_TO_8] = 8,   [ZYDIS_BROADCAST_MODE_1_TO_16] = 16,
        [ZYDIS_BROADCAST_MODE_1_TO_32] = 32, [ZYDIS_BROADCAST_MODE_1_TO_64] = 64,
        [ZYDIS_BROADCAST_MODE_2_TO_4] = 4,   [ZYDIS_BROADCAST_MODE_2_TO_8] = 8,
        [ZYDIS_BROADCAST_MODE_2_TO_16] = 16, [ZYDIS_BROADCAST_MODE_4_TO_8] = 8,
        [ZYDIS_BROADCAST_MODE_4_TO_16] = 16, [ZYDIS_BROADCAST_MODE_8_TO_16] = 16,
    };

    return lanes[mode];
}

/*
 * Loads that read their operand whole, whatever the mask says: the exception
 * classes with "NF", no fault suppression (SDM vol. 2, 2.8), and instructions
 * whose mask does not follow the elements of memory.
 */
static bool reads_whole(const struct view *v)
{
    switch (v->in.mnemonic) {
    case ZYDIS_MNEMONIC_VDBPSADBW:
    case ZYDIS_MNEMONIC_VGF2P8AFFINEQB:
    case ZYDIS_MNEMONIC_VGF2P8AFFINEINVQB:
    case ZYDIS_MNEMONIC_VCVTNE2PS2BF16:
        return true;
    default:
        break;
    }
    switch (v->in.meta.exception_class) {
    case ZYDIS_EXCEPTION_CLASS_E1NF:
    case ZYDIS_EXCEPTION_CLASS_E2NF:
    case ZYDIS_EXCEPTION_CLASS_E3NF:
    case ZYDIS_EXCEPTION_CLASS_E4NF:
    case ZYDIS_EXCEPTION_CLASS_E5NF:
    case ZYDIS_EXCEPTION_CLASS_E6NF:
    case ZYDIS_EXCEPTION_CLASS_E9NF:
    case ZYDIS_EXCEPTION_CLASS_E10NF:
    case ZYDIS_EXCEPTION_CLASS_E11NF:
        return true;
    default:
        return false;
    }
}

static bool is_extract(const struct view *v)
{
    switch (v->in.mnemonic) {
    case ZYDIS_MNEMONIC_VEXTRACTF32X4:
    case ZYDIS_MNEMONIC_VEXTRACTF32X8:
    case ZYDIS_MNEMONIC_VEXTRACTF64X2:
    case ZYDIS_MNEMONIC_VEXTRACTF64X4:
    case ZYDIS_MNEMONIC_VEXTRACTI32X4:
    case ZYDIS_MNEMONIC_VEXTRACTI32X8:
    case ZYDIS_MNEMONIC_VEXTRACTI64X2:
    case ZYDIS_MNEMONIC_VEXTRACTI64X4:
        return true;
    default:
        return false;
    }
}

static void plan_opmask(const struct view *v)
{
    struct plan *p = v->plan;

    if (!v->insn->writes && reads_whole(v))
        return;
    p->mask = MASK_OPMASK;
    if (v->in.meta.category == ZYDIS_CATEGORY_COMPRESS || v->in.meta.category == ZYDIS_CATEGORY_EXPAND)
        p->mask = MASK_PACKED;
    p->mask_reg = v->in.raw.evex.aaa;
    p->element = (u8)(v->mem->element_size / 8);
    if (v->in.mnemonic == ZYDIS_MNEMONIC_VPSHUFBITQMB) /* its memory operand is the selectors: a byte a bit of the mask */
        p->element = 1;
    p->checks_all = v->insn->writes && is_extract(v);
    p->lanes = (u8)(v->insn->size / p->element);
    if (v->in.avx.broadcast.mode != ZYDIS_BROADCAST_MODE_INVALID)
        p->lanes = (u8)broadcast_lanes(v->in.avx.broadcast.mode);
}

static void plan_signs(const struct view *v, u8 mask, u8 reg, unsigned element)
{
    v->plan->mask = mask;
    v->plan->mask_reg = reg;
    v->plan->element = (u8)element;
    v->plan->lanes = (u8)(v->insn->size / element);
}

/* maskmovq, maskmovdqu: the operand is implicit, [rdi], and the mask is the register in ModRM.rm. */
static bool is_maskmov(const struct view *v)
{
    return v->in.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ || v->in.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU ||
           v->in.mnemonic == ZYDIS_MNEMONIC_VMASKMOVDQU;
}

static void plan_mask(const struct view *v)
{
    switch (v->in.mnemonic) {
    case ZYDIS_MNEMONIC_MASKMOVQ: /* faults also for what its mask leaves out (SDM vol. 2: implementation dependent) */
        v->plan->checks_all = true;
        plan_signs(v, MASK_MMX, (u8)(v->ops[1].reg.value - ZYDIS_REGISTER_MM0), 1);
        break;
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
        v->plan->checks_all = true;
        plan_signs(v, MASK_SIGNS, view_vector(v->ops[1].reg.value), 1);
        break;
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
        plan_signs(v, MASK_SIGNS, view_vector(view_encoded_in(v, ZYDIS_OPERAND_ENCODING_NDSNDD)->reg.value),
                   v->mem->element_size / 8);
        break;
    default:
        if (v->in.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX && v->in.raw.evex.aaa)
            plan_opmask(v);
        break;
    }
}

/* A bit offset in a register reaches beyond the operand (SDM vol. 2, BT). */
static void plan_bit(const struct view *v)
{
    switch (v->in.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        if (v->ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER)
            v->plan->bit_offset = view_gpr(v->ops[1].reg.value);
        break;
    default:
        break;
    }
}

/* fst, fist and fbstp leave memory alone when they raise an unmasked exception; fnst... always store. */
static void plan_x87(const struct view *v)
{
    struct plan *p = v->plan;

    if (v->in.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || v->in.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT ||
        (v->in.opcode & 0xf8) != 0xd8)
        return;
    p->opcode_x87 = (u16)((v->in.opcode & 7) << 8 | v->insn->bytes[v->in.raw.modrm.offset]);
    switch (v->in.mnemonic) {
    case ZYDIS_MNEMONIC_FST:
    case ZYDIS_MNEMONIC_FSTP:
    case ZYDIS_MNEMONIC_FIST:
    case ZYDIS_MNEMONIC_FISTP:
    case ZYDIS_MNEMONIC_FISTTP:
    case ZYDIS_MNEMONIC_FBSTP:
        p->x87_store = true;
        break;
    default:
        break;
    }
}

const char *plan_execute(const struct view *v)
{
    struct plan *p = v->plan;
    u8 code[15];
    unsigned n;

    if (!v->insn->size || v->insn->size > OPERAND_MAX)
        return "memory operand of variable size";
    v->insn->kind = KIND_EXECUTE;
    plan_components(v);
    plan_mask(v);
    plan_bit(v);
    plan_x87(v);
    p->mmx_store = v->in.meta.isa_ext == ZYDIS_ISA_EXT_MMX && v->insn->writes && !v->insn->reads;
    if (is_maskmov(v)) {
        p->scratch = RDI;
        n = surgery_strip(v->insn->bytes, v->insn->length, code);
    } else {
        if (!(v->in.attributes & ZYDIS_ATTRIB_HAS_MODRM))
            return "implicit memory operand";
        n = cut(v, code);
    }
    if (!n)
        return "no register left to address the operand";
    p->stub = stub_make(code, n);
    p->stub_length = (u8)n;
    return p->stub ? NULL : NO_CODE;
}

static u8 xsave_op(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64:
        return XSAVE_RESTORE;
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
        return XSAVE_COMPACT;
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
        return XSAVE_OPT;
    default:
        return XSAVE_PLAIN;
    }
}

/* The operand is the image's legacy region and header at least; edx:eax says what else. */
const char *plan_xsave(const struct view *v)
{
    struct plan *p = v->plan;
    u8 code[15];
    unsigned n = cut(v, code);

    v->insn->kind = KIND_XSAVE;
    v->insn->size = XSTATE_LEGACY;
    p->op = xsave_op(v->in.mnemonic);
    v->insn->writes = p->op != XSAVE_RESTORE;
    v->insn->reads = p->op != XSAVE_COMPACT;
    p->load = XC_X87 | XC_SSE | XC_AVX;
    p->save = v->insn->writes ? 0 : p->load;
    if (!n)
        return "no register left to address the operand";
    p->stub = stub_make(code, n);
    p->stub_length = (u8)n;
    return p->stub ? NULL : NO_CODE;
}

/* ---- gather and scatter ---- */

void plan_vsib(const struct view *v)
{
    struct plan *p = v->plan;
    const ZydisDecodedOperand *data = view_encoded_in(v, ZYDIS_OPERAND_ENCODING_MODRM_REG);
    const ZydisDecodedOperand *mask = view_encoded_in(v, ZYDIS_OPERAND_ENCODING_MASK);

    v->insn->kind = v->insn->writes ? KIND_SCATTER : KIND_GATHER;
    p->mask = mask ? MASK_OPMASK : MASK_SIGNS;
    p->mask_reg = mask ? (u8)(mask->reg.value - ZYDIS_REGISTER_K0)
                       : view_vector(view_encoded_in(v, ZYDIS_OPERAND_ENCODING_NDSNDD)->reg.value);
    p->element = (u8)v->insn->size;
    p->vector = view_vector(data->reg.value);
    p->vector_index = view_vector(v->mem->mem.index);
    p->index_size = v->in.opcode & 1 ? 8 : 4; /* opcodes 90 to 93 and A0 to A3: odd ones take quadword indices */
    p->lanes = (u8)(v->in.avx.vector_length / 8 / MAX(p->element, p->index_size));
}
