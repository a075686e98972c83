#include "trace/dirtyfile.h"

#include <errno.h>

#include "base/mem.h"

#include "base/trapsafe.h"

/* Neither sum can overflow: bitmaps are at most 2^64 / 4096 / 8 bytes. */
static u64 bitmap_bytes(u64 size, u64 page_size)
{
    u64 pages = size / page_size + (size % page_size != 0);

    return pages / 8 + (pages % 8 != 0);
}

static u64 aligned(u64 bytes)
{
    return (bytes + DIRTYFILE_ALIGN - 1) & ~(u64)(DIRTYFILE_ALIGN - 1);
}

static bool name_char(char c)
{
    return c > ' ' && c < 0x7f;
}

/* What the reader would refuse becomes a question mark. */
static void copy_name(char to[DIRTYFILE_NAME], const char *name)
{
    memset(to, 0, DIRTYFILE_NAME);
    to[0] = '?';
    for (size_t i = 0; i < DIRTYFILE_NAME - 1 && name[i]; i++)
        to[i] = name_char(name[i]) ? name[i] : '?';
}

static long write_bitmap(const u8 *bitmap, u64 size, dirtyfile_sink sink, void *context)
{
    static const u8 zeros[DIRTYFILE_ALIGN];
    u64 pages = size / PAGE_SIZE, whole = pages / 8;
    u64 padding = aligned(bitmap_bytes(size, PAGE_SIZE)) - bitmap_bytes(size, PAGE_SIZE);
    long ret = whole ? sink(context, bitmap, whole) : 0;

    if (ret == 0 && pages % 8) {
        u8 last = bitmap[whole] & (u8)((1u << pages % 8) - 1);

        ret = sink(context, &last, 1);
    }
    if (ret == 0 && padding)
        ret = sink(context, zeros, padding);
    return ret;
}

/* Only what the reader accepts is written. */
static bool banks_valid(const struct trace_bank *banks, u32 nbanks)
{
    if (nbanks > DIRTYFILE_BANKS)
        return false;
    for (u32 i = 0; i < nbanks; i++) {
        struct range r = banks[i].range;

        if (r.size == 0 || r.base % PAGE_SIZE || r.size % PAGE_SIZE || !range_valid(r))
            return false;
        if (i && r.base <= range_last(banks[i - 1].range))
            return false;
    }
    return true;
}

long dirtyfile_write(const struct trace_bank *banks, const u8 *const *bitmaps, u32 nbanks, dirtyfile_sink sink,
                     void *context)
{
    struct dirtyfile_header header = {.version = DIRTYFILE_VERSION, .page_size = PAGE_SIZE, .nbanks = nbanks};
    u64 offset = sizeof(header) + nbanks * sizeof(struct dirtyfile_entry);
    u64 end = offset;
    long ret;

    if (!banks_valid(banks, nbanks))
        return -EINVAL;
    memcpy(header.magic, DIRTYFILE_MAGIC, sizeof(header.magic));
    for (u32 i = 0; i < nbanks; i++)
        end += aligned(bitmap_bytes(banks[i].range.size, PAGE_SIZE));
    header.file_size = end;
    ret = sink(context, &header, sizeof(header));
    for (u32 i = 0; i < nbanks && ret == 0; i++) {
        struct dirtyfile_entry entry = {banks[i].range.base, banks[i].range.size, offset, {0}};

        copy_name(entry.name, banks[i].name);
        offset += aligned(bitmap_bytes(entry.size, PAGE_SIZE));
        ret = sink(context, &entry, sizeof(entry));
    }
    for (u32 i = 0; i < nbanks && ret == 0; i++)
        ret = write_bitmap(bitmaps[i], banks[i].range.size, sink, context);
    return ret;
}

static int refuse(struct fmt *error, const char *why)
{
    fmt_str(error, why);
    return -1;
}

static int refuse_bank(struct fmt *error, u32 bank, const char *why)
{
    fmt_printf(error, "bank %u: %s", bank, why);
    return -1;
}

