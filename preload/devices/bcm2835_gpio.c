/*
 * bcm2835_gpio: the 54 pins of the Raspberry Pi's first chips. Source: Broadcom, BCM2835 ARM Peripherals, chapter 6. Node
 * properties and the order of the interrupts: Devicetree binding "brcm,bcm2835-gpio".
 *
 * What is outside is plugged in: wires between two pins, and a host end that is told of the pins that the program drives
 * ("17=1", "17=0", "17=z" for one that it drives no more), and drives others by lines of the same kind. Alternate
 * functions are inputs here: the peripherals behind them are not modelled.
 */
#include "base/fmt.h"
#include "base/mem.h"
#include "devices/bcm2835_pins.h"

#include "base/trapsafe.h"

/* Pairs of registers, for pins 0 to 31 and 32 to 53; GPFSEL and GPPUD are none. */
enum {
    GPFSEL = 0x00, GPSET = 0x1c, GPCLR = 0x28, GPLEV = 0x34, GPEDS = 0x40, GPREN = 0x4c, GPFEN = 0x58, GPHEN = 0x64,
    GPLEN = 0x70, GPAREN = 0x7c, GPAFEN = 0x88, GPPUD = 0x94, GPPUDCLK = 0x98, REGISTERS_END = 0xb4,
};

enum { PULL_OFF, PULL_DOWN, PULL_UP }; /* table 6-28 */

/* ---- registers ---- */

struct place {
    u32 base;     /* which register, of a pair the first */
    unsigned shift; /* 0, or 32 for the second of a pair */
};

static enum mmioshim_status locate(u64 offset, unsigned width, struct place *at)
{
    static const u8 pairs[] = {GPSET, GPCLR, GPLEV, GPEDS, GPREN, GPFEN, GPHEN, GPLEN, GPAREN, GPAFEN, GPPUDCLK};

    if (offset >= REGISTERS_END)
        return MMIOSHIM_NO_REGISTER;
    if (width != 4 || offset % 4)
        return MMIOSHIM_BAD_WIDTH;
    *at = (struct place){GPFSEL, 0};
    if (offset < GPSET - 4)
        return MMIOSHIM_OK;
    at->base = GPPUD;
    if (offset == GPPUD)
        return MMIOSHIM_OK;
    for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++)
        if (offset == pairs[i] || offset == pairs[i] + 4u) {
            *at = (struct place){pairs[i], offset == pairs[i] ? 0 : 32};
            return MMIOSHIM_OK;
        }
    return MMIOSHIM_NO_REGISTER;
}

static int detector(u32 base)
{
    static const u8 bases[DETECTORS] = {GPREN, GPFEN, GPHEN, GPLEN, GPAREN, GPAFEN};

    for (int i = 0; i < DETECTORS; i++)
        if (bases[i] == base)
            return i;
    return -1;
}

static enum mmioshim_status gpio_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    struct gpio *g = dev->state;
    struct place at;
    enum mmioshim_status status = locate(offset, width, &at);

    *value = 0;
    if (status != MMIOSHIM_OK)
        return status;
    if (at.base == GPLEV || at.base == GPEDS)
        gpio_listen(dev);
    if (at.base == GPFSEL)
        *value = g->fsel[offset / 4];
    else if (at.base == GPLEV)
        *value = (u32)(g->level >> at.shift);
    else if (at.base == GPEDS)
        *value = (u32)(g->events >> at.shift);
    else if (at.base == GPPUD)
        *value = g->pud;
    else if (at.base == GPPUDCLK)
        *value = (u32)(g->pudclk >> at.shift);
    else if (detector(at.base) >= 0)
        *value = (u32)(g->detect[detector(at.base)] >> at.shift);
    else
        return MMIOSHIM_WRITE_ONLY;
    return MMIOSHIM_OK;
}

/* "6.1, GPIO Pull-up/down Clock Registers": the clocked pins take the state that GPPUD shows; the others keep theirs. */
static void clock_pulls(struct gpio *g, u64 pins)
{
    g->pulled_up = g->pud == PULL_UP ? g->pulled_up | pins : g->pulled_up & ~pins;
    g->pulled_down = g->pud == PULL_DOWN ? g->pulled_down | pins : g->pulled_down & ~pins;
}

