#include "tree/tree.h"

#include "base/mem.h"

const struct machine *tree_machine;
const struct view *tree_view, *tree_ports;
struct bus *tree_bus;

void tree_start(struct bus *bus, const struct view *view, const struct view *ports)
{
    tree_view = view;
    tree_ports = ports;
    tree_bus = bus;
    tree_machine = bus->machine;
    tree_cwd_start();
}

static bool sandboxed;

void tree_sandboxed(void)
{
    __atomic_store_n(&sandboxed, true, __ATOMIC_RELAXED);
}

bool tree_asks_host(void)
{
    return !__atomic_load_n(&sandboxed, __ATOMIC_RELAXED);
}

static bool is_there(const struct tree_node *node)
{
    return !node->class->there || node->class->there(node);
}

bool tree_list(const struct tree_node *dir, u32 n, struct tree_entry *entry)
{
    const struct tree_fixed *f = dir->class->fixed;

    for (; f && f->name; f++) {
        struct tree_node node = {f->class, dir->a, dir->b};
        struct fmt name = FMT_INIT(entry->name);

        if (!is_there(&node) || n-- > 0)
            continue;
        fmt_str(&name, f->name);
        fmt_end(&name);
        entry->node = node;
        return true;
    }
    return dir->class->list && dir->class->list(dir, n, entry);
}

static bool fixed_child(const struct tree_node *dir, const char *name, struct tree_node *child)
{
    for (const struct tree_fixed *f = dir->class->fixed; f && f->name; f++)
        if (strcmp(f->name, name) == 0) {
            *child = (struct tree_node){f->class, dir->a, dir->b};
            return is_there(child);
        }
    return false;
}

bool tree_child_listed(const struct tree_node *dir, const char *name, struct tree_node *child)
{
    struct tree_entry entry;

    if (fixed_child(dir, name, child))
        return true;
    for (u32 i = 0; dir->class->list && dir->class->list(dir, i, &entry); i++)
        if (strcmp(entry.name, name) == 0) {
            *child = entry.node;
            return true;
        }
    return false;
}

bool tree_child(const struct tree_node *dir, const char *name, struct tree_node *child)
{
    return (dir->class->find && dir->class->find(dir, name, child)) || tree_child_listed(dir, name, child);
}

u64 tree_size(const struct tree_node *node)
{
    if (node->class->size)
        return node->class->size(node);
    return node->class->kind == TREE_FILE && node->class->show ? PAGE_SIZE : 0;
}
