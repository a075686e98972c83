/*
 * sifive_test: the test finisher of SiFive's simulators and of QEMU's RISC-V
 * "virt" machine. Writing its one register ends or restarts the machine.
 *
 * The low half of what is written selects, the high half is the exit status:
 *   0x5555 pass: the program ends with 0, whatever the high half says
 *   0x3333 fail: it ends with the low 8 bits of the high half, as exit(3) does.
 *          A failure without a code therefore ends with 0, as under QEMU.
 *   0x7777 reset
 * QEMU takes 2-byte and 4-byte accesses; a 2-byte write carries no code.
 */
#include "base/types.h"
#include "mmioshim/device.h"

#include "base/trapsafe.h"

enum { FINISHER = 0x00, FINISHER_END = 0x04 };
enum { FINISHER_FAIL = 0x3333, FINISHER_PASS = 0x5555, FINISHER_RESET = 0x7777 };

static void sifive_test_reset(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    (void)dev;
    (void)kind;
}

static enum mmioshim_status check(u64 offset, unsigned width)
{
    if (offset >= FINISHER_END)
        return MMIOSHIM_NO_REGISTER;
    if ((width != 2 && width != 4) || offset % width)
        return MMIOSHIM_BAD_WIDTH;
    return MMIOSHIM_OK;
}

static enum mmioshim_status sifive_test_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    (void)dev;
    *value = 0;
    return check(offset, width);
}

static enum mmioshim_status sifive_test_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    enum mmioshim_status status = check(offset, width);

    if (status != MMIOSHIM_OK)
        return status;
    if (offset != FINISHER)
        return MMIOSHIM_GUEST_BUG;
    if (width == 2)
        value &= 0xffff;
    switch (value & 0xffff) {
    case FINISHER_PASS:
        dev->host->end_program(dev, 0);
        return MMIOSHIM_OK;
    case FINISHER_FAIL:
        dev->host->end_program(dev, (int)(value >> 16 & 0xff));
        return MMIOSHIM_OK;
    case FINISHER_RESET:
        dev->host->reset_machine(dev);
        return MMIOSHIM_OK;
    default:
        return MMIOSHIM_GUEST_BUG;
    }
}

static const struct mmioshim_field finisher_fields[] = {{"COMMAND", 0, 16}, {"CODE", 16, 16}};

static const struct mmioshim_register registers[] = {
    {.name = "FINISHER", .offset = FINISHER, .width = 4, .access = MMIOSHIM_RW, MMIOSHIM_FIELDS(finisher_fields),
     .doc = "COMMAND 0x5555 ends the program with 0, 0x3333 with CODE, 0x7777 resets the machine; reads 0"},
};

static const char *const compatible[] = {"sifive,test1", "sifive,test0", NULL};

const struct mmioshim_class class_sifive_test = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "sifive_test",
    .label = "TEST",
    .description = "test finisher: ends the program with a status, or resets the machine",
    .compatible = compatible,
    .min_size = FINISHER_END,
    .widths = 2 | 4,
    .split = false,
    .registers = registers,
    .nregisters = ARRAY_SIZE(registers),
    .version = 1,
    .reset = sifive_test_reset,
    .read = sifive_test_read,
    .write = sifive_test_write,
};
