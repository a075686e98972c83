/* Version 1 of the virtio-mmio registers against VIRTIO 1.2: what its sections "Legacy interface" say. */
#include "virtio_driver.h"

#define F_ANY_LAYOUT ((u64)1 << 27)

enum { PAGE = 0x1000 };

static enum mmioshim_status bug(u64 offset, u64 value)
{
    return wr_status(&vm, offset, 4, value);
}

/* A queue on a page of RAM, laid out as 2.7.2 has it. */
static void lay_out(u32 queue, u32 size, u32 align, u32 page)
{
    struct driver_queue *q = &dq[queue];

    *q = (struct driver_queue){.size = size};
    q->desc = (u64)page * PAGE;
    q->driver = q->desc + 16ull * size;
    q->device = (q->driver + 2 * (3 + size) + align - 1) / align * align;
    memset(at(q->desc), 0, 0x4000);
    driver_packed = false;
    wr(&vm, VIRTIO_QUEUE_SEL, 4, queue);
    wr(&vm, VIRTIO_QUEUE_NUM, 4, size);
    wr(&vm, VIRTIO_QUEUE_ALIGN, 4, align);
    wr(&vm, VIRTIO_QUEUE_PFN, 4, (u32)(MOCK_RAM / PAGE) + page);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_PFN, 4), MOCK_RAM / PAGE + page);
}

