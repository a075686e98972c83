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
    {"gpiomem", &gpiomem_device},
    {"hugepages", &hugetlb_dir},
    {"mem", &mem_device},
    {"port", &port_device},
    {NULL, NULL},
};

static bool dev_list(const struct tree_node *dir, u32 index, struct tree_entry *entry)
{
    struct tree_entry other;
    u32 uios = 0;

    (void)dir;
    if (uio_list_dev(index, entry))
        return true;
    while (uios < index && uio_list_dev(uios, &other))
        uios++;
    return udmabuf_list_dev(index - uios, entry);
}

static bool dev_there(const struct tree_node *node)
{
    (void)node;
    return tree_top_there("/dev");
}

static const struct tree_class dev = {
    .kind = TREE_DIR,
    .mode = 0755,
    .merged = true,
    .there = dev_there,
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

static const struct tree_fixed sysctl_fixed[] = {{"vm", &hugesys_vm}, {NULL, NULL}};
static const struct tree_class sysctl = {.kind = TREE_DIR, .mode = 0555, .merged = true, .fixed = sysctl_fixed};

static const struct tree_fixed proc_bus_fixed[] = {{"pci", &pci_proc_dir}, {NULL, NULL}};
static const struct tree_class proc_bus = {.kind = TREE_DIR, .mode = 0555, .merged = true, .fixed = proc_bus_fixed};

static const struct tree_fixed proc_fixed[] = {
    {"bus", &proc_bus},
    {"device-tree", &devtree_link},
    {"interrupts", &interrupts_file},
    {"iomem", &resources_iomem},
    {"ioports", &resources_ioports},
    {"meminfo", &hugesys_meminfo},
    {"sys", &sysctl},
    {NULL, NULL},
};
static bool proc_there(const struct tree_node *node)
{
    (void)node;
    return tree_top_there("/proc");
}

static const struct tree_class proc = {
    .kind = TREE_DIR,
    .mode = 0555,
    .merged = true,
    .there = proc_there,
    .fixed = proc_fixed,
    .find = process_find,
};

/* --- /sys --- */

static const struct tree_fixed devicetree_fixed[] = {{"base", &devtree_base}, {NULL, NULL}};
static const struct tree_class devicetree = {.kind = TREE_DIR, .mode = 0755, .fixed = devicetree_fixed};

static const struct tree_fixed firmware_fixed[] = {
    {"devicetree", &devicetree},
    {"fdt", &devtree_blob},
    {NULL, NULL},
};
static const struct tree_class firmware = {.kind = TREE_DIR, .mode = 0755, .merged = true, .fixed = firmware_fixed};

static const struct tree_fixed system_fixed[] = {{"node", &hugesys_nodes}, {NULL, NULL}};
static const struct tree_class system_dir = {.kind = TREE_DIR, .mode = 0755, .merged = true, .fixed = system_fixed};

static bool devices_hides(const char *name)
{
    return begins(name, "pci0");
}

static const struct tree_fixed devices_fixed[] = {
    {"pci0000:00", &pci_root_dir},
    {"platform", &uio_platform},
    {"system", &system_dir},
    {NULL, NULL},
};
static const struct tree_class devices = {
    .kind = TREE_DIR,
    .mode = 0755,
    .merged = true,
    .fixed = devices_fixed,
    .hides = devices_hides,
};

static const struct tree_fixed bus_fixed[] = {{"pci", &pci_bus_dir}, {NULL, NULL}};
static const struct tree_class bus_dir = {.kind = TREE_DIR, .mode = 0755, .merged = true, .fixed = bus_fixed};

static const struct tree_fixed mm_fixed[] = {{"hugepages", &hugesys_sizes}, {NULL, NULL}};
static const struct tree_class mm = {.kind = TREE_DIR, .mode = 0755, .merged = true, .fixed = mm_fixed};

static const struct tree_fixed kernel_fixed[] = {{"mm", &mm}, {NULL, NULL}};
static const struct tree_class kernel = {.kind = TREE_DIR, .mode = 0755, .merged = true, .fixed = kernel_fixed};

static const struct tree_fixed class_fixed[] = {
    {"u-dma-buf", &udmabuf_class},
    {"udmabuf", &udmabuf_class},
    {"uio", &uio_class},
    {NULL, NULL},
};
static const struct tree_class class_dir = {.kind = TREE_DIR, .mode = 0755, .merged = true, .fixed = class_fixed};

static const struct tree_fixed sys_fixed[] = {
    {"bus", &bus_dir},
    {"class", &class_dir},
    {"devices", &devices},
    {"firmware", &firmware},
    {"kernel", &kernel},
    {NULL, NULL},
};
static bool sys_there(const struct tree_node *node)
{
    (void)node;
    return tree_top_there("/sys");
}

static const struct tree_class sys_dir = {.kind = TREE_DIR, .mode = 0555, .merged = true, .there = sys_there, .fixed = sys_fixed};

/* --- / --- */

static const struct tree_fixed root_fixed[] = {
    {"dev", &dev},
    {"proc", &proc},
    {"sys", &sys_dir},
    {NULL, NULL},
};
const struct tree_class tree_root = {.kind = TREE_DIR, .mode = 0755, .merged = true, .fixed = root_fixed};
