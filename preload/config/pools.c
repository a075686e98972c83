#include "config/pools.h"

#include <libfdt.h>

#include "base/mem.h"
#include "config/fdt.h"

/* --- numbers in text, and properties --- */

static u32 cells_of(const void *fdt, int node, const char *name, u32 absent)
{
    int length = 0;
    const u8 *p = fdt_getprop(fdt, node, name, &length);

    return p && length == 4 ? (u32)dt_cells(p, 1) : absent;
}

/* A property of one number, of one or two cells. */
static u64 number_of(const void *fdt, int node, const char *name, u64 absent)
{
    int length = 0;
    const u8 *p = fdt_getprop(fdt, node, name, &length);

    return p && (length == 4 || length == 8) ? dt_cells(p, (u32)length / 4) : absent;
}

static bool has(const void *fdt, int node, const char *name)
{
    return fdt_getprop(fdt, node, name, NULL) != NULL;
}

/* Decimal or 0x, with K, M or G: memparse() of the kernel. */
static u64 parse_size(const char *p)
{
    bool hex = p[0] == '0' && (p[1] | 0x20) == 'x';
    u64 value = 0;

    for (p += hex ? 2 : 0;; p++) {
        unsigned c = (unsigned char)*p, digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;

        if (digit >= (hex ? 16u : 10u) || value >> 59)
            break;
        value = value * (hex ? 16 : 10) + digit;
    }
    switch (*p | 0x20) {
    case 'g': return value << 30;
    case 'm': return value << 20;
    case 'k': return value << 10;
    default: return value;
    }
}

/* The value of a word "NAME=..." of the kernel's command line; '-' and '_' are the same there. NULL: it is not there. */
static const char *argument(const char *line, const char *name)
{
    size_t n = strlen(name), i;

    for (const char *p = line; *p; p += *p != 0) {
        for (i = 0; i < n && (p[i] == name[i] || (p[i] == '_' && name[i] == '-')); i++)
            ;
        if (i == n && p[n] == '=')
            return p + n + 1;
        while (*p && *p != ' ')
            p++;
    }
    return NULL;
}

static const char *command_line(const void *fdt)
{
    int length = 0, node = fdt_path_offset(fdt, "/chosen");
    const char *line = node >= 0 ? fdt_getprop(fdt, node, "bootargs", &length) : NULL;

    return line && length > 0 && !line[length - 1] ? line : "";
}

/* --- /reserved-memory --- */

static bool region_of(const void *fdt, int parent, int node, struct pools_region *r)
{
    u32 address = cells_of(fdt, parent, "#address-cells", 2), size = cells_of(fdt, parent, "#size-cells", 1);
    struct fmt name = FMT_INIT(r->name);
    int length = 0;
    const u8 *reg = fdt_getprop(fdt, node, "reg", &length);

    if (!reg || address < 1 || address > 2 || size < 1 || size > 2 || (u32)length < 4 * (address + size))
        return false;
    r->range = (struct range){dt_cells(reg, address), dt_cells(reg + 4 * address, size)};
    r->phandle = fdt_get_phandle(fdt, node);
    r->no_map = has(fdt, node, "no-map");
    r->pool = !r->no_map && has(fdt, node, "reusable") && fdt_node_check_compatible(fdt, node, "shared-dma-pool") == 0;
    fmt_str(&name, fdt_get_name(fdt, node, NULL));
    fmt_end(&name);
    return range_valid(r->range) && r->range.size;
}

static void read_regions(const struct machine_desc *desc, struct machine_pools *p)
{
    int parent = fdt_path_offset(desc->fdt, "/reserved-memory"), node;

    if (parent < 0)
        return;
    fdt_for_each_subnode(node, desc->fdt, parent)
        if (p->nregions < POOLS_REGIONS && region_of(desc->fdt, parent, node, &p->regions[p->nregions]))
            p->nregions++;
}

/* --- who has a range --- */

/* Somebody who has a byte of a range. False: nobody. */
static bool taken(const struct machine_desc *desc, const struct machine_pools *p, struct range range, struct range *by)
{
    for (u32 i = 0; p && i < p->nregions; i++)
        if (!p->regions[i].pool && range_overlaps(*by = p->regions[i].range, range))
            return true;
    for (u32 i = 0; p && i < p->nbuffers; i++)
        if (range_overlaps(*by = p->buffers[i].range, range))
            return true;
    for (u32 i = 0; i < desc->nwindows; i++)
        if (range_overlaps(*by = desc->windows[i].range, range))
            return true;
    return false;
}

