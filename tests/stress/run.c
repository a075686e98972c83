#include "run.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

uint64_t comparisons, failures, accesses, calls_made;
static char *plain;

void fail_line(const char *file, int line, const char *format, ...)
{
    const char *base = strrchr(file, '/');
    char text[512];
    va_list list;
    int n = snprintf(text, sizeof(text), "%s:%d: ", base ? base + 1 : file, line);

    va_start(list, format);
    n += vsnprintf(text + n, sizeof(text) - (size_t)n - 1, format, list);
    va_end(list);
    if (n > (int)sizeof(text) - 2)
        n = (int)sizeof(text) - 2;
    text[n++] = '\n';
    if (write(2, text, (size_t)n) != n)
        _exit(98);
}

void add(uint64_t *to, uint64_t n)
{
    __atomic_fetch_add(to, n, __ATOMIC_RELAXED);
}

uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void map_at(unsigned long address, unsigned long size)
{
    if (mmap((void *)address, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
        MAP_FAILED) {
        perror("mmap of plain memory");
        exit(97);
    }
}

void run_init(void)
{
    if (getenv("STRESS_PLAIN")) {
        map_at(WINDOW, WINDOW_SIZE);
        map_at(0x48000000, 0x2000);
    }
    plain = mmap(NULL, WINDOW_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (plain == MAP_FAILED) {
        perror("mmap");
        exit(97);
    }
}

volatile struct block *window_of(unsigned lane)
{
    return (volatile struct block *)(WINDOW + lane * BLOCK);
}

struct block *plain_of(unsigned lane)
{
    return (struct block *)(plain + lane * BLOCK);
}

/* 8 bytes at a time, one access each. */
static void copy_words(volatile void *to, const volatile void *from)
{
    uint64_t n = BLOCK / 8;

    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    add(&accesses, BLOCK / 8);
}

void lane_fill(struct lane *lane, unsigned number, uint64_t seed)
{
    uint64_t *words = (uint64_t *)plain_of(number);

    lane->number = number;
    lane->random = seed * 0x9e3779b97f4a7c15 + number * 2 + 1;
    for (unsigned i = 0; i < BLOCK / 8; i++)
        words[i] = next_random(&lane->random);
    plain_of(number)->x = 1;
    copy_words(window_of(number), plain_of(number));
}

void lane_check(struct lane *lane, const char *who)
{
    uint8_t got[BLOCK];
    const uint8_t *want = (const uint8_t *)plain_of(lane->number);

    copy_words(got, window_of(lane->number));
    add(&comparisons, 1);
    for (unsigned i = 0; i < BLOCK; i++)
        if (got[i] != want[i]) {
            FAIL("%s: byte %u of block %u is %#x, not %#x", who, i, lane->number, got[i], want[i]);
            memcpy(plain_of(lane->number), got, BLOCK);
            return;
        }
}

void lane_run(struct lane *lane, const struct function *f, unsigned times)
{
    uint64_t x = next_random(&lane->random), by_window = 0, by_plain = 0, made = 0, unused = 0;
    unsigned on_window = 0, on_plain = 0;
    unsigned number = f->fixed ? 0 : lane->number;

    while (on_window + on_plain < 2 * times) {
        if (on_plain == times || (on_window < times && next_random(&lane->random) & 0x10))
            by_window = by_window * 3 + f->window(window_of(number), x + on_window++, &made);
        else
            by_plain = by_plain * 3 + f->plain(plain_of(number), x + on_plain++, &unused);
    }
    if (by_window != by_plain)
        FAIL("%s: %#lx in the window, %#lx in memory, x %#lx", f->name, by_window, by_plain, x);
    if (made != unused)
        FAIL("%s: %lu accesses in the window, %lu in memory, x %#lx", f->name, made, unused, x);
    add(&comparisons, 1);
    add(&calls_made, times);
    add(&accesses, made);
}

int run_report(void)
{
    printf("calls %lu\ncomparisons %lu\naccesses %lu\nfailures %lu\n", calls_made, comparisons, accesses, failures);
    return failures != 0;
}

uint64_t argument(int argc, char **argv, int n, uint64_t otherwise)
{
    return argc > n ? strtoull(argv[n], NULL, 0) : otherwise;
}

int run_main(const struct action *table, unsigned n, int argc, char **argv)
{
    for (unsigned i = 0; i < n && argc > 1; i++)
        if (strcmp(argv[1], table[i].name) == 0) {
            run_init();
            table[i].run(argc - 2, argv + 2);
            return run_report();
        }
    fprintf(stderr, "%s: no such action\n", argc > 1 ? argv[1] : "");
    return 99;
}
