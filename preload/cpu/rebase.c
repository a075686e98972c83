/* What site patching asks the decoder: instructions on another operand, and flags that are wanted. */
#include "cpu/zydis.h"

#include "base/mem.h"
#include "cpu/trampoline.h"

#undef alloca /* a macro of stdlib.h, which the decoder's headers include */
#include "base/trapsafe.h"

#define PREFIX_FS 0x64

/* ---- fs:[displacement] in the place of the operand ---- */

/* Segments and 67 go, the new segment comes first. A REX counts only right before the opcode, and names no base now. */
static unsigned rebase_prefixes(const struct cpu_insn *insn, unsigned prefixes, u8 *out)
{
    unsigned n = 0;

    out[n++] = PREFIX_FS;
    for (unsigned i = 0; i < prefixes; i++) {
        u8 byte = insn->bytes[i];

        if (byte == 0x66 || byte == 0xf2 || byte == 0xf3 || byte == 0xf0)
            out[n++] = byte;
        else if ((byte & 0xf0) == 0x40 && i + 1 == prefixes)
            out[n++] = byte & 0xfc; /* X and B clear */
    }
    return n;
}

/* Bits of C4, 62 and 8F that extend base and index are stored inverted. */
static void rebase_vector_prefix(const u8 *in, bool encoded, u8 *out)
{
    if (encoded && in[0] != 0xc5)
        out[1] |= 0x60;
}

unsigned cpu_rebase(const struct cpu_insn *insn, i32 displacement, u8 out[24])
{
    struct cpu_insn copy;
    struct plan plan;
    struct view v = {.insn = &copy, .plan = &plan};
    unsigned prefixes = surgery_prefixes(insn->bytes, insn->length), n, opcode, modrm, tail;
    bool more;

    if (!view_decode(&v, insn->bytes, insn->length, &more) || !(v.in.attributes & ZYDIS_ATTRIB_HAS_MODRM))
        return 0;
    modrm = v.in.raw.modrm.offset;
    tail = modrm + (v.in.attributes & ZYDIS_ATTRIB_HAS_SIB ? 2 : 1);
    if (v.in.raw.disp.size)
        tail = v.in.raw.disp.offset + v.in.raw.disp.size / 8;
    n = opcode = rebase_prefixes(insn, prefixes, out);
    for (unsigned i = prefixes; i < modrm; i++)
        out[n++] = insn->bytes[i];
    rebase_vector_prefix(insn->bytes + prefixes, v.in.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY, out + opcode);
    out[n++] = (u8)((insn->bytes[modrm] & 0x38) | 4); /* mod 00, a SIB byte without base and index: SDM vol. 2, table 2-3 */
    out[n++] = 0x25;
    memcpy(out + n, &displacement, 4);
    n += 4;
    for (unsigned i = tail; i < insn->length; i++)
        out[n++] = insn->bytes[i];
    return n;
}

/* ---- flags ---- */

#define STEPS 16 /* instructions that are looked at */

/* Where the program goes on, if that is known. */
static bool follow(const ZydisDecodedInstruction *in, const u8 **at, const u8 *begin, const u8 *end)
{
    const u8 *next = *at + in->length;

    if (in->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE) {
        if (in->mnemonic != ZYDIS_MNEMONIC_JMP || !in->raw.imm[0].is_relative)
            return false;
        next += in->raw.imm[0].value.s;
    }
    *at = next;
    return next >= begin && next < end;
}

u32 cpu_flags_wanted(const u8 *code, unsigned avail)
{
    const u8 *at = code, *end = code + avail;
    u32 open = FLAGS_STUB, wanted = 0;
    struct cpu_insn copy;
    struct plan plan;
    struct view v = {.insn = &copy, .plan = &plan};
    bool more;

    for (unsigned i = 0; i < STEPS && open; i++) {
        if (!view_decode(&v, at, (unsigned)MIN((u64)(end - at), (u64)15), &more))
            return wanted | open;
        if (v.in.cpu_flags) {
            wanted |= v.in.cpu_flags->tested & open;
            /* What is written only under a condition (a count of zero, say) is not written for sure. */
            if (v.in.meta.category != ZYDIS_CATEGORY_SHIFT && v.in.meta.category != ZYDIS_CATEGORY_ROTATE &&
                v.in.meta.category != ZYDIS_CATEGORY_STRINGOP)
                open &= ~(v.in.cpu_flags->modified | v.in.cpu_flags->set_0 | v.in.cpu_flags->set_1);
        }
        if (open && !follow(&v.in, &at, code, end))
            return wanted | open;
    }
    return wanted | open;
}
