/* The xsave family: each instruction with masks, formats, positions and broken images, the CPU against cpu_run. */
#include "cpu_direct.h"

#define TILES       ((u64)3 << 17) /* AMX: not in the state at hand */
#define LEGACY      576
#define HEADER      512
#define COMPACTED   ((u64)1 << 63)

CODE(xsave_, "xsave (%rbx)");
CODE(xsave64_, "xsave64 (%rbx)");
CODE(xsave_gs, "xsave64 %gs:8(%r14,%rcx,8)");
CODE(xsave_rsi, "xsave64 (%rsi)");
CODE(xsaveopt_, "xsaveopt (%rbx)");
CODE(xsaveopt64_, "xsaveopt64 (%rbx)");
CODE(xsavec_, "xsavec (%rbx)");
CODE(xsavec64_, "xsavec64 (%rbx)");
CODE(xrstor_, "xrstor (%rbx)");
CODE(xrstor64_, "xrstor64 (%rbx)");
CODE(fxrstor_, "fxrstor (%rbx)");
CODE(fxrstor64_, "fxrstor64 (%rbx)");

static const struct {
    const char *name;
    const u8 *bytes, *end;
} saves[] = {
#define S(n) {#n, n, n##_end}
    S(xsave_), S(xsave64_), S(xsave_gs), S(xsave_rsi), S(xsaveopt_), S(xsaveopt64_), S(xsavec_), S(xsavec64_),
}, restores[] = {
    S(xrstor_), S(xrstor64_),
};

static const u64 masks[] = {0, 1, 2, 3, 4, 5, 6, 7, 0x20, 0x40, 0x80, 0xe0, 0xe2, 0xe4, 0xe7, 0xa3, 0x200, TILES, ~(u64)0};

/* The operand at `at`, by whichever register the instruction takes; the mask in edx:eax. */
static void aim(u64 at, u64 mask)
{
    m.gpr[RBX] = m.gpr[RSI] = at;
    m.gpr[RCX] = rnd() & 0xff;
    m.gpr[14] = at - 8 - 8 * m.gpr[RCX] - gs_base;
    m.gpr[RAX] = (u32)mask | (rnd() & 1 ? rnd() << 32 : 0);
    m.gpr[RDX] = mask >> 32;
}

static u64 rnd_mask(void)
{
    return rnd() % 4 ? masks[rnd() % ARRAY_SIZE(masks)] : rnd() & 0x2ff;
}

/* Mostly where there is room for everything, sometimes up to or into the page that is not there. */
static u64 rnd_place(void)
{
    switch (rnd() % 8) {
    case 0:
        return guard - 64 * (rnd() % 60);
    case 1:
        return target + rnd() % 64;
    default:
        return (u64)data + 64 * (rnd() % 70);
    }
}

static void save_once(unsigned which, unsigned round)
{
    u64 at = rnd_place();

    start();
    if (round % 8 == 0)
        memcpy(m.area + 24, "\x80\x1f\0\0", 4);
    aim(at, rnd_mask());
    compare(saves[which].name);
}

/*
 * xsaveopt leaves out what is initial or was not changed since it was loaded, as far as the CPU knows: when another
 * thread ran in between it may know less. Then the same once more.
 */
TEST(saving)
{
    harness_init();
    for (unsigned i = 0; i < ARRAY_SIZE(saves); i++) {
        unsigned tries = strncmp(saves[i].name, "xsaveopt", 8) == 0 ? 4 : 1;

        decode(saves[i].bytes, saves[i].end);
        for (unsigned round = 0; round < 600; round++) {
            u64 begun = random_state;
            int failures = unit_failures;

            for (unsigned try = 0; try < tries && (try == 0 || unit_failures != failures); try++) {
                unit_failures = failures;
                random_state = begun;
                save_once(i, round);
            }
        }
    }
}

