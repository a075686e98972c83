/*
 * The directory of a PCI function in /sys/devices. Formats: Documentation/ABI/testing/sysfs-bus-pci,
 * drivers/pci/pci-sysfs.c of Linux.
 */
#include <errno.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sys.h"
#include "tree/own.h"
#include "tree/parts.h"
#include "tree/pci.h"

static struct pci_info info_of(const struct tree_node *n)
{
    struct pci_info i;

    pci_info(n->a, &i);
    return i;
}

static void padded(struct fmt *text, u64 value, unsigned digits, const char *end)
{
    fmt_str(text, "0x");
    fmt_hexpad(text, value, digits);
    fmt_str(text, end);
}

static void show_vendor(const struct tree_node *n, struct fmt *text)
{
    padded(text, info_of(n).vendor, 4, "\n");
}

static void show_device(const struct tree_node *n, struct fmt *text)
{
    padded(text, info_of(n).device, 4, "\n");
}

static void show_subvendor(const struct tree_node *n, struct fmt *text)
{
    padded(text, info_of(n).subvendor, 4, "\n");
}

static void show_subsystem(const struct tree_node *n, struct fmt *text)
{
    padded(text, info_of(n).subsystem, 4, "\n");
}

static void show_class(const struct tree_node *n, struct fmt *text)
{
    padded(text, info_of(n).class, 6, "\n");
}

static void show_revision(const struct tree_node *n, struct fmt *text)
{
    padded(text, info_of(n).revision, 2, "\n");
}

static void show_irq(const struct tree_node *n, struct fmt *text)
{
    fmt_printf(text, "%u\n", info_of(n).irq);
}

static void show_enable(const struct tree_node *n, struct fmt *text)
{
    fmt_printf(text, "%d\n", pci_enabled(n->a));
}

/* A number that somebody wrote. -EINVAL: it is none. */
static long number(const char *text, size_t n)
{
    u64 value;

    return tree_number(text, n, true, &value) && value <= INT32_MAX ? (long)value : -EINVAL;
}

static long store_enable(const struct tree_node *n, const char *text, size_t length)
{
    long on = number(text, length);

    if (on < 0)
        return on;
    pci_enable(n->a, on != 0, tree_self());
    return (long)length;
}

/* Capital letters. */
static void upper_hex(struct fmt *text, u32 value, unsigned width)
{
    char digits[16];
    struct fmt d = FMT_INIT(digits);

    fmt_hexpad(&d, value, width);
    for (size_t c = 0; c < d.len; c++)
        fmt_char(text, digits[c] >= 'a' ? (char)(digits[c] - 32) : digits[c]);
}

static void show_modalias(const struct tree_node *n, struct fmt *text)
{
    static const char *const names[] = {"pci:v", "d", "sv", "sd", "bc", "sc", "i"};
    struct pci_info i = info_of(n);
    u32 values[] = {i.vendor, i.device, i.subvendor, i.subsystem, i.class >> 16, (i.class >> 8) & 0xff, i.class & 0xff};

    for (unsigned k = 0; k < ARRAY_SIZE(names); k++) {
        fmt_str(text, names[k]);
        upper_hex(text, values[k], k < 4 ? 8 : 2);
    }
    fmt_char(text, '\n');
}

static void show_uevent(const struct tree_node *n, struct fmt *text)
{
    struct pci_info i = info_of(n);

    if (*pci_driver(n->a))
        fmt_printf(text, "DRIVER=%s\n", pci_driver(n->a));
    fmt_str(text, "PCI_CLASS=");
    upper_hex(text, i.class, i.class >> 20 ? 6 : 5);
    fmt_str(text, "\nPCI_ID=");
    upper_hex(text, i.vendor, 4);
    fmt_char(text, ':');
    upper_hex(text, i.device, 4);
    fmt_str(text, "\nPCI_SUBSYS_ID=");
    upper_hex(text, i.subvendor, 4);
    fmt_char(text, ':');
    upper_hex(text, i.subsystem, 4);
    fmt_str(text, "\nPCI_SLOT_NAME=");
    pci_slot_name(n->a, text);
    fmt_str(text, "\nMODALIAS=");
    show_modalias(n, text);
}

static void show_minus_one(const struct tree_node *n, struct fmt *text)
{
    (void)n;
    fmt_str(text, "-1\n");
}

static void show_zero(const struct tree_node *n, struct fmt *text)
{
    (void)n;
    fmt_str(text, "0\n");
}

static void show_one(const struct tree_node *n, struct fmt *text)
{
    (void)n;
    fmt_str(text, "1\n");
}

static void show_mask_64(const struct tree_node *n, struct fmt *text)
{
    (void)n;
    fmt_str(text, "64\n");
}

