/*
 * Random bytes: whatever cpu_decode takes must run as the CPU runs it. The same bytes each time;
 * CPU_RANDOM_SEED and CPU_RANDOM_ROUNDS try others, and more.
 */
#include "cpu_harness.h"

/* ---- instructions ---- */

static unsigned put(u8 *out, unsigned n, u64 value, unsigned bytes)
{
    memcpy(out + n, &value, bytes);
    return n + bytes;
}

static unsigned rnd_prefixes(u8 *out)
{
    static const u8 prefixes[] = {0x66, 0xf2, 0xf3, 0x65, 0x67, 0x2e, 0xf0, 0x48, 0x41, 0x4f};
    unsigned n = 0;

    while (rnd() % 3 == 0 && n < 4)
        out[n++] = prefixes[rnd() % sizeof(prefixes)];
    if (rnd() & 1)
        out[n++] = (u8)(0x40 | (rnd() & 15));
    return n;
}

static unsigned rnd_legacy(u8 *out)
{
    unsigned n = rnd_prefixes(out);

    switch (rnd() & 3) {
    case 0:
        break;
    case 1:
        n = put(out, n, 0x0f, 1);
        break;
    case 2:
        n = put(out, n, 0x380f, 2);
        break;
    default:
        n = put(out, n, 0x3a0f, 2);
        break;
    }
    return n;
}

static unsigned rnd_vex(u8 *out)
{
    unsigned n = 0;

    if (rnd() % 4 == 0)
        return put(out, put(out, n, 0xc5, 1), rnd(), 1);
    n = put(out, n, 0xc4, 1);
    n = put(out, n, (rnd() & 0xe0) | (1 + rnd() % 3), 1);
    return put(out, n, rnd() & 3 ? rnd() | 0x78 : rnd(), 1);
}

static unsigned rnd_evex(u8 *out)
{
    static const u8 maps[] = {1, 2, 3, 5, 6};
    unsigned n = put(out, 0, 0x62, 1);

    n = put(out, n, (rnd() & 0xf0) | maps[rnd() % sizeof(maps)], 1);
    n = put(out, n, (rnd() & 0xff) | 0x04 | (rnd() & 1 ? 0x78 : 0), 1);
    return put(out, n, (rnd() & 0xff) | (rnd() & 1 ? 8 : 0), 1);
}

/* Opcode, a ModRM byte with a memory operand, and whatever follows. */
static void rnd_instruction(u8 out[32])
{
    unsigned n = rnd() & 1 ? rnd_legacy(out) : rnd() & 1 ? rnd_vex(out) : rnd_evex(out);

    n = put(out, n, rnd(), 1);
    n = put(out, n, rnd() & 0xbf, 1);
    put(out, n, rnd(), 8);
    put(out, n + 8, rnd(), 8);
}

/* ---- state ---- */

/* Linux emulates sldt, str, sgdt, sidt and smsw (UMIP), but not behind two REX prefixes: our copy has only one. */
static bool is_umip(const u8 *bytes)
{
    unsigned n = surgery_prefixes(bytes, 15);

    return n > 1 && bytes[n] == 0x0f && bytes[n + 1] <= 1;
}

/* What would leave the test, or is not meant to be as on RAM. */
static bool wanted(const struct cpu_insn *insn)
{
    static bool direct, known;
    unsigned a, b, c, d;

    if (!known) {
        __cpuid_count(7, 0, a, b, c, d);
        direct = (c >> 27 & 3) == 3; /* movdiri, movdir64b */
        known = true;
    }
    if (insn->refusal || is_umip(insn->bytes) || insn->kind == KIND_NOP || insn->kind == KIND_ZERO_LINE)
        return false;
    if (insn->kind == KIND_DIRECT64 && !direct)
        return false;
    if (insn->kind == KIND_PORT) /* the CPU lets nobody in user mode do it: cpu_port.c */
        return false;
    if (insn->kind == KIND_STACK) /* branches go anywhere, popf sets the trap flag, enter takes the whole stack */
        return plan_of(insn)->op == STACK_PUSH || plan_of(insn)->op == STACK_POP || plan_of(insn)->op == STACK_LEAVE;
    return true;
}

