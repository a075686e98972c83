/*
 * /sys/firmware/devicetree/base: the machine's own device tree, as Linux shows one. A node is a directory, a property a
 * file of its bytes; each node has the property "name", made from its unit name where the blob has none.
 * Source: Documentation/ABI/testing/sysfs-firmware-ofw.
 */
#include <libfdt.h>

#include "base/mem.h"
#include "tree/parts.h"

static const void *blob(void)
{
    return tree_machine->desc->fdt;
}

/* a: offset of the node; b: of the property, 0 for a "name" that the blob has not. */
static const u8 *property(const struct tree_node *file, u32 *length)
{
    const char *name;
    int n = 0;
    const void *data;

    if (file->b) {
        data = fdt_getprop_by_offset(blob(), (int)file->b, &name, &n);
    } else {
        data = name = fdt_get_name(blob(), (int)file->a, &n);
        for (int i = 0; i < n; i++)
            if (name[i] == '@')
                n = i;
    }
    *length = data && n > 0 ? (u32)n : 0;
    return data;
}

/* The made-up name ends with a zero byte, as the property does. */
static u64 property_size(const struct tree_node *file)
{
    u32 n;

    property(file, &n);
    return n + !file->b;
}

static long property_read(const struct tree_node *file, u64 offset, void *to, size_t room)
{
    u64 size = property_size(file);
    u32 length;
    const u8 *data = property(file, &length);
    size_t n = offset < size ? MIN(room, size - offset) : 0;

    for (size_t i = 0; i < n; i++)
        ((u8 *)to)[i] = offset + i < length ? data[offset + i] : 0;
    return (long)n;
}

static const struct tree_class property_class = {
    .kind = TREE_FILE,
    .mode = 0444,
    .read = property_read,
    .size = property_size,
};

static void name_entry(struct tree_entry *entry, const char *name)
{
    struct fmt f = FMT_INIT(entry->name);

    fmt_str(&f, name);
    fmt_end(&f);
}

/* The index-th property, or the "name" behind the last; false and how many there were. */
static bool list_property(const struct tree_node *dir, u32 index, struct tree_entry *entry, u32 *count)
{
    const char *name;
    bool named = false;
    int p;

    *count = 0;
    fdt_for_each_property_offset(p, blob(), (int)dir->a) {
        if (!fdt_getprop_by_offset(blob(), p, &name, NULL))
            continue;
        named |= strcmp(name, "name") == 0;
        if (++*count <= index)
            continue;
        name_entry(entry, name);
        entry->node = (struct tree_node){&property_class, dir->a, (u32)p};
        return true;
    }
    if (named || ++*count <= index)
        return false;
    name_entry(entry, "name");
    entry->node = (struct tree_node){&property_class, dir->a, 0};
    return true;
}

static bool list_node(const struct tree_node *dir, u32 index, struct tree_entry *entry)
{
    u32 properties;
    int child;

    if (list_property(dir, index, entry, &properties))
        return true;
    index -= properties;
    fdt_for_each_subnode(child, blob(), (int)dir->a) {
        const char *name = fdt_get_name(blob(), child, NULL);

        if (!name || index-- > 0)
            continue;
        name_entry(entry, name);
        entry->node = (struct tree_node){&devtree_base, (u32)child, 0};
        return true;
    }
    return false;
}

const struct tree_class devtree_base = {.kind = TREE_DIR, .mode = 0755, .list = list_node};

/* /sys/firmware/fdt: the blob itself. */
static long blob_read(const struct tree_node *file, u64 offset, void *to, size_t room)
{
    u64 size = tree_machine->desc->fdt_size;
    size_t n = offset < size ? MIN(room, size - offset) : 0;

    (void)file;
    memcpy(to, (const u8 *)blob() + offset, n);
    return (long)n;
}

static u64 blob_size(const struct tree_node *file)
{
    (void)file;
    return tree_machine->desc->fdt_size;
}

const struct tree_class devtree_blob = {.kind = TREE_FILE, .mode = 0400, .read = blob_read, .size = blob_size};
