/*
 * sifive,clint0: the core-local interruptor of RISC-V machines: a software
 * interrupt and a timer for each hart. Sources: SiFive FU540-C000 Manual,
 * chapter "Core-Local Interruptor (CLINT)"; RISC-V Privileged Architecture,
 * "Machine Timer Registers (mtime and mtimecmp)".
 *
 * Entry i of interrupts-extended is line i of this device: 3 is the number of
 * a hart's machine software interrupt, 7 that of its machine timer interrupt.
 * The nth of each kind belongs to the nth hart. mtime counts from reset at
 * the timebase-frequency of the node /cpus.
 */
#include "base/mem.h"
#include "base/types.h"
#include "mmioshim/device.h"

#include "base/trapsafe.h"

enum {
    MSIP = 0x0000,
    MTIMECMP = 0x4000,
    MTIME = 0xbff8,
    REGISTERS_END = 0xc000,
};

enum { HARTS = 512, CAUSE_SOFTWARE = 3, CAUSE_TIMER = 7, FREQUENCY_DEFAULT = 10000000 };
enum { NO_LINE = 0xffff };
#define NS 1000000000u

struct clint_hart {
    u64 mtimecmp;
    u16 line[2]; /* of software and timer, NO_LINE: not wired */
    u8 msip;
    u8 level[2]; /* last given to the host */
    u8 reserved;
};

struct clint {
    u64 ahead; /* mtime minus the ticks of the machine's clock, modulo 2^64 */
    u32 nharts;
    u32 frequency; /* Hz */
    struct clint_hart hart[HARTS];
};

/* ---- time ---- */

static u64 ticks_of(const struct clint *clint, u64 ns)
{
    return ns / NS * clint->frequency + ns % NS * clint->frequency / NS;
}

/* The first nanosecond at which the clock has that many ticks; UINT64_MAX: it never will. */
static u64 ns_of(const struct clint *clint, u64 ticks)
{
    u64 seconds = ticks / clint->frequency, rest = ticks % clint->frequency;

    if (seconds >= UINT64_MAX / NS - 1)
        return UINT64_MAX;
    return seconds * NS + (rest * NS + clint->frequency - 1) / clint->frequency;
}

static u64 mtime(struct mmioshim_device *dev)
{
    const struct clint *clint = dev->state;

    return ticks_of(clint, dev->host->clock(dev)) + clint->ahead;
}

/* ---- interrupts ---- */

static void set_line(struct mmioshim_device *dev, struct clint_hart *h, unsigned which, u8 level)
{
    if (h->level[which] == level)
        return;
    h->level[which] = level;
    if (h->line[which] != NO_LINE)
        dev->host->irq(dev, h->line[which], level);
}

/* "A machine timer interrupt becomes pending whenever mtime contains a value greater than or equal to mtimecmp." */
static void check_timers(struct mmioshim_device *dev)
{
    struct clint *clint = dev->state;
    u64 now = mtime(dev), next = UINT64_MAX, ticks = now - clint->ahead;

    for (u32 i = 0; i < clint->nharts; i++) {
        struct clint_hart *h = &clint->hart[i];

        set_line(dev, h, 1, now >= h->mtimecmp);
        if (now < h->mtimecmp && h->mtimecmp != UINT64_MAX)
            next = MIN(next, h->mtimecmp - now);
    }
    dev->host->wake_at(dev, next > UINT64_MAX - ticks ? UINT64_MAX : ns_of(clint, ticks + next));
}

/* ---- registers ---- */

struct place {
    enum { NOTHING, AT_MSIP, AT_MTIMECMP, AT_MTIME } kind;
    u32 hart;
    u32 size; /* bytes of the register */
};

static struct place locate(const struct clint *clint, u64 offset)
{
    struct place p = {NOTHING, 0, 8};

    if (offset < MSIP + 4 * (u64)clint->nharts)
        return (struct place){AT_MSIP, (u32)offset / 4, 4};
    if (offset >= MTIME && offset < REGISTERS_END)
        p.kind = AT_MTIME;
    else if (offset >= MTIMECMP && offset - MTIMECMP < 8 * (u64)clint->nharts)
        p = (struct place){AT_MTIMECMP, (u32)(offset - MTIMECMP) / 8, 8};
    return p;
}

