/*
 * Where the parts of the tree hang. What is merged keeps the host's other entries; what is not, hides them: a directory
 * stands here also while the machine has nothing in it, since the host's devices are nobody's business.
 */
#include "base/mem.h"
#include "tree/parts.h"
#include "tree/pci.h"

static bool begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

/* --- /dev --- */

static bool dev_hides(const char *name)
{
    static const char *const names[] = {"mem", "kmem", "port", "gpiomem"}, *const kinds[] = {"uio", "udmabuf"};

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
        if (begins(name, kinds[i]))
            return true;
    return false;
}

static const struct tree_fixed dev_fixed[] = {
    {"mem", &mem_device},
    {NULL, NULL},
};

static bool dev_list(const struct tree_node *dir, u32 index, struct tree_entry *entry)
{
    (void)dir;
    return uio_list_dev(index, entry);
}

static const struct tree_class dev = {
    .kind = TREE_DIR,
    .mode = 0755,
    .merged = true,
    .fixed = dev_fixed,
    .list = dev_list,
    .hides = dev_hides,
};

/* --- /proc --- */

static void devtree_target(const struct tree_node *link, struct fmt *text)
{
    (void)link;
    fmt_str(text, "/sys/firmware/devicetree/base");
}

static const struct tree_class devtree_link = {.kind = TREE_LINK, .show = devtree_target};

static const struct tree_fixed proc_bus_fixed[] = {{"pci", &pci_proc_dir}, {NULL, NULL}};
static const struct tree_class proc_bus = {.kind = TREE_DIR, .mode = 0555, .merged = true, .fixed = proc_bus_fixed};

static const struct tree_fixed proc_fixed[] = {
    {"bus", &proc_bus},
    {"device-tree", &devtree_link},
    {NULL, NULL},
};
static const struct tree_class proc = {.kind = TREE_DIR, .mode = 0555, .merged = true, .fixed = proc_fixed};

/* --- /sys --- */

static const struct tree_fixed devicetree_fixed[] = {{"base", &devtree_base}, {NULL, NULL}};
static const struct tree_class devicetree = {.kind = TREE_DIR, .mode = 0755, .fixed = devicetree_fixed};

static const struct tree_fixed firmware_fixed[] = {
    {"devicetree", &devicetree},
    {"fdt", &devtree_blob},
    {NULL, NULL},
};
static const struct tree_class firmware = {.kind = TREE_DIR, .mode = 0755, .merged = true, .fixed = firmware_fixed};

static const struct tree_fixed class_fixed[] = {{"uio", &uio_class}, {NULL, NULL}};
static const struct tree_class class_dir = {.kind = TREE_DIR, .mode = 0755, .merged = true, .fixed = class_fixed};

static bool devices_hides(const char *name)
{
    return begins(name, "pci0");
}

static const struct tree_fixed devices_fixed[] = {{"pci0000:00", &pci_root_dir}, {"platform", &uio_platform}, {NULL, NULL}};
static const struct tree_class devices = {
    .kind = TREE_DIR,
    .mode = 0755,
    .merged = true,
    .fixed = devices_fixed,
    .hides = devices_hides,
};

static const struct tree_fixed bus_fixed[] = {{"pci", &pci_bus_dir}, {NULL, NULL}};
static const struct tree_class bus_dir = {.kind = TREE_DIR, .mode = 0755, .merged = true, .fixed = bus_fixed};

static const struct tree_fixed sys_fixed[] = {
    {"bus", &bus_dir},
    {"class", &class_dir},
    {"devices", &devices},
    {"firmware", &firmware},
    {NULL, NULL},
};
static const struct tree_class sys_dir = {.kind = TREE_DIR, .mode = 0555, .merged = true, .fixed = sys_fixed};

/* --- / --- */

static const struct tree_fixed root_fixed[] = {
    {"dev", &dev},
    {"proc", &proc},
    {"sys", &sys_dir},
    {NULL, NULL},
};
const struct tree_class tree_root = {.kind = TREE_DIR, .mode = 0755, .merged = true, .fixed = root_fixed};
