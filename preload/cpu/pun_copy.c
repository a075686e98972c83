/* An instruction's copy that runs elsewhere. Byte layout: SDM vol. 2, appendix A. */
#include "cpu/pun_plan.h"
#include "cpu/zydis.h"

#undef alloca /* a macro of stdlib.h, which the decoder's headers include */
#include "base/trapsafe.h"

struct copy {
    u64 from, to;
    const u8 *bytes;
    unsigned length;
    u8 *out;
    unsigned n;
    bool far; /* something is out of reach */
};

/* ---- what it is ---- */

static bool legacy(const ZydisDecodedInstruction *in, ZydisOpcodeMap map)
{
    return in->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && in->opcode_map == map;
}

static enum pun_flow flow_of_group5(const ZydisDecodedInstruction *in)
{
    switch (in->raw.modrm.reg) {
    case 2: return FLOW_CALL_INDIRECT;
    case 3: return FLOW_SYSTEM; /* a far call */
    case 4: return FLOW_STOP;
    case 5: return FLOW_STOP;
    default: return FLOW_PLAIN;
    }
}

static enum pun_flow flow_of_one_byte(const ZydisDecodedInstruction *in)
{
    u8 op = in->opcode;

    if (op >= 0x70 && op <= 0x7f)
        return FLOW_CONDITIONAL;
    switch (op) {
    case 0xc2: case 0xc3: case 0xca: case 0xcb: case 0xcf: case 0xf4:
        return FLOW_STOP;
    case 0xcc: case 0xcd: case 0xf1:
        return FLOW_SYSTEM;
    case 0xc6: case 0xc7: /* xabort, xbegin */
        return in->raw.modrm.mod == 3 && in->raw.modrm.reg == 7 ? FLOW_SYSTEM : FLOW_PLAIN;
    case 0xe0: case 0xe1: case 0xe2: case 0xe3:
        return FLOW_LOOP;
    case 0xe8: return FLOW_CALL;
    case 0xe9: case 0xeb: return FLOW_JUMP;
    case 0xff: return flow_of_group5(in);
    default: return FLOW_PLAIN;
    }
}

static enum pun_flow flow_of_two_bytes(const ZydisDecodedInstruction *in)
{
    switch (in->opcode) {
    case 0x05: case 0x07: case 0x34: case 0x35: /* syscall, sysenter and their returns */
        return FLOW_SYSTEM;
    case 0x0b: case 0xb9: case 0xff: /* ud2, ud1, ud0 */
        return FLOW_STOP;
    default:
        return in->opcode >= 0x80 && in->opcode <= 0x8f ? FLOW_CONDITIONAL : FLOW_PLAIN;
    }
}

static bool has_prefix(const u8 *bytes, unsigned length, u8 prefix)
{
    for (unsigned i = 0; i < surgery_prefixes(bytes, length); i++)
        if (bytes[i] == prefix)
            return true;
    return false;
}

static bool is_nop(const u8 *bytes, unsigned length)
{
    unsigned i = surgery_prefixes(bytes, length);

    /* f3 90 is pause, 41 90 an exchange: neither is padding. */
    for (unsigned k = 0; k < i; k++)
        if (bytes[k] == 0xf3 || (bytes[k] & 0xf1) == 0x41)
            return false;
    return i < length && (bytes[i] == 0x90 || (i + 1 < length && bytes[i] == 0x0f && bytes[i + 1] == 0x1f));
}

static bool is_endbr(const u8 *bytes, unsigned length)
{
    return length == 4 && bytes[0] == 0xf3 && bytes[1] == 0x0f && bytes[2] == 0x1e && (bytes[3] & 0xfe) == 0xfa;
}

/* Is a register operand, or a part of the address, rsp? */
static bool uses_rsp(const ZydisDecodedInstruction *in)
{
    bool b = in->attributes & ZYDIS_ATTRIB_HAS_REX && in->raw.rex.B;

    return in->raw.modrm.rm == 4 && !b && in->raw.modrm.mod == 3;
}

static bool rip_relative(const ZydisDecodedInstruction *in)
{
    return (in->attributes & ZYDIS_ATTRIB_HAS_MODRM) && in->raw.modrm.mod == 0 && in->raw.modrm.rm == 5;
}

/* A call through memory reads it before it pushes, the copy afterwards: only what cannot fault may be done so. */
static bool call_copyable(const ZydisDecodedInstruction *in)
{
    return rip_relative(in) || (in->raw.modrm.mod == 3 && !uses_rsp(in));
}

static bool copyable(const ZydisDecodedInstruction *in, const struct pun_insn *insn, const u8 *bytes)
{
    if (insn->flow == FLOW_SYSTEM || is_endbr(bytes, in->length))
        return false;
    if (rip_relative(in) && in->address_width == 32)
        return false;
    /* 66 before a branch: Intel ignores it, AMD does not (SDM vol. 2, jmp; APM vol. 3, jmp). */
    if (insn->flow != FLOW_PLAIN && insn->flow != FLOW_STOP && has_prefix(bytes, in->length, 0x66))
        return false;
    return insn->flow != FLOW_CALL_INDIRECT || call_copyable(in);
}

