/*
 * Fuzzer of the readers of transcripts: binary, text and JSON lines. Whatever comes, every format is written from it, and
 * it is counted, twice with the same result; what is not damaged comes out of the reader as it went in.
 *
 * libFuzzer: clang -fsanitize=fuzzer,address. Alone, built with -DSTANDALONE:
 * fuzz_ring RUNS SEED [FILE...] mutates the files (or samples of its own) RUNS times.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "tools/tool.h"
#include "tools/trace_count.h"
#include "tools/trace_input.h"
#include "tools/trace_write.h"
#include "trace/ringfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz_ring: %s\n", what);
    abort();
}

/* --- what the readers take of the command --- */

void tool_error(const char *format, ...)
{
    (void)format;
}

void *tool_alloc(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);

    require(p != NULL, "out of memory");
    return p;
}

char *tool_format(const char *format, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, format);
    require(vasprintf(&text, format, args) >= 0, "out of memory");
    va_end(args);
    return text;
}

void cpu_disassemble(const u8 *bytes, unsigned length, u64 address, struct fmt *out)
{
    (void)bytes;
    (void)address;
    fmt_printf(out, "%u bytes", length);
}

/* --- all that can be done with a transcript --- */

static char *converted(struct trace_input *in, const char *format, size_t *size)
{
    const struct trace_writer *w = trace_writer_find(format);
    struct trace_output out = {.show = TRACE_SHOW_TIME | TRACE_SHOW_PID | TRACE_SHOW_INSN};
    enum trace_item item;
    char *text = NULL;

    out.file = open_memstream(&text, size);
    require(out.file != NULL, "out of memory");
    in->rewind(in);
    w->begin(&out, in);
    while ((item = trace_input_next(in)) != ITEM_END)
        w->item(&out, in, item);
    if (w->end)
        w->end(&out, in);
    trace_output_flush(&out);
    free(out.buf.buf);
    fclose(out.file);
    return text;
}

static void check_counts(struct trace_input *in)
{
    struct trace_counts c = {0};
    u64 reads = 0, writes = 0;

    in->rewind(in);
    trace_count(&c, in);
    for (size_t i = 0; i < c.devices.n; i++) {
        reads += c.devices.all[i].reads;
        writes += c.devices.all[i].writes;
    }
    require(reads == c.all.reads && writes == c.all.writes, "devices and all differ");
    counts_sort(&c.registers);
    trace_counts_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {"text", "json", "mmiotrace", "chrome", "vcd"};
    struct trace_input in;
    char text[256];
    struct fmt error = FMT_INIT(text);

    if (trace_input_open(&in, data, size, &error) < 0) {
        require(error.len != 0, "refused without a word");
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
        size_t n, m;
        char *once = converted(&in, formats[i], &n), *twice = converted(&in, formats[i], &m);

        require(n == m && memcmp(once, twice, n) == 0, "the second time it is another");
        free(once);
        free(twice);
    }
    check_counts(&in);
    trace_input_close(&in);
    return 0;
}

#ifdef STANDALONE
static u64 state;

static u32 next_random(void)
{
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(state >> 33);
}

struct copy {
    u8 *bytes;
    size_t len;
};

/* --- a sample: two streams, every kind of record --- */

#define MAP_AT     4096u
#define RESERVE_AT 8192u
#define FIRST      12288u /* three segments: of stream 1, of stream 2, and the second of stream 1 */
#define SAMPLE     (FIRST + 3 * 4096u)

static const struct mmioshim_field fields[] = {{"DR", 0, 1}, {"MODE", 4, 3}};
static const struct mmioshim_register registers[] = {
    {.name = "CTRL", .offset = 0, .width = 4, MMIOSHIM_FIELDS(fields)},
    {.name = "DATA", .offset = 4, .width = 1, .flags = MMIOSHIM_REG_DATA},
    {.name = "prio", .offset = 16, .width = 4, .count = 8, .stride = 4},
};
static const struct trace_device devices[] = {
    {"dev@1000", "DEV", "test,dev", {0x1000, 0x1000}, registers, ARRAY_SIZE(registers), false, false},
    {"dev@2000", "DEV", "test,dev", {0x2000, 0x1000}, registers, ARRAY_SIZE(registers), false, false},
    {"io@70", "IO", NULL, {0x70, 2}, NULL, 0, true, false},
};
static const struct trace_bank banks[] = {{"memory@80000000", {0x80000000, 0x100000}}};

