/* stdio: what counts as input, what a write may do to the program, and what it never touches. */
#include "backend_sample.h"

#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

static struct backend b;

/* The test's own output stays on 0 and 1: the end is moved to the descriptors under test. */
static void setup(int in, int out)
{
    mask_signals();
    CHECK_EQ(open_end(&b, "stdio"), 0);
    CHECK_EQ(b.in, 0);
    CHECK_EQ(b.out, 1);
    CHECK(!b.owns);
    b.in = in;
    b.out = out;
}

static unsigned input(void)
{
    return b.ops->poll(&b, BACKEND_IN, 0);
}

static long get(void)
{
    u8 byte = 0;
    long got = b.ops->read(&b, &byte, 1);

    return got == 1 ? byte : got - 1000;
}

TEST(pipe_input)
{
    int fds[2];

    CHECK_EQ(pipe(fds), 0);
    setup(fds[0], -1);
    CHECK_EQ(input(), 0);
    CHECK_EQ(get(), -EAGAIN - 1000);
    CHECK_EQ(write(fds[1], "ab", 2), 2);
    for (unsigned i = 0; i < 100; i++)
        CHECK_EQ(input(), BACKEND_IN); /* looking takes nothing */
    CHECK_EQ(get(), 'a');
    CHECK_EQ(get(), 'b');
    CHECK_EQ(input(), 0);
    CHECK(!b.ended);
    CHECK_EQ(write(fds[1], "c", 1), 1);
    close(fds[1]);
    CHECK_EQ(input(), BACKEND_IN); /* what was written before the end counts */
    CHECK_EQ(get(), 'c');
    CHECK_EQ(input(), 0);
    CHECK(b.ended);
    CHECK_EQ(get(), -1000);
}

TEST(end_of_file_never_looks_like_input)
{
    double start;
    int fds[2];

    CHECK_EQ(pipe(fds), 0);
    close(fds[1]);
    setup(fds[0], -1);
    for (unsigned i = 0; i < 1000; i++)
        CHECK_EQ(input(), 0);
    start = seconds();
    CHECK_EQ(b.ops->poll(&b, BACKEND_IN, 10000), 0); /* nothing will come: no wait */
    CHECK(seconds() - start < 5);
}

TEST(an_ended_input_does_not_cut_a_wait_for_output_short)
{
    int in[2], out[2];
    char page[4096] = {0};
    double start;

    CHECK_EQ(pipe(in), 0);
    CHECK_EQ(pipe2(out, O_NONBLOCK), 0);
    close(in[1]);
    while (write(out[1], page, sizeof(page)) > 0)
        ;
    setup(in[0], out[1]);
    start = seconds();
    CHECK_EQ(b.ops->poll(&b, BACKEND_IN | BACKEND_OUT, 60), 0);
    CHECK(seconds() - start > 0.05);
    CHECK_EQ(read(out[0], page, sizeof(page)), sizeof(page));
    CHECK_EQ(b.ops->poll(&b, BACKEND_IN | BACKEND_OUT, 60), BACKEND_OUT);
}

TEST(dev_null)
{
    int fd = open("/dev/null", O_RDWR);

    setup(fd, fd);
    for (unsigned i = 0; i < 100; i++)
        CHECK_EQ(input(), 0);
    CHECK_EQ(get(), -1000);
    CHECK_EQ(b.ops->write(&b, "x", 1), 1);
}

/* A character device without FIONREAD: a read decides. */
TEST(dev_zero)
{
    int fd = open("/dev/zero", O_RDONLY);

    setup(fd, -1);
    CHECK_EQ(input(), BACKEND_IN);
    CHECK_EQ(get(), 0);
    CHECK_EQ(input(), BACKEND_IN);
}

TEST(regular_file)
{
    char path[] = "/tmp/mmioshim-unit-XXXXXX";
    int fd = mkstemp(path), writer = open(path, O_WRONLY | O_APPEND);

    unlink(path);
    setup(fd, -1);
    CHECK_EQ(input(), 0);
    CHECK_EQ(write(writer, "xy", 2), 2);
    CHECK_EQ(input(), BACKEND_IN); /* it has grown */
    CHECK_EQ(get(), 'x');
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), 1); /* nothing read ahead */
    CHECK_EQ(get(), 'y');
    CHECK_EQ(input(), 0);
    /* FIONREAD is an int: 4 GiB before the end look like 0 */
    CHECK_EQ(ftruncate(fd, 2 + (1ll << 32)), 0);
    CHECK_EQ(input(), BACKEND_IN);
    close(fd);
    close(writer);
}

