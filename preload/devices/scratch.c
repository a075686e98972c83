/*
 * mmioshim,scratch: a window that behaves exactly like RAM at every width. The
 * reference for testing: whatever a program does here must end as it does in
 * ordinary memory.
 */
#include "base/mem.h"
#include "base/range.h"
#include "mmioshim/device.h"

#include "base/trapsafe.h"

/* State: the bytes of the window, then one word that says whether the device was ever reset. */
static u64 bytes_of(u64 window_size)
{
    return window_size > UINT64_MAX - 7 ? UINT64_MAX - 7 : (window_size + 7) & ~(u64)7;
}

static size_t scratch_state_for(u64 window_size)
{
    u64 bytes = bytes_of(window_size);

    return bytes > SIZE_MAX - sizeof(u64) ? SIZE_MAX : (size_t)bytes + sizeof(u64);
}

/* The bytes that an access touches, or NULL. */
static void *scratch_storage(struct mmioshim_device *dev, u64 offset, u64 len)
{
    struct range window = {0, dev->size};

    return range_contains(window, offset, len) ? (u8 *)dev->state + offset : NULL;
}

/*
 * Power-up clears it. State comes zeroed, so the first reset touches no byte:
 * a large window costs memory only where it is used. Memory survives a warm reset.
 */
static void scratch_reset(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    u8 *bytes = dev->state;
    u64 *powered = (u64 *)(bytes + bytes_of(dev->size));

    if (kind == MMIOSHIM_RESET_COLD && *powered)
        memset(bytes, 0, dev->size);
    *powered = 1;
}

static enum mmioshim_status scratch_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    const void *bytes = scratch_storage(dev, offset, width);

    *value = 0;
    if (!bytes)
        return MMIOSHIM_NO_REGISTER;
    if (width > sizeof(*value))
        return MMIOSHIM_BAD_WIDTH;
    memcpy(value, bytes, width);
    return MMIOSHIM_OK;
}

static enum mmioshim_status scratch_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    void *bytes = scratch_storage(dev, offset, width);

    if (!bytes)
        return MMIOSHIM_NO_REGISTER;
    if (width > sizeof(value))
        return MMIOSHIM_BAD_WIDTH;
    memcpy(bytes, &value, width);
    return MMIOSHIM_OK;
}

static const char *const compatible[] = {"mmioshim,scratch", NULL};

const struct mmioshim_class class_scratch = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "scratch",
    .label = "SCRATCH",
    .description = "memory that traps: behaves like RAM at every width, the reference for testing",
    .compatible = compatible,
    .min_size = 1,
    .widths = 0,
    .split = true,
    .version = 1,
    .state_for = scratch_state_for,
    .reset = scratch_reset,
    .read = scratch_read,
    .write = scratch_write,
    .storage = scratch_storage,
};
