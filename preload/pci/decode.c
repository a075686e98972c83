/* Who answers to an address, as bridges and BARs are programmed at this moment. */
#include "pci/host.h"
#include "pci/own.h"

#include "base/trapsafe.h"

struct pci_here pci_here;

static const struct pci_function *function(u32 i)
{
    return &pci_here.pci->functions[i];
}

static const struct pci_state *state(u32 i)
{
    return pci_here.state[i];
}

/* --- who is there --- */

bool pci_there(u32 i)
{
    const struct pci_function *f = function(i);
    const struct pci_state *s;

    if (f->physical < 0)
        return true;
    s = state((u32)f->physical);
    return (pci_get16(s, s->sriov + PCI_SRIOV_CONTROL) & PCI_SRIOV_ENABLE) && f->ordinal < pci_get16(s, s->sriov + PCI_SRIOV_VFS);
}

/* parent: the bridge that the bus is below; number: of that bus. */
static int below(int parent, u8 number, u8 bus, u8 devfn)
{
    for (u32 i = 0; i < pci_here.pci->nfunctions; i++) {
        const struct pci_function *f = function(i);
        const struct pci_state *s = state(i);

        if (f->parent != parent)
            continue;
        if (bus == number) {
            if (f->devfn == devfn && pci_there(i))
                return (int)i;
        } else if (f->bridge && bus >= s->config[PCI_SECONDARY] && bus <= s->config[PCI_SUBORDINATE] && s->config[PCI_SECONDARY]) {
            return below((int)i, s->config[PCI_SECONDARY], bus, devfn);
        }
    }
    return -1;
}

int pci_at(u8 bus, u8 devfn)
{
    return below(-1, pci_here.pci->first_bus, bus, devfn);
}

/* --- BARs --- */

static u64 read_bar(const struct pci_state *s, unsigned offset, const struct pci_bar *bar)
{
    u64 low = pci_get32(s, offset), high = bar->wide ? pci_get32(s, offset + 4) : 0;

    return (high << 32 | low) & ~(bar->size - 1);
}

u64 pci_bar_address(u32 i, unsigned bar)
{
    const struct pci_function *f = function(i);

    if (f->physical >= 0) {
        const struct pci_state *s = state((u32)f->physical);

        return read_bar(s, s->sriov + PCI_SRIOV_BARS + 4 * bar, &f->bars[bar]) + f->ordinal * f->bars[bar].size;
    }
    return read_bar(state(i), bar == PCI_ROM ? PCI_ROM_BAR : PCI_BAR0 + 4 * bar, &f->bars[bar]);
}

/* A function in D3hot answers to configuration alone (Power Management 1.2, 5.4.1). */
static bool powered(const struct pci_state *s)
{
    return !s->power || !(pci_get16(s, s->power + PCI_POWER_CONTROL) & PCI_POWER_STATE);
}

/* Does the function answer to addresses of such a BAR at all? */
static bool decodes(u32 i, unsigned bar)
{
    const struct pci_function *f = function(i);
    const struct pci_state *s = state(f->physical >= 0 ? (u32)f->physical : i);

    if (!powered(s))
        return false;
    if (f->physical >= 0)
        return pci_get16(s, s->sriov + PCI_SRIOV_CONTROL) & PCI_SRIOV_MEMORY;
    if (bar == PCI_ROM && !(pci_get32(s, PCI_ROM_BAR) & PCI_ROM_ENABLE))
        return false;
    return pci_get16(s, PCI_COMMAND) & (f->bars[bar].io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);
}

static bool bars_have(u32 i, bool io, u64 addr, struct pci_hit *hit)
{
    const struct pci_function *f = function(i);

    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        struct range r = {0, f->bars[bar].size};

        if (!r.size || f->bars[bar].io != io || !decodes(i, bar))
            continue;
        r.base = pci_bar_address(i, bar);
        if (range_has(r, addr)) {
            *hit = (struct pci_hit){f->bars[bar].device, r};
            return true;
        }
    }
    return false;
}

/* --- bridges --- */

/* Bridge architecture 3.2.5.6, .8 and .9: units of 4 kB and 1 MB. */
bool pci_bridge_window(const struct pci_state *s, unsigned window, u64 *base, u64 *limit)
{
    u32 memory = pci_get32(s, window == 1 ? PCI_MEMORY_BASE : PCI_PREFETCH_BASE);

    if (window == 0) {
        *base = (s->config[PCI_IO_BASE] & 0xf0ull) << 8;
        *limit = (s->config[PCI_IO_LIMIT] & 0xf0ull) << 8 | 0xfff;
        return *base <= *limit;
    }
    *base = (memory & 0xfff0ull) << 16;
    *limit = (memory & 0xfff00000ull) | 0xfffff;
    if (window == 2) {
        *base |= (u64)pci_get32(s, PCI_PREFETCH_BASE_HIGH) << 32;
        *limit |= (u64)pci_get32(s, PCI_PREFETCH_LIMIT_HIGH) << 32;
    }
    return *base <= *limit;
}

static bool window_has(const struct pci_state *s, unsigned window, u64 addr)
{
    u64 base, limit;

    return pci_bridge_window(s, window, &base, &limit) && addr >= base && addr <= limit;
}

static bool passes(const struct pci_state *s, bool io, u64 addr)
{
    u16 command = pci_get16(s, PCI_COMMAND);

    if (!powered(s))
        return false;
    if (io)
        return (command & PCI_COMMAND_IO) && window_has(s, 0, addr);
    return (command & PCI_COMMAND_MEMORY) && (window_has(s, 1, addr) || window_has(s, 2, addr));
}

