/*
 * read, write and their kin. On /dev/mem they are accesses of the machine.
 *
 * System calls that write into the program's memory, where dirty pages are
 * tracked by mprotect: the kernel cannot write into a protected page (EFAULT),
 * so the buffer is opened first. All of its pages count as written, also those
 * that the call then does not fill. With userfaultfd nothing is done here.
 */
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "interpose/files.h"
#include "interpose/interpose.h"
#include "memory/dirty.h"
#include "trap/thread.h"

static void open_buffer(const void *buf, size_t n)
{
    u64 mask;

    if (likely(!interpose_machine || dirty_mode() != DIRTY_MPROTECT))
        return;
    signals_mask(&mask);
    dirty_allow((u64)buf, n);
    signals_restore(&mask);
}

static void open_vector(const struct iovec *vector, int count)
{
    if (likely(!interpose_machine || dirty_mode() != DIRTY_MPROTECT) || count < 0 || count > 1024)
        return;
    for (int i = 0; i < count; i++)
        open_buffer(vector[i].iov_base, vector[i].iov_len);
}

EXPORT ssize_t read(int fd, void *buf, size_t n)
{
    if (unlikely(files_is_mem(fd)))
        return files_mem_stream(fd, buf, n, false);
    open_buffer(buf, n);
    return REAL(read)(fd, buf, n);
}

EXPORT ssize_t pread(int fd, void *buf, size_t n, off_t offset)
{
    if (unlikely(files_is_mem(fd)))
        return files_mem_move(buf, n, (u64)offset, false);
    open_buffer(buf, n);
    return REAL(pread)(fd, buf, n, offset);
}

EXPORT ssize_t pread64(int fd, void *buf, size_t n, off64_t offset)
{
    if (unlikely(files_is_mem(fd)))
        return files_mem_move(buf, n, (u64)offset, false);
    open_buffer(buf, n);
    return REAL(pread64)(fd, buf, n, offset);
}

EXPORT ssize_t write(int fd, const void *buf, size_t n)
{
    if (unlikely(files_is_mem(fd)))
        return files_mem_stream(fd, (void *)(uintptr_t)buf, n, true);
    return REAL(write)(fd, buf, n);
}

EXPORT ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    if (unlikely(files_is_mem(fd)))
        return files_mem_move((void *)(uintptr_t)buf, n, (u64)offset, true);
    return REAL(pwrite)(fd, buf, n, offset);
}

EXPORT ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t offset)
{
    return pwrite(fd, buf, n, offset);
}

EXPORT ssize_t readv(int fd, const struct iovec *vector, int count)
{
    open_vector(vector, count);
    return REAL(readv)(fd, vector, count);
}

EXPORT ssize_t preadv(int fd, const struct iovec *vector, int count, off_t offset)
{
    open_vector(vector, count);
    return REAL(preadv)(fd, vector, count, offset);
}

EXPORT ssize_t recv(int fd, void *buf, size_t n, int flags)
{
    open_buffer(buf, n);
    return REAL(recv)(fd, buf, n, flags);
}

EXPORT ssize_t recvfrom(int fd, void *restrict buf, size_t n, int flags, struct sockaddr *restrict from,
                        socklen_t *restrict length)
{
    open_buffer(buf, n);
    return REAL(recvfrom)(fd, buf, n, flags, from, length);
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    if (message)
        open_vector(message->msg_iov, (int)message->msg_iovlen);
    return REAL(recvmsg)(fd, message, flags);
}

ssize_t __read_chk(int fd, void *buf, size_t n, size_t size);
ssize_t __pread_chk(int fd, void *buf, size_t n, off_t offset, size_t size);
ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t offset, size_t size);
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags);

EXPORT ssize_t __read_chk(int fd, void *buf, size_t n, size_t size)
{
    if (n <= size && unlikely(files_is_mem(fd)))
        return files_mem_stream(fd, buf, n, false);
    open_buffer(buf, n);
    return REAL(__read_chk)(fd, buf, n, size);
}

EXPORT ssize_t __pread_chk(int fd, void *buf, size_t n, off_t offset, size_t size)
{
    open_buffer(buf, n);
    return REAL(__pread_chk)(fd, buf, n, offset, size);
}

EXPORT ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t offset, size_t size)
{
    open_buffer(buf, n);
    return REAL(__pread64_chk)(fd, buf, n, offset, size);
}

EXPORT ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags)
{
    open_buffer(buf, n);
    return REAL(__recv_chk)(fd, buf, n, size, flags);
}
