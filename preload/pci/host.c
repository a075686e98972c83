/*
 * A PCI host bridge: what is to be found in its windows where no function answers. Source: binding
 * pci-host-ecam-generic; PCI Local Bus Specification 3.0, 3.2.2.3.2 for the configuration ports.
 */
#include "base/mem.h"
#include "pci/host.h"
#include "pci/own.h"

#include "base/trapsafe.h"

static const char *const host_compatible[] = {PCI_HOST, NULL};
static const char *const no_compatible[] = {NULL};

/* --- configuration space --- */

/* "... all 1's ... for a read to a non-existent device" (3.2.2.3.4): how drivers find out. No fault of theirs. */
static enum mmioshim_status ecam_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    (void)dev;
    (void)offset;
    *value = ~(u64)0 >> (64 - 8 * width);
    return MMIOSHIM_OK;
}

static enum mmioshim_status ecam_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    (void)dev;
    (void)offset;
    (void)width;
    (void)value;
    return MMIOSHIM_OK;
}

/* Nothing is kept here. */
static void nothing(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    (void)dev;
    (void)kind;
}

const struct mmioshim_class class_pci_ecam = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "pci_ecam",
    .label = "PCI",
    .description = "PCI host bridge: configuration space, windows onto the bus, configuration ports",
    .compatible = host_compatible,
    .min_size = 1 << 20, /* of one bus */
    .widths = 1 | 2 | 4,
    .split = true,
    .version = 1,
    .reset = nothing,
    .read = ecam_read,
    .write = ecam_write,
};

/* --- windows onto the bus: master aborts --- */

static enum mmioshim_status window_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    (void)dev;
    (void)offset;
    (void)width;
    *value = 0;
    return MMIOSHIM_NO_REGISTER;
}

static enum mmioshim_status window_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    (void)dev;
    (void)offset;
    (void)width;
    (void)value;
    return MMIOSHIM_NO_REGISTER;
}

const struct mmioshim_class class_pci_window = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "pci_window",
    .label = "PCI",
    .description = "window of a PCI host bridge onto the bus",
    .compatible = no_compatible,
    .min_size = 1,
    .version = 1,
    .reset = nothing,
    .read = window_read,
    .write = window_write,
};

/* --- configuration ports --- */

enum { ADDRESS = 0, DATA = 4 }; /* 0xcf8, 0xcfc */

/* The address register takes words of 4 bytes alone: others "pass through as normal I/O", 3.2.2.3.2. */
static enum mmioshim_status ports_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    const struct pci_ports *p = dev->state;

    *value = ~(u64)0 >> (64 - 8 * width);
    if (offset >= DATA) /* no function is there, else it would have been asked */
        return p->address & PCI_PORTS_ENABLE ? MMIOSHIM_OK : MMIOSHIM_NO_REGISTER;
    if (width != 4)
        return MMIOSHIM_NO_REGISTER;
    *value = p->address;
    return MMIOSHIM_OK;
}

static enum mmioshim_status ports_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    struct pci_ports *p = dev->state;

    if (offset >= DATA)
        return p->address & PCI_PORTS_ENABLE ? MMIOSHIM_OK : MMIOSHIM_NO_REGISTER;
    if (width != 4)
        return MMIOSHIM_NO_REGISTER;
    __atomic_store_n(&p->address, (u32)value & PCI_PORTS_BITS, __ATOMIC_RELEASE);
    return MMIOSHIM_OK;
}

static void ports_reset(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    struct pci_ports *p = dev->state;

    (void)kind;
    p->address = 0;
}

static const struct mmioshim_field address_fields[] = {
    {"REGISTER", 0, 8}, {"FUNCTION", 8, 3}, {"DEVICE", 11, 5}, {"BUS", 16, 8}, {"ENABLE", 31, 1},
};

static const struct mmioshim_register ports_registers[] = {
    {.name = "CONFIG_ADDRESS", .offset = ADDRESS, .width = 4, .access = MMIOSHIM_RW, .doc = "which register CONFIG_DATA is",
     MMIOSHIM_FIELDS(address_fields)},
    {.name = "CONFIG_DATA", .offset = DATA, .width = 4, .access = MMIOSHIM_RW,
     .doc = "a register of a function; all ones where there is none"},
};

const struct mmioshim_class class_pci_ports = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "pci_ports",
    .label = "PCI",
    .description = "I/O ports to configuration space, 0xcf8 to 0xcff",
    .compatible = no_compatible,
    .min_size = 8,
    .widths = 1 | 2 | 4,
    .split = true,
    .registers = ports_registers,
    .nregisters = ARRAY_SIZE(ports_registers),
    .version = 1,
    .state_size = sizeof(struct pci_ports),
    .reset = ports_reset,
    .read = ports_read,
    .write = ports_write,
};
