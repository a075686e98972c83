/*
 * ns16550a: the UART of most boards and of QEMU's RISC-V "virt" machine. Here is
 * how it sits on the bus and what is said of it; the chip is in
 * ns16550a_chip.c. Node properties: Devicetree binding "8250".
 */
#include "base/mem.h"
#include "devices/ns16550a_chip.h"

#include "base/trapsafe.h"

/* ---- bus ---- */

enum { NOTHING = -1, UPPER_BYTES = -2, TOO_WIDE = -3 };

/* Which register an access reaches, or NOTHING, UPPER_BYTES of a wide register, or TOO_WIDE. */
static int locate(const struct wiring *wiring, u64 offset, unsigned width)
{
    u64 span = (u64)REGISTERS << wiring->shift;
    u64 inside = offset - wiring->first;
    u64 lane = inside & (((u64)1 << wiring->shift) - 1);

    if (inside >= span) /* before or behind them all; an access may still reach in from before */
        return width > 1 && wiring->first - offset < width ? TOO_WIDE : NOTHING;
    if (width > wiring->io_width || (width > 1 && lane % width))
        return TOO_WIDE;
    if (lane == 0)
        return (int)(inside >> wiring->shift);
    if (lane < wiring->io_width)
        return UPPER_BYTES;
    return width > 1 ? TOO_WIDE : NOTHING;
}

static enum mmioshim_status status_of(int place)
{
    return place == NOTHING ? MMIOSHIM_NO_REGISTER : place == TOO_WIDE ? MMIOSHIM_BAD_WIDTH : MMIOSHIM_OK;
}

static enum mmioshim_status uart_read(struct mmioshim_device *dev, u64 offset, unsigned width, u64 *value)
{
    const struct uart *uart = dev->state;
    int place = locate(&uart->wiring, offset, width);

    *value = 0;
    if (place < 0)
        return status_of(place);
    *value = ns16550a_read(dev, (unsigned)place);
    ns16550a_update_line(dev);
    return MMIOSHIM_OK;
}

static enum mmioshim_status uart_write(struct mmioshim_device *dev, u64 offset, unsigned width, u64 value)
{
    const struct uart *uart = dev->state;
    int place = locate(&uart->wiring, offset, width);
    enum mmioshim_status status;

    if (place < 0)
        return status_of(place);
    status = ns16550a_write(dev, (unsigned)place, (u8)value);
    if (status == MMIOSHIM_OK)
        ns16550a_update_line(dev);
    return status;
}

static u64 uart_register_offset(const struct mmioshim_device *dev, u64 offset)
{
    const struct uart *uart = dev->state;
    int place = locate(&uart->wiring, offset, 1);

    return place >= 0 ? (u64)place : UINT64_MAX;
}

/* ---- life ---- */

static bool has_compatible(struct mmioshim_device *dev, const struct mmioshim_node *node, const char *wanted)
{
    u32 length = 0;
    const char *list = dev->host->property(node, "compatible", &length);
    size_t size = strlen(wanted) + 1;

    for (u32 i = 0; list && i < length; i++)
        if ((i == 0 || list[i - 1] == 0) && length - i >= size && strncmp(list + i, wanted, size) == 0)
            return true;
    return false;
}

/* An 8250 or 16450 has no FIFOs. "ns16550" is in practice said of the 16550A. */
static u32 default_fifo(struct mmioshim_device *dev, const struct mmioshim_node *node)
{
    bool old = has_compatible(dev, node, "ns16450") || has_compatible(dev, node, "ns8250");
    bool new = has_compatible(dev, node, "ns16550a") || has_compatible(dev, node, "ns16550");

    return old && !new ? 0 : FIFO_16550A;
}

/* The divisor that gives current-speed from clock-frequency, as firmware leaves it behind. */
static u16 initial_divisor(struct mmioshim_device *dev, const struct mmioshim_node *node)
{
    u32 clock = 0, speed = 0;
    u64 divisor;

    if (!dev->host->property_u32(node, "clock-frequency", &clock) ||
        !dev->host->property_u32(node, "current-speed", &speed) || !speed)
        return DIVISOR_DEFAULT;
    divisor = (clock + 8 * (u64)speed) / (16 * (u64)speed);
    return (u16)MIN(MAX(divisor, 1), UINT16_MAX);
}

