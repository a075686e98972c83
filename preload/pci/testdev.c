/*
 * A function for trying out drivers and tools: BARs of any size that are memory, and one that is a few registers
 * by which it raises its interrupt, sends messages and moves data.
 */
#include "base/mem.h"
#include "base/range.h"
#include "pci/models.h"
#include "base/types.h"

#include "base/trapsafe.h"

#define IDENTITY 0x50434954u
#define BUFFER   0x100u
#define BUFFER_SIZE 0x100u

enum { ID = 0x00, PIN = 0x04, MESSAGE = 0x08, COMMAND = 0x0c, ADDRESS = 0x10, ADDRESS_HIGH = 0x14, LENGTH = 0x18, STATUS = 0x1c };
enum { COMMAND_READ = 1, COMMAND_WRITE = 2, STATUS_DONE = 1, STATUS_REFUSED = 2 };

struct testdev {
    u32 pin, status, length, reserved;
    u64 address;
    u8 buffer[BUFFER_SIZE];
};

static const struct mmioshim_field status_fields[] = {{"DONE", 0, 1}, {"REFUSED", 1, 1}};

#define REGISTER(at, label, mode, text, ...) \
    {.name = (label), .offset = (at), .width = 4, .access = MMIOSHIM_##mode, .doc = (text), __VA_ARGS__}

static const struct mmioshim_register registers[] = {
    REGISTER(ID, "Identity", RO, "0x50434954"),
    REGISTER(PIN, "Pin", RW, "1 raises the pin, 0 lowers it"),
    REGISTER(MESSAGE, "Message", WO, "sends the message of this number"),
    REGISTER(COMMAND, "Command", WO, "1: from memory to the buffer; 2: from the buffer to memory"),
    REGISTER(ADDRESS, "Address", RW, "where in memory"),
    REGISTER(ADDRESS_HIGH, "AddressHigh", RW, "its high half"),
    REGISTER(LENGTH, "Length", RW, "how many bytes, at most 256"),
    REGISTER(STATUS, "Status", RO, "what became of the last command", MMIOSHIM_FIELDS(status_fields)),
    REGISTER(BUFFER, "Buffer", RW, "the bytes that are moved", .count = BUFFER_SIZE / 4, .stride = 4),
};

static u32 *word_of(struct testdev *t, u64 offset)
{
    switch (offset) {
    case PIN:
        return &t->pin;
    case ADDRESS:
        return (u32 *)(void *)&t->address;
    case ADDRESS_HIGH:
        return (u32 *)(void *)&t->address + 1;
    case LENGTH:
        return &t->length;
    case STATUS:
        return &t->status;
    }
    return offset >= BUFFER && offset - BUFFER < BUFFER_SIZE ? (u32 *)(void *)&t->buffer[offset - BUFFER] : NULL;
}

static enum mmioshim_status testdev_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    const u32 *word = word_of(dev->state, offset & ~(u64)3);

    *value = IDENTITY;
    if (width != 4 || offset % 4)
        return MMIOSHIM_BAD_WIDTH;
    if (offset == ID)
        return MMIOSHIM_OK;
    *value = word ? *word : 0;
    if (offset == MESSAGE || offset == COMMAND)
        return MMIOSHIM_WRITE_ONLY;
    return word ? MMIOSHIM_OK : MMIOSHIM_NO_REGISTER;
}

static enum mmioshim_status move(struct mmioshim_device *dev, u64 command)
{
    struct testdev *t = dev->state;
    bool done;

    if ((command != COMMAND_READ && command != COMMAND_WRITE) || t->length > BUFFER_SIZE)
        return MMIOSHIM_GUEST_BUG;
    if (command == COMMAND_READ)
        done = dev->host->dma_read(dev, t->address, t->buffer, t->length);
    else
        done = dev->host->dma_write(dev, t->address, t->buffer, t->length);
    t->status = done ? STATUS_DONE : STATUS_REFUSED;
    return MMIOSHIM_OK;
}

static enum mmioshim_status testdev_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    struct testdev *t = dev->state;
    u32 *word = word_of(t, offset & ~(u64)3);

    if (width != 4 || offset % 4)
        return MMIOSHIM_BAD_WIDTH;
    switch (offset) {
    case ID:
    case STATUS:
        return MMIOSHIM_READ_ONLY;
    case PIN:
        t->pin = value & 1;
        dev->host->irq(dev, 0, t->pin);
        return MMIOSHIM_OK;
    case MESSAGE:
        dev->host->irq(dev, (unsigned)MIN(value, UINT32_MAX - 1) + 1, true);
        return MMIOSHIM_OK;
    case COMMAND:
        return move(dev, value);
    }
    if (word)
        *word = (u32)value;
    return word ? MMIOSHIM_OK : MMIOSHIM_NO_REGISTER;
}

static void testdev_reset(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    (void)kind;
    memset(dev->state, 0, sizeof(struct testdev));
    dev->host->irq(dev, 0, false);
}

static const char *const compatible[] = {NULL};

const struct mmioshim_class class_pci_testdev = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "pci_testdev",
    .label = "TESTDEV",
    .description = "registers of the PCI function testdev: interrupts and DMA on demand",
    .compatible = compatible,
    .min_size = BUFFER + BUFFER_SIZE,
    .widths = 4,
    .split = true,
    .registers = registers,
    .nregisters = ARRAY_SIZE(registers),
    .lines = 1,
    .version = 1,
    .state_size = sizeof(struct testdev),
    .reset = testdev_reset,
    .read = testdev_read,
    .write = testdev_write,
};

static const struct mmioshim_property options[] = {
    {"barN=SIZE[:32|:64|:io][:prefetch]", "BAR N is memory of so many bytes"},
    {"barN=regs", "BAR N is registers that raise interrupts and move data: `mmioshim devices pci_testdev`"},
    {"rom=SIZE", "an expansion ROM, empty"},
    {"msix=N, msi=N", "so many messages"},
    {"express", "a PCI Express function, with 4096 bytes of configuration space"},
    {"vfs=N, vfbarN=SIZE...", "so many virtual functions (SR-IOV), and their BARs"},
    {"vendor, device, subvendor, subsystem, class, revision", "its ids; default 1b36:0005, class 0xff0000"},
    {NULL, NULL},
};

const struct pci_model pci_testdev = {
    .name = "testdev",
    .description = "BARs of any size, messages, virtual functions: for trying out drivers and tools",
    .options = options,
    .vendor = 0x1b36,
    .device = 0x0005,
    .class = 0xff0000,
    .own_bars = true,
};
