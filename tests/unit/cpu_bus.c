/* What the bus sees, and what happens when an access fails, asks for a retry or lies outside the windows. */
#include "cpu_direct.h"

CODE(push_m, "pushq (%rbx)");
CODE(movsl_, "rep movsl");
CODE(movdir64b_, "movdir64b 8(%rbx), %rdx");

/* ---- the bus sees what the hardware's would ---- */

CODE(xadd_, "lock xadd %ecx, (%rbx)");
CODE(div_, "divl (%rbx)");
CODE(divps_, "divps (%rbx), %xmm1");
CODE(movaps_, "movaps (%rbx), %xmm1");
CODE(movups_, "movups %xmm1, (%rbx)");
CODE(zmm_, "vmovdqu64 (%rbx), %zmm1");
CODE(zmm_store, "vmovdqu32 %zmm1, (%rbx){%k1}");
CODE(zmm_byte, "vpaddb (%rbx), %zmm1, %zmm2{%k1}");
CODE(bcast_, "vaddps (%rbx){1to16}, %zmm1, %zmm2{%k1}");
CODE(scatter_, "vpscatterdd %zmm2, (%rbx,%zmm1){%k1}");
CODE(compress_, "vpcompressd %zmm1, (%rbx){%k1}");
CODE(cmov_, "cmovz (%rbx), %ecx");
CODE(flds_, "flds (%rbx)");
CODE(fxsave_, "fxsave64 (%rbx)");
CODE(fldenv_, "fldenv (%rbx)");
CODE(fistp_, "fistpl (%rbx)");
CODE(movl_, "movl (%rbx), %ecx");
CODE(fld_gs, "fldl %gs:(%r14)");

static void bus_case(const u8 *bytes, const u8 *end, enum cpu_outcome want)
{
    decode(bytes, end);
    start_calm();
    m.gpr[RBX] = target;
    reset_bus();
    CHECK_EQ(run(), want);
}

static void set_opmask(unsigned k, u64 value)
{
    struct cpu_state state;

    to_state(&state, &m);
    xstate_put_opmask(&state, k, value);
}

static void set_indices(i32 all)
{
    struct cpu_state state;
    i32 index[16];

    for (unsigned i = 0; i < 16; i++)
        index[i] = all;
    to_state(&state, &m);
    xstate_put_vector(&state, 1, (const u8 *)index);
}

#define BUS(reads_, writes_, bytes_read_, bytes_written_) \
    do { \
        CHECK_EQ(bus_state.reads, reads_); \
        CHECK_EQ(bus_state.writes, writes_); \
        CHECK_EQ(bus_state.bytes_read, bytes_read_); \
        CHECK_EQ(bus_state.bytes_written, bytes_written_); \
    } while (0)

TEST(accesses)
{
    harness_init();
    bus_case(xadd_, xadd__end, CPU_DONE);
    BUS(1, 1, 4, 4);
    CHECK_EQ(bus_state.begins, 1);
    CHECK_EQ(bus_state.ends, 1);
    bus_case(movl_, movl__end, CPU_DONE);
    BUS(1, 0, 4, 0);
    CHECK_EQ(bus_state.begins, 0);
    bus_case(cmov_, cmov__end, CPU_DONE);
    BUS(1, 0, 4, 0);
    bus_case(movups_, movups__end, CPU_DONE);
    BUS(0, 1, 0, 16);
    bus_case(fxsave_, fxsave__end, CPU_DONE);
    BUS(0, 7, 0, 416);
    bus_case(fldenv_, fldenv__end, CPU_DONE);
    BUS(1, 0, 28, 0);
}

TEST(masked_accesses)
{
    static const struct {
        u64 mask;
        unsigned parts, bytes;
    } masks[] = {{0xffff, 1, 64}, {0, 0, 0}, {0x0f0f, 2, 32}, {0x8001, 2, 8}, {0x10fff0, 1, 48}, {0x5555, 8, 32}};

    harness_init();
    if (!(components & XC_OPMASK))
        return;
    bus_case(zmm_, zmm__end, CPU_DONE);
    BUS(1, 0, 64, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(masks); i++) {
        DECODE(zmm_store);
        start_calm();
        m.gpr[RBX] = target;
        set_opmask(1, masks[i].mask);
        reset_bus();
        CHECK_EQ(run(), CPU_DONE);
        BUS(0, masks[i].parts, 0, masks[i].bytes);
        DECODE(compress_);
        reset_bus();
        CHECK_EQ(run(), CPU_DONE);
        BUS(0, masks[i].mask ? 1 : 0, 0, masks[i].bytes);
        DECODE(bcast_);
        reset_bus();
        CHECK_EQ(run(), CPU_DONE);
        BUS(masks[i].mask ? 1 : 0, 0, masks[i].mask ? 4 : 0, 0);
    }
    DECODE(zmm_byte);
    set_opmask(1, ~(u64)0);
    reset_bus();
    CHECK_EQ(run(), CPU_DONE);
    BUS(1, 0, 64, 0);
}

