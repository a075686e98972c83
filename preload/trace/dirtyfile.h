/*
 * The file with the dirty bitmap (MMIOSHIM_DIRTY): which pages of RAM the
 * machine's programs and devices wrote. Little-endian throughout:
 *
 *   header   magic "MMIODIRT", version, page size, number of banks, file size
 *   banks    one entry each: base, size, offset of its bitmap, name
 *   bitmaps  one bit a page, bit 0 of byte 0 is the first page of the bank
 *            (the layout of KVM_GET_DIRTY_LOG); bits behind the last page are 0
 *
 * The writer is pure and trap-safe: bytes go to a sink. The reader works on
 * the whole file in memory and believes nothing in it.
 */
#ifndef MMIOSHIM_TRACE_DIRTYFILE_H
#define MMIOSHIM_TRACE_DIRTYFILE_H

#include "base/fmt.h"
#include "base/range.h"
#include "trace/print.h"

#define DIRTYFILE_MAGIC   "MMIODIRT"
#define DIRTYFILE_VERSION 1u
#define DIRTYFILE_BANKS   32u /* as many as a machine may have */
#define DIRTYFILE_NAME    64u /* bytes of a name with its terminator */
#define DIRTYFILE_ALIGN   8u  /* bitmaps start at multiples of this */

struct dirtyfile_header {
    char magic[8];
    u32 version;
    u32 page_size; /* bytes, a power of two */
    u32 nbanks;
    u32 reserved; /* 0 */
    u64 file_size;
};

struct dirtyfile_entry {
    u64 base; /* physical address, a whole number of pages */
    u64 size; /* bytes, a whole number of pages, not 0 */
    u64 offset; /* of the bitmap, from the start of the file */
    char name[DIRTYFILE_NAME]; /* terminated, the rest 0 */
};

_Static_assert(sizeof(struct dirtyfile_header) == 32, "the format is fixed");
_Static_assert(sizeof(struct dirtyfile_entry) == 88, "the format is fixed");

/* Takes the next n bytes of the file. 0, or a negative number that ends the writing. */
typedef long (*dirtyfile_sink)(void *context, const void *bytes, size_t n);

/*
 * Writes the whole file. bitmaps[i] has one bit for each page of banks[i];
 * bits behind the last page may be set and are written as 0. At most
 * DIRTYFILE_BANKS banks; longer names are cut. 0, or what the sink answered,
 * or -EINVAL. Any context.
 */
long dirtyfile_write(const struct trace_bank *banks, const u8 *const *bitmaps, u32 nbanks, dirtyfile_sink sink,
                     void *context);

struct dirtyfile_bank {
    struct trace_bank bank; /* its name points into the file */
    const u8 *bitmap;       /* into the file */
    u64 pages;
    u64 dirty;              /* pages whose bit is set */
};

struct dirtyfile {
    u32 page_size;
    u32 nbanks;
    struct dirtyfile_bank banks[DIRTYFILE_BANKS]; /* ascending, none overlaps another */
};

/*
 * Reads a file of `size` bytes in memory, which must stay. 0, or -1 with the
 * reason in `error`. Afterwards everything in `file` is consistent: addresses do not
 * wrap, bitmaps lie inside the file. Never reads outside [data, data+size). Any context.
 */
int dirtyfile_read(struct dirtyfile *file, const void *data, size_t size, struct fmt *error);

/*
 * The next run of set bits at or behind *cursor, a page number that starts at 0. False: no more.
 * Linear in the pages between; runs neither overlap nor touch. Any context.
 */
bool bitmap_next_run(const u8 *bitmap, u64 pages, u64 *cursor, u64 *first, u64 *count);

/* Bits set among the first `pages`. */
u64 bitmap_count(const u8 *bitmap, u64 pages);

#endif
