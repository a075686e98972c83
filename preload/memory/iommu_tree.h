/*
 * The mappings of IOMMU domains: disjoint ranges in one AVL tree (Adelson-Velsky
 * and Landis, 1962: heights of siblings differ by 1 at most) a domain, all from
 * one pool. Indices, not pointers; whatever they are, nobody leaves the pool or goes
 * round for ever. Private to memory/iommu.c, under its locks.
 */
#ifndef MMIOSHIM_MEMORY_IOMMU_TREE_H
#define MMIOSHIM_MEMORY_IOMMU_TREE_H

#include "memory/iommu.h"

#define TREE_DEPTH 32u /* more than a tree of IOMMU_MAPPINGS can have: 1.45 log2 */

/* The lowest mapping that ends at addr or above it. NULL: none. */
const struct iommu_mapping *tree_from(const struct iommu *t, u32 root, u64 addr);
/* Takes first, last, target and flags of a mapping that overlaps no other. False: there is no room. */
bool tree_add(struct iommu *t, u16 slot, const struct iommu_mapping *mapping);
/* Removes what lies between, both included. */
void tree_remove(struct iommu *t, u16 slot, u64 first, u64 last);
/* Removes everything. */
void tree_clear(struct iommu *t, u16 slot);
/* Makes the tree of a domain anew from its mappings; and the list of those that are free. */
void tree_rebuild(struct iommu *t, u16 slot);
void tree_collect(struct iommu *t);

#endif