/* An instruction of several accesses holds its device once, and gives it back whatever happens. */
TEST(devices_are_held)
{
    static const struct {
        u64 mask;
        unsigned holds;
    } masks[] = {{0, 0}, {0x00f0, 0}, {0x8001, 1}, {0x5555, 1}};

    harness_init();
    if (!(components & XC_OPMASK))
        return;
    for (unsigned i = 0; i < ARRAY_SIZE(masks); i++) {
        DECODE(zmm_store);
        start_calm();
        m.gpr[RBX] = target;
        set_opmask(1, masks[i].mask);
        reset_bus();
        bus_state.holding = true;
        CHECK_EQ(run(), CPU_DONE);
        CHECK_EQ(bus_state.holds, masks[i].holds);
        CHECK_EQ(bus_state.ends, masks[i].holds);
        DECODE(scatter_);
        set_opmask(1, masks[i].mask);
        set_indices(0);
        reset_bus();
        bus_state.holding = true;
        CHECK_EQ(run(), CPU_DONE);
        CHECK_EQ(bus_state.holds, masks[i].mask != 0);
        CHECK_EQ(bus_state.ends, masks[i].mask != 0);
        set_opmask(1, masks[i].mask);
        set_indices((i32)(guard - target)); /* none of its elements is there */
        reset_bus();
        bus_state.holding = true;
        CHECK_EQ(run(), masks[i].mask ? CPU_FAULTED : CPU_DONE);
        CHECK_EQ(bus_state.ends, bus_state.holds);
    }
}

TEST(early_faults_reach_no_device)
{
    harness_init();
    DECODE(movaps_);
    start();
    m.gpr[RBX] = target + 4;
    reset_bus();
    CHECK_EQ(run(), CPU_FAULTED);
    CHECK_EQ(result.fault, CPU_FAULT_NESTED);
    CHECK_EQ(result.signal, SIGSEGV);
    CHECK_EQ(result.signal_addr, 0);
    BUS(0, 0, 0, 0);
    DECODE(flds_); /* an x87 exception is pending: #MF comes before the read */
    m.area[512] |= 1;
    memcpy(m.area, "\x7b\x03\x84\x80", 4);
    CHECK_EQ(run(), CPU_FAULTED);
    CHECK_EQ(result.signal, SIGFPE);
    CHECK_EQ(result.signal_addr, m.rip);
    BUS(0, 0, 0, 0);
}

TEST(division_by_zero)
{
    static struct machine before;

    harness_init();
    DECODE(div_);
    start();
    m.gpr[RBX] = target;
    *(u32 *)target = 0;
    reset_bus();
    m.rip = place(insn.bytes, insn.length);
    before = m;
    CHECK_EQ(emulate(&insn, &m, &result), CPU_FAULTED);
    CHECK_EQ(result.fault, CPU_FAULT_NESTED);
    CHECK_EQ(result.signal, SIGFPE);
    CHECK_EQ(result.code, FPE_INTDIV);
    CHECK_EQ(result.signal_addr, m.rip);
    CHECK(memcmp(&before, &m, sizeof(m)) == 0);
    BUS(1, 0, 4, 0);
}

TEST(vector_exceptions)
{
    u32 mxcsr = 0x1d80; /* division by zero unmasked */
    static const float ones[4] = {1, 1, 1, 1}, zeros[4];

    harness_init();
    DECODE(divps_);
    start();
    m.gpr[RBX] = target;
    m.area[512] |= 3;
    memcpy(m.area + 24, &mxcsr, 4);
    memcpy(m.area + 160 + 16, ones, 16);
    memcpy((void *)target, zeros, 16);
    reset_bus();
    CHECK_EQ(run(), CPU_FAULTED);
    CHECK_EQ(result.signal, SIGFPE);
    CHECK_EQ(result.code, FPE_FLTDIV);
    memcpy(&mxcsr, m.area + 24, 4);
    CHECK_EQ(mxcsr, 0x1d84);
    CHECK(memcmp(m.area + 160 + 16, ones, 16) == 0);
}

/* An unmasked invalid operation: nothing is stored, nothing popped, the exception is pending. */
TEST(x87_store_that_does_not_store)
{
    harness_init();
    DECODE(fistp_);
    start();
    m.gpr[RBX] = target;
    m.area[512] |= 1;
    memcpy(m.area, "\x7e\x03\x00\x00\xff\x00", 6);
    memset(m.area + 32, 0xff, 10); /* st0: a NaN */
    reset_bus();
    CHECK_EQ(run(), CPU_DONE);
    BUS(0, 0, 0, 0);
    CHECK_EQ(m.area[2] & 0x81, 0x81);
    CHECK_EQ(m.area[3] & 0x38, 0);
}

