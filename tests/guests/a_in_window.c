// flags: -no-pie -Wl,-Ttext-segment=0x10000000
/* Linked where the UART's window is. */
#include <stdio.h>

int main(void)
{
    puts("ran");
    return 0;
}
