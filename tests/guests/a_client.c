// flags: -Ipreload
/* A test program that cooperates: client requests, which do nothing without the library. */
#include "mmioshim/client.h"

#include <stdint.h>
#include <stdio.h>

int main(void)
{
    volatile uint32_t *ram = (volatile uint32_t *)0x80000000;
    int outside = 0;

    printf("active %d\n", mmioshim_active());
    mmioshim_mark("before");
    printf("outside %d\n", mmioshim_dirty_test(&outside));
    if (!mmioshim_active())
        return 0;
    printf("clean %d\n", mmioshim_dirty_test((void *)(uintptr_t)ram));
    ram[0] = 1;
    printf("dirty %d\n", mmioshim_dirty_test((void *)(uintptr_t)ram));
    mmioshim_dirty_clear();
    printf("cleared %d\n", mmioshim_dirty_test((void *)(uintptr_t)ram));
    ram[1024] = 1;
    mmioshim_mark("two\nlines");
    return 0;
}
