/* flags: -lpthread */
/*
 * What a program may do with mappings. The oracle is an ordinary file in
 * memory: each case runs on it and on RAM behind /dev/mem, and must say the
 * same of both, results, errors, signals and contents.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "b_guest.h"

#define PAGE 4096ul
#define RW (PROT_READ | PROT_WRITE)
#define R ((volatile uint8_t *)RAM)
#define PAGES 16ul

struct place {
    int rw, ro, wo;
    off_t offset; /* where its PAGES pages begin */
};

static char said[16384];
static size_t length;

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    length += (size_t)vsnprintf(said + length, sizeof(said) - length, format, list);
    va_end(list);
    if (length >= sizeof(said))
        exit(98);
}

/* A call that says -1 where it fails. */
#define TRY(call) \
    do { \
        long got_; \
        errno = 0; \
        got_ = (long)(call); \
        say("%d %s: %s\n", __LINE__, #call, got_ == -1 ? strerrorname_np(errno) : "ok"); \
    } while (0)

#define VALUE(v) say("%d %s: %ld\n", __LINE__, #v, (long)(v))

static sigjmp_buf away;
static volatile int armed, signo, code;
static uint8_t *volatile where;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    if (!armed)
        _exit(93);
    signo = sig;
    code = info->si_code;
    where = info->si_addr;
    siglongjmp(away, 1);
}

static void catch_faults(void)
{
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

    sigaction(SIGSEGV, &act, NULL);
    sigaction(SIGBUS, &act, NULL);
}

/* 0, or signal * 100 + code; negative where the address is not that of the access. */
static int touch(volatile uint8_t *p, int write, uint8_t value)
{
    volatile int result = 0;

    if (sigsetjmp(away, 1) == 0) {
        armed = 1;
        if (write)
            *p = value;
        else
            (void)*p;
    } else {
        result = (signo * 100 + code) * (where == p ? 1 : -1);
    }
    armed = 0;
    return result;
}

#define READ(p) say("%d read %s: %d\n", __LINE__, #p, touch(p, 0, 0))
#define WRITE(p, v) say("%d write %s: %d\n", __LINE__, #p, touch(p, 1, v))

static uint8_t *map(const struct place *p, size_t pages, int prot, int flags, unsigned long first)
{
    return mmap(NULL, pages * PAGE, prot, flags, p->rw, p->offset + (off_t)(first * PAGE));
}

static int in_file(const struct place *p, unsigned long at)
{
    uint8_t byte = 0;

    return pread(p->rw, &byte, 1, p->offset + (off_t)at) == 1 ? byte : -1;
}

static void put(const struct place *p, unsigned long at, uint8_t value)
{
    if (pwrite(p->rw, &value, 1, p->offset + (off_t)at) != 1)
        exit(92);
}

/* --- one mapping --- */

static void reads(const struct place *p)
{
    uint8_t *m = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, p->ro, p->offset);

    put(p, 0, 0x31);
    put(p, PAGE + 1, 0x32);
    VALUE(m[0]);
    VALUE(m[PAGE + 1]);
    WRITE(m, 1);
    WRITE(m + PAGE + 77, 1);
    VALUE(in_file(p, 0));
    TRY(munmap(m, 2 * PAGE));
    READ(m);
    READ(m + PAGE);
}

static void privates(const struct place *p)
{
    uint8_t *m = mmap(NULL, 2 * PAGE, RW, MAP_PRIVATE, p->ro, p->offset), *s = map(p, 2, RW, MAP_SHARED, 0);

    put(p, 5, 7);
    VALUE(m[5]);
    m[5] = 8;
    m[PAGE] = 9;
    VALUE(in_file(p, 5) + s[PAGE]);
    s[5] = 10;
    s[PAGE + 9] = 11;
    VALUE(m[5]);
    TRY(madvise(m, PAGE, MADV_DONTNEED));
    VALUE(m[5]);
    VALUE(m[PAGE]);
    TRY(madvise(m, 2 * PAGE, MADV_FREE));
    TRY(madvise(m, 2 * PAGE, MADV_REMOVE));
    TRY(mprotect(m, PAGE, PROT_READ));
    WRITE(m, 1);
    TRY(mprotect(m, PAGE, RW | PROT_EXEC));
    WRITE(m, 1);
    VALUE(in_file(p, 0));
    TRY(munmap(m, 2 * PAGE));
    VALUE(in_file(p, PAGE));
    TRY(munmap(s, 2 * PAGE));
}

