/*
 * Processes: every way in which a program becomes another or makes one. What
 * is looked at each time: the next process sees the device as this one left it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "b_guest.h"

extern char **environ;

static int status_of(pid_t pid)
{
    int status = -1;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

/* --- exec --- */

#define SELF "/proc/self/exe"

/* Ways that replace the process come back only with an error. */
static int replace(const char *how, char *path, char **argv)
{
    int fd;

    if (!strcmp(how, "execve"))
        return execve(path, argv, environ);
    if (!strcmp(how, "execv"))
        return execv(path, argv);
    if (!strcmp(how, "execvp"))
        return execvp(path, argv);
    if (!strcmp(how, "execvpe"))
        return execvpe(path, argv, environ);
    if (!strcmp(how, "execl"))
        return execl(path, argv[0], argv[1], argv[2], (char *)NULL);
    if (!strcmp(how, "execlp"))
        return execlp(path, argv[0], argv[1], argv[2], (char *)NULL);
    if (!strcmp(how, "execle"))
        return execle(path, argv[0], argv[1], argv[2], (char *)NULL, environ);
    if (!strcmp(how, "fexecve")) {
        fd = open(path, O_RDONLY | O_CLOEXEC);
        return fexecve(fd, argv, environ);
    }
    if (!strcmp(how, "execveat"))
        return execveat(AT_FDCWD, path, argv, environ, 0);
    fprintf(stderr, "%s: no such way to exec\n", how);
    return -1;
}

/* Ways that make a process. Returns its wait status. */
static int start(const char *how, char *path, char **argv)
{
    char line[4096];
    pid_t pid = -1;
    FILE *p;

    snprintf(line, sizeof(line), "%s %s %s", path, argv[1], argv[2]);
    if (!strcmp(how, "posix_spawn"))
        return posix_spawn(&pid, path, NULL, NULL, argv, environ) ? -1 : status_of(pid);
    if (!strcmp(how, "posix_spawnp"))
        return posix_spawnp(&pid, path, NULL, NULL, argv, environ) ? -1 : status_of(pid);
    if (!strcmp(how, "system"))
        return system(line);
    if (!strcmp(how, "popen")) {
        p = popen(line, "r");
        return p ? pclose(p) : -1;
    }
    if (!strcmp(how, "vfork")) {
        pid = vfork();
        if (pid == 0) {
            execv(path, argv);
            _exit(98);
        }
        return status_of(pid);
    }
    if (!strcmp(how, "fork")) {
        pid = fork();
        if (pid == 0) {
            execv(path, argv);
            _exit(98);
        }
        return status_of(pid);
    }
    return -2;
}

static void close_descriptors(const char *how)
{
    if (!strcmp(how, "loop"))
        for (int fd = 3; fd < 1024; fd++)
            close(fd);
    else if (!strcmp(how, "close_range"))
        close_range(3, ~0u, 0);
    else if (!strcmp(how, "closefrom"))
        closefrom(3);
    else if (!strcmp(how, "cloexec"))
        close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    else if (!strcmp(how, "dup2")) /* over everything that is there */
        for (int fd = 3; fd < 1024; fd++)
            dup2(0, fd);
}

/* become HOW [CLOSE]: SCR = 0x41, then the program "seen 0x41" by that way. */
static int become(int argc, char **argv)
{
    char path[4096];
    char *next[] = {path, (char *)"seen", (char *)"0x41", NULL};
    ssize_t n = readlink(SELF, path, sizeof(path) - 1);
    int status;

    if (argc < 1 || n <= 0)
        return 97;
    path[n] = 0;
    *SCR = 0x41;
    if (argc > 1)
        close_descriptors(argv[1]);
    status = start(argv[0], path, next);
    if (status == -2) {
        replace(argv[0], path, next);
        perror(argv[0]);
        return 96;
    }
    EQUAL(status, 0);
    EQUAL(*SCR, 0x42); /* what the other process left */
    return 0;
}

/* seen VALUE: the device holds it; the next value is left in it. */
static int seen(int argc, char **argv)
{
    unsigned want = argc ? (unsigned)strtoul(argv[0], NULL, 0) : 0;

    EQUAL(*SCR, want);
    *SCR = (uint8_t)(want + 1);
    return 0;
}

/* An exec that fails leaves everything as it was. */
static int exec_fails(int argc, char **argv)
{
    char *none[] = {(char *)"none", NULL};

    (void)argc;
    (void)argv;
    *SCR = 0x17;
    EQUAL(execve("/nonexistent", none, environ), -1);
    EQUAL(errno, ENOENT);
    EQUAL(execve("/nonexistent", none, (char *[]){NULL}), -1);
    EQUAL(errno, ENOENT);
    EQUAL(execlp("no-such-program-anywhere", "x", (char *)NULL), -1);
    EQUAL(errno, ENOENT);
    EQUAL(*SCR, 0x17);
    EQUAL(fcntl(1023, F_GETFD) >= 0 ? 0 : errno, EBADF);
    return 0;
}

