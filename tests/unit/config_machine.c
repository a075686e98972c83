/* machine_parse and machine_load on blobs made here with libfdt: limits, damage, accessors, built-in maps. */
#include "unit.h"

#include <libfdt.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "config/machine.h"
#include "config/maps.h"

#define ROOM (3u << 20)

static struct machine_desc machine;
static _Alignas(8) char blob[ROOM];
static char text[1024];

static void tree_begin(void)
{
    CHECK_EQ(fdt_create(blob, ROOM), 0);
    CHECK_EQ(fdt_finish_reservemap(blob), 0);
    CHECK_EQ(fdt_begin_node(blob, ""), 0);
    fdt_property_u32(blob, "#address-cells", 2);
    fdt_property_u32(blob, "#size-cells", 2);
}

static size_t tree_end(void)
{
    CHECK_EQ(fdt_end_node(blob), 0);
    CHECK_EQ(fdt_finish(blob), 0);
    return fdt_totalsize(blob);
}

static void put_reg(u64 base, u64 size)
{
    fdt64_t reg[2] = {cpu_to_fdt64(base), cpu_to_fdt64(size)};

    CHECK_EQ(fdt_property(blob, "reg", reg, sizeof(reg)), 0);
}

static void put_node(const char *name, u64 base, u64 size)
{
    CHECK_EQ(fdt_begin_node(blob, name), 0);
    put_reg(base, size);
    CHECK_EQ(fdt_end_node(blob), 0);
}

/* The error, "" when there is none. */
static const char *parse(const void *data, size_t size)
{
    struct fmt error = FMT_INIT(text);
    int result = machine_parse(&machine, data, size, &error);

    CHECK_EQ(result == 0, error.len == 0);
    return fmt_end(&error);
}

static const char *load(const char *map)
{
    struct fmt error = FMT_INIT(text);
    int result = machine_load(&machine, map, &error);

    CHECK_EQ(result == 0, error.len == 0);
    return fmt_end(&error);
}

static bool says(const char *message, const char *part)
{
    if (strstr(message, part) && !strchr(message, '\n'))
        return true;
    printf("# message: %s\n", message);
    return false;
}

TEST(builtin_virt)
{
    static const struct machine_window want[] = {
        {.range = {0x100000, 0x1000}, .name = "test@100000", .compatible = "sifive,test1"},
        {.range = {0x101000, 0x1000}, .name = "rtc@101000", .compatible = "google,goldfish-rtc"},
        {.range = {0x2000000, 0x10000}, .name = "clint@2000000", .compatible = "sifive,clint0"},
        {.range = {0xc000000, 0x600000}, .name = "plic@c000000", .compatible = "sifive,plic-1.0.0"},
        {.range = {0x10000000, 0x1000}, .name = "uart@10000000", .compatible = "ns16550a"},
    };

    CHECK_STR(load("virt"), "");
    CHECK_EQ(machine.nbanks, 1);
    CHECK_EQ(machine.banks[0].range.base, 0x80000000);
    CHECK_EQ(machine.banks[0].range.size, 0x20000000);
    CHECK_STR(machine.banks[0].name, "memory@80000000");
    CHECK_EQ(machine.nwindows, 13);
    for (u32 i = 0; i < ARRAY_SIZE(want); i++) {
        CHECK_EQ(machine.windows[i].range.base, want[i].range.base);
        CHECK_EQ(machine.windows[i].range.size, want[i].range.size);
        CHECK_EQ(machine.windows[i].offset, 0);
        CHECK_STR(machine.windows[i].name, want[i].name);
        CHECK_STR(machine.windows[i].compatible, want[i].compatible);
    }
    for (u32 i = 0; i < 8; i++) {
        const struct machine_window *w = &machine.windows[ARRAY_SIZE(want) + i];
        struct mmioshim_node node = {&machine, w->node};
        u32 interrupt = 0;

        CHECK_EQ(w->range.base, 0x10001000 + i * 0x1000);
        CHECK_EQ(w->range.size, 0x1000);
        CHECK(machine_compatible(&machine, w, "virtio,mmio"));
        CHECK(node_property_u32(&node, "interrupts", &interrupt));
        CHECK_EQ(interrupt, i + 1);
    }
}

