#include "base/errname.h"

#include <errno.h>

#include "base/types.h"

#define NAME(number, words) [number] = #number " (" words ")"

/* errno(3) and asm-generic/errno.h of Linux, x86-64 */
static const char *const names[] = {
    [0] = "no error",
    NAME(EPERM, "operation not permitted"),
    NAME(ENOENT, "no such file or directory"),
    NAME(ESRCH, "no such process"),
    NAME(EINTR, "interrupted system call"),
    NAME(EIO, "input/output error"),
    NAME(ENXIO, "no such device or address"),
    NAME(E2BIG, "argument list too long"),
    NAME(ENOEXEC, "not an executable format"),
    NAME(EBADF, "bad file descriptor"),
    NAME(ECHILD, "no child processes"),
    NAME(EAGAIN, "resource temporarily unavailable"),
    NAME(ENOMEM, "out of memory"),
    NAME(EACCES, "permission denied"),
    NAME(EFAULT, "bad address"),
    NAME(ENOTBLK, "not a block device"),
    NAME(EBUSY, "device or resource busy"),
    NAME(EEXIST, "file exists"),
    NAME(EXDEV, "link across file systems"),
    NAME(ENODEV, "no such device"),
    NAME(ENOTDIR, "not a directory"),
    NAME(EISDIR, "is a directory"),
    NAME(EINVAL, "invalid argument"),
    NAME(ENFILE, "too many open files in the system"),
    NAME(EMFILE, "too many open files in the process"),
    NAME(ENOTTY, "not a terminal, or no such ioctl"),
    NAME(ETXTBSY, "executable file in use"),
    NAME(EFBIG, "file too large"),
    NAME(ENOSPC, "no space left on device"),
    NAME(ESPIPE, "not seekable"),
    NAME(EROFS, "read-only file system"),
    NAME(EMLINK, "too many links"),
    NAME(EPIPE, "broken pipe"),
    NAME(EDOM, "argument out of domain"),
    NAME(ERANGE, "result out of range"),
    NAME(EDEADLK, "deadlock avoided"),
    NAME(ENAMETOOLONG, "file name too long"),
    NAME(ENOLCK, "no locks available"),
    NAME(ENOSYS, "system call not implemented"),
    NAME(ENOTEMPTY, "directory not empty"),
    NAME(ELOOP, "too many symbolic links"),
    NAME(ENOMSG, "no message of that type"),
    NAME(EIDRM, "identifier removed"),
    NAME(ENOSTR, "not a stream"),
    NAME(ENODATA, "no data available"),
    NAME(ETIME, "timer expired"),
    NAME(ENOLINK, "link severed"),
    NAME(EPROTO, "protocol error"),
    NAME(EMULTIHOP, "multihop attempted"),
    NAME(EBADMSG, "bad message"),
    NAME(EOVERFLOW, "value too large"),
    NAME(EILSEQ, "invalid multibyte sequence"),
    NAME(EUSERS, "too many users"),
    NAME(ENOTSOCK, "not a socket"),
    NAME(EDESTADDRREQ, "destination address required"),
    NAME(EMSGSIZE, "message too long"),
    NAME(EPROTOTYPE, "wrong protocol for the socket"),
    NAME(ENOPROTOOPT, "no such protocol option"),
    NAME(EPROTONOSUPPORT, "protocol not supported"),
    NAME(ESOCKTNOSUPPORT, "socket type not supported"),
    NAME(EOPNOTSUPP, "operation not supported"),
    NAME(EPFNOSUPPORT, "protocol family not supported"),
    NAME(EAFNOSUPPORT, "address family not supported"),
    NAME(EADDRINUSE, "address in use"),
    NAME(EADDRNOTAVAIL, "address not available"),
    NAME(ENETDOWN, "network is down"),
    NAME(ENETUNREACH, "network unreachable"),
    NAME(ENETRESET, "connection dropped by the network"),
    NAME(ECONNABORTED, "connection aborted"),
    NAME(ECONNRESET, "connection reset by peer"),
    NAME(ENOBUFS, "no buffer space"),
    NAME(EISCONN, "already connected"),
    NAME(ENOTCONN, "not connected"),
    NAME(ESHUTDOWN, "already shut down"),
    NAME(ETIMEDOUT, "timed out"),
    NAME(ECONNREFUSED, "connection refused"),
    NAME(EHOSTDOWN, "host is down"),
    NAME(EHOSTUNREACH, "no route to host"),
    NAME(EALREADY, "already in progress"),
    NAME(EINPROGRESS, "now in progress"),
    NAME(ESTALE, "stale file handle"),
    NAME(EREMOTEIO, "remote input/output error"),
    NAME(EDQUOT, "disk quota exceeded"),
    NAME(ENOMEDIUM, "no medium"),
    NAME(EMEDIUMTYPE, "wrong medium type"),
    NAME(ECANCELED, "operation canceled"),
    NAME(ENOKEY, "key not available"),
    NAME(EKEYEXPIRED, "key expired"),
    NAME(EKEYREVOKED, "key revoked"),
    NAME(EKEYREJECTED, "key rejected"),
    NAME(EOWNERDEAD, "owner died"),
    NAME(ENOTRECOVERABLE, "state not recoverable"),
    NAME(EHWPOISON, "memory page has a hardware error"),
};

const char *errname(long negative_or_positive)
{
    /* as unsigned, so that LONG_MIN negates without overflow */
    unsigned long number = (unsigned long)negative_or_positive;

    if (negative_or_positive < 0)
        number = 0 - number;
    if (number >= ARRAY_SIZE(names) || !names[number])
        return "unknown error";
    return names[number];
}
