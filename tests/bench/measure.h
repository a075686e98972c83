/*
 * What the measuring programs share. Each prints one line for each thing that it measured: "NAME VALUE VALUE ...",
 * its samples, or "NAME ! reason" where there is nothing to measure; run.py starts them in turn and forms ratios.
 * BENCH_US is the shortest time of a sample in microseconds (2000), BENCH_SAMPLES their number (5).
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdint.h>

#define MOST_SAMPLES 64

/* Keeps the compiler from copying or moving the one instruction that is measured. */
#ifdef __clang__
#define SITE __attribute__((noinline, aligned(64))) static
#else
#define SITE __attribute__((noinline, noclone, aligned(64))) static
#endif

/* Nanoseconds of a clock that nobody sets. */
double now(void);
int samples(void);
double sample_ns(void);

/* Binds this thread to the last of the processors that it may use; returns how many these are. */
int pin_last(void);
/* Binds this thread to the n-th (modulo their number) of the processors that the process had at its start. */
void pin(int n);

/* Prints a line. */
void report(const char *name, const double *values, int count);
void report_nothing(const char *name, const char *why);

/*
 * Reports nanoseconds for one of n. n doubles until `run` takes a sample's time, at most `most` (0: no limit); before
 * each sample `before` (or NULL) is called outside of the time.
 */
struct job {
    const char *name;
    void (*run)(long n, void *at);
    void (*before)(void *at);
    void *at;
    long most;
};
void measure(const struct job *job);

#endif
