#include "pci/build.h"

#include "base/mem.h"
#include "pci/models.h"
#include "pci/msix.h"

#define SPACE_END 0x100u

void pci_put(struct pci_space_writer *w, unsigned offset, unsigned width, u32 value, u32 mask, u32 clear)
{
    struct pci_state *s = w->state;

    memcpy(&s->fresh[offset], &value, width);
    memcpy(&s->mask[offset], &mask, width);
    memcpy(&s->clear[offset], &clear, width);
}

static void fixed(struct pci_space_writer *w, unsigned offset, unsigned width, u32 value)
{
    pci_put(w, offset, width, value, 0, 0);
}

u16 pci_add_capability(struct pci_space_writer *w, u8 id, unsigned length)
{
    u16 at = w->next;

    if (length > SPACE_END - at)
        return 0;
    w->state->fresh[w->link] = (u8)at;
    w->state->fresh[at] = id;
    w->link = at + 1;
    w->next = (u16)(at + ((length + 3) & ~3u));
    return at;
}

/* --- capabilities that every model may have --- */

static void add_power(struct pci_space_writer *w)
{
    u16 at = w->state->power = pci_add_capability(w, PCI_CAP_POWER, 8);

    fixed(w, at + 2, 2, 0x0003); /* version 1.2, no PME#, D0 and D3hot */
    pci_put(w, at + PCI_POWER_CONTROL, 2, 0x0008, PCI_POWER_STATE, 0); /* No_Soft_Reset */
}

static void add_msi(struct pci_space_writer *w, const struct pci_function *f)
{
    unsigned exponent = (unsigned)__builtin_ctz(f->msi);
    u16 at = w->state->msi = pci_add_capability(w, PCI_CAP_MSI, 24);
    u32 vectors = f->msi == 32 ? UINT32_MAX : (1u << f->msi) - 1;

    /* 64-bit addresses and a mask for each vector */
    pci_put(w, at + PCI_MSI_CONTROL, 2, 0x0180 | exponent << 1, 0x0071, 0);
    pci_put(w, at + 4, 4, 0, 0xfffffffc, 0);
    pci_put(w, at + 8, 4, 0, UINT32_MAX, 0);
    pci_put(w, at + PCI_MSI_DATA, 2, 0, 0xffff, 0);
    pci_put(w, at + PCI_MSI_MASK, 4, 0, vectors, 0);
}

static void add_msix(struct pci_space_writer *w, const struct pci_function *f)
{
    u16 at = w->state->msix = pci_add_capability(w, PCI_CAP_MSIX, 12);

    pci_put(w, at + PCI_MSIX_CONTROL, 2, f->msix - 1u, PCI_MSIX_ENABLE | PCI_MSIX_MASKED, 0);
    fixed(w, at + PCI_MSIX_TABLE, 4, f->msix_bar);
    fixed(w, at + PCI_MSIX_PBA, 4, (u32)(msix_size(f->msix) / 2) | f->msix_bar);
}

/* 7.5.3. What is on the root bus is integrated there, or a port; below a port are endpoints. */
static void add_express(struct pci_space_writer *w, const struct pci_function *f)
{
    u16 at = w->state->express = pci_add_capability(w, PCI_CAP_EXPRESS, 60);
    u32 type = f->bridge ? 4 : f->parent < 0 ? 9 : 0;
    bool link = type != 9;

    fixed(w, at + 2, 2, 0x0002 | type << 4 | (f->bridge ? 0x0100 : 0)); /* version 2; a port has a slot */
    fixed(w, at + 4, 4, 0x00008000 | (f->bridge ? 0 : 0x10000000)); /* role-based errors, function-level reset */
    pci_put(w, at + PCI_EXPRESS_CONTROL, 2, 0x2810, 0x7fff, 0);
    pci_put(w, at + PCI_EXPRESS_STATUS, 2, 0, 0, 0x000f);
    fixed(w, at + 12, 4, link ? 0x00000011 : 0); /* one lane, 2.5 GT/s */
    pci_put(w, at + 16, 2, 0, link ? 0x00c3 : 0, 0);
    fixed(w, at + 18, 2, link ? 0x0011 : 0);
    if (!f->bridge)
        return;
    fixed(w, at + 20, 4, 0);
    pci_put(w, at + 24, 2, 0, 0x1fff, 0);
    pci_put(w, at + 26, 2, 0x0040, 0, 0x011f); /* something is in the slot */
    pci_put(w, at + 28, 2, 0, 0x001f, 0);
    fixed(w, at + 36, 4, 0x00000020); /* forwards to functions beyond 7 */
    pci_put(w, at + 40, 2, 0, 0x0020, 0);
}