static void shared(const struct place *p)
{
    uint8_t *a = map(p, 4, RW, MAP_SHARED, 0), *b = map(p, 4, RW, MAP_SHARED, 2), *c;

    a[0] = 1;
    a[2 * PAGE + 3] = 2;
    VALUE(b[3]);
    b[PAGE + 4] = 3;
    VALUE(a[3 * PAGE + 4]);
    VALUE(in_file(p, 2 * PAGE + 3));
    put(p, 3 * PAGE + 8, 4);
    VALUE(a[3 * PAGE + 8] + b[PAGE + 8]);
    TRY(munmap(a, 4 * PAGE));
    VALUE(b[3]);
    READ(a + 2 * PAGE);
    c = map(p, 1, PROT_NONE, MAP_SHARED, 2);
    READ(c);
    WRITE(c, 1);
    TRY(mprotect(c, PAGE, PROT_READ));
    VALUE(c[3]);
    WRITE(c, 1);
    TRY(mprotect(c, PAGE, RW));
    WRITE(c + 3, 9);
    VALUE(b[3]);
    TRY(munmap(b, 4 * PAGE));
    TRY(munmap(c, PAGE));
}

/* The descriptor says what a shared mapping may ever be. */
static void descriptors(const struct place *p)
{
    uint8_t *m, *q;
    int fd = dup(p->rw);

    TRY(mmap(NULL, PAGE, RW, MAP_SHARED, p->ro, p->offset));
    TRY(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, p->ro, p->offset));
    TRY(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, p->wo, p->offset));
    TRY(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, p->wo, p->offset));
    TRY(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, p->wo, p->offset));
    TRY(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, -1, p->offset));
    TRY(m = mmap(NULL, 3 * PAGE, PROT_READ, MAP_SHARED, p->ro, p->offset));
    TRY(mprotect(m, PAGE, RW));
    WRITE(m, 1);
    TRY(mprotect(m + PAGE, PAGE, PROT_WRITE));
    TRY(mprotect(m, PAGE, PROT_NONE));
    READ(m);
    TRY(mprotect(m, PAGE, PROT_READ | PROT_EXEC));
    READ(m);
    TRY(madvise(m, 3 * PAGE, MADV_REMOVE));
    TRY(madvise(m, PAGE, MADV_POPULATE_WRITE));
    TRY(madvise(m, PAGE, MADV_POPULATE_READ));
    /* One call over what may be written and what may not: as far as it goes. */
    TRY(q = mmap(m + PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, p->rw, p->offset + (off_t)PAGE));
    TRY(mprotect(m + PAGE, 2 * PAGE, RW));
    WRITE(m + PAGE, 5);
    WRITE(m + 2 * PAGE, 5);
    TRY(mprotect(m, 3 * PAGE, PROT_READ));
    WRITE(m + PAGE, 5);
    TRY(mremap(m + 2 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, m));
    TRY(mprotect(m, PAGE, RW));
    TRY(munmap(m, 3 * PAGE));
    TRY(m = mmap(NULL, PAGE, RW, MAP_SHARED, fd, p->offset));
    TRY(close(fd));
    WRITE(m, 0x44);
    VALUE(in_file(p, 0));
    TRY(munmap(m, PAGE));
}

static void parts(const struct place *p)
{
    uint8_t *m = map(p, 8, RW, MAP_SHARED, 0), *hole;

    for (unsigned i = 0; i < 8; i++)
        m[i * PAGE] = (uint8_t)(i + 1);
    TRY(munmap(m, PAGE));
    TRY(munmap(m + 3 * PAGE, PAGE));
    TRY(munmap(m + 7 * PAGE, 1)); /* all of the page */
    for (unsigned i = 0; i < 8; i++)
        READ(m + i * PAGE);
    VALUE(m[PAGE] + m[2 * PAGE] + m[4 * PAGE] + m[6 * PAGE]);
    hole = m + 3 * PAGE;
    TRY(mprotect(m + 2 * PAGE, 3 * PAGE, PROT_READ)); /* up to the hole */
    WRITE(m + 2 * PAGE, 1);
    WRITE(m + 4 * PAGE, 1);
    TRY(msync(m + 2 * PAGE, 3 * PAGE, MS_SYNC));
    TRY(madvise(m + 2 * PAGE, 3 * PAGE, MADV_DONTNEED));
    TRY(mmap(hole, PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE, p->rw, p->offset + (off_t)(5 * PAGE)));
    VALUE(*hole);
    TRY(munmap(m, 8 * PAGE));
    TRY(munmap(m, 8 * PAGE)); /* nothing there is no error */
    TRY(munmap(m + 1, PAGE));
    TRY(munmap(m, 0));
    TRY(munmap(m, ~0ul));
    for (unsigned i = 0; i < 8; i++)
        VALUE(in_file(p, i * PAGE));
}

static void half(const struct place *p)
{
    uint8_t *m = mmap(NULL, 2 * PAGE + 100, RW, MAP_SHARED, p->rw, p->offset);

    WRITE(m + 3 * PAGE - 1, 6);
    VALUE(in_file(p, 3 * PAGE - 1));
    TRY(mprotect(m, PAGE + 1, PROT_READ));
    WRITE(m + PAGE + 50, 1);
    WRITE(m + 2 * PAGE, 2);
    TRY(munmap(m, PAGE / 2));
    READ(m + PAGE - 1);
    READ(m + PAGE);
    TRY(munmap(m + PAGE, PAGE + 100));
    READ(m + 3 * PAGE - 1);
}

