/* The 16550A: every register and rule of the data sheet that the model keeps. */
#include "device_mock.h"

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR, THR = 0, FCR = 2 };

static struct mock m;

static void setup(void)
{
    CHECK(mock_create(&m, &class_ns16550a, 0x100, NULL) == NULL);
}

static void get(unsigned reg, u64 want)
{
    CHECK_EQ(rd(&m, reg, 1), want);
}

static void put(unsigned reg, u8 value)
{
    wr(&m, reg, 1, value);
}

static void feed(const char *text)
{
    m.nreceived = 0;
    m.ninput = (unsigned)strlen(text);
    memcpy(m.input, text, m.ninput);
}

TEST(reset_values)
{
    setup();
    get(IER, 0);
    get(IIR, 0x01);
    get(LCR, 0);
    get(MCR, 0);
    get(LSR, 0x60);
    get(MSR, 0xb0);
    get(SCR, 0);
    get(RBR, 0);
    CHECK(!m.line[0]);
    CHECK_EQ(m.irq_changes, 0);
}

TEST(transmit)
{
    setup();
    for (unsigned i = 0; i < 1000; i++) {
        put(THR, (u8)i);
        get(LSR, 0x60);
    }
    CHECK_EQ(m.nsent, 1000);
    for (unsigned i = 0; i < 1000; i++)
        CHECK_EQ(m.sent[i], (u8)i);
    CHECK_EQ(m.receives, 0);
}

TEST(transmit_waits_without_side_effect)
{
    char before[4096];

    setup();
    put(IER, 0x02);
    get(IIR, 0x02);
    CHECK(!m.line[0]);
    m.busy = true;
    CHECK(m.state_size <= sizeof(before));
    memcpy(before, m.dev.state, m.state_size);
    for (unsigned i = 0; i < 10; i++)
        CHECK_EQ(wr_status(&m, THR, 1, 'x'), MMIOSHIM_WAIT);
    CHECK(memcmp(before, m.dev.state, m.state_size) == 0);
    CHECK_EQ(m.nsent, 0);
    m.busy = false;
    put(THR, 'x');
    CHECK_EQ(m.nsent, 1);
    CHECK(m.line[0]);
}

TEST(input_is_taken_only_by_rbr)
{
    setup();
    feed("abc");
    for (unsigned i = 0; i < 100; i++) {
        get(LSR, 0x61);
        get(IIR, 0x01);
        get(MSR, 0xb0);
        get(SCR, 0);
        put(FCR, 0x07);
        put(FCR, 0x00);
    }
    CHECK_EQ(m.receives, 0);
    get(RBR, 'a');
    CHECK_EQ(m.receives, 1);
    get(LSR, 0x61);
    get(RBR, 'b');
    get(RBR, 'c');
    CHECK_EQ(m.nreceived, 3);
    get(LSR, 0x60);
    get(RBR, 'c'); /* the buffer keeps the last character */
    put(FCR, 1);
    get(RBR, 0); /* an empty FIFO gives 0 */
    CHECK_EQ(m.nreceived, 3);
}

TEST(lcr_mcr_scr_ier_hold_their_bits)
{
    setup();
    for (unsigned v = 0; v < 256; v++) {
        put(SCR, (u8)v);
        get(SCR, v);
        put(LCR, (u8)v & 0x7f);
        get(LCR, v & 0x7f);
        put(IER, (u8)v);
        get(IER, v & 0x0f);
        put(MCR, (u8)v);
        get(MCR, v & 0x1f);
    }
}

TEST(divisor_latch)
{
    setup();
    CHECK_EQ(class_ns16550a.view(&m.dev), 1);
    put(LCR, 0x83);
    CHECK_EQ(class_ns16550a.view(&m.dev), 2);
    get(0, 12);
    get(1, 0);
    put(0, 0x34);
    put(1, 0x12);
    get(0, 0x34);
    get(1, 0x12);
    CHECK_EQ(m.nsent, 0);
    put(LCR, 0x03);
    get(IER, 0);
    put(IER, 0x05);
    put(THR, 'x');
    CHECK_EQ(m.nsent, 1);
    put(LCR, 0x80);
    get(0, 0x34);
    get(1, 0x12);
    put(0, 0x56); /* each half alone */
    get(0, 0x56);
    get(1, 0x12);
}

