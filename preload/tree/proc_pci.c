/* /proc/bus/pci, as drivers/pci/proc.c of Linux writes it. */
#include "base/mem.h"
#include "tree/pci.h"

static void hex(struct fmt *text, u64 value, unsigned digits)
{
    fmt_char(text, '\t');
    fmt_hexpad(text, value, digits);
}

/* Bus and place, ids, irq, seven regions with the low bits of their BARs, their seven sizes, the driver. */
static void show_line(u32 f, struct fmt *text)
{
    struct pci_resource r;
    struct pci_info i;

    pci_info(f, &i);
    fmt_hexpad(text, i.bus, 2);
    fmt_hexpad(text, i.devfn, 2);
    fmt_char(text, '\t');
    fmt_hexpad(text, i.vendor, 4);
    fmt_hexpad(text, i.device, 4);
    fmt_printf(text, "\t%x", i.irq);
    for (unsigned bar = 0; bar < 7; bar++) {
        pci_resource(f, bar, &r);
        hex(text, r.size && r.machine != PCI_NOWHERE ? r.machine | (r.flags & 0xf) : 0, 16);
    }
    for (unsigned bar = 0; bar < 7; bar++) {
        pci_resource(f, bar, &r);
        hex(text, r.size, 16);
    }
    fmt_printf(text, "\t%s\n", pci_driver(f));
}

static void show_devices(const struct tree_node *n, struct fmt *text)
{
    u32 f;

    (void)n;
    for (u32 k = 0; pci_nth(k, &f); k++)
        show_line(f, text);
}

static const struct tree_class devices_file = {.kind = TREE_FILE, .mode = 0444, .show = show_devices};

/* node.a of a bus's directory: its number. */
static bool list_bus(const struct tree_node *dir, u32 index, struct tree_entry *e)
{
    struct pci_info i;
    u32 f;

    for (u32 k = 0; pci_nth(k, &f); k++) {
        struct fmt name = FMT_INIT(e->name);

        pci_info(f, &i);
        if (i.bus != dir->a || index-- > 0)
            continue;
        fmt_hexpad(&name, i.devfn >> 3, 2);
        fmt_printf(&name, ".%u", i.devfn & 7u);
        fmt_end(&name);
        e->node = (struct tree_node){&pci_config_file, f, 0};
        return true;
    }
    return false;
}

static const struct tree_class bus_dir = {.kind = TREE_DIR, .mode = 0555, .list = list_bus};

static bool has_functions(u32 bus)
{
    struct pci_info i;
    u32 f;

    for (u32 k = 0; pci_nth(k, &f); k++) {
        pci_info(f, &i);
        if (i.bus == bus)
            return true;
    }
    return false;
}

static bool list_buses(const struct tree_node *dir, u32 index, struct tree_entry *e)
{
    (void)dir;
    for (u32 bus = 0; bus < 256; bus++) {
        struct fmt name = FMT_INIT(e->name);

        if (!has_functions(bus) || index-- > 0)
            continue;
        fmt_hexpad(&name, bus, 2);
        fmt_end(&name);
        e->node = (struct tree_node){&bus_dir, bus, 0};
        return true;
    }
    return false;
}

static const struct tree_fixed pci_fixed[] = {{"devices", &devices_file}, {NULL, NULL}};
const struct tree_class pci_proc_dir = {.kind = TREE_DIR, .mode = 0555, .fixed = pci_fixed, .list = list_buses};