/* Vector indices small enough for all elements of a gather to lie in the data. */
static void tame_indices(struct machine *m, const struct plan *p)
{
    u8 vector[64];
    struct cpu_state state;

    for (unsigned i = 0; i < 64; i += p->index_size) {
        i64 index = (i64)(rnd() % 400) - 200;

        memcpy(vector + i, &index, p->index_size);
    }
    to_state(&state, m);
    xstate_put_vector(&state, p->vector_index, vector);
}

static bool inside(const struct cpu_state *state, const struct cpu_insn *insn)
{
    unsigned size;
    u64 addr;

    return cpu_operand(insn, state, &addr, &size) && addr - (u64)data - 2048 < DATA_BYTES - 4096;
}

static bool string_inside(const struct cpu_state *state, const struct plan *p)
{
    u64 source = state->gpr[RSI] + (p->segment == SEGMENT_GS ? gs_base : 0);

    return state->gpr[RDI] - (u64)data < DATA_BYTES && source - (u64)data < DATA_BYTES;
}

/* Moves the operand into the data by the registers that address it. */
static bool aim(struct machine *m, const struct cpu_insn *insn)
{
    const struct plan *p = plan_of(insn);
    struct cpu_state state;
    unsigned size, shift = 0;
    u64 addr, delta;
    u8 reg = p->base;

    if (p->bit_offset != REG_NONE)
        m->gpr[p->bit_offset] = rnd() & 0x1fff;
    if (insn->kind == KIND_GATHER || insn->kind == KIND_SCATTER)
        tame_indices(m, p);
    if (insn->kind == KIND_STRING)
        m->gpr[RCX] = rnd() % 20;
    if (insn->kind == KIND_STRING || insn->kind == KIND_DIRECT64) {
        m->gpr[RSI] = target - gs_base * (p->segment == SEGMENT_GS) + (rnd() & 63);
        m->gpr[RDI] = target + 1024;
    }
    if (insn->kind == KIND_DIRECT64)
        m->gpr[p->reg] = target + 1024 + 8 * (rnd() % 8);
    if (insn->kind == KIND_STACK && p->op != STACK_LEAVE)
        m->gpr[RSP] = target - 1024;
    if (reg == REG_NONE) {
        reg = p->index;
        shift = p->scale;
    }
    if (reg == REG_NONE || p->segment == SEGMENT_FS || (insn->kind == KIND_STACK && reg == RSP))
        return false;
    to_state(&state, m);
    if (!cpu_operand(insn, &state, &addr, &size))
        return false;
    delta = target + (rnd() & 1 ? rnd() & 63 : 0) - addr;
    m->gpr[reg] += delta >> shift;
    to_state(&state, m);
    if (insn->kind == KIND_STRING && !string_inside(&state, p))
        return false;
    return inside(&state, insn);
}

static void name_of(const u8 *bytes, unsigned length, char *text, size_t size)
{
    struct fmt out = {.buf = text, .cap = size};

    for (unsigned i = 0; i < length; i++) {
        fmt_hexpad(&out, bytes[i], 2);
        fmt_char(&out, ' ');
    }
    cpu_disassemble(bytes, length, 0, &out);
    fmt_end(&out);
}

static unsigned try_random(unsigned rounds)
{
    static struct machine m;
    struct cpu_insn insn;
    char name[200];
    unsigned ran = 0;
    bool more;
    u8 bytes[32];

    for (unsigned i = 0; i < rounds; i++) {
        rnd_instruction(bytes);
        if (!cpu_decode(&insn, bytes, 15, &more) || !wanted(&insn))
            continue;
        for (unsigned k = 0; k < 3; k++) {
            rnd_machine(&m);
            rnd_bytes(data, DATA_BYTES);
            if (!aim(&m, &insn))
                continue;
            m.rip = place(bytes, insn.length);
            name_of(bytes, insn.length, name, sizeof(name));
            compare_run(name, &insn, &m);
            ran++;
        }
    }
    return ran;
}

TEST(random_instructions)
{
    unsigned rounds = getenv("CPU_RANDOM_ROUNDS") ? (unsigned)atoi(getenv("CPU_RANDOM_ROUNDS")) : 60000;

    harness_init();
    if (getenv("CPU_RANDOM_SEED"))
        random_state ^= strtoull(getenv("CPU_RANDOM_SEED"), NULL, 0);
    CHECK(try_random(rounds) > rounds / 10);
}
