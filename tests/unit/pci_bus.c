/* The PCI bus against a model that is made otherwise: configuration, BARs, bridges; messages; what the others are told. */
#include "unit.h"

#include "pci_machine.h"

static u64 seed = 0x9e3779b97f4a7c15;

static u32 rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (u32)(seed >> 16);
}

static void start(const char *attach)
{
    char said[512];

    if (machine_with(attach, said, sizeof(said)))
        return;
    printf("# %s\n", said);
    CHECK(!"there is a machine");
    exit(1);
}

/* --- against the model --- */

/* Somewhere that matters: in a BAR, at its edges, in the host's windows, anywhere. */
static u64 some_address(bool io)
{
    unsigned i = rnd() % MODELS, bar = rnd() % 7;

    if (model[i].bar[bar].size && model[i].bar[bar].io == io && rnd() % 8) {
        u64 base = model_base(&model[i], bar), size = model[i].bar[bar].size;
        u64 addr = rnd() % 2 ? base + rnd() % size : rnd() % 2 ? base + size : base - 1;

        if (!io || addr < 0x10000)
            return addr;
    }
    if (io)
        return rnd() % 0x10000;
    return rnd() % 2 ? 0x40000000 + rnd() % 0x40000000 : 0x400000000 + rnd() % 0x1000000;
}

static bool in_memory_window(u64 addr)
{
    return range_has((struct range){0x40000000, 0x40000000}, addr) || range_has((struct range){0x400000000, 0x400000000}, addr);
}

static u32 some_value(unsigned reg)
{
    static const u32 values[] = {0, UINT32_MAX, 0x40000000, 0x40100000, 0x50000000, 0x7ffff000, 4, 0x40004000, 0x1000, 0x1010, 7, 3};

    if (reg == 4 && rnd() % 4)
        return 7;
    return rnd() % 4 ? values[rnd() % ARRAY_SIZE(values)] : rnd();
}

static void check_header(unsigned i)
{
    for (unsigned reg = 0; reg < 64; reg++) {
        u32 got = config_read(model[i].bus, model[i].devfn, reg, 1);

        if (got == model[i].space[reg])
            continue;
        printf("# function %u, register %#x\n", i, reg);
        CHECK_EQ(got, model[i].space[reg]);
    }
}

static void check_address(void)
{
    bool io = rnd() % 4 == 0;
    u64 addr = some_address(io);
    const char *wrong = !io && !in_memory_window(addr) ? NULL : model_agrees(io, addr);

    if (!wrong)
        return;
    printf("# %s at %#llx: %s\n", io ? "port" : "memory", (unsigned long long)addr, wrong);
    CHECK(!"the model agrees");
}

TEST(random_configuration)
{
    unsigned hits = 0;

    start(MODEL_ATTACH);
    model_start();
    for (unsigned n = 0; n < 20000 && !unit_failures; n++) {
        unsigned i = rnd() % MODELS, width = 1u << rnd() % 3, reg = rnd() % (64 / width) * width;
        u32 value = some_value(reg);

        /* bus numbers stay, so that the model finds its functions */
        if (model[i].is_bridge && reg + width > 0x18 && reg < 0x1b)
            continue;
        if (rnd() % 64 == 0) {
            reg = 0x44;
            value = rnd() % 2 ? 0 : rnd();
        }
        config_write(model[i].bus, model[i].devfn, reg, width, value);
        model_write(i, reg, width, value);
        check_header(i);
        for (unsigned k = 0; k < 8; k++)
            check_address();
        hits += model_answers(i, 0, false, model_base(&model[i], 0));
    }
    CHECK(hits > 1000);
}

TEST(as_firmware_left_it)
{
    start(MODEL_ATTACH);
    model_start();
    for (unsigned i = 0; i < MODELS; i++)
        for (unsigned bar = 0; bar < 7; bar++) {
            u64 base = model_base(&model[i], bar), size = model[i].bar[bar].size;

            if (!size || bar == 6)
                continue;
            CHECK(base != 0 && base % size == 0);
            CHECK(model_answers(i, bar, model[i].bar[bar].io, base));
            CHECK(model_agrees(model[i].bar[bar].io, base) == NULL);
            CHECK_EQ(model_passes(&model[0], model[i].bar[bar].io, base), model[i].bridge == 0);
            for (unsigned j = 0; j < MODELS; j++)
                for (unsigned other = 0; other < 6; other++)
                    if ((i != j || bar != other) && model[j].bar[other].size && model[j].bar[other].io == model[i].bar[bar].io)
                        CHECK(!range_overlaps((struct range){base, size},
                                              (struct range){model_base(&model[j], other), model[j].bar[other].size}));
        }
}

/* --- messages --- */

static u32 named(const char *name)
{
    for (u32 i = 0; i < bus.ndevices; i++)
        if (strcmp(bus.devices[i].dev.name, name) == 0)
            return i;
    CHECK(!"there is such a device");
    exit(1);
}

static void ask(u32 device, unsigned vector)
{
    struct bus_device *d = &bus.devices[device];

    bus_lock(d, &self);
    d->dev.host->irq(&d->dev, 1 + vector, true);
    bus_unlock(d, &self);
    requests();
}

#define VECTORS 70u

