/* iommus: which IOMMU a device is behind (Linux binding iommu/iommu.txt). */
#include "unit.h"

#include <libfdt.h>

#include "config/iommu.h"

static struct machine_desc machine;
static struct machine_iommu iommu;
static _Alignas(8) char blob[1 << 16];
static char text[512];

static void reg(u64 base)
{
    fdt64_t be[2] = {cpu_to_fdt64(base), cpu_to_fdt64(0x1000)};

    CHECK_EQ(fdt_property(blob, "reg", be, sizeof(be)), 0);
}

/* A device with iommus of n cells, and an IOMMU, phandle 5, with this many cells; -1: it does not say. */
static int tree(const u32 *iommus, unsigned n, int cells)
{
    struct fmt error = FMT_INIT(text);
    fdt32_t be[16];
    int ret;

    CHECK_EQ(fdt_create(blob, sizeof(blob)), 0);
    CHECK_EQ(fdt_finish_reservemap(blob), 0);
    CHECK_EQ(fdt_begin_node(blob, ""), 0);
    fdt_property_u32(blob, "#address-cells", 2);
    fdt_property_u32(blob, "#size-cells", 2);
    CHECK_EQ(fdt_begin_node(blob, "device@1000"), 0);
    reg(0x1000);
    for (unsigned i = 0; i < n; i++)
        be[i] = cpu_to_fdt32(iommus[i]);
    if (iommus)
        CHECK_EQ(fdt_property(blob, "iommus", be, (int)(4 * n)), 0);
    CHECK_EQ(fdt_end_node(blob), 0);
    CHECK_EQ(fdt_begin_node(blob, "iommu@2000"), 0);
    reg(0x2000);
    fdt_property_u32(blob, "phandle", 5);
    if (cells >= 0)
        fdt_property_u32(blob, "#iommu-cells", (u32)cells);
    CHECK_EQ(fdt_end_node(blob), 0);
    CHECK_EQ(fdt_end_node(blob), 0);
    CHECK_EQ(fdt_finish(blob), 0);
    CHECK_EQ(machine_parse(&machine, blob, fdt_totalsize(blob), &error), 0);
    ret = machine_iommu(&machine, &machine.windows[0], &iommu, &error);
    fmt_end(&error);
    return ret;
}

#define TREE(cells, ...) tree((const u32[]){__VA_ARGS__}, sizeof((const u32[]){__VA_ARGS__}) / 4, cells)

TEST(none)
{
    CHECK_EQ(tree(NULL, 0, 1), 0);
    CHECK_EQ(iommu.node, -1);
    CHECK_EQ(tree((const u32[]){0}, 0, 1), 0);
    CHECK_EQ(iommu.node, -1);
}

TEST(one)
{
    CHECK_EQ(TREE(1, 5, 0x80000007), 0);
    CHECK_EQ(iommu.node, machine.windows[1].node);
    CHECK_EQ(iommu.id, 0x80000007);
    CHECK(!iommu.more && iommu.cells == 1);
    CHECK_EQ(TREE(0, 5), 0);
    CHECK(!iommu.more && iommu.cells == 0 && iommu.id == 0);
    CHECK_EQ(TREE(2, 5, 9, 0xffff), 0);
    CHECK(!iommu.more && iommu.cells == 2 && iommu.id == 9);
}

TEST(more_than_one)
{
    CHECK_EQ(TREE(1, 5, 1, 5, 2), 0);
    CHECK(iommu.more && iommu.id == 1);
}

TEST(what_makes_no_sense)
{
    CHECK_EQ(TREE(1, 6, 1), -1); /* nobody's phandle */
    CHECK_EQ(TREE(-1, 5, 1), -1); /* it is no IOMMU */
    CHECK_EQ(TREE(1, 5), -1);    /* a cell is missing */
    CHECK_EQ(TREE(0x40000000, 5), -1);
    CHECK_EQ(TREE(0x7fffffff, 5, 1), -1);
    CHECK_STR(text, "device@1000: iommus names no IOMMU; allowed: a phandle of a node with #iommu-cells, and so many cells");
}
