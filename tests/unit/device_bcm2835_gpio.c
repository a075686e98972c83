/* The BCM2835's pins, point by point to "BCM2835 ARM Peripherals", chapter 6; sections and tables in the comments. */
#include "device_mock.h"

enum {
    FSEL = 0x00, SET = 0x1c, CLR = 0x28, LEV = 0x34, EDS = 0x40, REN = 0x4c, FEN = 0x58, HEN = 0x64, LEN = 0x70,
    AREN = 0x7c, AFEN = 0x88, PUD = 0x94, PUDCLK = 0x98,
};

static struct mock m;

static void setup(const char *attachment)
{
    CHECK(mock_plug(&m, &class_bcm2835_gpio, 0xb4, attachment) == NULL);
    m.irq_calls = m.irq_changes = 0;
}

static void function(unsigned pin, u32 value)
{
    u32 reg = FSEL + pin / 10 * 4, shift = pin % 10 * 3;

    wr(&m, reg, 4, (rd(&m, reg, 4) & ~(u64)(7u << shift)) | value << shift);
}

static u64 both(u32 reg)
{
    u64 low = rd(&m, reg, 4);

    return low | rd(&m, reg + 4, 4) << 32;
}

static void pins(u32 reg, u64 value)
{
    wr(&m, reg, 4, (u32)value);
    wr(&m, reg + 4, 4, value >> 32);
}

static unsigned level(unsigned pin)
{
    return both(LEV) >> pin & 1;
}

static void output(unsigned pin, unsigned value)
{
    pins(value ? SET : CLR, (u64)1 << pin);
}

static void hear(const char *text)
{
    m.nreceived = 0;
    m.ninput = (unsigned)strlen(text);
    memcpy(m.input, text, m.ninput);
}

static const char *said(void)
{
    m.sent[m.nsent % sizeof(m.sent)] = 0;
    m.nsent = 0;
    return (const char *)m.sent;
}