static bool in_a_bank(const struct machine_desc *desc, struct range range)
{
    bool in = false;

    for (u32 i = 0; i < desc->nbanks; i++)
        in |= range_contains(desc->banks[i].range, range.base, range.size);
    return in;
}

bool pools_ram(const struct machine_desc *desc, struct range range)
{
    struct range by;

    return in_a_bank(desc, range) && !taken(desc, NULL, range, &by);
}

bool pools_free(const struct machine_desc *desc, const struct machine_pools *p, struct range range)
{
    struct range by;

    return in_a_bank(desc, range) && !taken(desc, p, range, &by);
}

static struct range largest_bank(const struct machine_desc *desc)
{
    struct range best = {0, 0};

    for (u32 i = 0; i < desc->nbanks; i++)
        if (desc->banks[i].range.size > best.size)
            best = desc->banks[i].range;
    return best;
}

/* The highest free place in the largest bank, 0: there is none. Aligned to the next power of two, 2 MiB at most. */
static u64 place(const struct machine_desc *desc, const struct machine_pools *p, u64 size)
{
    struct range bank = largest_bank(desc), r = {0, size}, by = {bank.base + bank.size, 0};
    u64 align = PAGE_SIZE;

    while (align < size && align < HUGE_SIZE)
        align <<= 1;
    do {
        if (by.base < size || by.base - size < bank.base)
            return 0;
        r.base = (by.base - size) & ~(align - 1);
        if (r.base < bank.base || !r.base)
            return 0;
    } while (taken(desc, p, r, &by));
    return r.base;
}

/* --- u-dma-buf --- */

static int fail(struct fmt *error, const char *name, const char *what)
{
    fmt_printf(error, "%s: %s", name, what);
    return -1;
}

static const struct pools_region *region_by(const struct machine_pools *p, u32 phandle)
{
    for (u32 i = 0; i < p->nregions; i++)
        if (p->regions[i].phandle == phandle)
            return &p->regions[i];
    return NULL;
}

/* The lowest place in a region that no other buffer has; 0: none. */
static u64 place_in(const struct machine_pools *p, const struct pools_region *region, u64 size)
{
    struct range r = {page_up(region->range.base), size};

    for (u32 i = 0; i < p->nbuffers; i++)
        if (range_overlaps(p->buffers[i].range, r)) {
            r.base = range_last(p->buffers[i].range) + 1;
            i = UINT32_MAX; /* all of them once more, from the first */
        }
    return range_contains(region->range, r.base, size) ? r.base : 0;
}

/* Gives a buffer its place. `phandle` 0: anywhere. */
static int put_buffer(const struct machine_desc *desc, struct machine_pools *p, struct pools_buffer *b, u32 phandle,
                      struct fmt *error)
{
    const struct pools_region *region = phandle ? region_by(p, phandle) : NULL;

    for (u32 i = 0; i < p->nbuffers; i++)
        if (strcmp(p->buffers[i].name, b->name) == 0)
            return fail(error, b->name, "u-dma-buf: there is another one of that name");
    if (!b->size || b->size > UINT32_MAX * PAGE_SIZE)
        return fail(error, b->name, "u-dma-buf: size: none; allowed: 1 to the size of RAM");
    b->range.size = page_up(b->size);
    b->range.base = region ? place_in(p, region, b->range.size) : place(desc, p, b->range.size);
    if (phandle && !region)
        return fail(error, b->name, "u-dma-buf: memory-region: no such node with reg in /reserved-memory");
    if (region && (!b->range.base || !pools_ram(desc, b->range)))
        return fail(error, b->name, "u-dma-buf: memory-region: too small, or no RAM");
    if (!b->range.base)
        return fail(error, b->name, "u-dma-buf: size: does not fit into RAM");
    if (!b->sync_size)
        b->sync_size = b->size;
    p->nbuffers++;
    return 0;
}

/* May it be a file's name? length: with its end. */
static bool is_name(const char *name, int length)
{
    if (length < 2 || length > (int)sizeof(((struct pools_buffer *)0)->name) || name[length - 1] || *name == '.')
        return false;
    for (int i = 0; i + 1 < length; i++)
        if (name[i] <= ' ' || name[i] > '~' || name[i] == '/')
            return false;
    return true;
}

static void number_buffer(struct pools_buffer *b, u64 number)
{
    struct fmt f = FMT_INIT(b->name);

    fmt_printf(&f, "udmabuf%lu", number);
    fmt_end(&f);
}