/* Components in their initial state: not written, or as zeros, as the CPU does it. */
TEST(saving_initial_state)
{
    harness_init();
    for (unsigned i = 0; i < ARRAY_SIZE(saves); i++) {
        decode(saves[i].bytes, saves[i].end);
        for (unsigned round = 0; round < 100; round++) {
            u64 bv = (components & rnd() & rnd()) | 2; /* of SSE the CPU says this or that, as the scheduler has it */

            start();
            memcpy(m.area + HEADER, &bv, sizeof(bv));
            aim((u64)data + 64 * (rnd() % 70), rnd() & 1 ? ~(u64)0 : rnd() & 0xe7);
            compare(saves[i].name);
        }
    }
}

/* Linux marks x87 as in use in each signal frame; an initial one is saved as such. */
TEST(initial_state_of_a_frame)
{
    u64 bv;

    harness_init();
    DECODE(xsave64_);
    start();
    memset(m.area, 0, 24);
    memset(m.area + 32, 0, 128);
    memcpy(m.area, "\x7f\x03", 2);
    m.area[HEADER] |= 3;
    aim((u64)data, 3);
    memset((u8 *)data + HEADER, 0, 64);
    reset_bus();
    CHECK_EQ(run(), CPU_DONE);
    memcpy(&bv, data + HEADER, sizeof(bv));
    CHECK_EQ(bv, 2);
    memset(m.area + 160, 0, 256);
    memcpy(m.area + 24, "\x80\x1f\0\0", 4);
    CHECK_EQ(run(), CPU_DONE);
    memcpy(&bv, data + HEADER, sizeof(bv));
    CHECK_EQ(bv, 0);
}

/* ---- restoring ---- */

static void put_image(u64 at, u64 bv, u64 layout)
{
    u8 image[AREA_BYTES] __attribute__((aligned(64)));
    u32 mxcsr = 0x1f80 | ((u32)rnd() & 0xe07f);

    rnd_bytes(image, sizeof(image));
    rnd_x87(image);
    memcpy(image + 24, &mxcsr, sizeof(mxcsr));
    memset(image + HEADER, 0, LEGACY - HEADER);
    memcpy(image + HEADER, &bv, sizeof(bv));
    memcpy(image + HEADER + 8, &layout, sizeof(layout));
    for (unsigned i = 0; i < sizeof(image) && at + i < guard; i++)
        *(u8 *)(at + i) = image[i];
}

static void restore_round(const char *name, bool compacted)
{
    u64 at = rnd_place(), bv = components & (rnd() & 3 ? rnd() : ~(u64)0);
    u64 layout = compacted ? bv | (components & rnd()) | COMPACTED : 0;

    start();
    put_image(at, bv, layout);
    aim(at, rnd_mask());
    compare(name);
}

TEST(restoring)
{
    harness_init();
    for (unsigned i = 0; i < ARRAY_SIZE(restores); i++) {
        decode(restores[i].bytes, restores[i].end);
        for (unsigned round = 0; round < 1000; round++)
            restore_round(restores[i].name, round & 1);
    }
}

/* One bit too many in the header or in MXCSR: most of them are #GP, some are not looked at. */
TEST(restoring_broken_images)
{
    harness_init();
    for (unsigned i = 0; i < ARRAY_SIZE(restores); i++) {
        decode(restores[i].bytes, restores[i].end);
        for (unsigned bit = 0; bit < 8 * (LEGACY - HEADER); bit++)
            for (unsigned compacted = 0; compacted < 2; compacted++) {
                u64 layout = compacted ? components | COMPACTED : 0, at;

                if (bit == 17 || bit == 18)
                    continue;
                start();
                at = rnd() & 1 ? (u64)data : guard - 64 * (9 + rnd() % 40); /* the rest of it may be missing */
                put_image(at, components, layout);
                ((u8 *)at)[HEADER + bit / 8] ^= (u8)(1 << bit % 8);
                aim(at, components);
                compare(restores[i].name);
            }
        for (unsigned bit = 0; bit < 32; bit++) {
            start();
            put_image((u64)data, components, rnd() & 1 ? components | COMPACTED : 0);
            data[24 + bit / 8] ^= (u8)(1 << bit % 8);
            aim((u64)data, masks[rnd() % ARRAY_SIZE(masks)]);
            compare(restores[i].name);
        }
    }
}

