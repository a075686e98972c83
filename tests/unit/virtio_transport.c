/* The registers of the transport point by point against VIRTIO 1.2, with a device behind it. */
#include "virtio_driver.h"

#define STATUS(value) wr(&vm, VIRTIO_STATUS, 4, value)

static enum mmioshim_status bug(u64 offset, u64 value)
{
    return wr_status(&vm, offset, 4, value);
}

static void identity(void)
{
    driver_machine("rng");
    CHECK_EQ(rd(&vm, VIRTIO_MAGIC_VALUE, 4), 0x74726976);
    CHECK_EQ(rd(&vm, VIRTIO_VERSION, 4), 2);
    CHECK_EQ(rd(&vm, VIRTIO_DEVICE_ID, 4), 4);
}

static void widths(void)
{
    u64 value;

    driver_machine("rng");
    for (u32 offset = 0; offset < 0x100; offset += 4) {
        enum mmioshim_status four = rd_status(&vm, offset, 4, &value);

        CHECK_EQ(rd_status(&vm, offset, 2, &value), four == MMIOSHIM_NO_REGISTER ? four : MMIOSHIM_BAD_WIDTH);
        CHECK_EQ(rd_status(&vm, offset + 1, 1, &value), four == MMIOSHIM_NO_REGISTER ? four : MMIOSHIM_BAD_WIDTH);
    }
    CHECK_EQ(rd_status(&vm, VIRTIO_STATUS, 8, &value), MMIOSHIM_BAD_WIDTH);
}

static void directions(void)
{
    static const u32 read_only[] = {0, 4, 8, 0xc, 0x10, 0x34, 0x60, 0xb0, 0xb4, 0xb8, 0xbc, 0xfc};
    static const u32 write_only[] = {0x14, 0x20, 0x24, 0x30, 0x38, 0x50, 0x64, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4, 0xac};
    u64 value;

    driver_machine("rng");
    for (unsigned i = 0; i < ARRAY_SIZE(read_only); i++)
        CHECK_EQ(wr_status(&vm, read_only[i], 4, 1), MMIOSHIM_READ_ONLY);
    for (unsigned i = 0; i < ARRAY_SIZE(write_only); i++)
        CHECK_EQ(rd_status(&vm, write_only[i], 4, &value), MMIOSHIM_WRITE_ONLY);
}

static void features(void)
{
    driver_machine("rng");
    CHECK_EQ(driver_offered(), VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED |
                                   VIRTIO_F_IN_ORDER | VIRTIO_F_NOTIFICATION_DATA | VIRTIO_F_RING_RESET);
    wr(&vm, VIRTIO_DEVICE_FEATURES_SEL, 4, 2);
    CHECK_EQ(rd(&vm, VIRTIO_DEVICE_FEATURES, 4), 0);
    CHECK(driver_negotiate(VIRTIO_F_VERSION_1));
    CHECK(driver_negotiate(driver_offered()));
}

static void refused_features(void)
{
    driver_machine("rng");
    CHECK(!driver_negotiate(0)); /* 6.1: not without VERSION_1 */
    CHECK_EQ(rd(&vm, VIRTIO_STATUS, 4), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    CHECK(!driver_negotiate(VIRTIO_F_VERSION_1 | 1));
    CHECK(!driver_negotiate(VIRTIO_F_VERSION_1 | (u64)1 << 63));
    CHECK(driver_negotiate(VIRTIO_F_VERSION_1));
}

static void features_are_settled(void)
{
    driver_machine("rng");
    driver_negotiate(VIRTIO_F_VERSION_1);
    CHECK_EQ(bug(VIRTIO_DRIVER_FEATURES, 0), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(virtio_of(&vm.dev)->accepted, VIRTIO_F_VERSION_1);
}

static void status_bits(void)
{
    driver_machine("rng");
    STATUS(1);
    STATUS(3);
    CHECK_EQ(bug(VIRTIO_STATUS, 1), MMIOSHIM_GUEST_BUG); /* a bit is cleared */
    CHECK_EQ(rd(&vm, VIRTIO_STATUS, 4), 3);
    CHECK_EQ(bug(VIRTIO_STATUS, 0x13), MMIOSHIM_GUEST_BUG); /* there is no such bit */
    CHECK_EQ(bug(VIRTIO_STATUS, 0x43), MMIOSHIM_GUEST_BUG); /* NEEDS_RESET is the device's */
    CHECK_EQ(bug(VIRTIO_STATUS, 0x103), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(rd(&vm, VIRTIO_STATUS, 4), 3);
    STATUS(0x83);
    CHECK_EQ(rd(&vm, VIRTIO_STATUS, 4), 0x83); /* FAILED */
    STATUS(0);
    CHECK_EQ(rd(&vm, VIRTIO_STATUS, 4), 0);
}

static void driver_ok_needs_features(void)
{
    driver_machine("rng");
    STATUS(3);
    CHECK_EQ(bug(VIRTIO_STATUS, 7), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(rd(&vm, VIRTIO_STATUS, 4), 3);
    CHECK_EQ(bug(VIRTIO_STATUS, 15), MMIOSHIM_GUEST_BUG); /* FEATURES_OK is refused: no VERSION_1 */
    CHECK_EQ(rd(&vm, VIRTIO_STATUS, 4), 3);
}

static void queue_registers(void)
{
    driver_machine("rng");
    wr(&vm, VIRTIO_QUEUE_SEL, 4, 0);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_NUM_MAX, 4), 256);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_READY, 4), 0);
    wr(&vm, VIRTIO_QUEUE_SEL, 4, 1);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_NUM_MAX, 4), 0);
    CHECK_EQ(bug(VIRTIO_QUEUE_READY, 1), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_READY, 4), 0);
    wr(&vm, VIRTIO_QUEUE_SEL, 4, 0xffffffff);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_NUM_MAX, 4), 0);
}

