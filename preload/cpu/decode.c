/*
 * Turns an instruction into a plan: which path it takes, where its memory
 * operand is, what its other operand is, or why it is refused.
 */
#include "cpu/zydis.h"

#include "base/mem.h"
#undef alloca /* a macro of stdlib.h, which the decoder's headers include */
#include "base/trapsafe.h"

/* ---- what is not emulated ---- */

static bool is_amx(const struct view *v)
{
    return v->in.meta.isa_ext == ZYDIS_ISA_EXT_AMX_TILE || v->in.meta.isa_ext == ZYDIS_ISA_EXT_AMX_BF16 ||
           v->in.meta.isa_ext == ZYDIS_ISA_EXT_AMX_INT8;
}

/* The segment register that a mov, pop, lgs or lss loads, or ZYDIS_REGISTER_NONE. */
static ZydisRegister loaded_segment(const struct view *v)
{
    for (unsigned i = 0; i < v->in.operand_count; i++)
        if (v->ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER && view_is_segment(v->ops[i].reg.value) &&
            (v->ops[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            return v->ops[i].reg.value;
    return ZYDIS_REGISTER_NONE;
}

static const char *refuse_by_category(const struct view *v)
{
    switch (v->in.meta.category) {
    case ZYDIS_CATEGORY_CET:
        return "shadow stack";
    case ZYDIS_CATEGORY_ENQCMD:
        return "enqueue command";
    case ZYDIS_CATEGORY_PADLOCK:
        return "VIA PadLock";
    case ZYDIS_CATEGORY_VTX:
        return "virtual machine instruction";
    case ZYDIS_CATEGORY_SGX:
        return "enclave instruction";
    case ZYDIS_CATEGORY_UINTR:
        return "user interrupt";
    default:
        return NULL;
    }
}

static const char *refuse(const struct view *v)
{
    switch (v->in.mnemonic) {
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
        return "undefined instruction";
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
        return "far transfer";
    case ZYDIS_MNEMONIC_LGDT: /* these the decoder does not mark */
    case ZYDIS_MNEMONIC_LIDT:
    case ZYDIS_MNEMONIC_LTR:
    case ZYDIS_MNEMONIC_LMSW:
        return "privileged instruction";
    default:
        break;
    }
    if (is_amx(v))
        return "AMX tile";
    if (v->in.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED)
        return "privileged instruction";
    if (v->in.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        return "far transfer";
    if (loaded_segment(v) == ZYDIS_REGISTER_FS)
        return "fs load: fs is the thread's data";
    return refuse_by_category(v);
}

/* ---- instructions that touch nothing ---- */

/*
 * CLFLUSH and its like fault on memory that cannot be read, though they change
 * nothing. MPX is off in every kernel that still runs: its opcodes are NOPs.
 */
static bool is_nop(const struct view *v)
{
    switch (v->in.mnemonic) {
    case ZYDIS_MNEMONIC_CLFLUSH:
    case ZYDIS_MNEMONIC_CLFLUSHOPT:
    case ZYDIS_MNEMONIC_CLWB:
    case ZYDIS_MNEMONIC_CLDEMOTE:
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_NOP:
        return true;
    default:
        break;
    }
    switch (v->in.meta.category) {
    case ZYDIS_CATEGORY_PREFETCH:
    case ZYDIS_CATEGORY_PREFETCHWT1:
    case ZYDIS_CATEGORY_MPX:
    case ZYDIS_CATEGORY_NOP:
    case ZYDIS_CATEGORY_WIDENOP:
        return true;
    default:
        return v->in.meta.isa_set == ZYDIS_ISA_SET_AVX512PF_512;
    }
}

/* ---- the second operand of the C paths ---- */

static bool plan_move(const struct view *v)
{
    const ZydisDecodedOperand *to = &v->ops[0], *from = &v->ops[1];
    bool widening = false;

    switch (v->in.mnemonic) {
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
        v->plan->sign_extend = true;
        widening = true;
        /* The decoder says 4 bytes also for MOVSXD r16, r/m16 (SDM vol. 2, MOVSXD). */
        v->insn->size = (u16)MIN(v->insn->size, to->size / 8);
        break;
    case ZYDIS_MNEMONIC_MOVZX:
        widening = true;
        break;
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVNTI:
    case ZYDIS_MNEMONIC_MOVDIRI:
        break;
    default:
        return false;
    }
    if (from == v->mem && view_gpr(to->reg.value) != REG_NONE) {
        view_set_register(v, to);
        v->insn->kind = KIND_LOAD;
        return true;
    }
    if (to != v->mem || widening)
        return false;
    if (from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        v->plan->imm = from->imm.value.u;
        v->insn->kind = KIND_STORE_IMM;
        return true;
    }
    if (view_gpr(from->reg.value) == REG_NONE)
        return false;
    view_set_register(v, from);
    v->insn->kind = KIND_STORE;
    return true;
}

/* The last of F2 and F3 counts; both repeat an instruction that compares nothing. */
static u8 repeat_prefix(const struct view *v)
{
    unsigned prefixes = surgery_prefixes(v->insn->bytes, v->insn->length);
    u8 repeat = REP_NONE;

    for (unsigned i = 0; i < prefixes; i++) {
        if (v->insn->bytes[i] == 0xf3)
            repeat = REP_E;
        else if (v->insn->bytes[i] == 0xf2)
            repeat = REP_NE;
    }
    return repeat;
}

static void plan_string(const struct view *v)
{
    static const u8 ops[] = {STRING_MOVS, STRING_CMPS, STRING_MOVS /* test */, STRING_STOS, STRING_LODS, STRING_SCAS};
    struct plan *p = v->plan;

    v->insn->kind = KIND_STRING;
    p->op = ops[(v->in.opcode - 0xa4) / 2];
    p->repeat = repeat_prefix(v);
    for (unsigned i = 0; i < v->in.operand_count; i++) /* only the side of rsi obeys a segment prefix */
        if (v->ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY && view_gpr(v->ops[i].mem.base) == RSI)
            view_set_segment(p, v->ops[i].mem.segment);
    v->insn->reads = p->op != STRING_STOS;
    v->insn->writes = p->op == STRING_MOVS || p->op == STRING_STOS;
}

static bool stack_op(ZydisMnemonic mnemonic, u8 *op)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
        *op = STACK_PUSH;
        return true;
    case ZYDIS_MNEMONIC_POP:
        *op = STACK_POP;
        return true;
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFQ:
        *op = STACK_PUSHF;
        return true;
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFQ:
        *op = STACK_POPF;
        return true;
    case ZYDIS_MNEMONIC_CALL:
        *op = STACK_CALL;
        return true;
    case ZYDIS_MNEMONIC_JMP:
        *op = STACK_JUMP;
        return true;
    case ZYDIS_MNEMONIC_RET:
        *op = STACK_RET;
        return true;
    case ZYDIS_MNEMONIC_LEAVE:
        *op = STACK_LEAVE;
        return true;
    case ZYDIS_MNEMONIC_ENTER:
        *op = STACK_ENTER;
        return true;
    default:
        return false;
    }
}

/* What is pushed, popped or jumped to. */
static void plan_stack_source(const struct view *v)
{
    const ZydisDecodedOperand *op = &v->ops[0];
    struct plan *p = v->plan;

    if (op == v->mem && op->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
        p->source = FROM_MEMORY;
    } else if (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        p->source = FROM_IMMEDIATE;
        p->imm = op->imm.value.u;
    } else if (op->type == ZYDIS_OPERAND_TYPE_REGISTER && view_is_segment(op->reg.value)) {
        p->source = FROM_SEGMENT;
        p->reg = (u8)(op->reg.value - ZYDIS_REGISTER_ES);
    } else {
        p->source = FROM_REGISTER;
        p->reg = view_gpr(op->reg.value);
    }
}

/* pop gs: the CPU loads what was popped, by mov gs, [rsi]. */
static void plan_load_gs(struct plan *p)
{
    static const u8 code[] = {0x8e, 0x2e};

    p->scratch = RSI;
    p->stub = stub_make(code, sizeof(code));
    p->stub_length = sizeof(code);
}

static bool plan_stack(const struct view *v)
{
    struct plan *p = v->plan;

    if (!stack_op(v->in.mnemonic, &p->op))
        return false;
    v->insn->kind = KIND_STACK;
    p->source = FROM_IMMEDIATE; /* ret without operand: drops 0 bytes */
    if (p->op == STACK_ENTER) {
        p->imm = v->ops[0].imm.value.u;
        p->lanes = v->ops[1].imm.value.u & 31; /* nesting level */
    } else if (p->op != STACK_LEAVE && p->op != STACK_PUSHF && p->op != STACK_POPF &&
               v->ops[0].visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
        plan_stack_source(v);
    }
    if (p->op == STACK_POP && p->source == FROM_SEGMENT)
        plan_load_gs(p);
    return true;
}

/* ---- putting it together ---- */

/* The operand that the port's bytes go to or come from: the accumulator, or memory. */
static void plan_port(const struct view *v)
{
    bool in = v->in.mnemonic == ZYDIS_MNEMONIC_IN;
    const ZydisDecodedOperand *port = &v->ops[in], *value = &v->ops[!in];
    struct plan *p = v->plan;

    v->insn->kind = KIND_PORT;
    p->source = FROM_REGISTER;
    if (v->in.meta.category == ZYDIS_CATEGORY_IOSTRINGOP) {
        p->op = v->insn->writes ? PORT_INS : PORT_OUTS;
        p->repeat = repeat_prefix(v);
        p->reg_size = (u8)v->insn->size;
        return;
    }
    p->op = in ? PORT_IN : PORT_OUT;
    p->reg_size = (u8)(value->size / 8);
    v->insn->size = 0;
    if (port->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        p->source = FROM_IMMEDIATE;
        p->imm = (u8)port->imm.value.u;
    }
}

/* umonitor and clzero name their address in a register. */
static bool plan_line(const struct view *v)
{
    struct plan *p = v->plan;

    if (v->in.mnemonic != ZYDIS_MNEMONIC_UMONITOR && v->in.mnemonic != ZYDIS_MNEMONIC_CLZERO)
        return false;
    p->base = view_gpr(v->ops[0].reg.value);
    p->addr32 = v->in.address_width == 32;
    v->insn->size = 1;
    v->insn->kind = KIND_NOP;
    if (v->in.mnemonic == ZYDIS_MNEMONIC_CLZERO) {
        v->insn->kind = KIND_ZERO_LINE;
        v->insn->size = 64;
        v->insn->writes = true;
    }
    return true;
}

static bool is_xsave(const struct view *v)
{
    return v->in.meta.category == ZYDIS_CATEGORY_XSAVE || v->in.meta.category == ZYDIS_CATEGORY_XSAVEOPT;
}

static const char *plan_memory(const struct view *v)
{
    const char *why = refuse(v);

    if (why)
        return why;
    if (is_nop(v)) {
        v->insn->kind = KIND_NOP;
        v->insn->size = 1;
        v->insn->reads = v->insn->writes = false;
        return NULL;
    }
    if (v->in.meta.category == ZYDIS_CATEGORY_STRINGOP) {
        plan_string(v);
    } else if (v->mem->mem.type == ZYDIS_MEMOP_TYPE_VSIB) {
        plan_vsib(v);
    } else if (v->in.mnemonic == ZYDIS_MNEMONIC_XLAT) {
        v->insn->kind = KIND_XLAT;
    } else if (v->in.mnemonic == ZYDIS_MNEMONIC_MOVDIR64B) {
        view_set_register(v, &v->ops[0]);
        v->insn->kind = KIND_DIRECT64;
    } else if (is_xsave(v)) {
        return plan_xsave(v);
    } else if (plan_stack(v)) {
        return v->plan->op == STACK_POP && v->plan->source == FROM_SEGMENT && !v->plan->stub ? NO_CODE : NULL;
    } else if (!plan_move(v)) {
        v->plan->loads_ss = loaded_segment(v) == ZYDIS_REGISTER_SS;
        return plan_execute(v);
    }
    return NULL;
}

static const char *make_plan(struct view *v)
{
    struct plan *p = v->plan;
    const char *why;

    p->base = p->index = p->scratch = p->stand_in = p->bit_offset = p->reg = REG_NONE;
    view_memory(v);
    if (v->in.meta.category == ZYDIS_CATEGORY_IO || v->in.meta.category == ZYDIS_CATEGORY_IOSTRINGOP) {
        plan_port(v);
        return NULL;
    }
    if (plan_line(v))
        return NULL;
    if (v->mem)
        return plan_memory(v);
    why = refuse(v);
    return why ? why : "no memory operand";
}

bool cpu_decode(struct cpu_insn *insn, const u8 *bytes, unsigned avail, bool *more)
{
    struct view v = {.insn = insn, .plan = (struct plan *)(void *)insn->detail};

    memset(insn, 0, sizeof(*insn));
    if (!view_decode(&v, bytes, avail, more)) {
        insn->refusal = "instruction unknown to the decoder";
        return false;
    }
    memcpy(insn->bytes, bytes, v.in.length);
    insn->length = v.in.length;
    insn->refusal = make_plan(&v);
    insn->segmented = v.plan->segment != SEGMENT_FLAT;
    if (insn->refusal)
        insn->kind = KIND_REFUSED;
    return true;
}
