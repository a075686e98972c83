/* Registers, displacements and memory such that an instruction's operands lie where the test wants them. */
#include <string.h>

#include "arena.h"
#include "insn.h"

#define NONE 0xffu

struct aim {
    struct insn *insn;
    struct state *state;
    u64 rip;
    u32 set; /* registers whose value is settled */
    u64 fs_base;
};

static u8 number(ZydisRegister reg)
{
    ZydisRegister wide = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);

    if (wide < ZYDIS_REGISTER_RAX || wide > ZYDIS_REGISTER_R15)
        return NONE;
    return (u8)(wide - ZYDIS_REGISTER_RAX);
}

static u8 vector_number(ZydisRegister reg)
{
    return (u8)ZydisRegisterGetId(reg);
}

/* ---- one operand ---- */

/*
 * mod 00 with base 101 in the SIB byte is a displacement without base, whatever REX.B says (SDM vol. 2,
 * table 2-5). libZydis 4.0.0 takes it for r13 when REX.B is set.
 */
static bool has_no_base(const struct insn *i, const ZydisDecodedOperand *op)
{
    return op->mem.base == ZYDIS_REGISTER_NONE ||
           (op->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT && (i->in.attributes & ZYDIS_ATTRIB_HAS_SIB) &&
            i->in.raw.modrm.mod == 0 && i->in.raw.sib.base == 5);
}

static u64 segment_base(const struct aim *a, const ZydisDecodedOperand *op)
{
    if (op->mem.segment == ZYDIS_REGISTER_FS)
        return a->fs_base;
    return op->mem.segment == ZYDIS_REGISTER_GS ? runner_gs_base() : 0;
}

/* Writes the displacement of the instruction itself. */
static bool patch_displacement(struct insn *i, u64 value)
{
    unsigned bytes = i->in.raw.disp.size / 8u;

    if (bytes < 4)
        return false;
    memcpy(i->bytes + i->in.raw.disp.offset, &value, bytes);
    return insn_decode(i, i->bytes, i->length);
}

/* Indices of a gather near each other, some of them wild. */
static void tame_indices(struct aim *a, const ZydisDecodedOperand *op)
{
    unsigned size = a->insn->in.opcode & 1 ? 8 : 4; /* opcodes 90 to 93 and A0 to A3: odd ones take quadwords */
    bool wild = rnd() % 4 == 0;
    u8 vector[64];

    for (unsigned k = 0; k < 64; k += size) {
        i64 index = wild && rnd() % 4 == 0 ? (i64)rnd() : (i64)(rnd() % 200) - 100;

        memcpy(vector + k, &index, size);
    }
    state_put_vector(a->state, vector_number(op->mem.index), vector);
}

/* The upper half of registers that addresses of 32 bits come from. */
static u64 garbage(const struct aim *a)
{
    return a->insn->in.address_width == 32 ? rnd() << 32 : 0;
}

static void set(struct aim *a, u8 reg, u64 value)
{
    a->state->gpr[reg] = a->insn->in.address_width == 32 ? (u32)value | garbage(a) : value;
    a->set |= 1u << reg;
}

/* base + index << shift == want. */
static bool solve(struct aim *a, u8 base, u8 index, unsigned scale, u64 want)
{
    u64 *gpr = a->state->gpr;

    if (base != NONE && base == index) {
        set(a, base, want / (scale + 1)); /* up to 8 bytes short */
        return true;
    }
    if (base != NONE && !(a->set >> base & 1)) {
        if (index != NONE && !(a->set >> index & 1)) {
            gpr[index] = rnd() & 1 ? rnd() & 0x3f : rnd();
            a->set |= 1u << index;
        }
        set(a, base, want - (index == NONE ? 0 : gpr[index] * scale));
        return true;
    }
    if (index != NONE && !(a->set >> index & 1)) {
        set(a, index, (want - (base == NONE ? 0 : gpr[base])) / scale);
        return true;
    }
    return false;
}

static bool is_bit_test(const struct insn *i)
{
    switch (i->in.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        return i->ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
    default:
        return false;
    }
}

