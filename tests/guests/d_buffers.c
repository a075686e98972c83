/* flags: -lpthread */
/* A window as a buffer of system calls, by every way that a program has to make them. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>

#include "b_guest.h"

#define W ((volatile uint8_t *)SCRATCH)

static uint8_t pattern(unsigned i)
{
    return (uint8_t)(i * 7 + 1);
}

static void fill(volatile uint8_t *at, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        at[i] = pattern(i);
}

static void same(const volatile uint8_t *at, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (at[i] != pattern(i)) {
            EQUAL(at[i], pattern(i));
            return;
        }
}

/* plain: write, pwrite from the window; read, pread into it. 16 bytes each way are 4 accesses of 4. */
static int plain(int argc, char **argv)
{
    int fd = open(argv[0], O_RDWR | O_CREAT | O_TRUNC, 0600);
    uint8_t bytes[32] = {0};

    (void)argc;
    fill(W, 16);
    EQUAL(write(fd, (void *)W, 16), 16);
    EQUAL(pwrite(fd, (void *)(W + 4), 12, 20), 12);
    EQUAL(pread(fd, bytes, 32, 0), 32);
    same(bytes, 16);
    CHECK(memcmp(bytes + 20, bytes + 4, 12) == 0);
    EQUAL(pread(fd, (void *)(W + 0x100), 16, 0), 16);
    same(W + 0x100, 16);
    lseek(fd, 0, SEEK_SET);
    EQUAL(read(fd, (void *)(W + 0x200), 16), 16);
    same(W + 0x200, 16);
    EQUAL(syscall(SYS_pread64, fd, W + 0x300, 16, 0), 16);
    same(W + 0x300, 16);
    /* beyond the end of the file: what there is */
    EQUAL(pread(fd, (void *)(W + 0x400), 16, 24), 8);
    EQUAL(W[0x408], 0);
    return 0;
}

/* vectors: RAM, window, stack in one call. */
static int vectors(int argc, char **argv)
{
    int fd = open(argv[0], O_RDWR | O_CREAT | O_TRUNC, 0600);
    uint8_t stack[8], *ram = (uint8_t *)RAM, all[24];
    struct iovec v[3] = {{stack, 8}, {(void *)W, 8}, {ram, 8}};

    (void)argc;
    for (int i = 0; i < 8; i++) {
        stack[i] = pattern((unsigned)i);
        W[i] = pattern((unsigned)i + 8);
        ram[i] = pattern((unsigned)i + 16);
    }
    EQUAL(writev(fd, v, 3), 24);
    EQUAL(pwritev(fd, v, 3, 100), 24);
    EQUAL(pread(fd, all, 24, 0), 24);
    same(all, 24);
    memset(stack, 0, 8);
    memset(ram, 0, 8);
    v[1].iov_base = (void *)(W + 0x20);
    EQUAL(preadv(fd, v, 3, 100), 24);
    same(stack, 8);
    for (unsigned i = 0; i < 8; i++) {
        EQUAL(W[0x20 + i], pattern(i + 8));
        EQUAL(ram[i], pattern(i + 16));
    }
    lseek(fd, 100, SEEK_SET);
    v[1].iov_base = (void *)(W + 0x40);
    EQUAL(readv(fd, v, 3), 24);
    EQUAL(W[0x47], pattern(15));
    return 0;
}

/* stdio: fwrite and fread, large enough to pass stdio's own buffer. */
static int stream(int argc, char **argv)
{
    FILE *f = fopen(argv[0], "w+");
    uint8_t *back = malloc(8192);

    (void)argc;
    fill(W, 64);
    setvbuf(f, NULL, _IONBF, 0);
    EQUAL(fwrite((void *)W, 1, 8192, f), 8192);
    rewind(f);
    EQUAL(fread(back, 1, 8192, f), 8192);
    same(back, 64);
    rewind(f);
    EQUAL(fread((void *)(W + 0x2000), 1, 8192, f), 8192);
    same(W + 0x2000, 64);
    fclose(f);
    free(back);
    return 0;
}

