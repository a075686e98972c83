/*
 * What firmware does before an operating system looks at the bus: places for BARs, windows of bridges, numbers of buses
 * and interrupts. One pass over the tree, in the order of the description.
 */
#include "base/mem.h"
#include "config/interrupts.h"
#include "pci/describe.h"
#include "pci/own.h"

#define LEGACY_PORTS 0x1000u /* left to what is not PCI */
#define IO_UNIT      0x1000u /* of a bridge's windows */
#define MEMORY_UNIT  0x100000u
#define LARGE        ((u64)256 << 20) /* better above 4 GB, if it may lie there */

/* What is given away of a range of the host, in bus addresses. */
struct cursor {
    struct range range; /* size 0: the host has none */
    u64 used; /* bytes from range.base on */
};

struct firmware {
    struct cursor io, low, high;
    struct fmt *error;
};

static struct cursor range_of(const struct machine_pci *pci, enum pci_space space)
{
    for (u32 i = 0; i < pci->nranges; i++)
        if (pci->ranges[i].space == space)
            return (struct cursor){.range = pci->ranges[i].bus};
    return (struct cursor){.used = 0};
}

/* Rounds up what is used to a multiple of `unit`, a power of two, of the address. False: there is no more. */
static bool align(struct cursor *c, u64 unit)
{
    u64 next = c->range.base + c->used, up = (unit - next % unit) % unit;

    if (up > c->range.size - c->used)
        return false;
    c->used += up;
    return true;
}

static bool get(struct cursor *c, u64 size, u64 unit, u64 *address)
{
    if (!align(c, unit) || size > c->range.size - c->used)
        return false;
    *address = c->range.base + c->used;
    c->used += size;
    return true;
}

static void put16(struct pci_state *s, unsigned offset, u64 value)
{
    memcpy(&s->assigned[offset], &value, 2);
}

static void or32(struct pci_state *s, unsigned offset, u64 value)
{
    u32 now;

    memcpy(&now, &s->assigned[offset], 4);
    now |= (u32)value;
    memcpy(&s->assigned[offset], &now, 4);
}

/* Bridges pass on memory above 4 GB only as prefetchable. */
static struct cursor *cursor_for(struct firmware *fw, const struct pci_function *f, const struct pci_bar *bar)
{
    bool high = bar->wide && fw->high.range.size && (bar->prefetchable || (f->parent < 0 && bar->size >= LARGE));

    return bar->io ? &fw->io : high ? &fw->high : &fw->low;
}

static int place(struct firmware *fw, const struct pci_function *f, unsigned number, const struct pci_bar *bar, u32 copies,
                 struct pci_state *s, unsigned offset)
{
    u64 address = 0;

    if (!get(cursor_for(fw, f, bar), bar->size * copies, bar->size, &address)) {
        fmt_str(fw->error, "pci:");
        pci_address(fw->error, f->bus, f->devfn);
        fmt_printf(fw->error, ": no room in the host's %s ranges for BAR %u of %lx bytes", bar->io ? "I/O" : "memory", number,
                   bar->size * copies);
        return -1;
    }
    or32(s, offset, address);
    if (bar->wide)
        or32(s, offset + 4, address >> 32);
    return 0;
}

static int place_bars(struct firmware *fw, const struct pci_function *f, struct pci_state *s)
{
    int ret = 0;

    for (unsigned i = 0; i < PCI_BARS && ret == 0; i++)
        if (f->bars[i].size)
            ret = place(fw, f, i, &f->bars[i], 1, s, i == PCI_ROM ? PCI_ROM_BAR : PCI_BAR0 + 4 * i);
    for (unsigned i = 0; i < PCI_ROM && ret == 0; i++)
        if (f->vfs && f->vf_bars[i].size)
            ret = place(fw, f, i, &f->vf_bars[i], f->vfs, s, s->sriov + PCI_SRIOV_BARS + 4 * i);
    return ret;
}

