/* The MC146818 and its PC surroundings, point by point to the Motorola data sheet (sections and tables in the comments). */
#include "device_mock.h"

enum { SEC, SEC_ALARM, MIN_, MIN_ALARM, HOUR, HOUR_ALARM, WDAY, MDAY, MON, YEAR, A, B, C, D, CENTURY = 0x32 };
enum { SET = 0x80, PIE = 0x40, AIE = 0x20, UIE = 0x10, SQWE = 8, DM = 4, H24 = 2 };
enum { IRQF = 0x80, PF = 0x40, AF = 0x20, UF = 0x10, UIP = 0x80 };

#define S  1000000000ull
#define US 1000ull
#define T0 1709164799ull /* 2024-02-28 23:59:59 UTC, a Wednesday */

static struct mock m;

/* The wall clock and the clock that timers run on advance together. */
static void pass(u64 ns)
{
    m.wall += ns;
    m.clock += ns;
}

static void at(u64 ns)
{
    CHECK(mock_create(&m, &class_mc146818, 2, NULL) == NULL);
    m.wall = ns;
    m.clock = 5 * S;
    wr(&m, 0, 1, SEC_ALARM);
    wr(&m, 1, 1, 0x60); /* no second: no alarm */
    wr(&m, 0, 1, C);
    rd(&m, 1, 1);
}

static u8 get(u8 cell)
{
    wr(&m, 0, 1, cell);
    return (u8)rd(&m, 1, 1);
}

static void put(u8 cell, u8 value)
{
    wr(&m, 0, 1, cell);
    wr(&m, 1, 1, value);
}

/* Seven bytes as hexadecimal: century year month day hour minute second. */
static u64 date(void)
{
    static const u8 cells[] = {CENTURY, YEAR, MON, MDAY, HOUR, MIN_, SEC};
    u64 all = 0;

    for (unsigned i = 0; i < sizeof(cells); i++)
        all = all << 8 | get(cells[i]);
    return all;
}

static void set_date(u64 all)
{
    static const u8 cells[] = {SEC, MIN_, HOUR, MDAY, MON, YEAR, CENTURY};

    for (unsigned i = 0; i < sizeof(cells); i++)
        put(cells[i], (u8)(all >> 8 * i));
}

/* "Address map", "Time, calendar, and alarm locations", table 2: formats. */
TEST(bcd_and_24_hours)
{
    at(T0 * S);
    CHECK_EQ(date(), 0x20240228235959);
    CHECK_EQ(get(WDAY), 4);
    pass(S);
    CHECK_EQ(date(), 0x20240229000000);
    CHECK_EQ(get(WDAY), 5);
    pass(86400 * S);
    CHECK_EQ(date(), 0x20240301000000);
}

TEST(binary)
{
    at(T0 * S);
    put(B, H24 | DM);
    CHECK_EQ(date(), 0x1418021c173b3b);
}

/* Table 2: hours 1 to 12, PM in bit 7. */
TEST(twelve_hours)
{
    static const u8 bcd[] = {0x12, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x10, 0x11,
                             0x92, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x90, 0x91};

    at((T0 + 1) * S);
    put(B, 0);
    for (unsigned h = 0; h < 24; h++) {
        CHECK_EQ(get(HOUR), bcd[h]);
        pass(3600 * S);
    }
    put(B, DM);
    pass(13 * 3600 * S);
    CHECK_EQ(get(HOUR), 0x81);
    put(B, 0);
    for (unsigned h = 0; h < 24; h++) {
        put(B, SET);
        put(HOUR, bcd[h]);
        put(B, 0);
        put(B, H24); /* here, not on the chip, a running time takes its new form */
        CHECK_EQ(get(HOUR), h / 10 << 4 | h % 10);
        put(B, 0);
        CHECK_EQ(get(HOUR), bcd[h]);
    }
}

/* Every day of four centuries comes once and in order, and says the same when it is written. */
TEST(calendar)
{
    static const u8 length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned y = 1970, mon = 0, d = 0, wday = 4;

    at(0);
    put(B, DM | H24);
    for (unsigned day = 0; day < 146097 && !unit_failures; day++) {
        unsigned leap = y % 4 == 0 && (y % 100 || y % 400 == 0);
        u64 want = (u64)(y / 100) << 48 | (u64)(y % 100) << 40 | (u64)(mon + 1) << 32 | (d + 1) << 24 | 6 << 16;

        m.wall = day * (86400 * S) + 6 * 3600 * S;
        CHECK_EQ(date(), want);
        CHECK_EQ(get(WDAY), wday + 1);
        wday = (wday + 1) % 7;
        if (++d == length[mon] + (unsigned)(mon == 1 && leap)) {
            d = 0;
            if (++mon == 12) {
                mon = 0;
                y++;
            }
        }
    }
}