static const char *check_wiring(struct mmioshim_device *dev, u32 shift, u32 io_width, u32 first, u32 fifo)
{
    if (shift > 28)
        return "reg-shift is larger than 28";
    if (io_width != 1 && io_width != 2 && io_width != 4)
        return "reg-io-width is not 1, 2 or 4";
    if (first >= dev->size || ((u64)SCR << shift) >= dev->size - first)
        return "reg is too small for eight registers with this reg-shift and reg-offset";
    if (fifo > FIFO_MAX)
        return "fifo-size is larger than 256";
    return NULL;
}

static int uart_create(struct mmioshim_device *dev, const struct mmioshim_node *node, const char **why)
{
    const struct mmioshim_host *host = dev->host;
    struct wiring *wiring = &((struct uart *)dev->state)->wiring;
    u32 shift = 0, io_width = 1, first = 0, fifo = default_fifo(dev, node);

    host->property_u32(node, "reg-shift", &shift);
    host->property_u32(node, "reg-io-width", &io_width);
    host->property_u32(node, "reg-offset", &first);
    host->property_u32(node, "fifo-size", &fifo);
    *why = check_wiring(dev, shift, io_width, first, fifo);
    if (*why)
        return -1;
    wiring->first = first;
    wiring->shift = (u8)shift;
    wiring->io_width = (u8)MIN(io_width, 1u << shift); /* no register is wider than they lie apart */
    wiring->fifo = fifo > 1 ? (u16)fifo : 0;
    wiring->divisor = initial_divisor(dev, node);
    return 0;
}

/* ---- description ---- */

static const struct mmioshim_field ier_fields[] = {{"ERBFI", 0, 1}, {"ETBEI", 1, 1}, {"ELSI", 2, 1}, {"EDSSI", 3, 1}};
static const struct mmioshim_field iir_fields[] = {{"NONE", 0, 1}, {"ID", 1, 3}, {"FIFOS", 6, 2}};
static const struct mmioshim_field fcr_fields[] = {
    {"ENABLE", 0, 1}, {"CLRX", 1, 1}, {"CLTX", 2, 1}, {"DMA", 3, 1}, {"TRIGGER", 6, 2},
};
static const struct mmioshim_field lcr_fields[] = {
    {"WLS", 0, 2}, {"STB", 2, 1}, {"PEN", 3, 1}, {"EPS", 4, 1}, {"STICK", 5, 1}, {"BREAK", 6, 1}, {"DLAB", 7, 1},
};
static const struct mmioshim_field mcr_fields[] = {
    {"DTR", 0, 1}, {"RTS", 1, 1}, {"OUT1", 2, 1}, {"OUT2", 3, 1}, {"LOOP", 4, 1},
};
static const struct mmioshim_field lsr_fields[] = {
    {"DR", 0, 1}, {"OE", 1, 1},   {"PE", 2, 1},   {"FE", 3, 1},
    {"BI", 4, 1}, {"THRE", 5, 1}, {"TEMT", 6, 1}, {"FIFOERR", 7, 1},
};
static const struct mmioshim_field msr_fields[] = {
    {"DCTS", 0, 1}, {"DDSR", 1, 1}, {"TERI", 2, 1}, {"DDCD", 3, 1},
    {"CTS", 4, 1},  {"DSR", 5, 1},  {"RI", 6, 1},   {"DCD", 7, 1},
};

