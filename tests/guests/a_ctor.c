/* A constructor that uses the UART before main. */
#include <stdint.h>

__attribute__((constructor)) static void early(void)
{
    *(volatile uint8_t *)0x10000000 = 'c';
}

int main(void)
{
    *(volatile uint8_t *)0x10000000 = 'm';
    return 0;
}
