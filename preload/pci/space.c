/*
 * The configuration space of a function, as a device of its own: ECAM and the
 * configuration ports lead here. Source: pci/registers.h.
 */
#include "base/mem.h"
#include "pci/own.h"

#include "base/trapsafe.h"

#define REGISTER(at, bytes, label, mode, text, ...) \
    {.name = (label), .offset = (at), .width = (bytes), .access = MMIOSHIM_##mode, .doc = (text), __VA_ARGS__}
#define ENDPOINT .view = 1
#define BRIDGE   .view = 2

static const struct mmioshim_field command_fields[] = {
    {"IO", 0, 1}, {"MEMORY", 1, 1}, {"MASTER", 2, 1}, {"PARITY", 6, 1}, {"SERR", 8, 1}, {"NO_INTX", 10, 1},
};
static const struct mmioshim_field status_fields[] = {
    {"INTERRUPT", 3, 1}, {"CAPABILITIES", 4, 1}, {"MASTER_PARITY", 8, 1}, {"SIGNALED_ABORT", 11, 1},
    {"RECEIVED_ABORT", 12, 1}, {"MASTER_ABORT", 13, 1}, {"SYSTEM_ERROR", 14, 1}, {"PARITY", 15, 1},
};
static const struct mmioshim_field header_fields[] = {{"TYPE", 0, 7}, {"MULTI", 7, 1}};

static const struct mmioshim_register registers[] = {
    REGISTER(PCI_VENDOR, 2, "VendorID", RO, "who made it"),
    REGISTER(PCI_DEVICE, 2, "DeviceID", RO, "what it is, among that vendor's"),
    REGISTER(PCI_COMMAND, 2, "Command", RW, "what it answers to, and may do", MMIOSHIM_FIELDS(command_fields)),
    REGISTER(PCI_STATUS, 2, "Status", RW, "what happened; 1 clears", .flags = MMIOSHIM_REG_VOLATILE,
             MMIOSHIM_FIELDS(status_fields)),
    REGISTER(PCI_REVISION, 1, "RevisionID", RO, "of the device"),
    REGISTER(PCI_CLASS, 1, "Interface", RO, "how it is programmed"),
    REGISTER(PCI_CLASS + 1, 1, "SubClass", RO, "what it is more exactly"),
    REGISTER(PCI_CLASS + 2, 1, "BaseClass", RO, "what it is"),
    REGISTER(PCI_CACHE_LINE, 1, "CacheLineSize", RW, "in words; does nothing"),
    REGISTER(PCI_LATENCY, 1, "LatencyTimer", RO, "0"),
    REGISTER(PCI_HEADER, 1, "HeaderType", RO, "0: endpoint, 1: bridge", MMIOSHIM_FIELDS(header_fields)),
    REGISTER(0x0f, 1, "BIST", RO, "0: none"),
    REGISTER(PCI_BAR0, 4, "BAR", RW, "where its registers are", .count = 6, .stride = 4, ENDPOINT),
    REGISTER(PCI_BAR0, 4, "BAR", RW, "none", .count = 2, .stride = 4, BRIDGE),
    REGISTER(PCI_PRIMARY, 1, "PrimaryBus", RW, "number of the bus above", BRIDGE),
    REGISTER(PCI_SECONDARY, 1, "SecondaryBus", RW, "number of the bus below", BRIDGE),
    REGISTER(PCI_SUBORDINATE, 1, "SubordinateBus", RW, "largest number of a bus below", BRIDGE),
    REGISTER(0x1b, 1, "SecondaryLatencyTimer", RO, "0", BRIDGE),
    REGISTER(PCI_IO_BASE, 1, "IOBase", RW, "first I/O address that is passed down, bits 15:12", BRIDGE),
    REGISTER(PCI_IO_LIMIT, 1, "IOLimit", RW, "the last one", BRIDGE),
    REGISTER(PCI_SECONDARY_STATUS, 2, "SecondaryStatus", RW, "of the bus below; 1 clears", BRIDGE),
    REGISTER(PCI_MEMORY_BASE, 2, "MemoryBase", RW, "first address that is passed down, bits 31:20", BRIDGE),
    REGISTER(PCI_MEMORY_LIMIT, 2, "MemoryLimit", RW, "the last one", BRIDGE),
    REGISTER(PCI_PREFETCH_BASE, 2, "PrefetchBase", RW, "the same of prefetchable memory", BRIDGE),
    REGISTER(PCI_PREFETCH_LIMIT, 2, "PrefetchLimit", RW, "the last one", BRIDGE),
    REGISTER(0x28, 4, "CardbusCIS", RO, "0", ENDPOINT),
    REGISTER(PCI_PREFETCH_BASE_HIGH, 4, "PrefetchBaseHigh", RW, "bits 63:32", BRIDGE),
    REGISTER(PCI_SUBVENDOR, 2, "SubsystemVendorID", RO, "who made the board", ENDPOINT),
    REGISTER(PCI_PREFETCH_LIMIT_HIGH, 4, "PrefetchLimitHigh", RW, "bits 63:32", BRIDGE),
    REGISTER(PCI_SUBSYSTEM, 2, "SubsystemID", RO, "what board it is", ENDPOINT),
    REGISTER(PCI_ROM_BAR, 4, "ExpansionROM", RW, "where its ROM is; bit 0 enables it", ENDPOINT),
    REGISTER(0x30, 2, "IOBaseHigh", RO, "0", BRIDGE),
    REGISTER(0x32, 2, "IOLimitHigh", RO, "0", BRIDGE),
    REGISTER(PCI_CAPABILITIES, 1, "Capabilities", RO, "offset of the first one"),
    REGISTER(PCI_BRIDGE_ROM, 4, "ExpansionROM", RO, "none", BRIDGE),
    REGISTER(PCI_LINE, 1, "InterruptLine", RW, "what firmware knows of its interrupt; does nothing"),
    REGISTER(PCI_PIN, 1, "InterruptPin", RO, "1 to 4: INTA to INTD; 0: none"),
    REGISTER(0x3e, 1, "MinGnt", RO, "0", ENDPOINT),
    REGISTER(PCI_BRIDGE_CONTROL, 2, "BridgeControl", RW, "of the bus below", BRIDGE),
    REGISTER(0x3f, 1, "MaxLat", RO, "0", ENDPOINT),
};

/* Bytes that there are: what lies behind is not claimed by anybody, and reads as ones. */
static u64 space_size(const struct pci_state *s)
{
    return s->express ? PCI_FUNCTION_SIZE : 256;
}

static enum mmioshim_status space_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    const struct pci_state *s = dev->state;

    *value = ~(u64)0 >> (64 - 8 * width);
    if (!range_contains((struct range){0, space_size(s)}, offset, width))
        return MMIOSHIM_OK;
    *value = 0;
    memcpy(value, &s->config[offset], width);
    return MMIOSHIM_OK;
}

