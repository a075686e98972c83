/*
 * /dev/gpiomem: the GPIO registers of a Raspberry Pi, and nothing else, for programs that may not open /dev/mem. As the
 * driver bcm2835-gpiomem of its kernels has it: whatever offset is asked for, a mapping begins with the page of the first
 * register. Neither read nor written.
 */
#include <errno.h>

#include "base/types.h"
#include "config/machine.h"
#include "tree/parts.h"

#define GPIOMEM_MAJOR 246 /* where those kernels have it; one of the dynamic numbers */

static const struct machine_window *bank(void)
{
    const struct machine_desc *desc = tree_machine->desc;

    for (u32 i = 0; i < desc->nwindows; i++)
        if (machine_compatible(desc, &desc->windows[i], "brcm,bcm2835-gpio"))
            return &desc->windows[i];
    return NULL;
}

static bool has_bank(const struct tree_node *node)
{
    (void)node;
    return bank();
}

static long map_bank(const struct tree_node *node, u64 offset, u64 length, u64 *machine)
{
    (void)node;
    (void)offset;
    (void)length;
    *machine = page_down(bank()->range.base);
    return 0;
}

static long no_read(const struct tree_node *node, u64 offset, void *to, size_t n)
{
    (void)node, (void)offset, (void)to, (void)n;
    return -EINVAL;
}

static long no_write(const struct tree_node *node, u64 offset, const void *from, size_t n)
{
    (void)node, (void)offset, (void)from, (void)n;
    return -EINVAL;
}

const struct tree_class gpiomem_device = {
    .kind = TREE_DEVICE,
    .mode = 0660,
    .major = GPIOMEM_MAJOR,
    .there = has_bank,
    .read = no_read,
    .write = no_write,
    .map = map_bank,
};