TEST(socket_input)
{
    int fds[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    setup(fds[0], fds[0]);
    CHECK_EQ(input(), 0);
    CHECK_EQ(send(fds[1], "q", 1, 0), 1);
    CHECK_EQ(input(), BACKEND_IN);
    CHECK_EQ(get(), 'q');
    close(fds[1]);
    CHECK_EQ(input(), 0);
    CHECK_EQ(b.ops->write(&b, "x", 1), -EPIPE);
    CHECK(!is_pending(SIGPIPE));
}

TEST(terminal_input)
{
    struct backend tty;
    int slave;

    memset(&tty, 0, sizeof(tty));
    CHECK_EQ(open_end(&tty, "pty"), 0);
    slave = open(tty.name, O_RDWR | O_NOCTTY);
    setup(slave, slave);
    CHECK_EQ(input(), 0);
    CHECK_EQ(tty.ops->write(&tty, "k", 1), 1);
    CHECK_EQ(b.ops->poll(&b, BACKEND_IN, 5000), BACKEND_IN);
    CHECK_EQ(get(), 'k');
    CHECK_EQ(input(), 0);
}

/* A read would stop the program (SIGTTIN) or fail with EIO: there is no input for those in the background. */
TEST(terminal_in_the_background)
{
    struct backend tty;
    int slave, status = -1;
    pid_t pid;

    memset(&tty, 0, sizeof(tty));
    CHECK(setsid() > 0);
    CHECK_EQ(open_end(&tty, "pty"), 0);
    slave = open(tty.name, O_RDWR | O_NOCTTY);
    CHECK_EQ(ioctl(slave, TIOCSCTTY, 0), 0);
    setup(slave, slave);
    CHECK_EQ(tty.ops->write(&tty, "k", 1), 1);
    CHECK_EQ(b.ops->poll(&b, BACKEND_IN, 5000), BACKEND_IN);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        _exit(input() != 0 || get() != -EAGAIN - 1000);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    CHECK_EQ(input(), BACKEND_IN);
    CHECK_EQ(get(), 'k');
}

TEST(closed_descriptor)
{
    setup(900, 901);
    CHECK_EQ(input(), 0);
    CHECK_EQ(b.ops->poll(&b, BACKEND_OUT, 0), BACKEND_OUT);
    CHECK_EQ(b.ops->write(&b, "x", 1), -EBADF);
}

TEST(full_pipe_would_block)
{
    int fds[2];
    unsigned taken = 0;
    char c;

    CHECK_EQ(pipe(fds), 0);
    setup(-1, fds[1]);
    CHECK(!(fcntl(fds[1], F_GETFL) & O_NONBLOCK));
    while (b.ops->write(&b, "x", 1) == 1)
        taken++;
    CHECK(taken >= 4096);
    CHECK_EQ(b.ops->write(&b, "x", 1), -EAGAIN);
    CHECK_EQ(b.ops->poll(&b, BACKEND_OUT, 0), 0);
    for (unsigned i = 0; i < taken; i++)
        CHECK_EQ(read(fds[0], &c, 1), 1);
    CHECK_EQ(b.ops->write(&b, "x", 1), 1);
    CHECK(!(fcntl(fds[1], F_GETFL) & O_NONBLOCK));
}

TEST(one_byte_at_a_time)
{
    int fds[2];

    CHECK_EQ(pipe(fds), 0);
    setup(-1, fds[1]);
    CHECK_EQ(b.ops->write(&b, "abc", 3), 1);
    CHECK_EQ(b.ops->write(&b, "abc", 0), 0);
}

TEST(closed_pipe_raises_nothing)
{
    int fds[2];

    CHECK_EQ(pipe(fds), 0);
    close(fds[0]);
    setup(-1, fds[1]);
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(b.ops->write(&b, "x", 1), -EPIPE);
    CHECK(!is_pending(SIGPIPE));
}

TEST(a_sigpipe_of_the_program_stays)
{
    int fds[2];

    CHECK_EQ(pipe(fds), 0);
    close(fds[0]);
    setup(-1, fds[1]);
    CHECK_EQ(write(fds[1], "x", 1), -1);
    CHECK(is_pending(SIGPIPE));
    CHECK_EQ(b.ops->write(&b, "x", 1), -EPIPE);
    CHECK(is_pending(SIGPIPE));
}

TEST(file_size_limit_raises_nothing)
{
    char path[] = "/tmp/mmioshim-unit-XXXXXX";
    int fd = mkstemp(path);
    struct rlimit none = {0, 0};

    unlink(path);
    setup(-1, fd);
    fflush(stdout);
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
    CHECK_EQ(b.ops->write(&b, "x", 1), -EFBIG);
    CHECK(!is_pending(SIGXFSZ));
}

TEST(close_leaves_the_descriptors)
{
    int fds[2];

    CHECK_EQ(pipe(fds), 0);
    setup(fds[0], fds[1]);
    backend_close(&b);
    CHECK(fcntl(fds[0], F_GETFD) >= 0);
    CHECK(fcntl(fds[1], F_GETFD) >= 0);
}