TEST(builtin_virt_low)
{
    u64 hash;

    CHECK_STR(load("virt"), "");
    hash = machine.hash;
    CHECK_STR(load("virt-low"), "");
    CHECK_EQ(machine.nbanks, 1);
    CHECK_EQ(machine.banks[0].range.base, 0x20000000);
    CHECK_EQ(machine.banks[0].range.size, 0x20000000);
    CHECK_EQ(machine.nwindows, 13);
    CHECK(machine.hash != hash);
    CHECK_EQ((uintptr_t)machine.fdt % 8, 0);
}

TEST(builtin_pc)
{
    static const char *const want[] = {"rtc@70", "post@80", "serial@3f8"};

    CHECK_STR(load("pc"), "");
    CHECK(machine.ioports);
    CHECK_EQ(machine.nwindows, 0);
    CHECK_EQ(machine.nports, ARRAY_SIZE(want));
    for (u32 i = 0; i < ARRAY_SIZE(want); i++)
        CHECK_STR(machine.windows[i].name, want[i]);
    CHECK_EQ(machine.windows[0].range.base, 0x70);
    CHECK_EQ(machine.windows[0].range.size, 2);
}

TEST(accessors)
{
    const struct machine_window *test, *uart;
    struct mmioshim_node node;
    u32 length = 77, value = 5;

    CHECK_STR(load("virt"), "");
    test = &machine.windows[0];
    uart = &machine.windows[4];
    CHECK(machine_compatible(&machine, test, "sifive,test1"));
    CHECK(machine_compatible(&machine, test, "sifive,test0"));
    CHECK(machine_compatible(&machine, test, "syscon"));
    CHECK(!machine_compatible(&machine, test, "sifive,test"));
    CHECK(!machine_compatible(&machine, uart, "syscon"));
    node = (struct mmioshim_node){&machine, uart->node};
    CHECK(node_property_u32(&node, "interrupts", &value));
    CHECK_EQ(value, 10);
    CHECK(!node_property_u32(&node, "reg", &value));
    CHECK(!node_property_u32(&node, "reg-shift", &value));
    CHECK_EQ(value, 10);
    CHECK_STR(node_property(&node, "compatible", &length), "ns16550a");
    CHECK_EQ(length, 9);
    CHECK(!node_property(&node, "no-such", &length));
    CHECK_EQ(length, 0);
    CHECK(node_property(&node, "compatible", NULL) != NULL);
}

TEST(hash_is_fnv1a)
{
    u64 hash = 14695981039346656037u;

    tree_begin();
    put_node("a@1000", 0x1000, 4);
    CHECK_STR(parse(blob, tree_end()), "");
    for (u32 i = 0; i < machine.fdt_size; i++)
        hash = (hash ^ (u8)blob[i]) * 1099511628211u;
    CHECK_EQ(machine.hash, hash);
    /* bytes behind the blob do not count */
    CHECK_STR(parse(blob, fdt_totalsize(blob) + 100), "");
    CHECK_EQ(machine.hash, hash);
    CHECK_EQ(machine.fdt_size, fdt_totalsize(blob));
}