static bool bus_has(int parent, bool io, u64 addr, struct pci_hit *hit)
{
    for (u32 i = 0; i < pci_here.pci->nfunctions; i++) {
        if (function(i)->parent != parent || !pci_there(i))
            continue;
        if (bars_have(i, io, addr, hit))
            return true;
        if (function(i)->bridge && passes(state(i), io, addr) && bus_has((int)i, io, addr, hit))
            return true;
    }
    return false;
}

bool pci_decode(bool io, u64 addr, struct pci_hit *hit)
{
    return bus_has(-1, io, addr, hit);
}

/* --- views --- */

/* A device owns the part of `range` that lies in the span; `offset` is that of its first byte in the device. */
static void give(struct view_span *span, u32 device, struct range range, u64 offset)
{
    struct range part = range_clip(range, span->range);

    *span = (struct view_span){part, VIEW_WINDOW, device, offset + (part.base - range.base)};
}

/* Nobody is here; how far is not known, so no further than the smallest BAR could begin. */
static void shorten(struct view_span *span, u64 addr, u64 size)
{
    struct range part = range_clip((struct range){addr & ~(size - 1), size}, span->range);

    span->offset += part.base - span->range.base;
    span->range = part;
}

bool pci_window(u32 i, unsigned *bar, u32 *offset)
{
    const struct pci_state *s = state(i);
    u32 length;

    if (!s->window)
        return false;
    *bar = s->config[s->window + PCI_WINDOW_BAR];
    *offset = pci_get32(s, s->window + PCI_WINDOW_OFFSET);
    length = pci_get32(s, s->window + PCI_WINDOW_LENGTH);
    return *bar < PCI_ROM && (length == 1 || length == 2 || length == 4) && *offset % length == 0 &&
           range_contains((struct range){0, function(i)->bars[*bar].size}, *offset, length);
}

/* The 4096 bytes of a function from `base` on, of which some may be a window into its BARs. */
static void give_space(struct view_span *span, u32 f, u64 base, u64 addr)
{
    u64 data = state(f)->window + (u64)PCI_WINDOW_DATA, at = addr - base;
    unsigned bar;
    u32 offset;

    if (!state(f)->window)
        give(span, function(f)->device, (struct range){base, PCI_FUNCTION_SIZE}, 0);
    else if (at < data)
        give(span, function(f)->device, (struct range){base, data}, 0);
    else if (at - data >= 4)
        give(span, function(f)->device, (struct range){base + data + 4, PCI_FUNCTION_SIZE - data - 4}, data + 4);
    else if (pci_window(f, &bar, &offset))
        give(span, function(f)->bars[bar].device, (struct range){base + data, 4}, offset);
    else
        give(span, function(f)->device, (struct range){base + data, 4}, data);
}

static void refine_space(u64 addr, struct view_span *span)
{
    u64 offset = addr - pci_here.pci->ecam.base;
    u64 bus = pci_here.pci->first_bus + offset / PCI_BUS_SIZE;
    int f = bus <= pci_here.pci->last_bus ? pci_at((u8)bus, (u8)(offset >> 12)) : -1;

    if (f >= 0)
        give_space(span, (u32)f, addr & ~(u64)(PCI_FUNCTION_SIZE - 1), addr);
    else
        shorten(span, addr, PCI_FUNCTION_SIZE);
}

static void refine_memory(const struct pci_range *r, u64 addr, struct view_span *span)
{
    u64 bus = r->bus.base + (addr - r->machine);
    struct pci_hit hit;
    struct range part;

    if (!pci_decode(r->space == PCI_SPACE_IO, bus, &hit)) {
        shorten(span, addr, r->space == PCI_SPACE_IO ? 4 : 16);
        return;
    }
    part = range_clip(hit.bus, r->bus);
    give(span, hit.device, (struct range){r->machine + (part.base - r->bus.base), part.size}, part.base - hit.bus.base);
}

/* CONFIG_ADDRESS is enable, bus, device, function, register (PCI Local Bus 3.0, 3.2.2.3.2). */
static void refine_config_port(u64 port, struct view_span *span)
{
    const struct pci_ports *p = arena_at(pci_here.arena, arena_devices(pci_here.arena)[span->index].state);
    u32 address = __atomic_load_n(&p->address, __ATOMIC_ACQUIRE);
    unsigned bar;
    u32 offset;
    int f;

    if (port < PCI_PORTS_DATA || !(address & PCI_PORTS_ENABLE))
        return;
    f = pci_at((u8)(address >> 16), (u8)(address >> 8));
    if (f < 0)
        return;
    if ((address & 0xfc) == state((u32)f)->window + (u32)PCI_WINDOW_DATA && pci_window((u32)f, &bar, &offset))
        give(span, function((u32)f)->bars[bar].device, (struct range){PCI_PORTS_DATA, 4}, offset);
    else
        give(span, function((u32)f)->device, (struct range){PCI_PORTS_DATA, 4}, address & 0xfc);
}

static void refine_ports(u64 port, struct view_span *span)
{
    struct pci_hit hit;

    if (span->kind == VIEW_WINDOW) {
        if (pci_here.desc->windows[span->index].node == pci_here.pci->node)
            refine_config_port(port, span);
        return;
    }
    if (port < MACHINE_PORTS && pci_decode(true, port, &hit))
        give(span, hit.device, hit.bus, 0);
    else
        shorten(span, port, 4);
}

void pci_refine(const struct view *view, u64 addr, struct view_span *span)
{
    const struct machine_window *window = &pci_here.desc->windows[span->index];

    if (view->ports) {
        refine_ports(addr, span);
        return;
    }
    if (span->kind != VIEW_WINDOW || window->node != pci_here.pci->node)
        return;
    if (window->entry == 0)
        refine_space(addr, span);
    else
        refine_memory(&pci_here.pci->ranges[window->entry - 1], addr, span);
}
