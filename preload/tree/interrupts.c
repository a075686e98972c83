/*
 * /proc/interrupts: the machine's interrupt lines that go to a controller, and how often each was raised (bus/irq.h).
 * Source: Linux, kernel/irq/proc.c, show_interrupts.
 */
#include "base/mem.h"
#include "config/interrupts.h"
#include "pci/pci.h"
#include "tree/parts.h"

#define MOST_LINES 64
#define PRECISION  3 /* of up to 999 interrupts */

static const struct machine_desc *desc(void)
{
    return tree_machine->desc;
}

struct source {
    u32 device, line, number;
    int controller; /* its node, -1: not known */
    int function;   /* of PCI, -1: none */
};

static void pad(struct fmt *text, u64 value, unsigned width)
{
    char digits[24];
    struct fmt d = FMT_INIT(digits);

    fmt_dec(&d, value);
    for (size_t i = d.len; i < width; i++)
        fmt_char(text, ' ');
    fmt_mem(text, digits, d.len);
}

static void pad_right(struct fmt *text, const char *word, size_t length, unsigned width)
{
    fmt_mem(text, word, length);
    for (size_t i = length; i < width; i++)
        fmt_char(text, ' ');
}

static const struct arena_wire *wire_of(const struct source *s)
{
    return &arena_wires(tree_machine->arena, s->device)[s->line];
}

/* What Linux calls it; others by the node's own name. */
static void chip_name(struct fmt *text, int controller)
{
    struct mmioshim_node node = {desc(), controller};
    static const struct { const char *compatible, *name; } chips[] = {
        {"sifive,plic-1.0.0", "SiFive PLIC"}, {"riscv,plic0", "SiFive PLIC"},
        {"arm,gic-400", "GICv2"}, {"arm,cortex-a15-gic", "GICv2"}, {"arm,gic-v3", "GICv3"},
    };
    u32 length = 0;
    const char *have = node_property(&node, "compatible", &length);

    for (unsigned i = 0; have && i < ARRAY_SIZE(chips); i++)
        if (length > strlen(chips[i].compatible) && strcmp(have, chips[i].compatible) == 0) {
            fmt_str(text, chips[i].name);
            return;
        }
    fmt_str(text, have && length && !have[length - 1] ? have : "-");
}

/* The node of the machine's first interrupt controller, -1: it has none. */
static int first_controller(void)
{
    for (u32 i = 0; i < desc()->nwindows; i++) {
        struct mmioshim_node node = {desc(), desc()->windows[i].node};

        if (node_property(&node, "interrupt-controller", NULL))
            return node.node;
    }
    return -1;
}

/* Pins of PCI functions: their interrupts are those of the host's interrupt-map. */
static u32 gather_pci(u32 number, u32 next, struct source *out, u32 *count)
{
    int controller = pci_functions() ? first_controller() : -1;
    struct pci_info info;

    for (u32 f = 0; f < pci_functions(); f++) {
        pci_info(f, &info);
        if (!info.there || !info.irq)
            continue;
        if (info.irq == number && *count < MOST_LINES)
            out[(*count)++] = (struct source){info.bus_device, 0, number, controller, (int)f};
        else if (info.irq > number)
            next = MIN(next, info.irq);
    }
    return next;
}

/* The sources of one number; returns the next higher one, or UINT32_MAX. */
static u32 gather(u32 number, struct source *out, u32 *count)
{
    struct machine_interrupt list[MOST_LINES];
    u32 next = UINT32_MAX;
    int cpu;

    *count = 0;
    for (u32 i = 0; i < machine_devices(desc()); i++) {
        const struct arena_device *d = &arena_devices(tree_machine->arena)[i];
        u32 n = d->nwires ? machine_interrupts(desc(), desc()->windows[i].node, list, MOST_LINES) : 0;

        for (u32 line = 0; line < MIN(n, MIN(d->nwires, MOST_LINES)); line++) {
            if (list[line].controller < 0 || machine_is_hart(desc(), list[line].controller, &cpu))
                continue;
            if (list[line].number == number && *count < MOST_LINES)
                out[(*count)++] = (struct source){i, line, number, list[line].controller, -1};
            else if (list[line].number > number)
                next = MIN(next, list[line].number);
        }
    }
    return gather_pci(number, next, out, count);
}

static void source_name(struct fmt *text, const struct source *s)
{
    const struct machine_window *w = &desc()->windows[s->device];
    struct pci_info info;

    if (s->function < 0) {
        fmt_mem(text, w->name, resources_node_name(w));
        return;
    }
    pci_info((u32)s->function, &info);
    fmt_str(text, "0000:");
    fmt_hexpad(text, info.bus, 2);
    fmt_char(text, ':');
    fmt_hexpad(text, info.devfn >> 3, 2);
    fmt_printf(text, ".%u", info.devfn & 7u);
}

static void interrupt_line(struct fmt *text, const struct source *s, u32 n, u32 cpus)
{
    const char *kind = wire_of(s)->edge ? "Edge" : "Level";
    char chip[MACHINE_NAME];
    struct fmt c = FMT_INIT(chip);
    u64 count = 0;

    for (u32 i = 0; i < n; i++)
        count += __atomic_load_n(&wire_of(&s[i])->count, __ATOMIC_RELAXED);
    pad(text, s->number, PRECISION);
    fmt_char(text, ':');
    for (u32 cpu = 0; cpu < cpus; cpu++) {
        fmt_char(text, ' ');
        pad(text, cpu ? 0 : count, 10);
    }
    fmt_char(text, ' ');
    chip_name(&c, s->controller);
    for (size_t i = c.len; i < 8; i++)
        fmt_char(text, ' ');
    fmt_mem(text, chip, c.len);
    fmt_char(text, ' ');
    pad(text, s->number, PRECISION);
    fmt_char(text, ' ');
    pad_right(text, kind, strlen(kind), 8);
    for (u32 i = 0; i < n; i++) {
        fmt_str(text, i ? ", " : "  ");
        source_name(text, &s[i]);
    }
    fmt_char(text, '\n');
}

static void show_interrupts(const struct tree_node *node, struct fmt *text)
{
    struct source sources[MOST_LINES];
    u32 cpus = MAX(1u, tree_machine->arena->irqs.nharts), number = 0, n;

    (void)node;
    for (unsigned i = 0; i < PRECISION + 8; i++)
        fmt_char(text, ' ');
    for (u32 cpu = 0; cpu < cpus; cpu++) {
        char digits[12];
        struct fmt d = FMT_INIT(digits);

        fmt_dec(&d, cpu);
        fmt_str(text, "CPU");
        pad_right(text, digits, d.len, 8);
    }
    fmt_char(text, '\n');
    while (number != UINT32_MAX) {
        u32 next = gather(number, sources, &n);

        if (n)
            interrupt_line(text, sources, n, cpus);
        number = next;
    }
}

static u64 no_size(const struct tree_node *node)
{
    (void)node;
    return 0;
}

const struct tree_class interrupts_file = {.kind = TREE_FILE, .mode = 0444, .show = show_interrupts, .size = no_size};