static void refused(const struct place *p)
{
    uint8_t *m = map(p, 2, RW, MAP_SHARED, 0);

    TRY(mmap(NULL, 0, RW, MAP_SHARED, p->rw, p->offset));
    TRY(mmap(NULL, PAGE, RW, 0, p->rw, p->offset));
    TRY(mmap(NULL, PAGE, RW, MAP_SHARED, p->rw, p->offset + 1));
    TRY(mmap(m + 1, PAGE, RW, MAP_SHARED | MAP_FIXED, p->rw, p->offset));
    TRY(mmap(m, PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE, p->rw, p->offset));
    TRY(mmap(NULL, 1ul << 47, RW, MAP_SHARED, p->rw, p->offset));
    TRY(mmap(NULL, ~0ul, RW, MAP_SHARED, p->rw, p->offset));
    TRY(mmap((void *)(1ul << 62), PAGE, RW, MAP_SHARED | MAP_FIXED, p->rw, p->offset));
    TRY(mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE | MAP_SYNC, p->rw, p->offset));
    TRY(mmap(NULL, PAGE, RW, MAP_TYPE, p->rw, p->offset));
    TRY(mprotect(m, PAGE, 0x40));
    TRY(mprotect(m + 1, PAGE, RW));
    TRY(mprotect(m, 0, RW));
    TRY(mprotect(m, ~0ul, PROT_READ));
    TRY(mprotect(m, PAGE, PROT_READ | PROT_GROWSDOWN));
    TRY(msync(m, PAGE, MS_SYNC | MS_ASYNC));
    TRY(msync(m + 1, PAGE, MS_SYNC));
    TRY(madvise(m, PAGE, 12345));
    TRY(madvise(m + 1, PAGE, MADV_DONTNEED));
    TRY(mremap(m, PAGE, 0, 0));
    TRY(mremap(m + 1, PAGE, PAGE, 0));
    TRY(mremap(m, PAGE, PAGE, MREMAP_FIXED, m + PAGE));
    TRY(mremap(m, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, m));
    TRY(mremap(m, PAGE, PAGE, 0x80));
    WRITE(m, 1);
    WRITE(m + PAGE, 1);
    TRY(munmap(m, 2 * PAGE));
}

static void flags(const struct place *p)
{
    static const int more[] = {MAP_POPULATE, MAP_LOCKED, MAP_NORESERVE, MAP_NONBLOCK, MAP_32BIT, MAP_DENYWRITE, MAP_STACK};

    for (unsigned i = 0; i < sizeof(more) / sizeof(*more); i++) {
        uint8_t *m = map(p, 2, RW, MAP_SHARED | more[i], 0);

        VALUE(m != MAP_FAILED);
        WRITE(m + PAGE, (uint8_t)(i + 1));
        VALUE(in_file(p, PAGE));
        if (more[i] == MAP_32BIT)
            VALUE((uintptr_t)m < 1ul << 32);
        TRY(munmap(m, 2 * PAGE));
    }
    TRY(munmap(mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE, p->rw, p->offset), PAGE));
}

/* --- fork --- */

static void child(const struct place *p, uint8_t *s, uint8_t *m, uint8_t *kept)
{
    VALUE(s[0]);
    VALUE(m[0]);
    s[1] = 0x21;
    m[1] = 0x22;
    m[0] = 0x23;
    READ(kept);
    TRY(munmap(s, PAGE));
    READ(s);
    TRY(mprotect(s + PAGE, PAGE, PROT_READ));
    WRITE(s + PAGE, 1);
    VALUE(in_file(p, 1));
}