/* 8N1 is 3: a model that looks for FCR's clear bits in LCR loses the FIFO here. */
TEST(lcr_does_not_clear_the_fifo)
{
    setup();
    put(FCR, 0x01);
    put(MCR, 0x10);
    put(THR, 'x');
    put(LCR, 0x03);
    put(LCR, 0x07);
    get(LSR, 0x61);
    get(RBR, 'x');
}

TEST(iir_shows_the_fifo_bits)
{
    setup();
    get(IIR, 0x01);
    put(FCR, 0x01);
    get(IIR, 0xc1);
    put(FCR, 0x06); /* bit 0 clear: the others are not programmed, FIFOs off */
    get(IIR, 0x01);
    put(FCR, 0xc7);
    get(IIR, 0xc1);
}

static void loop(const char *text)
{
    for (; *text; text++)
        put(THR, (u8)*text);
}

TEST(loopback_data_and_fifo_depth)
{
    setup();
    put(MCR, 0x10);
    put(FCR, 0x01);
    feed("host");
    get(LSR, 0x60); /* the serial input is disconnected */
    get(RBR, 0);
    loop("0123456789abcdef");
    get(LSR, 0x61);
    CHECK_EQ(m.nsent, 0);
    for (unsigned i = 0; i < 16; i++)
        get(RBR, (u8) "0123456789abcdef"[i]);
    get(LSR, 0x60);
    CHECK_EQ(m.receives, 0);
    put(MCR, 0);
    get(LSR, 0x61);
    get(RBR, 'h');
}

TEST(fifo_ring_goes_round)
{
    setup();
    put(MCR, 0x10);
    put(FCR, 0x01);
    for (unsigned i = 0; i < 1000; i++) {
        put(THR, (u8)i);
        put(THR, (u8)(i + 1));
        put(THR, (u8)(i + 2));
        get(RBR, (u8)i);
        get(RBR, (u8)(i + 1));
        get(RBR, (u8)(i + 2));
    }
    get(LSR, 0x60);
}

TEST(overrun_with_fifo_loses_the_new)
{
    setup();
    put(MCR, 0x10);
    put(FCR, 0x01);
    loop("0123456789abcdefXY");
    get(LSR, 0x63); /* DR OE */
    get(LSR, 0x61); /* reading cleared OE */
    for (unsigned i = 0; i < 16; i++)
        get(RBR, (u8) "0123456789abcdef"[i]);
    get(LSR, 0x60);
}

TEST(overrun_without_fifo_loses_the_old)
{
    setup();
    put(MCR, 0x10);
    loop("ab");
    get(LSR, 0x63);
    get(LSR, 0x61);
    get(RBR, 'b');
    get(LSR, 0x60);
}

TEST(fcr_clears)
{
    setup();
    put(MCR, 0x10);
    put(FCR, 0x01);
    loop("abc");
    put(FCR, 0x05); /* transmitter's only */
    get(LSR, 0x61);
    put(FCR, 0x03);
    get(LSR, 0x60);
    loop("abc");
    put(FCR, 0x00); /* leaving FIFO mode clears too */
    get(LSR, 0x60);
    loop("a");
    put(FCR, 0x01); /* and entering it */
    get(LSR, 0x60);
    loop("z");
    get(RBR, 'z');
}

TEST(trigger_levels)
{
    static const u8 levels[] = {1, 4, 8, 14};

    for (unsigned t = 0; t < 4; t++) {
        setup();
        put(MCR, 0x10);
        put(IER, 0x01);
        put(FCR, (u8)(t << 6 | 1));
        get(IIR, 0xc1);
        CHECK(!m.line[0]);
        for (unsigned n = 1; n <= 16; n++) {
            put(THR, 'x');
            get(IIR, n >= levels[t] ? 0xc4 : 0xcc);
            CHECK(m.line[0]);
        }
        for (unsigned n = 16; n-- > 0;) {
            get(RBR, 'x');
            get(IIR, n == 0 ? 0xc1 : n >= levels[t] ? 0xc4 : 0xcc);
        }
        CHECK(!m.line[0]);
    }
}

TEST(host_input_interrupts)
{
    setup();
    put(IER, 0x01);
    CHECK(!m.line[0]);
    feed("ab");
    class_ns16550a.service(&m.dev); /* input came: the worker says so */
    CHECK(m.line[0]);
    get(IIR, 0x04);
    put(FCR, 0x81);
    get(IIR, 0xcc); /* fewer than the trigger level, waiting: timeout */
    get(RBR, 'a');
    CHECK(m.line[0]);
    get(RBR, 'b');
    CHECK(!m.line[0]);
    get(IIR, 0xc1);
}

