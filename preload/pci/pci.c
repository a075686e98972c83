#include "pci/pci.h"

#include "base/mem.h"
#include "bus/host.h"
#include "pci/own.h"

#include "base/trapsafe.h"

u32 pci_functions(void)
{
    return pci_here.bus ? pci_here.pci->nfunctions : 0;
}

static const struct pci_function *function(u32 i)
{
    return &pci_here.pci->functions[i];
}

void pci_info(u32 i, struct pci_info *info)
{
    const struct pci_function *f = function(i);
    const struct pci_function *p = f->physical < 0 ? f : function((u32)f->physical);
    u64 bus = f->bus - pci_here.pci->first_bus;

    *info = (struct pci_info){
        .bus = f->bus, .devfn = f->devfn, .there = pci_there(i), .bridge = f->bridge, .parent = f->parent,
        .physical = f->physical, .vendor = p->vendor, .device = p->id, .subvendor = f->subvendor,
        .subsystem = f->subsystem, .class = f->class, .revision = f->revision, .irq = f->line, .vectors = f->msix,
        .messages = f->msi, .config_size = f->express ? PCI_FUNCTION_SIZE : 256, .bus_device = f->device,
        .config = pci_here.pci->ecam.base + bus * PCI_BUS_SIZE + f->devfn * (u64)PCI_FUNCTION_SIZE,
    };
}

int pci_function_at(u8 bus, u8 devfn)
{
    for (u32 i = 0; i < pci_functions(); i++)
        if (function(i)->bus == bus && function(i)->devfn == devfn && pci_there(i))
            return (int)i;
    return -1;
}

/* --- resources --- */

static u64 machine_address(bool io, u64 bus, u64 size)
{
    const struct machine_pci *pci = pci_here.pci;

    if (io)
        return bus < MACHINE_PORTS ? bus : PCI_NOWHERE;
    for (u32 i = 0; i < pci->nranges; i++)
        if (pci->ranges[i].space != PCI_SPACE_IO && range_contains(pci->ranges[i].bus, bus, size))
            return pci->ranges[i].machine + (bus - pci->ranges[i].bus.base);
    return PCI_NOWHERE;
}

static u32 flags_of(const struct pci_bar *bar, bool rom)
{
    if (bar->io)
        return PCI_RESOURCE_ALIGNED | PCI_RESOURCE_IO | PCI_BAR_IO;
    if (rom)
        return PCI_RESOURCE_ALIGNED | PCI_RESOURCE_MEMORY | PCI_RESOURCE_READ_ONLY | PCI_RESOURCE_PREFETCH;
    return PCI_RESOURCE_ALIGNED | PCI_RESOURCE_MEMORY | (u32)(bar->prefetchable ? PCI_RESOURCE_PREFETCH | PCI_BAR_PREFETCH : 0) |
           (u32)(bar->wide ? PCI_RESOURCE_64 | PCI_BAR_64 : 0);
}

void pci_resource(u32 i, unsigned number, struct pci_resource *r)
{
    const struct pci_bar *bar = &function(i)->bars[number];

    *r = (struct pci_resource){.size = bar->size, .machine = PCI_NOWHERE, .bus_device = bar->device};
    if (!bar->size)
        return;
    r->bus = pci_bar_address(i, number);
    r->machine = machine_address(bar->io, r->bus, bar->size);
    r->flags = flags_of(bar, number == PCI_ROM);
}

void pci_forwards(u32 i, unsigned window, struct pci_resource *r)
{
    static const u32 flags[] = {PCI_RESOURCE_IO, PCI_RESOURCE_MEMORY, PCI_RESOURCE_MEMORY | PCI_RESOURCE_PREFETCH | PCI_RESOURCE_64};
    u64 limit;

    *r = (struct pci_resource){.machine = PCI_NOWHERE};
    if (window >= ARRAY_SIZE(flags) || !pci_bridge_window(pci_here.state[i], window, &r->bus, &limit))
        return;
    r->size = limit - r->bus + 1;
    r->machine = machine_address(window == 0, r->bus, r->size);
    r->flags = flags[window];
}