static void forks(const struct place *p)
{
    uint8_t *s = map(p, 2, RW, MAP_SHARED, 0), *m = map(p, 2, RW, MAP_PRIVATE, 0), *gone = map(p, 4, RW, MAP_SHARED, 4);
    int fds[2], status;
    pid_t pid;
    long n;

    s[0] = 1;
    m[0] = 2;
    TRY(madvise(gone + PAGE, 2 * PAGE, MADV_DONTFORK));
    TRY(madvise(gone + 2 * PAGE, PAGE, MADV_DOFORK));
    if (pipe(fds) < 0 || fflush(NULL))
        return;
    pid = fork();
    if (pid == 0) {
        length = 0;
        child(p, s, m, gone);
        READ(gone + PAGE);
        READ(gone + 2 * PAGE);
        /* What was not inherited is free. */
        TRY(mmap(gone + PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
        WRITE(gone + PAGE, 0x77);
        VALUE(in_file(p, 5 * PAGE));
        _exit(write(fds[1], said, length) != (ssize_t)length);
    }
    waitpid(pid, &status, 0);
    VALUE(status);
    n = read(fds[0], said + length, sizeof(said) - length);
    length += n > 0 ? (size_t)n : 0;
    VALUE(s[1]);
    VALUE(m[0] + m[1]);
    READ(s);
    WRITE(s + PAGE, 1);
    WRITE(gone + PAGE, 1);
    TRY(munmap(s, 2 * PAGE));
    TRY(munmap(m, 2 * PAGE));
    TRY(munmap(gone, 4 * PAGE));
    close(fds[0]);
    close(fds[1]);
}

/* --- moved --- */

static void moves(const struct place *p)
{
    uint8_t *m = map(p, 6, RW, MAP_SHARED, 0), *room = mmap(NULL, 8 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *s = map(p, 2, RW, MAP_PRIVATE, 8);

    m[0] = 1;
    m[PAGE] = 2;
    VALUE(mremap(m, 6 * PAGE, 4 * PAGE, 0) == m);
    READ(m + 4 * PAGE);
    VALUE(mremap(m, 4 * PAGE, 4 * PAGE, 0) == m);
    VALUE(mremap(m, 4 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + PAGE) == room + PAGE);
    READ(m);
    READ(m + 3 * PAGE);
    VALUE(room[PAGE] + room[2 * PAGE]);
    WRITE(room + PAGE + 9, 9);
    VALUE(in_file(p, 9));
    WRITE(room, 1);
    WRITE(room + 3 * PAGE, 1);
    s[0] = 0x55;
    VALUE(mremap(s, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + 5 * PAGE) == room + 5 * PAGE);
    VALUE(room[5 * PAGE]);
    VALUE(in_file(p, 8 * PAGE));
    TRY(mremap(m, PAGE, PAGE, MREMAP_MAYMOVE)); /* gone */
    TRY(munmap(room, 8 * PAGE));
}

/* --- advice, residence, locks --- */

static void advice(const struct place *p)
{
    static const int all[] = {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, MADV_FREE,
                              MADV_DONTDUMP, MADV_DODUMP, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_MERGEABLE,
                              MADV_UNMERGEABLE, MADV_WIPEONFORK, MADV_KEEPONFORK, MADV_COLD, MADV_PAGEOUT,
                              MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_REMOVE};
    uint8_t *m = map(p, 4, RW, MAP_SHARED, 0), *ro = map(p, 4, PROT_READ, MAP_SHARED, 0);

    for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++) {
        m[0] = (uint8_t)(i + 1);
        put(p, PAGE, 0x61);
        say("%d: ", all[i]);
        TRY(madvise(m, 3 * PAGE, all[i]));
        VALUE(m[0]);
        VALUE(m[PAGE]);
        VALUE(in_file(p, 0));
        WRITE(m + PAGE, 0x62);
        say("%d: ", all[i]);
        TRY(madvise(ro, PAGE, all[i]));
    }
    TRY(munmap(m, 4 * PAGE));
    TRY(munmap(ro, 4 * PAGE));
}

static void residence(const struct place *p)
{
    uint8_t *m = map(p, 4, RW, MAP_SHARED, 0), *none = map(p, 1, PROT_NONE, MAP_SHARED, 0);
    unsigned char vec[4] = {0};

    m[0] = m[PAGE] = m[2 * PAGE] = m[3 * PAGE] = 1;
    TRY(mincore(m, 4 * PAGE, vec));
    VALUE((vec[0] & 1) + (vec[1] & 1) + (vec[2] & 1) + (vec[3] & 1));
    TRY(mincore(m + 1, PAGE, vec));
    TRY(mlock(m, 4 * PAGE));
    TRY(mlock2(m, PAGE, MLOCK_ONFAULT));
    WRITE(m, 2);
    TRY(munlock(m, 4 * PAGE));
    TRY(mlock(none, PAGE));
    TRY(munlock(none, PAGE));
    TRY(msync(m, 4 * PAGE, MS_SYNC));
    TRY(msync(m, 4 * PAGE, MS_ASYNC | MS_INVALIDATE));
    TRY(munmap(m + PAGE, PAGE));
    TRY(mincore(m, 4 * PAGE, vec));
    TRY(mlock(m, 4 * PAGE));
    TRY(munmap(m, 4 * PAGE));
    TRY(mlock(m, PAGE));
    TRY(munmap(none, PAGE));
}

/* --- the calls that few programs make --- */

static void keys(const struct place *p)
{
    uint8_t *m = map(p, 4, RW, MAP_SHARED, 0), *ro = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, p->ro, p->offset);

    TRY(pkey_mprotect(m, PAGE, PROT_READ, -1));
    WRITE(m, 1);
    TRY(pkey_mprotect(m, 2 * PAGE, RW, -1));
    WRITE(m, 2);
    TRY(pkey_mprotect(m, PAGE, PROT_READ, 0));
    WRITE(m, 3);
    TRY(pkey_mprotect(m, PAGE, PROT_NONE, 0));
    READ(m);
    TRY(pkey_mprotect(m, PAGE, RW, 0));
    WRITE(m, 4);
    TRY(pkey_mprotect(m, PAGE, PROT_READ, 9)); /* nobody allocated it */
    TRY(pkey_mprotect(m, PAGE, PROT_READ, -2));
    TRY(pkey_mprotect(m, PAGE, PROT_READ, 1000));
    WRITE(m, 5);
    VALUE(in_file(p, 0));
    TRY(pkey_mprotect(ro, PAGE, RW, -1));
    TRY(pkey_mprotect(m + 1, PAGE, RW, -1));
    TRY(pkey_mprotect(m, 0, RW, -1));
    TRY(munmap(m + PAGE, PAGE));
    TRY(pkey_mprotect(m, 4 * PAGE, PROT_READ, -1));
    WRITE(m, 6);
    WRITE(m + 2 * PAGE, 6);
    TRY(munmap(m, 4 * PAGE));
    TRY(munmap(ro, PAGE));
}

static void nonlinear(const struct place *p)
{
    size_t first = (size_t)p->offset / PAGE;
    uint8_t *m = map(p, 4, RW, MAP_SHARED, 0), *s = map(p, 1, RW, MAP_PRIVATE, 0);
    uint8_t *ro = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, p->ro, p->offset);

    for (unsigned i = 0; i < 10; i++)
        put(p, i * PAGE, (uint8_t)(0x10 + i));
    TRY(remap_file_pages(m, PAGE, 0, first + 8, 0));
    TRY(remap_file_pages(m + PAGE, 2 * PAGE, 0, first + 5, MAP_NONBLOCK));
    VALUE(m[0]);
    VALUE(m[PAGE]);
    VALUE(m[2 * PAGE]);
    VALUE(m[3 * PAGE]);
    WRITE(m + 7, 0x77);
    WRITE(m + 2 * PAGE + 7, 0x78);
    VALUE(in_file(p, 8 * PAGE + 7));
    VALUE(in_file(p, 6 * PAGE + 7));
    TRY(remap_file_pages(m + 2 * PAGE + 123, PAGE + 1, 0, first + 9, 0));
    VALUE(m[2 * PAGE]);
    TRY(remap_file_pages(m, PAGE, PROT_READ, first, 0));
    TRY(remap_file_pages(m, 0, 0, first, 0));
    TRY(remap_file_pages(m, PAGE, 0, ~0ul, 0));
    TRY(remap_file_pages(s, PAGE, 0, first, 0));
    TRY(remap_file_pages(ro, PAGE, 0, first + 3, 0));
    VALUE(ro[0] + ro[PAGE]);
    WRITE(ro, 1);
    TRY(mprotect(ro, PAGE, RW));
    TRY(munmap(m + PAGE, PAGE));
    TRY(remap_file_pages(m, 2 * PAGE, 0, first, 0));
    TRY(remap_file_pages(m + PAGE, PAGE, 0, first, 0));
    TRY(munmap(m, 4 * PAGE));
    TRY(munmap(s, PAGE));
    TRY(munmap(ro, 2 * PAGE));
}