static const struct mmioshim_register registers[] = {
    {.name = "RBR", .offset = RBR, .width = 1, .access = MMIOSHIM_RO, .view = VIEW_NORMAL,
     .flags = MMIOSHIM_REG_DATA | MMIOSHIM_REG_VOLATILE, .doc = "receiver buffer: reading takes a character"},
    {.name = "THR", .offset = THR, .width = 1, .access = MMIOSHIM_WO, .view = VIEW_NORMAL, .flags = MMIOSHIM_REG_DATA,
     .doc = "transmitter holding register: writing sends a character"},
    {.name = "DLL", .offset = DLL, .width = 1, .view = VIEW_DIVISOR, .flags = MMIOSHIM_REG_PLAIN,
     .doc = "divisor latch, low byte: clock / (16 * baud rate); with LCR.DLAB"},
    {.name = "IER", .offset = IER, .width = 1, .view = VIEW_NORMAL, MMIOSHIM_FIELDS(ier_fields),
     .doc = "interrupt enables: received data, THR empty, line status, modem status"},
    {.name = "DLM", .offset = DLM, .width = 1, .view = VIEW_DIVISOR, .flags = MMIOSHIM_REG_PLAIN,
     .doc = "divisor latch, high byte; with LCR.DLAB"},
    {.name = "IIR", .offset = IIR, .width = 1, .access = MMIOSHIM_RO, .flags = MMIOSHIM_REG_VOLATILE,
     MMIOSHIM_FIELDS(iir_fields),
     .doc = "pending interrupt of the highest priority: ID 3 line, 2 data, 6 timeout, 1 THR empty, 0 modem"},
    {.name = "FCR", .offset = FCR, .width = 1, .access = MMIOSHIM_WO, MMIOSHIM_FIELDS(fcr_fields),
     .doc = "FIFO control: TRIGGER 0 to 3 is 1, 4, 8 or 14 characters"},
    {.name = "LCR", .offset = LCR, .width = 1, MMIOSHIM_FIELDS(lcr_fields),
     .doc = "line control: word length, stop bits, parity, break, divisor latch access"},
    {.name = "MCR", .offset = MCR, .width = 1, MMIOSHIM_FIELDS(mcr_fields), .doc = "modem control outputs, loopback"},
    {.name = "LSR", .offset = LSR, .width = 1, .access = MMIOSHIM_RO, .flags = MMIOSHIM_REG_VOLATILE,
     MMIOSHIM_FIELDS(lsr_fields), .doc = "line status: reading clears the error bits"},
    {.name = "MSR", .offset = MSR, .width = 1, .access = MMIOSHIM_RO, .flags = MMIOSHIM_REG_VOLATILE,
     MMIOSHIM_FIELDS(msr_fields), .doc = "modem status: reading clears the delta bits"},
    {.name = "SCR", .offset = SCR, .width = 1, .flags = MMIOSHIM_REG_PLAIN, .doc = "scratch: no effect"},
};

static const struct mmioshim_property properties[] = {
    {"reg-shift", "registers lie 1 << N bytes apart (default 0)"},
    {"reg-io-width", "bytes of one register access: 1, 2 or 4 (default 1)"},
    {"reg-offset", "bytes before the first register (default 0)"},
    {"fifo-size", "characters in the receiver FIFO, up to 256 (default 16; none for ns16450 and ns8250)"},
    {"clock-frequency", "Hz; with current-speed: the divisor that firmware left"},
    {"current-speed", "baud rate that firmware left"},
    {NULL, NULL},
};

static const char *const compatible[] = {"ns16550a", "ns16550", "ns16450", "ns8250", NULL};
static const char *const backends[] = {"stdio", "pty", "file", "socket", "null", NULL};

const struct mmioshim_class class_ns16550a = {
    .api = MMIOSHIM_DEVICE_API,
    .name = "ns16550a",
    .label = "UART",
    .description = "16550A UART with 16-byte FIFOs",
    .compatible = compatible,
    .properties = properties,
    .backends = backends,
    .min_size = REGISTERS,
    .widths = 1 | 2 | 4, /* those wider than reg-io-width answer BAD_WIDTH and are split */
    .split = true,
    .registers = registers,
    .nregisters = ARRAY_SIZE(registers),
    .lines = 1,
    .version = 1,
    .state_size = sizeof(struct uart),
    .create = uart_create,
    .reset = ns16550a_reset,
    .read = uart_read,
    .write = uart_write,
    .view = ns16550a_view,
    .register_offset = uart_register_offset,
    .service = ns16550a_update_line,
    .save = ns16550a_save,
    .load = ns16550a_load,
};
