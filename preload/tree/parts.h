/* The parts of the tree, each a file of this room; root.c hangs them up. */
#ifndef MMIOSHIM_TREE_PARTS_H
#define MMIOSHIM_TREE_PARTS_H

#include "tree/tree.h"

/* devtree.c */
extern const struct tree_class devtree_base; /* a: offset of the node in the blob; 0: the root */
extern const struct tree_class devtree_blob;
/* hugetlb.c */
#define HUGETLB_MOUNT  "/dev/hugepages"
#define HUGETLB_DEVICE 0xfffffull /* minor number of its st_dev: the kernel gives out small ones */
extern const struct tree_class hugetlb_dir; /* a: number of the directory (memory/huge.h), 0: the mount */
extern const struct tree_class hugetlb_file;
/* Is a descriptor, that was opened at `path`, one of a huge-page file? Also of one whose name is gone, or that has none. */
bool hugetlb_fd(int fd, const char *path, struct tree_node *node);
/* The path that a file has, or had. memory/huge.h is held. */
void hugetlb_path(u32 number, struct fmt *path);
/* numa.c */
extern const struct tree_class numa_maps;
/* hugesys.c */
extern const struct tree_class hugesys_sizes; /* /sys/kernel/mm/hugepages */
extern const struct tree_class hugesys_nodes; /* /sys/devices/system/node */
extern const struct tree_class hugesys_vm;    /* /proc/sys/vm */
extern const struct tree_class hugesys_meminfo;
/* process.c */
bool process_find(const struct tree_node *dir, const char *name, struct tree_node *child); /* in /proc */
/* pagemap.c */
extern const struct tree_class pagemap_file; /* a: pid */
/* resources.c */
extern const struct tree_class resources_iomem;
extern const struct tree_class resources_ioports;
/* The length of the node's name, without what its windows are told apart by. */
size_t resources_node_name(const struct machine_window *w);
/* interrupts.c */
extern const struct tree_class interrupts_file;
/* port.c */
extern const struct tree_class port_device;
/* udmabuf.c */
extern const struct tree_class udmabuf_class;                /* /sys/class/u-dma-buf */
bool udmabuf_list_dev(u32 index, struct tree_entry *entry); /* in /dev */
/* uio.c */
#define UIO_MAJOR 240 /* the first of those that Linux leaves to dynamic and local use */
u32 uio_count(void);  /* UIO devices of the device tree; those of PCI follow them */
extern const struct tree_class uio_class;    /* /sys/class/uio */
extern const struct tree_class uio_platform; /* /sys/devices/platform */
bool uio_list_dev(u32 index, struct tree_entry *entry); /* in /dev */
/* Is a descriptor one of /dev/uioN? Then its path, of TREE_PATH bytes. */
bool uio_fd(int fd, char *path);
/* gpiomem.c, mem.c, port.c */
extern const struct tree_class gpiomem_device, mem_device, port_device;

#endif
