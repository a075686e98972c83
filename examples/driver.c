/*
 * A board's bring-up code, as it would run on the board: it prints through the
 * UART, looks for virtio devices behind their register windows, and tests a
 * buffer in RAM. Addresses are those of QEMU's RISC-V machine `virt`.
 */
#include <stdint.h>

#define UART_BASE   0x10000000u
#define VIRTIO_BASE 0x10001000u
#define VIRTIO_STEP 0x1000u
#define RAM_BASE    0x80000000u

/* 16550 registers, byte offsets */
enum { THR = 0, DLL = 0, IER = 1, DLM = 1, FCR = 2, LCR = 3, MCR = 4, LSR = 5 };

#define LCR_8N1  0x03
#define LCR_DLAB 0x80
#define LSR_THRE 0x20

static volatile uint8_t *const uart = (volatile uint8_t *)UART_BASE;

static void uart_init(unsigned divisor)
{
    uart[IER] = 0;
    uart[LCR] = LCR_DLAB;
    uart[DLL] = (uint8_t)divisor;
    uart[DLM] = (uint8_t)(divisor >> 8);
    uart[LCR] = LCR_8N1;
    uart[FCR] = 0x07; /* enable and clear the FIFOs */
    uart[MCR] = 0x03; /* DTR, RTS */
}

__attribute__((noinline)) static void uart_putc(char c)
{
    while (!(uart[LSR] & LSR_THRE))
        ;
    uart[THR] = (uint8_t)c;
}

static void uart_puts(const char *s)
{
    for (; *s; s++)
        uart_putc(*s);
}

/* A transport is there if the magic is right; DeviceID 0 is a slot with nothing in it. */
__attribute__((noinline)) static int virtio_probe(unsigned slot)
{
    volatile uint32_t *regs = (volatile uint32_t *)(uintptr_t)(VIRTIO_BASE + slot * VIRTIO_STEP);

    if (regs[0] != 0x74726976 || regs[1] != 2)
        return -1;
    return (int)regs[2];
}

static int ram_test(void)
{
    volatile uint64_t *buffer = (volatile uint64_t *)(uintptr_t)(RAM_BASE + 0x4000);
    const unsigned n = 2 * 4096 / sizeof(*buffer);

    for (unsigned i = 0; i < n; i++)
        buffer[i] = i * 0x0101010101010101u;
    for (unsigned i = 0; i < n; i++)
        if (buffer[i] != i * 0x0101010101010101u)
            return -1;
    return 0;
}

int main(void)
{
    int devices = 0;

    uart_init(3);
    uart_puts("board up\n");
    for (unsigned slot = 0; slot < 2; slot++) {
        int id = virtio_probe(slot);

        if (id < 0) {
            uart_puts("no virtio transport\n");
            return 1;
        }
        devices += id != 0;
    }
    uart_puts(ram_test() == 0 ? "ram ok\n" : "ram bad\n");
    return devices;
}
