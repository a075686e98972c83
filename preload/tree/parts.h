/* The parts of the tree, each a file of this room; root.c hangs them up. */
#ifndef MMIOSHIM_TREE_PARTS_H
#define MMIOSHIM_TREE_PARTS_H

#include "tree/tree.h"

/* devtree.c */
extern const struct tree_class devtree_base; /* a: offset of the node in the blob; 0: the root */
extern const struct tree_class devtree_blob;
/* mem.c */
extern const struct tree_class mem_device;

#endif
