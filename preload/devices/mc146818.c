/*
 * mc146818: the real-time clock with CMOS RAM of the PC, behind an index and a
 * data register (ports 0x70 and 0x71). Source: Motorola, MC146818 data sheet;
 * the century byte at 0x32 and the NMI mask in the index are the PC's. Node
 * properties: Devicetree binding "motorola,mc146818".
 *
 * While it runs, the time is the machine's wall clock and a lead; while it does not
 * (SET, or the divider is held in reset), it is the bytes that were written. The
 * second ends when UIP falls. Not modelled: daylight saving (DSE), the square wave.
 *
 * Flags are raised at the next access or in service(), which the host is asked
 * for while an interrupt is enabled that has not come yet.
 */
#include "base/mem.h"
#include "base/types.h"
#include "mmioshim/device.h"

#include "base/trapsafe.h"

enum { INDEX, DATA, PORTS };

enum {
    SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, WEEKDAY, DAY, MONTH, YEAR,
    REG_A, REG_B, REG_C, REG_D, CENTURY = 0x32, CELLS = 0x80,
};

enum { UIP = 0x80, DV = 0x70, DV_SHIFT = 4, RS = 0x0f };                        /* register A */
enum { SET = 0x80, PIE = 0x40, AIE = 0x20, UIE = 0x10, SQWE = 8, DM = 4, H24 = 2 }; /* register B */
enum { IRQF = 0x80, PF = 0x40, AF = 0x20, UF = 0x10, FLAGS = PF | AF | UF };    /* register C */
enum { VRT = 0x80 };                                                           /* register D */

enum { PM = 0x80, DONT_CARE = 0xc0 };
enum { FREQ_DEFAULT = 0x26, CTRL_DEFAULT = H24 }; /* as a PC's firmware leaves them: 32.768 kHz, 1024 Hz; 24 h, BCD */

#define SECOND      1000000000u
#define DAY_SECONDS 86400u
#define FOUR_CENTURIES 146097u /* days: the Gregorian calendar repeats */
#define DAYS_TO_1970   719528u /* from 1 January of the year 0 */
#define NEVER          UINT64_MAX

/* A time: seconds since the year -400, so that no date that can be written lies before it, and the rest of a second. */
struct moment {
    u64 seconds;
    u32 ns;
};

struct rtc {
    u64 lead;           /* seconds and ... */
    u32 lead_ns;        /* ... nanoseconds that the time is ahead of the wall clock, modulo 2^64 seconds */
    u32 seen_ns;        /* flags are up to date as of ... */
    u64 seen;           /* ... this time */
    u8 index;
    u8 weekday;         /* how far the driver's day of the week is ahead of the calendar's, 0 to 6 */
    u8 line;            /* level last given to the host */
    u8 reserved[5];
    u8 cells[CELLS];    /* of the time: valid while it stands */
};

/* ---- the calendar ---- */

/* Days before the 1st of a month, 0 to 11, of a year that is no leap year. */
static const u16 days_before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};

static bool is_leap(u64 year)
{
    return year % 4 == 0 && (year % 100 || year % 400 == 0);
}

