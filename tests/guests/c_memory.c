/* flags: -lpthread */
/* What programs do to mappings of the machine: unmap, protect, map over and move them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "b_guest.h"

#define PAGE 4096ul
#define RW (PROT_READ | PROT_WRITE)
#define R ((volatile uint8_t *)RAM)

static void *at(unsigned long offset)
{
    return (void *)(RAM + offset);
}

static int device(void)
{
    int fd = open("/dev/mem", O_RDWR | O_SYNC);

    if (fd < 0)
        exit(90);
    return fd;
}

static uint8_t *map(size_t length, int prot, int flags, unsigned long offset)
{
    int fd = device();
    uint8_t *p = mmap(NULL, length, prot, flags, fd, (off_t)offset);

    close(fd);
    if (p == MAP_FAILED) {
        perror("mmap");
        exit(91);
    }
    return p;
}

static uint8_t *plain(size_t length)
{
    return mmap(NULL, length, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static sigjmp_buf away;
static void *volatile where;
static volatile int expected;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    where = info->si_addr;
    if (!expected)
        _exit(93);
    siglongjmp(away, sig);
}

static void catch_faults(void)
{
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

    sigaction(SIGSEGV, &act, NULL);
}

/* Does it fault, as the program's own? */
static int faults(volatile uint8_t *p, int write)
{
    volatile int faulted = 1;

    if (sigsetjmp(away, 1) == 0) {
        expected = 1;
        if (write)
            *p = 1;
        else
            (void)*p;
        faulted = 0;
    }
    expected = 0;
    return faulted && where != (void *)(uintptr_t)p ? -1 : faulted;
}

static int in_child(void (*run)(void))
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        failures = 0;
        run();
        exit(failures);
    }
    waitpid(pid, &status, 0);
    return status;
}

/* --- devices reach RAM that the program does not --- */

static void dma_over(void)
{
    int fd = device();
    uint32_t value = 0;

    EQUAL(pread(fd, &value, 4, RAM + 0x2000), 4);
    EQUAL(value, 0x11223344);
    value = 0x5566;
    EQUAL(pwrite(fd, &value, 4, RAM + 0x2ffc), 4);
    EQUAL(pwrite(fd, &value, 4, RAM + 0x3ffe), 4); /* protected, and on into the next page */
    value = 0;
    EQUAL(pread(fd, &value, 4, RAM + 0x3ffe), 4);
    EQUAL(value, 0x5566);
    EQUAL(pread(fd, &value, 4, RAM + 0x6000), 4); /* unmapped, and only read */
    EQUAL(value, 0);
    close(fd);
}

static int dma(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    *(volatile uint32_t *)at(0x2000) = 0x11223344;
    EQUAL(munmap(at(0x2000), PAGE), 0);
    EQUAL(munmap(at(0x6000), PAGE), 0);
    EQUAL(mprotect(at(0x3000), PAGE, PROT_NONE), 0);
    EQUAL(mprotect(at(0x4000), PAGE, PROT_READ), 0);
    dma_over();
    EQUAL(R[0x4001], 0);
    EQUAL(in_child(dma_over), 0);
    return 0;
}

/* RLIMIT_FSIZE, by which the kernel may refuse what is written to a file, and sends a signal. */
static int fsize(int argc, char **argv)
{
    struct rlimit old, none;
    uint32_t value = 1;
    int fd = device();

    (void)argc;
    (void)argv;
    getrlimit(RLIMIT_FSIZE, &old);
    none = (struct rlimit){0, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &none);
    EQUAL(pwrite(fd, &value, 4, RAM + 0x2000), -1);
    EQUAL(errno, EFAULT);
    EQUAL(pread(fd, &value, 4, RAM + 0x2000), 4);
    setrlimit(RLIMIT_FSIZE, &old);
    EQUAL(pwrite(fd, &value, 4, RAM + 0x3000), 4);
    return 0;
}

/* --- the program's own memory where RAM was --- */

