/*
 * /dev/port, mem(4): the I/O ports of a machine that has them, a byte at a time as Linux has it
 * (drivers/char/mem.c, read_port and write_port). Not mapped: ENODEV.
 */
#include "config/machine.h"
#include "tree/parts.h"

static bool has_ports(const struct tree_node *node)
{
    (void)node;
    return tree_machine->desc->ioports;
}

static bool port_at(const struct tree_node *node, u64 offset, u32 *port, u32 *room)
{
    (void)node;
    if (offset >= MACHINE_PORTS)
        return false;
    *port = (u32)offset;
    *room = MACHINE_PORTS - (u32)offset;
    return true;
}

const struct tree_class port_device = {
    .kind = TREE_DEVICE,
    .mode = 0640,
    .major = 1,
    .minor = 4,
    .there = has_ports,
    .port = port_at,
    .bytewise = true,
};