static void replace(u64 *all, unsigned shift, u32 value)
{
    *all = ((*all & ~((u64)UINT32_MAX << shift)) | (u64)value << shift) & ALL;
}

static enum mmioshim_status store(struct mmioshim_device *dev, const struct place *at, u64 offset, u32 value)
{
    struct gpio *g = dev->state;
    u64 pins = (u64)value << at->shift & ALL;

    if (at->base == GPFSEL)
        g->fsel[offset / 4] = value & (offset == GPFSEL + 20 ? 0xfff : 0x3fffffff);
    else if (at->base == GPSET)
        g->latch |= pins;
    else if (at->base == GPCLR)
        g->latch &= ~pins;
    else if (at->base == GPEDS)
        g->events &= ~pins;
    else if (at->base == GPPUD)
        g->pud = value & 3;
    else if (at->base == GPPUDCLK)
        replace(&g->pudclk, at->shift, value), clock_pulls(g, pins);
    else if (detector(at->base) >= 0)
        replace(&g->detect[detector(at->base)], at->shift, value);
    else
        return MMIOSHIM_READ_ONLY;
    return MMIOSHIM_OK;
}

static enum mmioshim_status gpio_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    struct place at;
    enum mmioshim_status status = locate(offset, width, &at);

    if (status != MMIOSHIM_OK)
        return status;
    if (at.base <= GPCLR && !gpio_flush(dev))
        return MMIOSHIM_WAIT; /* no line is lost */
    status = store(dev, &at, offset, (u32)value);
    gpio_look(dev);
    gpio_tell(dev);
    if (at.base == GPEDS || detector(at.base) >= 0)
        gpio_await(dev);
    return status;
}

/* ---- life ---- */

static void gpio_service(struct mmioshim_device *dev)
{
    gpio_flush(dev);
    gpio_listen(dev);
    gpio_await(dev);
}

static bool connect(struct gpio *g, unsigned a, unsigned b)
{
    if (a >= PINS || b >= PINS || a == b || g->wire[a] != UNWIRED || g->wire[b] != UNWIRED)
        return false;
    g->wire[a] = (u8)b;
    g->wire[b] = (u8)a;
    return true;
}

/* A decimal number of two digits at most; UINT_MAX: there is none. */
static unsigned number(const char **text)
{
    unsigned value = 0, digits = 0;

    for (; **text >= '0' && **text <= '9' && digits < 3; ++*text, digits++)
        value = value * 10 + (unsigned)(**text - '0');
    return digits ? value : UINT32_MAX;
}

static int gpio_create(struct mmioshim_device *dev, const struct mmioshim_node *node, const char **why)
{
    struct gpio *g = dev->state;
    u32 length = 0;
    const u8 *cells = dev->host->property(node, "mmioshim,wire", &length);

    memset(g->wire, UNWIRED, sizeof(g->wire));
    for (; cells && length >= 8; cells += 8, length -= 8) {
        if (cells[0] | cells[1] | cells[2] | cells[4] | cells[5] | cells[6] || !connect(g, cells[3], cells[7]))
            break;
    }
    if (!cells || !length)
        return 0;
    *why = "mmioshim,wire is not pairs of pins (0 to 53), each named once";
    return -1;
}

static bool starts(const char **text, const char *word)
{
    size_t n = strlen(word);

    if (strncmp(*text, word, n) != 0)
        return false;
    *text += n;
    return true;
}

/* Does the specification begin with a kind of host end that has characters? */
static bool has_characters(const char *spec)
{
    static const char *const kinds[] = {"stdio", "pty", "file", "socket", "null"};

    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        const char *rest = spec;

        if (starts(&rest, kinds[i]) && (!*rest || *rest == ':' || *rest == ','))
            return true;
    }
    return false;
}

