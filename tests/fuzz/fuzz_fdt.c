/*
 * Fuzzes machine_parse: whatever the blob, it ends soon, reads nothing outside
 * it, and what it accepts keeps the promises of config/machine.h.
 *
 * With libFuzzer: clang -fsanitize=fuzzer,address,undefined; arguments are libFuzzer's.
 * Without: -DSTANDALONE; `fuzz_fdt RUNS SEED FILE...` mutates the files. The same seed gives the same runs.
 * Leave base/mem.c and config/fdt_libc.c out of the link, so that the sanitizers see libfdt's calls.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "config/interrupts.h"
#include "config/machine.h"
#include "config/pools.h"

#define ROOM 65536u

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct machine_desc machine;
static unsigned long accepted;

#define REQUIRE(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

/* The blob ends where a page begins that cannot be read; the up to 7 bytes between are poisoned. */
static uint8_t *place(const uint8_t *data, size_t size)
{
    static uint8_t *room;
    size_t padded = (size + 7) / 8 * 8;

    if (!room) {
        room = mmap(NULL, ROOM + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        REQUIRE(room != MAP_FAILED && mprotect(room + ROOM, 4096, PROT_NONE) == 0);
    }
    ASAN_UNPOISON_MEMORY_REGION(room, ROOM);
    memcpy(room + ROOM - padded, data, size);
    ASAN_POISON_MEMORY_REGION(room + ROOM - padded + size, padded - size);
    return room + ROOM - padded;
}

static void check_name(const char *name, size_t room, bool may_be_empty)
{
    REQUIRE(memchr(name, 0, room) != NULL);
    REQUIRE(*name || may_be_empty);
    for (; *name; name++)
        REQUIRE(*name >= ' ' && *name <= '~');
}

static void check_banks(void)
{
    for (u32 i = 0; i < machine.nbanks; i++) {
        struct range r = machine.banks[i].range;

        REQUIRE(r.size && r.base % PAGE_SIZE == 0 && r.size % PAGE_SIZE == 0);
        REQUIRE(range_contains((struct range){0, (u64)1 << 47}, r.base, r.size));
        REQUIRE(i == 0 || range_last(machine.banks[i - 1].range) < r.base);
        check_name(machine.banks[i].name, MACHINE_NAME, false);
    }
}

/* `count` windows of one address space, from the given one on. */
static void check_windows(u32 first, u32 count, u64 end)
{
    for (u32 i = first; i < first + count; i++) {
        const struct machine_window *w = &machine.windows[i];
        struct mmioshim_node node = {&machine, w->node};
        u32 length = 0, value;

        REQUIRE(w->range.size && range_contains((struct range){0, end}, w->range.base, w->range.size));
        REQUIRE(i == first || range_last(machine.windows[i - 1].range) < w->range.base);
        REQUIRE(w->range.base >= w->offset);
        check_name(w->name, MACHINE_NAME, false);
        check_name(w->compatible, MACHINE_NAME, true);
        REQUIRE(node_property(&node, "reg", &length) && length > 0);
        node_property_u32(&node, "interrupts", &value);
        machine_compatible(&machine, w, "ns16550a");
    }
}

/* Interrupts of a node: no more than were asked for, each of a node or of none. */
static void check_interrupts(void)
{
    struct machine_interrupt got[4];

    for (u32 i = 0; i < MIN(machine.nwindows, 64u); i++) {
        u32 n = machine_interrupts(&machine, machine.windows[i].node, got, ARRAY_SIZE(got));
        int cpu;

        REQUIRE(n <= machine.fdt_size / 4);
        for (u32 k = 0; k < MIN(n, (u32)ARRAY_SIZE(got)); k++) {
            REQUIRE(got[k].controller >= -1 && got[k].controller < (int)machine.fdt_size);
            machine_is_hart(&machine, got[k].controller, &cpu);
        }
    }
}

/* Buffers are RAM that no window has, whole pages, each on its own; so are huge pages. */
static void check_pools(void)
{
    char text[512];
    struct fmt error = FMT_INIT(text);
    const struct machine_pools *p = machine_pools(&machine, &error);

    REQUIRE(p || (error.len && !memchr(text, '\n', error.len)));
    for (u32 i = 0; p && i < p->nbuffers; i++) {
        struct range r = p->buffers[i].range;

        REQUIRE(r.size && r.base % PAGE_SIZE == 0 && r.size % PAGE_SIZE == 0 && pools_ram(&machine, r));
        REQUIRE(p->buffers[i].size <= r.size);
        for (u32 j = 0; j < i; j++)
            REQUIRE(!range_overlaps(p->buffers[j].range, r) && strcmp(p->buffers[j].name, p->buffers[i].name) != 0);
        check_name(p->buffers[i].name, sizeof(p->buffers[i].name), false);
    }
    REQUIRE(!p || (p->huge.base % HUGE_SIZE == 0 && p->huge.size % HUGE_SIZE == 0 && p->huge_boot <= p->huge.size / HUGE_SIZE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[512];
    struct fmt error = FMT_INIT(text);

    if (size > ROOM)
        return 0;
    if (machine_parse(&machine, place(data, size), size, &error) < 0) {
        REQUIRE(error.len > 0 && !memchr(text, '\n', error.len));
        return 0;
    }
    REQUIRE(error.len == 0);
    REQUIRE(machine.nbanks + machine.nwindows > 0 || machine.ioports);
    REQUIRE(machine.nports == 0 || machine.ioports);
    REQUIRE(machine.nbanks <= MACHINE_BANKS && machine_devices(&machine) <= MACHINE_WINDOWS);
    REQUIRE(machine.fdt_size <= size);
    check_banks();
    check_windows(0, machine.nwindows, (u64)1 << 47);
    check_windows(machine.nwindows, machine.nports, MACHINE_PORTS);
    check_interrupts();
    check_pools();
    accepted++;
    return 0;
}

#ifdef STANDALONE

struct sample {
    uint8_t *data;
    size_t size;
};

static u64 random_state;

/* splitmix64 */
static u64 random64(void)
{
    u64 z = (random_state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t below(size_t n)
{
    return n ? (size_t)(random64() % n) : 0;
}

static void put_be32(uint8_t *at, u32 value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static u32 odd_number(void)
{
    static const u32 numbers[] = {
        0, 1, 2, 3, 4, 5, 9, 8, 17, 32, 0x7f, 0x80, 0xff, 0x1000, 0x7fff, 0x8000, 0xffff, 0x10000,
        0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0xfffff000, 0xfffffff8, 0xfffffffc, 0xffffffff,
    };

    return below(4) ? numbers[below(ARRAY_SIZE(numbers))] : (u32)random64();
}

static size_t change_word(uint8_t *data, size_t size)
{
    size_t at = below(size / 4) * 4;

    if (size >= 4)
        put_be32(data + at, odd_number());
    return size;
}

static size_t change_byte(uint8_t *data, size_t size)
{
    if (size)
        data[below(size)] ^= (uint8_t)(1u << below(8));
    return size;
}

/* Copies one run of words over another. */
static size_t copy_words(uint8_t *data, size_t size)
{
    size_t words = size / 4, n = below(16) + 1;

    if (words > n)
        memmove(data + 4 * below(words - n), data + 4 * below(words - n), 4 * n);
    return size;
}

static size_t truncate_blob(uint8_t *data, size_t size)
{
    (void)data;
    return below(16) ? size : below(size + 1);
}

/* Takes words out or puts words in, and corrects the header, so that the rest is still looked at. */
static size_t shift_words(uint8_t *data, size_t size)
{
    size_t words = size / 4, at = below(words), n = 4 * (below(8) + 1);
    bool grow = below(2);

    if (words < 20 || 4 * at + n >= size || size + n > ROOM)
        return size;
    if (grow)
        memmove(data + 4 * at + n, data + 4 * at, size - 4 * at);
    else
        memmove(data + 4 * at, data + 4 * at + n, size - 4 * at - n);
    size = grow ? size + n : size - n;
    put_be32(data + 4, (u32)size);
    return size;
}

static size_t mutate(uint8_t *data, size_t size)
{
    static size_t (*const ways[])(uint8_t *data, size_t size) = {
        change_word, change_word, change_byte, copy_words, shift_words, truncate_blob,
    };

    for (size_t n = below(6) + 1; n > 0; n--)
        size = ways[below(ARRAY_SIZE(ways))](data, size);
    return size;
}

static struct sample read_sample(const char *path)
{
    struct sample sample = {malloc(ROOM), 0};
    FILE *file = fopen(path, "rb");

    if (!file || !sample.data) {
        perror(path);
        exit(2);
    }
    sample.size = fread(sample.data, 1, ROOM, file);
    fclose(file);
    return sample;
}

int main(int argc, char **argv)
{
    static uint8_t data[ROOM];
    struct sample *samples;
    u64 runs;
    int count = argc - 3;

    if (count < 1) {
        fprintf(stderr, "usage: fuzz_fdt RUNS SEED FILE...\n");
        return 2;
    }
    runs = strtoull(argv[1], NULL, 0);
    random_state = strtoull(argv[2], NULL, 0);
    samples = calloc((size_t)count, sizeof(*samples));
    if (!samples)
        return 2;
    for (int i = 0; i < count; i++) {
        samples[i] = read_sample(argv[3 + i]);
        LLVMFuzzerTestOneInput(samples[i].data, samples[i].size);
    }
    for (u64 run = 0; run < runs; run++) {
        struct sample *sample = &samples[below((size_t)count)];

        memcpy(data, sample->data, sample->size);
        LLVMFuzzerTestOneInput(data, mutate(data, sample->size));
    }
    for (int i = 0; i < count; i++)
        free(samples[i].data);
    free(samples);
    printf("%llu runs, %lu trees accepted\n", (unsigned long long)runs, accepted);
    return 0;
}

#endif