static void *anonymous_at(unsigned long offset, int prot)
{
    return mmap(at(offset), PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void over_rest(void)
{
    uint8_t *alias = map(2 * PAGE, RW, MAP_SHARED, RAM + 0x200000);

    R[0] = R[0x5000] = R[0x100000] = 1;
    alias[PAGE] = 1;
    EQUAL(R[0x201000], 1);
}

static int over(int argc, char **argv)
{
    uint8_t *p = plain(2 * PAGE);

    (void)argc;
    (void)argv;
    catch_faults();
    R[0x3000] = 1; /* written, and then gone */
    CHECK(anonymous_at(0x2000, RW) == at(0x2000));
    CHECK(anonymous_at(0x3000, PROT_READ) == at(0x3000));
    R[0x2000] = 1;
    EQUAL(R[0x3000], 0);
    EQUAL(faults(R + 0x3000, 1), 1);
    R[0x7000] = 1;
    EQUAL(munmap(at(0x7000), PAGE), 0);
    /* A call that fails takes nothing away. */
    CHECK(mmap(at(0x9000), PAGE, RW, MAP_SHARED | MAP_FIXED, -1, 0) == MAP_FAILED);
    EQUAL(errno, EBADF);
    R[0x9000] = 1;
    CHECK(mmap(at(0xa000), PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
    EQUAL(errno, EEXIST);
    /* Moved there. */
    R[0xb000] = p[0] = 0x77;
    p[PAGE] = 0x78;
    CHECK(mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at(0xb000)) == at(0xb000));
    EQUAL(R[0xc000]++, 0x78);
    over_rest();
    EQUAL(faults(R + 0x7000, 1), 1);
    R[0x2001] = R[0xc000] = 1;
    return 0;
}

/* The same without libc's mmap. */
static int behind(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    syscall(SYS_mmap, at(0x2000), PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    syscall(SYS_munmap, at(0x40000), PAGE);
    R[0x2000] = 1;
    over_rest();
    return 0;
}

static void behind_child(void)
{
    R[0x1000] = R[0x41000] = 1;
}

static int behind_fork(int argc, char **argv)
{
    syscall(SYS_mmap, at(0x40000), PAGE, PROT_NONE, MAP_SHARED | MAP_FIXED, open("/proc/self/exe", O_RDONLY), 0);
    EQUAL(in_child(behind_child), 0);
    return behind(argc, argv);
}

/* --- private mappings --- */

static uint8_t *private_page;

static void private_child(void)
{
    private_page[2 * PAGE] = 2;
    EQUAL(private_page[0], 1);
    EQUAL(R[0x2000], 0);
}

static int privates(int argc, char **argv)
{
    uint8_t *q;

    (void)argc;
    (void)argv;
    catch_faults();
    private_page = map(4 * PAGE, RW, MAP_PRIVATE, RAM);
    private_page[0] = 1;
    EQUAL(R[0], 0);
    EQUAL(in_child(private_child), 0);
    EQUAL(mprotect(private_page, PAGE, PROT_READ), 0);
    EQUAL(faults(private_page, 1), 1);
    EQUAL(mprotect(private_page, PAGE, RW), 0);
    private_page[0]++;
    q = map(2 * PAGE, RW, MAP_SHARED, RAM + 0x10000);
    q[0] = 1;
    CHECK(mmap(q, 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == q);
    q[PAGE] = 1;
    EQUAL(q[0], 0);
    EQUAL(R[0x10000], 1);
    EQUAL(R[0x11000], 0);
    return 0;
}

/* --- protections --- */

static uint8_t *closed;

static void guards_hold(void)
{
    EQUAL(faults(R + 0x1000, 1), 1);
    EQUAL(faults(R + 0x1000, 0), 0);
    EQUAL(faults(R + 0x3000, 1), 1);
    EQUAL(faults(R + 0x3000, 0), 1);
    EQUAL(faults(closed, 0), 1);
    EQUAL(faults(closed, 1), 1);
}

static int guards(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    catch_faults();
    closed = map(2 * PAGE, PROT_NONE, MAP_SHARED, RAM + 0x20000);
    EQUAL(mprotect(at(0x1000), PAGE, PROT_READ), 0);
    EQUAL(mprotect(at(0x3000), PAGE, PROT_NONE), 0);
    guards_hold();
    EQUAL(in_child(guards_hold), 0);
    /* Writable again, or still: written is dirty. */
    EQUAL(mprotect(at(0x8000), 2 * PAGE, RW), 0);
    R[0x8000] = 1;
    EQUAL(mprotect(at(0xa000), PAGE, PROT_READ), 0);
    EQUAL(mprotect(at(0xa000), PAGE, RW), 0);
    R[0xa000] = 1;
    EQUAL(mprotect(at(0xc000), PAGE, PROT_WRITE), 0);
    EQUAL(R[0xc000], 0);
    EQUAL(mprotect(at(0xe000), PAGE, PROT_WRITE), 0);
    R[0xe000] = 1;
    EQUAL(mprotect(closed, PAGE, RW), 0);
    closed[0] = 1;
    EQUAL(faults(closed + PAGE, 1), 1);
    /* What the kernel refuses. */
    EQUAL(mprotect(at(0x1000), PAGE, 0x40), -1);
    EQUAL(errno, EINVAL);
    EQUAL(mprotect((char *)at(0x1000) + 1, PAGE, RW), -1);
    EQUAL(errno, EINVAL);
    EQUAL(faults(R + 0x1000, 1), 1);
    return 0;
}

/* One call over aliases, the program's own pages and RAM. */
static int mixed(int argc, char **argv)
{
    uint8_t *p = plain(6 * PAGE);
    int fd = device();

    (void)argc;
    (void)argv;
    catch_faults();
    CHECK(mmap(p + PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, RAM) == p + PAGE);
    CHECK(mmap(p + 3 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, UART) == p + 3 * PAGE);
    EQUAL(mprotect(p, 6 * PAGE, PROT_READ), 0);
    for (int i = 0; i < 6; i++)
        EQUAL(faults(p + i * PAGE + 7, 1), 1);
    EQUAL(mprotect(p, 6 * PAGE, RW), 0);
    for (int i = 0; i < 6; i++)
        EQUAL(faults(p + i * PAGE + 7, 1), 0);
    EQUAL(R[7], 1);
    EQUAL(*SCR, 1);
    EQUAL(munmap(p, 6 * PAGE), 0);
    for (int i = 0; i < 6; i++)
        EQUAL(faults(p + i * PAGE + 7, 0), 1);
    return 0;
}

/* So many pages are written that they are opened in larger pieces: these end at windows and at guards. */
static int granules(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    catch_faults();
    for (unsigned long i = 0; i < 50000; i++)
        R[0x200000 + i * 2 * PAGE] = 1;
    EQUAL(mprotect(at(0x12000), PAGE, PROT_READ), 0);
    R[0x8000] = 1; /* a window begins in the page 0xb000, and one ends in 0xd000 */
    R[0xe000] = 1;
    *(volatile uint32_t *)at(0xb800) = 5;
    EQUAL(*(volatile uint32_t *)at(0xb800), 5);
    R[0x10000] = 1;
    EQUAL(faults(R + 0x12000, 1), 1);
    R[0x13000] = 1;
    return 0;
}

/* The kernel has no mappings left: RAM is opened as a whole, and what was closed stays closed. */
static int exhausted(int argc, char **argv)
{
    uint8_t *alias = map(2 * PAGE, PROT_READ, MAP_SHARED, RAM + 0x4000);
    uint8_t *waste = plain(200000 * PAGE);
    int full = 0;

    (void)argc;
    (void)argv;
    catch_faults();
    EQUAL(mprotect(at(0x9000), PAGE, PROT_READ), 0);
    for (unsigned long i = 0; i < 100000 && !full; i++)
        full = mprotect(waste + i * 2 * PAGE, PAGE, PROT_READ) < 0;
    EQUAL(full, 1);
    R[0x3000] = 1;
    R[0x300000] = 1;
    EQUAL(faults(alias, 1), 1);
    EQUAL(faults(R + 0x9000, 1), 1);
    munmap(waste, 200000 * PAGE);
    return 0;
}

/* --- many --- */

/* often KIND COUNT: maps and unmaps two pages of RAM or of a window; "ram" writes one of them. */
static int often(int argc, char **argv)
{
    int ram = argc > 1 && strcmp(argv[0], "ram") == 0, count = argc > 1 ? atoi(argv[1]) : 0;

    for (int i = 0; i < count; i++) {
        uint8_t *p = map(2 * PAGE, RW, MAP_SHARED, ram ? RAM + (unsigned long)i * 2 * PAGE : UART);

        if (ram)
            p[0] = 1;
        munmap(p, 2 * PAGE);
    }
    return 0;
}

static int whole(int argc, char **argv)
{
    size_t size = 512ul << 20;
    uint8_t *p = map(size, RW, MAP_SHARED, RAM);
    volatile uint8_t *w;

    (void)argc;
    (void)argv;
    catch_faults();
    EQUAL(mprotect(p, size, PROT_READ), 0);
    EQUAL(faults(p, 1), 1);
    EQUAL(faults(p + size - 1, 1), 1);
    w = map(PAGE, RW, MAP_SHARED, UART);
    w[7] = 0x42;
    EQUAL(*SCR, 0x42);
    EQUAL(mprotect(p + PAGE, PAGE, RW), 0);
    EQUAL(mprotect(p, size, RW), 0);
    p[size - 1] = 1;
    return 0;
}

/* More pieces than the table holds: refused, and all goes on once there is room. */
static int full(int argc, char **argv)
{
    size_t pages = 80000;
    uint8_t *p = map(pages * PAGE, PROT_READ, MAP_SHARED, 0x200000000);
    volatile uint8_t *w = map(PAGE, RW, MAP_SHARED, UART);
    int fd = device();
    size_t i;

    (void)argc;
    (void)argv;
    catch_faults();
    for (i = 0; i < pages && mprotect(p + i * PAGE, PAGE, RW) == 0; i += 2)
        ;
    EQUAL(errno, ENOMEM);
    CHECK(i > 60000 && i < 66000);
    CHECK(mmap(NULL, PAGE, RW, MAP_SHARED, fd, UART) == MAP_FAILED);
    EQUAL(errno, ENOMEM);
    w[7] = 0x31;
    EQUAL(faults(p + PAGE, 1), 1);
    EQUAL(munmap(p + 70 * PAGE, PAGE), 0);
    EQUAL(munmap(p + 72 * PAGE, PAGE), 0);
    EQUAL(*((uint8_t *)mmap(NULL, PAGE, RW, MAP_SHARED, fd, UART) + 7), 0x31);
    /* Neighbours that are alike are one again. */
    EQUAL(munmap(p + 64 * PAGE, (pages - 64) * PAGE), 0);
    EQUAL(mprotect(p, 64 * PAGE, RW), 0);
    for (i = 0; i < 64; i++)
        p[i * PAGE] = 1;
    EQUAL(*((uint8_t *)mmap(NULL, PAGE, RW, MAP_SHARED, fd, UART) + 7), 0x31);
    return 0;
}

/* --- mremap --- */

#define FIXED (MREMAP_MAYMOVE | MREMAP_FIXED)

#define REFUSED(call, error) \
    do { \
        errno = 0; \
        CHECK((call) == MAP_FAILED); \
        EQUAL(errno, error); \
    } while (0)

static uint8_t *moved_page;

static void moved_child(void)
{
    moved_page[2 * PAGE] = 1;
}

static int moves(int argc, char **argv)
{
    uint8_t *p = map(8 * PAGE, RW, MAP_SHARED, RAM + 0x10000), *room = plain(16 * PAGE), *to = room + PAGE;

    (void)argc;
    (void)argv;
    catch_faults();
    REFUSED(mremap(p, 8 * PAGE, 9 * PAGE, MREMAP_MAYMOVE), EFAULT);
    REFUSED(mremap(p, 8 * PAGE, 9 * PAGE, FIXED, to), EFAULT);
    REFUSED(mremap(p, 0, PAGE, MREMAP_MAYMOVE), EFAULT);
    REFUSED(mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL), EINVAL);
    REFUSED(mremap(p, PAGE, 0, 0), EINVAL);
    REFUSED(mremap(p, PAGE, PAGE, FIXED, to + 1), EINVAL);
    REFUSED(mremap(p + 1, PAGE, PAGE, 0), EINVAL);
    REFUSED(mremap(p, 2 * PAGE, 2 * PAGE, FIXED, p + PAGE), EINVAL);
    REFUSED(mremap(p, PAGE, PAGE, MREMAP_FIXED, to), EINVAL);
    p[7 * PAGE] = 1; /* goes with the end */
    CHECK(mremap(p, 8 * PAGE, 6 * PAGE, 0) == p);
    EQUAL(faults(p + 6 * PAGE, 0), 1);
    p[0] = 0x11;
    EQUAL(mprotect(p + PAGE, PAGE, PROT_READ), 0);
    room[0] = room[15 * PAGE] = 0x22;
    CHECK(mremap(p, 6 * PAGE, 4 * PAGE, FIXED, to) == to);
    EQUAL(faults(p, 0), 1);
    EQUAL(faults(p + 5 * PAGE, 0), 1);
    EQUAL(to[0], 0x11);
    EQUAL(faults(to + PAGE, 1), 1);
    moved_page = to;
    EQUAL(in_child(moved_child), 0);
    EQUAL(R[0x12000], 1);
    to[3 * PAGE] = 0x33;
    EQUAL(R[0x13000], 0x33);
    EQUAL(room[0] + room[15 * PAGE] + room[5 * PAGE], 0x44);
    return 0;
}

static int moves_private(int argc, char **argv)
{
    uint8_t *p = map(4 * PAGE, RW, MAP_PRIVATE, RAM), *to = plain(4 * PAGE);

    (void)argc;
    (void)argv;
    catch_faults();
    R[0x1000] = 7;
    p[0] = 1;
    EQUAL(mprotect(p + 2 * PAGE, PAGE, PROT_READ), 0);
    CHECK(mremap(p, 4 * PAGE, 4 * PAGE, FIXED, to) == to);
    EQUAL(to[0], 1);
    EQUAL(to[PAGE], 7);
    EQUAL(R[0], 0);
    to[PAGE] = 8;
    EQUAL(R[0x1000], 7);
    EQUAL(faults(to + 2 * PAGE, 1), 1);
    EQUAL(faults(p, 0), 1);
    return 0;
}

static int moves_window(int argc, char **argv)
{
    uint8_t *p = map(2 * PAGE, RW, MAP_SHARED, UART), *to = map(2 * PAGE, RW, MAP_SHARED, RAM + 0x5000);

    (void)argc;
    (void)argv;
    catch_faults();
    *(volatile uint8_t *)(p + 7) = 0x41;
    to[0] = 1; /* RAM that the window is moved over */
    CHECK(mremap(p, 2 * PAGE, 2 * PAGE, FIXED, to) == to);
    EQUAL(((volatile uint8_t *)to)[7], 0x41);
    EQUAL(faults(p + 7, 0), 1);
    EQUAL(R[0x5000], 1);
    return 0;
}

/* RAM itself moves away from its address. */
static int moves_home(int argc, char **argv)
{
    uint8_t *to = plain(2 * PAGE);

    (void)argc;
    (void)argv;
    catch_faults();
    R[0x6000] = 6;
    CHECK(mremap(at(0x6000), 2 * PAGE, 2 * PAGE, FIXED, to) == to);
    EQUAL(to[0], 6);
    to[PAGE] = 7;
    EQUAL(faults(R + 0x7000, 0), 1);
    EQUAL(map(PAGE, PROT_READ, MAP_SHARED, RAM + 0x7000)[0], 7);
    R[0x8000] = 1;
    /* Other mappings are libc's affair. */
    to = plain(PAGE);
    to[0] = 9;
    to = mremap(to, PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    EQUAL(to[0], 9);
    to[63 * PAGE] = 1;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"dma", dma},           {"fsize", fsize},         {"over", over},
        {"behind", behind},     {"behind_fork", behind_fork}, {"privates", privates},
        {"guards", guards},     {"mixed", mixed},         {"granules", granules},
        {"exhausted", exhausted}, {"often", often},       {"whole", whole},
        {"full", full},         {"moves", moves},         {"moves_private", moves_private},
        {"moves_window", moves_window}, {"moves_home", moves_home},
    };

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
