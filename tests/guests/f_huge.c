/* Buffers in windows, with lengths that nothing has: an answer comes at once, and signals are delivered. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

int main(void)
{
    static const uint64_t lengths[] = {(uint64_t)1 << 46, INT64_MAX, UINT64_MAX};
    int fd = open("/dev/null", O_WRONLY);

    for (unsigned i = 0; i < 3; i++) {
        struct iovec v[2] = {{(void *)0x600000000000, lengths[i]}, {(void *)0x10000007, 1}};

        alarm(5);
        printf("%d\n", writev(fd, v, 2) > 0 || errno == EINVAL || errno == EFAULT);
        alarm(0);
    }
    return 0;
}
