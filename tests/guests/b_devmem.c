/* flags: -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 */
/* /dev/mem: opened in every way, mapped in every shape. What is mapped is the machine. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "b_guest.h"

#define PAGE 4096ul

static int rw = O_RDWR | O_SYNC; /* not constant: the fortified names are called */

static int device(void)
{
    int fd = open("/dev/mem", O_RDWR | O_SYNC);

    if (fd < 0) {
        perror("/dev/mem");
        exit(90);
    }
    return fd;
}

static char *map(int fd, size_t length, int prot, unsigned long at)
{
    char *p = mmap(NULL, length, prot, MAP_SHARED, fd, (off_t)at);

    if (p == MAP_FAILED) {
        perror("mmap");
        exit(91);
    }
    return p;
}

/* Each way to open gives the same device. */
static int opens(int argc, char **argv)
{
    int dir = open("/dev", O_RDONLY | O_DIRECTORY), n = 0;
    volatile int flags = rw;
    int fds[16];

    (void)argc;
    (void)argv;
    fds[n++] = open("/dev/mem", O_RDWR);
    fds[n++] = open64("/dev/mem", O_RDWR | O_SYNC);
    fds[n++] = openat(AT_FDCWD, "/dev/mem", O_RDWR);
    fds[n++] = openat64(AT_FDCWD, "/dev/mem", O_RDWR);
    fds[n++] = openat(dir, "mem", O_RDWR);
    fds[n++] = open("/dev/mem", flags);
    fds[n++] = open64("/dev/mem", flags);
    fds[n++] = openat(AT_FDCWD, "/dev/mem", flags);
    fds[n++] = openat64(dir, "mem", flags);
    fds[n++] = open("/dev//mem", O_RDWR);
    fds[n++] = open("/dev/./mem", O_RDWR | O_CREAT, 0600);
    if (chdir("/dev") == 0)
        fds[n++] = open("mem", O_RDWR | O_CLOEXEC);
    if (chdir("/") == 0)
        fds[n++] = open("dev/mem", O_RDWR);
    *SCR = 0;
    for (int i = 0; i < n; i++) {
        volatile uint8_t *p;

        CHECK(fds[i] >= 0);
        p = (volatile uint8_t *)map(fds[i], PAGE, PROT_READ | PROT_WRITE, UART);
        EQUAL(p[7], i);
        p[7] = (uint8_t)(i + 1);
        EQUAL(munmap((void *)(uintptr_t)p, PAGE), 0);
        EQUAL(close(fds[i]), 0);
    }
    EQUAL(*SCR, n);
    EQUAL(n, 13);
    EQUAL(fcntl(open("/dev/mem", O_RDWR | O_CLOEXEC), F_GETFD), FD_CLOEXEC);
    EQUAL(fcntl(open("/dev/mem", O_RDONLY), F_GETFL) & O_ACCMODE, O_RDONLY);
    EQUAL(open("/dev/mem", O_RDWR | O_CREAT | O_EXCL, 0600), -1);
    EQUAL(errno, EEXIST);
    CHECK(open("/dev/memory", O_RDWR) < 0);
    CHECK(open("/dev/null", O_RDWR) >= 0);
    return 0;
}

