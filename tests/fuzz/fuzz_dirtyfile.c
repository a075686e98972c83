/*
 * Fuzzer of the reader of dirty-bitmap files. What is accepted must be consistent, and must come out of the
 * writer as a file that reads back the same.
 *
 * libFuzzer: clang -fsanitize=fuzzer,address. Alone, built with -DSTANDALONE:
 * fuzz_dirtyfile RUNS SEED [FILE...] mutates the files (or a sample of its own) RUNS times.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace/dirtyfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz_dirtyfile: %s\n", what);
    abort();
}

struct copy {
    u8 *bytes;
    size_t len;
};

static long append(void *context, const void *bytes, size_t n)
{
    struct copy *copy = context;

    copy->bytes = realloc(copy->bytes, copy->len + n);
    require(copy->bytes != NULL, "out of memory");
    memcpy(copy->bytes + copy->len, bytes, n);
    copy->len += n;
    return 0;
}

/* Counts the runs; each must lie behind the one before with a gap, and their sum is the number of dirty pages. */
static void walk(const struct dirtyfile_bank *bank)
{
    u64 cursor = 0, first, count, sum = 0, end = 0;

    while (bitmap_next_run(bank->bitmap, bank->pages, &cursor, &first, &count)) {
        require(count != 0 && first < bank->pages && count <= bank->pages - first, "run outside the bank");
        require(sum == 0 || first > end, "runs touch");
        end = first + count;
        sum += count;
    }
    require(sum == bank->dirty, "runs and count differ");
}

static void check_round_trip(const struct dirtyfile *file)
{
    struct trace_bank banks[DIRTYFILE_BANKS];
    const u8 *bitmaps[DIRTYFILE_BANKS];
    static struct dirtyfile again;
    struct copy copy = {NULL, 0};
    char text[200];
    struct fmt error = FMT_INIT(text);

    for (u32 i = 0; i < file->nbanks; i++) {
        banks[i] = file->banks[i].bank;
        bitmaps[i] = file->banks[i].bitmap;
    }
    require(dirtyfile_write(banks, bitmaps, file->nbanks, append, &copy) == 0, "the writer refuses what was read");
    require(dirtyfile_read(&again, copy.bytes, copy.len, &error) == 0, "the reader refuses what was written");
    require(again.nbanks == file->nbanks, "number of banks");
    for (u32 i = 0; i < file->nbanks; i++) {
        const struct dirtyfile_bank *a = &file->banks[i], *b = &again.banks[i];

        require(a->pages == b->pages && a->dirty == b->dirty, "pages");
        require(a->bank.range.base == b->bank.range.base && strcmp(a->bank.name, b->bank.name) == 0, "bank");
        require(memcmp(a->bitmap, b->bitmap, (a->pages + 7) / 8) == 0, "bitmap");
    }
    free(copy.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct dirtyfile file;
    char text[200];
    struct fmt error = FMT_INIT(text);
    int ret = dirtyfile_read(&file, data, size, &error);

    require((ret != 0) == (error.len != 0), "a refusal has a reason, and nothing else has");
    if (ret != 0)
        return 0;
    for (u32 i = 0; i < file.nbanks; i++)
        walk(&file.banks[i]);
    if (file.page_size == PAGE_SIZE)
        check_round_trip(&file);
    return 0;
}

#ifdef STANDALONE
static u64 state;

static u32 next_random(void)
{
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(state >> 33);
}

static struct copy sample(void)
{
    static const struct trace_bank banks[] = {{"memory@80000000", {0x80000000, 0x100000}},
                                              {"memory@90000000", {0x90000000, 0x7000}}};
    static const u8 first[32] = {0x73, 0, 0xff}, second[1] = {0x55};
    const u8 *const bitmaps[] = {first, second};
    struct copy copy = {NULL, 0};

    dirtyfile_write(banks, bitmaps, ARRAY_SIZE(banks), append, &copy);
    return copy;
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
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        append(&copy, chunk, n);
    fclose(f);
    return copy;
}

/* Flips bits, writes interesting words where the fields are, cuts. The file's size is mostly made right again. */
static void mutate(struct copy *input)
{
    static const u64 words[] = {0, 1, 7, 8, 31, 32, 33, 511, 512, 4095, 4096, 1u << 30, 0x7fffffff, 0xffffffff,
                                (u64)1 << 63, UINT64_MAX - 4095, UINT64_MAX};

    for (u32 n = next_random() % 6; n > 0 && input->len; n--) {
        size_t at = next_random() % input->len;

        switch (next_random() % 4) {
        case 0:
            input->bytes[at] ^= (u8)(1u << next_random() % 8);
            break;
        case 1:
            input->bytes[at] = (u8)next_random();
            break;
        case 2:
            at &= ~(size_t)7;
            memcpy(input->bytes + at, &words[next_random() % ARRAY_SIZE(words)], MIN(sizeof(u64), input->len - at));
            break;
        default:
            if (next_random() % 8 == 0)
                input->len = at;
            break;
        }
    }
    if (input->len >= 32 && next_random() % 8) {
        u64 size = input->len;

        memcpy(input->bytes + 24, &size, sizeof(size));
    }
}

int main(int argc, char **argv)
{
    unsigned long runs = argc > 1 ? strtoul(argv[1], NULL, 0) : 10000;
    int nfiles = argc > 3 ? argc - 3 : 0;

    state = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
    for (unsigned long run = 0; run < runs; run++) {
        struct copy input = nfiles ? load(argv[3 + next_random() % (u32)nfiles]) : sample();

        mutate(&input);
        /* An exact allocation, so that a sanitizer sees each byte too far. */
        input.bytes = realloc(input.bytes, input.len ? input.len : 1);
        LLVMFuzzerTestOneInput(input.bytes, input.len);
        free(input.bytes);
    }
    printf("fuzz_dirtyfile: %lu runs\n", runs);
    return 0;
}
#endif