/* Advice by way of a pidfd: from Linux 6.13 on, everything, where it is the process's own. */
static void by_pidfd(const struct place *p)
{
    uint8_t *m = map(p, 4, RW, MAP_SHARED, 0), *ro = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, p->ro, p->offset);
    struct iovec two[] = {{m, PAGE}, {m + 2 * PAGE, PAGE}}, bad[] = {{m + 3 * PAGE, PAGE}, {ro, PAGE}};
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

    m[0] = m[PAGE] = m[2 * PAGE] = m[3 * PAGE] = 7;
    VALUE(process_madvise(fd, two, 2, MADV_COLD, 0));
    VALUE(process_madvise(fd, two, 2, MADV_REMOVE, 0));
    VALUE(m[0] + m[PAGE] + m[2 * PAGE]);
    VALUE(process_madvise(fd, two, 2, MADV_POPULATE_WRITE, 0));
    VALUE(process_madvise(fd, bad, 2, MADV_REMOVE, 0));
    TRY(process_madvise(fd, bad + 1, 1, MADV_REMOVE, 0));
    VALUE(m[3 * PAGE]);
    VALUE(process_madvise(fd, two, 2, MADV_DONTFORK, 0));
    VALUE(process_madvise(fd, two, 0, MADV_REMOVE, 0));
    TRY(process_madvise(fd, (void *)8, 1, MADV_REMOVE, 0));
    TRY(process_madvise(fd, two, 1, MADV_REMOVE, 1));
    TRY(process_madvise(-1, two, 1, MADV_REMOVE, 0));
    TRY(process_madvise(p->rw, two, 1, MADV_REMOVE, 0));
    TRY(close(fd));
    TRY(munmap(m, 4 * PAGE));
    TRY(munmap(ro, PAGE));
}

/* --- the machine and the file, compared --- */

static const struct {
    const char *name;
    void (*run)(const struct place *p);
} cases[] = {
    {"reads", reads}, {"privates", privates}, {"shared", shared}, {"descriptors", descriptors}, {"parts", parts},
    {"half", half},   {"refused", refused},   {"flags", flags},   {"forks", forks},             {"moves", moves},
    {"advice", advice}, {"residence", residence},
    {"keys", keys}, {"nonlinear", nonlinear}, {"by_pidfd", by_pidfd},
};

static struct place file(void)
{
    struct place p = {.rw = memfd_create("file", MFD_CLOEXEC), .offset = 0x40000};
    char path[40];

