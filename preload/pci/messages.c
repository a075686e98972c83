/*
 * Interrupts of functions: pins, messages (MSI, MSI-X), and what holds them back. Source: PCI Local Bus 3.0, 6.2.2,
 * 6.2.3, 6.8; PCI Express Base 5.0, 6.1.4.
 *
 * A device behind a BAR changes its own line, or asks for a message, while it is locked itself; what follows from that
 * is settled under the lock of the function, when no device is locked any more. So nobody holds two of these locks.
 */
#include "base/mem.h"
#include "bus/host.h"
#include "bus/irq.h"
#include "pci/msix.h"
#include "pci/own.h"

#include "base/trapsafe.h"

static const struct pci_function *function(u32 i)
{
    return &pci_here.pci->functions[i];
}

void pci_busy(u32 i, u32 what)
{
    if (!pci_here.bus)
        return;
    __atomic_fetch_or(&pci_here.state[i]->busy, what, __ATOMIC_SEQ_CST);
    bus_requests.functions = true;
}

/* Bus mastering, of the function and of all bridges above it. */
bool pci_masters(u32 i)
{
    if (!pci_there(i))
        return false;
    for (int at = (int)i; at >= 0; at = function((u32)at)->parent)
        if (!(pci_get16(pci_here.state[at], PCI_COMMAND) & PCI_COMMAND_MASTER))
            return false;
    return true;
}

static bool msix_on(const struct pci_state *s)
{
    return s->msix && (pci_get16(s, s->msix + PCI_MSIX_CONTROL) & PCI_MSIX_ENABLE);
}

static bool msi_on(const struct pci_state *s)
{
    return s->msi && (pci_get16(s, s->msi + PCI_MSI_CONTROL) & PCI_MSI_ENABLE);
}

bool pci_sends(u32 i)
{
    const struct pci_state *s = pci_here.state[i];

    return msix_on(s) || msi_on(s);
}

/* Of a device behind a BAR: line 0 is the pin of its function, line 1 + v the message v. */
bool pci_ask(struct mmioshim_device *dev, u32 i, unsigned line, bool level)
{
    struct arena_wire *wires = arena_wires(pci_here.arena, dev->index);

    if (line == 0) {
        if (!arena_devices(pci_here.arena)[dev->index].nwires || wires[0].level == level)
            return true;
        __atomic_store_n(&wires[0].level, level, __ATOMIC_SEQ_CST);
    } else {
        if (!level || line > PCI_VECTORS)
            return true;
        __atomic_fetch_or(&pci_here.state[i]->asked[(line - 1) / 64], (u64)1 << (line - 1) % 64, __ATOMIC_SEQ_CST);
    }
    pci_busy(i, PCI_BUSY_INTERRUPT);
    return true;
}

/* --- the lock of the function's device is held --- */

static bool any_line(const struct pci_function *f)
{
    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        u32 device = f->bars[bar].device;

        if (f->bars[bar].size && arena_devices(pci_here.arena)[device].nwires &&
            __atomic_load_n(&arena_wires(pci_here.arena, device)[0].level, __ATOMIC_SEQ_CST))
            return true;
    }
    return false;
}

/* 6.2.3: Interrupt Status is that of the function, whether or not Interrupt Disable keeps the pin quiet. */
static void settle_pin(struct mmioshim_device *dev, struct pci_state *s)
{
    u16 *status = (u16 *)(void *)&s->config[PCI_STATUS];
    bool high = function(s->function)->pin && any_line(function(s->function));

    __atomic_store_n(status, (u16)((*status & ~PCI_STATUS_INTERRUPT) | (high ? PCI_STATUS_INTERRUPT : 0)), __ATOMIC_RELEASE);
    dev->host->irq(dev, 0, high && !(pci_get16(s, PCI_COMMAND) & PCI_COMMAND_NO_INTX) && !pci_sends(s->function));
}

static bool vector_free(const struct pci_state *s, unsigned vector)
{
    const struct pci_function *f = function(s->function);
    const struct arena_device *table = &arena_devices(pci_here.arena)[f->bars[f->msix_bar].device];
    const struct msix_entry *e;

    if (vector >= f->msix)
        return false;
    e = msix_entry(arena_at(pci_here.arena, table->state), vector);
    return !(__atomic_load_n(&e->control, __ATOMIC_SEQ_CST) & MSIX_MASKED);
}

