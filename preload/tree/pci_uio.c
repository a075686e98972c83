/*
 * Functions that uio_pci_generic has: /dev/uioN with an interrupt and no maps (a program maps resourceN of sysfs). Each
 * event masks the interrupt by Interrupt Disable, and who clears that bit in `config` has the next one.
 * Source: Documentation/driver-api/uio-howto.rst, "Generic PCI UIO driver".
 */
#include <errno.h>

#include "base/mem.h"
#include "bus/irq.h"
#include "tree/own.h"
#include "tree/parts.h"
#include "tree/pci.h"

/* Numbers of UIO devices follow those of the device tree. */
static u32 number_of(u32 function)
{
    return uio_count() + pci_uio_slot(function) - 1;
}

bool pci_uio_bound(u32 function)
{
    return pci_present(function) && pci_uio_slot(function);
}

static bool taken(u32 slot)
{
    for (u32 f = 0; f < pci_functions(); f++)
        if (pci_uio_slot(f) == slot)
            return true;
    return false;
}

bool pci_uio_bind(u32 function)
{
    struct pci_info i;
    u32 slot = 1;

    while (taken(slot))
        slot++;
    pci_info(function, &i);
    if (i.irq)
        irq_event_set(tree_bus, i.bus_device, 0, false, true, tree_self());
    pci_set_uio_slot(function, slot, tree_self());
    return true;
}

void pci_uio_unbind(u32 function)
{
    struct pci_info i;

    pci_info(function, &i);
    if (i.irq)
        irq_event_set(tree_bus, i.bus_device, 0, false, false, tree_self());
    pci_set_uio_slot(function, 0, tree_self());
}

bool pci_uio_masked(u32 function)
{
    struct pci_info i;

    pci_info(function, &i);
    return pci_uio_slot(function) && i.irq && irq_event_masked(tree_bus, i.bus_device, 0);
}

void pci_uio_unmask(u32 function)
{
    struct pci_info i;

    pci_info(function, &i);
    if (pci_uio_slot(function) && i.irq)
        irq_event_mask(tree_bus, i.bus_device, 0, false, tree_self());
}

bool pci_uio_number(u32 bus_device, u32 *number)
{
    struct pci_info i;

    for (u32 f = 0; f < pci_functions(); f++) {
        pci_info(f, &i);
        if (i.bus_device != bus_device || !pci_uio_bound(f))
            continue;
        *number = number_of(f);
        return true;
    }
    return false;
}

/* --- files --- */

static void show_name(const struct tree_node *n, struct fmt *text)
{
    (void)n;
    fmt_str(text, "uio_pci_generic\n");
}

static void show_version(const struct tree_node *n, struct fmt *text)
{
    (void)n;
    fmt_str(text, "0.01.0\n");
}

static void show_event(const struct tree_node *n, struct fmt *text)
{
    struct pci_info i;

    pci_info(n->a, &i);
    fmt_printf(text, "%u\n", irq_event_count(tree_bus, i.bus_device, 0));
}

static void show_dev(const struct tree_node *n, struct fmt *text)
{
    fmt_printf(text, "%d:%u\n", UIO_MAJOR, number_of(n->a));
}

static void show_uevent(const struct tree_node *n, struct fmt *text)
{
    fmt_printf(text, "MAJOR=%d\nMINOR=%u\nDEVNAME=uio%u\n", UIO_MAJOR, number_of(n->a), number_of(n->a));
}

static void show_device(const struct tree_node *n, struct fmt *text)
{
    fmt_str(text, "../../../");
    pci_slot_name(n->a, text);
}

static void show_subsystem(const struct tree_node *n, struct fmt *text)
{
    fmt_str(text, "../../");
    pci_slot_up(n->a, text);
    fmt_str(text, "class/uio");
}

#define SHOWN(id, function) static const struct tree_class id = {.kind = TREE_FILE, .mode = 0444, .show = function}
SHOWN(name_file, show_name);
SHOWN(version_file, show_version);
SHOWN(event_file, show_event);
SHOWN(dev_file, show_dev);
SHOWN(uevent_file, show_uevent);
static const struct tree_class device_link = {.kind = TREE_LINK, .show = show_device};
static const struct tree_class subsystem_link = {.kind = TREE_LINK, .show = show_subsystem};

static const struct tree_fixed uio_fixed[] = {
    {"dev", &dev_file},       {"device", &device_link},       {"event", &event_file},   {"name", &name_file},
    {"subsystem", &subsystem_link}, {"uevent", &uevent_file}, {"version", &version_file}, {NULL, NULL},
};
static const struct tree_class uio_dir = {.kind = TREE_DIR, .mode = 0755, .fixed = uio_fixed};

static bool list_only(const struct tree_node *dir, u32 index, struct tree_entry *e)
{
    struct fmt name = FMT_INIT(e->name);

    fmt_printf(&name, "uio%u", number_of(dir->a));
    fmt_end(&name);
    e->node = (struct tree_node){&uio_dir, dir->a, 0};
    return index == 0;
}

static bool is_bound(const struct tree_node *dir)
{
    return pci_uio_slot(dir->a) != 0;
}

const struct tree_class pci_uio_dir = {.kind = TREE_DIR, .mode = 0755, .list = list_only, .there = is_bound};

static void show_class(const struct tree_node *n, struct fmt *text)
{
    fmt_str(text, "../../devices/");
    pci_slot_path(n->a, text);
    fmt_printf(text, "/uio/uio%u", number_of(n->a));
}

static const struct tree_class class_link = {.kind = TREE_LINK, .show = show_class};

/* --- /dev/uioN: node.b is the function, since node.a makes the minor number --- */

static long open_events(const struct tree_node *n, int flags)
{
    struct pci_info i;

    pci_info(n->b, &i);
    return i.irq ? irq_event_open(tree_bus, i.bus_device, 0, flags, tree_self()) : tree_open_plain(n, flags);
}

static long read_event(const struct tree_node *n, int fd, u32 *count)
{
    struct pci_info i;

    pci_info(n->b, &i);
    return i.irq ? irq_event_read(tree_bus, fd, count, tree_self()) : -EIO;
}

/* There is no irqcontrol. */
static long control(const struct tree_node *n, u64 offset, const void *from, size_t length)
{
    (void)n, (void)offset, (void)from;
    return length == 4 ? -ENOSYS : -EINVAL;
}

static long map_nothing(const struct tree_node *n, u64 offset, u64 length, u64 *machine)
{
    (void)n, (void)offset, (void)length, (void)machine;
    return -EINVAL;
}

static const struct tree_class device_class = {
    .kind = TREE_DEVICE,
    .mode = 0600,
    .major = UIO_MAJOR,
    .descriptor = open_events,
    .event = read_event,
    .write = control,
    .map = map_nothing,
};

bool pci_uio_list(u32 n, bool dev, struct tree_entry *e)
{
    for (u32 f = 0; f < pci_functions(); f++) {
        struct fmt name = FMT_INIT(e->name);

        if (!pci_uio_bound(f) || n-- > 0)
            continue;
        fmt_printf(&name, "uio%u", number_of(f));
        fmt_end(&name);
        e->node = dev ? (struct tree_node){&device_class, number_of(f), f} : (struct tree_node){&class_link, f, 0};
        return true;
    }
    return false;
}
