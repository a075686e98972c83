#include "insn.h"

#include <stdio.h>
#include <string.h>

#include "arena.h"

static ZydisDecoder decoder;
static ZydisFormatter formatter;

void insn_init(void)
{
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
}

bool insn_decode(struct insn *i, const u8 *bytes, unsigned avail)
{
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, avail, &i->in, i->ops)))
        return false;
    i->length = i->in.length;
    memcpy(i->bytes, bytes, i->length);
    return true;
}

const char *insn_text(const struct insn *i)
{
    static char text[220];
    unsigned n = 0;

    for (unsigned k = 0; k < i->length; k++)
        n += (unsigned)snprintf(text + n, sizeof(text) - n, "%02x ", i->bytes[k]);
    ZydisFormatterFormatInstruction(&formatter, &i->in, i->ops, i->in.operand_count_visible, text + n, sizeof(text) - n,
                                    ZYDIS_RUNTIME_ADDRESS_NONE, NULL);
    return text;
}

/* ---- operands ---- */

static bool reaches(const ZydisDecodedOperand *op)
{
    return op->type == ZYDIS_OPERAND_TYPE_MEMORY && op->mem.type != ZYDIS_MEMOP_TYPE_AGEN &&
           op->mem.type != ZYDIS_MEMOP_TYPE_MIB;
}

bool insn_has_memory(const struct insn *i)
{
    for (unsigned k = 0; k < i->in.operand_count; k++)
        if (reaches(&i->ops[k]))
            return true;
    return i->in.mnemonic == ZYDIS_MNEMONIC_CLZERO;
}

static bool is_segment(ZydisRegister reg)
{
    return reg >= ZYDIS_REGISTER_ES && reg <= ZYDIS_REGISTER_GS;
}

ZydisRegister insn_loads_segment(const struct insn *i)
{
    for (unsigned k = 0; k < i->in.operand_count; k++)
        if (i->ops[k].type == ZYDIS_OPERAND_TYPE_REGISTER && is_segment(i->ops[k].reg.value) &&
            (i->ops[k].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            return i->ops[k].reg.value;
    return ZYDIS_REGISTER_NONE;
}

bool insn_is_xsave(const struct insn *i)
{
    return i->in.meta.category == ZYDIS_CATEGORY_XSAVE || i->in.meta.category == ZYDIS_CATEGORY_XSAVEOPT;
}

unsigned insn_size(const struct insn *i)
{
    unsigned size = 1;

    for (unsigned k = 0; k < i->in.operand_count; k++)
        if (reaches(&i->ops[k]))
            size = MAX(size, i->ops[k].size / 8u);
    return size;
}

static const char *unsuitable_by_category(const struct insn *i)
{
    switch (i->in.meta.category) {
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
        return "system call";
    default:
        return NULL;
    }
}

const char *insn_unsuitable(const struct insn *i)
{
    if (!insn_has_memory(i))
        return "no memory operand";
    if (i->in.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        return "far transfer (refused)";
    switch (i->in.mnemonic) {
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
        return "far transfer (refused)";
    case ZYDIS_MNEMONIC_SGDT: /* the kernel emulates these, and writes what it likes */
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SMSW:
        return "emulated by the kernel";
    default:
        break;
    }
    if (insn_loads_segment(i) == ZYDIS_REGISTER_FS)
        return "fs load (refused)";
    if (i->in.meta.isa_ext == ZYDIS_ISA_EXT_AMX_TILE)
        return "AMX tile (refused)";
    return unsuitable_by_category(i);
}

/* ---- shape ---- */

static void mix(u64 *h, u64 v)
{
    *h = (*h ^ v) * 0x9fb21c651e98df25u;
    *h ^= *h >> 32;
}

static u64 kind_of_address(const struct insn *i, const ZydisDecodedOperandMem *m)
{
    u64 base = m->base == ZYDIS_REGISTER_NONE ? 0 : m->base == ZYDIS_REGISTER_RIP || m->base == ZYDIS_REGISTER_EIP ? 1
               : m->base == ZYDIS_REGISTER_RSP                                                                     ? 2
                                                                                                                   : 3;
    u64 segment = m->segment == ZYDIS_REGISTER_FS ? 1 : m->segment == ZYDIS_REGISTER_GS ? 2 : 0;

    return base | (u64)(m->index != ZYDIS_REGISTER_NONE) << 2 | (u64)(m->scale > 1) << 3 | segment << 4 |
           (u64)i->in.raw.disp.size << 8 | (u64)m->type << 16 | (u64)i->in.address_width << 24;
}

static u64 kind_of_operand(const struct insn *i, const ZydisDecodedOperand *op)
{
    u64 kind = (u64)op->type | (u64)op->size << 8 | (u64)op->actions << 32 | (u64)op->visibility << 48;

    if (op->type == ZYDIS_OPERAND_TYPE_REGISTER) {
        ZydisRegister r = op->reg.value;
        bool high = r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH;
        bool stack = r == ZYDIS_REGISTER_RSP || r == ZYDIS_REGISTER_ESP || r == ZYDIS_REGISTER_SP;

        kind |= (u64)high << 40 | (u64)stack << 41 | (u64)ZydisRegisterGetClass(r) << 42;
    }
    if (op->type == ZYDIS_OPERAND_TYPE_MEMORY)
        mix(&kind, kind_of_address(i, &op->mem));
    return kind;
}

u64 insn_shape(const struct insn *i)
{
    const ZydisDecodedInstruction *in = &i->in;
    u64 h = 0x51ed270b27af1b6du, prefixes = 0;

    for (unsigned k = 0; k < in->raw.prefix_count; k++)
        if ((in->raw.prefixes[k].value & 0xf0) != 0x40)
            mix(&prefixes, in->raw.prefixes[k].value);
    mix(&h, (u64)in->encoding | (u64)in->opcode_map << 8 | (u64)in->opcode << 16 | (u64)in->mnemonic << 24);
    mix(&h, prefixes);
    mix(&h, (u64)in->operand_width | (u64)in->avx.vector_length << 8 | (u64)in->avx.broadcast.mode << 24 |
                (u64)in->avx.mask.mode << 32 | (u64)(in->raw.rex.W | in->raw.vex.W | in->raw.evex.W) << 40 |
                (u64)in->raw.imm[0].size << 48);
    for (unsigned k = 0; k < in->operand_count_visible; k++)
        mix(&h, kind_of_operand(i, &i->ops[k]));
    return h;
}
