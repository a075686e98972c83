/* Runs of equal reads, and which of them can never end. The clock is the test's. */
#include "trap/poll.h"

#include <time.h>

#include "unit.h"

static u64 now_ns = 1000;

int clock_gettime(clockid_t id, struct timespec *t)
{
    (void)id;
    *t = (struct timespec){.tv_sec = (time_t)(now_ns / 1000000000), .tv_nsec = (long)(now_ns % 1000000000)};
    return 0;
}

enum { PLAIN, VOLATILE };

static const struct mmioshim_register registers[] = {
    [PLAIN] = {.name = "PLAIN", .offset = 0, .width = 4},
    [VOLATILE] = {.name = "VOLATILE", .offset = 4, .width = 4, .flags = MMIOSHIM_REG_VOLATILE},
};
static const char *const kinds[] = {"stdio", NULL};
static const struct mmioshim_class clocked = {.name = "clocked", .registers = registers, .nregisters = 2};
static const struct mmioshim_class connected = {.name = "connected", .registers = registers, .nregisters = 2, .backends = kinds};
static const struct backend_ops ops;

enum { CLOCKED, CONNECTED, ALONE };

static struct bus_device devices[] = {
    [CLOCKED] = {.dev = {.class = &clocked}},
    [CONNECTED] = {.dev = {.class = &connected}, .backend = {.ops = &ops}},
    [ALONE] = {.dev = {.class = &connected}},
};
static const struct bus bus = {.devices = devices, .ndevices = ARRAY_SIZE(devices)};

static struct trace_record reading(u16 device, u16 reg)
{
    struct trace_record r = {.type = TRACE_MMIO, .op = TRACE_READ, .width = 4, .device = device, .reg = reg};

    r.pc = 0x401000;
    r.tid = 7;
    r.stack = 3;
    r.seq = 1;
    r.addr = 0x10000000 + 4u * reg;
    r.value[0] = 0x60;
    return r;
}

static bool goes_on_with(void (*change)(struct trace_record *r))
{
    struct trace_record r = reading(CONNECTED, PLAIN);
    struct poll p = {0};

    poll_begin(&p, &r, 1);
    change(&r);
    return poll_goes_on(&p, &r);
}

#define CHANGE(what, code) \
    static void what(struct trace_record *r) \
    { \
        code; \
    }

CHANGE(nothing, r->seq = 2)
CHANGE(unread_bytes, r->value[4] = 1)
CHANGE(value, r->value[3] = 1)
CHANGE(place, r->pc++)
CHANGE(address, r->addr++)
CHANGE(width, r->width = 2)
CHANGE(direction, r->op = TRACE_WRITE)
CHANGE(thread, r->tid++)
CHANGE(device, r->device = CLOCKED)
CHANGE(kind, r->type = TRACE_PORT)
CHANGE(hole, r->flags = TRACE_UNASSIGNED)
CHANGE(caller, r->stack++)

TEST(what_breaks_a_run)
{
    CHECK(goes_on_with(nothing));
    CHECK(goes_on_with(unread_bytes));
    CHECK(!goes_on_with(value));
    CHECK(!goes_on_with(place));
    CHECK(!goes_on_with(address));
    CHECK(!goes_on_with(width));
    CHECK(!goes_on_with(direction));
    CHECK(!goes_on_with(thread));
    CHECK(!goes_on_with(device));
    CHECK(!goes_on_with(kind));
    CHECK(!goes_on_with(hole));
    CHECK(!goes_on_with(caller));
}

TEST(writes_and_wide_reads_begin_none)
{
    struct trace_record r = reading(CONNECTED, PLAIN);
    struct poll p = {0};

    r.op = TRACE_WRITE;
    poll_begin(&p, &r, 1);
    CHECK_EQ(p.run, 0);
    r.op = TRACE_READ;
    CHECK(!poll_goes_on(&p, &r));
    r.width = 16;
    poll_begin(&p, &r, 1);
    CHECK(!poll_goes_on(&p, &r));
}

/* Polls `reads` times, `step` nanoseconds each; every `other`-th time (0: never) somebody else uses the device. Findings. */
static unsigned findings(u16 device, u16 reg, u8 flags, u64 reads, u64 step, u64 other)
{
    struct trace_record r = reading(device, reg);
    struct poll p = {0};
    u64 accesses = 100;
    unsigned found = 0;

    r.flags = flags;
    poll_begin(&p, &r, ++accesses);
    for (u64 i = 1; i < reads; i++) {
        now_ns += step;
        accesses += other && i % other == 0;
        accesses++;
        p.run++;
        found += poll_endless(&p, &bus, accesses);
    }
    return found;
}

TEST(a_register_that_nothing_changes_is_found_once)
{
    CHECK_EQ(findings(CONNECTED, PLAIN, 0, 1000000, 10000, 0), 1);
    CHECK_EQ(findings(CLOCKED, PLAIN, 0, 1000000, 10000, 0), 1);
}

TEST(time_and_host_ends_may_change_a_volatile_one)
{
    CHECK_EQ(findings(CLOCKED, VOLATILE, 0, 1000000, 10000, 0), 0);
    CHECK_EQ(findings(CONNECTED, VOLATILE, 0, 1000000, 10000, 0), 0);
    CHECK_EQ(findings(ALONE, VOLATILE, 0, 1000000, 10000, 0), 1);
}

TEST(a_hole_never_changes)
{
    CHECK_EQ(findings(CONNECTED, TRACE_NONE, TRACE_UNASSIGNED, 1000000, 10000, 0), 1);
    CHECK_EQ(findings(TRACE_NONE, TRACE_NONE, TRACE_UNASSIGNED, 1000000, 10000, 0), 1);
}

TEST(short_runs_and_fast_ones_and_slow_ones_are_none)
{
    CHECK_EQ(findings(CONNECTED, PLAIN, 0, 99000, 1000000, 0), 0);
    CHECK_EQ(findings(CONNECTED, PLAIN, 0, 10000000, 10, 0), 0);
}

TEST(somebody_else_begins_the_wait_anew)
{
    CHECK_EQ(findings(CONNECTED, PLAIN, 0, 1000000, 10000, 100000), 0);
    CHECK_EQ(findings(CONNECTED, PLAIN, 0, 1000000, 10000, 700000), 1);
}