/* Every prefix of a blob is refused, and nothing behind it is read: it ends at a page that cannot be. */
TEST(truncated)
{
    const struct builtin_map *map = builtin_map_find("virt");
    char *pages = mmap(NULL, 8192 + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(map && map->size <= 8192);
    CHECK_EQ(mprotect(pages + 8192, 4096, PROT_NONE), 0);
    for (size_t n = 0; n < map->size; n += n % 8 == 7 ? 1 : 7) {
        char *start = pages + 8192 - (n + 7) / 8 * 8;

        memcpy(start, map->blob, n);
        CHECK(says(parse(start, n), "not a usable device tree blob: "));
    }
}

static void set_header(unsigned word, u32 value)
{
    ((fdt32_t *)(void *)blob)[word] = cpu_to_fdt32(value);
}

TEST(damaged_header)
{
    static const struct { unsigned word; u32 value; const char *part; } cases[] = {
        {0, 0xd00dfeee, "no FDT magic"}, {1, 0xffffffff, "truncated"}, {1, 20, "not a usable"},
        {2, 0xfffffff0, "not a usable"}, {3, 0xfffffff0, "the strings lie outside"},
        {5, 16, "version 16; allowed: 17"}, {6, 18, "not a usable"}, {8, 0x7fffffff, "the strings lie outside"},
        {9, 0xffffffff, "not a usable"}, {4, 0xffffff00, "not a usable"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t size;

        tree_begin();
        put_node("a@1000", 0x1000, 4);
        size = tree_end();
        CHECK_STR(parse(blob, size), "");
        set_header(cases[i].word, cases[i].value);
        CHECK(says(parse(blob, size), cases[i].part));
    }
}

TEST(misaligned)
{
    size_t size;

    tree_begin();
    put_node("a@1000", 0x1000, 4);
    size = tree_end();
    memmove(blob + 4, blob, size);
    CHECK(says(parse(blob + 4, size), "not on an 8-byte boundary"));
}

TEST(too_large)
{
    static char filler[MACHINE_MAX_FDT];

    tree_begin();
    fdt_property(blob, "filler", filler, sizeof(filler));
    CHECK(says(parse(blob, tree_end()), "larger than 2 MiB"));
}

TEST(long_property_name)
{
    char name[300];

    memset(name, 'x', sizeof(name));
    name[256] = 0;
    tree_begin();
    fdt_property_u32(blob, name, 1);
    CHECK(says(parse(blob, tree_end()), "longer than 255 bytes"));
}

static const char *nest(int levels)
{
    tree_begin();
    put_node("a@1000", 0x1000, 4);
    for (int i = 1; i < levels; i++)
        fdt_begin_node(blob, "bus");
    for (int i = 1; i < levels; i++)
        fdt_end_node(blob);
    return parse(blob, tree_end());
}

TEST(depth)
{
    CHECK_STR(nest(32), "");
    CHECK(says(nest(33), "nested too deep; allowed: 32"));
    CHECK(says(nest(100000), "nested too deep"));
}

static const char *many_windows(unsigned count)
{
    tree_begin();
    for (unsigned i = 0; i < count; i++) {
        char name[32];
        /* a step that is coprime to the count shuffles them */
        u64 base = 0x10000 + (u64)(i * 2749 % count) * 0x10;

        snprintf(name, sizeof(name), "d@%llx", (unsigned long long)base);
        put_node(name, base, 0x10);
    }
    return parse(blob, tree_end());
}

TEST(window_limit)
{
    CHECK_STR(many_windows(MACHINE_WINDOWS), "");
    CHECK_EQ(machine.nwindows, MACHINE_WINDOWS);
    for (u32 i = 0; i < MACHINE_WINDOWS; i++) {
        char name[32];

        CHECK_EQ(machine.windows[i].range.base, 0x10000 + i * 0x10);
        snprintf(name, sizeof(name), "d@%x", 0x10000 + i * 0x10);
        CHECK_STR(machine.windows[i].name, name);
    }
    CHECK(says(many_windows(MACHINE_WINDOWS + 1), "too many windows; allowed: 4096"));
}

/* 4095 entries inside one window cut it into as many pieces again: more than the limit. */
TEST(piece_limit)
{
    tree_begin();
    fdt_begin_node(blob, "syscon@0");
    put_reg(0, 0x100000);
    fdt_property_u32(blob, "#address-cells", 2);
    fdt_property_u32(blob, "#size-cells", 2);
    fdt_property(blob, "ranges", NULL, 0);
    for (u64 i = 0; i < 4000; i++)
        put_node("d", 0x20 * i + 0x10, 4);
    fdt_end_node(blob);
    CHECK(says(parse(blob, tree_end()), "node syscon@0: too many windows; allowed: 4096"));
}

/* Windows of memory and of ports share the limit. */
TEST(port_limit)
{
    for (u32 extra = 0; extra < 2; extra++) {
        tree_begin();
        for (u32 i = 0; i < MACHINE_WINDOWS - 1; i++)
            put_node("w", 0x10000 + i * 0x10, 0x10);
        CHECK_EQ(fdt_begin_node(blob, "io"), 0);
        CHECK_EQ(fdt_property_string(blob, "compatible", "mmioshim,ioports"), 0);
        fdt_property_u32(blob, "#address-cells", 2);
        fdt_property_u32(blob, "#size-cells", 2);
        for (u32 i = 0; i <= extra; i++)
            put_node("p", i, 1);
        CHECK_EQ(fdt_end_node(blob), 0);
        if (extra) {
            CHECK(says(parse(blob, tree_end()), "node p: too many windows; allowed: 4096"));
            continue;
        }
        CHECK_STR(parse(blob, tree_end()), "");
        CHECK_EQ(machine.nwindows, MACHINE_WINDOWS - 1);
        CHECK_EQ(machine.nports, 1);
    }
}

TEST(bank_limit)
{
    for (int extra = 0; extra < 2; extra++) {
        tree_begin();
        for (int i = 0; i < MACHINE_BANKS + extra; i++)
            put_node("memory", 0x80000000 - (u64)i * 0x10000, 0x1000);
        if (extra) {
            CHECK(says(parse(blob, tree_end()), "too many banks of RAM; allowed: 32"));
            continue;
        }
        CHECK_STR(parse(blob, tree_end()), "");
        CHECK_EQ(machine.nbanks, MACHINE_BANKS);
        for (u32 i = 1; i < machine.nbanks; i++)
            CHECK_EQ(machine.banks[i].range.base - machine.banks[i - 1].range.base, 0x10000);
    }
}

/* A tree that would take 2^32 steps to translate is refused in little time. */
TEST(translation_work)
{
    static fdt32_t ranges[3 * 20000], reg[2 * 20000];
    struct timespec before, after;

    for (u32 i = 0; i < 20000; i++) {
        ranges[3 * i] = ranges[3 * i + 1] = cpu_to_fdt32(i);
        ranges[3 * i + 2] = cpu_to_fdt32(1);
        reg[2 * i] = cpu_to_fdt32(0x7fffffff);
        reg[2 * i + 1] = cpu_to_fdt32(1);
    }
    tree_begin();
    fdt_begin_node(blob, "outer");
    fdt_property(blob, "ranges", NULL, 0);
    fdt_property_u32(blob, "#address-cells", 1);
    fdt_property_u32(blob, "#size-cells", 1);
    fdt_begin_node(blob, "inner");
    fdt_property_u32(blob, "#address-cells", 1);
    fdt_property_u32(blob, "#size-cells", 1);
    fdt_property(blob, "ranges", ranges, sizeof(ranges));
    fdt_begin_node(blob, "victim");
    fdt_property(blob, "reg", reg, sizeof(reg));
    for (int i = 0; i < 3; i++)
        fdt_end_node(blob);
    clock_gettime(CLOCK_MONOTONIC, &before);
    CHECK(says(parse(blob, tree_end()), "node victim: translating addresses through ranges takes too long"));
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK(after.tv_sec - before.tv_sec < 5);
}

TEST(names)
{
    char name[80], part[100];

    memset(name, 'n', sizeof(name));
    name[63] = 0;
    tree_begin();
    put_node(name, 0x1000, 4);
    CHECK_STR(parse(blob, tree_end()), "");
    CHECK_STR(machine.windows[0].name, name);
    name[63] = 'n';
    name[64] = 0;
    tree_begin();
    put_node(name, 0x1000, 4);
    snprintf(part, sizeof(part), "node %.63s...: name too long; allowed: 63", name);
    CHECK(says(parse(blob, tree_end()), part));
    tree_begin();
    put_node("forged\n[EXIT]@0", 0x1000, 4);
    CHECK(says(parse(blob, tree_end()), "does not print"));
    tree_begin();
    put_node("", 0x1000, 4);
    CHECK(says(parse(blob, tree_end()), "a node without a name"));
}

/* The second window's ":1" has no room in a name that is just short enough. */
TEST(name_with_suffix)
{
    fdt64_t reg[4] = {cpu_to_fdt64(0x1000), cpu_to_fdt64(4), cpu_to_fdt64(0x2000), cpu_to_fdt64(4)};
    char name[64];

    for (int length = 61; length <= 62; length++) {
        memset(name, 'n', sizeof(name));
        name[length] = 0;
        tree_begin();
        fdt_begin_node(blob, name);
        fdt_property(blob, "reg", reg, sizeof(reg));
        fdt_end_node(blob);
        if (length == 61)
            CHECK_STR(parse(blob, tree_end()), "");
        else
            CHECK(says(parse(blob, tree_end()), "the name of its window is too long"));
    }
}

/* Of a property that is there twice the first counts, here as in libfdt's own look-ups. */
TEST(repeated_property)
{
    tree_begin();
    fdt_begin_node(blob, "a@1000");
    put_reg(0x1000, 4);
    put_reg(0x2000, 4);
    fdt_end_node(blob);
    CHECK_STR(parse(blob, tree_end()), "");
    CHECK_EQ(machine.nwindows, 1);
    CHECK_EQ(machine.windows[0].range.base, 0x1000);
}

TEST(compatible_for_display)
{
    tree_begin();
    fdt_begin_node(blob, "a@1000");
    put_reg(0x1000, 4);
    fdt_property(blob, "compatible", "bad\nline\0second", 16);
    fdt_end_node(blob);
    fdt_begin_node(blob, "b@2000");
    put_reg(0x2000, 4);
    fdt_property(blob, "compatible", "open", 4);
    fdt_end_node(blob);
    CHECK_STR(parse(blob, tree_end()), "");
    CHECK_STR(machine.windows[0].compatible, "bad?line");
    CHECK(machine_compatible(&machine, &machine.windows[0], "second"));
    CHECK_STR(machine.windows[1].compatible, "");
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");

    CHECK(file && fwrite(data, 1, size, file) == size);
    if (file)
        fclose(file);
}

TEST(files)
{
    char directory[] = "/tmp/mmioshim-unit-XXXXXX";
    size_t size;

    CHECK(mkdtemp(directory) && chdir(directory) == 0);
    tree_begin();
    put_node("a@1000", 0x1000, 4);
    size = tree_end();
    write_file("good.dtb", blob, size);
    write_file("noname", blob, size);
    write_file("cut.dtb", blob, size - 8);
    write_file("empty.dtb", "", 0);
    write_file("text.dts", "/dts-v1/;\n", 10);
    write_file("text", "/dts-v1/;\n", 10);
    write_file("other.dtb", "hello, world", 12);
    CHECK_STR(load("good.dtb"), "");
    CHECK_EQ(machine.nwindows, 1);
    CHECK_STR(load("noname"), "");
    CHECK_STR(load("cut.dtb"), "cut.dtb: not a usable device tree blob: truncated");
    CHECK(says(load("empty.dtb"), "empty.dtb: not a device tree blob (no FDT magic); allowed: virt, virt-low,"));
    CHECK(says(load("text.dts"), "text.dts: device tree source, not a blob; use `mmioshim run -m FILE.dts`"));
    CHECK(says(load("text"), "text: device tree source"));
    CHECK(says(load("other.dtb"), "no FDT magic"));
    CHECK(says(load("none.dtb"), "none.dtb: cannot be read: ENOENT (no such file or directory); allowed: virt"));
    CHECK(says(load("vitr"), "vitr: neither a built-in map nor a file; allowed: virt, virt-low"));
    CHECK(says(load("."), "EISDIR (is a directory)"));
    CHECK(says(load("good.dtb/x"), "ENOTDIR (not a directory)"));
    CHECK(says(load("line\nbreak"), "line?break: "));
    CHECK_EQ(chdir("/"), 0);
    snprintf(text, sizeof(text), "rm -rf %s", directory);
    CHECK_EQ(system(text), 0);
}