/* Those of the host's processors that a machine's program can run on. */
static void show_cpus(const struct tree_node *n, struct fmt *text)
{
    char host[256];
    long got = sys_read_file("/sys/devices/system/cpu/online", host, sizeof(host));

    (void)n;
    if (got > 0)
        fmt_mem(text, host, (size_t)got);
}

static void show_cpu_mask(const struct tree_node *n, struct fmt *text)
{
    u64 mask[16] = {0};
    long got = sys(SYS_sched_getaffinity, 0, sizeof(mask), mask);

    (void)n;
    for (long i = got > 8 ? got / 8 - 1 : 0; i >= 0; i--) {
        fmt_hexpad(text, mask[i] >> 32, 8);
        fmt_char(text, ',');
        fmt_hexpad(text, (u32)mask[i], 8);
        fmt_char(text, i ? ',' : '\n');
    }
}

/* --- resources --- */

/* Regions that Linux shows besides the six BARs and the ROM: those of virtual functions, and a bridge's windows. */
enum { PLAIN_REGIONS = 13, BRIDGE_REGIONS = 17 };

static void show_region(struct fmt *text, u64 start, u64 end, u64 flags)
{
    padded(text, start, 16, " ");
    padded(text, end, 16, " ");
    padded(text, flags, 16, "\n");
}

/* A bridge's windows follow: I/O, memory, prefetchable memory, and one that is CardBus's. */
static void region_at(u32 function, unsigned index, struct pci_resource *r)
{
    *r = (struct pci_resource){0};
    if (index < 7)
        pci_resource(function, index, r);
    else if (index >= PLAIN_REGIONS)
        pci_forwards(function, index - PLAIN_REGIONS, r);
}

static void show_resource(const struct tree_node *n, struct fmt *text)
{
    unsigned regions = info_of(n).bridge ? BRIDGE_REGIONS : PLAIN_REGIONS;

    for (unsigned index = 0; index < regions; index++) {
        struct pci_resource r;

        region_at(n->a, index, &r);
        if (r.size && r.machine != PCI_NOWHERE)
            show_region(text, r.machine, r.machine + (r.size - 1), r.flags);
        else
            show_region(text, 0, r.size ? r.size - 1 : 0, r.size ? r.flags : 0);
    }
}

static u64 region_size(const struct tree_node *n)
{
    struct pci_resource r;

    pci_resource(n->a, n->b, &r);
    return r.size;
}

/* An offset of whole pages into the region, which may begin within a page itself (pci_mmap_fits). */
static long map_region(const struct tree_node *n, u64 offset, u64 length, u64 *machine)
{
    struct pci_resource r;
    u64 pages;

    pci_resource(n->a, n->b, &r);
    pages = r.size ? page_up(r.size) : 0;
    if (r.machine == PCI_NOWHERE || offset >= pages || page_up(length) > pages - offset)
        return -EINVAL;
    *machine = page_down(r.machine) + offset;
    return 0;
}

static bool port_region(const struct tree_node *n, u64 offset, u32 *port, u32 *room)
{
    struct pci_resource r;

    pci_resource(n->a, n->b, &r);
    if (r.machine == PCI_NOWHERE || offset >= r.size)
        return false;
    *port = (u32)(r.machine + offset);
    *room = (u32)(r.size - offset);
    return true;
}

static const struct tree_class memory_region = {.kind = TREE_FILE, .mode = 0600, .size = region_size, .map = map_region};
static const struct tree_class io_region = {.kind = TREE_FILE, .mode = 0600, .size = region_size, .port = port_region};

/* The ROM is not to be read until somebody writes 1 to the file. */
static long read_rom(const struct tree_node *n, u64 offset, void *to, size_t length)
{
    return pci_rom_shown(n->a) ? (long)pci_rom_read(n->a, offset, to, length, tree_self()) : -EINVAL;
}

static long write_rom(const struct tree_node *n, u64 offset, const void *from, size_t length)
{
    bool hide = offset == 0 && length && *(const char *)from == '0' && (length == 1 || ((const char *)from)[1] == '\n');

    pci_show_rom(n->a, !hide, tree_self());
    return (long)length;
}

static const struct tree_class rom_region = {.kind = TREE_FILE, .mode = 0600, .size = region_size, .read = read_rom, .write = write_rom};

/* resource0 ... resource5, and resourceN_wc where a BAR is prefetchable; rom. */
static bool list_regions(u32 function, u32 index, struct tree_entry *e)
{
    for (unsigned bar = 0; bar < 7; bar++) {
        struct pci_resource r;

        pci_resource(function, bar, &r);
        for (unsigned wc = 0; r.size && wc <= (bar < 6 && (r.flags & PCI_RESOURCE_PREFETCH)); wc++) {
            struct fmt name = FMT_INIT(e->name);

            if (index-- > 0)
                continue;
            if (bar < 6)
                fmt_printf(&name, "resource%u%s", bar, wc ? "_wc" : "");
            else
                fmt_str(&name, "rom");
            fmt_end(&name);
            e->node = (struct tree_node){bar == 6 ? &rom_region : r.flags & PCI_RESOURCE_IO ? &io_region : &memory_region, function, bar};
            return true;
        }
    }
    return false;
}

