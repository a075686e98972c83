/* virtio over PCI, register by register. Clauses are those of VIRTIO 1.2. */
#include "device_mock.h"

#include "virtio/pci.h"
#include "virtio/virtio.h"

static struct mock m;

enum { STATUS = 0x14, SELECT = 0x16, SIZE = 0x18, VECTOR = 0x1a, ENABLE = 0x1c, NOTIFY_OFF = 0x1e, DESC = 0x20, RESET = 0x3a };
enum { CONFIG_VECTOR = 0x10, ISR = 0x1000, CONFIG = 0x2000, NOTIFY = 0x3000 };

static u8 ram[1 << 16];

static void plug(const char *what)
{
    CHECK(mock_plug(&m, &class_virtio_pci, VIRTIO_PCI_BAR_SIZE, what) == NULL);
    memset(ram, 0, sizeof(ram));
    m.ram = ram;
    m.ram_size = sizeof(ram);
}

/* 3.1.1, steps 1 to 8, with the queue 0 of 8 entries at the beginning of RAM. */
static void start(const char *what, u64 features)
{
    plug(what);
    wr(&m, STATUS, 1, 1);
    wr(&m, STATUS, 1, 3);
    wr(&m, 0x08, 4, 0);
    wr(&m, 0x0c, 4, (u32)features);
    wr(&m, 0x08, 4, 1);
    wr(&m, 0x0c, 4, (u32)(features >> 32) | 1);
    wr(&m, STATUS, 1, 11);
    CHECK_EQ(rd(&m, STATUS, 1), 11);
    wr(&m, SIZE, 2, 8);
    wr(&m, DESC, 4, MOCK_RAM);
    wr(&m, DESC + 8, 4, MOCK_RAM + 0x1000);
    wr(&m, DESC + 16, 4, MOCK_RAM + 0x2000);
}

/* One buffer of so many bytes that the device writes. */
static void offer(u32 length)
{
    const struct {
        u64 addr;
        u32 length;
        u16 flags, next;
    } desc = {MOCK_RAM + 0x3000, length, VIRTIO_DESC_WRITE, 0};

    memcpy(ram, &desc, sizeof(desc));
    ram[0x1002]++;
}

static void serve(void)
{
    m.dev.class->service(&m.dev);
}

TEST(after_reset)
{
    plug("net:loopback");
    CHECK_EQ(rd(&m, CONFIG_VECTOR, 2), 0xffff); /* 4.1.5.1.2: no vector */
    CHECK_EQ(rd(&m, 0x12, 2), 3); /* one pair, and the control queue */               /* num_queues */
    CHECK_EQ(rd(&m, STATUS, 1), 0);
    for (u32 queue = 0; queue < 3; queue++) {
        wr(&m, SELECT, 2, queue);
        CHECK_EQ(rd(&m, SIZE, 2), queue < 2 ? VIRTIO_QUEUE_MAX : 0); /* 4.1.4.3: 0, no such queue */
        CHECK_EQ(rd(&m, VECTOR, 2), 0xffff);
        CHECK_EQ(rd(&m, ENABLE, 2), 0);
        CHECK_EQ(rd(&m, NOTIFY_OFF, 2), queue < 2 ? queue : 0);
    }
    CHECK_EQ(rd(&m, ISR, 1), 0);
}

TEST(features_are_settled)
{
    start("rng", 0);
    wr(&m, 0x00, 4, 1);
    CHECK_EQ(rd(&m, 0x04, 4) & 1, 1); /* VERSION_1 is offered */
    wr(&m, 0x00, 4, 2);
    CHECK_EQ(rd(&m, 0x04, 4), 0);
    CHECK_EQ(rd(&m, 0x0c, 4), 1); /* driver_feature can be read */
    CHECK_EQ(wr_status(&m, 0x0c, 4, 0), MMIOSHIM_GUEST_BUG);
}

