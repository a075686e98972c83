/* The test finisher: what ends, what resets, what does nothing. */
#include "device_mock.h"

static struct mock m;

static void setup(void)
{
    CHECK(mock_create(&m, &class_sifive_test, 0x1000, NULL) == NULL);
}

TEST(pass)
{
    setup();
    wr(&m, 0, 4, 0x5555);
    CHECK_EQ(m.ends, 1);
    CHECK_EQ(m.end_status, 0);
    wr(&m, 0, 4, 0x00075555); /* the code of a pass counts for nothing */
    CHECK_EQ(m.ends, 2);
    CHECK_EQ(m.end_status, 0);
}

TEST(fail_with_every_code)
{
    setup();
    for (u32 code = 0; code < 0x10000; code++) {
        wr(&m, 0, 4, 0x3333 | code << 16);
        CHECK_EQ(m.end_status, code & 0xff);
    }
    CHECK_EQ(m.ends, 0x10000);
}

TEST(two_bytes_carry_no_code)
{
    setup();
    wr(&m, 0, 2, 0x3333);
    CHECK_EQ(m.end_status, 0);
    wr(&m, 0, 2, 0xffff0000 | 0x5555);
    CHECK_EQ(m.ends, 2);
    wr(&m, 0, 2, 0x7777);
    CHECK_EQ(m.resets, 1);
}

TEST(reset_the_machine)
{
    setup();
    wr(&m, 0, 4, 0x7777);
    CHECK_EQ(m.resets, 1);
    CHECK_EQ(m.ends, 0);
}

TEST(everything_else_is_ignored)
{
    unsigned ignored = 0;

    setup();
    for (u32 v = 0; v < 0x10000; v++)
        if (v != 0x3333 && v != 0x5555 && v != 0x7777)
            ignored += wr_status(&m, 0, 4, v) == MMIOSHIM_GUEST_BUG;
    CHECK_EQ(ignored, 0x10000 - 3);
    CHECK_EQ(m.ends + m.resets, 0);
    CHECK_EQ(wr_status(&m, 2, 2, 0x5555), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(m.ends, 0);
}

TEST(reads_and_widths)
{
    u64 value;

    setup();
    CHECK_EQ(rd(&m, 0, 4), 0);
    CHECK_EQ(rd(&m, 0, 2), 0);
    CHECK_EQ(rd(&m, 2, 2), 0);
    CHECK_EQ(rd_status(&m, 0, 1, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, 0, 8, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, 1, 2, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(wr_status(&m, 0, 8, 0x5555), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, 4, 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(wr_status(&m, 0xffc, 4, 0x5555), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(m.ends, 0);
    CHECK(!class_sifive_test.split);
}