static u32 count_regions(u32 function)
{
    struct tree_entry e;
    u32 n = 0;

    while (list_regions(function, n, &e))
        n++;
    return n;
}

/* --- config --- */

#define COMMAND_HIGH 5 /* byte of the command register with Interrupt Disable, bit 2 */
#define INTERRUPT_DISABLE 4

/* While uio_pci_generic has masked the interrupt, the bit by which it does reads as set. */
static long read_config(const struct tree_node *n, u64 offset, void *to, size_t length)
{
    unsigned size = info_of(n).config_size, got;

    if (offset >= size)
        return 0;
    got = pci_config_read(n->a, (unsigned)offset, to, (unsigned)MIN(length, (size_t)(size - offset)), tree_self());
    if (offset <= COMMAND_HIGH && COMMAND_HIGH - offset < got && pci_uio_masked(n->a))
        ((u8 *)to)[COMMAND_HIGH - offset] |= INTERRUPT_DISABLE;
    return got;
}

static long write_config(const struct tree_node *n, u64 offset, const void *from, size_t length)
{
    unsigned size = info_of(n).config_size, put;

    if (offset >= size)
        return 0;
    put = pci_config_write(n->a, (unsigned)offset, from, (unsigned)MIN(length, (size_t)(size - offset)), tree_self());
    if (offset <= COMMAND_HIGH && COMMAND_HIGH - offset < put && !(((const u8 *)from)[COMMAND_HIGH - offset] & INTERRUPT_DISABLE))
        pci_uio_unmask(n->a);
    return put;
}

static u64 config_size(const struct tree_node *n)
{
    return info_of(n).config_size;
}

const struct tree_class pci_config_file = {
    .kind = TREE_FILE,
    .mode = 0644,
    .size = config_size,
    .read = read_config,
    .write = write_config,
};

/* --- drivers --- */

static void show_override(const struct tree_node *n, struct fmt *text)
{
    fmt_printf(text, "%s\n", *pci_override_of(n->a) ? pci_override_of(n->a) : "(null)");
}

static long store_override(const struct tree_node *n, const char *text, size_t length)
{
    return pci_override(n->a, text, length);
}

static void show_driver(const struct tree_node *n, struct fmt *text)
{
    pci_slot_up(n->a, text);
    fmt_printf(text, "bus/pci/drivers/%s", pci_driver(n->a));
}

static bool is_bound(const struct tree_node *n)
{
    return *pci_driver(n->a) != 0;
}

static void show_subsystem_link(const struct tree_node *n, struct fmt *text)
{
    pci_slot_up(n->a, text);
    fmt_str(text, "bus/pci");
}

static long store_reset(const struct tree_node *n, const char *text, size_t length)
{
    if (number(text, length) != 1)
        return -EINVAL;
    pci_reset(n->a, tree_self());
    return (long)length;
}

/* Linux takes a function away; the machine's stay. */
static long store_nothing(const struct tree_node *n, const char *text, size_t length)
{
    (void)n, (void)text;
    return (long)length;
}

/* --- virtual functions --- */

static bool is_virtual(const struct tree_node *n)
{
    return info_of(n).physical >= 0;
}

static void show_physfn(const struct tree_node *n, struct fmt *text)
{
    fmt_str(text, "../");
    pci_slot_name((u32)info_of(n).physical, text);
}

static void show_virtfn(const struct tree_node *n, struct fmt *text)
{
    fmt_str(text, "../");
    pci_slot_name(n->b, text);
}

static const struct tree_class virtfn_link = {.kind = TREE_LINK, .show = show_virtfn};

static bool list_virtual(u32 function, u32 index, struct tree_entry *e)
{
    for (u32 f = 0; f < pci_functions(); f++) {
        struct fmt name = FMT_INIT(e->name);
        struct pci_info i;

        pci_info(f, &i);
        if (!i.there || i.physical != (int)function || index-- > 0)
            continue;
        fmt_printf(&name, "virtfn%u", pci_sriov_index(f));
        fmt_end(&name);
        e->node = (struct tree_node){&virtfn_link, function, f};
        return true;
    }
    return false;
}

static bool has_sriov(const struct tree_node *n)
{
    return pci_sriov_total(n->a) != 0;
}

static void show_totalvfs(const struct tree_node *n, struct fmt *text)
{
    fmt_printf(text, "%u\n", pci_sriov_total(n->a));
}

static void show_numvfs(const struct tree_node *n, struct fmt *text)
{
    fmt_printf(text, "%u\n", pci_sriov_enabled(n->a));
}