static u8 *at_end; /* where the next record of the sample goes */

static struct ring_slot *slot(unsigned slots)
{
    struct ring_slot *s = (void *)at_end;

    at_end += slots * RING_SLOT;
    return s;
}

static void begin_segment(u8 *file, const struct ring_header *h, u64 at, u32 stream, u32 index)
{
    struct ring_segment *s = (void *)(file + at);

    *s = (struct ring_segment){.magic = RING_SEGMENT, .self = h->id ^ at, .bytes = 4096, .stream = stream, .index = index};
    s->pair = (struct ring_pair){1000 + at, 1700000000000000000ull + at};
    at_end = (u8 *)(s + 1);
}

static void put_thread(u32 pid)
{
    struct ring_slot *s = slot(1);

    s->addr = s->offset = pid;
    s->value = pid | (u64)pid << 32;
    ring_commit(s, RING_THREAD, 0, 1, 0);
}

static void put_site(u32 id)
{
    struct ring_slot *s = slot(2);

    s->addr = 0x1180 + id;
    s->element = 3;
    memcpy((char *)(s + 1) + 16, "driver+0x1189", 14);
    ring_commit(s, RING_SITE, 0, 2, id);
}

static void put_stack(u32 id)
{
    static const char text[] = "put+0x4 (driver)\0main+0x10 (driver)";
    struct ring_slot *s = slot(2);

    s->stack = id;
    s->element = 2;
    memcpy(s + 1, text, sizeof(text));
    ring_commit(s, RING_STACK, 0, 2, 0);
}

static void put_event(u8 type, u64 seq)
{
    struct trace_record r = {.type = type, .device = (u16)(next_random() % 4), .reg = (u16)(next_random() % 4)};

    r.op = next_random() % 2;
    r.width = type == TRACE_MMIO || type == TRACE_PORT ? 1u << next_random() % 7 : next_random() % 9;
    r.offset = next_random() % 64;
    r.addr = 0x1000 + r.offset;
    r.element = next_random() % 8;
    r.seq = type == TRACE_MMIO || type == TRACE_PORT || type == TRACE_LINT || type == TRACE_REPEAT ? seq : 0;
    r.stack = next_random() % 3;
    for (unsigned i = 0; i < sizeof(r.value); i++)
        r.value[i] = (u8)next_random();
    memcpy(r.text, "rule\0what is wrong", 18);
    ring_pack(slot(ring_slots(ring_more(&r))), &r, 1 + next_random() % 2, seq, 2000 + seq * 10);
}

static void put_end(u64 seq)
{
    static const struct range ranges[] = {{0x80000000, 0x1000}, {0x80004000, 0x2000}};
    static const u64 more[] = {3, 4};
    struct ring_slot *s = slot(2);

    s->order = seq;
    s->addr = 3;
    s->offset = 256;
    s->value = ARRAY_SIZE(ranges);
    memcpy(s + 1, "uffd\0a note", 12);
    ring_commit(s, RING_DIRTY, 0, 2, 0);
    s = slot(2);
    s->order = seq;
    s->element = ARRAY_SIZE(ranges);
    memcpy(s + 1, ranges, sizeof(ranges));
    ring_commit(s, RING_RANGES, 0, 2, 0);
    s = slot(2);
    s->order = seq;
    s->addr = 9;
    memcpy(s + 1, more, sizeof(more));
    ring_commit(s, RING_EXIT, 0, 2, 0);
}

static struct copy sample(void)
{
    static const u8 kinds[] = {TRACE_MMIO, TRACE_MMIO, TRACE_MMIO, TRACE_PORT, TRACE_LINT, TRACE_DMA, TRACE_IRQ, TRACE_MARK,
                               TRACE_FAULT, TRACE_REPEAT};
    struct copy file = {calloc(1, SAMPLE), SAMPLE};
    struct ring_header *h = (void *)file.bytes;
    struct ring_map map = {banks, ARRAY_SIZE(banks), devices, ARRAY_SIZE(devices)};
    struct fmt out;

