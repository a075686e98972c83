/*
 * memory ram|plain copy|dirty: RAM of the machine, or any shared memory. copy: nanoseconds a KiB. dirty: the first write
 * to a page since dirty pages were forgotten, all pages of a range and pages far apart (nanoseconds a page); forgetting
 * them, which finds and clears them (microseconds).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "measure.h"
#include "preload/mmioshim/client.h"

#define PAGE   4096
#define SIZE   (512l << 20)
#define DENSE  4096l
#define SPARSE 2048l
#define FAR    (SIZE / SPARSE)

static void copy(long n, void *at)
{
    uint8_t *base = at;
    const size_t part = 8u << 20;

    for (long i = 0; i < n; i++)
        memcpy(base + (i & 1 ? part : 0), base + (i & 1 ? 0 : part), part);
}

static void touch(uint8_t *base, long pages, long step)
{
    for (long i = 0; i < pages; i++)
        *(volatile uint8_t *)(base + i * step) = 1;
}

static void look(uint8_t *base, long pages, long step)
{
    for (long i = 0; i < pages; i++)
        (void)*(volatile uint8_t *)(base + i * step);
}

/* First writes, and then the scan that finds them. */
static void dirty(uint8_t *base, const char *write_name, const char *scan_name, long pages, long step)
{
    double writes[MOST_SAMPLES], scans[MOST_SAMPLES], start;

    touch(base, pages, step);
    for (int i = 0; i < samples(); i++) {
        mmioshim_dirty_clear();
        look(base, pages, step);
        start = now();
        touch(base, pages, step);
        writes[i] = (now() - start) / (double)pages;
        start = now();
        mmioshim_dirty_clear();
        scans[i] = (now() - start) / 1e3;
    }
    report(write_name, writes, samples());
    if (mmioshim_active())
        report(scan_name, scans, samples());
}

static void copies(uint8_t *base)
{
    double values[MOST_SAMPLES], start;

    memset(base, 1, 16u << 20);
    for (int i = 0; i < samples(); i++) {
        start = now();
        copy(2, base);
        values[i] = (now() - start) / (2 * (8u << 10));
    }
    report("copy", values, samples());
}

int main(int argc, char **argv)
{
    uint8_t *base = (uint8_t *)0x80000000;

    if (argc != 3)
        return 2;
    pin_last();
    if (strcmp(argv[1], "ram") != 0)
        base = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return 1;
    if (strcmp(argv[2], "copy") == 0) {
        copies(base);
        return 0;
    }
    dirty(base, "dense", "scan-dense", DENSE, PAGE);
    dirty(base, "sparse", "scan-sparse", SPARSE, FAR);
    return 0;
}
