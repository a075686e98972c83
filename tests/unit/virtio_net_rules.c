/* The control queue of a network card, pairs of queues and steering, against VIRTIO 1.2, 5.1.6.5. */
#include "virtio_driver.h"

enum { HEADER = 12, DATA = DRIVER_DATA, ACK = DRIVER_DATA + 0x2000, TX_AT = DRIVER_DATA + 0x3000, RX_AT = DRIVER_DATA + 0x10000 };
enum { OK = 0, ERR = 1, NONE = 0xee };
enum { ALL_CTRL = 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20 | 1 << 23 };

static unsigned control; /* number of the control queue */

static void start(const char *attachment, u64 features, unsigned pairs)
{
    driver_machine(attachment);
    CHECK(driver_negotiate(VIRTIO_F_VERSION_1 | features));
    control = 2 * pairs;
    for (unsigned i = 0; i < 2 * pairs; i++)
        driver_queue(i, 8);
    if (features & 1 << 17)
        driver_queue(control, 8);
    driver_go();
}

static void give(unsigned queue, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        driver_add(queue, (struct buffer[]){{MOCK_RAM + RX_AT + 0x4000 * queue + 2048 * i, 2048, true}}, 1);
    driver_kick(queue);
}

/* A command of n bytes with its head; what the device says. */
static unsigned command(unsigned class, unsigned number, const void *data, u32 n)
{
    u32 id, length = 0;
    u8 head[2] = {(u8)class, (u8)number};

    memcpy(at(DATA), head, 2);
    memcpy(at(DATA + 2), data, n);
    *(u8 *)at(ACK) = NONE;
    driver_add(control, (struct buffer[]){{MOCK_RAM + DATA, 2 + n, false}, {MOCK_RAM + ACK, 1, true}}, 2);
    driver_kick(control);
    CHECK(driver_take(control, &id, &length));
    CHECK_EQ(length, 1);
    CHECK(!driver_broken());
    return *(u8 *)at(ACK);
}

static unsigned set(unsigned class, unsigned number, u64 value, u32 n)
{
    return command(class, number, &value, n);
}

static void send_on(unsigned queue, const u8 *frame, u32 n)
{
    u32 id, length;

    memset(at(TX_AT), 0, HEADER);
    memcpy(at(TX_AT + HEADER), frame, n);
    driver_add(queue, (struct buffer[]){{MOCK_RAM + TX_AT, HEADER + n, false}}, 1);
    driver_kick(queue);
    CHECK(driver_take(queue, &id, &length));
}

static unsigned arrived(unsigned queue)
{
    u32 id, length;
    unsigned n = 0;

    while (driver_take(queue, &id, &length))
        n++;
    return n;
}

/* Does a loopback with these rules give back a frame to this address? */
static bool receives(const char *mac, unsigned tag)
{
    u8 frame[60] = {0};

    memcpy(frame, mac, 6);
    frame[12] = tag ? 0x81 : 0x88;
    frame[13] = tag ? 0 : 0xb5;
    frame[14] = (u8)(tag >> 8 | 0xe0); /* with a priority */
    frame[15] = (u8)tag;
    send_on(1, frame, sizeof(frame));
    if (!arrived(0))
        return false;
    give(0, 1);
    return true;
}

#define OWN   "\x52\x54\x00\x12\x34\x56"
#define OTHER "\x02\x00\x00\x00\x00\x07"
#define GROUP "\x01\x00\x5e\x00\x00\x01"
#define ALL   "\xff\xff\xff\xff\xff\xff"

