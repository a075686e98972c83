/*
 * The chip of ns16550a.c: its eight registers and what they do, without the
 * bus. Contexts are those of the device's callbacks.
 */
#ifndef MMIOSHIM_DEVICES_NS16550A_CHIP_H
#define MMIOSHIM_DEVICES_NS16550A_CHIP_H

#include "base/types.h"
#include "mmioshim/device.h"

enum { RBR = 0, THR = 0, DLL = 0, IER = 1, DLM = 1, IIR = 2, FCR = 2, LCR, MCR, LSR, MSR, SCR, REGISTERS };

enum { FIFO_MAX = 256, FIFO_16550A = 16 };
enum { DIVISOR_DEFAULT = 12 }; /* 9600 baud at the usual 1.8432 MHz; the data sheet leaves it open */
enum { VIEW_NORMAL = 1, VIEW_DIVISOR = 2 };

/* From the node, set by create(). */
struct wiring {
    u32 first;     /* reg-offset: bytes before register 0 */
    u8 shift;      /* reg-shift: registers lie 1 << shift bytes apart */
    u8 io_width;   /* reg-io-width: bytes of one register access */
    u16 fifo;      /* characters; 0: a 16450 or 8250 */
    u16 divisor;   /* of the speed that firmware would have left */
    u16 reserved;
};

/* What the registers and the FIFO hold; all of it is saved. No padding. */
struct contents {
    u16 divisor; /* DLM:DLL */
    u8 ier, fcr, lcr, mcr, scr;
    u8 rbr;     /* the last character received */
    u8 lines;   /* MSR bits 4 to 7 */
    u8 deltas;  /* MSR bits 0 to 3 */
    u8 errors;  /* LSR bits 1 to 4 that were not read yet */
    u8 emptied; /* THRE interrupt: "reset by reading IIR (if source of interrupt) or writing THR" */
    u8 line;    /* level last given to the host */
    u8 head;
    u16 count;
    u8 data[FIFO_MAX]; /* a ring; head wraps by its type */
    u8 error[FIFO_MAX]; /* LSR bits that belong to the character */
};

_Static_assert(sizeof(struct contents) == 16 + 2 * FIFO_MAX, "a saved state has no undefined bytes");

struct uart {
    struct wiring wiring;
    struct contents now;
};

/* Register 0 to 7, by DLAB. The write of a character may answer MMIOSHIM_WAIT: then nothing has happened. */
u8 ns16550a_read(struct mmioshim_device *dev, unsigned reg);
enum mmioshim_status ns16550a_write(struct mmioshim_device *dev, unsigned reg, u8 value);
/* Tells the host when the interrupt line has changed. */
void ns16550a_update_line(struct mmioshim_device *dev);
/* VIEW_NORMAL or VIEW_DIVISOR. */
unsigned ns16550a_view(const struct mmioshim_device *dev);
void ns16550a_reset(struct mmioshim_device *dev, enum mmioshim_reset kind);
/* As the class's save and load. */
long ns16550a_save(struct mmioshim_device *dev, void *buf, size_t size);
int ns16550a_load(struct mmioshim_device *dev, u32 version, const void *buf, size_t size);

#endif