static int gpio_plug(struct mmioshim_device *dev, const char *text, const char **why)
{
    struct gpio *g = dev->state;
    struct fmt end = FMT_INIT(g->end);

    if (!text)
        return 0;
    *why = "not understood";
    if (!starts(&text, "pins"))
        return -1;
    while (starts(&text, ",wire=")) {
        unsigned a = number(&text), b = *text == '-' ? (text++, number(&text)) : UINT32_MAX;

        if (connect(g, a, b))
            continue;
        *why = "a wire is two pins, 0 to 53, that no other wire has";
        return -1;
    }
    if (!*text)
        return 0;
    if (*text != ':')
        return -1;
    fmt_str(&end, ++text);
    fmt_end(&end);
    *why = end.full ? "the host end's path is too long" : "its host ends are stdio, pty, file, socket and null";
    return !end.full && has_characters(text) ? 0 : -1;
}

static const char *gpio_end(const struct mmioshim_device *dev)
{
    return ((const struct gpio *)dev->state)->end;
}

/* Table 6-31, column "Pull": 0-8, 34-36 and 46-53 up; 9-27, 30-33 and 37-43 down. What is outside stays as it is. */
static void gpio_reset(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    struct gpio *g = dev->state;

    (void)kind;
    memset(g->fsel, 0, sizeof(g->fsel));
    memset(g->detect, 0, sizeof(g->detect));
    g->pud = 0;
    g->pudclk = g->latch = g->events = 0;
    g->pulled_up = 0x1ffull | 7ull << 34 | 0xffull << 46;
    g->pulled_down = 0x7ffffull << 9 | 0xfull << 30 | 0x7full << 37;
    g->level = gpio_levels(g);
    g->told_out = g->told_level = 0;
    g->lines = 0;
    for (unsigned line = 0; line < LINES; line++)
        dev->host->irq(dev, line, false);
}

static long gpio_save(struct mmioshim_device *dev, void *buf, size_t size)
{
    if (size >= sizeof(struct gpio))
        memcpy(buf, dev->state, sizeof(struct gpio));
    return sizeof(struct gpio);
}

static bool valid(const struct gpio *g)
{
    u64 pins = g->pudclk | g->latch | g->driven | g->value | g->pulled_up | g->pulled_down | g->level | g->events |
               g->told_out | g->told_level;

    for (unsigned i = 0; i < DETECTORS; i++)
        pins |= g->detect[i];
    for (unsigned i = 0; i < ARRAY_SIZE(g->fsel); i++)
        if (g->fsel[i] & ~(i == 5 ? 0xfffu : 0x3fffffffu))
            return false;
    return !(pins & ~ALL) && g->pud < 4 && g->number < 100 && g->digits <= 2 && g->equals <= 2 &&
           g->out_length <= OUT_BYTES && g->lines == gpio_lines(g);
}

/* What is outside is no part of a snapshot: with other wires it would be that of another machine. */
static int gpio_load(struct mmioshim_device *dev, u32 version, const void *buf, size_t size)
{
    const struct gpio *now = dev->state;
    struct gpio g;

    if (version != 1 || size != sizeof(g))
        return -1;
    memcpy(&g, buf, sizeof(g));
    if (!valid(&g) || memcmp(g.wire, now->wire, sizeof(g.wire)) || memcmp(g.end, now->end, sizeof(g.end)))
        return -1;
    memcpy(dev->state, &g, sizeof(g));
    for (unsigned line = 0; line < LINES; line++)
        dev->host->irq(dev, line, has(g.lines, line));
    gpio_await(dev);
    return 0;
}

/* ---- description ---- */

#define F(n) {"FSEL" #n, 3 * n, 3}
static const struct mmioshim_field fsel_fields[] = {F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7), F(8), F(9)};
#undef F

