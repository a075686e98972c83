/*
 * A window that nobody models. It has no registers: every access is logged and
 * answered as MMIOSHIM_UNASSIGNED says.
 */
#include "base/types.h"
#include "mmioshim/device.h"

#include "base/trapsafe.h"

static void unimplemented_reset(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    (void)dev;
    (void)kind;
}

static enum mmioshim_status unimplemented_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    (void)dev;
    (void)offset;
    (void)width;
    *value = 0;
    return MMIOSHIM_NO_REGISTER;
}

static enum mmioshim_status unimplemented_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    (void)dev;
    (void)offset;
    (void)width;
    (void)value;
    return MMIOSHIM_NO_REGISTER;
}

static const char *const no_compatible[] = {NULL};

const struct mmioshim_class class_unimplemented = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "unimplemented",
    .label = "UNIMPLEMENTED",
    .description = "a window that no model claims: logged, answered as MMIOSHIM_UNASSIGNED says",
    .compatible = no_compatible,
    .version = 1,
    .reset = unimplemented_reset,
    .read = unimplemented_read,
    .write = unimplemented_write,
};
