/* Where memory for DMA lies: regions, buffers of u-dma-buf, huge pages. */
#include "unit.h"

#include <libfdt.h>

#include "config/pools.h"

static struct machine_desc machine;
static _Alignas(8) char blob[1 << 16];
static char text[512];

static void reg(const char *name, u64 base, u64 size)
{
    fdt64_t cells[2] = {cpu_to_fdt64(base), cpu_to_fdt64(size)};

    CHECK_EQ(fdt_property(blob, name, cells, sizeof(cells)), 0);
}

static void begin(u64 ram, const char *bootargs)
{
    CHECK_EQ(fdt_create(blob, sizeof(blob)), 0);
    CHECK_EQ(fdt_finish_reservemap(blob), 0);
    CHECK_EQ(fdt_begin_node(blob, ""), 0);
    fdt_property_u32(blob, "#address-cells", 2);
    fdt_property_u32(blob, "#size-cells", 2);
    if (ram) {
        fdt_begin_node(blob, "memory@80000000");
        fdt_property_string(blob, "device_type", "memory");
        reg("reg", 0x80000000, ram);
        fdt_end_node(blob);
    }
    fdt_begin_node(blob, "chosen");
    if (bootargs)
        fdt_property_string(blob, "bootargs", bootargs);
    fdt_end_node(blob);
}

/* A region with phandle 1. */
static void region(u64 base, u64 size, bool reusable)
{
    fdt_begin_node(blob, "reserved-memory");
    fdt_property_u32(blob, "#address-cells", 2);
    fdt_property_u32(blob, "#size-cells", 2);
    fdt_begin_node(blob, "r@0");
    fdt_property_string(blob, "compatible", "shared-dma-pool");
    fdt_property_u32(blob, "phandle", 1);
    reg("reg", base, size);
    fdt_property(blob, reusable ? "reusable" : "no-map", NULL, 0);
    fdt_end_node(blob);
    fdt_end_node(blob);
}

static void buffer(const char *node, const char *name, u32 size, u32 phandle)
{
    fdt_begin_node(blob, node);
    fdt_property_string(blob, "compatible", "ikwzm,u-dma-buf");
    if (name)
        fdt_property_string(blob, "device-name", name);
    fdt_property_u32(blob, "size", size);
    if (phandle)
        fdt_property_u32(blob, "memory-region", phandle);
    fdt_end_node(blob);
}

static void window(u64 base, u64 size)
{
    char name[32];

    snprintf(name, sizeof(name), "w@%llx", (unsigned long long)base);
    fdt_begin_node(blob, name);
    reg("reg", base, size);
    fdt_end_node(blob);
}

static const struct machine_pools *end(void)
{
    struct fmt error = FMT_INIT(text);
    const struct machine_pools *p;

    fdt_end_node(blob);
    CHECK_EQ(fdt_finish(blob), 0);
    CHECK_EQ(machine_parse(&machine, blob, fdt_totalsize(blob), &error), 0);
    error.len = 0;
    p = machine_pools(&machine, &error);
    fmt_end(&error);
    return p;
}

TEST(half_of_the_upper_half)
{
    const struct machine_pools *p;

    begin(0x20000000, NULL);
    p = end();
    CHECK_EQ(p->huge.base, 0x90000000);
    CHECK_EQ(p->huge.size, 0x10000000);
    CHECK_EQ(p->huge_boot, 64);
}

TEST(none_without_ram_or_room)
{
    const struct machine_pools *p;

    begin(0, "hugepages=4");
    window(0x10000000, 0x1000);
    p = end();
    CHECK_EQ(p->huge.size, 0);
    CHECK_EQ(p->huge_boot, 0);
    begin(0x200000, NULL);
    p = end();
    CHECK_EQ(p->huge.size, 0);
}

TEST(command_line)
{
    static const struct { const char *line; u32 pages; } rows[] = {
        {"hugepages=5", 5}, {"root=/dev/vda hugepages=0 quiet", 0}, {"hugepages=1000", 128}, {"xhugepages=5", 64},
        {"default_hugepagesz=2M hugepagesz=2M hugepages=0x10", 16}, {"hugepages", 64}, {"", 64},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(0x20000000, rows[i].line);
        CHECK_EQ(end()->huge_boot, rows[i].pages);
    }
}

TEST(a_reusable_pool_is_where_they_lie)
{
    const struct machine_pools *p;

    begin(0x20000000, NULL);
    region(0x88100000, 0x1000000, true);
    p = end();
    CHECK_EQ(p->huge.base, 0x88200000);
    CHECK_EQ(p->huge.size, 0xe00000);
    CHECK(pools_free(&machine, p, p->huge));
    begin(0x20000000, NULL);
    region(0x98100000, 0x1000, false);
    p = end();
    CHECK_EQ(p->huge.base, 0x90000000);
    CHECK(!pools_free(&machine, p, (struct range){0x98000000, HUGE_SIZE}));
    CHECK(pools_free(&machine, p, (struct range){0x98200000, HUGE_SIZE}));
}

TEST(buffers_from_the_top_down)
{
    const struct machine_pools *p;

    begin(0x4000000, "u_dma_buf.udmabuf7=1M");
    buffer("b0", "first", 0x1001, 0);
    buffer("b1", NULL, 0x300000, 0);
    window(0x83c00000, 0x1000);
    p = end();
    CHECK_EQ(p->nbuffers, 3);
    CHECK_EQ(p->buffers[0].range.base, 0x83ffe000);
    CHECK_EQ(p->buffers[0].range.size, 0x2000);
    CHECK_EQ(p->buffers[0].size, 0x1001);
    CHECK_STR(p->buffers[1].name, "udmabuf1");
    CHECK_EQ(p->buffers[1].range.base, 0x83800000); /* not over the window, nor over the first */
    CHECK_STR(p->buffers[2].name, "udmabuf7");
    CHECK_EQ(p->buffers[2].range.base, 0x83e00000);
}

TEST(buffers_in_a_region)
{
    const struct machine_pools *p;

    begin(0x4000000, NULL);
    region(0x81000000, 0x3000, false);
    buffer("b0", "one", 0x1000, 1);
    buffer("b1", "two", 0x2000, 1);
    p = end();
    CHECK_EQ(p->buffers[0].range.base, 0x81000000);
    CHECK_EQ(p->buffers[1].range.base, 0x81001000);
}

TEST(refused)
{
    static const struct { const char *name; u32 size, phandle; const char *says; } rows[] = {
        {"a", 0, 0, "size: none"}, {"a", 0x8000000, 0, "does not fit"}, {"a", 0x4000, 1, "too small"},
        {"a", 0x1000, 9, "no such node"}, {"a/b", 0x1000, 0, "device-name"}, {"..", 0x1000, 0, "device-name"},
        {"a234567890123456789012345678901234", 0x1000, 0, "device-name"}, {"taken", 0x1000, 0, "another one of that name"},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(0x4000000, NULL);
        region(0x81000000, 0x3000, false);
        buffer("b0", "taken", 0x1000, 0);
        buffer("b1", rows[i].name, rows[i].size, rows[i].phandle);
        CHECK(!end());
        CHECK(strstr(text, rows[i].says));
    }
}