/* "SET": the time stands while it is written, and goes on from there. */
TEST(setting_the_time)
{
    at(T0 * S + S / 4);
    put(B, SET | H24);
    set_date(0x19991231235958);
    put(WDAY, 6);
    pass(10 * S);
    CHECK_EQ(date(), 0x19991231235958);
    put(B, H24);
    CHECK_EQ(date(), 0x19991231235958);
    pass(S / 2);
    CHECK_EQ(get(SEC), 0x58); /* the divider went on: its second began with the wall clock's */
    pass(S / 4);
    CHECK_EQ(get(SEC), 0x59);
    pass(S);
    CHECK_EQ(date(), 0x20000101000000);
    CHECK_EQ(get(WDAY), 7);
    class_mc146818.reset(&m.dev, MMIOSHIM_RESET_COLD); /* a battery */
    CHECK_EQ(date(), 0x20000101000000);
}

/* "The weekday counts from what was written", whatever the date. */
TEST(weekday_is_the_drivers)
{
    at(T0 * S);
    put(WDAY, 1);
    CHECK_EQ(get(WDAY), 1);
    pass(6 * 86400 * S);
    CHECK_EQ(get(WDAY), 7);
    pass(86400 * S);
    CHECK_EQ(get(WDAY), 1);
}

/* "Divider control", table 4: while in reset nothing counts; the first update comes half a second after it ends. */
TEST(divider_reset)
{
    at(T0 * S + 900 * 1000 * US);
    put(B, SET | H24);
    put(A, 0x76);
    CHECK_EQ(get(A), 0x76);
    set_date(0x20200101000000);
    put(B, H24);
    pass(100 * S);
    CHECK_EQ(date(), 0x20200101000000);
    put(A, 0x26);
    pass(S / 2 - 1);
    CHECK_EQ(get(SEC), 0);
    pass(1);
    CHECK_EQ(get(SEC), 1);
    /* In the other order, as hwclock does it */
    put(B, SET | H24);
    put(A, 0x66);
    put(SEC, 0x30);
    pass(S / 3);
    put(A, 0x26);
    put(B, H24);
    pass(S / 2 - 1);
    CHECK_EQ(get(SEC), 0x30);
    pass(1);
    CHECK_EQ(get(SEC), 0x31);
}

/* "Update cycle", figure 14 and table 6: UIP 244 us before, for 1984 us (32.768 kHz) or 248 us. */
TEST(update_in_progress)
{
    static const struct {
        u8 a;
        unsigned us;
    } bases[] = {{0x26, 2228}, {0x06, 492}, {0x16, 492}};

    for (unsigned i = 0; i < ARRAY_SIZE(bases); i++) {
        at(T0 * S);
        put(A, bases[i].a);
        CHECK_EQ(get(A), bases[i].a);
        pass(S - bases[i].us * US - 1);
        CHECK_EQ(get(A), bases[i].a);
        pass(1);
        CHECK_EQ(get(A), bases[i].a | UIP);
        pass(bases[i].us * US - 1);
        CHECK_EQ(get(A), bases[i].a | UIP);
        CHECK_EQ(get(SEC), 0x59);
        pass(1);
        CHECK_EQ(get(A), bases[i].a);
        CHECK_EQ(get(SEC), 0);
        pass(S - US);
        put(B, SET | H24); /* aborts the update */
        CHECK_EQ(get(A), bases[i].a);
    }
    put(A, 0xff);
    CHECK_EQ(get(A), 0x7f); /* UIP is read-only */
}

/* "Update-ended interrupt"; register C is cleared by reading. */
TEST(update_ended)
{
    at(T0 * S);
    pass(S - 1);
    CHECK_EQ(get(C) & ~PF, 0);
    pass(1);
    CHECK_EQ(get(C) & ~PF, UF);
    CHECK_EQ(get(C) & ~PF, 0);
    pass(S / 2);
    put(B, H24 | UIE);
    CHECK_EQ(m.wake_at, m.clock + S / 2);
    pass(S / 2);
    CHECK(!m.line[0]);
    class_mc146818.service(&m.dev);
    CHECK(m.line[0]);
    CHECK_EQ(m.wake_at, UINT64_MAX); /* nothing more until it is taken */
    CHECK_EQ(get(C) & ~PF, IRQF | UF);
    CHECK(!m.line[0]);
    CHECK_EQ(m.wake_at, m.clock + S);
    put(B, H24 | UIE | SET); /* "SET going high clears UIE" */
    CHECK_EQ(get(B), H24 | SET);
    CHECK_EQ(m.wake_at, UINT64_MAX);
}

