/* What Linux keeps of a function beside its registers, and what sysfs does with those. */
#include "base/mem.h"
#include "pci/own.h"
#include "pci/pci.h"

static struct bus_device *device_of(u32 function)
{
    return &pci_here.bus->devices[pci_here.pci->functions[function].device];
}

const char *pci_override_of(u32 function)
{
    return pci_here.state[function]->override;
}

void pci_set_override(u32 function, const char *text, size_t n, const struct lock_self *self)
{
    char *to = pci_here.state[function]->override;

    n = MIN(n, (size_t)(PCI_DRIVER_NAME - 1));
    bus_lock(device_of(function), self);
    memcpy(to, text, n);
    memset(to + n, 0, PCI_DRIVER_NAME - n);
    bus_unlock(device_of(function), self);
}

u32 pci_uio_slot(u32 function)
{
    return __atomic_load_n(&pci_here.state[function]->uio, __ATOMIC_RELAXED);
}

void pci_set_uio_slot(u32 function, u32 slot, const struct lock_self *self)
{
    bus_lock(device_of(function), self);
    __atomic_store_n(&pci_here.state[function]->uio, slot, __ATOMIC_RELAXED);
    bus_unlock(device_of(function), self);
}

bool pci_rom_shown(u32 function)
{
    return pci_here.state[function]->rom_shown;
}

void pci_show_rom(u32 function, bool shown, const struct lock_self *self)
{
    bus_lock(device_of(function), self);
    pci_here.state[function]->rom_shown = shown;
    bus_unlock(device_of(function), self);
}

size_t pci_rom_read(u32 function, u64 offset, void *to, size_t n, const struct lock_self *self)
{
    struct pci_resource r;
    struct bus_note note;
    size_t done = 0;

    pci_resource(function, 6, &r);
    if (offset >= r.size || !pci_rom_shown(function))
        return 0;
    n = MIN(n, (size_t)(r.size - offset));
    bus_lock(&pci_here.bus->devices[r.bus_device], self);
    for (; done < n; done++)
        bus_access(pci_here.bus, &pci_here.bus->devices[r.bus_device], offset + done, (u8 *)to + done, 1, false, &note);
    bus_unlock(&pci_here.bus->devices[r.bus_device], self);
    return done;
}

/* --- virtual functions: PCI Express SR-IOV 1.1, 3.3 --- */

static u32 sriov_at(u32 function)
{
    return pci_here.state[function]->sriov;
}

u32 pci_sriov_total(u32 function)
{
    u32 at = sriov_at(function);

    return at ? pci_get16(pci_here.state[function], at + 0x0e) : 0;
}

u32 pci_sriov_enabled(u32 function)
{
    u32 at = sriov_at(function);
    const struct pci_state *s = pci_here.state[function];

    return at && (pci_get16(s, at + PCI_SRIOV_CONTROL) & PCI_SRIOV_ENABLE) ? pci_get16(s, at + PCI_SRIOV_VFS) : 0;
}

void pci_sriov_enable(u32 function, u32 n, const struct lock_self *self)
{
    u32 at = sriov_at(function);
    u16 control, vfs = (u16)n;

    if (!at)
        return;
    control = pci_get16(pci_here.state[function], at + PCI_SRIOV_CONTROL);
    if (n) {
        pci_config_write(function, at + PCI_SRIOV_VFS, &vfs, 2, self);
        control |= PCI_SRIOV_ENABLE | PCI_SRIOV_MEMORY;
    } else {
        control &= (u16)~(PCI_SRIOV_ENABLE | PCI_SRIOV_MEMORY);
    }
    pci_config_write(function, at + PCI_SRIOV_CONTROL, &control, 2, self);
    if (!n)
        pci_config_write(function, at + PCI_SRIOV_VFS, &vfs, 2, self);
}

u32 pci_sriov_index(u32 function)
{
    return pci_here.pci->functions[function].ordinal;
}
