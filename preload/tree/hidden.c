/*
 * sysfs lists a device in many places (its class, its bus, its driver, its number), each a link to the one below
 * /sys/devices. Where that one is hidden, so are they: sysfs has no link that leads nowhere, and programs know that.
 */
#include <fcntl.h>

#include "base/mem.h"
#include "base/sys.h"
#include "tree/tree.h"

/* Behind "devices/" in the target of a link, NULL: it does not lead there. */
static const char *below_devices(const char *target)
{
    static const char name[] = "devices/";

    while (strncmp(target, "../", 3) == 0)
        target += 3;
    return strncmp(target, name, sizeof(name) - 1) == 0 ? target + sizeof(name) - 1 : NULL;
}

/* Has the tree anything to say of what begins with this directory of /sys/devices? */
static bool is_told(const char *path)
{
    const struct tree_node root = {&tree_root, 0, 0};
    struct tree_node sys_dir, devices, child;
    char name[TREE_NAME];
    size_t n = 0;

    while (path[n] && path[n] != '/' && n < sizeof(name) - 1) {
        name[n] = path[n];
        n++;
    }
    name[n] = 0;
    if (!tree_child(&root, "sys", &sys_dir) || !tree_child(&sys_dir, "devices", &devices))
        return false;
    return tree_child(&devices, name, &child) || (devices.class->hides && devices.class->hides(name));
}

bool tree_hidden_link(const char *path)
{
    char target[TREE_PATH];
    struct tree_walk w;
    const char *rest;
    long n;

    if (strncmp(path, "/sys/", 5) != 0)
        return false;
    n = sys_readlink(path, target, sizeof(target) - 1);
    if (n <= 0)
        return false;
    target[n] = 0;
    rest = below_devices(target);
    if (!rest || !is_told(rest))
        return false;
    tree_find(&w, AT_FDCWD, path, true);
    return w.where == TREE_FAILED;
}
