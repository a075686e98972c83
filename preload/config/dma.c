#include "config/dma.h"

#include <libfdt.h>

#include "base/mem.h"
#include "config/fdt.h"

/* Does the name of a property occur in the blob at all? Most trees have none, and walking up one takes time. */
static bool has_name(const void *fdt, const char *name)
{
    const char *strings = (const char *)fdt + fdt_off_dt_strings(fdt);
    u32 size = fdt_size_dt_strings(fdt);
    size_t n = strlen(name) + 1;

    for (u32 i = 0; i < size && n <= size - i; i++)
        if (strings[i] == name[0] && memcmp(strings + i, name, n) == 0)
            return true;
    return false;
}

/* 2.3.5: not inherited, defaults 2 and 1. Addresses on a PCI bus have a cell in front that says what they are. */
static bool cells(const void *fdt, int node, const char *name, u32 absent, u32 *count)
{
    int length = 0;
    const u8 *p = fdt_getprop(fdt, node, name, &length);

    *count = p && length == 4 ? (u32)dt_cells(p, 1) : absent;
    return *count >= 1 && *count <= 2;
}

/* One entry of dma-ranges: addresses of the children, of the parent, length. */
struct entry {
    struct range child;
    u64 parent;
};

struct step {
    const u8 *data;
    u32 count, kind_cells, child_cells, parent_cells, size_cells;
};

static struct entry entry_of(const struct step *s, u32 i)
{
    const u8 *p = s->data + 4ul * i * (s->kind_cells + s->child_cells + s->parent_cells + s->size_cells);
    u64 child, parent, size;

    p += 4 * s->kind_cells;
    child = dt_cells(p, s->child_cells);
    parent = dt_cells(p + 4 * s->child_cells, s->parent_cells);
    size = dt_cells(p + 4 * (s->child_cells + s->parent_cells), s->size_cells);

    return (struct entry){{child, size}, parent};
}

/* -1: it makes no sense; 0: nothing changes here; 1: *s is what it says. */
static int read_step(const void *fdt, int bus, int parent, struct step *s)
{
    int length = 0;
    const u8 *p = fdt_getprop(fdt, bus, "dma-ranges", &length);
    u32 entry;

    if (!p || length == 0)
        return 0;
    s->kind_cells = 0;
    if (!cells(fdt, bus, "#address-cells", 2, &s->child_cells) && s->child_cells == 3) {
        s->kind_cells = 1;
        s->child_cells = 2;
    }
    if (s->child_cells < 1 || s->child_cells > 2 || !cells(fdt, bus, "#size-cells", 1, &s->size_cells) ||
        !cells(fdt, parent, "#address-cells", 2, &s->parent_cells))
        return -1;
    entry = 4 * (s->kind_cells + s->child_cells + s->parent_cells + s->size_cells);
    if (length < 0 || (u32)length % entry)
        return -1;
    s->data = p;
    s->count = (u32)length / entry;
    return 1;
}

/* A piece that continues the one before it on both sides is the same piece. */
static bool put(struct machine_dma *dma, struct machine_dma_piece piece)
{
    struct machine_dma_piece *last = dma->count ? &dma->pieces[dma->count - 1] : NULL;

    if (!piece.bus.size || !range_valid(piece.bus) || !range_valid((struct range){piece.machine, piece.bus.size}))
        return true;
    if (last && piece.bus.base - last->bus.base == last->bus.size && piece.machine - last->machine == last->bus.size) {
        last->bus.size += piece.bus.size;
        return true;
    }
    if (dma->count == MACHINE_DMA)
        return false;
    dma->pieces[dma->count++] = piece;
    return true;
}

/* What of a piece passes one more bus, whose addresses `machine` was so far. */
static bool pass(struct machine_dma *to, const struct machine_dma_piece *piece, const struct step *s)
{
    for (u32 i = 0; i < s->count; i++) {
        struct entry e = entry_of(s, i);
        struct range part = range_clip((struct range){piece->machine, piece->bus.size}, e.child);
        u64 skipped = part.base - piece->machine;

        if (part.size && !put(to, (struct machine_dma_piece){{piece->bus.base + skipped, part.size},
                                                             e.parent + (part.base - e.child.base)}))
            return false;
    }
    return true;
}

static bool go_up(struct machine_dma *dma, const struct step *s)
{
    struct machine_dma next = {.all = false};
    struct machine_dma_piece whole = {{0, UINT64_MAX}, 0};

    if (dma->all && !pass(&next, &whole, s))
        return false;
    for (u32 i = 0; i < dma->count; i++)
        if (!pass(&next, &dma->pieces[i], s))
            return false;
    *dma = next;
    return true;
}

/* 2.3.9: an empty property means that addresses are the same. So does none: most trees leave it out. */
int machine_dma(const struct machine_desc *desc, const struct machine_window *window, struct machine_dma *dma,
                struct fmt *error)
{
    const void *fdt = desc->fdt;
    int bus, parent;

    *dma = (struct machine_dma){.all = true};
    if (!has_name(fdt, "dma-ranges"))
        return 0;
    for (bus = fdt_parent_offset(fdt, window->node); bus > 0; bus = parent) {
        struct step s;
        int found;

        parent = fdt_parent_offset(fdt, bus);
        found = parent < 0 ? -1 : read_step(fdt, bus, parent, &s);
        if (found < 0 || (found > 0 && !go_up(dma, &s))) {
            fmt_printf(error, "%s: dma-ranges above it make no sense, or more than %d pieces", window->name, MACHINE_DMA);
            return -1;
        }
    }
    return 0;
}
