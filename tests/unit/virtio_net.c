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
    CHECK_EQ(driver_offered() & 0xffffff, 0x9fbba7);
    wr(&vm, VIRTIO_QUEUE_SEL, 4, 2);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_NUM_MAX, 4), 0);
    driver_machine("net:pcap,mtu=1400,queues=3");
    CHECK_EQ(driver_offered() & 0xffffff, 0xdfb829); /* nobody sends it what is undone */
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 8, 2), 3);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 10, 2), 1400);
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

/* 5.1.3.1: which features need which others */
static void requirements(void)
{
    static const u64 wrong[] = {1 << 7, 1 << 8, 1 << 1 | 1 << 9, 1 << 11, 1 << 12, 1 | 1 << 13, 1 << 18, 1 << 19, 1 << 22, 1 << 23};

    driver_machine("net:loopback,queues=2");
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
        CHECK(!driver_negotiate(VIRTIO_F_VERSION_1 | wrong[i]));
    CHECK(driver_negotiate(driver_offered()));
}

/* 5.1.6.4: without MRG_RXBUF a frame has one buffer, with it as many as it needs, which the driver sees at once */
static void merged(void)
{
    for (int packed = 0; packed < 2; packed++) {
        u32 id, total = 0;

        start("net:loopback", (packed ? VIRTIO_F_RING_PACKED : 0) | 1 << 15);
        give_buffers(3, 100);
        send(7, 230); /* 88 + 100 + 42 */
        CHECK(sent());
        CHECK_EQ(get16(RX_AT + 10), 3);
        for (unsigned i = 0; i < 3; i++) {
            u32 length = 0;

            CHECK(driver_take(RX, &id, &length));
            driver_taken(RX, 1);
            CHECK_EQ(length, i < 2 ? 100 : 42);
            CHECK_EQ(*(u8 *)at(RX_AT + RX_STEP * i + (i ? 0 : HEADER)), 7);
            CHECK_EQ(*(u8 *)at(RX_AT + RX_STEP * i + length - 1), 7);
            CHECK_EQ(*(u8 *)at(RX_AT + RX_STEP * i + length), 0);
            total += length;
        }
        CHECK_EQ(total, HEADER + 230);
        give_buffers(2, 100);
        send(8, 230); /* three were needed: it is lost, and they are there for the next */
        CHECK(sent());
        CHECK_EQ(arrived(), 0);
        send(9, 80);
        CHECK_EQ(arrived(), HEADER + 80);
        CHECK_EQ(get16(RX_AT + 10), 1);
        CHECK(!driver_broken());
    }
}

/* One that can never fit does not stop those behind it; a buffer that is not in RAM is no use, and given back. */
static void merged_badly(void)
{
    start("net:pcap", 1 << 15);
    vm.arriving = 3; /* of 60, 61, 62 bytes */
    give_buffers(8, 8);
    for (unsigned i = 0; i < 8; i++)
        if (i < 3) /* the first of each is spoilt: the header does not fit */
            CHECK_EQ(arrived(), 0);
    start("net:pcap", 1 << 15);
    vm.arriving = 2;
    driver_add(RX, (struct buffer[]){{MOCK_RAM + RX_AT, 40, true}}, 1);
    driver_add(RX, (struct buffer[]){{0x1000, 2048, true}}, 1);
    driver_kick(RX);
    CHECK_EQ(get16(dq[RX].device + 2), 2); /* both given back, with nothing in them */
    CHECK_EQ(arrived() + arrived(), 0);
    give_buffers(2, RX_STEP);
    CHECK_EQ(arrived(), 0);
}

/*
 * A process is killed at any step, and another one goes on: a frame in several buffers is there as a whole or not at all.
 * One that was given to the driver when its taker died may come again, as on any network.
 */
static unsigned killed_at(unsigned step, u64 features)
{
    u32 id = 0, length = 0, buffers = 0, frames = 0;
    unsigned steps;

    start("net:pcap", features | 1 << 15);
    vm.arriving = 2; /* of 60 and 61 bytes: two buffers each */
    for (unsigned i = 0; i < 8; i++)
        driver_add(RX, (struct buffer[]){{MOCK_RAM + RX_AT + RX_STEP * i, 40, true}}, 1);
    wr(&vm, VIRTIO_QUEUE_NOTIFY, 4, RX);
    steps = mock_steps(&vm, step);
    rd(&vm, VIRTIO_STATUS, 4);
    vm.dev.class->service(&vm.dev);
    while (driver_take(RX, &id, &length)) {
        driver_taken(RX, 1);
        CHECK_EQ(id, buffers);
        CHECK_EQ(length, buffers % 2 == 0 ? 40 : *(u8 *)at(RX_AT + RX_STEP * buffers) ? 33 : 32);
        if (buffers % 2 == 0) {
            CHECK_EQ(get16(RX_AT + RX_STEP * buffers + 10), 2);
            frames++;
        }
        buffers++;
    }
    CHECK_EQ(buffers, 2 * frames);
    CHECK(frames == 2 || frames == 3);
    CHECK(!driver_broken());
    return steps;
}

static void takeover(void)
{
    for (unsigned f = 0; f < 2; f++) {
        unsigned steps = killed_at(UINT32_MAX, f ? VIRTIO_F_RING_PACKED : 0);

        CHECK(steps > 20);
        for (unsigned i = 0; i < steps; i++)
            killed_at(i, f ? VIRTIO_F_RING_PACKED : 0);
    }
}

