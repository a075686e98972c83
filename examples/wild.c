/*
 * A driver with a wrong base address: after one good access it reads where
 * nothing is. It dies of SIGSEGV, as it would anywhere, and the transcript
 * says what lies nearest.
 */
#include <stdint.h>

int main(void)
{
    volatile uint8_t *uart = (volatile uint8_t *)0x10000000;
    volatile uint32_t *wrong = (volatile uint32_t *)0x30000000;

    uart[0] = '!';
    return (int)*wrong;
}
