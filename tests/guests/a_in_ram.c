// flags: -no-pie -Wl,-Ttext-segment=0x60000000
/* Linked where a machine has its RAM. */
#include <stdio.h>

int main(void)
{
    puts("ran");
    return 0;
}
