/*
 * /sys/bus/pci: functions by name, and the drivers that programs bind them to. There is one, uio_pci_generic: it takes
 * functions whose ids were written to new_id, or whose driver_override names it, as in Linux.
 */
#include <errno.h>

#include "base/mem.h"
#include "tree/own.h"
#include "tree/parts.h"
#include "tree/pci.h"

#define DRIVER "uio_pci_generic"

static bool is_text(const char *text, size_t n, const char *is)
{
    while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
        n--;
    return strlen(is) == n && memcmp(text, is, n) == 0;
}

/* --- which functions the driver takes --- */

static u64 *ids(void)
{
    return tree_machine->arena->pci_ids;
}

/* Hexadecimal digits; *at moves behind them. False: there are none. */
static bool hex_word(const char *text, size_t n, size_t *at, u32 *value)
{
    size_t first;

    while (*at < n && text[*at] == ' ')
        ++*at;
    first = *at;
    for (*value = 0; *at < n; ++*at) {
        unsigned digit = tree_digit(text[*at]);

        if (digit > 15)
            break;
        *value = *value << 4 | digit;
    }
    return *at > first;
}

static bool parse_id(const char *text, size_t n, u64 *id)
{
    size_t at = 0;
    u32 vendor, dev;

    if (!hex_word(text, n, &at, &vendor) || !hex_word(text, n, &at, &dev))
        return false;
    *id = (u64)vendor << 32 | dev;
    return true;
}

static bool takes(u32 function)
{
    struct pci_info i;

    pci_info(function, &i);
    if (*pci_override_of(function))
        return strcmp(pci_override_of(function), DRIVER) == 0;
    for (unsigned k = 0; k < ARENA_PCI_IDS; k++)
        if (ids()[k] && ids()[k] == ((u64)i.vendor << 32 | i.device))
            return true;
    return false;
}

static long bind(u32 function)
{
    if (*pci_driver(function))
        return -EBUSY;
    if (!takes(function))
        return -ENODEV;
    if (!pci_uio_bind(function))
        return -ENOSPC;
    pci_bind(function, DRIVER, tree_self());
    pci_enable(function, true, tree_self());
    return 0;
}

static void unbind(u32 function)
{
    pci_uio_unbind(function);
    pci_bind(function, "", tree_self());
}

/* --- files of a driver --- */

static long store_bind(const struct tree_node *n, const char *text, size_t length)
{
    int f = pci_by_name(text, length);
    long ret = f < 0 ? -ENODEV : bind((u32)f);

    (void)n;
    return ret < 0 ? ret : (long)length;
}

static long store_unbind(const struct tree_node *n, const char *text, size_t length)
{
    int f = pci_by_name(text, length);

    (void)n;
    if (f < 0 || !*pci_driver((u32)f))
        return -ENODEV;
    unbind((u32)f);
    return (long)length;
}