/* Days from 1 January of the year 0. */
static u64 days_to(u64 year, unsigned month, unsigned day)
{
    u64 leaps = year ? (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 + 1 : 0;

    return year * 365 + leaps + days_before[month] + (month > 1 && is_leap(year)) + day;
}

/* Month, 0 to 11, and day, from 0, of a day since the year 0; the year modulo 400. */
static unsigned date_of(u64 days, unsigned *month, unsigned *day)
{
    u64 rest = days % FOUR_CENTURIES;
    unsigned year = (unsigned)(rest / 365), m = 11;

    if (days_to(year, 0, 0) > rest)
        year--;
    while (days_to(year, m, 0) > rest)
        m--;
    *month = m;
    *day = (unsigned)(rest - days_to(year, m, 0));
    return year;
}

/* ---- bytes of the time ---- */

static unsigned from_byte(const struct rtc *rtc, u8 byte)
{
    return rtc->cells[REG_B] & DM ? byte : 10u * (byte >> 4) + (byte & 0xf);
}

static u8 to_byte(const struct rtc *rtc, unsigned value)
{
    return (u8)(rtc->cells[REG_B] & DM ? value : value / 10 << 4 | value % 10);
}

/* 12, 1, ... 11 with PM in the highest bit. */
static unsigned hour_from(const struct rtc *rtc, u8 byte)
{
    if (rtc->cells[REG_B] & H24)
        return from_byte(rtc, byte);
    return from_byte(rtc, byte & (u8)~PM) % 12 + (byte & PM ? 12 : 0);
}

static u8 hour_byte(const struct rtc *rtc, unsigned hour)
{
    if (rtc->cells[REG_B] & H24)
        return to_byte(rtc, hour);
    return (u8)(to_byte(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? PM : 0));
}

/* ---- the time ---- */

/* Does the divider count? What is neither a time base nor reset is for tests of the chip. */
static bool divides(const struct rtc *rtc)
{
    return (rtc->cells[REG_A] & DV) >> DV_SHIFT <= 2;
}

static bool runs(const struct rtc *rtc)
{
    return divides(rtc) && !(rtc->cells[REG_B] & SET);
}

static struct moment wall(struct mmioshim_device *dev)
{
    u64 ns = dev->host->wall_clock(dev);

    return (struct moment){ns / SECOND + (u64)(DAYS_TO_1970 + FOUR_CENTURIES) * DAY_SECONDS, (u32)(ns % SECOND)};
}

static struct moment now(struct mmioshim_device *dev)
{
    const struct rtc *rtc = dev->state;
    struct moment t = wall(dev);

    t.seconds += rtc->lead;
    t.ns += rtc->lead_ns;
    if (t.ns >= SECOND) {
        t.ns -= SECOND;
        t.seconds++;
    }
    return t;
}

/* From now on the time is t. */
static void lead_to(struct mmioshim_device *dev, struct moment t)
{
    struct rtc *rtc = dev->state;
    struct moment w = wall(dev);
    u32 borrow = t.ns < w.ns;

    rtc->lead = t.seconds - w.seconds - borrow;
    rtc->lead_ns = t.ns + borrow * SECOND - w.ns;
    rtc->seen = t.seconds;
    rtc->seen_ns = t.ns;
}

static unsigned calendar_weekday(u64 days)
{
    return (unsigned)((days + 6) % 7); /* 1 January of the year 0, and of -400, was a Saturday; 0: Sunday */
}

/* The bytes of the time at t. */
static void write_cells(struct rtc *rtc, u64 seconds)
{
    u64 days = seconds / DAY_SECONDS, centuries = days / FOUR_CENTURIES * 4;
    unsigned second = (unsigned)(seconds % DAY_SECONDS), month, day;
    unsigned year = date_of(days, &month, &day);
    u8 *cells = rtc->cells;

    cells[SECONDS] = to_byte(rtc, second % 60);
    cells[MINUTES] = to_byte(rtc, second / 60 % 60);
    cells[HOURS] = hour_byte(rtc, second / 3600);
    cells[WEEKDAY] = to_byte(rtc, (calendar_weekday(days) + rtc->weekday) % 7 + 1);
    cells[DAY] = to_byte(rtc, day + 1);
    cells[MONTH] = to_byte(rtc, month + 1);
    cells[YEAR] = to_byte(rtc, year % 100);
    cells[CENTURY] = to_byte(rtc, (unsigned)((centuries + year / 100 + 96) % 100)); /* 4 less, for -400 */
}

/* The time that the bytes say, whatever was written into them. */
static u64 read_cells(struct rtc *rtc)
{
    const u8 *cells = rtc->cells;
    unsigned year = 400 + 100 * from_byte(rtc, cells[CENTURY]) + from_byte(rtc, cells[YEAR]);
    unsigned month = from_byte(rtc, cells[MONTH]) + 11; /* of 0 becomes December */
    u64 days = days_to(year, month % 12, from_byte(rtc, cells[DAY])) - 1;

    rtc->weekday = (u8)((from_byte(rtc, cells[WEEKDAY]) + 6 + 7 - calendar_weekday(days)) % 7);
    return days * DAY_SECONDS + hour_from(rtc, cells[HOURS]) * 3600 + from_byte(rtc, cells[MINUTES]) * 60 +
           from_byte(rtc, cells[SECONDS]);
}

/* ---- flags ---- */

/* Periodic rate: Hz, 0: none (table 5). The two slowest names of a 32.768 kHz time base stand for faster rates. */
static u32 periodic_rate(const struct rtc *rtc)
{
    u8 a = rtc->cells[REG_A];
    unsigned rs = a & RS;

    if (!rs || !divides(rtc))
        return 0;
    if ((a & DV) >> DV_SHIFT == 2 && rs < 3)
        rs += 7;
    return 65536u >> rs;
}

/* Periods since the second began. */
static u32 periods(u32 rate, u32 ns)
{
    return (u32)((u64)ns * rate / SECOND);
}

static bool field_matches(unsigned value, unsigned alarm, bool any)
{
    return any || value == alarm;
}

/* Seconds from the second `from` of a day until the alarm, at least 1, or NEVER: the bytes name no time. */
static u64 until_alarm(const struct rtc *rtc, unsigned from)
{
    const u8 *cells = rtc->cells;
    bool any_second = cells[SECONDS_ALARM] >= DONT_CARE, any_minute = cells[MINUTES_ALARM] >= DONT_CARE;
    bool any_hour = cells[HOURS_ALARM] >= DONT_CARE;
    unsigned s = from_byte(rtc, cells[SECONDS_ALARM]), m = from_byte(rtc, cells[MINUTES_ALARM]);
    unsigned h = hour_from(rtc, cells[HOURS_ALARM]), at = from + 1;

    if ((!any_second && s > 59) || (!any_minute && m > 59) || (!any_hour && h > 23))
        return NEVER;
    /* On to the next second, minute or hour until all of them match: 60 + 60 + 25 steps at most. */
    for (;;) {
        if (!field_matches(at / 3600 % 24, h, any_hour))
            at = (at / 3600 + 1) * 3600;
        else if (!field_matches(at / 60 % 60, m, any_minute))
            at = (at / 60 + 1) * 60;
        else if (!field_matches(at % 60, s, any_second))
            at++;
        else
            return at - from;
    }
}

static void update_line(struct mmioshim_device *dev)
{
    struct rtc *rtc = dev->state;
    u8 level = (rtc->cells[REG_B] & rtc->cells[REG_C] & FLAGS) != 0; /* enables lie where their flags lie */

    if (level != rtc->line) {
        rtc->line = level;
        dev->host->irq(dev, 0, level);
    }
}

/* Nanoseconds from t until `seconds` later, when that second ends; saturates. */
static u64 span(struct moment t, u64 seconds)
{
    return seconds > NEVER / SECOND ? NEVER : seconds * SECOND - t.ns;
}

/* Asks for service() when the next interrupt comes that is enabled and not there yet. */
static void await_next(struct mmioshim_device *dev, struct moment t)
{
    const struct rtc *rtc = dev->state;
    u8 wanted = (u8)(rtc->cells[REG_B] & ~rtc->cells[REG_C] & FLAGS);
    u32 rate = wanted & PF ? periodic_rate(rtc) : 0;
    u64 left = NEVER, clock = dev->host->clock(dev);

    if (rate)
        left = ((u64)(periods(rate, t.ns) + 1) * SECOND + rate - 1) / rate - t.ns;
    if (wanted & UF && runs(rtc))
        left = MIN(left, span(t, 1));
    if (wanted & AF && runs(rtc))
        left = MIN(left, span(t, until_alarm(rtc, (unsigned)(t.seconds % DAY_SECONDS))));
    dev->host->wake_at(dev, left > NEVER - clock ? NEVER : clock + left);
}

/* Raises the flags of what has happened since the last look. */
static void catch_up(struct mmioshim_device *dev)
{
    struct rtc *rtc = dev->state;
    struct moment t = now(dev);
    u64 passed = t.seconds - rtc->seen;
    u32 rate = periodic_rate(rtc);

    /* A wall clock that was set back */
    if (passed > NEVER / 2 || (passed == 0 && t.ns < rtc->seen_ns)) {
        rtc->seen = t.seconds;
        rtc->seen_ns = t.ns;
        return;
    }
    if (rate && (passed || periods(rate, t.ns) != periods(rate, rtc->seen_ns)))
        rtc->cells[REG_C] |= PF;
    if (passed && runs(rtc)) {
        rtc->cells[REG_C] |= UF;
        if (until_alarm(rtc, (unsigned)(rtc->seen % DAY_SECONDS)) <= passed)
            rtc->cells[REG_C] |= AF;
    }
    rtc->seen = t.seconds;
    rtc->seen_ns = t.ns;
}

static void rtc_service(struct mmioshim_device *dev)
{
    catch_up(dev);
    update_line(dev);
    await_next(dev, now(dev));
}

/* ---- registers ---- */

/*
 * Figure 14: UIP rises 244 us before an update, which takes 1984 us, or 248 us with a faster time base.
 */
static bool updating(const struct rtc *rtc, struct moment t)
{
    u32 takes = (rtc->cells[REG_A] & DV) >> DV_SHIFT == 2 ? 1984000 : 248000;

    return runs(rtc) && t.ns >= SECOND - 244000 - takes;
}

static bool is_time(unsigned cell)
{
    return cell == SECONDS || cell == MINUTES || cell == HOURS || (cell >= WEEKDAY && cell <= YEAR) || cell == CENTURY;
}

static u8 read_flags(struct mmioshim_device *dev)
{
    struct rtc *rtc = dev->state;
    u8 flags = rtc->cells[REG_C];

    if (flags & rtc->cells[REG_B])
        flags |= IRQF;
    rtc->cells[REG_C] = 0;
    update_line(dev);
    await_next(dev, now(dev));
    return flags;
}

static u8 read_cell(struct mmioshim_device *dev, unsigned cell)
{
    struct rtc *rtc = dev->state;
    struct moment t = now(dev);

    catch_up(dev);
    update_line(dev);
    if (cell == REG_C)
        return read_flags(dev);
    if (cell == REG_A)
        return rtc->cells[REG_A] | (updating(rtc, t) ? UIP : 0);
    if (is_time(cell) && runs(rtc))
        write_cells(rtc, t.seconds);
    return rtc->cells[cell];
}

/* A new register A or B: the time stops or goes on, and the divider may begin anew. */
static void control(struct mmioshim_device *dev, unsigned cell, u8 value)
{
    struct rtc *rtc = dev->state;
    struct moment t = now(dev);
    bool ran = runs(rtc), divided = divides(rtc);

    if (ran)
        write_cells(rtc, t.seconds);
    rtc->cells[cell] = value;
    if (rtc->cells[REG_B] & SET)
        rtc->cells[REG_B] &= (u8)~UIE;
    if (divides(rtc) && !divided) {
        t.ns = SECOND / 2; /* the first update comes half a second after the reset */
        lead_to(dev, t);
    }
    if (runs(rtc) && !ran) {
        t.seconds = read_cells(rtc);
        lead_to(dev, t);
    }
}

static enum mmioshim_status write_cell(struct mmioshim_device *dev, unsigned cell, u8 value)
{
    struct rtc *rtc = dev->state;
    struct moment t = now(dev);

    if (cell == REG_C || cell == REG_D)
        return MMIOSHIM_READ_ONLY;
    catch_up(dev);
    if (cell == REG_A || cell == REG_B) {
        control(dev, cell, cell == REG_A ? value & (u8)~UIP : value);
    } else if (is_time(cell) && runs(rtc)) {
        write_cells(rtc, t.seconds);
        rtc->cells[cell] = value;
        t.seconds = read_cells(rtc);
        lead_to(dev, t);
    } else {
        rtc->cells[cell] = value;
    }
    update_line(dev);
    await_next(dev, now(dev));
    return MMIOSHIM_OK;
}

static enum mmioshim_status check(u64 offset, unsigned width)
{
    if (offset >= PORTS)
        return MMIOSHIM_NO_REGISTER;
    return width == 1 ? MMIOSHIM_OK : MMIOSHIM_BAD_WIDTH;
}

static enum mmioshim_status rtc_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    const struct rtc *rtc = dev->state;
    enum mmioshim_status status = check(offset, width);

    *value = 0;
    if (status != MMIOSHIM_OK)
        return status;
    if (offset == INDEX) {
        *value = 0xff;
        return MMIOSHIM_WRITE_ONLY;
    }
    *value = read_cell(dev, rtc->index);
    return MMIOSHIM_OK;
}

