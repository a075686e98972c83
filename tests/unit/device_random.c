/* Every model survives any sequence of accesses, and keeps the rules that hold for all models. */
#include "device_mock.h"

#include "virtio/virtio.h"

enum { ACCESSES = 1000000, CHECK_SNAPSHOT = 5000 };

static struct mock m;
static u64 seed;

static u64 rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* What the outside does: input comes, the host end is busy, time passes, the worker runs, resets. */
static void outside(void)
{
    switch (rnd() % 16) {
    case 0:
        m.nreceived = 0;
        m.ninput = (unsigned)(rnd() % sizeof(m.input));
        break;
    case 1:
        m.busy = !m.busy;
        break;
    case 2:
        m.wall += rnd() >> (rnd() % 64);
        break;
    case 3:
        if (m.dev.class->service)
            m.dev.class->service(&m.dev);
        break;
    case 4:
        if (m.dev.class->irq_in)
            m.dev.class->irq_in(&m.dev, (unsigned)(rnd() % 40), rnd() % 2);
        break;
    case 5:
        m.clock += rnd() % 4096;
        break;
    case 6:
        if (rnd() % 64 == 0)
            m.dev.class->reset(&m.dev, rnd() % 2 ? MMIOSHIM_RESET_COLD : MMIOSHIM_RESET_WARM);
        break;
    default:
        break;
    }
}

/* Refused accesses, and those that wait, change nothing and ask nothing of the host. */
static void access_once(u8 *copy)
{
    const struct mmioshim_class *class = m.dev.class;
    unsigned width = rnd() % 2 ? 1 : 1u << rnd() % 4;
    u64 span = rnd() % 4 && class->min_size >= 8 ? MIN(2 * class->min_size, m.dev.size) : m.dev.size;
    u64 offset = rnd() % span, value = rnd();
    unsigned asked = m.irq_calls + m.nsent + m.receives + m.ends + m.resets;
    bool write = rnd() % 2;
    enum mmioshim_status status;

    if (width > m.dev.size - offset)
        return;
    memcpy(copy, m.dev.state, m.state_size);
    status = write ? wr_status(&m, offset, width, value) : rd_status(&m, offset, width, &value);
    CHECK(status <= MMIOSHIM_WAIT);
    CHECK(write || width == 8 || value >> 8 * width == 0);
    CHECK(write || (status != MMIOSHIM_WAIT && status != MMIOSHIM_READ_ONLY));
    CHECK(!write || status != MMIOSHIM_WRITE_ONLY);
    if (status == MMIOSHIM_NO_REGISTER || status == MMIOSHIM_BAD_WIDTH || status == MMIOSHIM_WAIT) {
        CHECK_EQ(m.irq_calls + m.nsent + m.receives + m.ends + m.resets, asked);
        CHECK(memcmp(copy, m.dev.state, m.state_size) == 0);
    }
}

/* What was saved loads into the same; what was damaged is refused without a trace, or taken and lived with. */
static void snapshot(u8 *copy)
{
    const struct mmioshim_class *class = m.dev.class;
    u8 blob[4096];
    long size;

    if (!class->save || !class->load)
        return;
    size = class->save(&m.dev, blob, sizeof(blob));
    memcpy(copy, m.dev.state, m.state_size);
    CHECK(size > 0 && class->load(&m.dev, class->version, blob, (size_t)size) == 0);
    CHECK(m.dev.class->service || memcmp(copy, m.dev.state, m.state_size) == 0);
    memcpy(copy, m.dev.state, m.state_size);
    for (unsigned n = 1 + rnd() % 4; n > 0; n--)
        blob[rnd() % (u64)size] ^= (u8)(1u << rnd() % 8);
    if (class->load(&m.dev, class->version, blob, (size_t)size))
        CHECK(memcmp(copy, m.dev.state, m.state_size) == 0);
}

static void storm_of(unsigned accesses, const struct mmioshim_class *class, u64 size, const struct mock_property *node)
{
    u8 *copy;

    seed = 0x9e3779b97f4a7c15;
    CHECK(mock_create(&m, class, size, node) == NULL);
    copy = calloc(1, m.state_size + 1);
    for (unsigned i = 0; i < accesses && !unit_failures; i++) {
        outside();
        access_once(copy);
        if (i % CHECK_SNAPSHOT == 0)
            snapshot(copy);
    }
    free(copy);
}