/* Table 6-1: what is there and what is not; 6.1: 32-bit accesses. */
TEST(register_map)
{
    unsigned there = 0;
    u64 value;

    setup(NULL);
    for (u32 at = 0; at < 0xb4; at += 4)
        there += rd_status(&m, at, 4, &value) != MMIOSHIM_NO_REGISTER;
    CHECK_EQ(there, 6 + 2 * 11 + 1);
    CHECK_EQ(rd_status(&m, 0x18, 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd_status(&m, 0x24, 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd_status(&m, 0xa0, 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd_status(&m, SET, 4, &value), MMIOSHIM_WRITE_ONLY);
    CHECK_EQ(rd_status(&m, CLR + 4, 4, &value), MMIOSHIM_WRITE_ONLY);
    CHECK_EQ(wr_status(&m, LEV, 4, 0), MMIOSHIM_READ_ONLY);
    CHECK_EQ(rd_status(&m, LEV, 1, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, LEV, 8, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(wr_status(&m, LEV + 2, 4, 0), MMIOSHIM_BAD_WIDTH);
}

/* Tables 6-2 to 6-7: three bits for each of 54 pins. */
TEST(function_select)
{
    setup(NULL);
    for (u32 i = 0; i < 6; i++) {
        CHECK_EQ(rd(&m, FSEL + 4 * i, 4), 0);
        wr(&m, FSEL + 4 * i, 4, 0xffffffff);
        CHECK_EQ(rd(&m, FSEL + 4 * i, 4), i < 5 ? 0x3fffffff : 0xfff);
    }
}

/* Tables 6-8 to 6-13: writing zeroes has no effect; set and clear are kept while a pin is an input. */
TEST(set_and_clear)
{
    setup(NULL);
    for (unsigned pin = 0; pin < 54; pin++) {
        function(pin, 1);
        output(pin, 1);
        CHECK_EQ(level(pin), 1);
        pins(SET, 0);
        pins(CLR, 0);
        CHECK_EQ(level(pin), 1);
        output(pin, 0);
        CHECK_EQ(level(pin), 0);
    }
    function(20, 0);
    output(20, 1);
    CHECK_EQ(level(20), 0);
    function(20, 1); /* "the value will be set according to the last set/clear operation" */
    CHECK_EQ(level(20), 1);
    pins(SET, UINT64_MAX);
    CHECK_EQ(both(LEV), 0x3fffffffffffff);
}

/* Table 6-31, column "Pull", and 6.1, "GPIO Pull-up/down Clock Registers". */
TEST(pulls)
{
    setup(NULL);
    CHECK_EQ(both(LEV), 0x1ffull | 7ull << 34 | 0xffull << 46);
    wr(&m, PUD, 4, 2);
    CHECK_EQ(level(20), 0);
    pins(PUDCLK, 1ull << 20 | 1ull << 40);
    wr(&m, PUD, 4, 0);
    pins(PUDCLK, 0);
    CHECK_EQ(level(20), 1);
    CHECK_EQ(level(40), 1);
    CHECK_EQ(level(21), 0);
    wr(&m, PUD, 4, 1);
    pins(PUDCLK, 1ull << 20 | 1);
    CHECK_EQ(level(20), 0);
    CHECK_EQ(level(0), 0);
    CHECK_EQ(level(40), 1);
    wr(&m, PUD, 4, 0);
    pins(PUDCLK, 1ull << 40);
    CHECK_EQ(level(40), 0); /* nobody drives it */
}

/* Tables 6-16 to 6-27: edges and levels, of every pin. */
TEST(detection)
{
    static const struct {
        u32 reg;
        bool rise, fall;
    } edges[] = {{REN, true, false}, {AREN, true, false}, {FEN, false, true}, {AFEN, false, true}};

    setup(NULL);
    for (unsigned pin = 0; pin < 54; pin++) {
        u64 bit = (u64)1 << pin;

        function(pin, 1);
        output(pin, 0);
        for (unsigned i = 0; i < ARRAY_SIZE(edges); i++) {
            pins(edges[i].reg, bit);
            output(pin, 1);
            CHECK_EQ(both(EDS), edges[i].rise ? bit : 0);
            pins(EDS, ~bit);
            CHECK_EQ(both(EDS), edges[i].rise ? bit : 0);
            pins(EDS, bit);
            output(pin, 0);
            CHECK_EQ(both(EDS), edges[i].fall ? bit : 0);
            pins(EDS, bit);
            CHECK_EQ(both(EDS), 0);
            pins(edges[i].reg, 0);
        }
        pins(HEN, bit);
        CHECK_EQ(both(EDS), 0);
        output(pin, 1);
        pins(EDS, bit);
        CHECK_EQ(both(EDS), bit); /* "if the pin is still high ... the status bit will remain set" */
        output(pin, 0);
        CHECK_EQ(both(EDS), bit);
        pins(EDS, bit);
        CHECK_EQ(both(EDS), 0);
        pins(HEN, 0);
        pins(LEN, bit);
        CHECK_EQ(both(EDS), bit);
        output(pin, 1);
        pins(EDS, bit);
        CHECK_EQ(both(EDS), 0);
        pins(LEN, 0);
    }
}

/* Devicetree binding: one interrupt for pins 0 to 27, 28 to 45, 46 to 53, and one for all. */
TEST(interrupts)
{
    setup(NULL);
    for (unsigned pin = 0; pin < 54; pin++) {
        unsigned bank = pin < 28 ? 0 : pin < 46 ? 1 : 2;
        u64 bit = (u64)1 << pin;

        function(pin, 1);
        pins(REN, bit);
        output(pin, 1);
        for (unsigned line = 0; line < 3; line++)
            CHECK_EQ(m.line[line], line == bank);
        CHECK(m.line[3]);
        pins(EDS, bit);
        for (unsigned line = 0; line < 4; line++)
            CHECK(!m.line[line]);
    }
    CHECK_EQ(m.irq_changes, 54 * 4);
}

TEST(wires)
{
    setup("pins,wire=17-18,wire=0-53");
    function(17, 1);
    output(17, 1);
    CHECK_EQ(level(18), 1);
    output(17, 0);
    CHECK_EQ(level(18), 0);
    function(17, 0);
    function(18, 1);
    output(18, 1);
    CHECK_EQ(level(17), 1);
    function(53, 1);
    CHECK_EQ(level(0), 0); /* against its resistor */
    function(53, 0);
    CHECK_EQ(level(0), 1);
    pins(REN, 1);
    function(53, 1);
    output(53, 1);
    CHECK_EQ(both(EDS), 1);
}

/* The host end is told what the program drives, each change once. */
TEST(tells)
{
    setup("pins:file:out");
    CHECK_STR(class_bcm2835_gpio.end(&m.dev), "file:out");
    function(17, 1);
    CHECK_STR(said(), "17=0\n");
    output(17, 1);
    CHECK_STR(said(), "17=1\n");
    output(17, 1);
    output(18, 1); /* an input */
    CHECK_STR(said(), "");
    function(18, 1);
    CHECK_STR(said(), "18=1\n");
    pins(CLR, 3ull << 17);
    CHECK_STR(said(), "17=0\n18=0\n");
    wr(&m, FSEL + 4, 4, 0);
    CHECK_STR(said(), "17=z\n18=z\n");
    for (u32 i = 0; i < 6; i++)
        wr(&m, FSEL + 4 * i, 4, 0x09249249);
    CHECK_EQ(m.nsent, 10 * 4 + 44 * 5);
}

/* One that takes nothing is waited for, before anything is done; nothing is lost. */
TEST(tells_slowly)
{
    setup("pins:file:out");
    function(2, 1);
    function(3, 1);
    said();
    m.busy_after = 6; /* in the middle of a line */
    wr(&m, SET, 4, 0xc);
    CHECK_EQ(m.nsent, 6);
    CHECK_EQ(wr_status(&m, CLR, 4, 0x4), MMIOSHIM_WAIT);
    CHECK_EQ(level(2), 1);
    wr(&m, REN, 4, 1); /* tells nothing, need not wait */
    m.busy_after = 0;
    wr(&m, CLR, 4, 0x4);
    CHECK_STR(said(), "2=1\n3=1\n2=0\n");
}

/* The host end drives pins. */
TEST(is_driven)
{
    setup("pins,wire=5-6:pty");
    hear("17=1\n4=0;5=0 ");
    CHECK_EQ(level(17), 1);
    CHECK_EQ(level(4), 0);
    CHECK_EQ(level(6), 0); /* at the other end of the wire */
    hear("17=z\n");
    CHECK_EQ(level(17), 0);
    function(20, 1);
    hear("20=1\n"); /* the program's own wins */
    CHECK_EQ(level(20), 0);
    function(20, 0);
    CHECK_EQ(level(20), 1);
    hear("54=1\n=1\n1717=1\n17\n17=\n17=2\n17==1\n17=11\nx17=1\n-1=1\n\n\n");
    CHECK_EQ(level(17), 0);
    hear("17=1\r\n");
    CHECK_EQ(level(17), 1);
    hear("17=");
    CHECK_EQ(level(17), 1);
    hear("0\n");
    CHECK_EQ(level(17), 0);
}

/* Events that come while nobody looks: service() is asked for while a detector is on and no event waits to be seen. */
TEST(waits_for_input)
{
    setup("pins:pty");
    CHECK_EQ(m.input_wakes, 0);
    wr(&m, REN, 4, 1u << 17);
    CHECK_EQ(m.input_wakes, 1);
    hear("4=0\n");
    class_bcm2835_gpio.service(&m.dev);
    CHECK_EQ(m.input_wakes, 2); /* nothing that anybody waits for */
    hear("17=1\n17=0\n");
    class_bcm2835_gpio.service(&m.dev);
    CHECK(m.line[0] && m.line[3]);
    CHECK_EQ(m.input_wakes, 2);
    CHECK_EQ(rd(&m, EDS, 4), 1u << 17);
    wr(&m, EDS, 4, 1u << 17);
    CHECK_EQ(m.input_wakes, 3);
    CHECK(!m.line[0] && !m.line[3]);
}

TEST(what_can_be_plugged_in)
{
    static const char *const good[] = {"pins", "pins:null", "pins,wire=0-53", "pins:file:a:b,append,in=c", "pins,wire=1-2,wire=3-4:stdio"};
    static const char *const bad[] = {
        "", "pin", "pinsx", "pins,", "pins:", "pins:disk:x", "pins:filex", "pins,wire=17", "pins,wire=17-54", "pins,wire=1-1",
        "pins,wire=1-2,wire=2-3", "pins,wire=1:2", "pins,wire=-2", "pins,wire=1-", "pins,wire=1-2x", "pins,wire=0001-2",
        "pins,wire=4294967296-1", "pins,wires=1-2",
    };
    static char longest[600];

    for (unsigned i = 0; i < ARRAY_SIZE(good); i++)
        CHECK(mock_plug(&m, &class_bcm2835_gpio, 0x1000, good[i]) == NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
        if (mock_plug(&m, &class_bcm2835_gpio, 0x1000, bad[i]) == NULL) {
            printf("# %s\n", bad[i]);
            CHECK(!"refused");
        }
    memset(longest, 'x', sizeof(longest) - 1);
    memcpy(longest, "pins:file:", 10);
    CHECK(mock_plug(&m, &class_bcm2835_gpio, 0x1000, longest) != NULL);
}

TEST(node)
{
    static const u8 cells[] = {0, 0, 0, 17, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0, 53}, far[] = {0, 0, 0, 17, 0, 0, 0, 54},
                    large[] = {0, 0, 1, 17, 0, 0, 0, 18};
    static const struct mock_property good[] = {{"mmioshim,wire", 16, cells, {0}}, END};
    static const struct mock_property odd[] = {{"mmioshim,wire", 12, cells, {0}}, END};
    static const struct mock_property outside[] = {{"mmioshim,wire", 8, far, {0}}, END};
    static const struct mock_property wide[] = {{"mmioshim,wire", 8, large, {0}}, END};

    CHECK(mock_create(&m, &class_bcm2835_gpio, 0xb4, good) == NULL);
    function(18, 1);
    output(18, 1);
    CHECK_EQ(level(17), 1);
    CHECK(mock_create(&m, &class_bcm2835_gpio, 0xb4, odd) != NULL);
    CHECK(mock_create(&m, &class_bcm2835_gpio, 0xb4, outside) != NULL);
    CHECK(mock_create(&m, &class_bcm2835_gpio, 0xb4, wide) != NULL);
}

TEST(reset)
{
    setup("pins:pty");
    hear("17=1\n");
    CHECK_EQ(level(17), 1);
    function(4, 1);
    wr(&m, HEN, 4, 1u << 17);
    CHECK(m.line[0]);
    class_bcm2835_gpio.reset(&m.dev, MMIOSHIM_RESET_WARM);
    CHECK(!m.line[0] && !m.line[3]);
    CHECK_EQ(rd(&m, FSEL, 4), 0);
    CHECK_EQ(rd(&m, HEN, 4), 0);
    CHECK_EQ(level(17), 1); /* what is outside does not know */
}

TEST(save_and_load)
{
    u8 blob[2048], bad[2048];
    unsigned refused = 0;
    long size;

    setup("pins:pty");
    hear("17=1\n");
    CHECK_EQ(level(17), 1);
    wr(&m, HEN, 4, 1u << 17);
    size = class_bcm2835_gpio.save(&m.dev, blob, sizeof(blob));
    CHECK(size > 0 && (size_t)size <= sizeof(blob));
    setup("pins:pty");
    CHECK_EQ(class_bcm2835_gpio.load(&m.dev, 1, blob, (size_t)size), 0);
    CHECK(m.line[0] && m.line[3] && !m.line[1]);
    CHECK_EQ(level(17), 1);
    CHECK_EQ(class_bcm2835_gpio.load(&m.dev, 2, blob, (size_t)size), -1);
    CHECK_EQ(class_bcm2835_gpio.load(&m.dev, 1, blob, (size_t)size - 1), -1);
    for (long i = 0; i < size; i++) {
        memcpy(bad, blob, (size_t)size);
        bad[i] ^= 0xff;
        refused += class_bcm2835_gpio.load(&m.dev, 1, bad, (size_t)size) == -1;
    }
    CHECK(refused > 54 + 256);
    setup("pins,wire=1-2:pty");
    CHECK_EQ(class_bcm2835_gpio.load(&m.dev, 1, blob, (size_t)size), -1);
}
