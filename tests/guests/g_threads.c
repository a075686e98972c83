/* flags: -lpthread */
/* One access each by COUNT threads, one after another: g_threads COUNT */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

static void *work(void *unused)
{
    *(volatile uint8_t *)0x10000007 = 1;
    return unused;
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 1;

    for (int i = 0; i < count; i++) {
        pthread_t t;

        if (pthread_create(&t, NULL, work, NULL) || pthread_join(t, NULL))
            return 1;
    }
    return 0;
}
