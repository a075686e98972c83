/* The decoder's library: opened by cpu_init, never linked; its registers and operands in our numbers. */
#include "cpu/zydis.h"

#undef alloca /* a macro of stdlib.h, which the decoder's headers include */
#include "base/trapsafe.h"

static struct {
    ZydisDecoder decoder;
    ZydisDecoder quick; /* lengths, opcodes and displacements only */
    ZydisFormatter formatter;
    __typeof__(&ZydisDecoderDecodeFull) decode;
    __typeof__(&ZydisDecoderDecodeInstruction) decode_head;
    __typeof__(&ZydisFormatterFormatInstruction) format;
} zydis;

/* "mov byte ptr [rax], dl", numbers as 0xab. */
static const struct {
    ZydisFormatterProperty property;
    ZyanUPointer value;
} styles[] = {
    {ZYDIS_FORMATTER_PROP_FORCE_SIZE, ZYAN_TRUE},
    {ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, ZYAN_FALSE},
    {ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE, ZYDIS_PADDING_DISABLED},
    {ZYDIS_FORMATTER_PROP_ADDR_PADDING_RELATIVE, ZYDIS_PADDING_DISABLED},
    {ZYDIS_FORMATTER_PROP_DISP_PADDING, ZYDIS_PADDING_DISABLED},
    {ZYDIS_FORMATTER_PROP_IMM_PADDING, ZYDIS_PADDING_DISABLED},
};

