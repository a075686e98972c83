/* The file with the dirty bitmap: round trip, its bytes, and files that lie. */
#include "unit.h"

#include <errno.h>

#include "trace/dirtyfile.h"

#define MB ((u64)1 << 20)

static u8 data[1 << 16];
static size_t length;
static struct dirtyfile file;
static char why[200];

static long sink(void *context, const void *bytes, size_t n)
{
    (void)context;
    if (n > sizeof(data) - length)
        return -ENOSPC;
    memcpy(data + length, bytes, n);
    length += n;
    return 0;
}

static long failing_sink(void *context, const void *bytes, size_t n)
{
    (void)bytes;
    (void)n;
    return --*(int *)context ? 0 : -EIO;
}

static u8 first_map[32], second_map[2];
static const u8 *const maps[] = {first_map, second_map};
static const struct trace_bank banks[] = {
    {"memory@80000000", {0x80000000, MB}},
    {"memory@c0000000", {0xc0000000, 9 * PAGE_SIZE}},
};

static void write_sample(void)
{
    memset(first_map, 0, sizeof(first_map));
    first_map[0] = 0x73; /* pages 0, 1, 4, 5, 6 */
    first_map[31] = 0x80;
    second_map[0] = 0xff;
    second_map[1] = 0xff; /* all but one bit lie behind the last page */
    length = 0;
    CHECK_EQ(dirtyfile_write(banks, maps, 2, sink, NULL), 0);
}

static int read_back(size_t size)
{
    struct fmt error = FMT_INIT(why);
    /* An exact copy, so that a sanitizer sees a read behind the end. */
    u8 *copy = malloc(size + 1);
    int ret;

    memcpy(copy, data, size);
    ret = dirtyfile_read(&file, copy, size, &error);
    fmt_end(&error);
    if (ret != 0)
        free(copy);
    return ret;
}

static void put(size_t offset, u64 value, unsigned bytes)
{
    memcpy(data + offset, &value, bytes);
}

TEST(round_trip)
{
    u64 cursor = 0, first, count;

    write_sample();
    CHECK_EQ(length, 32 + 2 * 88 + 32 + 8);
    CHECK_EQ(read_back(length), 0);
    CHECK_EQ(file.page_size, 4096);
    CHECK_EQ(file.nbanks, 2);
    CHECK_STR(file.banks[0].bank.name, "memory@80000000");
    CHECK_EQ(file.banks[0].bank.range.base, 0x80000000);
    CHECK_EQ(file.banks[0].bank.range.size, MB);
    CHECK_EQ(file.banks[0].pages, 256);
    CHECK_EQ(file.banks[0].dirty, 6);
    CHECK_EQ(memcmp(file.banks[0].bitmap, first_map, 32), 0);
    CHECK_EQ(file.banks[1].pages, 9);
    CHECK_EQ(file.banks[1].dirty, 9);
    CHECK(bitmap_next_run(file.banks[0].bitmap, 256, &cursor, &first, &count));
    CHECK_EQ(first, 0);
    CHECK_EQ(count, 2);
    CHECK(bitmap_next_run(file.banks[0].bitmap, 256, &cursor, &first, &count));
    CHECK_EQ(first, 4);
    CHECK_EQ(count, 3);
    CHECK(bitmap_next_run(file.banks[0].bitmap, 256, &cursor, &first, &count));
    CHECK_EQ(first, 255);
    CHECK_EQ(count, 1);
    CHECK(!bitmap_next_run(file.banks[0].bitmap, 256, &cursor, &first, &count));
}

/* The layout is a contract with other readers. */
TEST(layout)
{
    static const u8 head[32] = {'M', 'M', 'I', 'O', 'D', 'I', 'R', 'T', 1, 0, 0, 0, 0, 0x10, 0, 0, 2, 0, 0, 0,
                                0,   0,   0,   0,   248, 0,   0,   0,   0, 0, 0, 0};

    write_sample();
    CHECK_EQ(memcmp(data, head, sizeof(head)), 0);
    CHECK_EQ(data[32 + 3], 0x80); /* base of the first bank */
    CHECK_EQ(data[32 + 16], 208); /* its bitmap */
    CHECK_EQ(memcmp(data + 32 + 24, "memory@80000000", 16), 0);
    CHECK_EQ(data[208], 0x73);
    CHECK_EQ(data[32 + 88 + 16], 240);
    CHECK_EQ(data[240], 0xff);
    CHECK_EQ(data[241], 0x01);
}

TEST(no_banks)
{
    length = 0;
    CHECK_EQ(dirtyfile_write(NULL, NULL, 0, sink, NULL), 0);
    CHECK_EQ(read_back(length), 0);
    CHECK_EQ(file.nbanks, 0);
}

TEST(names_survive)
{
    struct trace_bank bank = {"a name with blanks, much longer than the sixty-three bytes that an entry has for it",
                              {0, 4096}};

    length = 0;
    CHECK_EQ(dirtyfile_write(&bank, maps, 1, sink, NULL), 0);
    CHECK_EQ(read_back(length), 0);
    CHECK_STR(file.banks[0].bank.name, "a?name?with?blanks,?much?longer?than?the?sixty-three?bytes?that");
    bank.name = "";
    length = 0;
    CHECK_EQ(dirtyfile_write(&bank, maps, 1, sink, NULL), 0);
    CHECK_EQ(read_back(length), 0);
    CHECK_STR(file.banks[0].bank.name, "?");
}