/* The ids are remembered, and functions that have them and no driver are taken. */
static long store_new_id(const struct tree_node *n, const char *text, size_t length)
{
    u64 id;

    (void)n;
    if (!parse_id(text, length, &id))
        return -EINVAL;
    for (unsigned k = 0; k < ARENA_PCI_IDS; k++)
        if (ids()[k] == id)
            return -EEXIST;
    for (unsigned k = 0; k < ARENA_PCI_IDS; k++) {
        u64 none = 0;

        if (!__atomic_compare_exchange_n(&ids()[k], &none, id, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            continue;
        for (u32 f = 0; f < pci_functions(); f++)
            if (pci_present(f))
                bind(f);
        return (long)length;
    }
    return -ENOMEM;
}

static long store_remove_id(const struct tree_node *n, const char *text, size_t length)
{
    u64 id;

    (void)n;
    if (!parse_id(text, length, &id))
        return -EINVAL;
    for (unsigned k = 0; k < ARENA_PCI_IDS; k++)
        if (ids()[k] == id) {
            __atomic_store_n(&ids()[k], 0, __ATOMIC_RELAXED);
            return (long)length;
        }
    return -ENODEV;
}

/* --- driver_override, drivers_probe --- */

long pci_override(u32 function, const char *text, size_t n)
{
    while (n && text[n - 1] == '\n')
        n--;
    if (n >= PCI_DRIVER_NAME)
        return -EINVAL;
    pci_set_override(function, text, n, tree_self());
    return (long)(n + 1);
}

static long store_probe(const struct tree_node *n, const char *text, size_t length)
{
    int f = pci_by_name(text, length);

    (void)n;
    if (f < 0)
        return -ENODEV;
    return *pci_driver((u32)f) || bind((u32)f) == 0 ? (long)length : -EINVAL;
}

/* --- directories --- */

static void show_function(const struct tree_node *n, struct fmt *text)
{
    fmt_str(text, n->b ? "../../../../devices/" : "../../../devices/");
    pci_slot_path(n->a, text);
}

static const struct tree_class function_link = {.kind = TREE_LINK, .show = show_function};

static bool list_devices(const struct tree_node *dir, u32 index, struct tree_entry *e)
{
    struct fmt name = FMT_INIT(e->name);
    u32 f;

    (void)dir;
    if (!pci_nth(index, &f))
        return false;
    pci_slot_name(f, &name);
    fmt_end(&name);
    e->node = (struct tree_node){&function_link, f, 0};
    return true;
}

static bool list_bound(const struct tree_node *dir, u32 index, struct tree_entry *e)
{
    (void)dir;
    for (u32 f = 0; f < pci_functions(); f++) {
        struct fmt name = FMT_INIT(e->name);

        if (!pci_present(f) || !is_text(DRIVER, strlen(DRIVER), pci_driver(f)) || index-- > 0)
            continue;
        pci_slot_name(f, &name);
        fmt_end(&name);
        e->node = (struct tree_node){&function_link, f, 1};
        return true;
    }
    return false;
}

static long store_nothing(const struct tree_node *n, const char *text, size_t length)
{
    (void)n, (void)text;
    return (long)length;
}

static void show_one(const struct tree_node *n, struct fmt *text)
{
    (void)n;
    fmt_str(text, "1\n");
}

static const struct tree_class bind_file = {.kind = TREE_FILE, .mode = 0200, .store = store_bind};
static const struct tree_class unbind_file = {.kind = TREE_FILE, .mode = 0200, .store = store_unbind};
static const struct tree_class new_id = {.kind = TREE_FILE, .mode = 0200, .store = store_new_id};
static const struct tree_class remove_id = {.kind = TREE_FILE, .mode = 0200, .store = store_remove_id};
static const struct tree_class probe = {.kind = TREE_FILE, .mode = 0200, .store = store_probe};
static const struct tree_class autoprobe = {.kind = TREE_FILE, .mode = 0644, .show = show_one, .store = store_nothing};
static const struct tree_class ignored = {.kind = TREE_FILE, .mode = 0200, .store = store_nothing};

static const struct tree_fixed driver_fixed[] = {
    {"bind", &bind_file}, {"new_id", &new_id}, {"remove_id", &remove_id}, {"uevent", &ignored}, {"unbind", &unbind_file}, {NULL, NULL},
};
static const struct tree_class driver_dir = {.kind = TREE_DIR, .mode = 0755, .fixed = driver_fixed, .list = list_bound};
static const struct tree_fixed drivers_fixed[] = {{DRIVER, &driver_dir}, {NULL, NULL}};
static const struct tree_class drivers_dir = {.kind = TREE_DIR, .mode = 0755, .fixed = drivers_fixed};
static const struct tree_class devices_dir = {.kind = TREE_DIR, .mode = 0755, .list = list_devices};
static const struct tree_class slots_dir = {.kind = TREE_DIR, .mode = 0755};

static const struct tree_fixed bus_fixed[] = {
    {"devices", &devices_dir},  {"drivers", &drivers_dir},  {"drivers_autoprobe", &autoprobe}, {"drivers_probe", &probe},
    {"rescan", &ignored},       {"slots", &slots_dir},      {"uevent", &ignored},              {NULL, NULL},
};
const struct tree_class pci_bus_dir = {.kind = TREE_DIR, .mode = 0755, .fixed = bus_fixed};
