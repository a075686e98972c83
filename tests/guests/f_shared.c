/* flags: -lpthread */
/* Two tasks that share everything, thread-local storage too, and make system calls all the time. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "b_guest.h"

static char stack[65536] __attribute__((aligned(16)));
static volatile int stop;

static int other(void *unused)
{
    int fd = open("/dev/null", O_WRONLY);

    (void)unused;
    while (!stop)
        if (write(fd, "x", 1) != 1)
            return 1;
    return 0;
}

int main(void)
{
    int fd = open("/dev/zero", O_RDONLY), status = -1;
    pid_t pid = clone(other, stack + sizeof(stack), CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD, NULL);
    char byte;

    for (int i = 0; i < 300000; i++)
        if (read(fd, &byte, 1) != 1)
            return 2;
    stop = 1;
    waitpid(pid, &status, 0);
    printf("%d\n", status);
    return 0;
}
