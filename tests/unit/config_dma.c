/* dma-ranges: what a device on a bus reaches of the machine (Devicetree Specification 2.3.9). */
#include "unit.h"

#include <libfdt.h>

#include "config/dma.h"

static struct machine_desc machine;
static struct machine_dma dma;
static _Alignas(8) char blob[1 << 16];
static char text[512];

static void begin(void)
{
    CHECK_EQ(fdt_create(blob, sizeof(blob)), 0);
    CHECK_EQ(fdt_finish_reservemap(blob), 0);
    CHECK_EQ(fdt_begin_node(blob, ""), 0);
    fdt_property_u32(blob, "#address-cells", 2);
    fdt_property_u32(blob, "#size-cells", 2);
}

/* A bus below the node that is open: one address cell, one size cell, ranges that change nothing. */
static void bus(const char *name, const u32 *ranges, unsigned n)
{
    fdt32_t be[64];

    CHECK_EQ(fdt_begin_node(blob, name), 0);
    fdt_property_u32(blob, "#address-cells", 1);
    fdt_property_u32(blob, "#size-cells", 1);
    CHECK_EQ(fdt_property(blob, "ranges", NULL, 0), 0);
    for (unsigned i = 0; i < n; i++)
        be[i] = cpu_to_fdt32(ranges[i]);
    if (ranges)
        CHECK_EQ(fdt_property(blob, "dma-ranges", be, (int)(4 * n)), 0);
}

/* A device, and the end of everything. */
static int device(unsigned buses)
{
    struct fmt error = FMT_INIT(text);
    fdt32_t reg[2] = {cpu_to_fdt32(0x10000000), cpu_to_fdt32(0x1000)};

    fdt_begin_node(blob, "virtio_mmio@10000000");
    fdt_property(blob, "reg", reg, sizeof(reg));
    fdt_end_node(blob);
    for (unsigned i = 0; i <= buses; i++)
        CHECK_EQ(fdt_end_node(blob), 0);
    CHECK_EQ(fdt_finish(blob), 0);
    CHECK_EQ(machine_parse(&machine, blob, fdt_totalsize(blob), &error), 0);
    CHECK_EQ(machine.nwindows, 1);
    error.len = 0;
    return machine_dma(&machine, &machine.windows[0], &dma, &error);
}

static void expect(unsigned i, u64 from, u64 size, u64 to)
{
    CHECK_EQ(dma.pieces[i].bus.base, from);
    CHECK_EQ(dma.pieces[i].bus.size, size);
    CHECK_EQ(dma.pieces[i].machine, to);
}

TEST(none_and_an_empty_one_change_nothing)
{
    begin();
    bus("soc", NULL, 0);
    CHECK_EQ(device(1), 0);
    CHECK(dma.all && dma.count == 0);
    begin();
    bus("soc", (u32[]){0}, 0);
    CHECK_EQ(device(1), 0);
    CHECK(dma.all && dma.count == 0);
}

TEST(one_step)
{
    static const u32 ranges[] = {0xc0000000, 0, 0x80000000, 0x10000000, 0, 1, 0x00000000, 0x1000};

    begin();
    bus("soc", ranges, 8);
    CHECK_EQ(device(1), 0);
    CHECK(!dma.all);
    CHECK_EQ(dma.count, 2);
    expect(0, 0xc0000000, 0x10000000, 0x80000000);
    expect(1, 0, 0x1000, 0x100000000);
}

TEST(neighbours_are_one_piece)
{
    static const u32 ranges[] = {0, 0, 0x80000000, 0x1000, 0x1000, 0, 0x80001000, 0x2000, 0x3000, 0, 0x90000000, 0x1000};

    begin();
    bus("soc", ranges, 12);
    CHECK_EQ(device(1), 0);
    CHECK_EQ(dma.count, 2);
    expect(0, 0, 0x3000, 0x80000000);
    expect(1, 0x3000, 0x1000, 0x90000000);
}

TEST(two_steps)
{
    static const u32 outer[] = {0x40000000, 0, 0x80000000, 0x8000, 0x50000000, 0, 0x90000000, 0x8000};
    static const u32 inner[] = {0, 0x40004000, 0x100000, 0x200000, 0x4fffe000, 0x4000, 0x300000, 0x10000000, 0x1000};

    begin();
    bus("soc", outer, 8);
    bus("island", inner, 9);
    CHECK_EQ(device(2), 0);
    CHECK_EQ(dma.count, 2); /* what leads nowhere is gone */
    expect(0, 0, 0x4000, 0x80004000);
    expect(1, 0x202000, 0x2000, 0x90000000);
}

TEST(nothing_is_reached)
{
    static const u32 outer[] = {0x40000000, 0, 0x80000000, 0x8000};
    static const u32 inner[] = {0, 0x10000000, 0x1000};

    begin();
    bus("soc", outer, 4);
    bus("island", inner, 3);
    CHECK_EQ(device(2), 0);
    CHECK(!dma.all && dma.count == 0);
}

TEST(what_makes_no_sense)
{
    static const u32 wraps[] = {0xfffff000, 0xffffffff, 0xfffff000, 0x2000};
    u32 many[17 * 3];

    begin();
    bus("soc", (u32[]){0, 0, 0}, 3);
    CHECK_EQ(device(1), -1);
    CHECK(strstr(text, "virtio_mmio@10000000: dma-ranges"));
    begin();
    bus("soc", wraps, 4);
    CHECK_EQ(device(1), 0);
    CHECK(!dma.all && dma.count == 0);
    for (u32 i = 0; i < 17; i++)
        many[3 * i] = i * 0x2000, many[3 * i + 1] = 0x80000000 + i * 0x2000, many[3 * i + 2] = 0x1000;
    begin();
    bus("soc", NULL, 0);
    bus("island", many, 16 * 3);
    CHECK_EQ(device(2), 0);
    CHECK_EQ(dma.count, 16);
    begin();
    bus("soc", NULL, 0);
    bus("island", many, 17 * 3);
    CHECK_EQ(device(2), -1);
}
