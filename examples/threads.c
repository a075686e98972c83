/*
 * Two threads share a UART. A baton decides whose turn it is, so that the
 * order of accesses, and with it the transcript, is the same every time.
 */
#include <pthread.h>
#include <stdint.h>

#define TURNS 3

static volatile uint8_t *const uart = (volatile uint8_t *)0x10000000;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static int turn;

__attribute__((noinline)) static void emit(char c)
{
    uart[0] = (uint8_t)c;
}

static void *worker(void *argument)
{
    int me = (int)(intptr_t)argument;

    for (int i = 0; i < TURNS; i++) {
        pthread_mutex_lock(&lock);
        while (turn != me)
            pthread_cond_wait(&turned, &lock);
        emit(me ? 'b' : 'a');
        turn = !me;
        pthread_cond_broadcast(&turned);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, worker, (void *)(intptr_t)i))
            return 1;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    emit('\n');
    return 0;
}
