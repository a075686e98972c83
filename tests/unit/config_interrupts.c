/*
 * Interrupts of a node against Devicetree Specification 0.4. The number of the section that a test is about stands
 * before it.
 */
#include "unit.h"

#include <libfdt.h>

#include "config/interrupts.h"

static struct machine_desc desc;
static _Alignas(8) char blob[16384];

enum { GIC = 1, PLIC, HART };

static void begin(const char *name)
{
    CHECK_EQ(fdt_begin_node(blob, name), 0);
}

static void end(void)
{
    CHECK_EQ(fdt_end_node(blob), 0);
}

static void cell(const char *name, u32 value)
{
    CHECK_EQ(fdt_property_u32(blob, name, value), 0);
}

static void cells(const char *name, const u32 *values, unsigned n)
{
    fdt32_t out[16];

    for (unsigned i = 0; i < n; i++)
        out[i] = cpu_to_fdt32(values[i]);
    CHECK_EQ(fdt_property(blob, name, out, (int)(4 * n)), 0);
}

#define CELLS(name, ...) cells(name, (u32[]){__VA_ARGS__}, sizeof((u32[]){__VA_ARGS__}) / 4)

static void controller(const char *name, u32 phandle, u32 width)
{
    begin(name);
    cell("phandle", phandle);
    cell("#interrupt-cells", width);
    CHECK_EQ(fdt_property(blob, "interrupt-controller", NULL, 0), 0);
    end();
}

static void tree(void (*nodes)(void))
{
    CHECK_EQ(fdt_create(blob, sizeof(blob)), 0);
    CHECK_EQ(fdt_finish_reservemap(blob), 0);
    begin("");
    cell("interrupt-parent", PLIC);
    begin("cpu");
    CHECK_EQ(fdt_property_string(blob, "device_type", "cpu"), 0);
    controller("intc", HART, 1);
    end();
    controller("gic", GIC, 3);
    controller("plic", PLIC, 1);
    nodes();
    end();
    CHECK_EQ(fdt_finish(blob), 0);
    desc.fdt = blob;
    desc.fdt_size = fdt_totalsize(blob);
    desc.hash++; /* another tree */
}

static int at(const char *path)
{
    return fdt_path_offset(blob, path);
}

static struct machine_interrupt got[8];

static u32 of(const char *path)
{
    CHECK(at(path) >= 0);
    memset(got, 0xee, sizeof(got));
    return machine_interrupts(&desc, at(path), got, 8);
}

static void check(unsigned i, const char *where, u32 number)
{
    CHECK_EQ(got[i].controller, at(where));
    CHECK_EQ(got[i].number, number);
}

static void simple(void)
{
    begin("uart");
    CELLS("interrupts", 10, 11);
    end();
    begin("gic-device");
    cell("interrupt-parent", GIC);
    CELLS("interrupts", 0, 42, 4, 1, 43, 4);
    end();
    begin("bus");
    cell("interrupt-parent", GIC);
    begin("deep");
    CELLS("interrupts", 0, 7, 1);
    end();
    end();
    begin("silent");
    end();
}

/* 2.4.1.1 and 2.4.1.2: the parent is the node's own or the nearest one above that says; specifiers have its width. */
TEST(interrupts_and_their_parent)
{
    tree(simple);
    CHECK_EQ(of("/uart"), 2);
    check(0, "/plic", 10);
    check(1, "/plic", 11);
    CHECK_EQ(of("/gic-device"), 2);
    check(0, "/gic", 42);
    check(1, "/gic", 43);
    CHECK_EQ(of("/bus/deep"), 1);
    check(0, "/gic", 7);
    CHECK_EQ(of("/silent"), 0);
    CHECK_EQ(machine_interrupts(&desc, at("/uart"), NULL, 0), 2);
}

static void several(void)
{
    begin("both");
    CELLS("interrupts", 1);
    CELLS("interrupts-extended", GIC, 0, 9, 4, PLIC, 5, HART, 0xffffffff, HART, 11, 0, PLIC, 6);
    end();
    begin("short");
    CELLS("interrupts-extended", PLIC, 5, GIC, 0, 9);
    end();
    begin("unknown");
    CELLS("interrupts-extended", PLIC, 5, 77, 1, PLIC, 6);
    end();
}

/* 2.4.1.3: interrupts-extended wins, and each of its entries has the width of its own parent. */
TEST(extended)
{
    tree(several);
    CHECK_EQ(of("/both"), 6);
    check(0, "/gic", 9);
    check(1, "/plic", 5);
    CHECK_EQ(got[2].controller, -1); /* a context that is not wired */
    check(3, "/cpu/intc", 11);
    CHECK_EQ(got[4].controller, -1); /* no parent at all */
    check(5, "/plic", 6);
    CHECK_EQ(of("/short"), 1);
    CHECK_EQ(of("/unknown"), 1);
}

static void strange(void)
{
    begin("lost");
    cell("interrupt-parent", 99);
    CELLS("interrupts", 3, 4);
    end();
    begin("odd");
    CHECK_EQ(fdt_property(blob, "interrupts", "\0\0\0\1\0\0", 6), 0);
    end();
    begin("wide");
    cell("phandle", 50);
    cell("#interrupt-cells", 1000);
    end();
    begin("far");
    cell("interrupt-parent", 50);
    CELLS("interrupts", 3);
    end();
    begin("self");
    cell("phandle", 51);
    cell("interrupt-parent", 51);
    cell("#interrupt-cells", 1);
    CELLS("interrupts", 8);
    end();
}

/* Numbers are for the log then. */
TEST(what_makes_no_sense_goes_nowhere)
{
    tree(strange);
    CHECK_EQ(of("/lost"), 2);
    CHECK_EQ(got[0].controller, -1);
    CHECK_EQ(got[1].number, 4);
    CHECK_EQ(of("/odd"), 1);
    check(0, "/plic", 1);
    CHECK_EQ(of("/far"), 1);
    CHECK_EQ(got[0].controller, -1);
    CHECK_EQ(of("/self"), 1);
    check(0, "/self", 8);
}

TEST(harts)
{
    int cpu;

    tree(simple);
    CHECK(machine_is_hart(&desc, at("/cpu/intc"), &cpu));
    CHECK_EQ(cpu, at("/cpu"));
    CHECK(!machine_is_hart(&desc, at("/plic"), &cpu));
    CHECK(!machine_is_hart(&desc, at("/cpu"), &cpu));
    CHECK(!machine_is_hart(&desc, -1, &cpu));
}
