/*
 * The pins of bcm2835_gpio.c: their levels, events, and what is outside, without the registers. Contexts are those of the
 * device's callbacks.
 */
#ifndef MMIOSHIM_DEVICES_BCM2835_PINS_H
#define MMIOSHIM_DEVICES_BCM2835_PINS_H

#include "base/types.h"
#include "mmioshim/device.h"

#define PINS      54u
#define ALL       (((u64)1 << PINS) - 1)
#define UNWIRED   0xff
#define END_BYTES 256u
#define OUT_BYTES 512u /* lines that the host end has not taken: all pins at once, "53=z" each, are 270 bytes */

enum { FSEL_IN, FSEL_OUT }; /* table 6-2 */
enum { RISING, FALLING, HIGH, LOW, ASYNC_RISING, ASYNC_FALLING, DETECTORS };
enum { LINES = 4 }; /* of three banks, and of all pins */

struct gpio {
    u32 fsel[6];
    u32 pud;
    u64 pudclk;
    u64 latch;                  /* what GPSET and GPCLR have made */
    u64 driven, value;          /* pins that the host end drives, and how */
    u64 pulled_up, pulled_down;
    u64 level;                  /* as last seen */
    u64 events;                 /* GPEDS */
    u64 detect[DETECTORS];
    u64 told_out, told_level;   /* what the host end was told: driven pins, and their levels */
    u8 lines;                   /* levels last given to the host */
    u8 number, digits, equals;  /* of the line that is being read; equals 2: it is nonsense */
    u8 letter;                  /* behind its equals sign, 0: none yet */
    u8 reserved;
    u16 out_length;
    u8 wire[PINS];              /* to which pin, or UNWIRED */
    char out[OUT_BYTES];
    char end[END_BYTES];        /* specification of the host end, "" for none */
};

static inline bool has(u64 pins, unsigned pin)
{
    return pins >> pin & 1;
}

/* Levels of all pins as they are. */
u64 gpio_levels(const struct gpio *g);
/* Levels of the interrupt lines, by bits. */
u8 gpio_lines(const struct gpio *g);
/* Something has changed: what of it is an event, and the interrupts. */
void gpio_look(struct mmioshim_device *dev);
/* Gives the host end what it takes now. True: all of it. */
bool gpio_flush(struct mmioshim_device *dev);
/* Tells the host end what the program has changed of the pins that it drives; not behind a gpio_flush() that was false. */
void gpio_tell(struct mmioshim_device *dev);
/* Does what the host end says. */
void gpio_listen(struct mmioshim_device *dev);
/* Asks for service() when the host end says something, if somebody waits for events and has seen those that there were. */
void gpio_await(struct mmioshim_device *dev);

#endif