static void storm(const struct mmioshim_class *class, u64 size, const struct mock_property *node)
{
    storm_of(ACCESSES, class, size, node);
}

/* What holds for the UART after every access. */
static void check_uart(unsigned shift)
{
    static const u8 causes[] = {0x06, 0x04, 0x0c, 0x02, 0x00, 0x01};
    u64 iir = rd(&m, 2u << shift, 1), found = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(causes); i++)
        found += (iir & 0x3f) == causes[i];
    CHECK_EQ(found, 1);
    CHECK((iir & 0xc0) == 0 || (iir & 0xc0) == 0xc0);
    CHECK_EQ(rd(&m, 5u << shift, 1) & 0x60, 0x60);
    class_ns16550a.service(&m.dev);
    CHECK_EQ(m.line[0], rd(&m, 2u << shift, 1) != (iir & 0xc0) + 1);
}

static void uart_storm(unsigned shift, const struct mock_property *node)
{
    u8 *copy;

    seed = 0x2545f4914f6cdd1d + shift;
    CHECK(mock_create(&m, &class_ns16550a, 0x100, node) == NULL);
    copy = calloc(1, m.state_size);
    for (unsigned i = 0; i < ACCESSES && !unit_failures; i++) {
        outside();
        access_once(copy);
        if (i % 3 == 0)
            check_uart(shift);
        if (i % CHECK_SNAPSHOT == 0)
            snapshot(copy);
    }
    CHECK(m.nsent > 1000 && m.receives > 1000 && m.irq_changes > 1000);
    free(copy);
}

TEST(unimplemented)
{
    storm(&class_unimplemented, 0x1000, NULL);
}

TEST(ns16550a)
{
    uart_storm(0, NULL);
}

TEST(ns16550a_wide)
{
    static const struct mock_property node[] = {CELL("reg-shift", 2), CELL("reg-io-width", 4), END};

    uart_storm(2, node);
}

TEST(ns16550a_at_an_offset)
{
    static const struct mock_property node[] = {
        CELL("reg-shift", 1), CELL("reg-offset", 5), CELL("fifo-size", 256), END,
    };

    storm(&class_ns16550a, 0x40, node);
}

TEST(goldfish_rtc)
{
    storm(&class_goldfish_rtc, 0x1000, NULL);
    CHECK(m.irq_changes > 100 && m.wakes > 100);
}

TEST(mc146818)
{
    storm(&class_mc146818, 2, NULL);
    CHECK(m.irq_changes > 100 && m.wakes > 100);
}

/* Its state is large; commands come by themselves too seldom, so that each second write is one. */
TEST(flash)
{
    static const u8 cycles[] = {0xaa, 0x55, 0x80, 0xa0, 0x90, 0x30, 0x10, 0xb0, 0xf0, 0x98};
    static const u32 places[] = {0x555, 0x2aa, 0, 0x4000};
    static u8 disk[128 << 10];
    unsigned views[8] = {0};

    static const struct mock_property node[] = {STRINGS("compatible", "amd,am29f010b"), END};

    storm_of(ACCESSES / 100, &class_flash, 128 << 10, node);
    m.disk = disk;
    m.disk_size = sizeof(disk);
    for (unsigned i = 0; i < ACCESSES && !unit_failures; i++) {
        outside();
        m.disk_error = rnd() % 64 ? 0 : -5;
        if (rnd() % 2)
            wr_status(&m, 0x555, 1, 0xaa), wr_status(&m, 0x2aa, 1, 0x55);
        CHECK(wr_status(&m, places[rnd() % 4], 1, cycles[rnd() % ARRAY_SIZE(cycles)]) <= MMIOSHIM_GUEST_BUG);
        rd(&m, rnd() % sizeof(disk), 1);
        views[m.dev.class->view(&m.dev)]++;
    }
    for (unsigned view = 1; view <= 5; view++)
        CHECK(view == 3 || views[view] > 100); /* this chip has no query */
}

