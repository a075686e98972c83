/* virtio-mmio with nothing behind it: it says so, and a driver that goes on is told. */
#include "device_mock.h"

#include "virtio/mmio.h"
#include "virtio/virtio.h"

static struct mock m;

static void setup(void)
{
    CHECK(mock_create(&m, &class_virtio_mmio, 0x1000, NULL) == NULL);
}

TEST(identification)
{
    u64 value;

    setup();
    CHECK_EQ(rd(&m, 0x000, 4), 0x74726976);
    CHECK_EQ(rd(&m, 0x004, 4), 2);
    CHECK_EQ(rd(&m, 0x008, 4), 0);
    CHECK(rd(&m, 0x00c, 4) != 0);
    for (unsigned offset = 0; offset < 16; offset += 4)
        CHECK_EQ(wr_status(&m, offset, 4, 0xffffffff), MMIOSHIM_READ_ONLY);
    CHECK_EQ(rd(&m, 0x008, 4), 0);
    CHECK_EQ(rd_status(&m, 0x000, 8, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, 0x000, 2, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, 0x001, 1, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, 0x002, 4, &value), MMIOSHIM_BAD_WIDTH);
    CHECK(!class_virtio_mmio.split);
}

/* VIRTIO 1.2, tables 4.1 and 4.2: offset and direction. */
TEST(register_table)
{
    static const struct {
        u16 offset;
        u8 access;
    } table[] = {
        {0x000, MMIOSHIM_RO}, {0x004, MMIOSHIM_RO}, {0x008, MMIOSHIM_RO}, {0x00c, MMIOSHIM_RO}, {0x010, MMIOSHIM_RO},
        {0x014, MMIOSHIM_WO}, {0x020, MMIOSHIM_WO}, {0x024, MMIOSHIM_WO}, {0x028, MMIOSHIM_WO}, {0x030, MMIOSHIM_WO}, {0x034, MMIOSHIM_RO},
        {0x038, MMIOSHIM_WO}, {0x03c, MMIOSHIM_WO}, {0x040, MMIOSHIM_RW}, {0x044, MMIOSHIM_RW}, {0x050, MMIOSHIM_WO}, {0x060, MMIOSHIM_RO}, {0x064, MMIOSHIM_WO},
        {0x070, MMIOSHIM_RW}, {0x080, MMIOSHIM_WO}, {0x084, MMIOSHIM_WO}, {0x090, MMIOSHIM_WO}, {0x094, MMIOSHIM_WO},
        {0x0a0, MMIOSHIM_WO}, {0x0a4, MMIOSHIM_WO}, {0x0ac, MMIOSHIM_WO}, {0x0b0, MMIOSHIM_RO}, {0x0b4, MMIOSHIM_RO},
        {0x0b8, MMIOSHIM_RO}, {0x0bc, MMIOSHIM_RO}, {0x0c0, MMIOSHIM_RW}, {0x0fc, MMIOSHIM_RO},
    };

    /* What follows are configuration spaces of what may be plugged in. */
    CHECK(class_virtio_mmio.nregisters > ARRAY_SIZE(table));
    CHECK_EQ(class_virtio_mmio.registers[ARRAY_SIZE(table)].offset, 0x100);
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        CHECK_EQ(class_virtio_mmio.registers[i].offset, table[i].offset);
        CHECK_EQ(class_virtio_mmio.registers[i].access, table[i].access);
        CHECK_EQ(class_virtio_mmio.registers[i].width, 4);
    }
}

TEST(the_rest_is_reported_and_does_nothing)
{
    unsigned reads = 0, writes = 0, holes = 0;

    setup();
    for (unsigned offset = 0x10; offset < 0x1000; offset += 4) {
        u64 value;
        enum mmioshim_status r = rd_status(&m, offset, 4, &value);
        enum mmioshim_status w = wr_status(&m, offset, 4, 0x0f);
        bool shm = offset >= 0x0b0 && offset <= 0x0bc;

        CHECK_EQ(value, shm ? 0xffffffff : 0);
        CHECK(r != MMIOSHIM_OK && w != MMIOSHIM_OK);
        reads += r == MMIOSHIM_GUEST_BUG;
        writes += w == MMIOSHIM_GUEST_BUG;
        holes += r == MMIOSHIM_NO_REGISTER;
    }
    CHECK_EQ(reads, 11);
    CHECK_EQ(writes, 17);
    CHECK_EQ(holes, 0x400 - 29);
    CHECK_EQ(m.irq_changes, 0);
}

TEST(load_refuses_what_another_slot_holds)
{
    struct virtio *v;
    u8 *blob;

    CHECK(mock_plug(&m, &class_virtio_mmio, 0x1000, "rng") == NULL);
    blob = malloc(m.state_size);
    memcpy(blob, m.dev.state, m.state_size);
    setup();
    v = (void *)blob;
    CHECK_EQ(class_virtio_mmio.load(&m.dev, class_virtio_mmio.version, blob, m.state_size), -1);
    CHECK_EQ(rd(&m, 8, 4), 0);
    v->type = 0;
    CHECK_EQ(class_virtio_mmio.load(&m.dev, class_virtio_mmio.version, blob, m.state_size), 0);
    CHECK_EQ(class_virtio_mmio.load(&m.dev, class_virtio_mmio.version - 1, blob, m.state_size), -1);
    CHECK_EQ(class_virtio_mmio.load(&m.dev, class_virtio_mmio.version, blob, m.state_size - 1), -1);
    v->end[0] = 'x';
    CHECK_EQ(class_virtio_mmio.load(&m.dev, class_virtio_mmio.version, blob, m.state_size), -1);
    v->end[0] = 0;
    v->status = 0x10;
    CHECK_EQ(class_virtio_mmio.load(&m.dev, class_virtio_mmio.version, blob, m.state_size), -1);
    v->status = 0;
    v->queues[0].ready = 1;
    CHECK_EQ(class_virtio_mmio.load(&m.dev, class_virtio_mmio.version, blob, m.state_size), -1);
}

TEST(what_can_be_plugged_in)
{
    CHECK(mock_plug(&m, &class_virtio_mmio, 0x1000, "rng") == NULL);
    CHECK_EQ(rd(&m, 8, 4), 4);
    CHECK(mock_plug(&m, &class_virtio_mmio, 0x1000, NULL) == NULL);
    CHECK_EQ(rd(&m, 8, 4), 0);
    CHECK_STR(mock_plug(&m, &class_virtio_mmio, 0x1000, "rngs"), "no such device");
    CHECK_STR(mock_plug(&m, &class_virtio_mmio, 0x1000, ""), "no such device");
    CHECK_STR(mock_plug(&m, &class_virtio_mmio, 0x1000, "rng:fast"), "rng takes no options");
}