/* Does a write of [offset, offset + width) have this byte? */
static bool covers(u64 offset, unsigned width, u64 byte)
{
    return byte - offset < width;
}

static u8 byte_of(u64 offset, u64 value, u64 byte)
{
    return (u8)(value >> 8 * (byte - offset));
}

/* NumVFs "must not be written while VF Enable is set", 3.3.7; TotalVFs is the most. */
static void check_vfs(struct pci_state *s, u16 before)
{
    u16 *vfs = (u16 *)(void *)&s->config[s->sriov + PCI_SRIOV_VFS];
    u16 total = pci_get16(s, s->sriov + 0x0e);

    if (*vfs > total || (pci_get16(s, s->sriov + PCI_SRIOV_CONTROL) & PCI_SRIOV_ENABLE))
        __atomic_store_n(vfs, before, __ATOMIC_RELEASE);
}

/* Bits that do something when they are written, and read as 0. */
static void pulses(struct pci_state *s, u64 offset, unsigned width, u64 value)
{
    u64 express = s->express + PCI_EXPRESS_CONTROL + 1u, bridge = PCI_BRIDGE_CONTROL;
    bool port = s->config[PCI_HEADER] & PCI_HEADER_BRIDGE;

    if (s->express && !port && covers(offset, width, express) && byte_of(offset, value, express) & PCI_EXPRESS_RESET >> 8)
        pci_busy(s->function, PCI_BUSY_RESET);
    if (port && covers(offset, width, bridge) && s->config[bridge] & 0x40) /* 3.2.5.18: secondary bus reset */
        for (u32 i = 0; i < pci_here.pci->nfunctions; i++)
            if (pci_here.pci->functions[i].parent == (int)s->function)
                pci_busy(i, PCI_BUSY_RESET);
}

