/* The parts of the tree, each a file of this room; root.c hangs them up. */
#ifndef MMIOSHIM_TREE_PARTS_H
#define MMIOSHIM_TREE_PARTS_H

#include "tree/tree.h"

/* devtree.c */
extern const struct tree_class devtree_base; /* a: offset of the node in the blob; 0: the root */
extern const struct tree_class devtree_blob;
/* uio.c */
#define UIO_MAJOR 240 /* the first of those that Linux leaves to dynamic and local use */
u32 uio_count(void);  /* UIO devices of the device tree; those of PCI follow them */
extern const struct tree_class uio_class;    /* /sys/class/uio */
extern const struct tree_class uio_platform; /* /sys/devices/platform */
bool uio_list_dev(u32 index, struct tree_entry *entry); /* in /dev */
/* Is a descriptor one of /dev/uioN? Then its path, of TREE_PATH bytes. */
bool uio_fd(int fd, char *path);
/* mem.c */
extern const struct tree_class mem_device;

#endif