    if (ftruncate(p.rw, 1 << 20) < 0)
        exit(94);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", p.rw);
    p.ro = open(path, O_RDONLY);
    p.wo = open(path, O_WRONLY);
    return p;
}

static struct place machine(void)
{
    return (struct place){open("/dev/mem", O_RDWR), open("/dev/mem", O_RDONLY), open("/dev/mem", O_WRONLY), RAM + 0x40000};
}

static void differ(const char *name, char *want, char *got)
{
    char *a, *b;

    failures++;
    while (*want || *got) {
        a = want + strcspn(want, "\n");
        b = got + strcspn(got, "\n");
        if (a - want != b - got || memcmp(want, got, (size_t)(a - want)) != 0)
            fprintf(stderr, "%s: file: %.*s\n%s: RAM:  %.*s\n", name, (int)(a - want), want, name, (int)(b - got), got);
        want = a + (*a == '\n');
        got = b + (*b == '\n');
    }
}

static int compare(int argc, char **argv)
{
    static char want[sizeof(said)];
    struct place on_file = file(), on_ram = machine();
    int found = 0;

    catch_faults();
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        if (argc && strcmp(argv[0], cases[i].name) != 0)
            continue;
        length = 0;
        cases[i].run(&on_file);
        memcpy(want, said, length + 1);
        length = 0;
        cases[i].run(&on_ram);
        if (strcmp(want, said) != 0)
            differ(cases[i].name, want, said);
        if (argc > 1)
            fputs(said, stdout);
        found++;
    }
    printf("%d\n", found);
    return 0;
}

/* --- the machine at its own addresses --- */

static void *own(unsigned long at, size_t size, int prot, int how)
{
    return mmap((void *)at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | how, -1, 0);
}

/* Memory of the program's own over RAM, over a window, and over parts of them: memory, and nothing else. */
static int over(int argc, char **argv)
{
    volatile uint8_t *w = (volatile uint8_t *)UART;
    int ends[2];

    (void)argc;
    (void)argv;
    catch_faults();
    EQUAL(own(UART, PAGE, RW, MAP_FIXED_NOREPLACE), -1);
    EQUAL(errno, EEXIST);
    EQUAL(own(RAM + PAGE, PAGE, RW, MAP_FIXED_NOREPLACE), -1);
    EQUAL(errno, EEXIST);
    CHECK(own(UART, PAGE, RW, 0) != (void *)UART);
    CHECK(own(RAM, PAGE, RW, 0) != (void *)RAM);
    w[7] = 0x41; /* the one access of the machine */
    R[0] = 1;
    R[2 * PAGE] = 1;
    EQUAL(own(UART, PAGE, RW, MAP_FIXED), UART);
    EQUAL(own(RAM + PAGE, PAGE, RW, MAP_FIXED), RAM + PAGE);
    EQUAL(w[7], 0);
    w[7] = 0x55;
    EQUAL(w[7], 0x55);
    EQUAL(w[5], 0); /* LSR would say 0x60 */
    R[PAGE] = 5;
    EQUAL(R[0] + R[2 * PAGE] + R[PAGE], 7);
    /* Its protection is the program's. */
    EQUAL(mprotect((void *)UART, PAGE, PROT_READ), 0);
    EQUAL(touch(w + 7, 0, 0), 0);
    EQUAL(touch(w + 7, 1, 1), SIGSEGV * 100 + SEGV_ACCERR);
    EQUAL(mprotect((void *)UART, PAGE, PROT_NONE), 0);
    EQUAL(touch(w + 7, 0, 0), SIGSEGV * 100 + SEGV_ACCERR);
    EQUAL(mprotect((void *)UART, PAGE, RW), 0);
    EQUAL(w[7], 0x55);
    CHECK(pipe(ends) == 0 && write(ends[1], "x", 1) == 1);
    EQUAL(read(ends[0], (void *)(UART + 7), 1), 1);
    EQUAL(w[7], 'x');
    EQUAL(munmap((void *)UART, PAGE), 0);
    EQUAL(touch(w + 7, 0, 0), SIGSEGV * 100 + SEGV_MAPERR);
    EQUAL(mprotect((void *)UART, PAGE, RW), -1);
    EQUAL(errno, ENOMEM);
    EQUAL(own(UART, PAGE, RW, MAP_FIXED_NOREPLACE), UART);
    EQUAL(w[7], 0);
    return 0;
}