static enum mmioshim_status rtc_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    struct rtc *rtc = dev->state;
    enum mmioshim_status status = check(offset, width);

    if (status != MMIOSHIM_OK)
        return status;
    if (offset == DATA)
        return write_cell(dev, rtc->index, (u8)value);
    rtc->index = value % CELLS; /* bit 7 masks NMI, and is no part of the clock */
    return MMIOSHIM_OK;
}

/* ---- life ---- */

static int rtc_create(struct mmioshim_device *dev, const struct mmioshim_node *node, const char **why)
{
    struct rtc *rtc = dev->state;
    u32 freq = FREQ_DEFAULT, ctrl = CTRL_DEFAULT;

    dev->host->property_u32(node, "freq-reg", &freq);
    dev->host->property_u32(node, "ctrl-reg", &ctrl);
    if (freq > 0x7f || ctrl > 0xff) {
        *why = "freq-reg is larger than 0x7f, or ctrl-reg than 0xff";
        return -1;
    }
    rtc->cells[REG_A] = (u8)freq;
    rtc->cells[REG_B] = (u8)ctrl;
    rtc->cells[REG_D] = VRT;
    lead_to(dev, wall(dev));
    write_cells(rtc, now(dev).seconds);
    return 0;
}

/* RESET: the clock and its memory run on a battery. */
static void rtc_reset(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    struct rtc *rtc = dev->state;

    (void)kind;
    catch_up(dev);
    rtc->cells[REG_B] &= (u8)~(PIE | AIE | UIE | SQWE);
    rtc->cells[REG_C] = 0;
    rtc->line = 0;
    dev->host->irq(dev, 0, false);
    dev->host->wake_at(dev, NEVER);
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
    if (rtc.lead_ns >= SECOND || rtc.seen_ns >= SECOND || rtc.index >= CELLS || rtc.weekday > 6 ||
        rtc.cells[REG_A] & UIP || rtc.cells[REG_C] & ~FLAGS || rtc.cells[REG_D] != VRT ||
        rtc.line != ((rtc.cells[REG_B] & rtc.cells[REG_C] & FLAGS) != 0))
        return -1;
    memcpy(dev->state, &rtc, sizeof(rtc));
    dev->host->irq(dev, 0, rtc.line);
    await_next(dev, now(dev));
    return 0;
}

