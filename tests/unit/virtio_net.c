/* virtio-net frame by frame against VIRTIO 1.2, 5.1. */
#include "virtio_driver.h"

enum { RX, TX, HEADER = 12, TX_AT = DRIVER_DATA, RX_AT = DRIVER_DATA + 0x10000, RX_STEP = 2048 };

#define FEATURES (VIRTIO_F_VERSION_1 | 1 << 5 | 1 << 16)

static void start(const char *attachment, u64 more)
{
    driver_machine(attachment);
    CHECK(driver_negotiate(FEATURES | more));
    driver_queue(RX, 8);
    driver_queue(TX, 8);
    driver_go();
}

static void give_buffers(unsigned n, u32 size)
{
    for (unsigned i = 0; i < n; i++)
        driver_add(RX, (struct buffer[]){{MOCK_RAM + RX_AT + RX_STEP * i, size, true}}, 1);
    driver_kick(RX);
}

/* A frame of n bytes of a value. */
static void send(u8 value, u32 n)
{
    memset(at(TX_AT), 0xee, HEADER);
    memset(at(TX_AT + HEADER), value, n);
    driver_add(TX, (struct buffer[]){{MOCK_RAM + TX_AT, HEADER, false}, {MOCK_RAM + TX_AT + HEADER, n, false}}, 2);
    driver_kick(TX);
}

static bool sent(void)
{
    u32 id = 0, length = 0;
    bool done = driver_take(TX, &id, &length);

    driver_taken(TX, 2);
    CHECK(!done || length == 0);
    return done;
}

static u32 arrived(void)
{
    u32 id, length = 0;

    if (!driver_take(RX, &id, &length))
        return 0;
    driver_taken(RX, 1);
    return length;
}

static void expect_frame(unsigned buffer, u8 value, u32 n)
{
    static const u8 header[HEADER] = {[10] = 1}; /* num_buffers */
    u64 where = RX_AT + RX_STEP * buffer;

    CHECK(memcmp(at(where), header, HEADER) == 0);
    CHECK_EQ(*(u8 *)at(where + HEADER), value);
    CHECK_EQ(*(u8 *)at(where + HEADER + n - 1), value);
    CHECK_EQ(*(u8 *)at(where + HEADER + n), 0);
}

static void configuration(void)
{
    driver_machine("net:loopback,mac=02:00:00:AB:cd:ef");
    CHECK_EQ(rd(&vm, VIRTIO_DEVICE_ID, 4), 1);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG, 4), 0xab000002);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 5, 1), 0xef);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 6, 2), 1);
    CHECK_EQ(wr_status(&vm, VIRTIO_CONFIG, 1, 0), MMIOSHIM_READ_ONLY);
    CHECK_EQ(driver_offered() & 0xffffff & ~(VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX), 1 << 5 | 1 << 16);
    wr(&vm, VIRTIO_QUEUE_SEL, 4, 2);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_NUM_MAX, 4), 0);
}

static void loopback(void)
{
    for (int packed = 0; packed < 2; packed++) {
        start("net:loopback", packed ? VIRTIO_F_RING_PACKED : 0);
        give_buffers(4, RX_STEP);
        CHECK_EQ(arrived(), 0);
        for (unsigned i = 0; i < 4; i++) {
            send((u8)(i + 1), 100 + i);
            CHECK(sent());
            CHECK_EQ(arrived(), HEADER + 100 + i);
            expect_frame(i, (u8)(i + 1), 100 + i);
        }
        send(9, 100); /* nobody has a buffer: it is lost, and the card goes on */
        CHECK(sent());
        CHECK_EQ(arrived(), 0);
        give_buffers(1, RX_STEP);
        CHECK_EQ(arrived(), 0);
        send(7, 1518);
        CHECK_EQ(arrived(), HEADER + 1518);
        expect_frame(0, 7, 1518);
        CHECK(!driver_broken());
    }
}

