// flags: -DRAM=0x81000000ul -DBUS_OFFSET=-0x81000000ul -DINTERRUPTS=0
/* The driver of examples/virtio-blk.c behind a bus whose address 0 is RAM at 0x81000000. */
#include "../../examples/virtio-blk.c"
