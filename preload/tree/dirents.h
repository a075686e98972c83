/* What getdents64(2) says of a directory of the tree. */
#ifndef MMIOSHIM_TREE_DIRENTS_H
#define MMIOSHIM_TREE_DIRENTS_H

#include "tree/tree.h"

/* All entries, "." and ".." first, one behind the other; each has as its offset where the next one begins. */
void dirents_make(const struct tree_node *dir, const char *path, struct fmt *out);
/*
 * Those that a directory has beside the host's, from number `first` on, as many as fit. Offsets count them from
 * DIRENTS_OURS on. Bytes; 0: there are no more. -EINVAL: not one fits.
 */
#define DIRENTS_OURS ((u64)1 << 62)
/* dir: class NULL where only the overlay adds to it. */
long dirents_more(const struct tree_node *dir, const char *path, u32 first, u8 *to, size_t room, u32 *next);
/* Takes out of the host's entries those that are hidden, or the tree's own. The bytes that are left. */
size_t dirents_strip(const struct tree_node *dir, const char *path, u8 *entries, size_t n);

#endif