/* Mappings at any offset, several of one place, and what becomes of a part. */
static int shapes(int argc, char **argv)
{
    int fd = device();
    volatile uint8_t *a = (volatile uint8_t *)map(fd, 4 * PAGE, PROT_READ | PROT_WRITE, SCRATCH);
    volatile uint8_t *b = (volatile uint8_t *)map(fd, PAGE, PROT_READ | PROT_WRITE, SCRATCH + 2 * PAGE);
    volatile uint8_t *c = (volatile uint8_t *)map(fd, 2 * PAGE, PROT_READ | PROT_WRITE, SCRATCH + PAGE);
    volatile uint8_t *home = (volatile uint8_t *)SCRATCH;
    char *plain;

    (void)argc;
    (void)argv;
    close(fd); /* mappings stay */
    a[2 * PAGE + 9] = 0x91;
    EQUAL(b[9], 0x91);
    EQUAL(c[PAGE + 9], 0x91);
    EQUAL(home[2 * PAGE + 9], 0x91);
    b[10] = 0x92;
    EQUAL(home[2 * PAGE + 10], 0x92);
    /* Across the pages of a mapping, in one access. */
    *(volatile uint64_t *)(uintptr_t)(a + 2 * PAGE - 4) = 0x1122334455667788;
    EQUAL(*(volatile uint64_t *)(SCRATCH + 2 * PAGE - 4), 0x1122334455667788);
    /* A hole is cut into the middle: both ends stay. */
    EQUAL(munmap((void *)(uintptr_t)(a + PAGE), PAGE), 0);
    EQUAL(a[2 * PAGE + 9], 0x91);
    a[5] = 0x55;
    EQUAL(home[5], 0x55);
    a[3 * PAGE] = 0x33;
    EQUAL(home[3 * PAGE], 0x33);
    EQUAL(c[PAGE + 10], 0x92);
    /* Ordinary memory over a part of it is ordinary memory. */
    plain = mmap((void *)(uintptr_t)(c + PAGE), PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    CHECK(plain == (char *)(uintptr_t)(c + PAGE));
    EQUAL(plain[9], 0);
    plain[9] = 1;
    EQUAL(home[2 * PAGE + 9], 0x91);
    EQUAL(b[9], 0x91);
    EQUAL(c[1], home[PAGE + 1]);
    /* And the device over ordinary memory of the program. */
    plain = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    plain[PAGE] = 7;
    fd = device();
    CHECK(mmap(plain + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, UART) == plain + PAGE);
    plain[PAGE + 7] = 0x66;
    EQUAL(*SCR, 0x66);
    plain[0] = plain[2 * PAGE] = 1;
    EQUAL(munmap(plain, 3 * PAGE), 0);
    return 0;
}

/* One mapping over the UART, a virtio slot and the hole behind it. */
static int spans(int argc, char **argv)
{
    int fd = device();
    volatile uint8_t *p = (volatile uint8_t *)map(fd, 0x10000, PROT_READ | PROT_WRITE, UART);

    (void)argc;
    (void)argv;
    p[7] = 0x71;
    EQUAL(p[7], 0x71);
    EQUAL(*(volatile uint32_t *)(uintptr_t)(p + 0x1000), 0x74726976);
    EQUAL(*(volatile uint32_t *)(uintptr_t)(p + 0x1008), 0);
    EQUAL(*(volatile uint32_t *)(uintptr_t)(p + 0xf000), 0xffffffff);
    *(volatile uint32_t *)(uintptr_t)(p + 0xf000) = 1;
    EQUAL(munmap((void *)(uintptr_t)p, 0x10000), 0);
    return 0;
}

/* RAM through the device is the RAM at its address. */
static int ram(int argc, char **argv)
{
    volatile uint32_t *home = (volatile uint32_t *)RAM;
    int fd = device();
    volatile uint32_t *a = (volatile uint32_t *)(uintptr_t)map(fd, 16 * PAGE, PROT_READ | PROT_WRITE, RAM);
    volatile uint32_t *b = (volatile uint32_t *)(uintptr_t)map(fd, PAGE, PROT_READ | PROT_WRITE, RAM + 5 * PAGE);
    pid_t pid;
    int status;

    (void)argc;
    (void)argv;
    EQUAL(a[0], 0);                 /* read: not dirty */
    a[3 * PAGE / 4] = 0x1234;       /* page 3, by the mapping */
    EQUAL(home[3 * PAGE / 4], 0x1234);
    b[1] = 0x99;                    /* page 5, by the other one */
    EQUAL(home[5 * PAGE / 4 + 1], 0x99);
    home[7 * PAGE / 4] = 0x77;      /* page 7, at home */
    EQUAL(a[7 * PAGE / 4], 0x77);
    pid = fork();
    if (pid == 0) {
        a[9 * PAGE / 4] = 0x9999;   /* page 9, by the mapping that a child inherits */
        exit(0);
    }
    waitpid(pid, &status, 0);
    EQUAL(status, 0);
    EQUAL(home[9 * PAGE / 4], 0x9999);
    return 0;
}

/* Copies of the descriptor, and descriptors that come from elsewhere. */
static int copies(int argc, char **argv)
{
    int fd = device(), pair[2], got = -1, fds[8], n = 0, status;
    char byte = 0, room[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec io = {&byte, 1};
    struct msghdr msg = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    pid_t pid;

    (void)argc;
    (void)argv;
    fds[n++] = dup(fd);
    fds[n++] = dup2(fd, 200);
    fds[n++] = dup3(fd, 201, O_CLOEXEC);
    fds[n++] = fcntl(fd, F_DUPFD, 100);
    fds[n++] = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return 92;
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));
    EQUAL(sendmsg(pair[0], &msg, 0), 1);
    EQUAL(recvmsg(pair[1], &msg, 0), 1);
    memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
    fds[n++] = got;
    close(fd);
    *SCR = 0x30;
    for (int i = 0; i < n; i++) {
        volatile uint8_t *p;

        CHECK(fds[i] >= 0);
        p = (volatile uint8_t *)map(fds[i], PAGE, PROT_READ | PROT_WRITE, UART);
        EQUAL(p[7]++, 0x30 + i);
    }
    pid = fork();
    if (pid == 0) {
        volatile uint8_t *p = (volatile uint8_t *)map(fds[0], PAGE, PROT_READ | PROT_WRITE, UART);

        EQUAL(p[7], 0x30 + n);
        exit(failures);
    }
    waitpid(pid, &status, 0);
    EQUAL(status, 0);
    EQUAL(n, 6);
    return 0;
}