static void modes(void)
{
    start("net:loopback", ALL_CTRL, 1);
    give(0, 4);
    CHECK(receives(OTHER, 0) && receives(GROUP, 0)); /* until it is told otherwise */
    CHECK_EQ(set(0, 0, 0, 1), OK);
    CHECK(receives(OWN, 0) && receives(ALL, 0) && !receives(OTHER, 0) && !receives(GROUP, 0));
    CHECK_EQ(set(0, 1, 1, 1), OK);
    CHECK(receives(GROUP, 0) && !receives(OTHER, 0));
    CHECK_EQ(set(0, 2, 1, 1), OK);
    CHECK(receives(OTHER, 0));
    CHECK_EQ(set(0, 3, 1, 1), OK);
    CHECK(!receives(GROUP, 0));
    CHECK_EQ(set(0, 4, 1, 1), OK);
    CHECK(!receives(OTHER, 0) && !receives(OWN, 0) && receives(ALL, 0));
    CHECK_EQ(set(0, 5, 1, 1), OK);
    CHECK(!receives(ALL, 0));
    CHECK_EQ(set(0, 0, 1, 1), OK);
    CHECK(receives(OTHER, 0) && receives(ALL, 0));
    CHECK_EQ(set(0, 0, 1, 2), ERR);
    CHECK_EQ(set(0, 0, 1, 0), ERR);
    CHECK_EQ(set(0, 0, 2, 1), ERR);
    CHECK_EQ(set(0, 6, 1, 1), ERR);
    wr(&vm, VIRTIO_STATUS, 4, 0); /* a reset forgets it all */
    start("net:loopback", 1 << 17 | 1 << 18, 1);
    CHECK_EQ(set(0, 2, 1, 1), ERR); /* not accepted */
}

/* Two lists, each behind the number of its addresses */
static u32 table(u8 *data, u32 nuni, u32 nmulti)
{
    u32 at = 4;

    memcpy(data, &nuni, 4);
    for (u32 i = 0; i < nuni; i++, at += 6)
        memcpy(data + at, i + 1 == nuni ? OTHER : "\x02\x09\x09\x09\x09\x09", 6);
    memcpy(data + at, &nmulti, 4);
    at += 4;
    for (u32 i = 0; i < nmulti; i++, at += 6)
        memcpy(data + at, GROUP, 6);
    return at;
}

static void addresses(void)
{
    u8 data[1200];
    u32 n, lie = 0xffffffff;

    start("net:loopback", ALL_CTRL, 1);
    give(0, 4);
    CHECK_EQ(set(0, 0, 0, 1), OK);
    n = table(data, 2, 1);
    CHECK_EQ(command(1, 0, data, n), OK);
    CHECK(receives(OTHER, 0) && receives(GROUP, 0) && receives(OWN, 0));
    CHECK(!receives("\x02\x00\x00\x00\x00\x08", 0) && !receives("\x01\x00\x5e\x00\x00\x02", 0));
    for (u32 wrong = 0; wrong < n; wrong++) /* cut short */
        CHECK_EQ(command(1, 0, data, wrong), ERR);
    CHECK_EQ(command(1, 0, data, n + 1), ERR);
    memcpy(data, &lie, 4);
    CHECK_EQ(command(1, 0, data, n), ERR);
    n = table(data, 0, 0);
    memcpy(data + 4, &lie, 4);
    CHECK_EQ(command(1, 0, data, n), ERR);
    CHECK(receives(OTHER, 0) && receives(GROUP, 0)); /* what is refused changes nothing */
    n = table(data, 100, 1); /* more than there is room for: all of that kind */
    CHECK_EQ(command(1, 0, data, n), OK);
    CHECK(receives("\x02\x00\x00\x00\x00\x08", 0) && receives(GROUP, 0) && !receives("\x01\x00\x5e\x00\x00\x02", 0));
    CHECK_EQ(command(1, 0, data, table(data, 48, 0)), OK);
    CHECK(receives(OTHER, 0) && !receives("\x02\x00\x00\x00\x00\x08", 0) && !receives(GROUP, 0));
    CHECK_EQ(command(1, 0, data, table(data, 48, 1)), OK);
    CHECK(receives("\x01\x00\x5e\x00\x00\x02", 0));
    CHECK_EQ(command(1, 0, data, table(data, 0, 0)), OK);
    CHECK(!receives(OTHER, 0) && !receives(GROUP, 0) && receives(OWN, 0));

    CHECK_EQ(command(1, 1, OTHER, 6), OK); /* another address of its own */
    CHECK(receives(OTHER, 0) && !receives(OWN, 0));
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 5, 1), 7);
    CHECK_EQ(command(1, 1, OTHER, 5), ERR);
    CHECK_EQ(command(1, 1, OTHER, 7), ERR);
    wr(&vm, VIRTIO_STATUS, 4, 0);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 5, 1), 0x56);
}