/* Words, and the two that are 64 bits wide as a whole. */
static enum mmioshim_status check(struct place p, u64 offset, unsigned width)
{
    if (p.kind == NOTHING)
        return MMIOSHIM_NO_REGISTER;
    return (width == 4 || width == p.size) && offset % width == 0 ? MMIOSHIM_OK : MMIOSHIM_BAD_WIDTH;
}

static u64 part(u64 whole, u64 offset, unsigned width)
{
    return width == 8 ? whole : whole >> 8 * (offset & 4) & UINT32_MAX;
}

static u64 with_part(u64 whole, u64 offset, unsigned width, u64 value)
{
    unsigned shift = 8 * (offset & 4);

    return width == 8 ? value : (whole & ~((u64)UINT32_MAX << shift)) | (value & UINT32_MAX) << shift;
}

static enum mmioshim_status clint_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    const struct clint *clint = dev->state;
    struct place p = locate(clint, offset);
    enum mmioshim_status status = check(p, offset, width);

    *value = 0;
    if (status != MMIOSHIM_OK)
        return status;
    if (p.kind == AT_MSIP)
        *value = clint->hart[p.hart].msip;
    else
        *value = part(p.kind == AT_MTIME ? mtime(dev) : clint->hart[p.hart].mtimecmp, offset, width);
    check_timers(dev);
    return MMIOSHIM_OK;
}

static enum mmioshim_status clint_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    struct clint *clint = dev->state;
    struct place p = locate(clint, offset);
    enum mmioshim_status status = check(p, offset, width);
    struct clint_hart *h = &clint->hart[p.hart];
    u64 now;

    if (status != MMIOSHIM_OK)
        return status;
    switch (p.kind) {
    case AT_MSIP: /* "the remaining bits are hardwired to zero" */
        h->msip = value & 1;
        set_line(dev, h, 0, h->msip);
        break;
    case AT_MTIMECMP:
        h->mtimecmp = with_part(h->mtimecmp, offset, width, value);
        break;
    default:
        now = mtime(dev);
        clint->ahead += with_part(now, offset, width, value) - now;
    }
    check_timers(dev);
    return MMIOSHIM_OK;
}

/* ---- life ---- */

static u32 cell(const u8 *p)
{
    return (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3];
}

/* The lines of one kind, in their order. Returns how many, or -1: too many. */
static int wire(struct clint *clint, const u8 *entries, u32 n, unsigned which, u32 cause)
{
    int harts = 0;

    for (u32 i = 0; i < n; i++) {
        if (cell(entries + 8 * i + 4) != cause)
            continue;
        if (harts == HARTS)
            return -1;
        clint->hart[harts++].line[which] = (u16)i;
    }
    return harts;
}

static int clint_create(struct mmioshim_device *dev, const struct mmioshim_node *node, const char **why)
{
    struct clint *clint = dev->state;
    u32 length = 0;
    const u8 *entries = dev->host->property(node, "interrupts-extended", &length);
    int software, timers;

    if (length % 8 || length / 8 > NO_LINE) {
        *why = "interrupts-extended is not a list of phandle and number";
        return -1;
    }
    for (u32 i = 0; i < HARTS; i++)
        clint->hart[i].line[0] = clint->hart[i].line[1] = NO_LINE;
    software = wire(clint, entries, length / 8, 0, CAUSE_SOFTWARE);
    timers = wire(clint, entries, length / 8, 1, CAUSE_TIMER);
    if (software < 0 || timers < 0) {
        *why = "more than 512 harts";
        return -1;
    }
    clint->nharts = (u32)MAX(MAX(software, timers), 1);
    clint->frequency = FREQUENCY_DEFAULT;
    dev->host->property_u32_at(node, "/cpus", "timebase-frequency", &clint->frequency);
    if (clint->frequency == 0) {
        *why = "timebase-frequency of /cpus is 0";
        return -1;
    }
    return 0;
}

/* "On reset mtime is cleared and mtimecmp is not": it begins with the value that never comes. */
static void clint_reset(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    struct clint *clint = dev->state;

    clint->ahead = -ticks_of(clint, dev->host->clock(dev));
    for (u32 i = 0; i < clint->nharts; i++) {
        struct clint_hart *h = &clint->hart[i];

        if (kind == MMIOSHIM_RESET_COLD)
            h->mtimecmp = UINT64_MAX;
        h->msip = 0;
        h->level[0] = h->level[1] = 0;
        for (unsigned which = 0; which < 2; which++)
            if (h->line[which] != NO_LINE)
                dev->host->irq(dev, h->line[which], false);
    }
    check_timers(dev);
}

