/*
 * goldfish_rtc: the real-time clock of Android's Goldfish platform and of
 * QEMU's RISC-V "virt" machine. Source: GOLDFISH-VIRTUAL-HARDWARE, section
 * "Goldfish timer", and QEMU for the alarm registers.
 *
 * The time is nanoseconds since 1970. Reading TIME_LOW latches TIME_HIGH; the
 * alarm is set high half first and armed by the write of the low half.
 *
 * An alarm is noticed at the next access or in service(), which the host is
 * asked for, whichever is first.
 */
#include "base/mem.h"
#include "base/types.h"
#include "mmioshim/device.h"

#include "base/trapsafe.h"

enum {
    TIME_LOW = 0x00,
    TIME_HIGH = 0x04,
    ALARM_LOW = 0x08,
    ALARM_HIGH = 0x0c,
    IRQ_ENABLED = 0x10,
    CLEAR_ALARM = 0x14,
    ALARM_STATUS = 0x18,
    CLEAR_INTERRUPT = 0x1c,
    REGISTERS_END = 0x20,
};

struct rtc {
    u64 skew; /* guest's time minus the host's wall clock, modulo 2^64: how far the driver has set the clock */
    u64 alarm;
    u32 time_high; /* latched by TIME_LOW */
    u8 armed, pending, enabled;
    u8 line; /* level last given to the host */
};

static u64 now(struct mmioshim_device *dev)
{
    const struct rtc *rtc = dev->state;

    return dev->host->wall_clock(dev) + rtc->skew;
}

static void update_line(struct mmioshim_device *dev)
{
    struct rtc *rtc = dev->state;
    u8 level = rtc->pending & rtc->enabled;

    if (level != rtc->line) {
        rtc->line = level;
        dev->host->irq(dev, 0, level);
    }
}

/* Has the alarm's time come? */
static void check_alarm(struct mmioshim_device *dev)
{
    struct rtc *rtc = dev->state;

    if (rtc->armed && now(dev) >= rtc->alarm) {
        rtc->armed = 0;
        rtc->pending = 1;
        update_line(dev);
    }
}

/* The alarm, or the time, has changed. */
static void await_alarm(struct mmioshim_device *dev)
{
    const struct rtc *rtc = dev->state;
    u64 left = rtc->alarm - now(dev), clock = dev->host->clock(dev);

    check_alarm(dev);
    if (rtc->armed)
        dev->host->wake_at(dev, left > UINT64_MAX - clock ? UINT64_MAX : clock + left);
}

static u64 with_low(u64 value, u32 low)
{
    return (value & ~(u64)UINT32_MAX) | low;
}

static u64 with_high(u64 value, u32 high)
{
    return (value & UINT32_MAX) | (u64)high << 32;
}

static enum mmioshim_status check(u64 offset, unsigned width)
{
    if (offset >= REGISTERS_END)
        return MMIOSHIM_NO_REGISTER;
    return width == 4 && offset % 4 == 0 ? MMIOSHIM_OK : MMIOSHIM_BAD_WIDTH;
}

static u32 read_time(struct mmioshim_device *dev)
{
    struct rtc *rtc = dev->state;
    u64 time = now(dev);

    rtc->time_high = (u32)(time >> 32);
    return (u32)time;
}

static enum mmioshim_status rtc_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    const struct rtc *rtc = dev->state;
    enum mmioshim_status status = check(offset, width);

    *value = 0;
    if (status != MMIOSHIM_OK)
        return status;
    check_alarm(dev);
    switch (offset) {
    case TIME_LOW:
        *value = read_time(dev);
        break;
    case TIME_HIGH:
        *value = rtc->time_high;
        break;
    case ALARM_LOW:
        *value = (u32)rtc->alarm;
        break;
    case ALARM_HIGH:
        *value = rtc->alarm >> 32;
        break;
    case IRQ_ENABLED:
        *value = rtc->enabled;
        break;
    case ALARM_STATUS:
        *value = rtc->armed;
        break;
    default:
        return MMIOSHIM_WRITE_ONLY;
    }
    return MMIOSHIM_OK;
}

static void set_time(struct mmioshim_device *dev, u64 offset, u32 half)
{
    struct rtc *rtc = dev->state;
    u64 time = now(dev);

    rtc->skew += (offset == TIME_LOW ? with_low(time, half) : with_high(time, half)) - time;
}

static void arm(struct mmioshim_device *dev, u32 low)
{
    struct rtc *rtc = dev->state;

    rtc->alarm = with_low(rtc->alarm, low);
    rtc->armed = 1;
    await_alarm(dev);
}

