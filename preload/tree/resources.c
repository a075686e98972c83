/*
 * /proc/iomem, /proc/ioports and /proc/interrupts: the machine's map and its interrupt lines, in the words of Linux.
 * Addresses are shown to everybody: who runs under us is root of the machine. Sources: Linux, kernel/resource.c, r_show;
 * kernel/irq/proc.c, show_interrupts; drivers/of/platform.c, of_device_make_bus_id.
 */
#include "base/mem.h"
#include "config/interrupts.h"
#include "config/pools.h"
#include "tree/parts.h"

static const struct machine_desc *desc(void)
{
    return tree_machine->desc;
}

static void range_line(struct fmt *text, unsigned depth, unsigned digits, struct range r)
{
    for (unsigned i = 0; i < depth; i++)
        fmt_str(text, "  ");
    fmt_hexpad(text, r.base, r.base >> 32 ? 16 - (unsigned)__builtin_clzll(r.base) / 4 : digits);
    fmt_char(text, '-');
    fmt_hexpad(text, range_last(r), range_last(r) >> 32 ? 16 - (unsigned)__builtin_clzll(range_last(r)) / 4 : digits);
    fmt_str(text, " : ");
}

/* "uart@10000000": the node's name, without what windows of one node are told apart by. */
static size_t node_name(const struct machine_window *w)
{
    const char *end = strchr(w->name, ':');

    return end ? (size_t)(end - w->name) : strlen(w->name);
}

/* The address that Linux names a device by: of its first range. */
static u64 first_address(const struct machine_window *w)
{
    for (u32 i = 0; i < desc()->nwindows; i++)
        if (desc()->windows[i].node == w->node && !desc()->windows[i].entry)
            return desc()->windows[i].range.base - desc()->windows[i].offset;
    return w->range.base - w->offset;
}

/* "10000000.uart uart@10000000": device and resource, as a driver has them that asked for the range. */
static void device_name(struct fmt *text, const struct machine_window *w)
{
    size_t n = node_name(w), plain = 0;

    while (plain < n && w->name[plain] != '@')
        plain++;
    if (plain < n) {
        fmt_hexpad(text, first_address(w), MAX(1u, 16 - (unsigned)__builtin_clzll(first_address(w) | 1) / 4));
        fmt_char(text, '.');
        fmt_mem(text, w->name, plain);
        fmt_char(text, ' ');
    }
    fmt_mem(text, w->name, n);
    fmt_char(text, '\n');
}

static void reserved_lines(struct fmt *text, const struct machine_pools *pools, struct range ram)
{
    struct range next, r;
    u64 from = ram.base;

    do { /* ascending, whatever the order in the tree */
        next.size = 0;
        for (u32 i = 0; pools && i < pools->nregions; i++) {
            r = range_clip(pools->regions[i].range, ram);
            if (!pools->regions[i].pool && r.size && r.base >= from && (!next.size || r.base < next.base))
                next = r;
        }
        if (!next.size)
            return;
        range_line(text, 1, 8, next);
        fmt_str(text, "Reserved\n");
        from = range_last(next) + 1;
    } while (range_has(ram, from));
}

static void show_iomem(const struct tree_node *node, struct fmt *text)
{
    char why[128];
    struct fmt error = FMT_INIT(why);
    const struct machine_pools *pools = machine_pools(desc(), &error);

    (void)node;
    for (u32 i = 0; i < tree_view->count; i++) {
        const struct view_span *s = &tree_view->spans[i];

        range_line(text, 0, 8, s->range);
        if (s->kind == VIEW_RAM) {
            fmt_str(text, "System RAM\n");
            reserved_lines(text, pools, s->range);
        } else {
            device_name(text, &desc()->windows[s->index]);
        }
    }
}

static void show_ioports(const struct tree_node *node, struct fmt *text)
{
    (void)node;
    for (u32 i = 0; i < tree_ports->count; i++) {
        const struct machine_window *w = &desc()->windows[tree_ports->spans[i].index];

        range_line(text, 0, 4, tree_ports->spans[i].range);
        fmt_mem(text, w->name, node_name(w));
        fmt_char(text, '\n');
    }
}

/* --- interrupts --- */

#define MOST_LINES 64
#define PRECISION  3 /* of up to 999 interrupts */

struct source {
    u32 window, line, number;
    int controller;
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
    return &arena_wires(tree_machine->arena, s->window)[s->line];
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
                out[(*count)++] = (struct source){i, line, number, list[line].controller};
            else if (list[line].number > number)
                next = MIN(next, list[line].number);
        }
    }
    return next;
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
        const struct machine_window *w = &desc()->windows[s[i].window];

        fmt_str(text, i ? ", " : "  ");
        fmt_mem(text, w->name, node_name(w));
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

const struct tree_class resources_iomem = {.kind = TREE_FILE, .mode = 0400, .show = show_iomem, .size = no_size};
const struct tree_class resources_ioports = {.kind = TREE_FILE, .mode = 0400, .show = show_ioports, .size = no_size};
const struct tree_class resources_interrupts = {.kind = TREE_FILE, .mode = 0444, .show = show_interrupts, .size = no_size};
