/* Accesses, then a file is emptied, then more of them: g_truncate FILE */
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

static volatile uint8_t *const scr = (volatile uint8_t *)0x10000007;

int main(int argc, char **argv)
{
    *scr = 0x5a;
    for (int i = 0; i < 100; i++)
        (void)*scr;
    printf("0x%x\n", *scr);
    if (argc < 2 || truncate(argv[1], 0) != 0)
        return 1;
    for (int i = 0; i < 3000; i++)
        (void)*scr;
    printf("0x%x\n", *scr);
    return 0;
}