/* 0, or the number that is to be there, from none: else -EBUSY; more than there can be: -ERANGE. */
static long store_numvfs(const struct tree_node *n, const char *text, size_t length)
{
    long want = number(text, length);

    if (want < 0)
        return want;
    if (want > (long)pci_sriov_total(n->a))
        return -ERANGE;
    if (want && pci_sriov_enabled(n->a) && (u32)want != pci_sriov_enabled(n->a))
        return -EBUSY;
    pci_sriov_enable(n->a, (u32)want, tree_self());
    return (long)length;
}

/* --- the directory --- */

#define SHOWN(id, function) static const struct tree_class id = {.kind = TREE_FILE, .mode = 0444, .show = function}
SHOWN(vendor, show_vendor);
SHOWN(device, show_device);
SHOWN(subvendor, show_subvendor);
SHOWN(subsystem, show_subsystem);
SHOWN(class_file, show_class);
SHOWN(revision, show_revision);
SHOWN(irq, show_irq);
SHOWN(modalias, show_modalias);
SHOWN(uevent, show_uevent);
SHOWN(resource, show_resource);
SHOWN(cpus, show_cpus);
SHOWN(cpu_mask, show_cpu_mask);
SHOWN(zero, show_zero);
SHOWN(mask_64, show_mask_64);
static const struct tree_class numa_node = {.kind = TREE_FILE, .mode = 0644, .show = show_minus_one, .store = store_nothing};
static const struct tree_class one = {.kind = TREE_FILE, .mode = 0644, .show = show_one, .store = store_nothing};
static const struct tree_class broken = {.kind = TREE_FILE, .mode = 0644, .show = show_zero, .store = store_nothing};
static const struct tree_class enable = {.kind = TREE_FILE, .mode = 0644, .show = show_enable, .store = store_enable};
static const struct tree_class override_file = {.kind = TREE_FILE, .mode = 0644, .show = show_override, .store = store_override};
static const struct tree_class reset = {.kind = TREE_FILE, .mode = 0200, .store = store_reset};
static const struct tree_class remove_file = {.kind = TREE_FILE, .mode = 0200, .store = store_nothing};
static const struct tree_class driver_link = {.kind = TREE_LINK, .show = show_driver, .there = is_bound};
static const struct tree_class subsystem_link = {.kind = TREE_LINK, .show = show_subsystem_link};
static const struct tree_class physfn_link = {.kind = TREE_LINK, .show = show_physfn, .there = is_virtual};
static const struct tree_class totalvfs = {.kind = TREE_FILE, .mode = 0444, .show = show_totalvfs, .there = has_sriov};
static const struct tree_class numvfs = {.kind = TREE_FILE, .mode = 0644, .show = show_numvfs, .store = store_numvfs, .there = has_sriov};

static const struct tree_fixed function_fixed[] = {
    {"ari_enabled", &zero},
    {"broken_parity_status", &broken},
    {"class", &class_file},
    {"config", &pci_config_file},
    {"consistent_dma_mask_bits", &mask_64},
    {"d3cold_allowed", &one},
    {"device", &device},
    {"dma_mask_bits", &mask_64},
    {"driver", &driver_link},
    {"driver_override", &override_file},
    {"enable", &enable},
    {"irq", &irq},
    {"local_cpulist", &cpus},
    {"local_cpus", &cpu_mask},
    {"modalias", &modalias},
    {"msi_bus", &one},
    {"numa_node", &numa_node},
    {"physfn", &physfn_link},
    {"remove", &remove_file},
    {"rescan", &remove_file},
    {"reset", &reset},
    {"resource", &resource},
    {"revision", &revision},
    {"sriov_numvfs", &numvfs},
    {"sriov_totalvfs", &totalvfs},
    {"subsystem", &subsystem_link},
    {"subsystem_device", &subsystem},
    {"subsystem_vendor", &subvendor},
    {"uevent", &uevent},
    {"uio", &pci_uio_dir},
    {"vendor", &vendor},
    {NULL, NULL},
};

static u32 count_virtual(u32 function)
{
    struct tree_entry e;
    u32 n = 0;

    while (list_virtual(function, n, &e))
        n++;
    return n;
}

static bool list_function(const struct tree_node *dir, u32 index, struct tree_entry *e)
{
    u32 regions = count_regions(dir->a), virtuals;

    if (index < regions)
        return list_regions(dir->a, index, e);
    index -= regions;
    virtuals = count_virtual(dir->a);
    if (index < virtuals)
        return list_virtual(dir->a, index, e);
    return info_of(dir).bridge && pci_list_below((int)dir->a, index - virtuals, e);
}

const struct tree_class pci_function_dir = {.kind = TREE_DIR, .mode = 0755, .fixed = function_fixed, .list = list_function};
