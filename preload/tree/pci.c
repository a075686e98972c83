/* PCI functions by name and place: /sys/devices/pci0000:00. */
#include "tree/pci.h"

#include "base/mem.h"
#include "tree/parts.h"

void pci_slot_name(u32 function, struct fmt *text)
{
    struct pci_info i;

    pci_info(function, &i);
    fmt_str(text, "0000:");
    fmt_hexpad(text, i.bus, 2);
    fmt_char(text, ':');
    fmt_hexpad(text, i.devfn >> 3, 2);
    fmt_printf(text, ".%u", i.devfn & 7u);
}

/* The bridge above, or that of the physical function, on whose bus a virtual one is shown. */
static int above(u32 function)
{
    struct pci_info i;

    pci_info(function, &i);
    if (i.physical >= 0)
        pci_info((u32)i.physical, &i);
    return i.parent;
}

#define DEEPEST 32

void pci_slot_path(u32 function, struct fmt *text)
{
    int chain[DEEPEST], n = 0;

    for (int at = (int)function; at >= 0 && n < DEEPEST; at = above((u32)at))
        chain[n++] = at;
    fmt_str(text, "pci0000:00");
    while (n--) {
        fmt_char(text, '/');
        pci_slot_name((u32)chain[n], text);
    }
}

void pci_slot_up(u32 function, struct fmt *text)
{
    fmt_str(text, "../../");
    for (int at = (int)function; at >= 0; at = above((u32)at))
        fmt_str(text, "../");
}

bool pci_present(u32 function)
{
    struct pci_info i;

    pci_info(function, &i);
    return i.there;
}

bool pci_nth(u32 n, u32 *function)
{
    for (u32 f = 0; f < pci_functions(); f++)
        if (pci_present(f) && n-- == 0) {
            *function = f;
            return true;
        }
    return false;
}

int pci_by_name(const char *text, size_t n)
{
    while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
        n--;
    for (u32 f = 0; f < pci_functions(); f++) {
        char name[TREE_NAME];
        struct fmt t = FMT_INIT(name);

        pci_slot_name(f, &t);
        if (pci_present(f) && t.len == n && memcmp(name, text, n) == 0)
            return (int)f;
    }
    return -1;
}

/* The n-th function right below a bridge, or, -1, on the root bus. */
bool pci_list_below(int bridge, u32 n, struct tree_entry *e)
{
    for (u32 f = 0; f < pci_functions(); f++) {
        struct fmt name = FMT_INIT(e->name);

        if (!pci_present(f) || above(f) != bridge || n-- > 0)
            continue;
        pci_slot_name(f, &name);
        fmt_end(&name);
        e->node = (struct tree_node){&pci_function_dir, f, 0};
        return true;
    }
    return false;
}

static bool list_root(const struct tree_node *dir, u32 index, struct tree_entry *e)
{
    (void)dir;
    return pci_list_below(-1, index, e);
}

static bool any(const struct tree_node *node)
{
    (void)node;
    return pci_functions() != 0;
}

const struct tree_class pci_root_dir = {.kind = TREE_DIR, .mode = 0755, .list = list_root, .there = any};
