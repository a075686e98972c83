/* Nanoseconds of one turn of the work loop on this processor. */
#include <stdlib.h>

#include "measure.h"
#include "peers/loops.h"

static void work(long n, void *at)
{
    peer_work(at, (uint32_t)n);
}

int main(void)
{
    static uint32_t table[4096];

    pin_last();
    measure(&(struct job){"work", work, NULL, table, 1l << 30});
    return 0;
}
