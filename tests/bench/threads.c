/*
 * threads STEP BASE: accesses of 1, 2 and 4 threads to one device at BASE, or each to its own, STEP apart, in
 * nanoseconds of elapsed time for one access of all threads together.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "measure.h"

#define MOST  4
#define CHUNK 16

static atomic_int ready, go, stop;

struct worker {
    pthread_t thread;
    int number;
    uint8_t *at;
    _Alignas(64) _Atomic long done;
};

/* One site for all, as in a driver of several devices. */
SITE void loads(long n, void *at)
{
    for (long i = 0; i < n; i++)
        __asm__ volatile("movb (%%rbx), %%al" : : "b"(at) : "rax", "memory");
}

static void *work(void *context)
{
    struct worker *worker = context;

    pin(MOST - 1 - worker->number); /* the first one where everything else is measured */
    loads(200, worker->at);
    atomic_fetch_add(&ready, 1);
    while (!atomic_load(&go))
        usleep(50);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        loads(CHUNK, worker->at);
        atomic_store_explicit(&worker->done, worker->done + CHUNK, memory_order_relaxed);
    }
    return NULL;
}

static long total(const struct worker *workers, int count)
{
    long sum = 0;

    for (int i = 0; i < count; i++)
        sum += workers[i].done;
    return sum;
}

/* Between two looks at all counters, after everybody has begun. */
static double sample(int count, uint8_t *base, size_t step)
{
    struct worker workers[MOST] = {0};
    double start, took;
    long before, done;

    ready = go = stop = 0;
    for (int i = 0; i < count; i++) {
        workers[i].number = i;
        workers[i].at = base + (size_t)i * step;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            abort();
    }
    while (ready < count)
        usleep(50);
    go = 1;
    for (int i = 0; i < count; i++)
        while (workers[i].done == 0)
            usleep(50);
    start = now();
    before = total(workers, count);
    usleep((useconds_t)(5 * sample_ns() / 1e3));
    done = total(workers, count) - before;
    took = now() - start;
    stop = 1;
    for (int i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
    return took / (double)(done > 0 ? done : 1);
}

static void series(const char *name, int count, uint8_t *base, size_t step)
{
    double values[MOST_SAMPLES];

    for (int i = 0; i < samples(); i++)
        values[i] = sample(count, base, step);
    report(name, values, samples());
}

int main(int argc, char **argv)
{
    size_t step = argc > 1 ? strtoul(argv[1], NULL, 0) : 0;
    uint8_t *base = argc > 2 ? (uint8_t *)strtoul(argv[2], NULL, 0) : NULL;

    if (!base)
        return 2;
    pin_last();
    series("one", 1, base, step);
    series("two-same", 2, base, 0);
    series("two-different", 2, base, step);
    series("four-same", 4, base, 0);
    series("four-different", 4, base, step);
    return 0;
}
