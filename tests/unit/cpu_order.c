/* Instructions of several parts, one of which cannot be reached: which byte is named, and what has been done. */
#include "cpu_direct.h"

CODE(fnsave_, "fnsave (%rbx)");
CODE(fldenv16_, ".byte 0x66; fldenv (%rbx)");
CODE(fxsave_, "fxsave64 (%rbx)");
CODE(fxrstor_, "fxrstor64 (%rbx)");
CODE(xsave_, "xsave64 (%rbx)");
CODE(xsavec_, "xsavec64 (%rbx)");
CODE(xrstor_, "xrstor64 (%rbx)");
CODE(maskmov_, "maskmovdqu %xmm1, %xmm2");
CODE(zmm_store, "vmovdqu32 %zmm1, (%rbx){%k1}");
CODE(zmm_load, "vmovdqu32 (%rbx), %zmm1{%k1}");
CODE(scalar_store, "vmovss %xmm1, (%rbx){%k1}");
CODE(pop_gs, "pop %gs");

/* The operand begins `before` bytes before the pages that are not there: the byte that the fault names. */
static u64 named(const u8 *bytes, const u8 *end, unsigned before, u64 mask)
{
    struct cpu_state state;

    decode(bytes, end);
    start_calm();
    m.gpr[RBX] = m.gpr[RDI] = guard - before;
    m.gpr[RAX] = mask;
    m.gpr[RDX] = 0;
    to_state(&state, &m);
    if (components & XC_OPMASK)
        xstate_put_opmask(&state, 1, mask);
    reset_bus();
    CHECK_EQ(run(), CPU_FAULTED);
    CHECK_EQ(result.fault, CPU_FAULT_ACCESS);
    CHECK_EQ(bus_state.bytes_written, 0);
    return result.fault_addr - (guard - before);
}

#define NAMED(name, before, mask, byte) CHECK_EQ(named(name, name##_end, before, mask), byte)

TEST(x87_images)
{
    harness_init();
    NAMED(fnsave_, 3, 0, 3); /* within the first word */
    NAMED(fnsave_, 4, 0, 107);
    NAMED(fnsave_, 107, 0, 107);
    NAMED(fldenv16_, 1, 0, 1);
    NAMED(fldenv16_, 2, 0, 13);
    NAMED(fxsave_, 16, 0, 511);
    NAMED(fxrstor_, 496, 0, 511);
}

TEST(extended_images)
{
    harness_init();
    NAMED(xsave_, 64, XC_X87, 575);
    NAMED(xsavec_, 512, XC_SSE, 575);
    NAMED(xrstor_, 64, XC_X87, 520); /* XCOMP_BV says what the image is */
    if (components & XC_AVX)
        NAMED(xsave_, 640, XC_AVX, 831);
}

TEST(masked_stores)
{
    harness_init();
    NAMED(maskmov_, 3, 0, 8); /* the upper half first, and whatever the mask says */
    NAMED(maskmov_, 10, 0, 10);
    if (!(components & XC_OPMASK))
        return;
    NAMED(zmm_store, 33, 0x2641, 55); /* begins in the page before: the last byte */
    NAMED(zmm_store, 9, 0x240, 24);   /* does not: the first one */
    NAMED(zmm_load, 39, 0x24a1, 40);
    NAMED(scalar_store, 2, 1, 2);
}

/* The page before the image is not there, but nothing of it is asked for. */
TEST(images_without_their_beginning)
{
    static const u64 asked[] = {0, XC_OPMASK, XC_ZMM_HI};

    harness_init();
    for (unsigned i = 0; i < ARRAY_SIZE(asked); i++) {
        if ((components & asked[i]) != asked[i])
            continue;
        DECODE(xsave_);
        start_calm();
        m.gpr[RBX] = (u64)data - 512;
        memset(data, 0, 64);
        m.gpr[RAX] = asked[i];
        m.gpr[RDX] = 0;
        reset_bus();
        bus_state.bad = (struct span){(u64)data - PAGE_SIZE, PAGE_SIZE};
        CHECK_EQ(run(), CPU_DONE);
        DECODE(xrstor_);
        CHECK_EQ(run(), CPU_DONE);
        m.gpr[RAX] |= XC_SSE;
        CHECK_EQ(run(), CPU_FAULTED);
        CHECK_EQ(result.fault_addr, (u64)data - 512 + 24);
    }
}

TEST(segment_selector_is_read_alone)
{
    harness_init();
    DECODE(pop_gs);
    start_calm();
    m.gpr[RSP] = guard - 2;
    memset((void *)(guard - 2), 0xff, 2); /* no such selector: gs stays */
    reset_bus();
    CHECK_EQ(run(), CPU_FAULTED);
    CHECK_EQ(result.fault, CPU_FAULT_NESTED);
    CHECK_EQ(bus_state.bytes_read, 2);
    CHECK_EQ(m.gpr[RSP], guard - 2);
}