/* A host end that has no room keeps the frame where it is. */
static void waits(void)
{
    start("net:pcap", 0);
    vm.wire_room = 1;
    send(1, 60);
    CHECK(sent());
    send(2, 70);
    CHECK(!sent());
    CHECK_EQ(vm.nframes, 1);
    vm.wire_room = 2;
    vm.dev.class->service(&vm.dev);
    CHECK(sent());
    CHECK_EQ(vm.frame_length, 70);
    CHECK_EQ(vm.nframes, 2);
}

/* A host end that the worker holds: others leave it to him, and the link is what he finds. */
static void outside(void)
{
    start("net:stream,path=x", 1 << 17 | 1 << 21);
    driver_queue(2, 8);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 6, 2), 0);
    vm.elsewhere = true;
    vm.wakes = 0;
    send(1, 60);
    CHECK_EQ(vm.wakes, 1);
    CHECK_EQ(vm.nframes, 0);
    CHECK(!sent());
    vm.elsewhere = false;
    vm.dev.class->service(&vm.dev);
    CHECK(sent());
    CHECK_EQ(vm.nframes, 1);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 6, 2), 1); /* up, for the first time */
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4), 3);
    wr(&vm, VIRTIO_INTERRUPT_ACK, 4, 3);
    vm.arriving = 1;
    vm.input_wakes = 0;
    give_buffers(2, RX_STEP);
    CHECK_EQ(arrived(), HEADER + 60);
    CHECK_EQ(vm.input_wakes, 1); /* there is a buffer for more */
    vm.unplugged = true;
    vm.dev.class->service(&vm.dev);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 6, 2), 0);
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4) & 2, 2);
    vm.unplugged = false;
    vm.dev.class->service(&vm.dev);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 6, 2), 3); /* up and ANNOUNCE */
    memcpy(at(TX_AT), "\3\0", 2);
    driver_add(2, (struct buffer[]){{MOCK_RAM + TX_AT, 2, false}, {MOCK_RAM + TX_AT + 8, 1, true}}, 2);
    driver_kick(2);
    CHECK_EQ(*(u8 *)at(TX_AT + 8), 0);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 6, 2), 1);
}

/* A tap has frames with headers, and is told what may arrive undone. */
static void tap(void)
{
    struct {
        u8 flags, gso_type;
        u16 hdr_len, gso_size, csum_start, csum_offset, num_buffers;
    } h = {1, 0, 0, 0, 14, 10, 0};

    driver_machine("net:tap,ifname=x");
    CHECK(driver_negotiate(VIRTIO_F_VERSION_1 | 1 | 1 << 1 | 1 << 7 | 1 << 9));
    driver_queue(RX, 8);
    driver_queue(TX, 8);
    driver_go();
    memcpy(at(TX_AT), &h, HEADER);
    memset(at(TX_AT + HEADER), 5, 60);
    driver_add(TX, (struct buffer[]){{MOCK_RAM + TX_AT, HEADER + 60, false}}, 1);
    driver_kick(TX);
    CHECK_EQ(vm.frame_length, HEADER + 60);
    CHECK(memcmp(vm.frame, &h, HEADER) == 0);
    CHECK_EQ(vm.undone, 1 | 2 | 8);
    vm.arriving = 1; /* 60 zeroes: header and frame */
    give_buffers(1, RX_STEP);
    CHECK_EQ(arrived(), 60);
    CHECK_EQ(get16(RX_AT + 10), 1);
    wr(&vm, VIRTIO_STATUS, 4, 0);
    vm.dev.class->service(&vm.dev);
    CHECK_EQ(vm.undone, 0);
}

static void options(void)
{
    static const char *const wrong[] = {
        "net", "net:", "net:tap,in=x", "net:stream,serve", "net:stream,server=x", "net:loopback,server", "net:dgram,path=x", "net:loopback,mac=", "net:loopback,mac=01:00:00:00:00:00", "net:loopback,mac=02:00:00:00:00",
        "net:loopback,out=x", "net:pcap,mtu=67", "net:pcap,mtu=9001", "net:pcap,mtu=", "net:pcap,mtu=1500x",
        "net:loopback,queues=0", "net:loopback,queues=8", "net:loopback,queues=99999999999999999999", "net:pcap,fast", "net:loopback,", "net:loopback,mac=02:00:00:00:00:00:00",
    };

    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
        CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, wrong[i]) != NULL);
    CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, "net:pcap,out=a,in=b,mac=02:00:00:00:00:01") == NULL);
    CHECK_STR(class_virtio_mmio.end(&vm.dev), "pcap,out=a,in=b");
    CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, "net:loopback") == NULL);
    CHECK_STR(class_virtio_mmio.end(&vm.dev), "loopback");
}

static const struct clause clauses[] = {
    {"5.1.3, 5.1.4", "features and configuration", configuration},
    {"5.1.6", "what is sent arrives, in a loopback", loopback},
    {"5.1.6.2", "what is no frame is not sent", what_is_no_frame},
    {"2.7.4.1", "frames are cut as the driver likes", framing},
    {"5.1.6.4", "frames arrive, and wait for buffers", receives},
    {"5.1.6.3", "buffers that are too small, or not in RAM", small_and_bad_buffers},
    {"5.1.3.1", "features that need others", requirements},
    {"5.1.6.4.1", "frames in several buffers", merged},
    {"5.1.6.4.1", "frames that cannot be merged", merged_badly},
    {"5.1.6.4.1", "frames in several buffers, and a death at any step", takeover},
    {"", "a host end without room", waits},
    {"5.1.4", "the link of a host end that the worker holds", outside},
    {"5.1.6.4", "a tap", tap},
    {"", "options of an attachment", options},
};

TEST(clauses)
{
    run_clauses(clauses, ARRAY_SIZE(clauses));
}
