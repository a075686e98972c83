/* pty: raw both ways, nobody need be there, and the link is looked after. */
#include "backend_sample.h"

#include <termios.h>

static struct backend b;

static void setup(const char *spec)
{
    mask_signals();
    b.first = true;
    if (open_end(&b, spec)) {
        printf("# %s\n", error_text);
        CHECK(!"the end opens");
        exit(1);
    }
}

static int connect_terminal(void)
{
    int fd = open(b.name, O_RDWR | O_NOCTTY | O_NONBLOCK);

    CHECK(fd >= 0);
    return fd;
}

/* The kernel carries bytes over asynchronously. */
static long read_soon(int fd, void *buf, size_t n)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 5000) == 1 ? read(fd, buf, n) : -1;
}

TEST(name_and_descriptor)
{
    struct stat st;

    setup("pty");
    CHECK(strncmp(b.name, "/dev/pts/", 9) == 0);
    CHECK_EQ(stat(b.name, &st), 0);
    CHECK(S_ISCHR(st.st_mode));
    CHECK(b.owns && b.in == b.out && b.in > 2);
    CHECK(fcntl(b.in, F_GETFD) & FD_CLOEXEC);
    backend_close(&b);
}

TEST(all_bytes_pass_both_ways)
{
    int fd;

    setup("pty");
    fd = connect_terminal();
    for (unsigned i = 0; i < 256; i++) {
        u8 byte = (u8)i, got = (u8)~i;

        CHECK_EQ(b.ops->write(&b, &byte, 1), 1);
        CHECK_EQ(read_soon(fd, &got, 1), 1);
        CHECK_EQ(got, i);
        got = (u8)~i;
        CHECK_EQ(write(fd, &byte, 1), 1);
        CHECK_EQ(b.ops->poll(&b, BACKEND_IN, 5000), BACKEND_IN);
        CHECK_EQ(b.ops->read(&b, &got, 1), 1);
        CHECK_EQ(got, i);
    }
    CHECK_EQ(b.ops->poll(&b, BACKEND_IN, 0), 0); /* nothing was echoed */
    CHECK_EQ(b.ops->read(&b, &fd, 1), -EAGAIN);
}

TEST(terminal_is_raw_and_stays_so)
{
    struct termios t;

    setup("pty");
    for (unsigned i = 0; i < 3; i++) {
        int fd = connect_terminal();

        CHECK_EQ(tcgetattr(fd, &t), 0);
        CHECK_EQ(t.c_lflag & (ECHO | ICANON | ISIG | IEXTEN), 0);
        CHECK_EQ(t.c_oflag & OPOST, 0);
        CHECK_EQ(t.c_iflag & (ICRNL | IXON), 0);
        close(fd);
    }
}

TEST(nobody_there_never_blocks)
{
    setup("pty");
    for (unsigned i = 0; i < 200000; i++) {
        long done = b.ops->write(&b, "x", 1);

        if (done != 1) {
            CHECK_EQ(done, 1);
            break;
        }
    }
    CHECK_EQ(b.ops->poll(&b, BACKEND_OUT, 0), BACKEND_OUT);
}

TEST(early_output_waits_for_the_first_visitor)
{
    char got[16] = "";

    setup("pty");
    CHECK_EQ(b.ops->write(&b, "boot", 4), 4);
    CHECK_EQ(read_soon(connect_terminal(), got, sizeof(got)), 4);
    CHECK_STR(got, "boot");
}

TEST(a_slow_reader_is_waited_for)
{
    unsigned sent = 0, got = 0;
    char buf[4096];
    int fd;

    setup("pty");
    fd = connect_terminal();
    while (sent < 1000000 && b.ops->write(&b, "x", 1) == 1)
        sent++;
    CHECK(sent < 1000000);
    CHECK_EQ(b.ops->write(&b, "x", 1), -EAGAIN);
    CHECK_EQ(b.ops->poll(&b, BACKEND_OUT, 0), 0);
    while (got < sent) {
        long n = read_soon(fd, buf, sizeof(buf));

        if (n <= 0)
            break;
        got += (unsigned)n;
    }
    CHECK_EQ(got, sent);
    CHECK_EQ(b.ops->poll(&b, BACKEND_OUT, 5000), BACKEND_OUT);
}