/* Memory and I/O decoding on, bus mastering off: drivers turn that on. Bridges pass on what is below them. */
static void enable(const struct pci_function *f, struct pci_state *s)
{
    u16 command = 0;

    for (unsigned i = 0; i < PCI_BARS; i++)
        if (f->bars[i].size)
            command |= f->bars[i].io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    put16(s, PCI_COMMAND, f->bridge ? PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER : command);
    s->assigned[PCI_LINE] = f->line;
}

static int assign_bus(struct firmware *fw, int parent);

/* The windows begin where the cursors are, and end where they are behind everything below. */
static int assign_bridge(struct firmware *fw, u32 i, struct pci_state *s)
{
    const struct pci_function *f = &pci_here.pci->functions[i];
    bool room = align(&fw->io, IO_UNIT) && align(&fw->low, MEMORY_UNIT) && align(&fw->high, MEMORY_UNIT);
    struct firmware before = *fw;
    u64 io, low, high;

    if (assign_bus(fw, (int)i) < 0)
        return -1;
    room = room && align(&fw->io, IO_UNIT) && align(&fw->low, MEMORY_UNIT) && align(&fw->high, MEMORY_UNIT);
    if (!room) {
        fmt_str(fw->error, "pci:");
        pci_address(fw->error, f->bus, f->devfn);
        fmt_str(fw->error, ": no room in the host's ranges for the windows of this bridge");
        return -1;
    }
    s->assigned[PCI_PRIMARY] = f->bus;
    s->assigned[PCI_SECONDARY] = f->secondary;
    s->assigned[PCI_SUBORDINATE] = f->subordinate;
    io = before.io.range.base + before.io.used;
    low = before.low.range.base + before.low.used;
    high = before.high.range.base + before.high.used;
    if (fw->io.used != before.io.used) {
        s->assigned[PCI_IO_BASE] = (u8)(io >> 8 & 0xf0);
        s->assigned[PCI_IO_LIMIT] = (u8)((fw->io.range.base + fw->io.used - 1) >> 8 & 0xf0);
    }
    if (fw->low.used != before.low.used) {
        put16(s, PCI_MEMORY_BASE, low >> 16 & 0xfff0);
        put16(s, PCI_MEMORY_LIMIT, (fw->low.range.base + fw->low.used - 1) >> 16 & 0xfff0);
    }
    if (fw->high.used != before.high.used) {
        u64 last = fw->high.range.base + fw->high.used - 1;

        put16(s, PCI_PREFETCH_BASE, (high >> 16 & 0xfff0) | 1);
        put16(s, PCI_PREFETCH_LIMIT, (last >> 16 & 0xfff0) | 1);
        or32(s, PCI_PREFETCH_BASE_HIGH, high >> 32);
        or32(s, PCI_PREFETCH_LIMIT_HIGH, last >> 32);
    }
    return 0;
}

static int assign_function(struct firmware *fw, u32 i)
{
    const struct pci_function *f = &pci_here.pci->functions[i];
    struct pci_state *s = pci_here.state[i];

    memcpy(s->assigned, s->fresh, sizeof(s->assigned));
    if (f->physical < 0) {
        enable(f, s);
        if (place_bars(fw, f, s) < 0 || (f->bridge && assign_bridge(fw, i, s) < 0))
            return -1;
    }
    memcpy(s->config, s->assigned, sizeof(s->config));
    s->firmware = 1;
    return 0;
}

static int assign_bus(struct firmware *fw, int parent)
{
    for (u32 i = 0; i < pci_here.pci->nfunctions; i++)
        if (pci_here.pci->functions[i].parent == parent && assign_function(fw, i) < 0)
            return -1;
    return 0;
}

int pci_assign(struct fmt *error)
{
    const struct machine_pci *pci = pci_here.pci;
    struct firmware fw = {range_of(pci, PCI_SPACE_IO), range_of(pci, PCI_SPACE_MEM32), range_of(pci, PCI_SPACE_MEM64), error};

    if (fw.io.range.base < LEGACY_PORTS)
        fw.io.used = MIN(fw.io.range.size, LEGACY_PORTS - fw.io.range.base);
    /* An address of 0 is what software takes for none. */
    if (!fw.low.range.base)
        fw.low.used = MIN(fw.low.range.size, (u64)MEMORY_UNIT);
    return assign_bus(&fw, -1);
}
