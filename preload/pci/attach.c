/*
 * "pci:05:00.0=MODEL,option..." of MMIOSHIM_ATTACH becomes a node below the host, as if the device tree had had it: so
 * every process of the machine finds the functions where it finds everything else.
 */
#include <libfdt.h>

#include "base/mem.h"
#include "base/sys.h"
#include "config/fdt.h"
#include "config/options.h"
#include "pci/describe.h"
#include "pci/models.h"
#include "pci/pci.h"

#define PREFIX "pci:"
#define ROOM   (64u << 10) /* bytes that the tree may grow by */
#define SLOTS  32

struct edit {
    void *fdt;
    int host;
    u8 root; /* number of its bus */
    struct fmt *error;
};

/* One attachment. */
struct piece {
    const char *text; /* as given, for messages */
    u8 bus, devfn;
    const char *what; /* MODEL,options */
    int model;
    const char *options;
};

static int refuse(struct edit *e, const struct piece *p, const char *why)
{
    fmt_str(e->error, "MMIOSHIM_ATTACH=");
    option_show(e->error, p->text);
    fmt_printf(e->error, ": %s", why);
    return -1;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A number of `digits` hexadecimal digits at most, and the character behind it. */
static bool number(const char **text, unsigned digits, char behind, unsigned most, unsigned *value)
{
    const char *p = *text;

    *value = 0;
    while (digits-- && digit(*p) >= 0)
        *value = *value * 16 + (unsigned)digit(*p++);
    if (p == *text || *p != behind || *value > most)
        return false;
    *text = p + 1;
    return true;
}

bool pci_parse_address(const char *text, char stop, u8 *bus, u8 *devfn, size_t *length)
{
    const char *p = text;
    unsigned segment, b, slot, n;

    if (!number(&p, 4, ':', 0xffff, &segment))
        return false;
    if (!number(&p, 2, ':', 255, &b)) { /* no segment: it was the bus */
        b = segment;
        segment = 0;
    }
    if (segment || b > 255 || !number(&p, 2, '.', 31, &slot) || !number(&p, 1, stop, 7, &n))
        return false;
    *bus = (u8)b;
    *devfn = (u8)(slot << 3 | n);
    *length = (size_t)(p - text) - 1;
    return true;
}

/* --- the tree --- */

static int find_host(const void *fdt, bool off)
{
    int node = -1;

    while ((node = fdt_node_offset_by_compatible(fdt, node, PCI_HOST)) >= 0) {
        int len = 0;
        const char *status = fdt_getprop(fdt, node, "status", &len);

        if (off == (status && len >= 8 && strcmp(status, "disabled") == 0))
            return node;
    }
    return -1;
}

static u32 cell(const void *fdt, int node, const char *name, unsigned i, u32 absent)
{
    int len = 0;
    const u8 *p = fdt_getprop(fdt, node, name, &len);

    return p && (unsigned)len >= 4 * (i + 1) ? (u32)dt_cells(p + 4 * i, 1) : absent;
}

static u8 devfn_of(const void *fdt, int node)
{
    return (u8)(cell(fdt, node, "reg", 0, 0) >> 8);
}

/* The bridge below `node` whose bus-range has a bus; -1: none. */
static int bridge_to(const void *fdt, int node, u8 bus)
{
    int child;

    fdt_for_each_subnode(child, fdt, node)
        if (fdt_getprop(fdt, child, "bus-range", NULL) && bus >= cell(fdt, child, "bus-range", 0, 256) &&
            bus <= cell(fdt, child, "bus-range", 1, 0))
            return child;
    return -1;
}

static bool taken(const void *fdt, int bus, u8 devfn)
{
    int child;

    fdt_for_each_subnode(child, fdt, bus)
        if (devfn_of(fdt, child) == devfn)
            return true;
    return false;
}

static bool put_cells(void *fdt, int node, const char *name, const u32 *cells, unsigned n)
{
    u8 data[5 * 4];

    for (unsigned i = 0; i < n; i++)
        for (unsigned b = 0; b < 4; b++)
            data[4 * i + b] = (u8)(cells[i] >> (24 - 8 * b));
    return fdt_setprop(fdt, node, name, data, (int)(4 * n)) == 0;
}

/* "pci@1,0" with the properties that every function's node has. -1: no room. */
static int add_node(struct edit *e, int bus, u8 devfn, int model, const char *options)
{
    char name[32], compatible[64];
    struct fmt n = FMT_INIT(name), c = FMT_INIT(compatible);
    const u32 reg[5] = {(u32)devfn << 8};
    int node;

    fmt_str(&n, "pci@");
    fmt_hexpad(&n, pci_slot(devfn), pci_slot(devfn) > 15 ? 2 : 1);
    fmt_printf(&n, ",%u", pci_number(devfn));
    fmt_end(&n);
    fmt_printf(&c, PCI_COMPATIBLE "%s", pci_models[model]->name);
    fmt_end(&c);
    node = fdt_add_subnode(e->fdt, bus, name);
    if (node < 0 || !put_cells(e->fdt, node, "reg", reg, 5) ||
        fdt_setprop(e->fdt, node, "compatible", compatible, (int)strlen(compatible) + 1) < 0 ||
        (*options && fdt_setprop(e->fdt, node, PCI_OPTIONS, options, (int)strlen(options) + 1) < 0))
        return -1;
    return node;
}

static int bridge_model(void)
{
    const char *rest;

    return pci_model_find("bridge", &rest);
}

/* A bridge from one bus to another. -1: no room. */
static int add_bridge(struct edit *e, int above, u8 devfn, u8 bus, const char *options)
{
    int node = add_node(e, above, devfn, bridge_model(), options);
    const u32 buses[2] = {bus, bus}, three = 3, two = 2;

    if (node < 0 || fdt_setprop(e->fdt, node, "device_type", "pci", 4) < 0 || fdt_setprop(e->fdt, node, "ranges", NULL, 0) < 0 ||
        !put_cells(e->fdt, node, "#address-cells", &three, 1) || !put_cells(e->fdt, node, "#size-cells", &two, 1) ||
        !put_cells(e->fdt, node, "bus-range", buses, 2))
        return -1;
    return node;
}

/* The first place on the root bus that nothing has or wants. */
static int free_slot(const struct edit *e, const struct piece *pieces, unsigned n)
{
    for (unsigned slot = 1; slot < SLOTS; slot++) {
        bool used = false;

        for (unsigned i = 0; i < n; i++)
            used |= pieces[i].bus == e->root && pci_slot(pieces[i].devfn) == slot;
        for (u8 f = 0; f < 8; f++)
            used |= taken(e->fdt, e->host, (u8)(slot << 3 | f));
        if (!used)
            return (int)slot;
    }
    return -1;
}

/* --- attachments --- */

/* The node of the bus that a function is to be on; made, with the root port that leads there, if there is none. */
static int bus_node(struct edit *e, const struct piece *pieces, unsigned n, const struct piece *p)
{
    int node = e->host, slot;

    if (p->bus == e->root)
        return node;
    for (int next; (next = bridge_to(e->fdt, node, p->bus)) >= 0; node = next)
        if (cell(e->fdt, next, "bus-range", 0, 0) == p->bus)
            return next;
    if (node != e->host)
        return refuse(e, p, "the bridges that are there lead to no such bus");
    slot = free_slot(e, pieces, n);
    if (slot < 0)
        return refuse(e, p, "no place is left on the root bus for the bridge to its bus");
    node = add_bridge(e, e->host, (u8)(slot << 3), p->bus, "");
    return node < 0 ? refuse(e, p, "the device tree grows too large") : node;
}

/* "bus=5" among the options of a bridge; 0: it says nothing. */
static u8 bus_option(const char *options)
{
    char text[64];
    struct fmt f = FMT_INIT(text);
    u64 bus = 0;

    while (list_next(&options, ',', &f))
        if (strncmp(text, "bus=", 4) == 0 && parse_u64(text + 4, &bus))
            return (u8)MIN(bus, 255u);
    return 0;
}

static u8 unused_bus(const struct edit *e, const struct piece *pieces, unsigned n)
{
    unsigned bus = e->root + 1u;

    for (bool used = true; used; bus += used) {
        used = bridge_to(e->fdt, e->host, (u8)bus) >= 0;
        for (unsigned i = 0; i < n; i++)
            used |= pieces[i].bus == bus;
        if (bus == 255)
            break;
    }
    return (u8)bus;
}

/* Bridges above get the number of a new bus among theirs. */
static void widen(struct edit *e, u8 above, u8 bus)
{
    for (int node = bridge_to(e->fdt, e->host, above); node >= 0; node = bridge_to(e->fdt, node, above)) {
        u32 buses[2] = {cell(e->fdt, node, "bus-range", 0, 0), cell(e->fdt, node, "bus-range", 1, 0)};

        buses[1] = MAX(buses[1], (u32)bus);
        put_cells(e->fdt, node, "bus-range", buses, 2);
        if (buses[0] == above)
            return;
    }
}

static int attach_one(struct edit *e, const struct piece *pieces, unsigned n, const struct piece *p)
{
    bool bridge = pci_models[p->model]->bridge;
    int bus = bus_node(e, pieces, n, p), node;

    if (bus < 0)
        return -1;
    if (taken(e->fdt, bus, p->devfn))
        return refuse(e, p, "there is a function at this address already");
    if (!bridge) {
        node = add_node(e, bus, p->devfn, p->model, p->options);
    } else {
        u8 number = bus_option(p->options) ? bus_option(p->options) : unused_bus(e, pieces, n);

        if (bridge_to(e->fdt, e->host, number) >= 0 || number == e->root)
            return refuse(e, p, "another bridge leads to this bus");
        if (p->bus != e->root)
            widen(e, p->bus, number);
        bus = bus_node(e, pieces, n, p); /* what is written into the tree moves nodes */
        node = add_bridge(e, bus, p->devfn, number, p->options);
    }
    e->host = find_host(e->fdt, false);
    return node < 0 ? refuse(e, p, "the device tree grows too large") : 0;
}

/* --- reading MMIOSHIM_ATTACH --- */

#define PIECE 512

static int read_piece(struct edit *e, struct piece *p, const char *text)
{
    size_t n;

    *p = (struct piece){.text = text};
    if (!pci_parse_address(text + sizeof(PREFIX) - 1, '=', &p->bus, &p->devfn, &n))
        return refuse(e, p, "bad address; allowed: pci:BUS:DEVICE.FUNCTION=MODEL[,option...], hexadecimal");
    p->what = text + sizeof(PREFIX) + n;
    p->model = pci_model_find(p->what, &p->options);
    if (p->model >= 0)
        return 0;
    refuse(e, p, "no such model of a PCI function");
    pci_model_list(e->error);
    return -1;
}

/* How many attachments are ours; -1: too many, or one is too long. */
static int read_pieces(struct edit *e, const char *attach, char (*texts)[PIECE])
{
    unsigned n = 0;

    for (;;) {
        struct fmt f = {.buf = texts[n], .cap = PIECE};
        struct piece p = {.text = texts[n]};

        if (!list_next(&attach, ';', &f))
            return (int)n;
        texts[n][PIECE - 1] = 0;
        if (strncmp(texts[n], PREFIX, sizeof(PREFIX) - 1) != 0)
            continue;
        if (f.full)
            return refuse(e, &p, "too long; allowed: 511 characters");
        if (++n > PCI_FUNCTIONS)
            return refuse(e, &p, "too many PCI functions; allowed: 128");
    }
}

/* A bus before what is below it. */
static void sort(struct piece *pieces, unsigned n)
{
    for (unsigned i = 1; i < n; i++)
        for (unsigned j = i; j > 0; j--) {
            struct piece *a = &pieces[j - 1], *b = &pieces[j], t = *a;

            if ((a->bus << 8 | a->devfn) <= (b->bus << 8 | b->devfn))
                break;
            *a = *b;
            *b = t;
        }
}

/* Bridges first, so that what is below them finds them. */
static int attach_all(struct edit *e, char (*texts)[PIECE], struct piece *pieces, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (read_piece(e, &pieces[i], texts[i]) < 0)
            return -1;
    sort(pieces, n);
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < n; i++)
            if (pci_models[pieces[i].model]->bridge == !round && attach_one(e, pieces, n, &pieces[i]) < 0)
                return -1;
    return 0;
}

