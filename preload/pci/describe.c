#include "pci/describe.h"

#include <libfdt.h>

#include "base/mem.h"
#include "config/fdt.h"
#include "config/interrupts.h"
#include "devices/classes.h"
#include "pci/models.h"

#define DEPTH 8 /* bridges on top of each other: firmware and drivers go no deeper */

struct walk {
    struct machine_desc *desc;
    struct fmt *error;
    bool used[256]; /* numbers of buses */
};

void pci_address(struct fmt *out, u8 bus, u8 devfn)
{
    fmt_hexpad(out, bus, 2);
    fmt_char(out, ':');
    fmt_hexpad(out, pci_slot(devfn), 2);
    fmt_char(out, '.');
    fmt_dec(out, pci_number(devfn));
}

static int say(struct walk *w, const struct pci_function *f, const char *what)
{
    fmt_str(w->error, "pci:");
    pci_address(w->error, f->bus, f->devfn);
    fmt_printf(w->error, ": %s", what);
    return -1;
}

static const struct pci_function *at(const struct machine_pci *pci, u8 bus, u8 devfn)
{
    for (u32 i = 0; i < pci->nfunctions; i++)
        if (pci->functions[i].bus == bus && pci->functions[i].devfn == devfn)
            return &pci->functions[i];
    return NULL;
}

/* --- devices --- */

static int add_device(struct walk *w, u32 function, u8 bar, u64 size, u16 class)
{
    struct machine_desc *desc = w->desc;
    const struct pci_function *f = &desc->pci.functions[function];
    u32 n = machine_devices(desc);
    struct machine_window *window = &desc->windows[n];
    struct fmt name = FMT_INIT(window->name), compatible = FMT_INIT(window->compatible);

    if (n == MACHINE_WINDOWS)
        return say(w, f, "too many windows");
    *window = (struct machine_window){.range = {0, size}, .node = f->node, .class = (u16)(class + 1),
                                      .function = (u16)(function + 1), .bar = bar};
    fmt_str(&name, "pci:");
    pci_address(&name, f->bus, f->devfn);
    if (bar == PCI_ROM)
        fmt_str(&name, ":rom");
    else if (bar != PCI_CONFIG_SPACE)
        fmt_printf(&name, ":bar%u", (unsigned)bar);
    fmt_end(&name);
    fmt_printf(&compatible, PCI_COMPATIBLE "%s", pci_models[f->model]->name);
    fmt_end(&compatible);
    desc->nmoving++;
    return (int)n;
}

static int add_devices(struct walk *w, u32 function)
{
    struct pci_function *f = &w->desc->pci.functions[function];
    int n = add_device(w, function, PCI_CONFIG_SPACE, PCI_FUNCTION_SIZE, (u16)class_number(&class_pci_function));

    f->device = (u16)n;
    for (u8 i = 0; i < PCI_BARS && n >= 0; i++)
        if (f->bars[i].size) {
            n = add_device(w, function, i, f->bars[i].size, f->bars[i].class);
            f->bars[i].device = (u16)n;
        }
    return n < 0 ? -1 : 0;
}

/* --- functions --- */

static struct pci_function *new_function(struct walk *w, const char *node)
{
    struct machine_pci *pci = &w->desc->pci;

    if (pci->nfunctions == PCI_FUNCTIONS) {
        fmt_printf(w->error, "node %s: too many PCI functions; allowed: %d", node, PCI_FUNCTIONS);
        return NULL;
    }
    return &pci->functions[pci->nfunctions];
}

/* What the model is by itself. */
static void from_model(struct pci_function *f, const struct pci_model *m)
{
    f->vendor = m->vendor;
    f->id = m->device;
    f->class = m->class;
    f->bridge = m->bridge;
    f->express = m->express;
    f->msix = m->msix;
    f->pin = m->bridge || m->bare ? 0 : (u8)(1 + (pci_number(f->devfn) & 3));
    for (unsigned i = 0; i < PCI_BARS; i++) {
        const struct pci_model_bar *bar = &m->bars[i];

        if (!bar->size)
            continue;
        f->bars[i] = (struct pci_bar){.size = bar->size, .class = (u16)class_number(bar->class), .io = bar->io,
                                      .wide = bar->wide, .prefetchable = bar->prefetchable};
        if (bar->class == &class_pci_msix)
            f->msix_bar = (u8)i;
    }
}

