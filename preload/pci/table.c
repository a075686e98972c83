/* MSI-X table and pending bits: PCI Express Base 5.0, 7.7.2. "... must be aligned DWORD or QWORD", 6.1.4.2. */
#include "base/mem.h"
#include "base/range.h"
#include "pci/msix.h"
#include "pci/own.h"

#include "base/trapsafe.h"

struct table {
    u32 vectors;
    u32 function;
    u64 reserved;
    struct msix_entry entries[];
};

static size_t table_state_for(u64 size)
{
    return sizeof(struct table) + (size_t)(size / 2);
}

const struct msix_entry *msix_entry(const void *state, unsigned vector)
{
    const struct table *t = state;

    return &t->entries[vector];
}

static int table_create(struct mmioshim_device *dev, const struct mmioshim_node *node, const char **why)
{
    const struct machine_desc *desc = node->desc;
    struct table *t = dev->state;

    t->function = desc->windows[dev->index].function - 1u;
    t->vectors = desc->pci.functions[t->function].msix;
    *why = "its table has no room for the vectors";
    return t->vectors * MSIX_ENTRY <= dev->size / 2 ? 0 : -1;
}

/* 7.7.2.7: vectors are masked after reset; the rest is undefined. */
static void table_reset(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    struct table *t = dev->state;

    (void)kind;
    for (u32 i = 0; i < t->vectors; i++)
        t->entries[i] = (struct msix_entry){.control = MSIX_MASKED};
}

static const u64 *pending_of(const struct table *t, u64 offset)
{
    return offset / 8 < (t->vectors + 63) / 64 && pci_here.pci ? &pci_here.state[t->function]->asked[offset / 8] : NULL;
}

static enum mmioshim_status check(const struct table *t, u64 offset, unsigned width)
{
    u64 bytes = t->vectors * MSIX_ENTRY;

    if (offset % width)
        return MMIOSHIM_BAD_WIDTH;
    return range_contains((struct range){0, bytes}, offset, width) ? MMIOSHIM_OK : MMIOSHIM_NO_REGISTER;
}

static enum mmioshim_status table_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    const struct table *t = dev->state;
    enum mmioshim_status status = check(t, offset, width);
    const u64 *pending;

    *value = 0;
    if (offset < dev->size / 2) {
        if (status == MMIOSHIM_OK)
            memcpy(value, (const u8 *)t->entries + offset, width);
        return status;
    }
    pending = pending_of(t, offset - dev->size / 2);
    if (!pending)
        return MMIOSHIM_NO_REGISTER;
    *value = __atomic_load_n(pending, __ATOMIC_ACQUIRE) >> 8 * (offset % 8);
    return offset % width ? MMIOSHIM_BAD_WIDTH : MMIOSHIM_OK;
}

/* One word. */
static void write_word(struct table *t, u64 offset, u32 value)
{
    u32 *word = (u32 *)(void *)((u8 *)t->entries + offset);

    switch (offset % MSIX_ENTRY) {
    case offsetof(struct msix_entry, address):
        value &= ~3u;
        break;
    case offsetof(struct msix_entry, control):
        value &= MSIX_MASKED;
        break;
    }
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
    if (offset % MSIX_ENTRY == offsetof(struct msix_entry, control) && !value)
        pci_busy(t->function, PCI_BUSY_INTERRUPT);
}

static enum mmioshim_status table_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    struct table *t = dev->state;
    enum mmioshim_status status = check(t, offset, width);

    if (offset >= dev->size / 2)
        return pending_of(t, offset - dev->size / 2) ? MMIOSHIM_READ_ONLY : MMIOSHIM_NO_REGISTER;
    if (status != MMIOSHIM_OK)
        return status;
    for (unsigned i = 0; i < width; i += 4)
        write_word(t, offset + i, (u32)(value >> 8 * i));
    return MMIOSHIM_OK;
}

static const struct mmioshim_field control_fields[] = {{"MASKED", 0, 1}};

#define WORD(at, label, text, ...) \
    {.name = (label), .offset = (at), .width = 4, .access = MMIOSHIM_RW, .doc = (text), .count = PCI_VECTORS, \
     .stride = MSIX_ENTRY, __VA_ARGS__}

static const struct mmioshim_register registers[] = {
    WORD(0, "MessageAddress", "where the message of a vector goes"),
    WORD(4, "MessageAddressHigh", "its high half"),
    WORD(8, "MessageData", "what is written there"),
    WORD(12, "VectorControl", "bit 0 holds it back", MMIOSHIM_FIELDS(control_fields)),
};

static const char *const compatible[] = {NULL};

const struct mmioshim_class class_pci_msix = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "pci_msix",
    .label = "MSIX",
    .description = "table of MSI-X vectors and their pending bits, behind a BAR",
    .compatible = compatible,
    .min_size = 4096,
    .widths = 4 | 8,
    .split = false,
    .registers = registers,
    .nregisters = ARRAY_SIZE(registers),
    .version = 1,
    .state_for = table_state_for,
    .create = table_create,
    .reset = table_reset,
    .read = table_read,
    .write = table_write,
};