TEST(writer_refuses)
{
    struct trace_bank bad[2] = {banks[1], banks[0]};

    CHECK_EQ(dirtyfile_write(bad, maps, 2, sink, NULL), -EINVAL);
    bad[0].range = (struct range){0x1001, 4096};
    CHECK_EQ(dirtyfile_write(bad, maps, 1, sink, NULL), -EINVAL);
    bad[0].range = (struct range){0x1000, 0};
    CHECK_EQ(dirtyfile_write(bad, maps, 1, sink, NULL), -EINVAL);
    CHECK_EQ(dirtyfile_write(banks, maps, 33, sink, NULL), -EINVAL);
}

TEST(sink_errors_come_back)
{
    for (int calls = 1; calls <= 7; calls++) {
        int left = calls;

        CHECK_EQ(dirtyfile_write(banks, maps, 2, failing_sink, &left), -EIO);
    }
}

#define REFUSED(offset, value, bytes, part) \
    do { \
        write_sample(); \
        put(offset, value, bytes); \
        CHECK(read_back(length) != 0); \
        if (!strstr(why, part)) \
            printf("# %s\n", why); \
        CHECK(strstr(why, part) != NULL); \
    } while (0)

enum { FIRST = 32, SECOND = 32 + 88 };

TEST(refuses_headers)
{
    REFUSED(0, 'X', 1, "MMIODIRT");
    REFUSED(8, 2, 4, "version 2; this program reads version 1");
    REFUSED(12, 0, 4, "page size");
    REFUSED(12, 4095, 4, "page size");
    REFUSED(12, 1u << 31, 4, "page size");
    REFUSED(16, 33, 4, "more than 32");
    REFUSED(16, 0xffffffff, 4, "more than 32");
    REFUSED(16, 3, 4, "table of banks");
    REFUSED(24, 249, 8, "truncated");
    REFUSED(24, 247, 8, "behind its end");
}

TEST(refuses_banks)
{
    REFUSED(FIRST, 0x80000001, 8, "bank 0: base or size");
    REFUSED(FIRST + 8, 0, 8, "bank 0: base or size");
    REFUSED(FIRST + 8, 4097, 8, "bank 0: base or size");
    REFUSED(FIRST, UINT64_MAX - 4095, 8, "bank 0: the addresses wrap");
    REFUSED(FIRST + 8, 0x50000000, 8, "bank 0: the bitmap");
    REFUSED(FIRST + 8, UINT64_MAX - 0x80000000 - 4095, 8, "bank 0: the bitmap");
    REFUSED(SECOND, 0x80001000, 8, "bank 1: it does not lie above");
    REFUSED(FIRST + 16, 0, 8, "bank 0: the bitmap");
    REFUSED(FIRST + 16, 209, 8, "bank 0: the bitmap");
    REFUSED(FIRST + 16, UINT64_MAX - 7, 8, "bank 0: the bitmap");
    REFUSED(SECOND + 16, 208, 8, "bank 1: the bitmap");
    REFUSED(SECOND + 16, 248, 8, "bank 1: the bitmap");
    REFUSED(241, 0x03, 1, "bank 1: bits behind");
    REFUSED(FIRST + 24, 0, 1, "bank 0: the name");
    REFUSED(FIRST + 26, '\n', 1, "bank 0: the name");
    write_sample();
    memset(data + FIRST + 24, 'a', 64);
    CHECK(read_back(length) != 0);
    CHECK(strstr(why, "bank 0: the name") != NULL);
}

TEST(refuses_every_truncation)
{
    write_sample();
    for (size_t n = 0; n < length; n++)
        CHECK(read_back(n) != 0);
}

/* Against the plainest possible loop, at every alignment. */
TEST(runs_against_a_model)
{
    static u8 bits[64];
    unsigned seed = 3;

    for (unsigned round = 0; round < 2000; round++) {
        u64 pages = round % 400, cursor = 0, first, count, total = 0, at = 0;
        const u8 *bitmap = bits + round % 8;

        for (size_t i = 0; i < sizeof(bits); i++) {
            seed = seed * 1103515245 + 12345;
            bits[i] = seed >> 28 < 5 ? 0 : seed >> 28 < 10 ? 0xff : (u8)(seed >> 16);
        }
        while (bitmap_next_run(bitmap, pages, &cursor, &first, &count)) {
            CHECK(first >= at && count > 0 && count <= pages - first);
            for (; at < first; at++)
                CHECK(!(bitmap[at / 8] >> at % 8 & 1));
            for (; at < first + count; at++)
                CHECK(bitmap[at / 8] >> at % 8 & 1);
            CHECK(at == pages || !(bitmap[at / 8] >> at % 8 & 1));
            total += count;
        }
        for (; at < pages; at++)
            CHECK(!(bitmap[at / 8] >> at % 8 & 1));
        CHECK_EQ(total, bitmap_count(bitmap, pages));
    }
}
