#include "cpu/zydis.h"

#undef alloca /* a macro of stdlib.h, which the decoder's headers include */
#include "base/trapsafe.h"

bool cpu_flow(const u8 *bytes, unsigned avail, struct cpu_flow *flow)
{
    ZydisDecodedInstruction in;

    if (!view_decode_head(bytes, avail, &in))
        return false;
    *flow = (struct cpu_flow){.length = in.length};
    if (in.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && in.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        flow->opcode = in.opcode;
    if (in.raw.imm[0].is_relative)
        flow->branch = true, flow->distance = in.raw.imm[0].value.s + in.length;
    if ((in.attributes & ZYDIS_ATTRIB_HAS_MODRM) && in.raw.modrm.mod == 0 && in.raw.modrm.rm == 5)
        flow->relative = in.raw.disp.offset;
    return true;
}