/* ---- description ---- */

enum { VIEW_RAM = 0xff };

/* Which byte DATA shows. */
static unsigned rtc_view(const struct mmioshim_device *dev)
{
    const struct rtc *rtc = dev->state;

    return rtc->index <= REG_D || rtc->index == CENTURY ? rtc->index + 1u : VIEW_RAM;
}

static const struct mmioshim_field index_fields[] = {{"CELL", 0, 7}, {"NMI_OFF", 7, 1}};
static const struct mmioshim_field a_fields[] = {{"RS", 0, 4}, {"DV", 4, 3}, {"UIP", 7, 1}};
static const struct mmioshim_field b_fields[] = {
    {"DSE", 0, 1}, {"24H", 1, 1}, {"DM", 2, 1},  {"SQWE", 3, 1},
    {"UIE", 4, 1}, {"AIE", 5, 1}, {"PIE", 6, 1}, {"SET", 7, 1},
};
static const struct mmioshim_field c_fields[] = {{"UF", 4, 1}, {"AF", 5, 1}, {"PF", 6, 1}, {"IRQF", 7, 1}};
static const struct mmioshim_field d_fields[] = {{"VRT", 7, 1}};

#define CELL(cell, text, ...) \
    {.name = text, .offset = DATA, .width = 1, .view = (cell) + 1, __VA_ARGS__}
