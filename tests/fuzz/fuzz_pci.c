/*
 * Fuzzer of the PCI bus: an input is a program for a hostile driver, which writes any configuration register through
 * either door, moves BARs, turns bridges, resets functions, raises interrupts, sends messages and moves data. After
 * each step headers must read as the model of tests/unit/pci_machine.h has them, and addresses lead where it allows.
 *
 * libFuzzer: clang -fsanitize=fuzzer,address. Alone, built with -DSTANDALONE: fuzz_pci RUNS SEED [FILE...].
 */
#include "../unit/pci_machine.h"

#include "memory/dma.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MORE ";pci:00:07.0=testdev,bar0=regs,msix=5;pci:00:08.0=testdev,bar0=regs,msi=8,express;pci:00:09.0=virtio-rng"

static u64 steps, hits;

static void require(const char *wrong, u64 where)
{
    if (!wrong)
        return;
    fprintf(stderr, "fuzz_pci: at %#llx: %s\n", (unsigned long long)where, wrong);
    abort();
}

static void make_machine(void)
{
    static bool made;
    char said[512];

    if (!made && !machine_with(MODEL_ATTACH MORE, said, sizeof(said)))
        require(said, 0);
    if (!made)
        dma_start(&machine, &view);
    made = true;
    bus_reset(&bus, &self);
    requests();
    for (unsigned i = 0; i < MODELS; i++)
        model[i].power = 0;
    model_start();
}

struct input {
    const uint8_t *p, *end;
};

static u32 take(struct input *in, unsigned bytes)
{
    u32 value = 0;

    for (unsigned i = 0; i < bytes && in->p < in->end; i++)
        value |= (u32)*in->p++ << 8 * i;
    return value;
}

/* Values that make a difference, and any others. */
static u32 some_value(struct input *in)
{
    static const u32 values[] = {0, UINT32_MAX, 7, 0x40000000, 0x40100000, 0x7ffff000, 4, 0x40004000, 0x1010, 0x8000, 0x0b, 0x50000000};
    u32 kind = take(in, 1);

    return kind < 200 ? values[kind % ARRAY_SIZE(values)] : take(in, 4);
}

/* --- configuration --- */

static void resync(unsigned i)
{
    for (unsigned reg = 0; reg < 64; reg++)
        model[i].space[reg] = (u8)config_read(model[i].bus, model[i].devfn, reg, 1);
}

static void write_somehow(u8 bus_number, u8 devfn, unsigned reg, unsigned width, u32 value, u32 way)
{
    u32 address = 0x80000000 | (u32)bus_number << 16 | (u32)devfn << 8 | (reg & 0xfc);
    int f = pci_function_at(bus_number, devfn);

    if (way % 3 == 0 && reg < 256) {
        reach(&ports, 0xcf8, &address, 4, true);
        reach(&ports, 0xcfc + (reg & 3), &value, width, true);
    } else if (way % 3 == 1 && f >= 0) {
        pci_config_write((u32)f, reg, &value, width, &self);
        requests();
    } else {
        config_write(bus_number, devfn, reg, width, value);
    }
}

static void configure(struct input *in)
{
    unsigned who = take(in, 1) % (MODELS + 6), width = 1u << take(in, 1) % 3, reg = take(in, 2);
    u8 bus_number = 0, devfn;
    u32 way = take(in, 1), value = some_value(in);

    reg = reg & 0x8000 ? reg % 4096 : reg % 96;
    reg -= reg % width;
    if (who >= MODELS) {
        devfn = who < MODELS + 5 ? (u8)((who - MODELS + 6) << 3) : (u8)take(in, 1);
        if (devfn == 8 || devfn == 0x20 || devfn == 0x28)
            return;
        write_somehow(bus_number, devfn, reg, width, value, way);
        return;
    }
    if (model[who].is_bridge && reg + width > 0x18 && reg < 0x1b)
        return; /* bus numbers stay, so that the model finds its functions */
    write_somehow(model[who].bus, model[who].devfn, reg, width, value, way);
    model_write(who, reg, width, value);
    if (reg >= 64)
        resync(who); /* it may have been reset */
}