static void queue_in_use(void)
{
    driver_start("rng", 0, 8);
    for (u32 offset = 0x80; offset <= 0xa4; offset += offset % 16 ? 12 : 4)
        CHECK_EQ(bug(offset, 0x1000), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(bug(VIRTIO_QUEUE_NUM, 4), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(virtio_of(&vm.dev)->queues[0].size, 8);
    CHECK_EQ(virtio_of(&vm.dev)->queues[0].desc, MOCK_RAM);
    CHECK_EQ(bug(VIRTIO_QUEUE_READY, 2), MMIOSHIM_GUEST_BUG);
    wr(&vm, VIRTIO_QUEUE_READY, 4, 0);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_READY, 4), 0);
    CHECK_EQ(bug(VIRTIO_QUEUE_NOTIFY, 0), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(vm.soon, 0);
}

static void queue_before_features(void)
{
    driver_machine("rng");
    STATUS(3);
    driver_describe(0, 8);
    CHECK_EQ(bug(VIRTIO_QUEUE_READY, 1), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_READY, 4), 0);
}

static void queue_too_large(void)
{
    driver_machine("rng");
    driver_negotiate(VIRTIO_F_VERSION_1);
    driver_describe(0, 8);
    CHECK_EQ(bug(VIRTIO_QUEUE_NUM, 512), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(bug(VIRTIO_QUEUE_READY, 1), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(bug(VIRTIO_QUEUE_NUM, 0x10008), MMIOSHIM_GUEST_BUG); /* not 8 */
    CHECK_EQ(bug(VIRTIO_QUEUE_READY, 1), MMIOSHIM_GUEST_BUG);
    wr(&vm, VIRTIO_QUEUE_NUM, 4, 256);
    wr(&vm, VIRTIO_QUEUE_READY, 4, 1);
}

static void addresses_of_64_bits(void)
{
    driver_machine("rng");
    driver_negotiate(VIRTIO_F_VERSION_1);
    driver_describe(0, 8);
    wr(&vm, VIRTIO_QUEUE_DESC_HIGH, 4, 0x12345678);
    wr(&vm, VIRTIO_QUEUE_DESC_LOW, 4, 0x9abcdef0);
    wr(&vm, VIRTIO_QUEUE_DRIVER_HIGH, 4, 0xfedcba98);
    wr(&vm, VIRTIO_QUEUE_DEVICE_HIGH, 4, 0xffffffff);
    CHECK_EQ(virtio_of(&vm.dev)->queues[0].desc, 0x123456789abcdef0);
    CHECK_EQ(virtio_of(&vm.dev)->queues[0].driver >> 32, 0xfedcba98);
    CHECK_EQ(virtio_of(&vm.dev)->queues[0].device >> 32, 0xffffffff);
}

static void interrupt(void)
{
    driver_start("rng", 0, 8);
    driver_add(0, (struct buffer[]){{MOCK_RAM + DRIVER_DATA, 4, true}}, 1);
    driver_kick(0);
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4), 1);
    CHECK(vm.line[0]);
    wr(&vm, VIRTIO_INTERRUPT_ACK, 4, 2);
    CHECK(vm.line[0]);
    CHECK_EQ(bug(VIRTIO_INTERRUPT_ACK, 5), MMIOSHIM_GUEST_BUG); /* undefined bits */
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4), 0);
    CHECK(!vm.line[0]);
    CHECK_EQ(vm.irq_changes, 2);
}