/* Table 5: rates, of three time bases. */
TEST(periodic_rates)
{
    static const u32 fast[] = {0, 32768, 16384, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2};

    for (unsigned dv = 0; dv < 3; dv++)
        for (unsigned rs = 0; rs < 16; rs++) {
            u32 rate = dv == 2 && rs == 1 ? 256 : dv == 2 && rs == 2 ? 128 : fast[rs], seen = 0;
            u64 left;

            at(T0 * S);
            put(A, (u8)(dv << 4 | rs));
            put(B, H24 | PIE);
            get(C);
            if (!rate) {
                CHECK_EQ(m.wake_at, UINT64_MAX);
                continue;
            }
            for (u64 end = m.wall + S / 2; m.wall <= end && !unit_failures; seen++) {
                left = m.wake_at - m.clock;
                CHECK(left > 0 && left <= S / rate + 1);
                pass(left - 1);
                class_mc146818.service(&m.dev);
                CHECK(!m.line[0]);
                pass(1);
                class_mc146818.service(&m.dev);
                CHECK(m.line[0]);
                CHECK_EQ(get(C) & ~UF, IRQF | PF);
            }
            CHECK_EQ(seen, rate / 2 + 1);
        }
}

/* A flag is there whether its interrupt is enabled or not; enabling it then raises the line. */
TEST(enables)
{
    at(T0 * S);
    pass(S);
    get(SEC);
    CHECK(!m.line[0]);
    put(B, H24 | UIE);
    CHECK(m.line[0]);
    put(B, H24);
    CHECK(!m.line[0]);
    CHECK_EQ(get(C), PF | UF);
}

/* "Alarm": all three match; 11xxxxxx is any. */
TEST(alarm)
{
    at((T0 + 1) * S);
    put(HOUR_ALARM, 0x07);
    put(MIN_ALARM, 0x30);
    put(SEC_ALARM, 0x15);
    put(B, H24 | AIE);
    CHECK_EQ(m.wake_at, m.clock + (7 * 3600 + 30 * 60 + 15) * S);
    pass((7 * 3600 + 30 * 60 + 15) * S - 1);
    class_mc146818.service(&m.dev);
    CHECK(!m.line[0]);
    pass(1);
    class_mc146818.service(&m.dev);
    CHECK(m.line[0]);
    CHECK_EQ(get(C), IRQF | PF | AF | UF);
    CHECK_EQ(m.wake_at, m.clock + 86400 * S);
    put(HOUR_ALARM, 0xff);
    CHECK_EQ(m.wake_at, m.clock + 3600 * S);
    put(MIN_ALARM, 0xc0);
    CHECK_EQ(m.wake_at, m.clock + 60 * S);
    put(SEC_ALARM, 0xdf);
    CHECK_EQ(m.wake_at, m.clock + S);
    put(SEC_ALARM, 0x60); /* no such second */
    CHECK_EQ(m.wake_at, UINT64_MAX);
    put(SEC_ALARM, 0x15);
    put(HOUR_ALARM, 0x07); /* any minute of that hour: the next one is tomorrow's */
    pass(3600 * S);
    get(C);
    CHECK_EQ(m.wake_at, m.clock + (86400 - 3600 - 30 * 60) * S);
}

/* Nothing is missed when nobody looks for days; 12-hour alarms. */
TEST(alarm_while_nobody_looks)
{
    at((T0 + 1) * S);
    put(B, 0);
    put(HOUR_ALARM, 0x81); /* 1 PM */
    put(MIN_ALARM, 0);
    put(SEC_ALARM, 0);
    pass(13 * 3600 * S - 1);
    CHECK_EQ(get(C), PF | UF);
    pass(3 * 86400 * S);
    CHECK_EQ(get(C), PF | AF | UF);
}

/* "RESET": clears PIE, AIE, UIE, SQWE and the flags, touches neither time nor memory. */
TEST(reset)
{
    at(T0 * S);
    put(0x0e, 0xa5);
    put(0x7f, 0x5a);
    put(B, SET | PIE | AIE | SQWE | DM | H24 | 1);
    pass(S);
    get(SEC);
    CHECK(m.line[0]);
    class_mc146818.reset(&m.dev, MMIOSHIM_RESET_WARM);
    CHECK(!m.line[0]);
    CHECK_EQ(get(B), SET | DM | H24 | 1);
    CHECK_EQ(get(C), 0);
    CHECK_EQ(get(0x0e), 0xa5);
    CHECK_EQ(get(0x7f), 0x5a);
}

