#include "config/machine.h"

#include <libfdt.h>

#include "base/mem.h"
#include "base/sys.h"
#include "config/fdt.h"
#include "config/windows.h"
#include "pci/describe.h"

#define USER_LIMIT  (((u64)1 << 47) - PAGE_SIZE) /* end of user space with 4-level page tables: TASK_SIZE */
#define TRANSLATION_WORK (1u << 24)              /* entries of ranges looked at; real trees need a few thousand */

struct parse {
    struct machine_desc *desc;
    struct fmt *error;
    struct dt_bus buses[DT_DEPTH];      /* of the nodes from the root down to the current one */
    u32 first[DT_DEPTH];                /* index of each one's first window */
    unsigned depth;                     /* of the current node */
    unsigned ports;                     /* depth of the node that is the I/O port space */
    struct reg_window *reg;
    u32 nreg;
    struct range banks[MACHINE_BANKS];  /* of desc->banks, before trimming */
    u32 budget;
};

static u64 fnv1a(const u8 *p, size_t n)
{
    u64 hash = 0xcbf29ce484222325u;

    while (n--)
        hash = (hash ^ *p++) * 0x100000001b3u;
    return hash;
}

/* Specification 2.3.4: no status is "okay"; "ok" is what some firmware writes. */
static bool is_available(const struct dt_node *node)
{
    const char *status = dt_string(&node->prop[DT_STATUS]);

    if (!node->prop[DT_STATUS].data)
        return true;
    return status && (strcmp(status, "okay") == 0 || strcmp(status, "ok") == 0);
}

static bool name_is(const char *node, const char *name)
{
    size_t n = strlen(name);

    return strncmp(node, name, n) == 0 && (node[n] == 0 || node[n] == '@');
}

/* CPUs have a reg that is a number, reserved memory is a part of RAM. */
static bool is_hidden(const struct parse *p, const struct dt_node *node)
{
    if (!is_available(node))
        return true;
    return p->depth == 1 && (name_is(node->name, "cpus") || name_is(node->name, "reserved-memory"));
}

static bool is_memory(const struct parse *p, const struct dt_node *node)
{
    const char *type = dt_string(&node->prop[DT_DEVICE_TYPE]);

    if (p->buses[p->depth - 1].ports)
        return false;
    return (type && strcmp(type, "memory") == 0) || (p->depth == 1 && name_is(node->name, "memory"));
}

static int say(struct parse *p, const struct dt_node *node, const char *what)
{
    fmt_printf(p->error, "node %s: %s", node->name, what);
    return -1;
}

static int bad_range(struct parse *p, const struct dt_node *node, struct range r, const char *what)
{
    fmt_printf(p->error, "node %s: %lx with %lx bytes %s", node->name, r.base, r.size, what);
    return -1;
}

static int trim_bank(struct parse *p, const struct dt_node *node, struct range *r)
{
    u64 first = page_up(r->base), end = page_down(r->base + r->size);

    if (end <= first)
        return bad_range(p, node, *r, "of RAM is less than one whole page");
    *r = (struct range){first, end - first};
    return 0;
}

static int overlapping_banks(struct parse *p, const struct dt_node *node, struct range r, u32 other)
{
    fmt_printf(p->error, "banks of RAM overlap: %s (%lx-%lx) and %s (%lx-%lx)", p->desc->banks[other].name,
               p->banks[other].base, range_last(p->banks[other]), node->name, r.base, range_last(r));
    return -1;
}

static int add_bank(struct parse *p, const struct dt_node *node, struct range r, u32 entry)
{
    struct machine_desc *desc = p->desc;
    struct machine_bank bank = {.range = r};
    struct fmt name = FMT_INIT(bank.name);
    u32 at = desc->nbanks;

    if (at == MACHINE_BANKS) {
        fmt_printf(p->error, "node %s: too many banks of RAM; allowed: %d", node->name, MACHINE_BANKS);
        return -1;
    }
    for (u32 i = 0; i < desc->nbanks; i++)
        if (range_overlaps(p->banks[i], r))
            return overlapping_banks(p, node, r, i);
    window_name(&name, node->name, entry);
    fmt_end(&name);
    if (name.full)
        return say(p, node, "the name of its bank is too long");
    if (trim_bank(p, node, &bank.range) < 0)
        return -1;
    for (; at > 0 && p->banks[at - 1].base > r.base; at--) {
        desc->banks[at] = desc->banks[at - 1];
        p->banks[at] = p->banks[at - 1];
    }
    desc->banks[at] = bank;
    p->banks[at] = r;
    desc->nbanks++;
    return 0;
}