static void vlans(void)
{
    start("net:loopback", ALL_CTRL, 1);
    give(0, 4);
    CHECK(receives(OWN, 5)); /* promiscuous */
    CHECK_EQ(set(0, 0, 0, 1), OK);
    CHECK(receives(OWN, 0) && !receives(OWN, 5));
    CHECK_EQ(set(2, 0, 5, 2), OK);
    CHECK_EQ(set(2, 0, 4095, 2), OK);
    CHECK(receives(OWN, 5) && receives(OWN, 4095) && !receives(OWN, 6));
    CHECK_EQ(set(2, 1, 5, 2), OK);
    CHECK(!receives(OWN, 5) && receives(OWN, 4095));
    CHECK_EQ(set(2, 0, 4096, 2), ERR);
    CHECK_EQ(set(2, 0, 65535, 2), ERR);
    CHECK_EQ(set(2, 1, 5, 4), ERR);
    CHECK_EQ(set(2, 2, 5, 2), ERR);
}

static void flow(u8 *frame, unsigned port, bool back)
{
    memset(frame, 0, 60);
    memcpy(frame, OWN OTHER "\x08\x00\x45", 15);
    frame[23] = 17;
    memcpy(frame + 26, back ? "\x0a\0\0\2\x0a\0\0\1" : "\x0a\0\0\1\x0a\0\0\2", 8);
    frame[back ? 37 : 35] = (u8)port;
    frame[back ? 35 : 37] = 53;
}

/* 5.1.6.5.5: one pair is in use until the driver says otherwise; what comes in goes where its flow went out. */
static void pairs(void)
{
    u8 frame[60];

    start("net:loopback,queues=4", ALL_CTRL | 1 << 22, 1);
    wr(&vm, VIRTIO_QUEUE_SEL, 4, 8); /* behind all pairs that there are */
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_NUM_MAX, 4), VIRTIO_QUEUE_MAX);
    wr(&vm, VIRTIO_QUEUE_SEL, 4, 9);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_NUM_MAX, 4), 0);

    start("net:loopback,queues=4", 1 << 17 | 1 << 18, 1); /* without MQ it is queue 2 */
    CHECK_EQ(set(0, 0, 0, 1), OK);
    CHECK_EQ(set(4, 0, 1, 2), ERR);
    wr(&vm, VIRTIO_QUEUE_SEL, 4, 3);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_NUM_MAX, 4), 0);

    start("net:loopback,queues=2", ALL_CTRL | 1 << 22, 2);
    give(0, 4);
    give(2, 4);
    flow(frame, 1, false);
    driver_add(3, (struct buffer[]){{MOCK_RAM + TX_AT, HEADER + 60, false}}, 1);
    driver_kick(3);
    CHECK_EQ(get16(dq[3].device + 2), 0); /* not in use */
    CHECK_EQ(set(4, 0, 0, 2), ERR);
    CHECK_EQ(set(4, 0, 3, 2), ERR);
    CHECK_EQ(set(4, 0, 2, 1), ERR);
    CHECK_EQ(set(4, 0, 2, 2), OK);
    driver_kick(3);
    CHECK_EQ(get16(dq[3].device + 2), 1);
    arrived(0);
    arrived(2);
    send_on(3, frame, 60);
    CHECK_EQ(arrived(2), 1);
    send_on(1, frame, 60);
    CHECK_EQ(arrived(0), 1);
}

static u8 incoming[60];