/* "FIFO Interrupt Mode Operation": the trigger level counts what waits at the host, too. */
TEST(host_input_meets_the_trigger_level)
{
    setup();
    put(FCR, 0xc1);
    put(IER, 0x01);
    feed("0123456789abcd");
    get(IIR, 0xc4);
    get(RBR, '0');
    get(IIR, 0xcc); /* below it, and not yet empty: the timeout */
    put(FCR, 0x41);
    get(IIR, 0xc4);
    for (unsigned i = 0; i < 13; i++)
        rd(&m, RBR, 1);
    get(IIR, 0xc1);
    CHECK(!m.line[0]);
}

/* The worker is asked to look out for input when there is none, and it would interrupt. */
TEST(input_is_looked_out_for)
{
    setup();
    put(MCR, 0);
    CHECK_EQ(m.input_wakes, 0);
    put(IER, 0x01);
    CHECK_EQ(m.input_wakes, 1);
    feed("a");
    class_ns16550a.service(&m.dev);
    CHECK(m.line[0]);
    CHECK_EQ(m.input_wakes, 1);
    get(RBR, 'a');
    CHECK(!m.line[0]);
    CHECK_EQ(m.input_wakes, 2);
    put(MCR, 0x10); /* the serial input is disconnected */
    put(IER, 0x00);
    CHECK_EQ(m.input_wakes, 2);
}

TEST(no_poll_of_the_host_without_need)
{
    setup();
    for (unsigned i = 0; i < 100; i++)
        put(THR, 'x');
    put(IER, 0x02);
    put(LCR, 3);
    CHECK_EQ(m.polls, 0);
    get(LSR, 0x60);
    CHECK_EQ(m.polls, 1);
}

TEST(thre_interrupt)
{
    setup();
    put(IER, 0x02); /* enabled while empty: at once */
    CHECK(m.line[0]);
    get(IIR, 0x02);
    CHECK(!m.line[0]); /* reading IIR as its source cleared it */
    get(IIR, 0x01);
    put(IER, 0x02); /* no edge, no interrupt */
    get(IIR, 0x01);
    put(THR, 'x');
    CHECK(m.line[0]);
    get(IIR, 0x02);
    get(IIR, 0x01);
    put(IER, 0x00);
    put(IER, 0x02);
    get(IIR, 0x02);
    put(THR, 'x'); /* pending again after a write */
    put(IER, 0x00);
    CHECK(!m.line[0]);
    get(IIR, 0x01);
}

TEST(iir_by_priority)
{
    setup();
    put(MCR, 0x10);
    get(MSR, 0x0b);
    put(IER, 0x0f);
    put(MCR, 0x12); /* modem status */
    put(THR, 'a');  /* data, THRE */
    put(THR, 'b');  /* overrun */
    get(IIR, 0x06);
    get(IIR, 0x06); /* reading IIR clears only THRE */
    get(LSR, 0x63);
    get(IIR, 0x04);
    get(RBR, 'b');
    get(IIR, 0x02);
    get(IIR, 0x00);
    CHECK(m.line[0]);
    get(MSR, 0x11);
    get(IIR, 0x01);
    CHECK(!m.line[0]);
}

TEST(thre_survives_while_another_is_the_source)
{
    setup();
    put(MCR, 0x10);
    put(THR, 'a');
    put(IER, 0x03);
    for (unsigned i = 0; i < 5; i++)
        get(IIR, 0x04);
    get(RBR, 'a');
    get(IIR, 0x02);
    get(IIR, 0x01);
}

TEST(each_enable_gates_its_own)
{
    for (u8 ier = 0; ier < 16; ier++) {
        u8 want = ier & 4 ? 0x06 : ier & 1 ? 0x04 : ier & 2 ? 0x02 : ier & 8 ? 0x00 : 0x01;

        setup();
        put(MCR, 0x10); /* modem lines drop */
        put(THR, 'a');
        put(THR, 'b');
        put(IER, ier);
        CHECK_EQ(m.line[0], ier != 0);
        get(IIR, want);
    }
}

TEST(out2_does_not_gate)
{
    setup();
    put(MCR, 0x00);
    put(IER, 0x02);
    CHECK(m.line[0]);
}