static int no_host(struct edit *e, const char *text)
{
    struct piece p = {.text = text};

    return refuse(e, &p, "the map has no PCI host (" PCI_HOST ")");
}

static int edit_tree(struct edit *e, const struct machine_desc *desc, char (*texts)[PIECE], struct piece *pieces, unsigned n)
{
    u32 size = desc->fdt_size + ROOM;

    e->fdt = sys_pages(size); /* stays: desc points into it */
    if (!e->fdt || fdt_open_into(desc->fdt, e->fdt, (int)size) < 0) {
        fmt_str(e->error, "machine: no memory for its device tree");
        return -1;
    }
    e->host = find_host(e->fdt, false);
    if (e->host < 0) {
        e->host = find_host(e->fdt, true);
        if (e->host < 0 || fdt_setprop(e->fdt, e->host, "status", "okay", 5) < 0)
            return no_host(e, texts[0]);
        e->host = find_host(e->fdt, false);
    }
    e->root = (u8)cell(e->fdt, e->host, "bus-range", 0, 0);
    return attach_all(e, texts, pieces, n);
}

int pci_attach(struct machine_desc *desc, const char *attach, struct fmt *error)
{
    size_t bytes = (PCI_FUNCTIONS + 2) * (PIECE + sizeof(struct piece));
    char(*texts)[PIECE] = attach && *attach ? sys_pages(bytes) : NULL;
    struct edit e = {.error = error};
    u64 hash = desc->hash;
    int n = texts ? read_pieces(&e, attach, texts) : 0, ret = n < 0 ? -1 : 0;

    if (n > 0) {
        ret = edit_tree(&e, desc, texts, (struct piece *)(void *)texts[PCI_FUNCTIONS + 2], (unsigned)n);
        if (ret == 0) {
            fdt_pack(e.fdt);
            ret = machine_parse(desc, e.fdt, fdt_totalsize(e.fdt), error);
        }
    }
    desc->hash = hash;
    if (texts)
        sys_munmap(texts, bytes);
    return ret;
}