    require(file.bytes != NULL, "out of memory");
    out = (struct fmt){.buf = (char *)file.bytes + MAP_AT, .cap = 4096};
    ringmap_write(&out, &map);
    *h = (struct ring_header){.magic = RING_MAGIC, .version = RING_VERSION, .slot = RING_SLOT, .id = 0x1234567};
    h->complete = h->id;
    h->map = MAP_AT;
    h->map_size = out.len;
    h->reserve = RESERVE_AT;
    h->clock = next_random() % 2;
    h->next = SAMPLE;
    h->start[0] = (struct ring_pair){900, 1700000000000000000ull};
    h->start[1] = (struct ring_pair){990, 1700000000000000090ull};
    for (u32 i = 0; i < 3; i++) {
        begin_segment(file.bytes, h, FIRST + i * 4096, i == 1 ? 2 : 1, i / 2);
        put_thread(i == 1 ? 2 : 1);
        put_site(i + 1);
        put_stack(i + 1);
        for (u64 n = 0; n < 12; n++)
            put_event(kinds[next_random() % ARRAY_SIZE(kinds)], n * 2 + (i == 1) + 30 * (i == 2));
        if (i == 2)
            put_end(100);
    }
    return file;
}

/* The same as lines. */
static struct copy as_lines(struct copy file, const char *format)
{
    struct trace_input in;
    char text[256];
    struct fmt error = FMT_INIT(text);
    struct copy lines = {NULL, 0};

    require(trace_input_open(&in, file.bytes, file.len, &error) == 0, "the sample is refused");
    lines.bytes = (u8 *)converted(&in, format, &lines.len);
    require(!in.damage.len, "the sample is damaged");
    trace_input_close(&in);
    free(file.bytes);
    return lines;
}

static struct copy load(const char *path)
{
    struct copy copy = {NULL, 0};
    FILE *f = fopen(path, "rb");
    char chunk[4096];
    size_t n;

    if (!f) {
        perror(path);
        exit(2);
    }
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0) {
        copy.bytes = realloc(copy.bytes, copy.len + n);
        require(copy.bytes != NULL, "out of memory");
        memcpy(copy.bytes + copy.len, chunk, n);
        copy.len += n;
    }
    fclose(f);
    return copy;
}

/* Where something is: heads, the map, the first records of a segment. */
static size_t somewhere(const struct copy *input)
{
    static const u32 places[] = {0, MAP_AT, FIRST, FIRST, FIRST + 4096, FIRST + 8192};
    size_t at = places[next_random() % ARRAY_SIZE(places)];

    at += next_random() % (at ? 1600 : 160);
    return at < input->len && next_random() % 4 ? at : next_random() % input->len;
}

static void mutate(struct copy *input)
{
    static const u64 words[] = {0, 1, 2, 7, 63, 64, 65, 255, 4095, 4096, 65535, 65536, 0x7fffffff, 0xffffffff, (u64)1 << 32,
                                (u64)1 << 63, UINT64_MAX - 4095, UINT64_MAX};

    for (u32 n = next_random() % 8; n > 0 && input->len; n--) {
        size_t at = somewhere(input), size = (size_t)1 << next_random() % 4;

        switch (next_random() % 8) {
        case 0:
        case 1:
            input->bytes[at] ^= (u8)(1u << next_random() % 8);
            break;
        case 2:
        case 3:
            input->bytes[at] = (u8)next_random();
            break;
        case 4:
        case 5:
            at &= ~(size - 1);
            memcpy(input->bytes + at, &words[next_random() % ARRAY_SIZE(words)], MIN(size, input->len - at));
            break;
        case 6: /* a record, or a piece of a line, where another one is */
            size = MIN((size_t)64, input->len - MAX(at, at / 2));
            memmove(input->bytes + at / 2, input->bytes + at, size);
            break;
        default:
            if (next_random() % 8 == 0)
                input->len = at;
            break;
        }
    }
}

int main(int argc, char **argv)
{
    unsigned long runs = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000;
    int nfiles = argc > 3 ? argc - 3 : 0;

    state = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
    for (unsigned long run = 0; run < runs; run++) {
        struct copy input = nfiles ? load(argv[3 + next_random() % (u32)nfiles]) : sample();

        if (!nfiles && run % 3)
            input = as_lines(input, run % 3 == 1 ? "text" : "json");
        mutate(&input);
        /* An exact allocation, so that a sanitizer sees each byte too far. */
        input.bytes = realloc(input.bytes, input.len ? input.len : 1);
        LLVMFuzzerTestOneInput(input.bytes, input.len);
        free(input.bytes);
    }
    printf("fuzz_ring: %lu runs\n", runs);
    return 0;
}
#endif
