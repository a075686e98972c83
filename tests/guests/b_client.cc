// flags: -Ipreload
/* Client requests from C++; as C too, where the test compiles this file itself. */
#include "mmioshim/client.h"

#include <stdint.h>
#include <stdio.h>

int main(void)
{
    volatile uint32_t *ram = (volatile uint32_t *)0x80000000;
    int outside = 0;

    printf("active %d\n", mmioshim_active());
    mmioshim_mark("hello");
    printf("outside %d\n", mmioshim_dirty_test(&outside));
    if (mmioshim_active()) {
        printf("before %d\n", mmioshim_dirty_test((const void *)(ram + 1024)));
        ram[1024] = 1;
        ram[2048] = 1;
        printf("after %d\n", mmioshim_dirty_test((const void *)(ram + 1030)));
        printf("next %d\n", mmioshim_dirty_test((const void *)(ram + 3 * 1024)));
        mmioshim_dirty_clear();
        printf("cleared %d\n", mmioshim_dirty_test((const void *)(ram + 1024)));
        ram[1025] = 2;
        printf("again %d\n", mmioshim_dirty_test((const void *)(ram + 1024)));
    } else {
        mmioshim_dirty_clear();
    }
    return 0;
}
