/* /dev/port, mem(4): the I/O ports, a byte at a time. */
#include "tree/parts.h"

static bool has_ports(const struct tree_node *node)
{
    (void)node;
    return tree_machine->desc->ioports;
}

static bool port_at(const struct tree_node *node, u64 offset, u32 *port, u32 *room)
{
    (void)node;
    *port = (u32)offset;
    *room = MACHINE_PORTS - (u32)offset;
    return offset < MACHINE_PORTS;
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
