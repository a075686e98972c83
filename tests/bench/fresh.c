/*
 * fresh ADDRESS: the cost of the first, second, ... access of a site that nobody used before, the mean over many
 * sites, in nanoseconds: one line, "accesses", with a value for each. One more site was used before, so that what is
 * set up once a process is not among it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <x86intrin.h>

#include "measure.h"
#include "sites.h"

#define ACCESSES 100

typedef uint32_t (*site_fn)(void *at, uint32_t value);
extern const site_fn sites[SITES];

static double sums[ACCESSES];

static uint64_t ticks(site_fn site, void *at)
{
    unsigned aux;
    uint64_t start = __rdtscp(&aux);

    site(at, 1);
    return __rdtscp(&aux) - start;
}

static uint32_t empty(void *at, uint32_t value)
{
    (void)at;
    return value;
}

/* What measuring alone takes. */
static uint64_t nothing(void)
{
    uint64_t least = UINT64_MAX;

    for (int i = 0; i < 1000; i++) {
        uint64_t took = ticks(empty, NULL);

        if (took < least)
            least = took;
    }
    return least;
}

int main(int argc, char **argv)
{
    void *at = argc > 1 ? (void *)strtoul(argv[1], NULL, 0) : NULL;
    uint64_t begin, overhead, all = 0;
    double start;

    pin_last();
    if (!at)
        return 2;
    overhead = nothing();
    for (int i = 0; i < ACCESSES; i++)
        sites[0](at, 1);
    begin = __rdtsc();
    start = now();
    for (int s = 1; s < SITES; s++)
        for (int i = 0; i < ACCESSES; i++) {
            uint64_t took = ticks(sites[s], at);

            sums[i] += took > overhead ? (double)(took - overhead) : 0;
        }
    all = __rdtsc() - begin;
    for (int i = 0; i < ACCESSES; i++)
        sums[i] *= (now() - start) / (double)all / (SITES - 1);
    report("accesses", sums, ACCESSES);
    return 0;
}