static int add_window(struct parse *p, const struct dt_node *node, struct range r, u32 entry, bool port)
{
    if (p->nreg == MACHINE_WINDOWS) {
        fmt_printf(p->error, "node %s: too many windows; allowed: %d", node->name, MACHINE_WINDOWS);
        return -1;
    }
    p->reg[p->nreg++] = (struct reg_window){
        .range = r,
        .name = node->name,
        .compatible = dt_string(&node->prop[DT_COMPATIBLE]),
        .node = node->offset,
        .end = INT32_MAX,
        .entry = (u16)entry,
        .port = port,
    };
    return 0;
}

/* To the root of its address space: memory as the CPU sees it, or the I/O ports. */
static enum dt_translation translate(struct parse *p, u64 *address)
{
    unsigned bus = p->depth - 1, root = p->buses[bus].ports ? p->ports : 0;

    return dt_translate(p->buses + root, bus - root, address, &p->budget);
}

/*
 * ISA/EISA/ISA-PnP binding to IEEE 1275, "Physical address formats": bit 0 of the first cell says I/O. Where ranges do
 * not lead it to memory (as on other processors than x86) these are ports.
 */
static bool isa_port(const struct parse *p, u64 *address)
{
    if (!p->buses[p->depth - 1].isa || !(*address >> 32 & 1))
        return false;
    *address = (u32)*address;
    return true;
}

static int check_range(struct parse *p, const struct dt_node *node, struct range r, bool port)
{
    if (port) {
        if (!range_contains((struct range){0, MACHINE_PORTS}, r.base, r.size))
            return bad_range(p, node, r, "lies outside the I/O port space; allowed: ports up to 0xffff");
    } else if (!range_contains((struct range){0, USER_LIMIT}, r.base, r.size)) {
        return bad_range(p, node, r, "lies outside user space; allowed: below 0x7ffffffff000");
    }
    return 0;
}

/* One entry of reg; r is on the node's own bus. */
static int add_entry(struct parse *p, const struct dt_node *node, struct range r, u32 entry)
{
    bool port = p->buses[p->depth - 1].ports;
    u64 address = r.base;

    if (r.size == 0)
        return 0;
    switch (translate(p, &address)) {
    case DT_UNREACHABLE:
        port = isa_port(p, &r.base);
        if (!port)
            return 0;
        p->desc->ioports = true;
        break;
    case DT_TOO_MUCH_WORK:
        return say(p, node, "translating addresses through ranges takes too long");
    case DT_TRANSLATED:
        r.base = address;
        break;
    }
    if (check_range(p, node, r, port) < 0)
        return -1;
    if (entry > UINT16_MAX)
        return say(p, node, "reg has too many entries");
    return !port && is_memory(p, node) ? add_bank(p, node, r, entry) : add_window(p, node, r, entry, port);
}

static int read_reg(struct parse *p, const struct dt_node *node)
{
    const struct dt_prop *reg = &node->prop[DT_REG];
    const struct dt_bus *bus = &p->buses[p->depth - 1];
    u32 size;

    if (!reg->data || (bus->opaque && !bus->isa) || !dt_bus_has_memory(bus))
        return 0;
    size = 4 * (bus->address_cells + bus->size_cells);
    if (reg->len % size) {
        fmt_printf(p->error, "node %s: reg has %u bytes; allowed: multiples of %u", node->name, reg->len, size);
        return -1;
    }
    for (u32 entry = 0; entry < reg->len / size; entry++) {
        const u8 *data = reg->data + entry * size;
        struct range r = {
            dt_cells(data, bus->address_cells),
            dt_cells(data + 4 * bus->address_cells, bus->size_cells),
        };

        if (add_entry(p, node, r, entry) < 0)
            return -1;
    }
    return 0;
}

static int add_range(struct parse *p, const struct dt_node *node, struct pci_range *range, u32 entry)
{
    struct range r = {range->machine, range->bus.size};

    if (translate(p, &r.base) != DT_TRANSLATED)
        return say(p, node, "the CPU cannot reach an entry of ranges");
    range->machine = r.base;
    return check_range(p, node, r, false) < 0 ? -1 : add_window(p, node, r, entry, false);
}

/* The ports of configuration mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2): x86 has them whatever else there is. */
static int add_config_ports(struct parse *p, const struct dt_node *node, u32 entry)
{
    if (add_window(p, node, (struct range){0xcf8, 8}, entry, true) < 0)
        return -1;
    p->desc->ioports = true;
    return 0;
}

/* The first one is the machine's; what others have behind them nobody models. */
static int read_host(struct parse *p, const struct dt_node *node)
{
    struct machine_pci *pci = &p->desc->pci;
    u32 first = p->nreg;

    if (pci->present || p->buses[p->depth - 1].opaque || !node->prop[DT_REG].data)
        return 0;
    if (pci_read_host(pci, node, &p->buses[p->depth - 1], p->desc->fdt, p->error) < 0 || read_reg(p, node) < 0)
        return -1;
    if (p->nreg != first + 1)
        return say(p, node, "a PCI host has one entry of reg, its configuration space");
    pci->ecam = p->reg[first].range;
    for (u32 i = 0; i < pci->nranges; i++)
        if (add_range(p, node, &pci->ranges[i], 1 + i) < 0)
            return -1;
    return add_config_ports(p, node, 1 + pci->nranges);
}

