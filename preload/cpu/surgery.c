#include "cpu/plan.h"
#include "base/trapsafe.h"

/*
 * Byte layout of instructions: SDM vol. 2, 2.1 (legacy), 2.3.5 (VEX), 2.7.1
 * (EVEX); AMD APM vol. 3, 1.2.6 (XOP).
 */
static bool is_rex(u8 byte)
{
    return (byte & 0xf0) == 0x40;
}

static bool is_prefix(u8 byte)
{
    switch (byte) {
    case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65:
    case 0x66: case 0x67: case 0xf0: case 0xf2: case 0xf3:
        return true;
    default:
        return is_rex(byte);
    }
}

unsigned surgery_prefixes(const u8 *bytes, unsigned length)
{
    unsigned n = 0;

    while (n < length && is_prefix(bytes[n]))
        n++;
    return n;
}

/*
 * Does the prefix stay? Segments, 67 and lock go: the scratch is private and
 * its address is the whole truth. A REX counts only right before the opcode; one
 * that stood before a prefix now dropped would come to life, so it goes too.
 */
static bool stays(const u8 *bytes, unsigned i, unsigned prefixes, bool elision)
{
    switch (bytes[i]) {
    case 0x66:
        return true;
    case 0xf2: case 0xf3:
        return !elision;
    default:
        return is_rex(bytes[i]) && i + 1 == prefixes;
    }
}

/*
 * Clears the bits that extend base and index, and puts the stand-in where vvvv
 * names rsp. Bits of VEX, EVEX and XOP are stored inverted. R needs no change:
 * rsp is register 4, so it is clear as it must be for the stand-in.
 */
static void patch_vector_prefix(const struct surgery *s, const u8 *in, u8 *out)
{
    unsigned vvvv = in[0] == 0xc5 ? 1 : 2;

    if (in[0] != 0xc5)
        out[1] |= 0x60;
    if (s->in_vvvv)
        out[vvvv] = (u8)((out[vvvv] & ~0x78) | (~s->stand_in & 15) << 3);
}

static bool has_vector_prefix(const struct surgery *s, unsigned at)
{
    u8 byte = s->bytes[at];

    /* In 64-bit mode C4, C5 and 62 are nothing else; 8F with a map number below 8 is pop. */
    return byte == 0xc4 || byte == 0xc5 || byte == 0x62 || (byte == 0x8f && s->modrm > at + 1);
}

unsigned surgery_operate(const struct surgery *s, u8 out[15])
{
    unsigned prefixes = surgery_prefixes(s->bytes, s->length);
    unsigned n = 0, opcode;
    u8 reg = s->bytes[s->modrm] >> 3 & 7;

    for (unsigned i = 0; i < prefixes; i++) {
        u8 byte = s->bytes[i];

        if (stays(s->bytes, i, prefixes, s->elision))
            out[n++] = is_rex(byte) ? byte & 0xfc : byte; /* X and B clear */
    }
    opcode = n;
    for (unsigned i = prefixes; i < s->modrm; i++)
        out[n++] = s->bytes[i];
    if (has_vector_prefix(s, prefixes))
        patch_vector_prefix(s, s->bytes + prefixes, out + opcode);
    if (s->in_reg)
        reg = s->stand_in;
    out[n++] = (u8)(reg << 3 | s->scratch); /* mod 00: [scratch] */
    for (unsigned i = s->tail; i < s->length; i++)
        out[n++] = s->bytes[i];
    return n;
}

unsigned surgery_strip(const u8 *bytes, unsigned length, u8 out[15])
{
    unsigned prefixes = surgery_prefixes(bytes, length);
    unsigned n = 0;

    for (unsigned i = 0; i < length; i++)
        if (i >= prefixes || stays(bytes, i, prefixes, false))
            out[n++] = bytes[i];
    return n;
}