static void what_is_no_frame(void)
{
    static const u32 wrong[] = {0, 13, 1519, 65536};

    start("net:pcap", 0);
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        send(1, wrong[i]);
        CHECK(sent());
    }
    CHECK_EQ(vm.nframes, 0);
    driver_add(TX, (struct buffer[]){{MOCK_RAM + TX_AT, 11, false}, {MOCK_RAM + TX_AT, 0, false}}, 2);
    driver_add(TX, (struct buffer[]){{MOCK_RAM + TX_AT, HEADER, false}, {0x1000, 60, false}}, 2);
    driver_kick(TX);
    CHECK(sent() && sent());
    CHECK_EQ(vm.nframes, 0);
    CHECK_EQ(vm.refused, 1);
    send(5, 14);
    CHECK_EQ(vm.nframes, 1);
    CHECK_EQ(vm.frame_length, 14);
}

/* 2.7.4.1: header and frame are cut as the driver likes */
static void framing(void)
{
    start("net:pcap", 0);
    memset(at(TX_AT), 0x11, 7 + 5 + 33 + 40);
    driver_add(TX, (struct buffer[]){{MOCK_RAM + TX_AT, 7, false}, {MOCK_RAM + TX_AT + 7, 5 + 33, false},
                                     {MOCK_RAM + TX_AT + 45, 40, false}}, 3);
    driver_kick(TX);
    CHECK_EQ(vm.nframes, 1);
    CHECK_EQ(vm.frame_length, 73);
    CHECK_EQ(vm.frame[0] + vm.frame[72], 0x22);
}

static void receives(void)
{
    start("net:pcap", 0);
    vm.arriving = 6;
    give_buffers(4, RX_STEP);
    for (unsigned i = 0; i < 4; i++) {
        CHECK_EQ(arrived(), HEADER + 60 + i);
        expect_frame(i, (u8)i, 60 + i);
    }
    CHECK_EQ(arrived(), 0); /* the others wait */
    memset(at(RX_AT), 0, 4 * RX_STEP);
    give_buffers(4, RX_STEP);
    CHECK_EQ(arrived(), HEADER + 64);
    CHECK_EQ(arrived(), HEADER + 65);
    CHECK_EQ(arrived(), 0);
    expect_frame(0, 4, 64);
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4), 1);
}

static void small_and_bad_buffers(void)
{
    start("net:pcap", 0);
    vm.arriving = 3;
    driver_add(RX, (struct buffer[]){{MOCK_RAM + RX_AT, HEADER + 59, true}}, 1);
    driver_add(RX, (struct buffer[]){{0x1000, RX_STEP, true}}, 1);
    driver_add(RX, (struct buffer[]){{MOCK_RAM + RX_AT, 5, true}, {MOCK_RAM + RX_AT + 5, 200, true}}, 2);
    driver_kick(RX);
    for (unsigned i = 0; i < 3; i++) {
        u32 id = 0, length = 0;

        CHECK(driver_take(RX, &id, &length));
        CHECK_EQ(length, i < 2 ? 0 : HEADER + 62);
    }
    expect_frame(0, 2, 62);
    CHECK(!driver_broken());
}

static void options(void)
{
    static const char *const wrong[] = {
        "net", "net:", "net:tap", "net:loopback,mac=", "net:loopback,mac=01:00:00:00:00:00", "net:loopback,mac=02:00:00:00:00",
        "net:loopback,out=x", "net:pcap,fast", "net:loopback,", "net:loopback,mac=02:00:00:00:00:00:00",
    };

    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
        CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, wrong[i]) != NULL);
    CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, "net:pcap,out=a,in=b,mac=02:00:00:00:00:01") == NULL);
    CHECK_STR(class_virtio_mmio.end(&vm.dev), "pcap,out=a,in=b");
    CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, "net:loopback") == NULL);
    CHECK_STR(class_virtio_mmio.end(&vm.dev), "");
}

static const struct clause clauses[] = {
    {"5.1.3, 5.1.4", "features and configuration", configuration},
    {"5.1.6", "what is sent arrives, in a loopback", loopback},
    {"5.1.6.2", "what is no frame is not sent", what_is_no_frame},
    {"2.7.4.1", "frames are cut as the driver likes", framing},
    {"5.1.6.4", "frames arrive, and wait for buffers", receives},
    {"5.1.6.3", "buffers that are too small, or not in RAM", small_and_bad_buffers},
    {"", "options of an attachment", options},
};

TEST(clauses)
{
    run_clauses(clauses, ARRAY_SIZE(clauses));
}