/* SR-IOV 1.1, 2.1.2: routing ids of virtual functions go on from the physical one's. */
static int add_virtual(struct walk *w, u32 physical)
{
    struct machine_pci *pci = &w->desc->pci;
    const struct pci_function *p = &pci->functions[physical];

    for (u16 i = 0; i < p->vfs; i++) {
        unsigned devfn = p->devfn + p->vf_offset + i * p->vf_stride;
        struct pci_function *f = new_function(w, "of virtual functions");

        if (!f)
            return -1;
        if (devfn > 255)
            return say(w, p, "its virtual functions do not fit on the bus; allowed: fewer vfs");
        *f = (struct pci_function){.node = p->node, .parent = p->parent, .physical = (i16)physical, .ordinal = i,
                                   .bus = p->bus, .devfn = (u8)devfn, .model = p->model, .vendor = 0xffff, .id = 0xffff,
                                   .class = p->class, .revision = p->revision, .subvendor = p->subvendor,
                                   .subsystem = p->subsystem, .express = true};
        if (at(pci, f->bus, f->devfn))
            return say(w, f, "a virtual function would be where there is one already");
        memcpy(f->bars, p->vf_bars, sizeof(p->vf_bars));
        pci->nfunctions++;
        if (add_devices(w, pci->nfunctions - 1) < 0)
            return -1;
    }
    return 0;
}

static const char *string_of(const void *fdt, int node, const char *property)
{
    int len = 0;
    const char *text = fdt_getprop(fdt, node, property, &len);

    return text && len > 0 && !text[len - 1] ? text : NULL;
}

/* The first of the compatible strings that is ours. */
static int model_of(const void *fdt, int node)
{
    int len = 0, model = -1;
    const char *list = fdt_getprop(fdt, node, "compatible", &len);

    for (int i = 0; list && i < len && list[len - 1] == 0 && model < 0; i += (int)strlen(list + i) + 1)
        model = pci_model_compatible(list + i);
    return model;
}

static int describe_bus(struct walk *w, int node, i16 parent, u8 bus, unsigned depth);

/* The buses below a bridge: as bus-range says, or its option, or the next one that is free. */
static void choose_buses(const struct walk *w, const struct pci_function *f, unsigned *first, unsigned *last)
{
    int len = 0;
    const u8 *range = fdt_getprop(w->desc->fdt, f->node, "bus-range", &len);

    if (range && len == 8) {
        *first = (unsigned)MIN(dt_cells(range, 1), 256u);
        *last = (unsigned)MIN(dt_cells(range + 4, 1), 256u);
        return;
    }
    *first = f->secondary ? f->secondary : f->bus + 1u;
    while (!f->secondary && *first < 256 && w->used[*first])
        ++*first;
    *last = *first;
}

static int describe_bridge(struct walk *w, u32 bridge, unsigned depth)
{
    struct machine_pci *pci = &w->desc->pci;
    struct pci_function *f = &pci->functions[bridge];
    unsigned first, last;

    choose_buses(w, f, &first, &last);
    if (first <= f->bus || last < first || last > pci->last_bus || w->used[first])
        return say(w, f, "the numbers of the buses below it are taken, or none of the host's");
    w->used[first] = true;
    f->secondary = (u8)first;
    if (depth == DEPTH)
        return say(w, f, "bridges are on top of each other too deep; allowed: 8");
    if (describe_bus(w, f->node, (i16)bridge, (u8)first, depth + 1) < 0)
        return -1;
    for (u32 i = bridge + 1; i < pci->nfunctions; i++)
        if (pci->functions[i].parent == (int)bridge && pci->functions[i].bridge)
            last = MAX(last, (unsigned)pci->functions[i].subordinate);
    f->subordinate = (u8)last;
    return 0;
}

static int describe_function(struct walk *w, int node, int model, u8 devfn, i16 parent, u8 bus, unsigned depth)
{
    struct machine_pci *pci = &w->desc->pci;
    const char *options = node == pci->node ? NULL : string_of(w->desc->fdt, node, PCI_OPTIONS), *why = NULL;
    struct pci_function *f = new_function(w, fdt_get_name(w->desc->fdt, node, NULL));

    if (!f)
        return -1;
    *f = (struct pci_function){.node = node, .parent = parent, .physical = -1, .bus = bus, .devfn = devfn, .model = (u16)model,
                               .vf_offset = 1, .vf_stride = 1};
    from_model(f, pci_models[model]);
    if (pci_function_options(f, options ? options : "", &why) < 0)
        return say(w, f, why);
    pci->nfunctions++;
    if (add_devices(w, pci->nfunctions - 1) < 0)
        return -1;
    if (f->bridge)
        return describe_bridge(w, pci->nfunctions - 1, depth);
    return 0;
}

