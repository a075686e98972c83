/*
 * qemu PROGRAM SMALL LARGE DIFFERENCE NAME: nanoseconds of one turn of a guest's loop under PROGRAM, QEMU without KVM:
 * the difference in processor time of two guests, one of which goes round DIFFERENCE times more often, divided by it.
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

#define FINISHED (0x15 << 1 | 1) /* what isa-debug-exit makes of the guest's last word */

static double in_ns(struct timeval t)
{
    return (double)t.tv_sec * 1e9 + (double)t.tv_usec * 1e3;
}

static double run(const char *program, const char *kernel)
{
    const char *const arguments[] = {program,   "-accel",   "tcg,thread=single", "-M",      "pc",
                                     "-m",      "16",       "-nodefaults",       "-display", "none",
                                     "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", kernel, NULL};
    struct rusage used;
    int status;
    pid_t pid;

    if (posix_spawnp(&pid, program, NULL, NULL, (char *const *)arguments, environ) != 0) {
        fprintf(stderr, "%s does not start\n", program);
        exit(1);
    }
    if (wait4(pid, &status, 0, &used) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != FINISHED) {
        fprintf(stderr, "%s: the guest did not come to its end (status 0x%x)\n", program, status);
        exit(1);
    }
    return in_ns(used.ru_utime) + in_ns(used.ru_stime);
}

int main(int argc, char **argv)
{
    double value;

    if (argc != 6)
        return 2;
    pin_last();
    value = (run(argv[1], argv[3]) - run(argv[1], argv[2])) / atof(argv[4]);
    report(argv[5], &value, 1);
    return 0;
}