TEST(a_visitor_comes_and_goes)
{
    char c;

    setup("pty");
    for (unsigned i = 0; i < 3; i++) {
        int fd = connect_terminal();

        CHECK_EQ(write(fd, "in", 2), 2);
        close(fd);
        CHECK_EQ(b.ops->poll(&b, BACKEND_IN, 5000), BACKEND_IN); /* what it typed still counts */
        CHECK_EQ(b.ops->read(&b, &c, 1), 1);
        CHECK_EQ(c, 'i');
        CHECK_EQ(b.ops->read(&b, &c, 1), 1);
        CHECK_EQ(c, 'n');
        CHECK_EQ(b.ops->poll(&b, BACKEND_IN, 0), 0);
        CHECK_EQ(b.ops->read(&b, &c, 1), -EAGAIN); /* not the end: another may come */
        CHECK(!b.ended);
    }
}

TEST(waiting_sleeps_and_notices)
{
    struct timespec before, after;
    double start = seconds();
    pid_t pid;

    setup("pty");
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    CHECK_EQ(b.ops->poll(&b, BACKEND_IN, 200), 0);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    CHECK(seconds() - start > 0.15);
    CHECK((after.tv_sec - before.tv_sec) * 1000000000ll + after.tv_nsec - before.tv_nsec < 50000000);
    pid = fork();
    if (pid == 0) {
        int fd;

        usleep(100000);
        fd = open(b.name, O_RDWR | O_NOCTTY);
        _exit(write(fd, "k", 1) != 1);
    }
    CHECK_EQ(b.ops->poll(&b, BACKEND_IN, -1), BACKEND_IN);
    waitpid(pid, NULL, 0);
}

TEST(link)
{
    char path[64], spec[128], target[64];
    char *dir = temporary_directory();
    long n;
    pid_t pid;

    snprintf(path, sizeof(path), "%s/tty", dir);
    snprintf(spec, sizeof(spec), "pty,link=%s", path);
    CHECK_EQ(symlink("/dev/pts/999999", path), 0); /* left behind by a run that was killed */
    setup(spec);
    n = readlink(path, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = 0;
    CHECK_STR(target, b.name);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        backend_close(&b); /* a child's end goes, the link stays */
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    CHECK(readlink(path, target, sizeof(target)) > 0);
    backend_close(&b);
    CHECK_EQ(readlink(path, target, sizeof(target)), -1);
    rmdir(dir);
}

TEST(link_leaves_the_users_files)
{
    char path[64], spec[128];
    char *dir = temporary_directory();
    struct stat st;

    snprintf(path, sizeof(path), "%s/tty", dir);
    snprintf(spec, sizeof(spec), "pty,link=%s", path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    b.first = true;
    CHECK_EQ(open_end(&b, spec), -1);
    CHECK(strstr(error_text, "EEXIST") != NULL);
    CHECK_EQ(stat(path, &st), 0);
    unlink(path);
    CHECK_EQ(symlink("/dev/ptsx", path), 0);
    b.first = true;
    CHECK_EQ(open_end(&b, spec), -1);
    unlink(path);
    b.first = false; /* a later process of the machine makes no link */
    CHECK_EQ(open_end(&b, spec), 0);
    CHECK_EQ(lstat(path, &st), -1);
    backend_close(&b);
    rmdir(dir);
}

TEST(adopted)
{
    static struct backend other;
    char got[8] = "";
    int pipe_ends[2];

    setup("pty");
    error.len = 0;
    CHECK_EQ(backend_pty.adopt(&other, dup(b.in), &error), 0);
    CHECK_STR(other.name, b.name);
    CHECK_EQ(other.ops->write(&other, "x", 1), 1);
    CHECK_EQ(read_soon(connect_terminal(), got, 1), 1);
    backend_close(&other);
    CHECK_EQ(pipe(pipe_ends), 0);
    CHECK_EQ(backend_pty.adopt(&other, pipe_ends[0], &error), -1);
    CHECK(b.ops->poll(&b, BACKEND_OUT, 0) == BACKEND_OUT);
}
