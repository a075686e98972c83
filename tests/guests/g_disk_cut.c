// flags: -Itests/bench
/*
 * g_disk_cut FILE default|ignored|blocked|handled: reads and writes blocks of a virtio disk behind which FILE is, then cuts it to
 * one block, and does so again. SIGBUS is what the second word says. Prints how many requests failed, of 256 each time, and
 * how often the program's own handler was called.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk.h"

static volatile int called;
static struct disk d;

static void on_bus(int sig)
{
    (void)sig;
    called++;
}

static int choose(const char *how)
{
    sigset_t bus;

    sigemptyset(&bus);
    sigaddset(&bus, SIGBUS);
    if (strcmp(how, "ignored") == 0)
        return signal(SIGBUS, SIG_IGN) == SIG_ERR;
    if (strcmp(how, "handled") == 0)
        return signal(SIGBUS, on_bus) == SIG_ERR;
    if (strcmp(how, "blocked") == 0)
        return sigprocmask(SIG_BLOCK, &bus, NULL);
    return strcmp(how, "default") != 0;
}

/* One at a time. */
static int failures(uint32_t type)
{
    int failed = 0;

    for (int i = 0; i < 256; i++)
        failed += !disk_run(&d, type, 1, 1);
    return failed;
}

int main(int argc, char **argv)
{
    if (argc != 3 || choose(argv[2]) || !disk_start(&d, 0x10001000, memset((void *)0x80000000, 0, sizeof(struct disk_memory))))
        return 2;
    printf("%d %d, ", failures(DISK_IN), failures(DISK_OUT));
    if (truncate(argv[1], DISK_BLOCK) != 0)
        return 3;
    printf("%d, ", failures(DISK_IN));
    failures(DISK_OUT); /* the file grows again */
    printf("%d; %d\n", failures(DISK_IN), called);
    return 0;
}