TEST(x87_pointers_are_the_programs)
{
    u64 ip, dp;

    harness_init();
    DECODE(fld_gs);
    start();
    m.gpr[14] = target - gs_base;
    m.area[512] |= 1;
    memcpy(m.area, "\x7f\x03\x00\x00\x00\x00", 6);
    memset((void *)target, 0xff, 8); /* a signalling NaN would do as well: the pointers are kept for exceptions */
    ((u8 *)target)[6] = 0xf4;
    reset_bus();
    CHECK_EQ(run(), CPU_DONE);
    memcpy(&ip, m.area + 8, 8);
    memcpy(&dp, m.area + 16, 8);
    CHECK_EQ(ip, m.rip - insn.length);
    CHECK(dp == target - gs_base || dp - (u64)m.area > 0); /* some CPUs keep it only for unmasked exceptions */
    CHECK(dp - (u64)&ip > 1 << 20);                        /* but never show an address of our stack */
}

/* ---- failing and retrying ---- */

static void failing(const u8 *bytes, const u8 *end, bool on_write, struct span bad, struct span retry,
                    enum cpu_outcome want)
{
    static struct machine before;

    decode(bytes, end);
    start();
    m.gpr[RBX] = target;
    m.gpr[RSP] = target + 512;
    m.area[512] |= 1;
    memcpy(m.area, "\x7f\x03\x00\x00\xff\x00", 6);
    reset_bus();
    bus_state.bad = bad;
    bus_state.retry = retry;
    m.rip = place(insn.bytes, insn.length);
    before = m;
    CHECK_EQ(emulate(&insn, &m, &result), want);
    if (want == CPU_FAULTED) {
        CHECK_EQ(result.fault, CPU_FAULT_ACCESS);
        CHECK_EQ(result.fault_addr, bad.base);
        CHECK_EQ(result.fault_write, on_write);
    }
    CHECK_EQ(bus_state.begins, bus_state.ends);
    compare_machines("failing", &m, &before);
}

TEST(failing_accesses_change_nothing)
{
    struct span operand = {0, 4}, none = {0, 0}, stack = {0, 8};

    harness_init();
    operand.base = target;
    stack.base = target + 504;
    failing(movl_, movl__end, false, operand, none, CPU_FAULTED);
    failing(xadd_, xadd__end, false, operand, none, CPU_FAULTED);
    failing(movups_, movups__end, true, operand, none, CPU_FAULTED);
    failing(fistp_, fistp__end, true, operand, none, CPU_FAULTED);
    failing(flds_, flds__end, false, operand, none, CPU_FAULTED);
    failing(push_m, push_m_end, false, operand, none, CPU_FAULTED);
    failing(push_m, push_m_end, true, stack, none, CPU_FAULTED);
    failing(movl_, movl__end, false, none, operand, CPU_RETRY);
    failing(xadd_, xadd__end, false, none, operand, CPU_RETRY);
    failing(fistp_, fistp__end, true, none, operand, CPU_RETRY);
    failing(push_m, push_m_end, true, none, stack, CPU_RETRY);
}

TEST(no_vector_state)
{
    struct cpu_state state;

    harness_init();
    reset_bus();
    DECODE(movaps_);
    start();
    m.gpr[RBX] = target;
    to_state(&state, &m);
    state.xsave = NULL;
    CHECK_EQ(cpu_run(&insn, &state, &plain_bus, &result), CPU_REFUSED);
    CHECK(result.refusal != NULL);
    DECODE(xadd_);
    CHECK_EQ(cpu_run(&insn, &state, &plain_bus, &result), CPU_DONE);
}

/* ---- which windows does it touch? ---- */

static bool concerns(const u8 *bytes, const u8 *end, u64 base, u64 size)
{
    struct cpu_state state;

    decode(bytes, end);
    reset_bus();
    bus_state.ours = (struct span){base, size};
    to_state(&state, &m);
    return cpu_concerns(&insn, &state, &plain_bus);
}

TEST(concerns)
{
    harness_init();
    start();
    m.flags &= ~(u64)FLAG_DF;
    m.gpr[RBX] = target;
    m.gpr[RSP] = target + 512;
    m.gpr[RSI] = target + 1024;
    m.gpr[RDI] = target + 2048;
    m.gpr[RCX] = 3;
    m.gpr[RDX] = target + 4096 - 64;
    CHECK(concerns(movl_, movl__end, target + 3, 1));
    CHECK(!concerns(movl_, movl__end, target + 4, 1));
    CHECK(concerns(push_m, push_m_end, target + 7, 1));
    CHECK(concerns(push_m, push_m_end, target + 504, 1));
    CHECK(!concerns(push_m, push_m_end, target + 512, 1));
    CHECK(concerns(movsl_, movsl__end, target + 1024, 4));
    CHECK(concerns(movsl_, movsl__end, target + 2048, 4));
    CHECK(!concerns(movsl_, movsl__end, target + 2052, 4));
    CHECK(concerns(movdir64b_, movdir64b__end, target + 4095, 1));
    m.gpr[RCX] = 0;
    CHECK(!concerns(movsl_, movsl__end, target + 1024, 4));
    if (!(components & XC_OPMASK))
        return;
    set_opmask(1, 0x8001);
    CHECK(concerns(zmm_store, zmm_store_end, target, 4));
    CHECK(!concerns(zmm_store, zmm_store_end, target + 4, 52));
    CHECK(concerns(zmm_store, zmm_store_end, target + 60, 1));
}
