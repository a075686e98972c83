/* The table of device models: complete, consistent, and found from a device tree. */
#include "device_mock.h"

#include <libfdt.h>

#include "backends/backend.h"
#include "config/machine.h"

static void check_registers(const struct mmioshim_class *class)
{
    for (unsigned i = 0; i < class->nregisters; i++) {
        const struct mmioshim_register *reg = &class->registers[i];

        CHECK(i == 0 || reg->offset >= reg[-1].offset);
        CHECK(reg->name && *reg->name && reg->doc && *reg->doc);
        CHECK(reg->width == 1 || reg->width == 2 || reg->width == 4 || reg->width == 8);
        CHECK(class->widths & reg->width);
        /* What is plugged into a slot may need more of a window than the slot alone. */
        CHECK(reg->offset + reg->width <= class->min_size || (class->plug && reg->view));
        CHECK(reg->access <= MMIOSHIM_WO);
        for (unsigned f = 0; f < reg->nfields; f++) {
            CHECK(reg->fields[f].width > 0 && reg->fields[f].lsb + reg->fields[f].width <= 8 * reg->width);
            CHECK(f == 0 || reg->fields[f].lsb >= reg->fields[f - 1].lsb + reg->fields[f - 1].width);
        }
    }
}

TEST(classes_are_complete)
{
    CHECK_EQ(device_class_count, 18);
    for (u32 i = 0; i < device_class_count; i++) {
        const struct mmioshim_class *class = device_classes[i];

        CHECK_EQ(class->api, MMIOSHIM_DEVICE_API);
        CHECK(class->name && class->label && class->description && class->compatible);
        CHECK(class->read && class->write && class->reset && class->version);
        CHECK(!class->load == !class->save || class->load);
        CHECK(class == &class_unimplemented || class->min_size > 0);
        check_registers(class);
        for (const char *const *kind = class->backends; kind && *kind; kind++)
            CHECK(backend_kind(*kind, strlen(*kind)));
    }
}

TEST(names_are_unique)
{
    for (u32 i = 0; i < device_class_count; i++) {
        const struct mmioshim_class *class = device_classes[i];

        CHECK(class_by_name(class->name) == class);
        for (const char *const *s = class->compatible; *s; s++) {
            CHECK(class_by_compatible(*s) == class);
            CHECK(class_by_name(*s) == class);
        }
        CHECK_EQ(class_number(class), i);
        CHECK(class_by_number(i) == class);
    }
}

TEST(labels)
{
    CHECK_STR(class_ns16550a.label, "UART");
    CHECK_STR(class_scratch.label, "SCRATCH");
    CHECK_STR(class_sifive_test.label, "TEST");
    CHECK_STR(class_goldfish_rtc.label, "RTC");
    CHECK_STR(class_bcm2835_gpio.label, "GPIO");
    CHECK_STR(class_flash.label, "FLASH");
    CHECK_STR(class_mc146818.label, "RTC");
    CHECK_STR(class_virtio_mmio.label, "VIRTIO");
    CHECK_STR(class_sifive_plic.label, "PLIC");
    CHECK_STR(class_sifive_clint.label, "CLINT");
    CHECK_STR(class_unimplemented.label, "UNIMPLEMENTED");
}

TEST(unknown_ones)
{
    static const struct mmioshim_class foreign = {.name = "foreign"};

    CHECK(class_by_compatible("sifive,clint") == NULL);
    CHECK(class_by_compatible("ns16550") == &class_ns16550a);
    CHECK(class_by_compatible("") == NULL);
    CHECK(class_by_name("uart") == NULL);
    CHECK(class_by_number(device_class_count) == &class_unimplemented);
    CHECK(class_by_number(UINT32_MAX) == &class_unimplemented);
    CHECK_EQ(class_number(&foreign), 0);
    CHECK_EQ(class_number(&class_unimplemented), 0);
}

TEST(unimplemented_has_no_register)
{
    static struct mock m;
    u64 value;

    CHECK(mock_create(&m, &class_unimplemented, 0x1000, NULL) == NULL);
    for (unsigned width = 1; width <= 8; width *= 2) {
        CHECK_EQ(rd_status(&m, 0, width, &value), MMIOSHIM_NO_REGISTER);
        CHECK_EQ(wr_status(&m, 0xff8, width, 1), MMIOSHIM_NO_REGISTER);
    }
}

static u8 blob[8192];
static struct machine_desc machine;
static u64 next_address;

static void node(const char *name, const char *compatible, int length)
{
    fdt32_t reg[2] = {cpu_to_fdt32((u32)next_address), cpu_to_fdt32(0x1000)};

    next_address += 0x1000;
    CHECK_EQ(fdt_begin_node(blob, name), 0);
    if (compatible)
        CHECK_EQ(fdt_property(blob, "compatible", compatible, length), 0);
    CHECK_EQ(fdt_property(blob, "reg", reg, sizeof(reg)), 0);
    CHECK_EQ(fdt_end_node(blob), 0);
}

static void begin_tree(void)
{
    CHECK_EQ(fdt_create(blob, sizeof(blob)), 0);
    CHECK_EQ(fdt_finish_reservemap(blob), 0);
    CHECK_EQ(fdt_begin_node(blob, ""), 0);
    CHECK_EQ(fdt_property_u32(blob, "#address-cells", 1), 0);
    CHECK_EQ(fdt_property_u32(blob, "#size-cells", 1), 0);
    next_address = 0x10000000;
}

static void end_tree(void)
{
    char text[256];
    struct fmt error = FMT_INIT(text);

    CHECK_EQ(fdt_end_node(blob), 0);
    CHECK_EQ(fdt_finish(blob), 0);
    if (machine_parse(&machine, blob, sizeof(blob), &error)) {
        printf("# %s\n", fmt_end(&error));
        CHECK(!"the tree is read");
    }
}

#define NODE(name, compatible) node(name, compatible, sizeof(compatible))

TEST(windows_get_their_class)
{
    static const struct mmioshim_class *const want[] = {
        &class_ns16550a,      &class_ns16550a,      &class_sifive_test,   &class_virtio_mmio, &class_unimplemented,
        &class_unimplemented, &class_unimplemented, &class_unimplemented, &class_scratch,
    };

    begin_tree();
    NODE("serial@10000000", "ns16550a");
    NODE("serial@10001000", "acme,uart-3\0acme,uart\0ns16550a"); /* a later string matches */
    NODE("test@10002000", "sifive,test1\0sifive,test0\0syscon");
    NODE("first@10003000", "virtio,mmio\0ns16550a"); /* the first that is modelled */
    NODE("gpio@10004000", "sifive,gpio0\0sifive,gpio");
    node("bare@10005000", NULL, 0);
    node("empty@10006000", "", 0);
    NODE("near@10007000", "ns16550aa");
    NODE("scratch@10008000", "mmioshim,scratch");
    end_tree();
    CHECK_EQ(machine.nwindows, ARRAY_SIZE(want));
    for (u32 i = 0; i < ARRAY_SIZE(want) && i < machine.nwindows; i++)
        CHECK_STR(class_for_window(&machine, &machine.windows[i])->name, want[i]->name);
}