/* Whole words where they are aligned: somebody may read them meanwhile. */
static void store(struct pci_state *s, u64 offset, unsigned width, const u8 *bytes)
{
    if (width == 4 && offset % 4 == 0)
        __atomic_store_n((u32 *)(void *)&s->config[offset], *(const u32 *)(const void *)bytes, __ATOMIC_RELEASE);
    else if (width == 2 && offset % 2 == 0)
        __atomic_store_n((u16 *)(void *)&s->config[offset], *(const u16 *)(const void *)bytes, __ATOMIC_RELEASE);
    else
        memcpy(&s->config[offset], bytes, width);
}

static void write_bytes(struct pci_state *s, u64 offset, unsigned width, u64 value, bool *changed)
{
    u8 bytes[8] __attribute__((aligned(8)));

    for (unsigned i = 0; i < width; i++) {
        u8 old = s->config[offset + i], mask = s->mask[offset + i], in = (u8)(value >> 8 * i);

        bytes[i] = (u8)(((old & ~mask) | (in & mask)) & ~(in & s->clear[offset + i]));
        *changed = *changed || bytes[i] != old;
    }
    store(s, offset, width, bytes);
}

static enum mmioshim_status space_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    struct pci_state *s = dev->state;
    bool changed = false;
    u16 vfs;

    if (!range_contains((struct range){0, space_size(s)}, offset, width))
        return MMIOSHIM_OK;
    vfs = s->sriov ? pci_get16(s, s->sriov + PCI_SRIOV_VFS) : 0;
    write_bytes(s, offset, width, value, &changed);
    if (s->sriov && pci_get16(s, s->sriov + PCI_SRIOV_VFS) != vfs)
        check_vfs(s, vfs);
    pulses(s, offset, width, value);
    if (changed) {
        pci_moved();
        pci_settle_function(dev);
    }
    return MMIOSHIM_OK;
}

/* --- life --- */

static int space_create(struct mmioshim_device *dev, const struct mmioshim_node *node, const char **why)
{
    const struct machine_desc *desc = node->desc;

    (void)why;
    pci_build(dev->state, &desc->pci, desc->windows[dev->index].function - 1u);
    return 0;
}

/* Power-on, and what firmware did then; or a reset of the function alone, behind which nothing is assigned. */
static void space_reset(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    struct pci_state *s = dev->state;
    const u8 *from = kind == MMIOSHIM_RESET_COLD && s->firmware ? s->assigned : s->fresh;

    memcpy(s->config, from, space_size(s));
    memset(s->asked, 0, sizeof(s->asked));
    dev->host->irq(dev, 0, false);
}

static unsigned space_view(const struct mmioshim_device *dev)
{
    const struct pci_state *s = dev->state;

    return s->config[PCI_HEADER] & PCI_HEADER_BRIDGE ? 2 : 1;
}

static const char *const compatible[] = {NULL};

const struct mmioshim_class class_pci_function = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "pci_function",
    .label = "PCI",
    .description = "configuration space of a function on the PCI bus",
    .compatible = compatible,
    .min_size = PCI_FUNCTION_SIZE,
    .widths = 1 | 2 | 4,
    .split = true,
    .registers = registers,
    .nregisters = ARRAY_SIZE(registers),
    .lines = 1,
    .version = 1,
    .state_size = sizeof(struct pci_state),
    .create = space_create,
    .reset = space_reset,
    .read = space_read,
    .write = space_write,
    .view = space_view,
};