/* --- access --- */

static struct bus_device *device_of(u32 i)
{
    return &pci_here.bus->devices[function(i)->device];
}

/* The largest aligned piece: registers change as a whole. */
static unsigned piece(unsigned offset, unsigned left)
{
    unsigned n = offset % 4 == 0 ? 4 : offset % 2 == 0 ? 2 : 1;

    while (n > left)
        n /= 2;
    return n;
}

/* The device that a piece leads to, and where in it. */
static struct bus_device *target(u32 i, unsigned *offset)
{
    const struct pci_state *s = pci_here.state[i];
    unsigned bar;
    u32 at;

    if (*offset - (s->window + PCI_WINDOW_DATA) >= 4 || !pci_window(i, &bar, &at))
        return device_of(i);
    *offset = at + (*offset - (s->window + PCI_WINDOW_DATA));
    return &pci_here.bus->devices[function(i)->bars[bar].device];
}

static void config_piece(u32 i, unsigned offset, u8 *buf, unsigned n, bool write, const struct lock_self *self)
{
    struct bus_device *d = target(i, &offset);
    struct bus_note note;
    u64 value = 0;

    if (write)
        memcpy(&value, buf, n);
    bus_lock(d, self);
    bus_access(pci_here.bus, d, offset, &value, n, write, &note);
    bus_unlock(d, self);
    if (!write)
        memcpy(buf, &value, n);
}

static unsigned config(u32 i, unsigned offset, u8 *buf, unsigned length, bool write, const struct lock_self *self)
{
    unsigned size = function(i)->express ? PCI_FUNCTION_SIZE : 256, n;

    if (offset >= size)
        return 0;
    length = MIN(length, size - offset);
    for (unsigned done = 0; done < length; done += n) {
        n = piece(offset + done, length - done);
        config_piece(i, offset + done, buf + done, n, write, self);
    }
    return length;
}

unsigned pci_config_read(u32 i, unsigned offset, void *buf, unsigned length, const struct lock_self *self)
{
    return config(i, offset, buf, length, false, self);
}

unsigned pci_config_write(u32 i, unsigned offset, const void *buf, unsigned length, const struct lock_self *self)
{
    return config(i, offset, (u8 *)(uintptr_t)buf, length, true, self);
}

bool pci_enabled(u32 i)
{
    return pci_get16(pci_here.state[i], PCI_COMMAND) & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
}

void pci_enable(u32 i, bool on, const struct lock_self *self)
{
    u16 command = pci_get16(pci_here.state[i], PCI_COMMAND);

    command = (u16)(on ? command | PCI_COMMAND_IO | PCI_COMMAND_MEMORY : command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
    pci_config_write(i, PCI_COMMAND, &command, 2, self);
}

const char *pci_driver(u32 i)
{
    return pci_here.state[i]->driver;
}

void pci_bind(u32 i, const char *driver, const struct lock_self *self)
{
    struct pci_state *s = pci_here.state[i];
    size_t n = MIN(strlen(driver), sizeof(s->driver) - 1);

    bus_lock(device_of(i), self);
    memcpy(s->driver, driver, n);
    memset(s->driver + n, 0, sizeof(s->driver) - n);
    bus_unlock(device_of(i), self);
}

void pci_reset(u32 i, const struct lock_self *self)
{
    pci_busy(i, PCI_BUSY_RESET);
    pci_settle(pci_here.bus, self);
}

bool pci_uses_messages(u32 i)
{
    return pci_sends(i);
}

bool pci_is_master(u32 i)
{
    return pci_masters(i);
}

bool pci_requester(const struct bus_device *device, u16 *id)
{
    if (!device->function)
        return false;
    *id = (u16)(function(device->function - 1u)->bus << 8 | function(device->function - 1u)->devfn);
    return true;
}
