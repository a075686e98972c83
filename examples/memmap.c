/*
 * The smallest program that talks to hardware: one store to RAM, one to a
 * register. The first is silent, the second traps.
 */
#include <stdint.h>

int main(void)
{
    volatile uint32_t *ram = (volatile uint32_t *)0x80000000;
    volatile uint8_t *uart = (volatile uint8_t *)0x10000000;

    ram[0] = 0x12345678;
    uart[0] = 'A';
    return ram[0] == 0x12345678 ? 0 : 1;
}
