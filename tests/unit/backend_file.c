/* file: who truncates, who appends, what input does. */
#include "backend_sample.h"

static struct backend a, b;
static char path[64], spec[256], content[256];

static void setup(void)
{
    mask_signals();
    snprintf(path, sizeof(path), "%s/out", temporary_directory());
    snprintf(spec, sizeof(spec), "file:%s", path);
}

static void teardown(void)
{
    char *slash = strrchr(path, '/');

    unlink(path);
    *slash = 0;
    rmdir(path);
}

static const char *read_back(void)
{
    int fd = open(path, O_RDONLY);
    long n = read(fd, content, sizeof(content) - 1);

    close(fd);
    content[n > 0 ? n : 0] = 0;
    return content;
}

static void put(struct backend *end, const char *text)
{
    for (; *text; text++)
        CHECK_EQ(end->ops->write(end, text, 1), 1);
}

TEST(first_truncates_others_append)
{
    setup();
    a.first = true;
    CHECK_EQ(open_end(&a, spec), 0);
    put(&a, "old");
    backend_close(&a);
    a.first = true;
    CHECK_EQ(open_end(&a, spec), 0);
    put(&a, "one ");
    CHECK_EQ(open_end(&b, spec), 0); /* another process of the machine */
    put(&b, "two ");
    put(&a, "three");
    CHECK_STR(read_back(), "one two three");
    backend_close(&a);
    backend_close(&b);
    teardown();
}

TEST(append)
{
    setup();
    strcat(spec, ",append");
    a.first = true;
    CHECK_EQ(open_end(&a, spec), 0);
    put(&a, "old ");
    backend_close(&a);
    CHECK_EQ(open_end(&a, spec), 0);
    put(&a, "new");
    CHECK_STR(read_back(), "old new");
    backend_close(&a);
    teardown();
}

TEST(descriptors_are_ours)
{
    int out;

    setup();
    CHECK_EQ(open_end(&a, spec), 0);
    out = a.out;
    CHECK(a.owns);
    CHECK(fcntl(out, F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(out, F_GETFL) & O_APPEND);
    backend_close(&a);
    CHECK_EQ(fcntl(out, F_GETFD), -1);
    teardown();
}

TEST(no_input_without_in)
{
    char c;

    setup();
    CHECK_EQ(open_end(&a, spec), 0);
    CHECK_EQ(a.ops->poll(&a, BACKEND_IN | BACKEND_OUT, 0), BACKEND_OUT);
    CHECK_EQ(a.ops->read(&a, &c, 1), 0);
    backend_close(&a);
    teardown();
}

TEST(input_from_a_file)
{
    char c, both[512];

    setup();
    CHECK_EQ(open_end(&a, spec), 0);
    put(&a, "hi");
    snprintf(both, sizeof(both), "file:/dev/null,in=%s", path);
    CHECK_EQ(open_end(&b, both), 0);
    CHECK(fcntl(b.in, F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(b.ops->poll(&b, BACKEND_IN, 0), BACKEND_IN);
    CHECK_EQ(b.ops->read(&b, &c, 1), 1);
    CHECK_EQ(c, 'h');
    CHECK_EQ(b.ops->read(&b, &c, 1), 1);
    CHECK_EQ(c, 'i');
    CHECK_EQ(b.ops->poll(&b, BACKEND_IN, 0), 0);
    CHECK_EQ(b.ops->read(&b, &c, 1), 0);
    CHECK(b.ended);
    backend_close(&a);
    backend_close(&b);
    teardown();
}

TEST(fifo_without_a_reader_does_not_hang)
{
    setup();
    CHECK_EQ(mkfifo(path, 0600), 0);
    CHECK_EQ(open_end(&a, spec), -1);
    CHECK(strstr(error_text, "a FIFO that nobody reads") != NULL);
    teardown();
}

TEST(full_device)
{
    mask_signals();
    CHECK_EQ(open_end(&a, "file:/dev/full"), 0);
    CHECK_EQ(a.ops->write(&a, "x", 1), -ENOSPC);
    backend_close(&a);
}