/* A window is given back: there is nothing any more; the device is still there for /dev/mem. */
static int windows(int argc, char **argv)
{
    volatile uint8_t *w = (volatile uint8_t *)UART, *m;
    int fd = open("/dev/mem", O_RDWR), ends[2];
    uint8_t byte = 0;

    (void)argc;
    (void)argv;
    catch_faults();
    w[7] = 0x41;
    EQUAL(mprotect((void *)UART, PAGE, PROT_READ), 0);
    EQUAL(w[7], 0x41);
    EQUAL(touch(w + 7, 1, 1), SIGSEGV * 100 + SEGV_ACCERR);
    CHECK(pipe(ends) == 0 && write(ends[1], "x", 1) == 1);
    EQUAL(read(ends[0], (void *)(UART + 7), 1), -1);
    EQUAL(errno, EFAULT);
    EQUAL(mprotect((void *)UART, PAGE, PROT_NONE), 0);
    EQUAL(touch(w + 7, 0, 0), SIGSEGV * 100 + SEGV_ACCERR);
    EQUAL(write(ends[1], (void *)(UART + 7), 1), -1);
    EQUAL(errno, EFAULT);
    EQUAL(pread(fd, &byte, 1, UART + 7), 1);
    EQUAL(byte, 0x41);
    EQUAL(mprotect((void *)UART, PAGE, PROT_WRITE), 0);
    EQUAL(w[7], 0x41);
    w[7] = 0x42;
    EQUAL(munmap((void *)UART, PAGE), 0);
    EQUAL(touch(w + 7, 0, 0), SIGSEGV * 100 + SEGV_MAPERR);
    EQUAL(touch(w + 7, 1, 1), SIGSEGV * 100 + SEGV_MAPERR);
    byte = 0x43;
    EQUAL(pwrite(fd, &byte, 1, UART + 7), 1);
    m = mmap((void *)UART, PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, UART);
    CHECK(m == w);
    EQUAL(m[7], 0x43);
    /* A window that is moved is moved. */
    m = own(0, 2 * PAGE, RW, 0);
    CHECK(mremap((void *)(UART + PAGE), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)m) == m);
    EQUAL(*(volatile uint32_t *)m, 0x74726976);
    EQUAL(touch(w + PAGE, 0, 0), SIGSEGV * 100 + SEGV_MAPERR);
    return 0;
}

/* Calls that look at windows as memory; a segment of shared memory over RAM and a window. */
static int calls(int argc, char **argv)
{
    volatile uint8_t *w = (volatile uint8_t *)UART, *m;
    int id = shmget(IPC_PRIVATE, 2 * PAGE, IPC_CREAT | 0600), fd = open("/dev/mem", O_RDWR);

    (void)argc;
    (void)argv;
    catch_faults();
    /* As of every mapping of a device: nothing there to lock. */
    EQUAL(mlock((void *)UART, 2 * PAGE), 0);
    EQUAL(mlock((void *)(UART + 0x900), 9), 0);
    EQUAL(mlock2((void *)UART, PAGE, MLOCK_ONFAULT), 0);
    EQUAL(mlock2((void *)UART, PAGE, 0x40), -1);
    EQUAL(errno, EINVAL);
    EQUAL(munlock((void *)UART, 2 * PAGE), 0);
    EQUAL(mlock((void *)(UART - PAGE), 2 * PAGE), -1);
    EQUAL(errno, ENOMEM);
    m = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_LOCKED, fd, UART);
    EQUAL(mlock((void *)m, PAGE), 0);
    m[7] = 0x31;
    EQUAL(w[7], 0x31);
    /* Another register file at the same place. */
    EQUAL(remap_file_pages((void *)m, PAGE, 0, (UART + PAGE) / PAGE, 0), 0);
    EQUAL(*(volatile uint32_t *)m, 0x74726976);
    EQUAL(pkey_mprotect((void *)UART, PAGE, PROT_READ, -1), 0);
    EQUAL(touch(w + 7, 1, 1), SIGSEGV * 100 + SEGV_ACCERR);
    EQUAL(pkey_mprotect((void *)UART, PAGE, RW, -1), 0);
    R[0] = 1;
    R[PAGE] = 2;
    EQUAL(shmat(id, (void *)UART, 0), -1);
    EQUAL(errno, EINVAL);
    EQUAL(shmat(id, (void *)RAM, 0), -1);
    EQUAL(w[7], 0x31);
    EQUAL(shmat(id, (void *)(RAM + PAGE + 5), SHM_REMAP), -1);
    EQUAL(shmat(id, (void *)(RAM + PAGE + 5), SHM_REMAP | SHM_RND), RAM + PAGE);
    EQUAL(shmat(id, (void *)UART, SHM_REMAP), UART);
    EQUAL(w[7] + R[PAGE] + R[2 * PAGE], 0);
    R[2 * PAGE] = 9;
    EQUAL(w[PAGE], 9);
    w[7] = 0x66;
    EQUAL(R[PAGE + 7], 0x66);
    EQUAL(mprotect((void *)RAM, 4 * PAGE, RW), 0);
    R[3 * PAGE] = 3;
    EQUAL(shmdt((void *)(RAM + PAGE)), 0);
    EQUAL(touch(R + PAGE, 0, 0), SIGSEGV * 100 + SEGV_MAPERR);
    EQUAL(shmctl(id, IPC_RMID, NULL), 0);
    return 0;
}

/* dies READ|WRITE: in a window that was given back. */
static int dies(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    munmap((void *)UART, PAGE);
    return *LSR;
}

