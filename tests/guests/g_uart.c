/* A monitor on a UART, by polling: `g_uart LINES` says a prompt, takes so many lines, and says each in capitals. */
#include <ctype.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>

#define UART ((volatile uint8_t *)0x10000000ul)
enum { DATA, LSR = 5, DR = 1, THRE = 0x20 };

static void put(char c)
{
    while (!(UART[LSR] & THRE))
        ;
    UART[DATA] = (uint8_t)c;
}

static char get(void)
{
    while (!(UART[LSR] & DR))
        sched_yield();
    return (char)UART[DATA];
}

int main(int argc, char **argv)
{
    for (int lines = argc > 1 ? atoi(argv[1]) : 1; lines > 0; lines--) {
        char c;

        put('>');
        do {
            c = get();
            put((char)toupper((unsigned char)c));
        } while (c != '\n');
    }
    return 0;
}