static size_t receive_flow(struct mmioshim_device *dev, u64 *position, void *frame, size_t room)
{
    (void)room;
    if (*position >= mock_of(dev)->arriving)
        return 0;
    memcpy(frame, incoming, 60);
    ++*position;
    return 60;
}

static void steering(void)
{
    static struct mmioshim_host host;
    unsigned spread = 0, n;
    u8 frame[60];

    host = *vm.dev.host;
    host.packet_receive = receive_flow;
    start("net:pcap,queues=2", ALL_CTRL | 1 << 22, 2);
    vm.dev.host = &host;
    CHECK_EQ(set(4, 0, 2, 2), OK);
    for (unsigned port = 1; port < 40; port++) {
        unsigned tx = port % 2 ? 3 : 1;

        flow(frame, port, false);
        flow(incoming, port, true);
        send_on(tx, frame, 60);
        give(0, 1);
        give(2, 1);
        vm.arriving++;
        driver_kick(0);
        CHECK_EQ(arrived(tx - 1), 1);
        CHECK_EQ(arrived(tx == 1 ? 2 : 0), 0);
        /* the buffer of the other queue is still there: the next goes nowhere else */
        vm.arriving++;
        send_on(tx == 1 ? 3 : 1, frame, 60);
        driver_kick(0);
        CHECK_EQ(arrived(tx == 1 ? 2 : 0), 1);
    }
    give(0, 4);
    give(2, 4);
    for (unsigned port = 100; port < 140; port++) { /* nobody knows them: both queues get some */
        flow(incoming, port, true);
        incoming[26] = (u8)port;
        vm.arriving++;
        driver_kick(0);
        n = arrived(0);
        give(n ? 0 : 2, arrived(2) + n);
        spread += n;
    }
    CHECK(spread > 4 && spread < 36);
    CHECK(!driver_broken());
}

static void others(void)
{
    u32 id, length = 9;

    start("net:loopback", ALL_CTRL | 1 << 1 | 1 << 2 | 1 << 7, 1);
    CHECK_EQ(set(5, 0, 1 << 1, 8), OK);
    CHECK_EQ(set(5, 0, 1 << 1 | 1 << 7, 8), OK);
    CHECK_EQ(set(5, 0, 1 << 8, 8), ERR); /* not accepted */
    CHECK_EQ(set(5, 0, 1, 8), ERR);
    CHECK_EQ(set(5, 0, 0, 4), ERR);
    CHECK_EQ(set(3, 0, 0, 0), ERR); /* nothing was announced, nor was it offered */
    CHECK_EQ(set(77, 0, 0, 1), ERR);
    driver_add(control, (struct buffer[]){{MOCK_RAM + DATA, 1, false}, {MOCK_RAM + ACK, 1, true}}, 2); /* no command */
    driver_add(control, (struct buffer[]){{MOCK_RAM + ACK, 1, true}}, 1);
    driver_add(control, (struct buffer[]){{0x1000, 3, false}, {MOCK_RAM + ACK, 1, true}}, 2);
    driver_kick(control);
    for (unsigned i = 0; i < 3; i++) {
        CHECK(driver_take(control, &id, &length));
        CHECK_EQ(length, 1);
    }
    driver_add(control, (struct buffer[]){{MOCK_RAM + DATA, 3, false}}, 1); /* nowhere to answer */
    driver_kick(control);
    CHECK(driver_take(control, &id, &length));
    CHECK_EQ(length, 0);
    CHECK(!driver_broken());
}

static const struct clause clauses[] = {
    {"5.1.6.5.1", "receive modes", modes},
    {"5.1.6.5.2", "addresses", addresses},
    {"5.1.6.5.3", "VLANs", vlans},
    {"5.1.6.5.5", "pairs of queues", pairs},
    {"5.1.6.5.5.1", "automatic receive steering", steering},
    {"5.1.6.5", "other commands, and what is none", others},
};

TEST(clauses)
{
    run_clauses(clauses, ARRAY_SIZE(clauses));
}