/* RAM and a window that a child does not get: what it puts there is its own. */
static void not_inherited(void)
{
    volatile uint8_t *r = (volatile uint8_t *)RAM + 0x30000, *w = (volatile uint8_t *)UART;
    int status;
    pid_t pid;

    EQUAL(madvise((void *)r, PAGE, MADV_DONTFORK), 0);
    EQUAL(madvise((void *)w, PAGE, MADV_DONTFORK), 0);
    pid = fork();
    if (pid == 0) {
        EQUAL(touch(r, 1, 1), SIGSEGV * 100 + SEGV_MAPERR);
        EQUAL(touch(w + 7, 1, 1), SIGSEGV * 100 + SEGV_MAPERR);
        EQUAL(mprotect((void *)r, PAGE, RW), -1);
        EQUAL(own((unsigned long)r, PAGE, PROT_READ, MAP_FIXED_NOREPLACE), (long)r);
        EQUAL(own(UART, PAGE, RW, MAP_FIXED_NOREPLACE), UART);
        EQUAL(mprotect((void *)r, PAGE, RW), 0);
        EQUAL(touch(r, 1, 1) + touch(w + 7, 1, 9), 0);
        EQUAL(w[7], 9);
        _exit(failures);
    }
    waitpid(pid, &status, 0);
    EQUAL(status, 0);
    EQUAL(*r, 0);
    EQUAL(madvise((void *)w, PAGE, MADV_DOFORK), 0);
}

/* RAM at its own address, closed and opened; in a child too. */
static int home(int argc, char **argv)
{
    int status;
    pid_t pid;

    (void)argc;
    (void)argv;
    catch_faults();
    R[0] = 7;
    for (int round = 0; round < 2; round++) {
        EQUAL(mprotect((void *)RAM, 4 * PAGE, PROT_NONE), 0);
        EQUAL(touch(R, 0, 0), SIGSEGV * 100 + SEGV_ACCERR);
        EQUAL(touch(R + PAGE, 1, 1), SIGSEGV * 100 + SEGV_ACCERR);
        EQUAL(mprotect((void *)RAM, 2 * PAGE, PROT_READ), 0);
        EQUAL(R[0], 7 + round);
        EQUAL(touch(R, 1, 1), SIGSEGV * 100 + SEGV_ACCERR);
        EQUAL(mprotect((void *)RAM, 4 * PAGE, RW), 0);
        EQUAL(R[PAGE], 0);
        pid = fork();
        if (pid == 0) {
            EQUAL(mprotect((void *)RAM, PAGE, PROT_READ), 0);
            EQUAL(touch(R, 1, 1), SIGSEGV * 100 + SEGV_ACCERR);
            EQUAL(mprotect((void *)RAM, PAGE, RW), 0);
            R[0]++;
            _exit(failures);
        }
        waitpid(pid, &status, 0);
        EQUAL(status, 0);
    }
    EQUAL(R[0], 9);
    not_inherited();
    EQUAL(madvise((void *)RAM, 2 * PAGE, MADV_DONTNEED), 0);
    EQUAL(R[0], 9);
    /* Zeroed by the kernel is written: this page, which nothing else writes, is dirty. */
    EQUAL(madvise((void *)(RAM + 0x20000), PAGE, MADV_REMOVE), 0);
    EQUAL(mlockall(MCL_CURRENT | MCL_FUTURE), 0);
    R[0] = 1;
    EQUAL(*SCR, 0);
    EQUAL(munlockall(), 0);
    return 0;
}

static int in_ours(void *p, size_t size)
{
    unsigned long a = (unsigned long)p, end = a + size;

    return (a < RAM + (512ul << 20) && end > RAM) || (a < UART + 0x9000 && end > UART);
}

/* What the program maps without saying where, and what the heap grows to, is never ours. */
static int elsewhere(int argc, char **argv)
{
    unsigned long bad = 0, start = (unsigned long)sbrk(0);

    (void)argc;
    (void)argv;
    for (unsigned i = 0; i < 20000; i++) {
        unsigned long hint = i % 4 == 0 ? 0 : i % 4 == 1 ? RAM + i * PAGE : i % 4 == 2 ? UART : RAM - PAGE;
        size_t size = (1 + i % 7) * PAGE;
        void *p = mmap((void *)hint, size, RW, MAP_PRIVATE | MAP_ANONYMOUS | (i % 8 > 5 ? MAP_32BIT : 0), -1, 0);

        if (p == MAP_FAILED)
            break;
        bad += in_ours(p, size);
        *(volatile uint8_t *)p = 1;
        if (i % 3 == 0)
            munmap(p, size);
    }
    EQUAL(bad, 0);
    for (unsigned i = 0; i < 256; i++) {
        void *p = sbrk(1 << 20);

        if (p == (void *)-1)
            break;
        bad += in_ours(p, 1 << 20);
        memset(p, 1, 1 << 20);
    }
    EQUAL(bad, 0);
    CHECK((unsigned long)sbrk(0) >= start);
    R[0] = 1;
    *SCR = 0x12;
    EQUAL(*SCR, 0x12);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"compare", compare}, {"over", over}, {"windows", windows}, {"dies", dies}, {"home", home}, {"elsewhere", elsewhere},
        {"calls", calls},
    };

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