TEST(broken_headers_reach_no_component)
{
    harness_init();
    DECODE(xrstor64_);
    start();
    put_image((u64)data, components, 0);
    data[HEADER + 16] = 1;
    aim((u64)data, components);
    reset_bus();
    CHECK_EQ(run(), CPU_FAULTED);
    CHECK_EQ(result.fault, CPU_FAULT_NESTED);
    CHECK_EQ(result.signal, SIGSEGV);
    CHECK_EQ(result.code, 0x80);
    CHECK_EQ(result.signal_addr, 0);
    CHECK_EQ(bus_state.bytes_read, 64);
}

/* Out and in again: what came back is what there was. */
TEST(there_and_back)
{
    static struct machine before;
    static const u8 *const bytes[] = {xsave64_, xsaveopt64_, xsavec64_};

    harness_init();
    for (unsigned round = 0; round < 60; round++) {
        unsigned i = round % ARRAY_SIZE(bytes);

        decode(bytes[i], bytes[i] + 4);
        start();
        memset(data, 0, DATA_BYTES);
        aim((u64)data, components);
        before = m;
        reset_bus();
        CHECK_EQ(run(), CPU_DONE);
        rnd_machine(&m);
        memcpy(m.gpr, before.gpr, sizeof(m.gpr));
        m.flags = before.flags;
        decode(xrstor64_, xrstor64__end);
        CHECK_EQ(run(), CPU_DONE);
        before.rip = m.rip;
        compare_machines("there and back", &m, &before);
    }
}

TEST(fxrstor)
{
    static const u8 *const bytes[] = {fxrstor_, fxrstor64_}, *const ends[] = {fxrstor__end, fxrstor64__end};

    harness_init();
    for (unsigned round = 0; round < 600; round++) {
        u64 at = rnd() % 8 ? (u64)data + 16 * (rnd() % 64) : guard - 16 * (rnd() % 34);

        decode(bytes[round & 1], ends[round & 1]);
        start();
        put_image(at, 0, 0);
        if (rnd() % 8 == 0)
            data[26] |= 1; /* a reserved bit of MXCSR, if the image lies there */
        aim(rnd() % 16 ? at : at + 8, 0);
        compare("fxrstor");
    }
}

/* ---- what is not in the state at hand ---- */

TEST(tiles)
{
    harness_init();
    DECODE(xrstor64_);
    start();
    put_image((u64)data, (u64)1 << 18, 0);
    aim((u64)data, (u64)1 << 18);
    if (!(xstate_enabled() & (u64)1 << 18))
        return;
    compare("xrstor of tiles without permission");
}

TEST(extent_and_windows)
{
    struct cpu_state state;
    unsigned size;
    u64 addr;

    harness_init();
    DECODE(xsave64_);
    start();
    reset_bus();
    aim((u64)data, components);
    to_state(&state, &m);
    CHECK(cpu_operand(&insn, &state, &addr, &size));
    CHECK_EQ(addr, (u64)data);
    CHECK_EQ(size, area_size);
    bus_state.ours = (struct span){(u64)data + size - 1, 1};
    CHECK(cpu_concerns(&insn, &state, &plain_bus));
    bus_state.ours = (struct span){(u64)data + size, 1};
    CHECK(!cpu_concerns(&insn, &state, &plain_bus));
    aim((u64)data, 3);
    to_state(&state, &m);
    CHECK(cpu_operand(&insn, &state, &addr, &size));
    CHECK_EQ(size, LEGACY);
    aim((u64)data, 1);
    CHECK_EQ(run(), CPU_DONE);
    CHECK_EQ(bus_state.bytes_written, 24 + 128 + 8);
    CHECK_EQ(bus_state.bytes_read, 8);
}