/* Up to and with the acceptance of features. */
static void begin(const char *attachment, u32 features)
{
    driver_machine(attachment);
    wr(&vm, VIRTIO_GUEST_PAGE_SIZE, 4, PAGE);
    wr(&vm, VIRTIO_STATUS, 4, 0);
    wr(&vm, VIRTIO_STATUS, 4, VIRTIO_ACKNOWLEDGE);
    wr(&vm, VIRTIO_STATUS, 4, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    wr(&vm, VIRTIO_DRIVER_FEATURES_SEL, 4, 0);
    wr(&vm, VIRTIO_DRIVER_FEATURES, 4, features);
}

static void go(void)
{
    wr(&vm, VIRTIO_STATUS, 4, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK);
    CHECK_EQ(rd(&vm, VIRTIO_STATUS, 4), 7);
}

/* A request for random bytes is answered. */
static void works(void)
{
    u32 id = 0, length = 0;

    memset(at(DRIVER_DATA), 0, 8);
    driver_add(0, &(struct buffer){MOCK_RAM + DRIVER_DATA, 8, true}, 1);
    driver_kick(0);
    CHECK(driver_take(0, &id, &length));
    CHECK_EQ(length, 8);
    CHECK_EQ(get32(DRIVER_DATA), 0x04030201);
}

static void identity(void)
{
    driver_machine("rng,legacy");
    CHECK_EQ(rd(&vm, VIRTIO_MAGIC_VALUE, 4), 0x74726976);
    CHECK_EQ(rd(&vm, VIRTIO_VERSION, 4), 1);
    CHECK_EQ(rd(&vm, VIRTIO_DEVICE_ID, 4), 4);
    CHECK(mock_create(&vm, &class_virtio_mmio, 0x1000, (const struct mock_property[]){{"mmioshim,legacy", 0, "", {0}}, END}) == NULL);
    CHECK_EQ(rd(&vm, VIRTIO_VERSION, 4), 1);
    CHECK_EQ(rd(&vm, VIRTIO_DEVICE_ID, 4), 0);
    driver_machine("rng");
    CHECK_EQ(rd(&vm, VIRTIO_VERSION, 4), 2);
}

/* Table 4.2: what is there, and which way. */
static void registers(void)
{
    static const struct {
        u32 offset;
        bool read, write;
    } table[] = {{0x10, true, false}, {0x14, false, true}, {0x20, false, true}, {0x24, false, true}, {0x28, false, true},
                 {0x30, false, true}, {0x34, true, false}, {0x38, false, true}, {0x3c, false, true}, {0x40, true, true},
                 {0x50, false, true}, {0x60, true, false}, {0x64, false, true}, {0x70, true, true}};
    u64 value;
    unsigned found = 0;

    driver_machine("rng,legacy");
    for (u32 offset = 0x10; offset < 0x100; offset += 4) {
        enum mmioshim_status r = rd_status(&vm, offset, 4, &value), w = wr_status(&vm, offset, 4, 0);
        unsigned i = 0;

        while (i < ARRAY_SIZE(table) && table[i].offset != offset)
            i++;
        CHECK_EQ(r == MMIOSHIM_NO_REGISTER, i == ARRAY_SIZE(table));
        CHECK_EQ(w == MMIOSHIM_NO_REGISTER, i == ARRAY_SIZE(table));
        found += i < ARRAY_SIZE(table);
        CHECK(i == ARRAY_SIZE(table) || ((r == MMIOSHIM_WRITE_ONLY) == !table[i].read && (w == MMIOSHIM_READ_ONLY) == !table[i].write));
    }
    CHECK_EQ(found, ARRAY_SIZE(table));
    driver_machine("rng");
    for (u32 offset = 0x28; offset <= 0x40; offset += 12) {
        bool shared = offset == 0x34;

        CHECK_EQ(rd_status(&vm, offset, 4, &value) == MMIOSHIM_NO_REGISTER, !shared);
    }
    CHECK_EQ(wr_status(&vm, VIRTIO_QUEUE_ALIGN, 4, 4096), MMIOSHIM_NO_REGISTER);
}

static void features(void)
{
    driver_machine("rng,legacy");
    wr(&vm, VIRTIO_DEVICE_FEATURES_SEL, 4, 0);
    CHECK_EQ(rd(&vm, VIRTIO_DEVICE_FEATURES, 4), F_ANY_LAYOUT | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX);
    wr(&vm, VIRTIO_DEVICE_FEATURES_SEL, 4, 1);
    CHECK_EQ(rd(&vm, VIRTIO_DEVICE_FEATURES, 4), 0);
    wr(&vm, VIRTIO_STATUS, 4, 3);
    CHECK_EQ(bug(VIRTIO_DRIVER_FEATURES, (u32)VIRTIO_F_EVENT_IDX | 1), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(virtio_of(&vm.dev)->accepted, VIRTIO_F_EVENT_IDX);
    wr(&vm, VIRTIO_DRIVER_FEATURES_SEL, 4, 1);
    CHECK_EQ(bug(VIRTIO_DRIVER_FEATURES, 1), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(virtio_of(&vm.dev)->accepted, VIRTIO_F_EVENT_IDX);
    go();
    CHECK_EQ(bug(VIRTIO_DRIVER_FEATURES, 0), MMIOSHIM_GUEST_BUG);
}

/* There is no FEATURES_OK, and no step that asks for it. */
static void status(void)
{
    begin("rng,legacy", 0);
    CHECK_EQ(bug(VIRTIO_STATUS, 11), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(rd(&vm, VIRTIO_STATUS, 4), 3);
    go();
    CHECK_EQ(bug(VIRTIO_STATUS, 0x47), MMIOSHIM_GUEST_BUG);
}

static void page_size(void)
{
    driver_machine("rng,legacy");
    wr(&vm, VIRTIO_QUEUE_SEL, 4, 0);
    wr(&vm, VIRTIO_QUEUE_NUM, 4, 8);
    wr(&vm, VIRTIO_QUEUE_ALIGN, 4, PAGE);
    CHECK_EQ(bug(VIRTIO_QUEUE_PFN, 1), MMIOSHIM_GUEST_BUG); /* pages of what size? */
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_PFN, 4), 0);
    CHECK_EQ(bug(VIRTIO_GUEST_PAGE_SIZE, 0), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(bug(VIRTIO_GUEST_PAGE_SIZE, 3000), MMIOSHIM_GUEST_BUG);
    wr(&vm, VIRTIO_GUEST_PAGE_SIZE, 4, 0x10000);
    wr(&vm, VIRTIO_STATUS, 4, 0); /* is kept */
    wr(&vm, VIRTIO_QUEUE_NUM, 4, 8);
    wr(&vm, VIRTIO_QUEUE_ALIGN, 4, PAGE);
    wr(&vm, VIRTIO_QUEUE_PFN, 4, 0xffffffff);
    CHECK_EQ(virtio_of(&vm.dev)->queues[0].desc, 0xffffffff0000ull);
    CHECK_EQ(virtio_of(&vm.dev)->queues[0].device, 0xffffffff1000ull);
    CHECK_EQ(bug(VIRTIO_GUEST_PAGE_SIZE, PAGE), MMIOSHIM_GUEST_BUG); /* queues are in use */
    class_virtio_mmio.reset(&vm.dev, MMIOSHIM_RESET_COLD);
    wr(&vm, VIRTIO_QUEUE_NUM, 4, 8);
    wr(&vm, VIRTIO_QUEUE_ALIGN, 4, PAGE);
    CHECK_EQ(bug(VIRTIO_QUEUE_PFN, 1), MMIOSHIM_GUEST_BUG);
}

static void alignment(void)
{
    begin("rng,legacy", 0);
    wr(&vm, VIRTIO_QUEUE_NUM, 4, 8);
    CHECK_EQ(bug(VIRTIO_QUEUE_PFN, 5), MMIOSHIM_GUEST_BUG); /* not said */
    CHECK_EQ(bug(VIRTIO_QUEUE_ALIGN, 0), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(bug(VIRTIO_QUEUE_ALIGN, 24), MMIOSHIM_GUEST_BUG);
    wr(&vm, VIRTIO_QUEUE_ALIGN, 4, 1);
    CHECK_EQ(bug(VIRTIO_QUEUE_PFN, 5), MMIOSHIM_GUEST_BUG); /* the used ring needs 4 (2.7) */
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_PFN, 4), 0);
    for (u32 align = 4; align <= PAGE; align *= 2)
        for (u32 size = 1; size <= 256; size *= 4) {
            begin("rng,legacy", 0);
            lay_out(0, size, align, 3);
            CHECK_EQ(virtio_of(&vm.dev)->queues[0].device, MOCK_RAM + dq[0].device);
            go();
            works();
        }
    begin("rng,legacy", 0);
    wr(&vm, VIRTIO_QUEUE_NUM, 4, 256);
    wr(&vm, VIRTIO_QUEUE_ALIGN, 4, 0x80000000);
    wr(&vm, VIRTIO_QUEUE_PFN, 4, 0x80000);
    CHECK_EQ(virtio_of(&vm.dev)->queues[0].device, 0x100000000ull);
}

static void sizes(void)
{
    begin("rng,legacy", 0);
    wr(&vm, VIRTIO_QUEUE_ALIGN, 4, PAGE);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_NUM_MAX, 4), 256);
    CHECK_EQ(bug(VIRTIO_QUEUE_PFN, 5), MMIOSHIM_GUEST_BUG);
    wr(&vm, VIRTIO_QUEUE_NUM, 4, 7);
    CHECK_EQ(bug(VIRTIO_QUEUE_PFN, 5), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(bug(VIRTIO_QUEUE_NUM, 512), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(bug(VIRTIO_QUEUE_PFN, 5), MMIOSHIM_GUEST_BUG);
    wr(&vm, VIRTIO_QUEUE_SEL, 4, 1);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_NUM_MAX, 4), 0);
    CHECK_EQ(bug(VIRTIO_QUEUE_PFN, 5), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_PFN, 4), 0);
}