/* A descriptor that lives through exec: pass, then received FD. */
static int pass(int argc, char **argv)
{
    char text[16];

    (void)argc;
    (void)argv;
    *SCR = 0x4e;
    for (int i = 0; i < 20; i++)
        device(); /* they are inherited too */
    snprintf(text, sizeof(text), "%d", device());
    execl("/proc/self/exe", "b_devmem", "received", text, (char *)NULL);
    return 96;
}

static int received(int argc, char **argv)
{
    volatile uint8_t *p = (volatile uint8_t *)map(argc ? atoi(argv[0]) : -1, PAGE, PROT_READ | PROT_WRITE, UART);

    EQUAL(p[7], 0x4e);
    return 0;
}

/* --- protections --- */

static sigjmp_buf away;
static void *volatile where;
static volatile int code;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    where = info->si_addr;
    code = info->si_code;
    siglongjmp(away, sig);
}

/* Does writing (or reading) there fault, as the program's own? */
static int faults(volatile uint8_t *at, int write)
{
    where = NULL;
    if (sigsetjmp(away, 1))
        return where == (void *)(uintptr_t)at && code == SEGV_ACCERR ? 1 : -1;
    if (write)
        *at = 1;
    else
        (void)*at;
    return 0;
}

static int protections(int argc, char **argv)
{
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    static const unsigned long places[] = {UART + 0, SCRATCH, RAM + 0x20000};
    int fd = device();

    (void)argc;
    (void)argv;
    sigaction(SIGSEGV, &act, NULL);
    for (unsigned i = 0; i < 3; i++) {
        volatile uint8_t *r = (volatile uint8_t *)map(fd, PAGE, PROT_READ, places[i]) + 7;
        volatile uint8_t *w = (volatile uint8_t *)map(fd, PAGE, PROT_READ | PROT_WRITE, places[i]) + 7;
        void *page = (void *)(uintptr_t)(w - 7);

        *w = 0x3c;
        EQUAL(*r, 0x3c);
        EQUAL(faults(r, 1), 1);
        EQUAL(*r, 0x3c);
        EQUAL(mprotect(page, PAGE, PROT_READ), 0);
        EQUAL(faults(w, 1), 1);
        EQUAL(faults(w, 0), 0);
        EQUAL(*w, 0x3c);
        EQUAL(mprotect(page, PAGE, PROT_NONE), 0);
        EQUAL(faults(w, 0), 1);
        EQUAL(mprotect(page, PAGE, PROT_READ | PROT_WRITE), 0);
        EQUAL(faults(w, 1), 0);
        EQUAL(*r, 1);
        EQUAL(munmap(page, PAGE), 0);
        EQUAL(*r, 1);
    }
    /* A descriptor for reading makes no mapping for writing. */
    fd = open("/dev/mem", O_RDONLY);
    CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, UART) == MAP_FAILED);
    EQUAL(errno, EACCES);
    CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, RAM) == MAP_FAILED);
    EQUAL(errno, EACCES);
    EQUAL(*((volatile uint8_t *)map(fd, PAGE, PROT_READ, UART) + 7), 1);
    return 0;
}

/* What mmap refuses, it refuses here. */
static int refusals(int argc, char **argv)
{
    int fd = device();

    (void)argc;
    (void)argv;
    CHECK(mmap(NULL, 0, PROT_READ, MAP_SHARED, fd, UART) == MAP_FAILED);
    EQUAL(errno, EINVAL);
    CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, UART + 12) == MAP_FAILED);
    EQUAL(errno, EINVAL);
    CHECK(mmap(NULL, PAGE, PROT_READ, 0, fd, UART) == MAP_FAILED);
    EQUAL(errno, EINVAL);
    close(fd);
    CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, UART) == MAP_FAILED);
    EQUAL(errno, EBADF);
    return 0;
}

/* Mapped and given back many times: nothing adds up. */
static int often(int argc, char **argv)
{
    int fd = device();

    (void)argc;
    (void)argv;
    for (int i = 0; i < 3000; i++) {
        volatile uint8_t *p = (volatile uint8_t *)map(fd, 2 * PAGE, PROT_READ | PROT_WRITE, i & 1 ? UART : RAM);

        p[7] = (uint8_t)i;
        munmap((void *)(uintptr_t)p, 2 * PAGE);
    }
    EQUAL(*SCR, (uint8_t)2999);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"opens", opens}, {"shapes", shapes}, {"spans", spans},       {"ram", ram},           {"copies", copies},
        {"pass", pass},   {"received", received}, {"protections", protections}, {"refusals", refusals}, {"often", often},
    };

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