static int check_header(const struct dirtyfile_header *header, size_t size, struct fmt *error)
{
    u32 page = header->page_size;

    if (memcmp(header->magic, DIRTYFILE_MAGIC, sizeof(header->magic)) != 0)
        return refuse(error, "no dirty bitmap of mmioshim (it does not start with " DIRTYFILE_MAGIC ")");
    if (header->version != DIRTYFILE_VERSION) {
        fmt_printf(error, "version %u; this program reads version %u", header->version, DIRTYFILE_VERSION);
        return -1;
    }
    if (header->file_size != size)
        return refuse(error, header->file_size > size ? "the file is truncated" : "the file goes on behind its end");
    if (page < 512 || page > 1u << 30 || (page & (page - 1)))
        return refuse(error, "the page size is no power of two between 512 and 2^30");
    if (header->nbanks > DIRTYFILE_BANKS)
        return refuse(error, "more than 32 banks");
    if (header->nbanks > (size - sizeof(*header)) / sizeof(struct dirtyfile_entry))
        return refuse(error, "the table of banks does not fit into the file");
    return 0;
}

/* A name is shown as it is: no control characters, and terminated. */
static bool name_valid(const char name[DIRTYFILE_NAME])
{
    for (size_t i = 0; i < DIRTYFILE_NAME; i++) {
        if (!name[i])
            return i != 0;
        if (!name_char(name[i]))
            return false;
    }
    return false;
}

static bool tail_clear(const u8 *bitmap, u64 pages)
{
    return pages % 8 == 0 || bitmap[pages / 8] >> pages % 8 == 0;
}

/* `inside` is the part of the file behind the bitmaps of the banks before: bitmaps do not overlap. */
static int check_entry(const struct dirtyfile *file, u32 i, const struct dirtyfile_entry *entry, struct range inside,
                       struct fmt *error)
{
    struct range range = {entry->base, entry->size};

    if (range.size == 0 || range.base % file->page_size || range.size % file->page_size)
        return refuse_bank(error, i, "base or size is no whole number of pages");
    if (!range_valid(range))
        return refuse_bank(error, i, "the addresses wrap");
    if (i && range.base <= range_last(file->banks[i - 1].bank.range))
        return refuse_bank(error, i, "it does not lie above the bank before it");
    if (entry->offset % DIRTYFILE_ALIGN ||
        !range_contains(inside, entry->offset, bitmap_bytes(range.size, file->page_size)))
        return refuse_bank(error, i, "the bitmap does not lie in its part of the file");
    return 0;
}

/* Takes the entry of bank i, and its bitmap out of `inside`. */
static int read_bank(struct dirtyfile *file, u32 i, const u8 *data, struct range *inside, struct fmt *error)
{
    const u8 *at = data + sizeof(struct dirtyfile_header) + i * sizeof(struct dirtyfile_entry);
    struct dirtyfile_bank *bank = &file->banks[i];
    struct dirtyfile_entry entry;
    u64 end;

    memcpy(&entry, at, sizeof(entry));
    if (check_entry(file, i, &entry, *inside, error) < 0)
        return -1;
    bank->bank.name = (const char *)at + offsetof(struct dirtyfile_entry, name);
    bank->bank.range = (struct range){entry.base, entry.size};
    bank->pages = entry.size / file->page_size;
    bank->bitmap = data + entry.offset;
    if (!name_valid(bank->bank.name))
        return refuse_bank(error, i, "the name is empty, too long or not printable");
    if (!tail_clear(bank->bitmap, bank->pages))
        return refuse_bank(error, i, "bits behind its last page are set");
    bank->dirty = bitmap_count(bank->bitmap, bank->pages);
    end = entry.offset + bitmap_bytes(entry.size, file->page_size);
    inside->size -= end - inside->base;
    inside->base = end;
    return 0;
}

int dirtyfile_read(struct dirtyfile *file, const void *data, size_t size, struct fmt *error)
{
    struct dirtyfile_header header;
    struct range inside;

    memset(file, 0, sizeof(*file));
    if (size < sizeof(header))
        return refuse(error, "too short for a dirty bitmap");
    memcpy(&header, data, sizeof(header));
    if (check_header(&header, size, error) < 0)
        return -1;
    file->page_size = header.page_size;
    inside.base = sizeof(header) + header.nbanks * sizeof(struct dirtyfile_entry);
    inside.size = size - inside.base;
    for (u32 i = 0; i < header.nbanks; i++)
        if (read_bank(file, i, data, &inside, error) < 0)
            return -1;
    file->nbanks = header.nbanks;
    return 0;
}