/* "When the driver stops using the queue it writes zero" */
static void page_zero(void)
{
    begin("rng,legacy", 0);
    lay_out(0, 8, PAGE, 1);
    go();
    works();
    CHECK_EQ(bug(VIRTIO_QUEUE_PFN, 7), MMIOSHIM_GUEST_BUG); /* in use */
    CHECK_EQ(bug(VIRTIO_QUEUE_ALIGN, 64), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(bug(VIRTIO_QUEUE_NUM, 16), MMIOSHIM_GUEST_BUG);
    wr(&vm, VIRTIO_QUEUE_PFN, 4, 0);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_PFN, 4), 0);
    CHECK_EQ(bug(VIRTIO_QUEUE_NOTIFY, 0), MMIOSHIM_GUEST_BUG);
    lay_out(0, 16, 64, 4);
    works();
    wr(&vm, VIRTIO_STATUS, 4, 0);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_PFN, 4), 0);
}

static void before_driver_ok(void)
{
    driver_machine("rng,legacy");
    wr(&vm, VIRTIO_GUEST_PAGE_SIZE, 4, PAGE);
    lay_out(0, 8, PAGE, 1); /* not even ACKNOWLEDGE */
    works();
    begin("rng,legacy", (u32)VIRTIO_F_EVENT_IDX);
    lay_out(0, 8, PAGE, 1);
    works();
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4), 1);
    CHECK(vm.line[0]);
}

static void indirect(void)
{
    u32 id = 0, length = 0;

    begin("rng,legacy", (u32)(VIRTIO_F_INDIRECT_DESC | F_ANY_LAYOUT));
    lay_out(0, 8, PAGE, 1);
    go();
    driver_add_indirect(0, DRIVER_DATA, (struct buffer[]){{MOCK_RAM + DRIVER_DATA + 64, 3, true}, {MOCK_RAM + DRIVER_DATA + 80, 4, true}}, 2);
    driver_kick(0);
    CHECK(driver_take(0, &id, &length));
    CHECK_EQ(length, 7);
}