static void notify(void)
{
    u32 id, length;

    driver_start("rng", 0, 8);
    CHECK_EQ(bug(VIRTIO_QUEUE_NOTIFY, 1), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(bug(VIRTIO_QUEUE_NOTIFY, 64), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(bug(VIRTIO_QUEUE_NOTIFY, 0xffffffff), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(vm.soon, 0);
    /* Before DRIVER_OK nothing is consumed; what was notified then is served afterwards. */
    driver_machine("rng");
    driver_negotiate(VIRTIO_F_VERSION_1);
    driver_queue(0, 8);
    driver_add(0, (struct buffer[]){{MOCK_RAM + DRIVER_DATA, 4, true}}, 1);
    CHECK_EQ(bug(VIRTIO_QUEUE_NOTIFY, 0), MMIOSHIM_GUEST_BUG);
    vm.dev.class->service(&vm.dev);
    CHECK_EQ(vm.fetches, 0);
    driver_go();
    CHECK(vm.soon > 0);
    vm.dev.class->service(&vm.dev);
    CHECK(driver_take(0, &id, &length));
}

static void reset(void)
{
    driver_start("rng", VIRTIO_F_EVENT_IDX, 8);
    driver_add(0, (struct buffer[]){{MOCK_RAM + DRIVER_DATA, 4, true}}, 1);
    driver_kick(0);
    STATUS(0);
    CHECK(!vm.line[0]);
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4), 0);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_READY, 4), 0);
    CHECK_EQ(virtio_of(&vm.dev)->accepted, 0);
    CHECK_EQ(virtio_of(&vm.dev)->queues[0].size, 0);
    CHECK_EQ(rd(&vm, VIRTIO_DEVICE_ID, 4), 4);
    CHECK_EQ(bug(VIRTIO_QUEUE_NOTIFY, 0), MMIOSHIM_GUEST_BUG);
}

static void no_shared_memory(void)
{
    driver_machine("rng");
    for (u32 id = 0; id < 3; id++) {
        wr(&vm, VIRTIO_SHM_SEL, 4, id);
        for (u32 offset = VIRTIO_SHM_LEN_LOW; offset <= VIRTIO_SHM_BASE_HIGH; offset += 4)
            CHECK_EQ(rd(&vm, offset, 4), 0xffffffff);
    }
}

static void no_configuration(void)
{
    u64 value;

    driver_machine("rng");
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG_GENERATION, 4), 0);
    CHECK_EQ(rd_status(&vm, VIRTIO_CONFIG, 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(wr_status(&vm, VIRTIO_CONFIG, 4, 1), MMIOSHIM_NO_REGISTER);
}

static const struct clause clauses[] = {
    {"4.2.2, table 4.1", "MagicValue, Version, DeviceID", identity},
    {"4.2.2.2", "registers take aligned accesses of 32 bits", widths},
    {"4.2.2, table 4.1", "directions", directions},
    {"6, 2.2", "features are offered in words of 32 bits", features},
    {"2.2.2, 6.1", "FEATURES_OK is refused", refused_features},
    {"3.1.1", "no features behind FEATURES_OK", features_are_settled},
    {"2.1.1", "no bit of the status is cleared, but by a reset", status_bits},
    {"3.1.1", "DRIVER_OK comes behind FEATURES_OK", driver_ok_needs_features},
    {"4.2.2", "QueueNumMax is 0 where no queue is", queue_registers},
    {"4.2.2.2", "a queue in use is not described anew", queue_in_use},
    {"3.1.1", "queues come behind FEATURES_OK", queue_before_features},
    {"4.2.2.2", "QueueNum is at most QueueNumMax", queue_too_large},
    {"4.2.2", "addresses of areas have 64 bits", addresses_of_64_bits},
    {"4.2.2, 4.2.3.4", "InterruptStatus and InterruptACK", interrupt},
    {"4.2.2, 2.1.2", "QueueNotify", notify},
    {"2.4.1", "a reset", reset},
    {"4.2.2", "SHMLen is -1 where no region is", no_shared_memory},
    {"4.2.2, 5.4.4", "a device without configuration", no_configuration},
};

TEST(clauses)
{
    run_clauses(clauses, ARRAY_SIZE(clauses));
}