static enum mmioshim_status rtc_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    struct rtc *rtc = dev->state;
    enum mmioshim_status status = check(offset, width);

    if (status != MMIOSHIM_OK)
        return status;
    check_alarm(dev);
    switch (offset) {
    case TIME_LOW:
    case TIME_HIGH:
        set_time(dev, offset, (u32)value);
        await_alarm(dev);
        break;
    case ALARM_LOW:
        arm(dev, (u32)value);
        break;
    case ALARM_HIGH:
        rtc->alarm = with_high(rtc->alarm, (u32)value);
        break;
    case IRQ_ENABLED:
        rtc->enabled = value & 1;
        update_line(dev);
        break;
    case CLEAR_ALARM:
        rtc->armed = 0;
        break;
    case CLEAR_INTERRUPT:
        rtc->pending = 0;
        update_line(dev);
        break;
    default:
        return MMIOSHIM_READ_ONLY;
    }
    return MMIOSHIM_OK;
}

/* The clock itself runs on a battery: a reset stops the alarm and leaves the time. */
static void rtc_reset(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    struct rtc *rtc = dev->state;

    (void)kind;
    rtc->alarm = 0;
    rtc->armed = rtc->pending = rtc->enabled = rtc->line = 0;
    dev->host->irq(dev, 0, false);
}

static long rtc_save(struct mmioshim_device *dev, void *buf, size_t size)
{
    if (size >= sizeof(struct rtc))
        memcpy(buf, dev->state, sizeof(struct rtc));
    return sizeof(struct rtc);
}

static int rtc_load(struct mmioshim_device *dev, u32 version, const void *buf, size_t size)
{
    struct rtc rtc;

    if (version != 1 || size != sizeof(rtc))
        return -1;
    memcpy(&rtc, buf, sizeof(rtc));
    if (rtc.armed > 1 || rtc.pending > 1 || rtc.enabled > 1 || rtc.line != (rtc.pending & rtc.enabled))
        return -1;
    memcpy(dev->state, &rtc, sizeof(rtc));
    dev->host->irq(dev, 0, rtc.line);
    await_alarm(dev);
    return 0;
}

static const struct mmioshim_field enable_fields[] = {{"ENABLE", 0, 1}};
static const struct mmioshim_field status_fields[] = {{"ARMED", 0, 1}};

static const struct mmioshim_register registers[] = {
    {.name = "TIME_LOW", .offset = TIME_LOW, .width = 4, .flags = MMIOSHIM_REG_VOLATILE,
     .doc = "low half of the time in ns since 1970; reading latches TIME_HIGH"},
    {.name = "TIME_HIGH", .offset = TIME_HIGH, .width = 4, .flags = MMIOSHIM_REG_VOLATILE,
     .doc = "high half, as it was when TIME_LOW was last read"},
    {.name = "ALARM_LOW", .offset = ALARM_LOW, .width = 4,
     .doc = "low half of the alarm's time; writing arms the alarm"},
    {.name = "ALARM_HIGH", .offset = ALARM_HIGH, .width = 4, .doc = "high half of the alarm's time; written first"},
    {.name = "IRQ_ENABLED", .offset = IRQ_ENABLED, .width = 4, MMIOSHIM_FIELDS(enable_fields),
     .doc = "1: an alarm raises the interrupt"},
    {.name = "CLEAR_ALARM", .offset = CLEAR_ALARM, .width = 4, .access = MMIOSHIM_WO,
     .doc = "any value disarms the alarm"},
    {.name = "ALARM_STATUS", .offset = ALARM_STATUS, .width = 4, .access = MMIOSHIM_RO, .flags = MMIOSHIM_REG_VOLATILE,
     MMIOSHIM_FIELDS(status_fields), .doc = "1: armed and still to come"},
    {.name = "CLEAR_INTERRUPT", .offset = CLEAR_INTERRUPT, .width = 4, .access = MMIOSHIM_WO,
     .doc = "any value acknowledges the interrupt"},
};

static const char *const compatible[] = {"google,goldfish-rtc", NULL};

const struct mmioshim_class class_goldfish_rtc = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "goldfish_rtc",
    .label = "RTC",
    .description = "Goldfish real-time clock with alarm",
    .compatible = compatible,
    .min_size = REGISTERS_END,
    .widths = 4,
    .split = false,
    .registers = registers,
    .nregisters = ARRAY_SIZE(registers),
    .lines = 1,
    .version = 1,
    .state_size = sizeof(struct rtc),
    .reset = rtc_reset,
    .read = rtc_read,
    .write = rtc_write,
    .service = check_alarm,
    .save = rtc_save,
    .load = rtc_load,
};