/* It stands still, but has no bit to say so. */
static void broken(void)
{
    u32 id, length;

    begin("rng,legacy", 0);
    lay_out(0, 8, PAGE, 1);
    go();
    put16(dq[0].driver + 2, 100);
    driver_kick(0);
    CHECK_EQ(rd(&vm, VIRTIO_STATUS, 4), 7);
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4), 0);
    put16(dq[0].driver + 2, 0);
    driver_add(0, &(struct buffer){MOCK_RAM + DRIVER_DATA, 8, true}, 1);
    driver_kick(0);
    CHECK(!driver_take(0, &id, &length));
    wr(&vm, VIRTIO_STATUS, 4, 0);
    lay_out(0, 8, PAGE, 1);
    works();
}

/* 5.1.6.1: num_buffers is not there without MRG_RXBUF. */
static void net_header(void)
{
    u32 id = 0, length = 0;

    begin("net:loopback,legacy", 0);
    lay_out(0, 8, PAGE, 1);
    lay_out(1, 8, PAGE, 4);
    go();
    driver_add(0, &(struct buffer){MOCK_RAM + DRIVER_DATA + 0x1000, 2048, true}, 1);
    memset(at(DRIVER_DATA), 0, 10);
    for (u32 i = 0; i < 60; i++)
        *(u8 *)at(DRIVER_DATA + 10 + i) = (u8)(i < 6 ? 0xff : i);
    driver_add(1, &(struct buffer){MOCK_RAM + DRIVER_DATA, 70, false}, 1);
    driver_kick(1);
    CHECK(driver_take(0, &id, &length));
    CHECK_EQ(length, 70);
    CHECK(memcmp(at(DRIVER_DATA + 10), at(DRIVER_DATA + 0x1000 + 10), 60) == 0);
}

static void configuration(void)
{
    begin("net:loopback,legacy", 0);
    CHECK_EQ(rd(&vm, 0x100, 4), 0x12005452);
    CHECK_EQ(rd(&vm, 0x103, 1), 0x12);
}

static void snapshot(void)
{
    struct virtio *v;
    u8 *blob;

    begin("rng,legacy", (u32)VIRTIO_F_EVENT_IDX);
    lay_out(0, 8, PAGE, 1);
    go();
    works();
    blob = malloc(vm.state_size);
    memcpy(blob, vm.dev.state, vm.state_size);
    wr(&vm, VIRTIO_STATUS, 4, 0);
    CHECK_EQ(class_virtio_mmio.load(&vm.dev, class_virtio_mmio.version, blob, vm.state_size), 0);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_PFN, 4), MOCK_RAM / PAGE + 1);
    v = (void *)blob;
    v->legacy = 0;
    CHECK_EQ(class_virtio_mmio.load(&vm.dev, class_virtio_mmio.version, blob, vm.state_size), -1);
    v->legacy = 1;
    v->accepted |= VIRTIO_F_VERSION_1;
    CHECK_EQ(class_virtio_mmio.load(&vm.dev, class_virtio_mmio.version, blob, vm.state_size), -1);
}

static void iommu(void)
{
    CHECK_STR(mock_plug(&vm, &class_virtio_mmio, 0x1000, "iommu,legacy"), "it has no legacy interface");
    CHECK_STR(mock_plug(&vm, &class_virtio_mmio, 0x1000, ",legacy"), "no such device");
    CHECK_STR(mock_plug(&vm, &class_virtio_mmio, 0x1000, "legacy"), "no such device");
}

static const struct clause clauses[] = {
    {"4.2.4", "Version is 1", identity},
    {"4.2.4", "the registers", registers},
    {"2.2.3, 6.3", "features: 32 of them, and no way to refuse", features},
    {"3.1.2", "steps 5 and 6 are left out", status},
    {"4.2.4", "GuestPageSize", page_size},
    {"2.7.2, 4.2.4", "the layout of a queue, QueueAlign", alignment},
    {"4.2.4", "QueueNumMax, QueueNum", sizes},
    {"4.2.4", "QueuePFN", page_zero},
    {"3.1.2", "used before DRIVER_OK", before_driver_ok},
    {"2.7.5.3", "indirect descriptors", indirect},
    {"2.1.2", "a queue that makes no sense", broken},
    {"5.1.6.1", "the header of a network card", net_header},
    {"2.5.3", "the configuration space in the CPU's order", configuration},
    {"none", "snapshots", snapshot},
    {"1.3.1", "an IOMMU is younger", iommu},
};

TEST(clauses)
{
    run_clauses(clauses, ARRAY_SIZE(clauses));
}