static bool is_off(const void *fdt, int node)
{
    const char *status = string_of(fdt, node, "status");

    return status && strcmp(status, "okay") != 0 && strcmp(status, "ok") != 0;
}

/* Where the tree says that a node is; -1: nowhere. */
static int devfn_of(const void *fdt, int node)
{
    int len = 0;
    const u8 *reg = fdt_getprop(fdt, node, "reg", &len);

    return reg && len >= 4 ? (int)(dt_cells(reg, 1) >> 8 & 0xff) : -1;
}

/* The nodes of functions below another, by their places. */
static int collect(struct walk *w, int node, u8 bus, int places[256])
{
    const void *fdt = w->desc->fdt;
    int child;

    for (unsigned i = 0; i < 256; i++)
        places[i] = -1;
    fdt_for_each_subnode(child, fdt, node) {
        int devfn = devfn_of(fdt, child);

        if (model_of(fdt, child) < 0 || is_off(fdt, child))
            continue;
        if (devfn >= 0 && places[devfn] < 0) {
            places[devfn] = child;
            continue;
        }
        fmt_printf(w->error, "node %s: ", fdt_get_name(fdt, child, NULL));
        fmt_printf(w->error, devfn < 0 ? "no reg with the number of the device" : "another one has its place on bus %u", bus);
        return -1;
    }
    return 0;
}

static int root_model(void)
{
    const char *rest;

    return pci_model_find("host", &rest);
}

static int describe_bus(struct walk *w, int node, i16 parent, u8 bus, unsigned depth)
{
    int places[256], ret = collect(w, node, bus, places);

    if (ret == 0 && parent < 0 && places[0] < 0)
        ret = describe_function(w, node, root_model(), 0, parent, bus, depth);
    for (unsigned devfn = 0; devfn < 256 && ret == 0; devfn++)
        if (places[devfn] >= 0)
            ret = describe_function(w, places[devfn], model_of(w->desc->fdt, places[devfn]), (u8)devfn, parent, bus, depth);
    return ret;
}

/* Drivers look at function 0 first, and at no other if it is not there (PCI Local Bus 3.0, 3.2.2.3.4). */
static int check_firsts(struct walk *w)
{
    const struct machine_pci *pci = &w->desc->pci;

    for (u32 i = 0; i < pci->nfunctions; i++) {
        const struct pci_function *f = &pci->functions[i];

        if (f->physical < 0 && !at(pci, f->bus, f->devfn & 0xf8))
            return say(w, f, "its device has no function 0, so that drivers do not look for it");
    }
    return 0;
}

/* Two bridges on one bus cannot both pass on what is for a bus. */
static int check_buses(struct walk *w)
{
    const struct machine_pci *pci = &w->desc->pci;

    for (u32 i = 0; i < pci->nfunctions; i++)
        for (u32 j = 0; j < i; j++) {
            const struct pci_function *a = &pci->functions[i], *b = &pci->functions[j];

            if (a->bridge && b->bridge && a->parent == b->parent && a->secondary <= b->subordinate &&
                b->secondary <= a->subordinate)
                return say(w, a, "the numbers of the buses below it are those of another bridge, too");
        }
    return 0;
}

/* What the host's own windows are. */
static void name_host(struct machine_desc *desc)
{
    for (u32 i = 0; i < machine_fixed(desc); i++) {
        struct machine_window *w = &desc->windows[i];
        const struct mmioshim_class *class = i >= desc->nwindows ? &class_pci_ports : w->entry ? &class_pci_window : &class_pci_ecam;

        if (w->node == desc->pci.node)
            w->class = (u16)(class_number(class) + 1);
    }
}

static int name_interrupts(struct machine_desc *desc)
{
    for (u32 i = 0; i < desc->pci.nfunctions; i++) {
        struct machine_interrupt interrupt;

        if (machine_pci_interrupt(desc, i, &interrupt))
            desc->pci.functions[i].line = (u8)interrupt.number;
    }
    return 0;
}

int pci_describe(struct machine_desc *desc, struct fmt *error)
{
    struct walk w = {.desc = desc, .error = error};
    u32 real;

    name_host(desc);
    if (describe_bus(&w, desc->pci.node, -1, desc->pci.first_bus, 0) < 0)
        return -1;
    real = desc->pci.nfunctions;
    for (u32 i = 0; i < real; i++)
        if (desc->pci.functions[i].vfs && add_virtual(&w, i) < 0)
            return -1;
    return check_firsts(&w) < 0 || check_buses(&w) < 0 ? -1 : name_interrupts(desc);
}
