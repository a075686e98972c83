/* Bring-up: where the states of functions are, what firmware does, what the bus asks of us. */
#include "base/mem.h"
#include "config/options.h"
#include "pci/own.h"
#include "pci/pci.h"

void pci_find_states(struct machine *machine)
{
    const struct machine_pci *pci = &machine->desc->pci;

    pci_here = (struct pci_here){.arena = machine->arena, .desc = machine->desc, .pci = pci};
    for (u32 i = 0; i < pci->nfunctions; i++)
        pci_here.state[i] = arena_at(machine->arena, arena_devices(machine->arena)[pci->functions[i].device].state);
}

int pci_create(struct machine *machine, struct fmt *error)
{
    if (!machine->desc->pci.present)
        return 0;
    pci_find_states(machine);
    return pci_assign(error);
}

/* A machine that somebody else made has what was attached then. */
static int check_attached(const char *attach, struct fmt *error)
{
    char piece[512];
    struct fmt f = FMT_INIT(piece);
    size_t n;
    u8 bus, devfn;

    while (attach && list_next(&attach, ';', &f)) {
        bool found = false;

        if (strncmp(piece, "pci:", 4) != 0)
            continue;
        if (pci_parse_address(piece + 4, '=', &bus, &devfn, &n) && pci_here.pci)
            for (u32 i = 0; i < pci_here.pci->nfunctions; i++)
                found |= pci_here.pci->functions[i].bus == bus && pci_here.pci->functions[i].devfn == devfn;
        if (found)
            continue;
        fmt_str(error, "MMIOSHIM_ATTACH=");
        option_show(error, piece);
        fmt_str(error, ": the machine was made without it; allowed: what was attached then");
        return -1;
    }
    return 0;
}

int pci_start(struct bus *bus, struct view *view, struct view *ports, const char *attach, struct fmt *error)
{
    static const struct bus_functions functions = {pci_masters, pci_sends, pci_ask, pci_settle};
    const struct machine_desc *desc = bus->machine->desc;

    if (!desc->pci.present)
        return check_attached(attach, error);
    pci_find_states(bus->machine);
    bus->functions = &functions;
    for (u32 i = machine_fixed(desc); i < machine_devices(desc); i++)
        if (desc->windows[i].bar != PCI_CONFIG_SPACE) {
            bus->devices[i].function = desc->windows[i].function;
            bus->devices[i].owner = desc->pci.functions[desc->windows[i].function - 1].device;
        }
    view->refine = ports->refine = pci_refine;
    pci_here.bus = bus;
    return check_attached(attach, error);
}