static u64 take(struct pci_state *s, unsigned word)
{
    return __atomic_exchange_n(&s->asked[word], 0, __ATOMIC_SEQ_CST);
}

static void settle_msix(struct mmioshim_device *dev, struct pci_state *s)
{
    unsigned vectors = function(s->function)->msix;
    bool held = pci_get16(s, s->msix + PCI_MSIX_CONTROL) & PCI_MSIX_MASKED || !pci_masters(s->function);

    for (unsigned word = 0; word < (vectors + 63) / 64 && !held; word++)
        for (u64 left = __atomic_load_n(&s->asked[word], __ATOMIC_SEQ_CST); left; left &= left - 1) {
            unsigned bit = (unsigned)__builtin_ctzll(left);

            if (!vector_free(s, word * 64 + bit))
                continue;
            __atomic_fetch_and(&s->asked[word], ~((u64)1 << bit), __ATOMIC_SEQ_CST);
            irq_message(dev, 1 + word * 64 + bit);
        }
}

/* 6.8.1.9, .10: a mask and pending bits in the capability; a function that got fewer messages than it has shares them. */
static void settle_msi(struct mmioshim_device *dev, struct pci_state *s)
{
    unsigned allowed = MIN(1u << (pci_get16(s, s->msi + PCI_MSI_CONTROL) >> 4 & 7), (unsigned)function(s->function)->msi);
    u32 *pending = (u32 *)(void *)&s->config[s->msi + PCI_MSI_PENDING];
    u32 asked = *pending, held = pci_masters(s->function) ? pci_get32(s, s->msi + PCI_MSI_MASK) : UINT32_MAX;

    for (u64 left = take(s, 0); left; left &= left - 1)
        asked |= 1u << (unsigned)__builtin_ctzll(left) % allowed;
    for (unsigned v = 0; v < allowed; v++)
        if (asked & ~held & 1u << v)
            irq_message(dev, 1 + v);
    __atomic_store_n(pending, asked & held, __ATOMIC_RELEASE);
}

void pci_settle_function(struct mmioshim_device *dev)
{
    struct pci_state *s = dev->state;

    if (!pci_here.bus)
        return;
    settle_pin(dev, s);
    if (msix_on(s))
        settle_msix(dev, s);
    else if (msi_on(s))
        settle_msi(dev, s);
    else
        for (unsigned word = 0; word < PCI_VECTORS / 64; word++)
            if (__atomic_load_n(&s->asked[word], __ATOMIC_RELAXED))
                take(s, word); /* a function that may send none uses its pin */
}

/* --- no lock is held --- */

/* Function-level reset, or that of a bus: PCI Express Base 5.0, 6.6.2. */
static void reset_function(struct bus *bus, u32 i, const struct lock_self *self)
{
    const struct pci_function *f = function(i);

    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        struct bus_device *d = &bus->devices[f->bars[bar].device];

        if (!f->bars[bar].size || !d->dev.class->reset)
            continue;
        bus_lock(d, self);
        d->dev.class->reset(&d->dev, MMIOSHIM_RESET_COLD);
        bus_unlock(d, self);
    }
}

static void settle_one(struct bus *bus, u32 i, const struct lock_self *self)
{
    struct bus_device *d = &bus->devices[function(i)->device];
    u32 what = __atomic_exchange_n(&pci_here.state[i]->busy, 0, __ATOMIC_SEQ_CST);

    if (what & PCI_BUSY_RESET)
        reset_function(bus, i, self);
    bus_lock(d, self);
    if (what & PCI_BUSY_RESET) {
        d->dev.class->reset(&d->dev, MMIOSHIM_RESET_WARM);
        pci_moved();
    }
    pci_settle_function(&d->dev);
    bus_unlock(d, self);
}

void pci_settle(struct bus *bus, const struct lock_self *self)
{
    for (u32 i = 0; i < pci_here.pci->nfunctions; i++)
        if (__atomic_load_n(&pci_here.state[i]->busy, __ATOMIC_SEQ_CST))
            settle_one(bus, i, self);
}