#define TIME(cell, text, meaning) CELL(cell, text, .flags = MMIOSHIM_REG_VOLATILE, .doc = meaning)
#define ALARM(cell, text, meaning) CELL(cell, text, .doc = meaning)

static const struct mmioshim_register registers[] = {
    {.name = "INDEX", .offset = INDEX, .width = 1, .access = MMIOSHIM_WO, MMIOSHIM_FIELDS(index_fields),
     .doc = "which byte DATA is"},
    TIME(SECONDS, "SECONDS", "byte 0: seconds"),
    ALARM(SECONDS_ALARM, "SECONDS_ALARM", "byte 1: seconds of the alarm; 0xc0 and more: any"),
    TIME(MINUTES, "MINUTES", "byte 2: minutes"),
    ALARM(MINUTES_ALARM, "MINUTES_ALARM", "byte 3: minutes of the alarm; 0xc0 and more: any"),
    TIME(HOURS, "HOURS", "byte 4: hours; bit 7: PM, unless B.24H"),
    ALARM(HOURS_ALARM, "HOURS_ALARM", "byte 5: hours of the alarm; 0xc0 and more: any"),
    TIME(WEEKDAY, "WEEKDAY", "byte 6: day of the week, Sunday is 1"),
    TIME(DAY, "DAY", "byte 7: day of the month"),
    TIME(MONTH, "MONTH", "byte 8: month"),
    TIME(YEAR, "YEAR", "byte 9: year of the century"),
    CELL(REG_A, "A", .flags = MMIOSHIM_REG_VOLATILE, MMIOSHIM_FIELDS(a_fields),
         .doc = "byte 0xa: update in progress, divider (6, 7: reset), periodic rate 65536 >> RS Hz"),
    CELL(REG_B, "B", MMIOSHIM_FIELDS(b_fields),
         .doc = "byte 0xb: SET stops the time; interrupt enables; DM: binary, else BCD"),
    CELL(REG_C, "C", .access = MMIOSHIM_RO, .flags = MMIOSHIM_REG_VOLATILE, MMIOSHIM_FIELDS(c_fields),
         .doc = "byte 0xc: interrupt flags; reading clears them"),
    CELL(REG_D, "D", .access = MMIOSHIM_RO, MMIOSHIM_FIELDS(d_fields), .doc = "byte 0xd: the battery is good"),
    TIME(CENTURY, "CENTURY", "byte 0x32: century"),
    {.name = "RAM", .offset = DATA, .width = 1, .view = VIEW_RAM, .doc = "bytes 0xe to 0x7f: memory, on a battery"},
};

static const struct mmioshim_property properties[] = {
    {"freq-reg", "register A at first (default 0x26)"},
    {"ctrl-reg", "register B at first (default 0x02: 24 hours, BCD)"},
    {NULL, NULL},
};

static const char *const compatible[] = {"motorola,mc146818", NULL};

const struct mmioshim_class class_mc146818 = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "mc146818",
    .label = "RTC",
    .description = "real-time clock with CMOS RAM of a PC",
    .compatible = compatible,
    .properties = properties,
    .min_size = PORTS,
    .widths = 1,
    .split = true,
    .registers = registers,
    .nregisters = ARRAY_SIZE(registers),
    .lines = 1,
    .version = 1,
    .state_size = sizeof(struct rtc),
    .create = rtc_create,
    .reset = rtc_reset,
    .read = rtc_read,
    .write = rtc_write,
    .view = rtc_view,
    .service = rtc_service,
    .save = rtc_save,
    .load = rtc_load,
};