/* --- fork --- */

static int do_fork(int argc, char **argv)
{
    volatile uint32_t *ram = (volatile uint32_t *)RAM;
    pid_t pid;

    (void)argc;
    (void)argv;
    *SCR = 0x11;                /* 1 */
    ram[0] = 1;                 /* page 0 */
    pid = fork();
    if (pid == 0) {
        EQUAL(*SCR, 0x11);      /* 2 */
        EQUAL(ram[0], 1);
        *SCR = 0x22;            /* 3 */
        ram[0x5000 / 4] = 5;    /* page 5, written by the child alone */
        exit(failures != 0);
    }
    EQUAL(status_of(pid), 0);
    EQUAL(*SCR, 0x22);          /* 4 */
    EQUAL(ram[0x5000 / 4], 5);
    return 0;
}

/* A child that ends by _exit, by a signal, by abort: its pages and its accesses count all the same. */
static int child_ends(int argc, char **argv)
{
    volatile uint8_t *ram = (volatile uint8_t *)RAM;
    pid_t pid;

    if (argc < 1)
        return 97;
    pid = fork();
    if (pid == 0) {
        ram[0x7000] = 7;
        *SCR = 0x77;
        if (!strcmp(argv[0], "_exit"))
            _exit(0);
        if (!strcmp(argv[0], "abort"))
            abort();
        if (!strcmp(argv[0], "segv"))
            *(volatile int *)8 = 0;
        kill(getpid(), atoi(argv[0]));
        for (;;)
            pause();
    }
    printf("status %d\n", status_of(pid));
    return 0;
}

/* Many generations, each forking the next: the device counts them. */
static int generations(int argc, char **argv)
{
    int n = argc ? atoi(argv[0]) : 10;
    pid_t pid;

    *SCR = (uint8_t)(*SCR + 1);
    if (n <= 1)
        return 0;
    pid = fork();
    if (pid == 0) {
        char next[16];
        char *again[] = {next};

        snprintf(next, sizeof(next), "%d", n - 1);
        exit(generations(1, again));
    }
    EQUAL(status_of(pid), 0);
    return 0;
}

/* --- a daemon whose parents are gone --- */

static int daemonize(int argc, char **argv)
{
    char text[64];
    unsigned before;
    FILE *out;

    if (argc < 2)
        return 97;
    *SCR = 0x61;
    if (fork())
        _exit(0);
    setsid();
    if (fork())
        _exit(0);
    if (!strcmp(argv[1], "close"))
        close_descriptors("close_range");
    while (getppid() != 1)
        usleep(1000);
    if (chdir("/") < 0)
        return 95;
    usleep(20000);
    before = *SCR;
    snprintf(text, sizeof(text), "%#x %d\n", before, system("busybox devmem 0x10000007 8 0x62 2>/dev/null"));
    out = fopen(argv[0], "w");
    if (!out)
        return 94;
    fprintf(out, "%s%#x\n", text, *SCR);
    fclose(out);
    return 0;
}

/* --- for scripts --- */

/* loop: accesses until it is killed. */
static int loop(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("ready");
    fflush(stdout);
    for (unsigned i = 0;; i++)
        *SCR = (uint8_t)i;
    return 0;
}

/* touch PAGE...: writes one byte of each page of RAM. */
static int touch(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        *(volatile uint8_t *)(RAM + strtoul(argv[i], NULL, 0) * 4096) = 1;
    return 0;
}

/* touch-wait PAGE: writes, says "ready", and waits for its end. */
static int touch_wait(int argc, char **argv)
{
    touch(argc, argv);
    *SCR = 1;
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
    return 0;
}

/* The number of descriptors that the program can see being used. */
static int first_free(int argc, char **argv)
{
    int fd = dup(0);

    (void)argc;
    (void)argv;
    printf("%d\n", fd);
    return 0;
}

/* A child of another user, where this is the superuser. */
static int as_user(int argc, char **argv)
{
    if (argc < 2)
        return 97;
    if (setgid(65534) < 0 || setuid(65534) < 0)
        return 93;
    execvp(argv[1], argv + 1);
    return 92;
}

int main(int argc, char **argv)
{
    static const struct action table[] = {
        {"become", become},         {"seen", seen},         {"exec-fails", exec_fails}, {"fork", do_fork},
        {"child-ends", child_ends}, {"daemon", daemonize},  {"generations", generations}, {"loop", loop},
        {"touch", touch},           {"touch-wait", touch_wait}, {"first-free", first_free}, {"as-user", as_user},
    };

    return run_action(table, sizeof(table) / sizeof(*table), argc, argv);
}
