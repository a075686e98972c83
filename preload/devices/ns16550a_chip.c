/*
 * The 16550A UART, and its predecessors without FIFOs. Sources: data
 * sheets PC16550D (National Semiconductor) and TL16C550C (Texas Instruments);
 * section names and quotations below are theirs.
 *
 * What a host end cannot have, and what follows:
 *  - A character takes no time. Once the host end has taken it the transmitter
 *    is empty, so THRE and TEMT are always set; when the host end is not ready
 *    the write waits. The character timeout has passed as soon as a received
 *    character waits below the trigger level.
 *  - Received characters stay in the host end until RBR is read: the receiver
 *    FIFO holds only what came round by loopback.
 *  - Bytes go through whole: word length, parity and speed are stored only.
 *  - The other side is a null modem with its terminal on: CTS, DSR, DCD set.
 */
#include "devices/ns16550a_chip.h"

#include "base/mem.h"

#include "base/trapsafe.h"

enum { IER_RECEIVED = 0x01, IER_THRE = 0x02, IER_LINE = 0x04, IER_MODEM = 0x08, IER_MASK = 0x0f };
/* "Interrupt Control Functions", by priority */
enum { IIR_LINE = 0x06, IIR_RECEIVED = 0x04, IIR_TIMEOUT = 0x0c, IIR_THRE = 0x02, IIR_MODEM = 0x00, IIR_NONE = 0x01 };
enum { IIR_FIFOS = 0xc0 };
enum { FCR_ENABLE = 0x01, FCR_CLEAR_RECEIVER = 0x02, FCR_KEPT = 0xc9 };
enum { LCR_BREAK = 0x40, LCR_DLAB = 0x80 };
enum { MCR_DTR = 0x01, MCR_RTS = 0x02, MCR_OUT1 = 0x04, MCR_OUT2 = 0x08, MCR_LOOP = 0x10, MCR_MASK = 0x1f };
enum { LSR_DR = 0x01, LSR_OE = 0x02, LSR_BI = 0x10, LSR_ERRORS = 0x1e, LSR_THRE_TEMT = 0x60, LSR_FIFO_ERROR = 0x80 };
enum { MSR_DCTS = 0x01, MSR_DDSR = 0x02, MSR_TERI = 0x04, MSR_DDCD = 0x08, MSR_DELTAS = 0x0f };
enum { MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };

static bool fifos_on(const struct uart *uart)
{
    return uart->now.fcr & FCR_ENABLE;
}

static bool looped(const struct uart *uart)
{
    return uart->now.mcr & MCR_LOOP;
}

/* ---- receiver ---- */

/* An error "is revealed to the CPU when its associated character is at the top of the FIFO". */
static void reveal(struct contents *now)
{
    if (now->count) {
        now->errors |= now->error[now->head];
        now->error[now->head] = 0;
    }
}

/*
 * A full FIFO keeps what it has and loses the new character; without FIFOs
 * the new one overwrites the receiver buffer. OE is indicated at once.
 */
static void receive(struct uart *uart, u8 byte, u8 error)
{
    struct contents *now = &uart->now;
    u16 room = fifos_on(uart) ? uart->wiring.fifo : 1;
    u8 slot;

    if (now->count >= room) {
        now->errors |= LSR_OE;
        if (fifos_on(uart))
            return;
        now->count = 0;
    }
    slot = (u8)(now->head + now->count);
    now->data[slot] = byte;
    now->error[slot] = error;
    if (now->count++ == 0)
        reveal(now);
}

static void clear_receiver(struct contents *now)
{
    now->count = 0;
    now->head = 0;
}

static u8 read_rbr(struct mmioshim_device *dev)
{
    struct uart *uart = dev->state;
    struct contents *now = &uart->now;
    int byte = -1;

    if (now->count) {
        byte = now->data[now->head++];
        now->count--;
        reveal(now);
    } else if (!looped(uart)) {
        byte = dev->host->char_receive(dev, 0);
    }
    if (byte >= 0)
        now->rbr = (u8)byte;
    else if (fifos_on(uart))
        now->rbr = 0;
    return now->rbr;
}

/* In loopback "the serial input is disconnected". */
static bool host_pending(struct mmioshim_device *dev)
{
    return !looped(dev->state) && dev->host->char_pending(dev, 0);
}

static unsigned trigger_level(const struct uart *uart)
{
    static const u8 levels[] = {1, 4, 8, 14};

    return MIN(levels[uart->now.fcr >> 6], MAX(uart->wiring.fifo, 1));
}

/* ---- interrupts ---- */

/* What waits in the host end has been received as far as the FIFO has room for it. */
static u8 received_cause(struct mmioshim_device *dev)
{
    const struct uart *uart = dev->state;
    unsigned level = uart->now.count;

    if (!looped(uart))
        level += dev->host->char_waiting(dev, 0);
    if (level == 0)
        return IIR_NONE;
    return !fifos_on(uart) || level >= trigger_level(uart) ? IIR_RECEIVED : IIR_TIMEOUT;
}