/* mtime itself is saved: where it is loaded the clock shows another time. */
struct saved {
    u64 mtime;
    u32 nharts, frequency;
};

struct saved_hart {
    u64 mtimecmp, msip;
};

static size_t saved_size(const struct clint *clint)
{
    return sizeof(struct saved) + clint->nharts * sizeof(struct saved_hart);
}

static long clint_save(struct mmioshim_device *dev, void *buf, size_t size)
{
    const struct clint *clint = dev->state;
    struct saved saved = {mtime(dev), clint->nharts, clint->frequency};
    u8 *to = (u8 *)buf + sizeof(saved);

    if (size < saved_size(clint))
        return (long)saved_size(clint);
    memcpy(buf, &saved, sizeof(saved));
    for (u32 i = 0; i < clint->nharts; i++) {
        struct saved_hart h = {clint->hart[i].mtimecmp, clint->hart[i].msip};

        memcpy(to + i * sizeof(h), &h, sizeof(h));
    }
    return (long)saved_size(clint);
}

static int clint_load(struct mmioshim_device *dev, u32 version, const void *buf, size_t size)
{
    struct clint *clint = dev->state;
    const u8 *from = (const u8 *)buf + sizeof(struct saved);
    struct saved saved;
    struct saved_hart h;

    if (version != 1 || size != saved_size(clint))
        return -1;
    memcpy(&saved, buf, sizeof(saved));
    if (saved.nharts != clint->nharts || saved.frequency != clint->frequency)
        return -1;
    for (u32 i = 0; i < clint->nharts; i++) {
        memcpy(&h, from + i * sizeof(h), sizeof(h));
        if (h.msip > 1)
            return -1;
    }
    clint->ahead = saved.mtime - ticks_of(clint, dev->host->clock(dev));
    for (u32 i = 0; i < clint->nharts; i++) {
        memcpy(&h, from + i * sizeof(h), sizeof(h));
        clint->hart[i].mtimecmp = h.mtimecmp;
        clint->hart[i].msip = (u8)h.msip;
        set_line(dev, &clint->hart[i], 0, clint->hart[i].msip);
    }
    check_timers(dev);
    return 0;
}

/* ---- description ---- */

static const struct mmioshim_field msip_fields[] = {{"MSIP", 0, 1}};

static const struct mmioshim_register registers[] = {
    {.name = "MSIP", .offset = MSIP, .width = 4, .count = HARTS, .stride = 4, MMIOSHIM_FIELDS(msip_fields),
     .doc = "1: the software interrupt of the hart"},
    {.name = "MTIMECMP", .offset = MTIMECMP, .width = 8, .count = HARTS, .stride = 8,
     .doc = "the hart's timer interrupts while mtime is not below this"},
    {.name = "MTIME", .offset = MTIME, .width = 8, .flags = MMIOSHIM_REG_VOLATILE,
     .doc = "ticks of timebase-frequency since reset; can be written"},
};

static const struct mmioshim_property properties[] = {
    {"interrupts-extended", "software (3) and timer (7) interrupt of each hart"},
    {"timebase-frequency", "of /cpus: Hz of mtime (default 10000000)"},
    {NULL, NULL},
};

static const char *const compatible[] = {"sifive,clint0", "riscv,clint0", NULL};

const struct mmioshim_class class_sifive_clint = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "sifive_clint",
    .label = "CLINT",
    .description = "RISC-V core-local interruptor: software interrupts and timers",
    .compatible = compatible,
    .properties = properties,
    .min_size = REGISTERS_END,
    .widths = 4 | 8,
    .split = false,
    .registers = registers,
    .nregisters = ARRAY_SIZE(registers),
    .lines = 2 * HARTS,
    .version = 1,
    .state_size = sizeof(struct clint),
    .create = clint_create,
    .reset = clint_reset,
    .read = clint_read,
    .write = clint_write,
    .service = check_timers,
    .save = clint_save,
    .load = clint_load,
};
