/*
 * Raw system calls. Each returns the kernel's value: a result, or -errno.
 * errno is never touched. Any context, also signal handlers and vfork children.
 */
#ifndef MMIOSHIM_BASE_SYS_H
#define MMIOSHIM_BASE_SYS_H

#include <sys/syscall.h>

#include "base/types.h"

static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
    long ret;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;

    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}

#define SYS_ARG_(n, a, b, c, d, e, f, ...) \
    sys_call6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* sys(NUMBER, up to six arguments) */
#define sys(...) SYS_ARG_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

/* Did a call fail? Addresses of mmap near the top of the address space are no errors. */
static inline bool sys_failed(long ret)
{
    return (unsigned long)ret > -4096UL;
}

struct stat;
struct timespec;

static inline long sys_open(const char *path, int flags, unsigned mode)
{
    return sys(SYS_openat, -100 /* AT_FDCWD */, path, flags, mode);
}

static inline long sys_close(int fd)
{
    return sys(SYS_close, fd);
}

static inline long sys_read(int fd, void *buf, size_t n)
{
    return sys(SYS_read, fd, buf, n);
}

static inline long sys_write(int fd, const void *buf, size_t n)
{
    return sys(SYS_write, fd, buf, n);
}

static inline long sys_pread(int fd, void *buf, size_t n, u64 offset)
{
    return sys(SYS_pread64, fd, buf, n, offset);
}

static inline long sys_fstat(int fd, struct stat *st)
{
    return sys(SYS_fstat, fd, st);
}

static inline long sys_fcntl(int fd, int op, long arg)
{
    return sys(SYS_fcntl, fd, op, arg);
}

static inline long sys_ioctl(int fd, unsigned long op, void *arg)
{
    return sys(SYS_ioctl, fd, op, arg);
}

static inline void *sys_mmap(void *addr, size_t len, int prot, int flags, int fd, u64 offset)
{
    return (void *)sys(SYS_mmap, addr, len, prot, flags, fd, offset);
}

static inline long sys_munmap(void *addr, size_t len)
{
    return sys(SYS_munmap, addr, len);
}

static inline long sys_mprotect(void *addr, size_t len, int prot)
{
    return sys(SYS_mprotect, addr, len, prot);
}

static inline long sys_readlink(const char *path, char *buf, size_t n)
{
    return sys(SYS_readlink, path, buf, n);
}

static inline int sys_getpid(void)
{
    return (int)sys(SYS_getpid);
}

static inline int sys_gettid(void)
{
    return (int)sys(SYS_gettid);
}

/* Ends the process at once: no handlers, no flushing. */
static inline void __attribute__((noreturn)) sys_exit_group(int status)
{
    for (;;)
        sys(SYS_exit_group, status);
}

/*
 * Takes back the signal that a failed system call of ours raised (SIGPIPE, SIGXFSZ), so that it never reaches the
 * program. The signal must be masked.
 */
void sys_drain(int signal);
/* Writes all of it, going on after partial writes and EINTR. 0 or -errno. */
long sys_write_all(int fd, const void *buf, size_t n);
/* Reads up to n bytes of a file from its start, going on until end of file. Bytes read or -errno. */
long sys_read_file(const char *path, void *buf, size_t n);
/* Anonymous zeroed private memory, or NULL. Never freed by its users: tables that live as long as the process. */
void *sys_pages(size_t bytes);

#endif