/* The pending interrupt of the highest priority, IIR bits 0 to 3. */
static u8 pending_cause(struct mmioshim_device *dev)
{
    const struct contents *now = &((const struct uart *)dev->state)->now;

    if ((now->ier & IER_LINE) && now->errors)
        return IIR_LINE;
    if (now->ier & IER_RECEIVED) {
        u8 cause = received_cause(dev);

        if (cause != IIR_NONE)
            return cause;
    }
    if ((now->ier & IER_THRE) && now->emptied)
        return IIR_THRE;
    if ((now->ier & IER_MODEM) && now->deltas)
        return IIR_MODEM;
    return IIR_NONE;
}

/* The line follows the causes alone: boards with this node do not gate it with OUT2 as the PC does. */
void ns16550a_update_line(struct mmioshim_device *dev)
{
    struct contents *now = &((struct uart *)dev->state)->now;
    u8 cause = now->ier ? pending_cause(dev) : IIR_NONE;
    u8 level = cause != IIR_NONE;

    if (level != now->line) {
        now->line = level;
        dev->host->irq(dev, 0, level);
    }
    /* Nothing has been received, or that would be the cause. */
    if ((now->ier & IER_RECEIVED) && !looped(dev->state) && cause != IIR_LINE && cause != IIR_RECEIVED && cause != IIR_TIMEOUT)
        dev->host->wake_on_input(dev);
}

static u8 read_iir(struct mmioshim_device *dev)
{
    struct uart *uart = dev->state;
    u8 cause = pending_cause(dev);

    if (cause == IIR_THRE)
        uart->now.emptied = 0;
    return cause | (fifos_on(uart) ? IIR_FIFOS : 0);
}

/* ---- line and modem status ---- */

static u8 read_lsr(struct mmioshim_device *dev)
{
    struct uart *uart = dev->state;
    struct contents *now = &uart->now;
    u8 value = LSR_THRE_TEMT | now->errors;
    u8 waiting = now->errors & ~LSR_OE;

    if (now->count || host_pending(dev))
        value |= LSR_DR;
    for (u16 i = 0; i < now->count; i++)
        waiting |= now->error[(u8)(now->head + i)];
    if (fifos_on(uart) && waiting)
        value |= LSR_FIFO_ERROR;
    now->errors = 0;
    return value;
}

static u8 read_msr(struct contents *now)
{
    u8 value = now->lines | now->deltas;

    now->deltas = 0;
    return value;
}

/* "The four modem control outputs are internally connected to the four modem control inputs." */
static u8 input_lines(u8 mcr)
{
    u8 lines = 0;

    if (!(mcr & MCR_LOOP))
        return MSR_CTS | MSR_DSR | MSR_DCD;
    if (mcr & MCR_RTS)
        lines |= MSR_CTS;
    if (mcr & MCR_DTR)
        lines |= MSR_DSR;
    if (mcr & MCR_OUT1)
        lines |= MSR_RI;
    if (mcr & MCR_OUT2)
        lines |= MSR_DCD;
    return lines;
}

/* TERI is a trailing edge: RI counts only when it goes away. */
static void update_lines(struct contents *now)
{
    u8 lines = input_lines(now->mcr);
    u8 changed = lines ^ now->lines;

    now->deltas |= changed >> 4 & (MSR_DCTS | MSR_DDSR | MSR_DDCD);
    if (changed & now->lines & MSR_RI)
        now->deltas |= MSR_TERI;
    now->lines = lines;
}

/* ---- transmitter ---- */

/* A break spaces the line: characters sent meanwhile reach nobody. */
static enum mmioshim_status write_thr(struct mmioshim_device *dev, u8 byte)
{
    struct uart *uart = dev->state;

    if (!(uart->now.lcr & LCR_BREAK)) {
        if (looped(uart))
            receive(uart, byte, 0);
        else if (!dev->host->char_send(dev, 0, byte))
            return MMIOSHIM_WAIT;
    }
    uart->now.emptied = 1;
    return MMIOSHIM_OK;
}

/* "When break occurs, only one zero character is loaded into the FIFO." It arrives where the line is looped. */
static void write_control(struct uart *uart, u8 lcr, u8 mcr)
{
    struct contents *now = &uart->now;
    bool broken = looped(uart) && (now->lcr & LCR_BREAK);

    now->lcr = lcr;
    now->mcr = mcr;
    update_lines(now);
    if (!broken && looped(uart) && (now->lcr & LCR_BREAK))
        receive(uart, 0, LSR_BI);
}

/* Enabling THRE while the register is empty interrupts at once. */
static void write_ier(struct contents *now, u8 value)
{
    if (value & ~now->ier & IER_THRE)
        now->emptied = 1;
    now->ier = value & IER_MASK;
}

/*
 * FCR0 "must be a 1 when other FCR bits are written to or they will not be
 * programmed". Changing it clears the FIFOs.
 */
