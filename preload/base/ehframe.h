/*
 * Functions of a loaded file, by its unwind table: .eh_frame_hdr, LSB 5.0 core, 10.6.2. The table is believed only
 * where it and the entry that it leads to agree. Any context.
 */
#ifndef MMIOSHIM_BASE_EHFRAME_H
#define MMIOSHIM_BASE_EHFRAME_H

#include "base/types.h"

struct eh_function {
    u64 begin, end; /* 0: none */
    i64 index;      /* in the table, for its neighbours */
};

struct eh_table {
    const u8 *hdr;
    i64 count;
};

/* Of the encodings that linkers write: eh_frame pcrel sdata4, count udata4, table datarel sdata4. Else count is 0. */
struct eh_table eh_table_of(const u8 *eh_frame_hdr);
/* Entry i. */
struct eh_function eh_function_at(const struct eh_table *table, i64 i);
/* The function that holds an address. */
struct eh_function eh_function_of(const struct eh_table *table, u64 pc);

#endif
