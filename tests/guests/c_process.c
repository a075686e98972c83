/*
 * flags: -lpthread
 * Corners of the life of a process; the first argument says which.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile unsigned char *const scr = (volatile unsigned char *)0x10000007;
static char **arguments;

/* exec-thread N: a thread execs while the first one is in the middle of accesses; N generations. */
static void *exec_again(void *unused)
{
    char count[16];

    (void)unused;
    usleep(2000);
    snprintf(count, sizeof(count), "%d", atoi(arguments[2]) - 1);
    execl(arguments[0], arguments[0], "exec-thread", count, (char *)NULL);
    _exit(9);
}

static int exec_thread(void)
{
    pthread_t t;

    if (atoi(arguments[2]) == 0)
        return 0;
    if (pthread_create(&t, NULL, exec_again, NULL))
        return 8;
    for (;;)
        *scr = 1;
}

/* main-ends: the first thread leaves by pthread_exit; a child comes and goes; the rest goes on. */
static void *outlive(void *unused)
{
    (void)unused;
    usleep(50000);
    *scr = 2;
    if (fork() == 0) {
        *scr = 3;
        _exit(0);
    }
    wait(NULL);
    *scr = 4;
    exit(0);
}

static int main_ends(void)
{
    pthread_t t;

    *scr = 1;
    if (pthread_create(&t, NULL, outlive, NULL))
        return 8;
    pthread_exit(NULL);
}

/* popen-orphan FILE: the shell of popen outlives its parent. */
static int popen_orphan(void)
{
    char command[512];

    *scr = 0x5a;
    snprintf(command, sizeof(command), "busybox devmem 0x10000007 8 > %s", arguments[2]);
    if (!popen(command, "w"))
        return 8;
    _exit(0);
}

/* dup-over: the program puts a file of its own over every high descriptor; the machine must not mind. */
static int dup_over(void)
{
    int f = open(arguments[0], O_RDONLY);
    unsigned char byte = 0;
    int mem;

    *scr = 7;
    for (int i = 900; i < 1024; i++)
        if (dup2(f, i) != i)
            return 8;
    mem = open("/dev/mem", O_RDWR);
    if (mem < 0 || pread(mem, &byte, 1, 0x10000007) != 1)
        return 9;
    printf("%d\n", byte);
    return 0;
}

/* spin: accesses until somebody ends it. */
static int spin(void)
{
    do
        *scr = 1;
    while (*scr);
    return 7;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } table[] = {{"exec-thread", exec_thread}, {"main-ends", main_ends}, {"popen-orphan", popen_orphan},
                 {"dup-over", dup_over}, {"spin", spin}};

    arguments = argv;
    for (unsigned i = 0; argc > 1 && i < sizeof(table) / sizeof(table[0]); i++)
        if (strcmp(argv[1], table[i].name) == 0)
            return table[i].run();
    return 2;
}