static u32 bar_kind(const struct pci_bar *bar)
{
    return bar->io ? PCI_BAR_IO : (u32)(bar->wide ? PCI_BAR_64 : 0) | (bar->prefetchable ? PCI_BAR_PREFETCH : 0);
}

static void put_bars(struct pci_space_writer *w, unsigned offset, const struct pci_bar *bars)
{
    for (unsigned i = 0; i < PCI_ROM; i++) {
        u64 mask = ~(bars[i].size - 1);

        if (!bars[i].size)
            continue;
        pci_put(w, offset + 4 * i, 4, bar_kind(&bars[i]), (u32)mask & ~(bars[i].io ? 3u : 15u), 0);
        if (bars[i].wide)
            pci_put(w, offset + 4 * i + 4, 4, 0, (u32)(mask >> 32), 0);
    }
}

static void extended(struct pci_space_writer *w, unsigned at, u32 id, unsigned next)
{
    fixed(w, at, 4, id | 1u << 16 | (u32)next << 20);
}

/* SR-IOV 1.1, 3.3 */
static void add_sriov(struct pci_space_writer *w, const struct pci_function *f)
{
    unsigned at = w->state->sriov = PCI_EXTENDED;

    extended(w, at, PCI_EXT_SRIOV, at + 0x40);
    pci_put(w, at + PCI_SRIOV_CONTROL, 2, 0, 0x0019, 0);
    fixed(w, at + 0x0c, 2, f->vfs);
    fixed(w, at + 0x0e, 2, f->vfs);
    pci_put(w, at + PCI_SRIOV_VFS, 2, 0, 0xffff, 0);
    fixed(w, at + 0x12, 2, pci_number(f->devfn));
    fixed(w, at + 0x14, 2, f->vf_offset);
    fixed(w, at + 0x16, 2, f->vf_stride);
    fixed(w, at + 0x1a, 2, f->id);
    fixed(w, at + 0x1c, 4, 1); /* pages of 4 kB */
    fixed(w, at + 0x20, 4, 1);
    put_bars(w, at + PCI_SRIOV_BARS, f->vf_bars);
    extended(w, at + 0x40, PCI_EXT_ARI, 0);
}

/* --- headers --- */

/* Bits of the command register that mean something for the function. */
static u32 command_mask(const struct pci_function *f)
{
    u32 mask = PCI_COMMAND_MASTER | 0x0140;

    if (f->physical >= 0)
        return PCI_COMMAND_MASTER; /* 3.4.1.3: all else is the physical function's */
    for (unsigned i = 0; i < PCI_BARS; i++)
        if (f->bars[i].size)
            mask |= f->bars[i].io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    return mask | (f->bridge ? PCI_COMMAND_IO | PCI_COMMAND_MEMORY : 0) | (f->pin ? PCI_COMMAND_NO_INTX : 0);
}

static bool has_others(const struct machine_pci *pci, const struct pci_function *f)
{
    for (u32 i = 0; i < pci->nfunctions; i++) {
        const struct pci_function *o = &pci->functions[i];

        if (o != f && o->physical < 0 && o->bus == f->bus && pci_slot(o->devfn) == pci_slot(f->devfn))
            return true;
    }
    return false;
}