static int read_buffer(const struct machine_desc *desc, struct machine_pools *p, int node, struct fmt *error)
{
    const void *fdt = desc->fdt;
    struct pools_buffer *b = &p->buffers[p->nbuffers];
    int length = 0;
    const char *name = fdt_getprop(fdt, node, "device-name", &length);

    if (name && !is_name(name, length))
        return fail(error, fdt_get_name(fdt, node, NULL), "u-dma-buf: device-name: allowed: 1 to 31 printable characters, no slash");
    number_buffer(b, number_of(fdt, node, "minor-number", p->nbuffers));
    if (name)
        memcpy(b->name, name, (size_t)length);
    b->size = number_of(fdt, node, "size", 0);
    b->coherent = has(fdt, node, "dma-coherent");
    b->sync_mode = ((u32)number_of(fdt, node, "sync-mode", 1) & 3) | (has(fdt, node, "sync-always") ? 4 : 0);
    b->sync_offset = number_of(fdt, node, "sync-offset", 0);
    b->sync_size = number_of(fdt, node, "sync-size", 0);
    b->sync_direction = (u32)number_of(fdt, node, "sync-direction", 0) % 3;
    return put_buffer(desc, p, b, (u32)number_of(fdt, node, "memory-region", 0), error);
}

static bool is_disabled(const void *fdt, int node)
{
    int length = 0;
    const char *status = fdt_getprop(fdt, node, "status", &length);

    return status && length == sizeof("disabled") && memcmp(status, "disabled", sizeof("disabled")) == 0;
}

static int read_buffers(const struct machine_desc *desc, struct machine_pools *p, struct fmt *error)
{
    static const char *const kinds[] = {"ikwzm,u-dma-buf", "ikwzm,udmabuf-0.10.a"};

    for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++)
        for (int n = fdt_node_offset_by_compatible(desc->fdt, -1, kinds[k]); n >= 0 && p->nbuffers < POOLS_BUFFERS;
             n = fdt_node_offset_by_compatible(desc->fdt, n, kinds[k])) {
            bool again = k && fdt_node_check_compatible(desc->fdt, n, kinds[0]) == 0;

            if (!again && !is_disabled(desc->fdt, n) && read_buffer(desc, p, n, error) < 0)
                return -1;
        }
    return 0;
}

/* Parameters of the module: u-dma-buf.udmabuf0=SIZE */
static int ask_buffers(const struct machine_desc *desc, struct machine_pools *p, struct fmt *error)
{
    const char *line = command_line(desc->fdt);

    for (u32 i = 0; i < POOLS_BUFFERS && p->nbuffers < POOLS_BUFFERS; i++) {
        struct pools_buffer *b = &p->buffers[p->nbuffers];
        char text[40];
        struct fmt f = FMT_INIT(text);
        const char *size;

        fmt_printf(&f, "u-dma-buf.udmabuf%u", i);
        size = argument(line, fmt_end(&f));
        if (!size)
            continue;
        *b = (struct pools_buffer){.size = parse_size(size), .sync_mode = 1};
        number_buffer(b, i);
        if (put_buffer(desc, p, b, 0, error) < 0)
            return -1;
    }
    return 0;
}

/* --- huge pages --- */

static struct range whole_pages(struct range r)
{
    u64 skip = -r.base & ~HUGE_MASK;

    return skip >= r.size ? (struct range){0, 0} : (struct range){r.base + skip, (r.size - skip) & HUGE_MASK};
}

static void read_huge(const struct machine_desc *desc, struct machine_pools *p)
{
    const char *asked = argument(command_line(desc->fdt), "hugepages");
    struct range r = largest_bank(desc);
    u64 pages;

    r.base += r.size - r.size / 2;
    r.size /= 2;
    for (u32 i = 0; i < p->nregions; i++)
        if (p->regions[i].pool && pools_ram(desc, p->regions[i].range)) {
            r = p->regions[i].range;
            break;
        }
    p->huge = whole_pages(r);
    pages = p->huge.size >> HUGE_SHIFT;
    pages = asked ? MIN(parse_size(asked), pages) : pages / 2;
    p->huge_boot = (u32)MIN(pages, (u64)1 << 24);
}

const struct machine_pools *machine_pools(const struct machine_desc *desc, struct fmt *error)
{
    static struct machine_pools pools;
    static u64 hash;

    if (hash == desc->hash)
        return &pools;
    memset(&pools, 0, sizeof(pools));
    hash = 0;
    read_regions(desc, &pools);
    if (read_buffers(desc, &pools, error) < 0 || ask_buffers(desc, &pools, error) < 0)
        return NULL;
    read_huge(desc, &pools);
    hash = desc->hash;
    return &pools;
}