/* bt %rax, (%rax): an eighth of the register is added to it. */
static bool offsets_itself(const struct insn *i, u8 base, u8 index)
{
    return is_bit_test(i) && number(i->ops[1].reg.value) == base && index == NONE;
}

static bool aim_operand(struct aim *a, const ZydisDecodedOperand *op, u64 at)
{
    struct insn *i = a->insn;
    u8 base = has_no_base(i, op) ? NONE : number(op->mem.base);
    bool vsib = op->mem.type == ZYDIS_MEMOP_TYPE_VSIB;
    u8 index = op->mem.index == ZYDIS_REGISTER_NONE || vsib ? NONE : number(op->mem.index);
    u64 want = at - segment_base(a, op);
    bool misread = has_no_base(i, op) && op->mem.base != ZYDIS_REGISTER_NONE;
    u64 disp = (u64)(misread ? i->in.raw.disp.value : op->mem.disp.value);

    if (op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP)
        return op->mem.segment != ZYDIS_REGISTER_FS && patch_displacement(i, want - (a->rip + i->length));
    if (vsib)
        tame_indices(a, op);
    if (base == NONE && index == NONE)
        return op->mem.segment != ZYDIS_REGISTER_FS && patch_displacement(i, want);
    if (offsets_itself(i, base, index)) {
        set(a, base, want - disp - (want - disp) / 9);
        return true;
    }
    return solve(a, base, index, op->mem.scale > 1 ? op->mem.scale : 1, want - disp);
}

/* ---- all operands ---- */

/* An image ends where one of its components does, and begins at a multiple of 64. */
static unsigned image_size(void)
{
    unsigned at = 0, size = 0, i = (unsigned)(rnd() & 7);

    if (i < 2 || !(components >> i & 1))
        return rnd() & 1 ? 512 : 576;
    state_component(i, &at, &size);
    return at + size;
}

static u64 address_for(enum place place, unsigned size)
{
    u64 part = rnd() % size + (size > 1 && rnd() & 1 ? 0 : 1); /* bytes before the boundary */

    part = MIN(part, (u64)size);
    switch (place) {
    case ALIGNED:
        return WINDOW + (rnd() % (WINDOW_SIZE - size) & ~(u64)63);
    case ACROSS_PAGE:
        return WINDOW + 0x1000 - part;
    case FROM_BELOW:
        return WINDOW - part;
    case TO_ABOVE:
        return ABOVE - part;
    case FROM_HOLE:
        return LONE - part;
    case TO_HOLE:
        return LONE + LONE_SIZE - part;
    default:
        return WINDOW + 256 + rnd() % (WINDOW_SIZE - 512 - size);
    }
}

/* Where an operand lies that is not the one in question. */
static u64 other_address(unsigned size)
{
    switch (rnd() & 3) {
    case 0:
        return BELOW + 512 + rnd() % (0x1000 - 1024 - size);
    case 1:
        return ABOVE + 512 + rnd() % (0x1000 - 1024 - size);
    default:
        return WINDOW + 512 + rnd() % (WINDOW_SIZE - 1024 - size);
    }
}

static bool is_repeated(const struct insn *i)
{
    return i->in.meta.category == ZYDIS_CATEGORY_STRINGOP &&
           (i->in.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE) ||
            i->in.raw.prefix_count);
}

/* A small frame, and a frame pointer that can be followed. */
static void tame_enter(struct aim *a)
{
    u16 size = (u16)(rnd() & 0x7f);

    memcpy(a->insn->bytes + a->insn->in.raw.imm[0].offset, &size, 2);
    insn_decode(a->insn, a->insn->bytes, a->insn->length);
    a->state->gpr[RBP] = other_address(256);
    a->set |= 1u << RBP;
    arena_randomise(a->state->gpr[RBP] - 256, 256);
}