bool pun_insn_decode(const u8 *bytes, unsigned avail, struct pun_insn *insn)
{
    ZydisDecodedInstruction in;

    if (!avail || !view_decode_head(bytes, MIN(avail, 15u), &in))
        return false;
    *insn = (struct pun_insn){.length = in.length, .flow = FLOW_PLAIN};
    if (legacy(&in, ZYDIS_OPCODE_MAP_DEFAULT))
        insn->flow = (u8)flow_of_one_byte(&in);
    else if (legacy(&in, ZYDIS_OPCODE_MAP_0F))
        insn->flow = (u8)flow_of_two_bytes(&in);
    insn->nop = is_nop(bytes, in.length);
    insn->locked = has_prefix(bytes, in.length, 0xf0);
    insn->distance = in.length + in.raw.imm[0].value.s;
    insn->copyable = copyable(&in, insn, bytes);
    return true;
}

bool pun_copyable(const u8 *bytes, unsigned length)
{
    struct pun_insn insn;

    return pun_insn_decode(bytes, length, &insn) && insn.length == length && insn.copyable;
}

/* ---- the copy ---- */

static void put(struct copy *c, u8 byte)
{
    c->out[c->n++] = byte;
}

static void put_long(struct copy *c, u32 value)
{
    memcpy(c->out + c->n, &value, 4);
    c->n += 4;
}

/* A displacement, the last of its instruction but for `behind` bytes. */
static void put_relative(struct copy *c, u64 target, unsigned behind)
{
    i64 distance = (i64)(target - (c->to + c->n + 4 + behind));

    c->far |= distance > PUN_REACH || distance < -PUN_REACH;
    put_long(c, (u32)distance);
}

static void put_jump(struct copy *c, u64 target)
{
    put(c, 0xe9);
    put_relative(c, target, 0);
}

/* push imm32 is extended to 8 bytes; the upper half is then set. Flags stay as they are. */
static void put_return_address(struct copy *c)
{
    u64 address = c->from + c->length;

    put(c, 0x68);
    put_long(c, (u32)address);
    memcpy(c->out + c->n, "\xc7\x44\x24\x04", 4); /* mov dword ptr [rsp+4], imm32 */
    c->n += 4;
    put_long(c, (u32)(address >> 32));
}

/* The bytes with their displacement adjusted. */
static void put_adjusted(struct copy *c, const ZydisDecodedInstruction *in)
{
    unsigned start = c->n, at = in->raw.disp.offset;

    memcpy(c->out + start, c->bytes, c->length);
    if (rip_relative(in)) {
        c->n = start + at;
        put_relative(c, c->from + c->length + (u64)in->raw.disp.value, c->length - at - 4);
    }
    c->n = start + c->length;
}

static void put_loop(struct copy *c, u64 target)
{
    unsigned op = c->length - 2;

    memcpy(c->out + c->n, c->bytes, op + 1);
    c->n += op + 1;
    put(c, 2);    /* over the next */
    put(c, 0xeb);
    put(c, 5);
    put_jump(c, target);
}

static void put_call_indirect(struct copy *c, const ZydisDecodedInstruction *in)
{
    unsigned start;

    put_return_address(c);
    start = c->n;
    put_adjusted(c, in);
    c->out[start + in->raw.modrm.offset] ^= 6 << 3; /* ff /2 becomes ff /4 */
}

static void put_copy(struct copy *c, const ZydisDecodedInstruction *in, enum pun_flow flow)
{
    u64 target = c->from + c->length + (u64)in->raw.imm[0].value.s;

    switch (flow) {
    case FLOW_JUMP:
        put_jump(c, target);
        break;
    case FLOW_CONDITIONAL:
        put(c, 0x0f);
        put(c, 0x80 | (in->opcode & 15));
        put_relative(c, target, 0);
        break;
    case FLOW_CALL:
        put_return_address(c);
        put_jump(c, target);
        break;
    case FLOW_LOOP:
        put_loop(c, target);
        break;
    case FLOW_CALL_INDIRECT:
        put_call_indirect(c, in);
        break;
    default:
        put_adjusted(c, in);
    }
}

unsigned pun_copy(const u8 *bytes, unsigned length, u64 from, u64 to, u8 out[PUN_COPY])
{
    struct copy c = {.from = from, .to = to, .bytes = bytes, .length = length, .out = out};
    ZydisDecodedInstruction in;
    struct pun_insn insn;

    if (!pun_insn_decode(bytes, length, &insn) || insn.length != length || !insn.copyable ||
        !view_decode_head(bytes, length, &in))
        return 0;
    put_copy(&c, &in, insn.flow);
    return c.far ? 0 : c.n;
}

struct pun_steps pun_copy_steps(const u8 *bytes, unsigned length)
{
    struct pun_insn insn;

    if (!pun_insn_decode(bytes, length, &insn))
        return (struct pun_steps){0};
    if (insn.flow == FLOW_CALL || insn.flow == FLOW_CALL_INDIRECT)
        return (struct pun_steps){.first = 5, .pushed = true}; /* push */
    if (insn.flow == FLOW_LOOP)
        return (struct pun_steps){.first = (u8)length, .counted = bytes[length - 2] != 0xe3 /* jrcxz */};
    return (struct pun_steps){0};
}