/* sockets: send, recv, sendto, recvfrom, sendmsg, recvmsg; datagrams stay whole. */
static int sockets(int argc, char **argv)
{
    int s[2];
    uint8_t bytes[64];
    struct iovec v[2] = {{(void *)W, 8}, {(void *)(W + 8), 8}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
    char control[64];

    (void)argc;
    (void)argv;
    fill(W, 16);
    EQUAL(socketpair(AF_UNIX, SOCK_DGRAM, 0, s), 0);
    EQUAL(send(s[0], (void *)W, 16, 0), 16);
    EQUAL(recv(s[1], bytes, 64, 0), 16);
    same(bytes, 16);
    EQUAL(sendmsg(s[0], &m, 0), 16);
    EQUAL(recv(s[1], (void *)(W + 0x100), 64, 0), 16);
    same(W + 0x100, 16);
    EQUAL(sendto(s[0], bytes, 16, 0, NULL, 0), 16);
    v[0].iov_base = (void *)(W + 0x200);
    v[1].iov_base = (void *)(W + 0x208);
    m.msg_control = control;
    m.msg_controllen = sizeof(control);
    EQUAL(recvmsg(s[1], &m, MSG_DONTWAIT), 16);
    EQUAL(m.msg_controllen, 0);
    CHECK(m.msg_iov == v && m.msg_iovlen == 2);
    same(W + 0x200, 16);
    EQUAL(recvmsg(s[1], &m, MSG_DONTWAIT), -1);
    EQUAL(errno, EAGAIN);
    return 0;
}

/* signals: a read into a window that waits is interrupted as any other, and goes on with SA_RESTART. */
static volatile int alarms;
static int filled[2];

static void on_alarm(int sig)
{
    (void)sig;
    W[0x800]++;
    if (++alarms == 3 && write(filled[1], "late", 4) != 4)
        _exit(1);
}

static int interrupted(int argc, char **argv)
{
    struct sigaction act = {.sa_handler = on_alarm};
    struct itimerval often = {{0, 20000}, {0, 20000}}, never = {{0, 0}, {0, 0}};

    (void)argc;
    (void)argv;
    EQUAL(pipe(filled), 0);
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    EQUAL(read(filled[0], (void *)W, 16), -1);
    EQUAL(errno, EINTR);
    EQUAL(alarms, 1);
    act.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &act, NULL);
    EQUAL(read(filled[0], (void *)W, 16), 4);
    setitimer(ITIMER_REAL, &never, NULL);
    CHECK(alarms >= 3);
    CHECK(memcmp((void *)(uintptr_t)W, "late", 4) == 0);
    EQUAL(W[0x800], alarms);
    return 0;
}

/* bad: errors are the kernel's, whatever the buffer. */
static int bad(int argc, char **argv)
{
    uint8_t bytes[16];
    int fd = open("/dev/zero", O_RDONLY), out = open("/dev/null", O_WRONLY);
    volatile int minus = -1;
    struct iovec v[2] = {{(void *)W, 4}, {(void *)HOLE, 4}};

    (void)argc;
    (void)argv;
    EQUAL(read(-1, (void *)W, 4), -1);
    EQUAL(errno, EBADF);
    EQUAL(write(fd, (void *)W, 4), -1);
    EQUAL(errno, EBADF);
    EQUAL(read(fd, (void *)HOLE, 4), -1);
    EQUAL(errno, EFAULT);
    EQUAL(read(fd, (void *)W, 0), 0);
    EQUAL(writev(out, v, 2), 4); /* what can be reached */
    EQUAL(writev(out, v, minus), -1);
    EQUAL(errno, EINVAL);
    EQUAL(readv(fd, (void *)HOLE, 2), -1);
    EQUAL(errno, EFAULT);
    EQUAL(pread(fd, bytes, 16, -1), -1);
    EQUAL(errno, EINVAL);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"plain", plain}, {"vectors", vectors}, {"stream", stream}, {"sockets", sockets}, {"interrupted", interrupted}, {"bad", bad},
    };

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