TEST(modem_loopback)
{
    setup();
    get(MSR, 0xb0);
    put(MCR, 0x10);
    get(MSR, 0x0b); /* CTS, DSR and DCD went away */
    get(MSR, 0x00);
    put(MCR, 0x11); /* DTR is DSR */
    get(MSR, 0x22);
    put(MCR, 0x13); /* RTS is CTS */
    get(MSR, 0x31);
    put(MCR, 0x17); /* OUT1 is RI: no leading edge */
    get(MSR, 0x70);
    put(MCR, 0x1f); /* OUT2 is DCD */
    get(MSR, 0xf8);
    put(MCR, 0x1b); /* RI's trailing edge */
    get(MSR, 0xb4);
    get(MSR, 0xb0);
    put(MCR, 0x0b); /* null modem: same lines, no change */
    get(MSR, 0xb0);
    put(MCR, 0x10);
    put(MCR, 0x00); /* there and back: a change all the same */
    get(MSR, 0xbb);
}

TEST(modem_interrupt)
{
    setup();
    put(IER, 0x08);
    CHECK(!m.line[0]);
    put(MCR, 0x10);
    CHECK(m.line[0]);
    get(IIR, 0x00);
    CHECK(m.line[0]);
    get(MSR, 0x0b);
    CHECK(!m.line[0]);
}

TEST(break_in_loopback)
{
    setup();
    put(MCR, 0x10);
    put(FCR, 0x01);
    put(IER, 0x04);
    put(LCR, 0x43);
    put(LCR, 0x47); /* still the same break */
    put(THR, 'x');  /* nobody hears it */
    CHECK(m.line[0]);
    get(IIR, 0xc6);
    get(LSR, 0xf1); /* FIFOERR TEMT THRE BI DR */
    CHECK(!m.line[0]);
    get(LSR, 0x61);
    get(RBR, 0);
    get(LSR, 0x60);
    put(LCR, 0x03);
    put(THR, 'y');
    get(RBR, 'y');
    put(LCR, 0x43);
    get(LSR, 0xf1);
}

TEST(error_is_revealed_at_the_top)
{
    setup();
    put(MCR, 0x10);
    put(FCR, 0x01);
    put(THR, 'a');
    put(LCR, 0x40);
    get(LSR, 0xe1); /* an error somewhere, not at the top */
    get(RBR, 'a');
    get(LSR, 0xf1);
    get(LSR, 0x61);
    get(RBR, 0);
}

TEST(break_silences_the_transmitter)
{
    setup();
    put(LCR, 0x43);
    put(THR, 'x');
    CHECK_EQ(m.nsent, 0);
    get(LSR, 0x60);
    put(LCR, 0x03);
    put(THR, 'y');
    CHECK_EQ(m.nsent, 1);
}

TEST(read_only_registers)
{
    setup();
    CHECK_EQ(wr_status(&m, LSR, 1, 0xff), MMIOSHIM_READ_ONLY);
    CHECK_EQ(wr_status(&m, MSR, 1, 0xff), MMIOSHIM_READ_ONLY);
    get(LSR, 0x60);
    get(MSR, 0xb0);
}

TEST(warm_reset_keeps_what_has_no_reset_input)
{
    setup();
    put(SCR, 0x5a);
    put(LCR, 0x80);
    put(0, 0x34);
    put(1, 0x12);
    put(LCR, 0x03);
    put(IER, 0x02);
    CHECK(m.line[0]);
    class_ns16550a.reset(&m.dev, MMIOSHIM_RESET_WARM);
    CHECK(!m.line[0]);
    get(SCR, 0x5a);
    get(LCR, 0);
    get(IER, 0);
    put(LCR, 0x80);
    get(0, 0x34);
    get(1, 0x12);
    class_ns16550a.reset(&m.dev, MMIOSHIM_RESET_COLD);
    get(SCR, 0);
    put(LCR, 0x80);
    get(0, 12);
}