/* --- everything else --- */

static u64 some_address(struct input *in, bool io)
{
    unsigned i = take(in, 1) % MODELS, bar = take(in, 1) % 7;
    u32 more = take(in, 4);
    u64 addr = model_base(&model[i], bar) + (more & 0x80000000 ? more % 0x1000 : more % 32) - 8;

    if (model[i].bar[bar].size && model[i].bar[bar].io == io && take(in, 1) % 8)
        return io ? addr & 0xffff : addr;
    return io ? more & 0xffff : more & 1 ? 0x40000000 + more % 0x40000000 : 0x400000000 + more;
}

static bool of_the_bus(u64 addr)
{
    return addr - 0x40000000 < 0x40000000 || addr - 0x400000000 < 0x400000000;
}

static void look(struct input *in)
{
    bool io = take(in, 1) % 4 == 0;
    u64 addr = some_address(in, io), value = 0;

    if (!io && !of_the_bus(addr))
        return;
    require(model_agrees(io, addr), addr);
    hits += view_find(io ? &ports : &view, addr).index >= machine_fixed(&desc);
    reach(io ? &ports : &view, addr, &value, 1u << take(in, 1) % 4, take(in, 1) & 1);
}

/* Registers of a function that has some, wherever its BAR is. */
static void use_registers(struct input *in)
{
    static const char *const names[] = {"pci:00:07.0:bar0", "pci:00:08.0:bar0", "pci:00:07.0:bar1", "pci:00:09.0:bar4", "pci:00:09.0:bar1"};
    const char *name = names[take(in, 1) % ARRAY_SIZE(names)];
    u64 offset = take(in, 2), value = some_value(in);
    struct bus_note note;

    for (u32 i = 0; i < bus.ndevices; i++) {
        struct bus_device *d = &bus.devices[i];

        if (strcmp(d->dev.name, name) != 0)
            continue;
        offset = (offset & 0x8000 ? offset : offset % 64) % (d->dev.size - 8) & ~3ull;
        bus_lock(d, &self);
        bus_access(&bus, d, offset, &value, 4, take(in, 1) & 1, &note);
        bus_unlock(d, &self);
        requests();
    }
}

static void check_headers(void)
{
    for (unsigned i = 0; i < MODELS; i++)
        for (unsigned reg = 0; reg < 64; reg += 4)
            if (config_read(model[i].bus, model[i].devfn, reg, 4) != word(&model[i].space[reg]))
                require("a header reads as it should not", i << 8 | reg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};

    make_machine();
    while (in.p < in.end) {
        switch (take(&in, 1) % 4) {
        case 0:
        case 1:
            configure(&in);
            break;
        case 2:
            look(&in);
            break;
        case 3:
            use_registers(&in);
            break;
        }
        steps++;
    }
    check_headers();
    return 0;
}

#ifdef STANDALONE
static u64 state;

static u8 next_random(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (u8)(state >> 56);
}

static size_t load(const char *path, u8 *input, size_t size)
{
    FILE *f = fopen(path, "rb");
    size_t n;

    if (!f) {
        perror(path);
        exit(2);
    }
    n = fread(input, 1, size, f);
    fclose(f);
    return n;
}

int main(int argc, char **argv)
{
    unsigned long runs = argc > 1 ? strtoul(argv[1], NULL, 0) : 10000;
    static u8 input[512];

    state = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
    for (unsigned long run = 0; run < runs; run++) {
        size_t n = argc > 3 ? load(argv[3 + run % (unsigned long)(argc - 3)], input, sizeof(input)) : sizeof(input);

        for (size_t i = 0; i < n && argc <= 3; i++)
            input[i] = next_random();
        LLVMFuzzerTestOneInput(input, n);
    }
    printf("fuzz_pci: %lu runs, %llu steps, %llu addresses that a BAR answers\n", runs, (unsigned long long)steps,
           (unsigned long long)hits);
    return runs >= 1000 && hits < steps / 100;
}
#endif
