/* The Goldfish RTC: latching, setting, alarms, interrupts. */
#include "device_mock.h"

enum { LOW, HIGH = 4, ALARM = 8, ALARM_HI = 12, ENABLED = 16, CLEAR_ALARM = 20, ARMED = 24, CLEAR_IRQ = 28 };

#define START 0x17aabbccfffffff0ull

static struct mock m;

static void setup(void)
{
    CHECK(mock_create(&m, &class_goldfish_rtc, 0x1000, NULL) == NULL);
    m.wall = START;
}

static void set_alarm(u64 when)
{
    wr(&m, ALARM_HI, 4, when >> 32);
    wr(&m, ALARM, 4, (u32)when);
}

TEST(low_latches_high)
{
    setup();
    CHECK_EQ(rd(&m, HIGH, 4), 0);
    CHECK_EQ(rd(&m, LOW, 4), 0xfffffff0);
    m.wall += 0x20; /* the low half overflows between the two reads */
    CHECK_EQ(rd(&m, HIGH, 4), 0x17aabbcc);
    CHECK_EQ(rd(&m, LOW, 4), 0x10);
    CHECK_EQ(rd(&m, HIGH, 4), 0x17aabbcd);
}

TEST(setting_the_time)
{
    setup();
    wr(&m, HIGH, 4, 0x11);
    wr(&m, LOW, 4, 0x22);
    m.wall += 5;
    CHECK_EQ(rd(&m, LOW, 4), 0x27);
    CHECK_EQ(rd(&m, HIGH, 4), 0x11);
    class_goldfish_rtc.reset(&m.dev, MMIOSHIM_RESET_COLD); /* it runs on a battery */
    CHECK_EQ(rd(&m, LOW, 4), 0x27);
}

TEST(alarm_comes)
{
    setup();
    wr(&m, ENABLED, 4, 0xffffffff);
    CHECK_EQ(rd(&m, ENABLED, 4), 1);
    set_alarm(START + 1000);
    CHECK_EQ(m.wakes, 1);
    CHECK_EQ(rd(&m, ALARM, 4), (u32)(START + 1000));
    CHECK_EQ(rd(&m, ALARM_HI, 4), (START + 1000) >> 32);
    m.wall += 999;
    CHECK_EQ(rd(&m, ARMED, 4), 1);
    CHECK(!m.line[0]);
    m.wall++;
    class_goldfish_rtc.service(&m.dev);
    CHECK(m.line[0]);
    CHECK_EQ(rd(&m, ARMED, 4), 0);
    wr(&m, CLEAR_IRQ, 4, 1);
    CHECK(!m.line[0]);
    class_goldfish_rtc.service(&m.dev);
    CHECK(!m.line[0]);
    CHECK_EQ(m.irq_changes, 2);
}

TEST(alarm_is_noticed_by_an_access)
{
    setup();
    wr(&m, ENABLED, 4, 1);
    set_alarm(START + 10);
    m.wall += 10;
    rd(&m, LOW, 4);
    CHECK(m.line[0]);
}

TEST(alarm_in_the_past_comes_at_once)
{
    setup();
    wr(&m, ENABLED, 4, 1);
    set_alarm(START - 1);
    CHECK(m.line[0]);
    CHECK_EQ(m.wakes, 0);
    CHECK_EQ(rd(&m, ARMED, 4), 0);
}

TEST(only_the_low_half_arms)
{
    setup();
    wr(&m, ALARM_HI, 4, 0xffffffff);
    CHECK_EQ(rd(&m, ARMED, 4), 0);
    wr(&m, ALARM, 4, 0);
    CHECK_EQ(rd(&m, ARMED, 4), 1);
    wr(&m, CLEAR_ALARM, 4, 0);
    CHECK_EQ(rd(&m, ARMED, 4), 0);
    m.wall = UINT64_MAX;
    rd(&m, LOW, 4);
    CHECK(!m.line[0]);
}

TEST(disabled_interrupt_stays_pending)
{
    setup();
    set_alarm(0);
    CHECK(!m.line[0]);
    wr(&m, ENABLED, 4, 1);
    CHECK(m.line[0]);
    wr(&m, ENABLED, 4, 0);
    CHECK(!m.line[0]);
    wr(&m, ENABLED, 4, 1);
    CHECK(m.line[0]);
    class_goldfish_rtc.reset(&m.dev, MMIOSHIM_RESET_WARM);
    CHECK(!m.line[0]);
    CHECK_EQ(rd(&m, ENABLED, 4), 0);
}

TEST(setting_the_clock_past_the_alarm)
{
    setup();
    wr(&m, ENABLED, 4, 1);
    set_alarm(START + ((u64)1 << 40));
    CHECK(!m.line[0]);
    wr(&m, HIGH, 4, 0xf0000000);
    CHECK(m.line[0]);
}

TEST(access_rules)
{
    u64 value;

    setup();
    CHECK_EQ(rd_status(&m, CLEAR_ALARM, 4, &value), MMIOSHIM_WRITE_ONLY);
    CHECK_EQ(value, 0);
    CHECK_EQ(rd_status(&m, CLEAR_IRQ, 4, &value), MMIOSHIM_WRITE_ONLY);
    CHECK_EQ(wr_status(&m, ARMED, 4, 1), MMIOSHIM_READ_ONLY);
    CHECK_EQ(rd_status(&m, LOW, 8, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, LOW, 1, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, 2, 4, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, 0x20, 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(wr_status(&m, 0x20, 4, 0), MMIOSHIM_NO_REGISTER);
}

TEST(save_and_load)
{
    u8 blob[64];
    long size;

    setup();
    wr(&m, ENABLED, 4, 1);
    wr(&m, LOW, 4, 0x100);
    set_alarm(0);
    size = class_goldfish_rtc.save(&m.dev, blob, sizeof(blob));
    CHECK(size > 0 && (size_t)size <= sizeof(blob));
    setup();
    CHECK_EQ(class_goldfish_rtc.load(&m.dev, 1, blob, (size_t)size), 0);
    CHECK(m.line[0]);
    CHECK_EQ(rd(&m, LOW, 4), 0x100);
    CHECK_EQ(class_goldfish_rtc.load(&m.dev, 0, blob, (size_t)size), -1);
    CHECK_EQ(class_goldfish_rtc.load(&m.dev, 1, blob, (size_t)size - 1), -1);
    memset(blob, 0xff, sizeof(blob));
    CHECK_EQ(class_goldfish_rtc.load(&m.dev, 1, blob, (size_t)size), -1);
    CHECK_EQ(rd(&m, LOW, 4), 0x100);
}

TEST(load_refuses_what_cannot_be)
{
    u8 blob[64], bad[64];
    unsigned refused = 0;
    size_t size;

    setup();
    size = (size_t)class_goldfish_rtc.save(&m.dev, blob, sizeof(blob));
    for (size_t i = 0; i < size; i++) {
        memcpy(bad, blob, size);
        bad[i] = 2;
        refused += class_goldfish_rtc.load(&m.dev, 1, bad, size) == -1;
    }
    CHECK_EQ(refused, 4); /* armed, pending, enabled, and the level that follows from them */
}