bool decoder_bind(void *(*symbol)(const char *name), const char **what)
{
    __typeof__(&ZydisGetVersion) version = (__typeof__(version))symbol("ZydisGetVersion");
    __typeof__(&ZydisDecoderInit) init = (__typeof__(init))symbol("ZydisDecoderInit");
    __typeof__(&ZydisDecoderEnableMode) mode = (__typeof__(mode))symbol("ZydisDecoderEnableMode");
    __typeof__(&ZydisFormatterInit) style = (__typeof__(style))symbol("ZydisFormatterInit");
    __typeof__(&ZydisFormatterSetProperty) property =
        (__typeof__(property))symbol("ZydisFormatterSetProperty");

    zydis.decode = (__typeof__(zydis.decode))symbol("ZydisDecoderDecodeFull");
    zydis.decode_head = (__typeof__(zydis.decode_head))symbol("ZydisDecoderDecodeInstruction");
    zydis.format = (__typeof__(zydis.format))symbol("ZydisFormatterFormatInstruction");
    *what = "a function is missing";
    if (!version || !init || !mode || !style || !property || !zydis.decode || !zydis.decode_head || !zydis.format)
        return false;
    *what = "its version is not 4.0";
    if (ZYDIS_VERSION_MAJOR(version()) != 4 || ZYDIS_VERSION_MINOR(version()) != 0)
        return false;
    *what = "it does not initialise";
    if (!ZYAN_SUCCESS(init(&zydis.decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
        !ZYAN_SUCCESS(init(&zydis.quick, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
        !ZYAN_SUCCESS(mode(&zydis.quick, ZYDIS_DECODER_MODE_MINIMAL, ZYAN_TRUE)) ||
        !ZYAN_SUCCESS(style(&zydis.formatter, ZYDIS_FORMATTER_STYLE_INTEL)))
        return false;
    for (unsigned i = 0; i < ARRAY_SIZE(styles); i++)
        if (!ZYAN_SUCCESS(property(&zydis.formatter, styles[i].property, styles[i].value)))
            return false;
    return true;
}

void cpu_disassemble(const u8 *bytes, unsigned length, u64 rip, struct fmt *out)
{
    ZydisDecodedInstruction in;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    char text[160];

    if (!ZYAN_SUCCESS(zydis.decode(&zydis.decoder, bytes, length, &in, ops)) ||
        !ZYAN_SUCCESS(zydis.format(&zydis.formatter, &in, ops, in.operand_count_visible, text, sizeof(text),
                                   rip ? rip : ZYDIS_RUNTIME_ADDRESS_NONE, NULL))) {
        fmt_str(out, "(unknown)");
        return;
    }
    fmt_str(out, text);
}

bool view_decode(struct view *v, const u8 *bytes, unsigned avail, bool *more)
{
    ZyanStatus status = zydis.decode(&zydis.decoder, bytes, avail, &v->in, v->ops);

    *more = status == ZYDIS_STATUS_NO_MORE_DATA && avail < ZYDIS_MAX_INSTRUCTION_LENGTH;
    return ZYAN_SUCCESS(status);
}

bool view_decode_head(const u8 *bytes, unsigned avail, ZydisDecodedInstruction *in)
{
    return ZYAN_SUCCESS(zydis.decode_head(&zydis.quick, NULL, bytes, avail, in));
}

/* ---- registers ---- */

u8 view_gpr(ZydisRegister reg)
{
    if (reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15)
        return (u8)(reg - ZYDIS_REGISTER_RAX);
    if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_R15D)
        return (u8)(reg - ZYDIS_REGISTER_EAX);
    if (reg >= ZYDIS_REGISTER_AX && reg <= ZYDIS_REGISTER_R15W)
        return (u8)(reg - ZYDIS_REGISTER_AX);
    if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_BL)
        return (u8)(reg - ZYDIS_REGISTER_AL);
    if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
        return (u8)(reg - ZYDIS_REGISTER_AH);
    if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_R15B)
        return (u8)(reg - ZYDIS_REGISTER_SPL + RSP);
    return REG_NONE;
}

_Static_assert(ZYDIS_REGISTER_R15 - ZYDIS_REGISTER_RAX == 15 && ZYDIS_REGISTER_R15D - ZYDIS_REGISTER_EAX == 15 &&
                   ZYDIS_REGISTER_R15W - ZYDIS_REGISTER_AX == 15 && ZYDIS_REGISTER_BH - ZYDIS_REGISTER_AH == 3 &&
                   ZYDIS_REGISTER_R15B - ZYDIS_REGISTER_SPL == 11,
               "registers are numbered as they are encoded");

static bool is_high_byte(ZydisRegister reg)
{
    return reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;
}

u8 view_vector(ZydisRegister reg)
{
    if (reg >= ZYDIS_REGISTER_XMM0 && reg <= ZYDIS_REGISTER_XMM31)
        return (u8)(reg - ZYDIS_REGISTER_XMM0);
    if (reg >= ZYDIS_REGISTER_YMM0 && reg <= ZYDIS_REGISTER_YMM31)
        return (u8)(reg - ZYDIS_REGISTER_YMM0);
    if (reg >= ZYDIS_REGISTER_ZMM0 && reg <= ZYDIS_REGISTER_ZMM31)
        return (u8)(reg - ZYDIS_REGISTER_ZMM0);
    return REG_NONE;
}

bool view_is_segment(ZydisRegister reg)
{
    return reg >= ZYDIS_REGISTER_ES && reg <= ZYDIS_REGISTER_GS;
}

/* ---- operands ---- */

static const ZydisDecodedOperand *find_memory(const struct view *v)
{
    const ZydisDecodedOperand *found = NULL;

    for (unsigned i = 0; i < v->in.operand_count; i++) {
        const ZydisDecodedOperand *op = &v->ops[i];

        if (op->type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        if (op->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
            return op;
        if (!found)
            found = op;
    }
    return found;
}

/* The operand with that encoding, or NULL. */
const ZydisDecodedOperand *view_encoded_in(const struct view *v, ZydisOperandEncoding encoding)
{
    for (unsigned i = 0; i < v->in.operand_count; i++)
        if (v->ops[i].encoding == encoding && v->ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER)
            return &v->ops[i];
    return NULL;
}

void view_set_segment(struct plan *p, ZydisRegister segment)
{
    p->segment = segment == ZYDIS_REGISTER_FS   ? SEGMENT_FS
                 : segment == ZYDIS_REGISTER_GS ? SEGMENT_GS
                                                : SEGMENT_FLAT;
}

/*
 * mod 00 with base 101 in the SIB byte is a displacement without base, whatever REX.B
 * says (SDM vol. 2, table 2-5). libZydis 4.0.0 takes it for r13 when REX.B is set.
 */
static bool has_no_base(const struct view *v, const ZydisDecodedOperand *op)
{
    return op->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM && (v->in.attributes & ZYDIS_ATTRIB_HAS_SIB) &&
           v->in.raw.modrm.mod == 0 && v->in.raw.sib.base == 5;
}

static void set_address(const struct view *v, const ZydisDecodedOperand *op)
{
    struct plan *p = v->plan;

    p->disp = op->mem.disp.value;
    p->base = view_gpr(op->mem.base);
    p->index = view_gpr(op->mem.index);
    if (has_no_base(v, op)) {
        p->disp = v->in.raw.disp.value;
        p->base = REG_NONE;
    }
    p->scale = op->mem.scale > 1 ? (u8)__builtin_ctz(op->mem.scale) : 0;
    p->rip_relative = op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP;
    p->addr32 = v->in.address_width == 32;
    view_set_segment(p, op->mem.segment);
}

void view_set_register(const struct view *v, const ZydisDecodedOperand *op)
{
    v->plan->reg = view_gpr(op->reg.value);
    v->plan->reg_size = (u8)(op->size / 8);
    v->plan->reg_high = is_high_byte(op->reg.value);
}

void view_memory(struct view *v)
{
    v->mem = find_memory(v);
    if (v->mem && v->mem->mem.type == ZYDIS_MEMOP_TYPE_AGEN) /* lea */
        v->mem = NULL;
    if (!v->mem)
        return;
    set_address(v, v->mem);
    v->insn->size = v->mem->size / 8;
    v->insn->reads = v->mem->actions & ZYDIS_OPERAND_ACTION_MASK_READ;
    v->insn->writes = v->mem->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
}