#define P(pin) {#pin, pin % 32, 1}
static const struct mmioshim_field low_pins[] = {
    P(0),  P(1),  P(2),  P(3),  P(4),  P(5),  P(6),  P(7),  P(8),  P(9),  P(10), P(11), P(12), P(13), P(14), P(15),
    P(16), P(17), P(18), P(19), P(20), P(21), P(22), P(23), P(24), P(25), P(26), P(27), P(28), P(29), P(30), P(31),
};
static const struct mmioshim_field high_pins[] = {
    P(32), P(33), P(34), P(35), P(36), P(37), P(38), P(39), P(40), P(41), P(42),
    P(43), P(44), P(45), P(46), P(47), P(48), P(49), P(50), P(51), P(52), P(53),
};
#undef P
static const struct mmioshim_field pud_fields[] = {{"PUD", 0, 2}};

#define PAIR(text, at, rw, marks, meaning) \
    {.name = text "0", .offset = at, .width = 4, .access = rw, .flags = marks, MMIOSHIM_FIELDS(low_pins), \
     .doc = meaning ", pins 0 to 31"}, \
    {.name = text "1", .offset = at + 4, .width = 4, .access = rw, .flags = marks, MMIOSHIM_FIELDS(high_pins), \
     .doc = meaning ", pins 32 to 53"}

static const struct mmioshim_register registers[] = {
    {.name = "GPFSEL", .offset = GPFSEL, .width = 4, .count = 6, .stride = 4, MMIOSHIM_FIELDS(fsel_fields),
     .doc = "functions of ten pins each: 0 input, 1 output, others alternate functions"},
    PAIR("GPSET", GPSET, MMIOSHIM_WO, 0, "ones set outputs"),
    PAIR("GPCLR", GPCLR, MMIOSHIM_WO, 0, "ones clear outputs"),
    PAIR("GPLEV", GPLEV, MMIOSHIM_RO, MMIOSHIM_REG_VOLATILE, "levels"),
    PAIR("GPEDS", GPEDS, MMIOSHIM_RW, MMIOSHIM_REG_VOLATILE, "events that were detected; ones clear"),
    PAIR("GPREN", GPREN, MMIOSHIM_RW, 0, "rising edges are events"),
    PAIR("GPFEN", GPFEN, MMIOSHIM_RW, 0, "falling edges are events"),
    PAIR("GPHEN", GPHEN, MMIOSHIM_RW, 0, "a high level is an event"),
    PAIR("GPLEN", GPLEN, MMIOSHIM_RW, 0, "a low level is an event"),
    PAIR("GPAREN", GPAREN, MMIOSHIM_RW, 0, "rising edges are events, however short"),
    PAIR("GPAFEN", GPAFEN, MMIOSHIM_RW, 0, "falling edges are events, however short"),
    {.name = "GPPUD", .offset = GPPUD, .width = 4, MMIOSHIM_FIELDS(pud_fields),
     .doc = "resistors for the pins that are clocked next: 0 off, 1 down, 2 up"},
    PAIR("GPPUDCLK", GPPUDCLK, MMIOSHIM_RW, 0, "ones clock GPPUD into pins"),
};

static const struct mmioshim_property properties[] = {
    {"mmioshim,wire", "pairs of pins that are wired together: <17 18>"},
    {NULL, NULL},
};

static const struct mmioshim_property parts[] = {
    {"pins[,wire=PIN-PIN]...[:stdio|pty[,link=PATH]|file:PATH[,append][,in=PATH]|socket:PATH[,server]|null]",
     "wires between pins; a host end that is told \"17=1\", 0 or z of outputs, and drives pins likewise"},
    {NULL, NULL},
};

static const char *const compatible[] = {"brcm,bcm2835-gpio", NULL};

const struct mmioshim_class class_bcm2835_gpio = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "bcm2835_gpio",
    .label = "GPIO",
    .description = "the 54 pins of a Raspberry Pi",
    .compatible = compatible,
    .properties = properties,
    .parts = parts,
    .min_size = REGISTERS_END,
    .widths = 4,
    .registers = registers,
    .nregisters = ARRAY_SIZE(registers),
    .lines = LINES,
    .version = 1,
    .state_size = sizeof(struct gpio),
    .create = gpio_create,
    .plug = gpio_plug,
    .end = gpio_end,
    .reset = gpio_reset,
    .read = gpio_read,
    .write = gpio_write,
    .service = gpio_service,
    .save = gpio_save,
    .load = gpio_load,
};
