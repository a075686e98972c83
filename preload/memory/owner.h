/* Who already has an address range: for messages. Ordinary context. */
#ifndef MMIOSHIM_MEMORY_OWNER_H
#define MMIOSHIM_MEMORY_OWNER_H

#include "base/fmt.h"
#include "base/range.h"

/* Appends the owner of the first mapping that overlaps the range, with its addresses, from /proc/self/maps. */
void owner_describe(struct range range, struct fmt *out);

#endif