TEST(plain_widths_and_holes)
{
    u64 value;

    setup();
    CHECK_EQ(rd_status(&m, 4, 4, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, 4, 2, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(wr_status(&m, 0, 4, 'x'), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(m.nsent, 0);
    CHECK_EQ(rd_status(&m, 8, 1, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd_status(&m, 8, 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(wr_status(&m, 0xff, 1, 0), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd_status(&m, 7, 2, &value), MMIOSHIM_BAD_WIDTH);
    CHECK(class_ns16550a.split);
}

TEST(shift_and_io_width)
{
    static const struct mock_property node[] = {CELL("reg-shift", 2), CELL("reg-io-width", 4), END};
    u64 value;

    CHECK(mock_create(&m, &class_ns16550a, 0x100, node) == NULL);
    wr(&m, 0, 4, 0x12345641);
    CHECK_EQ(m.sent[0], 0x41);
    CHECK_EQ(m.nsent, 1);
    CHECK_EQ(rd(&m, 5 * 4, 4), 0x60);
    CHECK_EQ(rd(&m, 5 * 4, 2), 0x60);
    CHECK_EQ(rd(&m, 5 * 4, 1), 0x60);
    CHECK_EQ(rd(&m, 5 * 4 + 1, 1), 0); /* upper bytes of a wide register */
    CHECK_EQ(rd(&m, 5 * 4 + 2, 2), 0);
    wr(&m, 1, 1, 'x');
    CHECK_EQ(m.nsent, 1);
    CHECK_EQ(rd_status(&m, 5 * 4 + 1, 2, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, 5 * 4 + 2, 4, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, 8 * 4, 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(class_ns16550a.register_offset(&m.dev, 5 * 4), 5);
    CHECK_EQ(class_ns16550a.register_offset(&m.dev, 5 * 4 + 1), UINT64_MAX);
    CHECK_EQ(class_ns16550a.register_offset(&m.dev, 8 * 4), UINT64_MAX);
}

TEST(shift_alone_leaves_gaps)
{
    static const struct mock_property node[] = {CELL("reg-shift", 2), END};
    u64 value;

    CHECK(mock_create(&m, &class_ns16550a, 0x20, node) == NULL);
    CHECK_EQ(rd(&m, 5 * 4, 1), 0x60);
    CHECK_EQ(rd_status(&m, 5 * 4 + 1, 1, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd_status(&m, 5 * 4, 4, &value), MMIOSHIM_BAD_WIDTH);
}

TEST(offset_before_the_registers)
{
    static const struct mock_property node[] = {CELL("reg-offset", 3), END};
    u64 value;

    CHECK(mock_create(&m, &class_ns16550a, 0x100, node) == NULL);
    CHECK_EQ(rd(&m, 3 + LSR, 1), 0x60);
    CHECK_EQ(rd_status(&m, 2, 1, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd_status(&m, 0, 2, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd_status(&m, 2, 2, &value), MMIOSHIM_BAD_WIDTH); /* reaches in */
    CHECK_EQ(class_ns16550a.register_offset(&m.dev, 3), 0);
    CHECK_EQ(class_ns16550a.register_offset(&m.dev, 2), UINT64_MAX);
}

TEST(io_width_is_no_more_than_the_stride)
{
    static const struct mock_property node[] = {CELL("reg-io-width", 4), END};
    u64 value;

    CHECK(mock_create(&m, &class_ns16550a, 0x100, node) == NULL);
    CHECK_EQ(rd_status(&m, 4, 4, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd(&m, LSR, 1), 0x60);
}

TEST(speed_from_the_node)
{
    static const struct mock_property node[] = {CELL("clock-frequency", 3686400), CELL("current-speed", 115200), END};
    static const struct mock_property near[] = {CELL("clock-frequency", 25000000), CELL("current-speed", 115200), END};
    static const struct mock_property slow[] = {CELL("clock-frequency", 0xffffffff), CELL("current-speed", 1), END};
    static const struct mock_property zero[] = {CELL("clock-frequency", 3686400), CELL("current-speed", 0), END};

    CHECK(mock_create(&m, &class_ns16550a, 0x100, node) == NULL);
    put(LCR, 0x80);
    get(0, 2);
    CHECK(mock_create(&m, &class_ns16550a, 0x100, near) == NULL);
    put(LCR, 0x80);
    get(0, 14); /* 13.56 */
    CHECK(mock_create(&m, &class_ns16550a, 0x100, slow) == NULL);
    put(LCR, 0x80);
    get(0, 0xff);
    get(1, 0xff);
    CHECK(mock_create(&m, &class_ns16550a, 0x100, zero) == NULL);
    put(LCR, 0x80);
    get(0, 12);
}

TEST(older_chips_have_no_fifo)
{
    static const struct mock_property old[] = {STRINGS("compatible", "acme,uart\0ns16450"), END};
    static const struct mock_property both[] = {STRINGS("compatible", "ns16550a\0ns8250"), END};

    CHECK(mock_create(&m, &class_ns16550a, 0x100, old) == NULL);
    CHECK_EQ(wr_status(&m, FCR, 1, 0x01), MMIOSHIM_READ_ONLY);
    get(IIR, 0x01);
    CHECK(mock_create(&m, &class_ns16550a, 0x100, both) == NULL);
    put(FCR, 0x01);
    get(IIR, 0xc1);
}

TEST(fifo_size)
{
    static const struct mock_property node[] = {CELL("fifo-size", 256), END};

    CHECK(mock_create(&m, &class_ns16550a, 0x100, node) == NULL);
    put(MCR, 0x10);
    put(FCR, 0x01);
    for (unsigned i = 0; i < 257; i++)
        put(THR, (u8)i);
    get(LSR, 0x63);
    for (unsigned i = 0; i < 256; i++)
        get(RBR, (u8)i);
    get(LSR, 0x60);
}

TEST(bad_nodes_are_refused)
{
    static const struct mock_property bad[][2] = {
        {CELL("reg-shift", 29), END},
        {CELL("reg-shift", 0xffffffff), END},
        {CELL("reg-shift", 6), END}, /* does not fit 0x100 */
        {CELL("reg-io-width", 3), END},
        {CELL("reg-io-width", 8), END},
        {CELL("reg-offset", 0xf9), END},
        {CELL("reg-offset", 0xffffffff), END},
        {CELL("fifo-size", 257), END},
    };
    static const struct mock_property fits[] = {CELL("reg-offset", 0xf8), END};

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        const char *why = mock_create(&m, &class_ns16550a, 0x100, bad[i]);

        CHECK(why && strlen(why) > 10);
    }
    CHECK(mock_create(&m, &class_ns16550a, 0x100, fits) == NULL);
}

TEST(save_and_load)
{
    u8 blob[2048];
    long size;

    setup();
    put(MCR, 0x10);
    put(FCR, 0x41);
    put(IER, 0x05);
    loop("hello");
    put(SCR, 0x77);
    size = class_ns16550a.save(&m.dev, NULL, 0);
    CHECK(size > 0 && (size_t)size <= sizeof(blob));
    CHECK_EQ(class_ns16550a.save(&m.dev, blob, sizeof(blob)), size);

    setup();
    CHECK_EQ(class_ns16550a.load(&m.dev, 1, blob, (size_t)size), 0);
    CHECK(m.line[0]);
    get(IIR, 0xc4);
    get(SCR, 0x77);
    for (unsigned i = 0; i < 5; i++)
        get(RBR, (u8) "hello"[i]);
    CHECK(!m.line[0]);
}

/* Whatever a driver writes leaves contents that load again. */
TEST(every_fcr_can_be_saved)
{
    u8 blob[2048];

    setup();
    for (unsigned v = 0; v < 256; v++) {
        put(FCR, (u8)v);
        get(IIR, v & 1 ? 0xc1 : 0x01);
        CHECK_EQ(class_ns16550a.load(&m.dev, 1, blob, (size_t)class_ns16550a.save(&m.dev, blob, sizeof(blob))), 0);
    }
}

TEST(load_refuses_what_cannot_be)
{
    u8 blob[2048], bad[2048];
    char before[2048];
    size_t size;
    unsigned refused = 0;

    setup();
    size = (size_t)class_ns16550a.save(&m.dev, blob, sizeof(blob));
    memcpy(before, m.dev.state, m.state_size);
    CHECK_EQ(class_ns16550a.load(&m.dev, 2, blob, size), -1);
    CHECK_EQ(class_ns16550a.load(&m.dev, 1, blob, size - 1), -1);
    CHECK_EQ(class_ns16550a.load(&m.dev, 1, blob, size + 1), -1);
    CHECK_EQ(class_ns16550a.load(&m.dev, 1, blob, 0), -1);
    memset(bad, 0xff, sizeof(bad));
    CHECK_EQ(class_ns16550a.load(&m.dev, 1, bad, size), -1);
    for (size_t i = 0; i < size; i++) {
        memcpy(bad, blob, size);
        bad[i] = 0xff;
        if (class_ns16550a.load(&m.dev, 1, bad, size) == 0) {
            CHECK_EQ(class_ns16550a.load(&m.dev, 1, blob, size), 0);
        } else {
            refused++;
            CHECK(memcmp(before, m.dev.state, m.state_size) == 0);
        }
    }
    /* ier fcr mcr lines deltas errors emptied line, both bytes of count, every error of the FIFO */
    CHECK_EQ(refused, 10 + 256);
}