/* 50 bytes of the chip, 64 more of the PC's: all but the clock's own. Register D: VRT. */
TEST(memory)
{
    unsigned bytes = 0;

    at(T0 * S);
    for (unsigned i = 0xe; i < 0x80; i++) {
        if (i == CENTURY)
            continue;
        put((u8)i, (u8)(i ^ 0xff));
        bytes++;
    }
    for (unsigned i = 0xe; i < 0x80; i++)
        if (i != CENTURY)
            CHECK_EQ(get((u8)(i | 0x80)), i ^ 0xff); /* bit 7 is the NMI mask */
    CHECK_EQ(bytes, 113);
    CHECK_EQ(get(D), 0x80);
}

TEST(access_rules)
{
    u64 value;

    at(T0 * S);
    CHECK_EQ(rd_status(&m, 0, 1, &value), MMIOSHIM_WRITE_ONLY);
    CHECK_EQ(value, 0xff);
    wr(&m, 0, 1, D);
    CHECK_EQ(wr_status(&m, 1, 1, 0), MMIOSHIM_READ_ONLY);
    wr(&m, 0, 1, C);
    CHECK_EQ(wr_status(&m, 1, 1, 0), MMIOSHIM_READ_ONLY);
    CHECK_EQ(rd_status(&m, 0, 2, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(wr_status(&m, 1, 4, 0), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, 2, 1, &value), MMIOSHIM_NO_REGISTER);
}

TEST(node)
{
    static const struct mock_property good[] = {CELL("freq-reg", 0x2f), CELL("ctrl-reg", DM | H24), END};
    static const struct mock_property bad[] = {CELL("freq-reg", 0x80), END}, worse[] = {CELL("ctrl-reg", 0x100), END};

    CHECK(mock_create(&m, &class_mc146818, 2, good) == NULL);
    CHECK_EQ(get(A), 0x2f);
    CHECK_EQ(get(B), DM | H24);
    CHECK(mock_create(&m, &class_mc146818, 2, bad) != NULL);
    CHECK(mock_create(&m, &class_mc146818, 2, worse) != NULL);
}

/* Dates that are none, and a wall clock that is set back, are survived. */
TEST(nonsense)
{
    at(T0 * S);
    put(B, SET | H24);
    for (unsigned i = 0; i <= YEAR; i++)
        put((u8)i, 0xff);
    put(CENTURY, 0xff);
    put(B, H24);
    pass(S);
    CHECK(get(MON) >= 1 && get(MON) <= 0x12);
    put(MON, 0);
    put(MDAY, 0);
    CHECK(get(MON) >= 1 && get(MON) <= 0x12);
    at(T0 * S);
    put(B, H24 | UIE);
    m.wall -= 3600 * S;
    CHECK_EQ(get(C) & UF, 0);
    pass(S);
    CHECK_EQ(get(C) & UF, UF);
    CHECK_EQ(get(HOUR), 0x23);
}

TEST(save_and_load)
{
    u8 blob[512], bad[512];
    unsigned refused = 0;
    long size;

    at(T0 * S);
    put(B, H24 | UIE);
    pass(S);
    get(SEC);
    size = class_mc146818.save(&m.dev, blob, sizeof(blob));
    CHECK(size > 0 && (size_t)size <= sizeof(blob));
    at(T0 * S + S);
    CHECK(!m.line[0]);
    CHECK_EQ(class_mc146818.load(&m.dev, 1, blob, (size_t)size), 0);
    CHECK(m.line[0]);
    CHECK_EQ(get(C), IRQF | PF | UF);
    CHECK_EQ(class_mc146818.load(&m.dev, 2, blob, (size_t)size), -1);
    CHECK_EQ(class_mc146818.load(&m.dev, 1, blob, (size_t)size - 1), -1);
    for (long i = 0; i < size; i++) {
        memcpy(bad, blob, (size_t)size);
        bad[i] ^= 0xff;
        refused += class_mc146818.load(&m.dev, 1, bad, (size_t)size) == -1;
    }
    CHECK_EQ(refused, 8); /* two tops of nanoseconds, index, weekday, line, registers A, C and D */
}

/* The name of DATA in the log is that of the byte it shows. */
TEST(names)
{
    static const struct {
        u8 cell;
        const char *name;
    } want[] = {{0, "SECONDS"}, {9, "YEAR"}, {A, "A"}, {D, "D"}, {0xe, "RAM"}, {CENTURY, "CENTURY"}, {0x7f, "RAM"}};

    at(T0 * S);
    for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
        unsigned view, found = 0;

        wr(&m, 0, 1, want[i].cell);
        view = class_mc146818.view(&m.dev);
        for (unsigned r = 0; r < class_mc146818.nregisters; r++)
            if (class_mc146818.registers[r].view == view) {
                CHECK_STR(class_mc146818.registers[r].name, want[i].name);
                found++;
            }
        CHECK_EQ(found, 1);
    }
}
