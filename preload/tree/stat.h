/* Identity of what is in the tree: the device is that of the host's file system there, the inode number a hash of the path. */
#ifndef MMIOSHIM_TREE_STAT_H
#define MMIOSHIM_TREE_STAT_H

#include "tree/tree.h"

u64 stat_ino(const char *path);
u64 stat_ino_below(const char *path, const char *name);
u64 stat_ino_parent(const char *path);

#endif
