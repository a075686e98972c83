/* Numbers by a pair of numbers, in a hash table that grows. */
#ifndef MMIOSHIM_TOOLS_TABLE_H
#define MMIOSHIM_TOOLS_TABLE_H

#include "base/types.h"

struct table_entry {
    u64 a, b, number;
};

struct table {
    struct table_entry *entries; /* number 0: free */
    size_t size, used;
};

/* The number of a pair, 0 when it is new: then the caller must set it before it looks up anything else. Never NULL. */
u64 *table_find(struct table *table, u64 a, u64 b);
/* The number of a pair, 0: there is none. */
u64 table_get(const struct table *table, u64 a, u64 b);
void table_free(struct table *table);

/* An array that grows by one: makes room for number `count`. Without memory the command ends. */
void *table_grow(void *array, size_t count, size_t *room, size_t bytes);

#endif
