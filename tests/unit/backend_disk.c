/* disk: the bytes of a file by position. */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <ucontext.h>

#include "backend_sample.h"

#include "base/guard.h"

#define SIZE (64 * 512)

static struct backend b;
static char path[256];
static u8 bytes[SIZE];
static volatile unsigned faults;

static void make(size_t size)
{
    FILE *f;

    snprintf(path, sizeof(path), "/tmp/backend_disk.%d", (int)getpid());
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (u8)(i * 7 + i / 512);
    f = fopen(path, "wb");
    CHECK(f && fwrite(bytes, 1, size, f) == size && fclose(f) == 0);
}

static int open_disk(const char *options)
{
    char spec[300];

    snprintf(spec, sizeof(spec), "disk:%s%s", path, options);
    return open_end(&b, spec);
}

static void done(void)
{
    backend_close(&b);
    unlink(path);
}

/* What the file holds now. */
static void expect(const u8 *want)
{
    static u8 got[SIZE + 1];
    FILE *f = fopen(path, "rb");

    CHECK(f && fread(got, 1, sizeof(got), f) == SIZE);
    CHECK(memcmp(got, want, SIZE) == 0);
    fclose(f);
}

TEST(moves_bytes)
{
    u8 buf[1000];

    make(SIZE);
    CHECK_EQ(open_disk(""), 0);
    CHECK_EQ(b.ops->disk->size(&b), SIZE);
    CHECK_EQ(b.ops->disk->read(&b, buf, sizeof(buf), 777), sizeof(buf));
    CHECK(memcmp(buf, bytes + 777, sizeof(buf)) == 0);
    CHECK_EQ(b.ops->disk->read(&b, buf, sizeof(buf), SIZE - 10), 10);
    CHECK_EQ(b.ops->disk->read(&b, buf, sizeof(buf), SIZE), 0);
    memset(buf, 0x77, sizeof(buf));
    CHECK_EQ(b.ops->disk->write(&b, buf, 600, 1234), 600);
    memset(bytes + 1234, 0x77, 600);
    expect(bytes);
    CHECK_EQ(b.ops->disk->flush(&b), 0);
    done();
}

TEST(zeroes_and_holes)
{
    struct stat st;

    make(SIZE);
    CHECK_EQ(open_disk(""), 0);
    CHECK_EQ(b.ops->disk->zero(&b, 512, 1024, false), 0);
    memset(bytes + 512, 0, 1024);
    expect(bytes);
    CHECK_EQ(b.ops->disk->zero(&b, 8192, 8192, true), 0);
    memset(bytes + 8192, 0, 8192);
    expect(bytes);
    CHECK_EQ(b.ops->disk->discard(&b, 16384, 512), 0);
    CHECK_EQ(b.ops->disk->zero(&b, SIZE - 512, 512, true), 0);
    CHECK(stat(path, &st) == 0 && st.st_size == SIZE);
    done();
}

/* What the library does at a fault (trap/pipeline.c). */
static void on_fault(int sig, siginfo_t *info, void *context)
{
    greg_t *rip = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    u64 go_on = guard_fixup((u64)*rip);

    (void)info;
    faults++;
    if (!go_on)
        signal(sig, SIG_DFL);
    *rip = go_on ? (greg_t)go_on : *rip;
}

TEST(mapped)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    u8 buf[8192];

    CHECK_EQ(sigaction(SIGBUS, &action, NULL), 0);
    make(SIZE);
    CHECK_EQ(open_disk(",mmap"), 0);
    CHECK_EQ(b.ops->disk->read(&b, buf, 1000, 777), 1000);
    CHECK(memcmp(buf, bytes + 777, 1000) == 0);
    CHECK_EQ(b.ops->disk->read(&b, buf, 1000, SIZE - 10), 10);
    CHECK_EQ(b.ops->disk->read(&b, buf, 1000, SIZE), 0);
    memset(buf, 0x77, 600);
    CHECK_EQ(b.ops->disk->write(&b, buf, 600, 1234), 600);
    memset(bytes + 1234, 0x77, 600);
    expect(bytes);
    CHECK_EQ(b.ops->disk->flush(&b), 0);
    CHECK_EQ(b.ops->disk->zero(&b, 8192, 4096, true), 0);
    memset(bytes + 8192, 0, 4096);
    CHECK_EQ(b.ops->disk->read(&b, buf, 8192, 8192), 8192);
    CHECK(memcmp(buf, bytes + 8192, 8192) == 0);
    b.ops->disk->soon(&b, 8192, SIZE - 8192);
    CHECK_EQ(faults, 0);
    /* Cut: what is left of the file is read, and what is written makes it longer. */
    CHECK_EQ(truncate(path, 8192), 0);
    CHECK_EQ(b.ops->disk->read(&b, buf, 8192, 4096), 4096);
    CHECK(memcmp(buf, bytes + 4096, 4096) == 0);
    b.ops->disk->soon(&b, 8192, SIZE - 8192);
    CHECK_EQ(b.ops->disk->read(&b, buf, 512, 8192), 0);
    CHECK_EQ(b.ops->disk->write(&b, bytes + 8192, SIZE - 8192, 8192), SIZE - 8192);
    CHECK_EQ(faults, 3);
    expect(bytes);
    done();
    CHECK(b.map == NULL);
}

TEST(read_only)
{
    make(SIZE);
    CHECK_EQ(chmod(path, 0444), 0);
    CHECK_EQ(open_disk(",readonly"), 0);
    CHECK_EQ(b.ops->disk->write(&b, bytes, 512, 512), -9 /* EBADF */);
    expect(bytes);
    done();
}

TEST(refused)
{
    make(SIZE - 1);
    CHECK_EQ(open_disk(""), -1);
    CHECK(strstr(error_text, "not a multiple of 512"));
    make(0);
    CHECK_EQ(open_disk(""), -1);
    make(512);
    CHECK_EQ(open_disk(",quick"), -1);
    CHECK(strstr(error_text, "disk does not take \"quick\""));
    done();
    CHECK_EQ(open_disk(""), -1);
    CHECK(strstr(error_text, "ENOENT"));
    CHECK_EQ(open_end(&b, "disk:/tmp"), -1);
    CHECK_EQ(open_end(&b, "disk:/dev/null"), -1);
    CHECK(strstr(error_text, "no regular file"));
    CHECK_EQ(open_end(&b, "disk"), -1);
}
