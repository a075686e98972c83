/*
 * ram ADDRESS: the same instruction, twice. One site is used on the register at ADDRESS before each sample, and then on
 * ordinary memory; the other one sees ordinary memory alone. Without ADDRESS (and without the library) only the other.
 */
#include <stdio.h>
#include <stdlib.h>

#include "measure.h"

/* X(name, instruction) */
#define INSTRUCTIONS(X) \
    X(load, "mov (%%rbx), %%eax") \
    X(store, "mov %%eax, (%%rbx)") \
    X(modify, "add %%eax, (%%rbx)") \
    X(sse_load, "movups (%%rbx), %%xmm1") \
    X(sse_store, "movups %%xmm1, (%%rbx)")

#define BODY(id, text) \
    SITE void id(long n, void *at) \
    { \
        for (long i = 0; i < n; i++) \
            __asm__ volatile(text : : "b"(at) : "rax", "memory", "cc"); \
    }
#define BOTH(id, text) BODY(used_##id, text) BODY(untouched_##id, text)
INSTRUCTIONS(BOTH)

static const struct pair {
    const char *used_name, *untouched_name;
    void (*used)(long n, void *at);
    void (*untouched)(long n, void *at);
} pairs[] = {
#define ROW(id, text) {"used-" #id, "untouched-" #id, used_##id, untouched_##id},
    INSTRUCTIONS(ROW)
};

static _Alignas(64) uint8_t memory[4096];
static void *window;
static const struct pair *current;

/* Often enough for any site to be patched that will be. */
static void warm(void *at)
{
    (void)at;
    current->used(200, window);
}

/* What other code does: arithmetic, and memory all over a table. */
static void elsewhere(long n, void *at)
{
    static uint32_t table[1 << 16];
    uint32_t x = 1;

    for (long i = 0; i < n; i++) {
        x = x * 1664525 + 1013904223;
        table[x >> 16] += x ^ (uint32_t)i;
    }
    *(volatile uint32_t *)at = table[x >> 16];
}

int main(int argc, char **argv)
{
    pin_last();
    window = argc > 1 ? (void *)strtoul(argv[1], NULL, 0) : NULL;
    for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        current = &pairs[i];
        measure(&(struct job){current->untouched_name, current->untouched, NULL, memory, 0});
        if (window)
            measure(&(struct job){current->used_name, current->used, warm, memory, 0});
    }
    measure(&(struct job){"elsewhere", elsewhere, NULL, memory, 0});
    return 0;
}