TEST(random_messages)
{
    bool masked[VECTORS], pending[VECTORS] = {false}, enabled = false, all_masked = false, master = false;
    u32 sent[VECTORS] = {0}, function, device, total = 0;

    start("pci:00:04.0=testdev,bar0=regs,msix=70");
    function = named("pci:00:04.0");
    device = named("pci:00:04.0:bar0");
    CHECK_EQ(config_read(0, 0x20, 0x4a, 2), VECTORS - 1);
    memset(masked, true, sizeof(masked));
    for (unsigned n = 0; n < 20000 && !unit_failures; n++) {
        unsigned v = rnd() % VECTORS;
        u32 control, pba;

        switch (rnd() % 8) {
        case 0:
            masked[v] = rnd() % 2;
            control = masked[v];
            reach(&view, 0x40001000 + 16 * v + 12, &control, 4, true);
            break;
        case 1:
            enabled = rnd() % 4;
            all_masked = rnd() % 4 == 0;
            config_write(0, 0x20, 0x4a, 2, (enabled ? 0x8000u : 0) | (all_masked ? 0x4000u : 0));
            break;
        case 2:
            master = rnd() % 4;
            config_write(0, 0x20, 4, 2, master ? 6 : 2);
            break;
        default:
            pending[v] = true;
            ask(device, v);
        }
        for (unsigned i = 0; i < VECTORS; i++) {
            if (pending[i] && enabled && master && !all_masked && !masked[i]) {
                sent[i]++;
                total++;
                pending[i] = false;
            }
            pending[i] = pending[i] && enabled;
            CHECK_EQ(irq_event_count(&bus, function, 1 + i), sent[i]);
        }
        reach(&view, 0x40001800 + v / 32 * 4, &pba, 4, false);
        CHECK_EQ(pba >> v % 32 & 1, pending[v]);
        CHECK_EQ(bus.functions->sends(bus.devices[device].function - 1u), enabled);
    }
    CHECK(total > 1000);
}

/* A vector that the function does not have is never sent, and does no harm. */
TEST(messages_that_are_not_there)
{
    u32 device;

    start("pci:00:04.0=testdev,bar0=regs,msix=3");
    device = named("pci:00:04.0:bar0");
    config_write(0, 0x20, 4, 2, 6);
    config_write(0, 0x20, 0x4a, 2, 0x8000);
    ask(device, 3);
    ask(device, 63);
    ask(device, 2047);
    ask(device, 2048);
    ask(device, 0x7fffffff);
    CHECK_EQ(irq_event_count(&bus, named("pci:00:04.0"), 4), 0);
}

/* --- what others see --- */

TEST(for_file_trees)
{
    struct pci_info info;
    struct pci_resource r;
    u8 bytes[64];
    int f;

    start(MODEL_ATTACH);
    CHECK_EQ(pci_functions(), 10);
    f = pci_function_at(1, 0);
    CHECK(f >= 0);
    pci_info((u32)f, &info);
    CHECK_EQ(info.bus, 1);
    CHECK_EQ(info.vendor, 0x1b36);
    CHECK_EQ(info.irq, 33);
    CHECK_EQ(info.config, ecam(1, 0, 0));
    CHECK_EQ(info.config_size, 4096);
    CHECK(info.there && !info.bridge && info.parent >= 0 && info.physical < 0);
    pci_resource((u32)f, 0, &r);
    CHECK_EQ(r.size, 4096);
    CHECK_EQ(r.flags, 0x40200);
    CHECK_EQ(r.machine, r.bus);
    pci_resource((u32)f, 1, &r);
    CHECK_EQ(r.flags, 0x40101);
    pci_resource((u32)f, 2, &r);
    CHECK_EQ(r.flags, 0x14220c);
    CHECK(r.machine >= 0x400000000);
    CHECK_EQ(pci_config_read((u32)f, 1, bytes, 5, &self), 5);
    CHECK_EQ(bytes[0], 0x1b);
    CHECK_EQ(pci_config_read((u32)f, 4090, bytes, 64, &self), 6);
    CHECK_EQ(pci_config_read((u32)f, 4096, bytes, 1, &self), 0);
    CHECK(pci_enabled((u32)f));
    pci_enable((u32)f, false, &self);
    CHECK(!pci_enabled((u32)f));
    CHECK_STR(pci_driver((u32)f), "");
    pci_bind((u32)f, "uio_pci_generic", &self);
    CHECK_STR(pci_driver((u32)f), "uio_pci_generic");
    pci_reset((u32)f, &self);
    CHECK_EQ(config_read(1, 0, 0x10, 4), 0);
    CHECK_EQ(pci_function_at(0, 0x31), -1); /* virtual, and not enabled */
    config_write(0, 0x30, 0x110, 2, 4);
    config_write(0, 0x30, 0x108, 2, 9);
    f = pci_function_at(0, 0x31);
    CHECK(f >= 0);
    pci_info((u32)f, &info);
    CHECK(info.physical == pci_function_at(0, 0x30) && info.device == 0x0005);
    CHECK_EQ(pci_function_at(7, 0), -1);
}

TEST(a_machine_that_is_refused)
{
    static const char *const bad[][2] = {
        {"pci:00:04.0=testdev,bar0=4K:64:io", "bad BAR"},
        {"pci:00:04.0=testdev,bar6=4K", "unknown option"},
        {"pci:00:04.0=testdev,msi=3", "out of range"},
        {"pci:00:04.0=testdev,bar0=4K,bar1=4K,bar2=4K,bar3=4K,bar4=4K,bar5=4K,msix=1", "no BAR is left"},
        {"pci:00:04.0=testdev,vfs=65", "out of range"},
        {"pci:00:1f.7=testdev;pci:00:1f.0=testdev,vfs=8", "virtual function would be where there is one"},
        {"pci:00:1f.0=testdev,vfs=8", "do not fit on the bus"},
        {"pci:00:01.0=bridge,bus=0", "bus"},
        {"pci:00:04.0=testdev,bar0=99999999999999999999", "bad"},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        char said[512];

        CHECK(!machine_with(bad[i][0], said, sizeof(said)));
        if (!strstr(said, bad[i][1]))
            printf("# %s: %s\n", bad[i][0], said);
        CHECK(strstr(said, bad[i][1]) != NULL);
    }
}