static void put_common(struct pci_space_writer *w, const struct machine_pci *pci, const struct pci_function *f)
{
    fixed(w, PCI_VENDOR, 2, f->vendor);
    fixed(w, PCI_DEVICE, 2, f->id);
    pci_put(w, PCI_COMMAND, 2, 0, command_mask(f), 0);
    pci_put(w, PCI_STATUS, 2, pci_models[f->model]->bare ? 0 : PCI_STATUS_CAPABILITIES, 0, 0xf900);
    fixed(w, PCI_REVISION, 4, f->class << 8 | f->revision);
    pci_put(w, PCI_CACHE_LINE, 1, 0, 0xff, 0);
    fixed(w, PCI_HEADER, 1, (f->bridge ? PCI_HEADER_BRIDGE : 0u) |
                                (f->physical < 0 && has_others(pci, f) ? PCI_HEADER_MULTI : 0u));
    fixed(w, PCI_PIN, 1, f->pin);
    if (f->pin || f->bridge)
        pci_put(w, PCI_LINE, 1, 0, 0xff, 0);
}

static void put_endpoint(struct pci_space_writer *w, const struct pci_function *f)
{
    const struct pci_bar *rom = &f->bars[PCI_ROM];

    fixed(w, PCI_SUBVENDOR, 2, f->subvendor);
    fixed(w, PCI_SUBSYSTEM, 2, f->subsystem);
    if (f->physical >= 0) /* its BARs are the physical function's */
        return;
    put_bars(w, PCI_BAR0, f->bars);
    if (rom->size)
        pci_put(w, PCI_ROM_BAR, 4, 0, ((u32)~(rom->size - 1) & 0xfffff800) | PCI_ROM_ENABLE, 0);
}

/* Bridge architecture 3.2.5. Memory and I/O windows are closed: base above limit. */
static void put_bridge(struct pci_space_writer *w)
{
    pci_put(w, PCI_PRIMARY, 4, 0, 0x00ffffff, 0);
    pci_put(w, PCI_IO_BASE, 1, 0xf0, 0xf0, 0);
    pci_put(w, PCI_IO_LIMIT, 1, 0, 0xf0, 0);
    pci_put(w, PCI_SECONDARY_STATUS, 2, 0, 0, 0xf900);
    pci_put(w, PCI_MEMORY_BASE, 2, 0xfff0, 0xfff0, 0);
    pci_put(w, PCI_MEMORY_LIMIT, 2, 0, 0xfff0, 0);
    pci_put(w, PCI_PREFETCH_BASE, 2, 0xfff1, 0xfff0, 0); /* 64 bits */
    pci_put(w, PCI_PREFETCH_LIMIT, 2, 0x0001, 0xfff0, 0);
    pci_put(w, PCI_PREFETCH_BASE_HIGH, 4, 0, UINT32_MAX, 0);
    pci_put(w, PCI_PREFETCH_LIMIT_HIGH, 4, 0, UINT32_MAX, 0);
    pci_put(w, PCI_BRIDGE_CONTROL, 2, 0, 0x0043, 0);
}

void pci_build(struct pci_state *s, const struct machine_pci *pci, u32 function)
{
    const struct pci_function *f = &pci->functions[function];
    const struct pci_model *model = pci_models[f->model];
    struct pci_space_writer w = {s, 0x40, PCI_CAPABILITIES};

    s->function = (u16)function;
    put_common(&w, pci, f);
    if (f->bridge)
        put_bridge(&w);
    else
        put_endpoint(&w, f);
    if (f->physical < 0 && !model->bare)
        add_power(&w);
    if (f->msi)
        add_msi(&w, f);
    if (f->msix)
        add_msix(&w, f);
    if (f->express)
        add_express(&w, f);
    if (model->capabilities)
        model->capabilities(f, &w);
    if (f->vfs)
        add_sriov(&w, f);
}