static enum mmioshim_status write_fcr(struct uart *uart, u8 value)
{
    struct contents *now = &uart->now;

    if (!uart->wiring.fifo)
        return MMIOSHIM_READ_ONLY;
    if (!(value & FCR_ENABLE))
        value = 0;
    if (((value ^ now->fcr) & FCR_ENABLE) || (value & FCR_CLEAR_RECEIVER))
        clear_receiver(now);
    now->fcr = value & FCR_KEPT;
    return MMIOSHIM_OK;
}

/* ---- registers ---- */

u8 ns16550a_read(struct mmioshim_device *dev, unsigned reg)
{
    struct uart *uart = dev->state;
    struct contents *now = &uart->now;
    bool dlab = now->lcr & LCR_DLAB;

    switch (reg) {
    case RBR:
        return dlab ? (u8)now->divisor : read_rbr(dev);
    case IER:
        return dlab ? (u8)(now->divisor >> 8) : now->ier;
    case IIR:
        return read_iir(dev);
    case LCR:
        return now->lcr;
    case MCR:
        return now->mcr;
    case LSR:
        return read_lsr(dev);
    case MSR:
        return read_msr(now);
    default:
        return now->scr;
    }
}

enum mmioshim_status ns16550a_write(struct mmioshim_device *dev, unsigned reg, u8 value)
{
    struct uart *uart = dev->state;
    struct contents *now = &uart->now;
    bool dlab = now->lcr & LCR_DLAB;

    switch (reg) {
    case THR:
        if (!dlab)
            return write_thr(dev, value);
        now->divisor = (u16)((now->divisor & 0xff00) | value);
        return MMIOSHIM_OK;
    case IER:
        if (dlab)
            now->divisor = (u16)((now->divisor & 0x00ff) | value << 8);
        else
            write_ier(now, value);
        return MMIOSHIM_OK;
    case FCR:
        return write_fcr(uart, value);
    case LCR:
        write_control(uart, value, now->mcr);
        return MMIOSHIM_OK;
    case MCR:
        write_control(uart, now->lcr, value & MCR_MASK);
        return MMIOSHIM_OK;
    case SCR:
        now->scr = value;
        return MMIOSHIM_OK;
    default: /* LSR "is intended for read operations only", and MSR shows lines */
        return MMIOSHIM_READ_ONLY;
    }
}

/* ---- state ---- */

unsigned ns16550a_view(const struct mmioshim_device *dev)
{
    const struct uart *uart = dev->state;

    return uart->now.lcr & LCR_DLAB ? VIEW_DIVISOR : VIEW_NORMAL;
}

/* "Reset Configuration": SCR, the divisor latch and RBR have no reset input, they keep what they hold. */
void ns16550a_reset(struct mmioshim_device *dev, enum mmioshim_reset kind)
{
    struct uart *uart = dev->state;
    struct contents fresh = {.divisor = uart->wiring.divisor};

    if (kind == MMIOSHIM_RESET_WARM) {
        fresh.divisor = uart->now.divisor;
        fresh.scr = uart->now.scr;
        fresh.rbr = uart->now.rbr;
    }
    fresh.lines = input_lines(0);
    uart->now = fresh;
    dev->host->irq(dev, 0, false);
}

long ns16550a_save(struct mmioshim_device *dev, void *buf, size_t size)
{
    const struct uart *uart = dev->state;

    if (size >= sizeof(uart->now))
        memcpy(buf, &uart->now, sizeof(uart->now));
    return sizeof(uart->now);
}

/* Could the chip, wired like this, hold these contents? */
static bool possible(const struct wiring *wiring, const struct contents *now)
{
    u16 room = now->fcr & FCR_ENABLE ? wiring->fifo : 1;

    if ((now->ier & ~IER_MASK) || (now->fcr & ~FCR_KEPT) || (now->mcr & ~MCR_MASK) || (now->deltas & ~MSR_DELTAS) ||
        (now->errors & ~LSR_ERRORS) || now->emptied > 1 || now->line > 1)
        return false;
    if (now->fcr && (!(now->fcr & FCR_ENABLE) || !wiring->fifo))
        return false;
    if (now->count > room || now->lines != input_lines(now->mcr))
        return false;
    for (unsigned i = 0; i < FIFO_MAX; i++)
        if (now->error[i] & ~(LSR_ERRORS & ~LSR_OE))
            return false;
    return true;
}

int ns16550a_load(struct mmioshim_device *dev, u32 version, const void *buf, size_t size)
{
    struct uart *uart = dev->state;
    struct contents loaded;

    if (version != 1 || size != sizeof(loaded))
        return -1;
    memcpy(&loaded, buf, sizeof(loaded));
    if (!possible(&uart->wiring, &loaded))
        return -1;
    uart->now = loaded;
    dev->host->irq(dev, 0, loaded.line);
    ns16550a_update_line(dev); /* the host end may have other things to say by now */
    return 0;
}
