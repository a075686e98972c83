#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "measure.h"

static cpu_set_t allowed;
static int processors;

double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static long knob(const char *name, long usual, long most)
{
    const char *text = getenv(name);
    long value = text ? atol(text) : usual;

    if (value < 1)
        return 1;
    return value < most ? value : most;
}

int samples(void)
{
    return (int)knob("BENCH_SAMPLES", 5, MOST_SAMPLES);
}

double sample_ns(void)
{
    return (double)knob("BENCH_US", 2000, 1000000) * 1e3;
}

void pin(int n)
{
    cpu_set_t one;

    if (processors == 0)
        return;
    n %= processors;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed) && n-- == 0)
            CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof(one), &one);
}

int pin_last(void)
{
    if (processors == 0 && sched_getaffinity(0, sizeof(allowed), &allowed) == 0)
        processors = CPU_COUNT(&allowed);
    pin(processors - 1);
    return processors;
}

void report(const char *name, const double *values, int count)
{
    printf("%s", name);
    for (int i = 0; i < count; i++)
        printf(" %.4g", values[i]);
    printf("\n");
    fflush(stdout);
}

void report_nothing(const char *name, const char *why)
{
    printf("%s ! %s\n", name, why);
    fflush(stdout);
}

static double once(const struct job *job, long n)
{
    double start;

    if (job->before)
        job->before(job->at);
    start = now();
    job->run(n, job->at);
    return now() - start;
}

void measure(const struct job *job)
{
    double values[MOST_SAMPLES];
    int count = samples();
    long n = 16;

    while ((job->most == 0 || n < job->most) && once(job, n) < sample_ns())
        n *= 2;
    if (job->most && n > job->most)
        n = job->most;
    for (int i = 0; i < count; i++)
        values[i] = once(job, n) / (double)n;
    report(job->name, values, count);
}