/* A relative call goes where branches go. */
static void tame_call(struct aim *a)
{
    struct insn *i = a->insn;
    u64 distance = runner_branch_target() - (a->rip + i->length);

    if (i->in.mnemonic != ZYDIS_MNEMONIC_CALL)
        return;
    if (i->ops[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        memcpy(i->bytes + i->in.raw.imm[0].offset, &distance, MIN(i->in.raw.imm[0].size / 8u, 8u));
        insn_decode(i, i->bytes, i->length);
    } else if (i->ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER && rnd() % 8 && number(i->ops[0].reg.value) != RSP) {
        a->state->gpr[number(i->ops[0].reg.value)] = runner_branch_target();
    }
}

/*
 * The components that are asked for, mostly those that are compared. PKRU (9) would close memory of the test's. An
 * address in one of the two registers asks for whatever it happens to.
 */
static void tame_xsave(struct aim *a)
{
    u64 mask = components;

    /* Whether the CPU calls SSE in its initial state in use depends on switches to other threads. */
    a->state->area[512] |= 2;
    if (rnd() & 3)
        mask &= rnd();
    if (rnd() % 8 == 0)
        mask ^= rnd() & ~(u64)0x200;
    a->state->gpr[RAX] = (u32)mask | rnd() << 32;
    a->state->gpr[RDX] = (u32)(mask >> 32) | rnd() << 32;
}

/* Counts and bit offsets that keep to the arena, mostly. */
static void tame_registers(struct aim *a)
{
    u64 *gpr = a->state->gpr;

    if (is_repeated(a->insn)) {
        gpr[RCX] = rnd() % 8 ? rnd() % 24 : rnd() % 1200;
        a->set |= 1u << RCX;
        if (rnd() & 1)
            memset(&gpr[RAX], 0x41, 8);
    }
    if (a->insn->in.mnemonic == ZYDIS_MNEMONIC_ENTER)
        tame_enter(a);
    tame_call(a);
    if (insn_is_xsave(a->insn))
        tame_xsave(a);
    if (is_bit_test(a->insn)) {
        u8 reg = number(a->insn->ops[1].reg.value);

        gpr[reg] = (rnd() & 0x7ff) - 0x400;
        a->set |= 1u << reg;
    }
}

/* ---- contents ---- */

static bool branches(const struct insn *i)
{
    return i->in.mnemonic == ZYDIS_MNEMONIC_CALL || i->in.mnemonic == ZYDIS_MNEMONIC_JMP ||
           i->in.mnemonic == ZYDIS_MNEMONIC_RET;
}

/* fxrstor: sometimes MXCSR has bits that are reserved. */
static void put_legacy_image(u64 at)
{
    static struct state s;

    state_random(&s);
    if (rnd() % 8 == 0)
        s.area[24 + rnd() % 4] ^= (u8)rnd();
    arena_put(at, s.area, 512);
}

/* As the CPU writes it, on top of random bytes; sometimes with something wrong in the header or in MXCSR. */
static void put_image(u64 at)
{
    static u8 image[AREA_BYTES] __attribute__((aligned(64)));
    static struct state s;

    state_random(&s);
    random_bytes(image, sizeof(image));
    memset(image + 512, 0, 64);
    runner_image(&s, rnd() & 1 ? components : components & rnd(), rnd() & 1, image);
    if (rnd() % 8 == 0)
        image[512 + rnd() % (rnd() & 1 ? 64 : 16)] ^= (u8)(rnd() & 1 ? rnd() : 1u << (rnd() & 7));
    if (rnd() % 16 == 0)
        image[24 + rnd() % 4] ^= (u8)rnd();
    arena_put(at, image, area_size);
}

/* A selector that can be loaded, or one that cannot: code, kernel's, absent, of a local table. */
static void put_selector(u64 at, const struct insn *i, unsigned size)
{
    static const u16 selectors[] = {0, 1, 2, 3, 0x2b, 0x2b, 0x2a, 0x33, 0x23, 0x18, 0x63, 0x7b, 7, 0x2f};
    u16 value = rnd() % 8 ? selectors[rnd() % ARRAY_SIZE(selectors)] : (u16)rnd();
    bool far = i->in.mnemonic == ZYDIS_MNEMONIC_LGS || i->in.mnemonic == ZYDIS_MNEMONIC_LSS;

    arena_put(far ? at + size - 2 : at, &value, 2);
}

/* What must be there for the instruction to do something. */
static void fill(const struct aim *a, u64 at, unsigned size)
{
    const struct insn *i = a->insn;
    u64 value;

    if (i->in.meta.category == ZYDIS_CATEGORY_STRINGOP && rnd() & 1) { /* equal stretches: comparisons go on */
        u8 same[256];

        memset(same, 0x41, sizeof(same));
        same[rnd() % 256] = (u8)rnd();
        arena_put(at - 32, same, sizeof(same));
        return;
    }
    arena_randomise(at - 16, MIN(size, 256u) + 48);
    if (branches(i) && rnd() % 8) {
        value = runner_branch_target();
        arena_put(at, &value, 8);
    }
    if (i->in.mnemonic == ZYDIS_MNEMONIC_POPFQ || i->in.mnemonic == ZYDIS_MNEMONIC_POPF) {
        value = rnd() & ~(u64)0x40000; /* alignment checks would concern the code of the test */
        arena_put(at, &value, 8);
    }
    if (i->in.mnemonic == ZYDIS_MNEMONIC_LDMXCSR || i->in.mnemonic == ZYDIS_MNEMONIC_VLDMXCSR) {
        value = rnd() & 0xffff;
        arena_put(at, &value, 4);
    }
    if (insn_loads_segment(i) != ZYDIS_REGISTER_NONE)
        put_selector(at, i, size);
    if (insn_is_xsave(i))
        put_image(at);
    else if (size >= 512)
        put_legacy_image(at);
}

static bool is_hidden_push(const ZydisDecodedOperand *op)
{
    return op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && op->mem.base == ZYDIS_REGISTER_RSP &&
           (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
}

static bool aim_one(struct aim *a, unsigned k, u64 at)
{
    ZydisDecodedOperand op = a->insn->ops[k];
    unsigned size = MAX(op.size / 8u, 1u);

    if (op.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && op.mem.base == ZYDIS_REGISTER_RSP) {
        if (!(a->set >> RSP & 1)) /* prefix 67 does not concern the stack */
            a->state->gpr[RSP] = is_hidden_push(&op) ? at + size : at;
        a->set |= 1u << RSP;
    } else if (!aim_operand(a, &op, at)) {
        return false;
    }
    fill(a, at, size);
    return true;
}

/* The destination of movdir64b is a register that names an address. */
static void aim_line(struct aim *a)
{
    u8 reg = number(a->insn->ops[0].reg.value);

    if (a->insn->in.mnemonic == ZYDIS_MNEMONIC_MOVDIR64B && !(a->set >> reg & 1))
        set(a, reg, other_address(64) & (rnd() % 8 ? ~(u64)63 : ~(u64)0));
}

bool insn_aim(struct insn *i, struct state *s, u64 rip, enum place place)
{
    struct aim a = {.insn = i, .state = s, .rip = rip, .fs_base = runner_fs_base()};
    unsigned operands[4], n = 0, main;
    bool aimed = false;

    for (unsigned k = 0; k < i->in.operand_count && n < ARRAY_SIZE(operands); k++)
        if (i->ops[k].type == ZYDIS_OPERAND_TYPE_MEMORY && i->ops[k].mem.type != ZYDIS_MEMOP_TYPE_AGEN)
            operands[n++] = k;
    if (!n)
        return false;
    tame_registers(&a);
    main = (unsigned)(rnd() % n);
    for (unsigned turn = 0; turn < n; turn++) {
        unsigned k = operands[(main + turn) % n];
        bool image = insn_is_xsave(i);
        unsigned size = image ? image_size() : MAX(i->ops[k].size / 8u, 1u);
        u64 at = turn ? other_address(size) : address_for(place, size);
        bool ok = aim_one(&a, k, image && rnd() % 16 ? at & ~(u64)63 : at);

        if (!ok && i->ops[k].mem.segment == ZYDIS_REGISTER_FS)
            return false; /* it would reach this thread's own variables */
        aimed |= ok;
    }
    aim_line(&a);
    return aimed;
}
