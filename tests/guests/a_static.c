// flags: -static
/* No loader, hence no preloaded library. */
#include <stdio.h>

int main(void)
{
    puts("ran");
    return 0;
}