TEST(bcm2835_gpio)
{
    storm(&class_bcm2835_gpio, 0xb4, NULL);
    CHECK(m.irq_changes > 1000);
}

TEST(sifive_test)
{
    storm(&class_sifive_test, 0x1000, NULL);
}

TEST(virtio_mmio)
{
    storm(&class_virtio_mmio, 0x200, NULL);
}

static void start_queue(u32 queue, u8 *ram, u64 size)
{
    const struct mmioshim_class *class = m.dev.class;

    class->write(&m.dev, 0x30, 4, queue);
    for (u32 reg = 0x80; reg <= 0xa0; reg += 16) {
        u64 area = rnd() % size & ~15ull;

        class->write(&m.dev, reg, 4, MOCK_RAM + area);
        class->write(&m.dev, reg + 4, 4, 0);
        ram[area + 2] = (u8)(rnd() % 4); /* of the available ring: so many entries */
        ram[area + 3] = 0;
    }
    class->write(&m.dev, 0x38, 4, 1 << rnd() % 9);
    class->write(&m.dev, 0x44, 4, 1);
    class->write(&m.dev, 0x50, 4, queue);
}

/* With RAM that holds noise, and a device that the storm sets going again and again. */
static void virtio_storm(const char *attachment)
{
    static u8 ram[1 << 16], disk[1 << 14];
    unsigned serves = 0;
    u8 *copy;

    seed = 0x853c49e6748fea9b;
    CHECK(mock_plug(&m, &class_virtio_mmio, 0x200, attachment) == NULL);
    m.ram = ram;
    m.ram_size = sizeof(ram);
    m.disk = disk;
    m.disk_size = sizeof(disk);
    copy = calloc(1, m.state_size);
    for (unsigned i = 0; i < ACCESSES && !unit_failures; i++) {
        unsigned soon = m.soon;

        if (i % 64 == 0) {
            static const u32 ready[] = {1, 3, 11, 15};

            for (unsigned j = 0; j < 512; j++)
                ram[rnd() % sizeof(ram)] = rnd() % 2 ? (u8)rnd() : 0;
            m.dev.class->write(&m.dev, 0x70, 4, 0);
            m.dev.class->write(&m.dev, 0x24, 4, 1);
            m.dev.class->write(&m.dev, 0x20, 4, 1 | (rnd() % 2) << 2);
            for (unsigned j = 0; j < ARRAY_SIZE(ready); j++)
                m.dev.class->write(&m.dev, 0x70, 4, ready[j]);
            for (u32 queue = 0; queue < 2; queue++)
                start_queue(queue, ram, sizeof(ram));
        }
        access_once(copy);
        if (m.soon != soon) {
            m.dev.class->service(&m.dev);
            serves++;
        }
        CHECK_EQ(m.line[0], ((struct virtio *)m.dev.state)->isr != 0);
    }
    CHECK(serves > 1000 && m.fetches > 1000 && m.irq_changes > 100);
    free(copy);
}

TEST(virtio_rng)
{
    virtio_storm("rng");
}

TEST(virtio_console)
{
    virtio_storm("console:null");
}

TEST(virtio_blk)
{
    virtio_storm("blk:disk");
}

TEST(scratch)
{
    storm(&class_scratch, 77, NULL);
}

/* Accesses hit its registers, most of them between the few that this window has. */
TEST(sifive_plic)
{
    static const u8 wires[4 * 8] = {0, 0, 0, 1, 0, 0, 0, 11, 0, 0, 0, 1, 0, 0, 0, 9,
                                    0, 0, 0, 2, 0, 0, 0, 11, 0, 0, 0, 2, 0, 0, 0, 9};
    static const struct mock_property node[] = {
        CELL("riscv,ndev", 37), {"interrupts-extended", sizeof(wires), wires, {0}}, END,
    };

    storm(&class_sifive_plic, 0x204000, node);
}

TEST(sifive_clint)
{
    storm(&class_sifive_clint, 0x10000, NULL);
}

TEST(every_class_is_stormed)
{
    CHECK_EQ(device_class_count, 18);
}
