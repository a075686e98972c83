/*
 * The CLINT against SiFive's FU540-C000 Manual, "Core-Local Interruptor (CLINT)", and the RISC-V Privileged
 * Architecture, "Machine Timer Registers (mtime and mtimecmp)".
 */
#include "device_mock.h"

#define MSIP(hart)     (4 * (u64)(hart))
#define MTIMECMP(hart) (0x4000 + 8 * (u64)(hart))
#define MTIME          0xbff8

enum { SIZE = 0x10000, TICK = 100 /* ns, of 10 MHz */ };

/* Two harts; timers come first for the second one. Lines: 0 software 0, 1 timer 0, 2 timer 1, 3 software 1. */
static const u8 wires[4 * 8] = {0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 7,
                                0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 3};
static const struct mock_property node[] = {{"interrupts-extended", sizeof(wires), wires, {0}}, END};

static struct mock m;

static void setup(void)
{
    CHECK(mock_create(&m, &class_sifive_clint, SIZE, node) == NULL);
}

/* "CLINT Memory Map" */
TEST(registers_that_are_there)
{
    u64 value;

    setup();
    CHECK_EQ(rd(&m, MSIP(1), 4), 0);
    CHECK_EQ(rd_status(&m, MSIP(2), 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd(&m, MTIMECMP(1), 8), UINT64_MAX);
    CHECK_EQ(rd_status(&m, MTIMECMP(2), 8, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd(&m, MTIME, 8), 0);
    CHECK_EQ(rd_status(&m, MTIME + 8, 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd_status(&m, MSIP(0), 8, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, MTIME + 4, 8, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(wr_status(&m, MSIP(0), 1, 1), MMIOSHIM_BAD_WIDTH);
    CHECK(!m.line[0]);
}

/* "MSIP Registers": "the remaining bits are hardwired to 0" */
TEST(software_interrupts)
{
    setup();
    wr(&m, MSIP(0), 4, 0xffffffff);
    CHECK_EQ(rd(&m, MSIP(0), 4), 1);
    CHECK(m.line[0] && !m.line[3]);
    wr(&m, MSIP(1), 4, 1);
    CHECK(m.line[3]);
    wr(&m, MSIP(0), 4, 0xfffffffe);
    CHECK(!m.line[0] && m.line[3]);
    CHECK_EQ(m.irq_changes, 3);
}

/* "Timer Registers": mtime counts at a fixed frequency; it can be read as two words, and written */
TEST(time)
{
    setup();
    m.clock = 5 * TICK + 99;
    CHECK_EQ(rd(&m, MTIME, 8), 5);
    m.clock = 0x123456789aull * TICK;
    CHECK_EQ(rd(&m, MTIME, 4), 0x3456789a);
    CHECK_EQ(rd(&m, MTIME + 4, 4), 0x12);
    wr(&m, MTIME, 8, 1000);
    m.clock += 3 * TICK;
    CHECK_EQ(rd(&m, MTIME, 8), 1003);
    wr(&m, MTIME + 4, 4, 7);
    CHECK_EQ(rd(&m, MTIME, 8), 0x7000003eb);
    wr(&m, MTIME, 4, 5);
    CHECK_EQ(rd(&m, MTIME, 8), 0x700000005);
}

TEST(frequency)
{
    static const struct mock_property slow[] = {CELL("timebase-frequency", 32768), END};
    static const struct mock_property fast[] = {CELL("timebase-frequency", 0xffffffff), END};
    static const struct mock_property none[] = {CELL("timebase-frequency", 0), END};

    CHECK(mock_create(&m, &class_sifive_clint, SIZE, slow) == NULL);
    m.clock = 1000000000;
    CHECK_EQ(rd(&m, MTIME, 8), 32768);
    wr(&m, MTIMECMP(0), 8, 32769);
    CHECK_EQ(m.wake_at, 1000030518); /* 1/32768 s, rounded up */
    m.clock = m.wake_at - 1;
    CHECK_EQ(rd(&m, MTIME, 8), 32768);
    m.clock++;
    CHECK_EQ(rd(&m, MTIME, 8), 32769);
    CHECK(mock_create(&m, &class_sifive_clint, SIZE, fast) == NULL);
    m.clock = 10ull * 1000000000;
    CHECK_EQ(rd(&m, MTIME, 8), 10 * 0xffffffffull);
    CHECK(mock_create(&m, &class_sifive_clint, SIZE, none));
}

/* "a timer interrupt becomes pending whenever mtime contains a value greater than or equal to mtimecmp" */
TEST(timers)
{
    setup();
    CHECK_EQ(m.wake_at, UINT64_MAX);
    wr(&m, MTIMECMP(0), 8, 10);
    CHECK_EQ(m.wake_at, 10 * TICK);
    wr(&m, MTIMECMP(1), 8, 5);
    CHECK_EQ(m.wake_at, 5 * TICK); /* the next one of all */
    m.clock = 5 * TICK - 1;
    class_sifive_clint.service(&m.dev);
    CHECK(!m.line[1] && !m.line[2]);
    m.clock++;
    class_sifive_clint.service(&m.dev);
    CHECK(!m.line[1] && m.line[2]);
    CHECK_EQ(m.wake_at, 10 * TICK);
    m.clock = 1000 * TICK;
    class_sifive_clint.service(&m.dev);
    CHECK(m.line[1] && m.line[2]);
    CHECK_EQ(m.wake_at, UINT64_MAX);
    /* "The interrupt remains posted until mtimecmp becomes greater than mtime" */
    wr(&m, MTIMECMP(1), 8, 1000);
    CHECK(m.line[2]);
    wr(&m, MTIMECMP(1), 8, 1001);
    CHECK(!m.line[2]);
    CHECK_EQ(m.irq_changes, 3);
    wr(&m, MTIME, 8, 2000);
    CHECK(m.line[2]);
    wr(&m, MTIME, 8, 0);
    CHECK(!m.line[1] && !m.line[2]);
}

/* A driver of 32 bits writes the low half as all ones, then the high half, then the low half. */
TEST(compare_in_halves)
{
    setup();
    m.clock = 50 * TICK;
    wr(&m, MTIMECMP(0), 4, 0xffffffff);
    wr(&m, MTIMECMP(0) + 4, 4, 0);
    wr(&m, MTIMECMP(0), 4, 60);
    CHECK(!m.line[1]);
    CHECK_EQ(rd(&m, MTIMECMP(0), 8), 60);
    CHECK_EQ(rd(&m, MTIMECMP(0) + 4, 4), 0);
    CHECK_EQ(m.irq_changes, 0);
    m.clock = 60 * TICK;
    rd(&m, MTIME, 4); /* an access notices it as well */
    CHECK(m.line[1]);
}

/* Times so far away that no clock shows them are never waited for. */
TEST(far_away)
{
    setup();
    m.clock = 77;
    wr(&m, MTIMECMP(0), 8, UINT64_MAX - 1);
    CHECK_EQ(m.wake_at, UINT64_MAX);
    wr(&m, MTIME, 8, UINT64_MAX - 5);
    CHECK_EQ(m.wake_at, 400);
    CHECK(!m.line[1]);
    m.clock = 400;
    class_sifive_clint.service(&m.dev);
    CHECK(m.line[1]);
}

/* "Machine Timer Registers": mtime is cleared */
TEST(reset)
{
    setup();
    m.clock = 100 * TICK;
    wr(&m, MTIMECMP(0), 8, 7);
    wr(&m, MSIP(1), 4, 1);
    CHECK(m.line[1] && m.line[3]);
    class_sifive_clint.reset(&m.dev, MMIOSHIM_RESET_WARM);
    CHECK(!m.line[1] && !m.line[3]);
    CHECK_EQ(rd(&m, MTIME, 8), 0);
    CHECK_EQ(rd(&m, MTIMECMP(0), 8), 7);
    CHECK_EQ(m.wake_at, 107 * TICK);
    class_sifive_clint.reset(&m.dev, MMIOSHIM_RESET_COLD);
    CHECK_EQ(rd(&m, MTIMECMP(0), 8), UINT64_MAX);
}

TEST(save_and_load)
{
    u8 blob[256], bad[256];
    long size;

    setup();
    m.clock = 30 * TICK;
    wr(&m, MTIMECMP(1), 8, 40);
    wr(&m, MSIP(0), 4, 1);
    size = class_sifive_clint.save(&m.dev, blob, sizeof(blob));
    CHECK(size > 0 && (size_t)size <= sizeof(blob));

    setup();
    m.clock = 1000 * TICK; /* another host, another clock */
    CHECK_EQ(class_sifive_clint.load(&m.dev, 1, blob, (size_t)size), 0);
    CHECK(m.line[0] && !m.line[2]);
    CHECK_EQ(rd(&m, MTIME, 8), 30);
    CHECK_EQ(m.wake_at, 1010 * TICK);
    CHECK_EQ(class_sifive_clint.load(&m.dev, 2, blob, (size_t)size), -1);
    CHECK_EQ(class_sifive_clint.load(&m.dev, 1, blob, (size_t)size - 1), -1);
    memset(bad, 0xff, sizeof(bad));
    CHECK_EQ(class_sifive_clint.load(&m.dev, 1, bad, (size_t)size), -1);
    CHECK_EQ(rd(&m, MTIME, 8), 30);
}

TEST(nodes)
{
    static u8 many[513 * 8];
    static const struct mock_property none[] = {END};
    static const struct mock_property too_many[] = {{"interrupts-extended", sizeof(many), many, {0}}, END};
    static const struct mock_property odd[] = {{"interrupts-extended", 12, wires, {0}}, END};

    for (unsigned i = 0; i < 513; i++)
        many[8 * i + 7] = 7;
    CHECK(mock_create(&m, &class_sifive_clint, SIZE, too_many));
    CHECK(mock_create(&m, &class_sifive_clint, SIZE, odd));
    CHECK(mock_create(&m, &class_sifive_clint, SIZE, none) == NULL);
    wr(&m, MSIP(0), 4, 1); /* one hart, to which nothing leads */
    CHECK_EQ(rd(&m, MSIP(0), 4), 1);
    CHECK_EQ(m.irq_calls, 0);
}