/* x86 has one space of ports, so a machine has one node of it. */
static int read_ports(struct parse *p, const struct dt_node *node)
{
    if (p->desc->ioports)
        return say(p, node, "a second I/O port space; allowed: one");
    p->desc->ioports = true;
    p->ports = p->depth;
    return dt_read_ports(&p->buses[p->depth], node, &p->buses[p->depth - 1], p->error);
}

static int read_node(struct parse *p, int offset)
{
    const struct dt_bus *parent = p->depth ? &p->buses[p->depth - 1] : NULL;
    struct dt_bus *bus = &p->buses[p->depth];
    struct dt_node node;

    p->first[p->depth] = p->nreg;
    *bus = (struct dt_bus){.hidden = true};
    if (parent && parent->hidden)
        return 0;
    if (dt_read_node(&node, p->desc->fdt, offset, p->error) < 0)
        return -1;
    if (parent && is_hidden(p, &node))
        return 0;
    if (parent && dt_compatible(&node, "mmioshim,ioports"))
        return read_ports(p, &node);
    if (dt_read_bus(bus, &node, parent, p->error) < 0)
        return -1;
    if (parent && dt_compatible(&node, PCI_HOST) && !p->desc->pci.present)
        return read_host(p, &node);
    return parent ? read_reg(p, &node) : 0;
}

/* The subtrees at `depth` and below end at this offset. */
static void leave(struct parse *p, unsigned depth, int offset)
{
    for (u32 i = p->first[depth]; i < p->nreg; i++)
        if (p->reg[i].end == INT32_MAX)
            p->reg[i].end = offset;
}

static int walk(struct parse *p)
{
    int depth = 0, offset = 0;

    do {
        if (depth >= DT_DEPTH) {
            fmt_printf(p->error, "nodes are nested too deep; allowed: %d levels", DT_DEPTH);
            return -1;
        }
        if (offset > 0 && (unsigned)depth <= p->depth)
            leave(p, (unsigned)depth, offset);
        p->depth = (unsigned)depth;
        if (read_node(p, offset) < 0)
            return -1;
        offset = fdt_next_node(p->desc->fdt, offset, &depth);
    } while (offset >= 0 && depth > 0);
    return 0;
}

int machine_parse(struct machine_desc *desc, const void *blob, size_t size, struct fmt *error)
{
    struct parse p = {.desc = desc, .error = error, .budget = TRANSLATION_WORK};
    const size_t bytes = MACHINE_WINDOWS * sizeof(*p.reg);
    int result;

    desc->ioports = false;
    desc->nbanks = desc->nwindows = desc->nports = desc->nmoving = 0;
    desc->pci.present = false;
    desc->pci.nfunctions = 0;
    if (dt_check(blob, size, error) < 0)
        return -1;
    desc->fdt = blob;
    desc->fdt_size = fdt_totalsize(blob);
    desc->hash = fnv1a(blob, desc->fdt_size);
    p.reg = sys_pages(bytes);
    if (!p.reg) {
        fmt_str(error, "out of memory");
        return -1;
    }
    result = walk(&p);
    if (result == 0)
        result = windows_flatten(desc, p.reg, p.nreg, error);
    if (result == 0 && desc->pci.present)
        result = pci_describe(desc, error);
    sys_munmap(p.reg, bytes);
    if (result == 0 && desc->nbanks + desc->nwindows == 0 && !desc->ioports) {
        fmt_str(error, "the tree has neither RAM nor a window that the CPU can reach");
        return -1;
    }
    return result;
}

bool machine_compatible(const struct machine_desc *desc, const struct machine_window *window, const char *string)
{
    int len = 0;
    const void *list = fdt_getprop(desc->fdt, window->node, "compatible", &len);

    return list && fdt_stringlist_contains(list, len, string);
}

const void *node_property(const struct mmioshim_node *node, const char *name, u32 *length)
{
    int len = 0;
    const void *data = fdt_getprop(node->desc->fdt, node->node, name, &len);

    if (length)
        *length = data ? (u32)len : 0;
    return data;
}

bool node_property_u32(const struct mmioshim_node *node, const char *name, u32 *value)
{
    u32 len;
    const u8 *data = node_property(node, name, &len);

    if (!data || len != 4)
        return false;
    *value = (u32)dt_cells(data, 1);
    return true;
}

bool node_property_u32_at(const struct mmioshim_node *node, const char *path, const char *name, u32 *value)
{
    struct mmioshim_node other = {node->desc, fdt_path_offset(node->desc->fdt, path)};

    return other.node >= 0 && node_property_u32(&other, name, value);
}