TEST(widths)
{
    u64 value;

    plug("blk:disk");
    CHECK_EQ(rd_status(&m, STATUS, 2, &value), MMIOSHIM_BAD_WIDTH); /* 4.1.3.1 */
    CHECK_EQ(rd_status(&m, SIZE, 4, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, 0x00, 2, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, DESC, 8, &value), MMIOSHIM_BAD_WIDTH); /* split by the bus */
    CHECK_EQ(wr_status(&m, DESC + 2, 4, 0), MMIOSHIM_BAD_WIDTH);
    wr(&m, DESC, 4, 0x11223344);
    wr(&m, DESC + 4, 4, 0x55667788);
    CHECK_EQ(rd(&m, DESC, 4), 0x11223344);
    CHECK_EQ(rd(&m, DESC + 4, 4), 0x55667788);
    CHECK_EQ(rd_status(&m, 0x3c, 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd_status(&m, ISR + 1, 1, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd_status(&m, NOTIFY, 2, &value), MMIOSHIM_WRITE_ONLY);
    CHECK_EQ(rd_status(&m, NOTIFY + 4, 2, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(wr_status(&m, 0x12, 2, 1), MMIOSHIM_READ_ONLY);
}

TEST(queues)
{
    start("rng", VIRTIO_F_RING_RESET);
    CHECK_EQ(wr_status(&m, ENABLE, 2, 0), MMIOSHIM_GUEST_BUG); /* 4.1.4.3.2 */
    CHECK_EQ(wr_status(&m, NOTIFY, 2, 0), MMIOSHIM_GUEST_BUG); /* it is not enabled */
    CHECK_EQ(wr_status(&m, SIZE, 2, VIRTIO_QUEUE_MAX + 1), MMIOSHIM_GUEST_BUG);
    wr(&m, SIZE, 2, 8);
    wr(&m, ENABLE, 2, 1);
    CHECK_EQ(rd(&m, ENABLE, 2), 1);
    CHECK_EQ(wr_status(&m, SIZE, 2, 4), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(wr_status(&m, DESC, 4, 0), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(rd(&m, SIZE, 2), 8);
    wr(&m, RESET, 2, 1);
    CHECK_EQ(rd(&m, RESET, 2), 0);
    CHECK_EQ(rd(&m, ENABLE, 2), 0);
    CHECK_EQ(rd(&m, SIZE, 2), VIRTIO_QUEUE_MAX);
    wr(&m, SELECT, 2, 1);
    CHECK_EQ(wr_status(&m, ENABLE, 2, 1), MMIOSHIM_GUEST_BUG);
}

TEST(by_the_pin)
{
    start("rng", 0);
    wr(&m, ENABLE, 2, 1);
    wr(&m, STATUS, 1, 15);
    offer(16);
    wr(&m, NOTIFY, 2, 0);
    CHECK_EQ(m.soon, 1);
    CHECK(!m.line[0]);
    serve();
    CHECK(m.line[0]);
    CHECK_EQ(ram[0x2002], 1);
    CHECK_EQ(rd(&m, ISR, 1), 1);
    CHECK(!m.line[0]); /* 4.1.4.5: reading de-asserts it */
    CHECK_EQ(rd(&m, ISR, 1), 0);
    CHECK_EQ(m.raised, 1);
    offer(16);
    CHECK_EQ(wr_status(&m, NOTIFY, 4, 0), MMIOSHIM_GUEST_BUG); /* 4.1.5.2: 16 bits without NOTIFICATION_DATA */
    CHECK_EQ(wr_status(&m, NOTIFY, 2, 7), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(wr_status(&m, NOTIFY, 1, 0), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(wr_status(&m, NOTIFY + 4, 2, 1), MMIOSHIM_NO_REGISTER);
    serve();
    wr(&m, STATUS, 1, 0);
    CHECK(!m.line[0]);
}

TEST(by_messages)
{
    start("rng", 0);
    m.by_messages = true;
    wr(&m, CONFIG_VECTOR, 2, 0);
    wr(&m, VECTOR, 2, 2); /* there are two vectors */
    CHECK_EQ(rd(&m, VECTOR, 2), 0xffff);
    wr(&m, VECTOR, 2, 1);
    CHECK_EQ(rd(&m, VECTOR, 2), 1);
    wr(&m, ENABLE, 2, 1);
    wr(&m, STATUS, 1, 15);
    offer(16);
    wr(&m, NOTIFY, 2, 0);
    serve();
    CHECK_EQ(m.raised, 1u << (1 + 1));
    CHECK_EQ(rd(&m, ISR, 1), 0);
    m.raised = 0;
    serve();
    CHECK_EQ(m.raised, 0); /* nothing new */
    ram[0x1002] += 100;    /* more than the queue has: 2.1.2 */
    wr(&m, NOTIFY, 2, 0);
    serve();
    CHECK(rd(&m, STATUS, 1) & VIRTIO_NEEDS_RESET);
    CHECK_EQ(m.raised, 1u << 1);
    m.raised = 0;
    serve();
    CHECK_EQ(m.raised, 0);
    wr(&m, STATUS, 1, 0);
    CHECK_EQ(rd(&m, CONFIG_VECTOR, 2), 0xffff);
    CHECK_EQ(rd(&m, VECTOR, 2), 0xffff);
}

TEST(snapshots)
{
    u8 saved[8192], other[8192];

    start("rng", 0);
    wr(&m, VECTOR, 2, 1);
    CHECK(m.state_size <= sizeof(saved));
    memcpy(saved, m.dev.state, m.state_size);
    memcpy(other, saved, m.state_size);
    wr(&m, STATUS, 1, 0);
    CHECK_EQ(m.dev.class->load(&m.dev, 1, saved, m.state_size), 0);
    CHECK_EQ(rd(&m, VECTOR, 2), 1);
    CHECK_EQ(m.dev.class->load(&m.dev, 2, saved, m.state_size), -1);
    CHECK_EQ(m.dev.class->load(&m.dev, 1, saved, m.state_size - 1), -1);
    other[sizeof(struct virtio) + 10] = 9; /* a vector that is not there */
    other[sizeof(struct virtio) + 11] = 0;
    CHECK_EQ(m.dev.class->load(&m.dev, 1, other, m.state_size), -1);
}
