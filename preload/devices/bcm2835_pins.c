/* The pins of bcm2835_gpio.c. */
#include "devices/bcm2835_pins.h"

#include "base/fmt.h"
#include "base/mem.h"

#include "base/trapsafe.h"

/* ---- levels ---- */

static unsigned function(const struct gpio *g, unsigned pin)
{
    return g->fsel[pin / 10] >> pin % 10 * 3 & 7;
}

/* Is it driven, by the program or from outside, and to which level? */
static bool drives(const struct gpio *g, unsigned pin, bool *level)
{
    bool out = function(g, pin) == FSEL_OUT;

    *level = has(out ? g->latch : g->value, pin);
    return out || has(g->driven, pin);
}

/* A pin that nobody drives has the level of its resistor, or of that at the other end of its wire; else low. */
static bool level_of(const struct gpio *g, unsigned pin)
{
    unsigned other = g->wire[pin];
    bool level;

    if (drives(g, pin, &level) || (other < PINS && drives(g, other, &level)))
        return level;
    if (has(g->pulled_up | g->pulled_down, pin) || other >= PINS)
        return has(g->pulled_up, pin);
    return has(g->pulled_up, other);
}

u64 gpio_levels(const struct gpio *g)
{
    u64 all = 0;

    for (unsigned pin = 0; pin < PINS; pin++)
        all |= (u64)level_of(g, pin) << pin;
    return all;
}

static u64 outputs(const struct gpio *g)
{
    u64 all = 0;

    for (unsigned pin = 0; pin < PINS; pin++)
        all |= (u64)(function(g, pin) == FSEL_OUT) << pin;
    return all;
}

/* ---- events and interrupts ---- */

/* Interrupts of pins 0 to 27, 28 to 45, 46 to 53, and of all. */
u8 gpio_lines(const struct gpio *g)
{
    static const u64 banks[LINES] = {0xfffffff, 0x3ffffull << 28, 0xffull << 46, ALL};
    u8 lines = 0;

    for (unsigned line = 0; line < LINES; line++)
        lines |= (u8)((g->events & banks[line] ? 1u : 0u) << line);
    return lines;
}

static void update_lines(struct mmioshim_device *dev)
{
    struct gpio *g = dev->state;
    u8 lines = gpio_lines(g), changed = lines ^ g->lines;

    g->lines = lines;
    for (unsigned line = 0; line < LINES; line++)
        if (has(changed, line))
            dev->host->irq(dev, line, has(lines, line));
}

/* Edges since the last look, and levels that stay for as long as they are. */
void gpio_look(struct mmioshim_device *dev)
{
    struct gpio *g = dev->state;
    u64 now = gpio_levels(g), rose = now & ~g->level, fell = ~now & g->level;

    g->level = now;
    g->events |= rose & (g->detect[RISING] | g->detect[ASYNC_RISING]);
    g->events |= fell & (g->detect[FALLING] | g->detect[ASYNC_FALLING]);
    g->events |= (now & g->detect[HIGH]) | (~now & ALL & g->detect[LOW]);
    update_lines(dev);
}

/* ---- the host end ---- */

/* What it takes now. True: all of it. */
bool gpio_flush(struct mmioshim_device *dev)
{
    struct gpio *g = dev->state;
    u16 done = 0;

    while (done < g->out_length && dev->host->char_send(dev, 0, (u8)g->out[done]))
        done++;
    g->out_length -= done;
    memmove(g->out, g->out + done, g->out_length);
    return g->out_length == 0;
}

static void tell_pin(struct gpio *g, unsigned pin, char state)
{
    char text[8];
    struct fmt line = FMT_INIT(text);

    fmt_printf(&line, "%u=%c\n", pin, state);
    if (line.len > OUT_BYTES - g->out_length)
        return;
    memcpy(g->out + g->out_length, text, line.len);
    g->out_length += (u16)line.len;
}

/* What the program has changed of the pins that it drives. */
void gpio_tell(struct mmioshim_device *dev)
{
    struct gpio *g = dev->state;
    u64 out = outputs(g), changed = (out ^ g->told_out) | (out & (g->latch ^ g->told_level));

    g->told_out = out;
    g->told_level = g->latch;
    if (!g->end[0])
        return;
    for (unsigned pin = 0; pin < PINS; pin++)
        if (has(changed, pin))
            tell_pin(g, pin, !has(out, pin) ? 'z' : has(g->latch, pin) ? '1' : '0');
    gpio_flush(dev);
}

/* A line is at its end: if it says something of a pin, it is done. */
static void obey(struct gpio *g)
{
    u64 bit = (u64)1 << (g->number & 63);

    if (g->equals == 1 && g->digits >= 1 && g->digits <= 2 && g->number < PINS && g->letter) {
        g->driven = g->letter == 'z' ? g->driven & ~bit : g->driven | bit;
        g->value = g->letter == '1' ? g->value | bit : g->value & ~bit;
    }
    g->number = g->digits = g->equals = g->letter = 0;
}

static void take(struct gpio *g, u8 byte)
{
    if (byte == '\n' || byte == ' ' || byte == ';') {
        obey(g);
    } else if (byte == '=' && g->equals == 0) {
        g->equals = 1;
    } else if (byte >= '0' && byte <= '9' && !g->equals && g->digits < 2) {
        g->number = (u8)(g->number * 10 + byte - '0');
        g->digits++;
    } else if ((byte == '0' || byte == '1' || byte == 'z') && g->equals == 1 && !g->letter) {
        g->letter = byte;
    } else if (byte != '\r') {
        g->equals = 2; /* nonsense until the end of the line */
    }
}

/* Lines that have come. Each is seen by itself: a pulse is two edges. */
void gpio_listen(struct mmioshim_device *dev)
{
    struct gpio *g = dev->state;
    int byte;

    if (!g->end[0])
        return;
    for (unsigned n = 0; n < 65536 && dev->host->char_pending(dev, 0); n++) {
        byte = dev->host->char_receive(dev, 0);
        if (byte < 0)
            break;
        take(g, (u8)byte);
        if (g->equals == 0 && g->digits == 0)
            gpio_look(dev);
    }
}

/* Somebody waits for events, and has seen those that there were: what comes meanwhile is the worker's. */
void gpio_await(struct mmioshim_device *dev)
{
    const struct gpio *g = dev->state;
    u64 any = 0;

    for (unsigned i = 0; i < DETECTORS; i++)
        any |= g->detect[i];
    if (any && !g->events && g->end[0])
        dev->host->wake_on_input(dev);
}
