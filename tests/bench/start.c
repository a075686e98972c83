/*
 * start: microseconds from the fork to the end of a program that does nothing, which BENCH_PRELOAD, if set, is
 * preloaded into. start resident: kB of memory of this process. start nothing: that program. start whole COMMAND...:
 * the same times of a command, without the library and with it in turn.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

static double resident(void)
{
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    double kb = 0;

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "VmRSS: %lf", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb;
}

static double start_up(void)
{
    char *const arguments[] = {(char *)"start", (char *)"nothing", NULL};
    double start = now();
    int status;
    pid_t pid;

    if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, environ) != 0 || waitpid(pid, &status, 0) != pid ||
        status != 0)
        exit(1);
    return (now() - start) / 1e3;
}

/* Microseconds of a command whose output goes nowhere. */
static double command(char **arguments, const char *preload)
{
    double start = now();
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);

        dup2(null, 1);
        dup2(null, 2);
        if (preload)
            setenv("LD_PRELOAD", preload, 1);
        execvp(arguments[0], arguments);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        exit(1);
    return (now() - start) / 1e3;
}

/* Pairs, the other one first each time; what a first run alone has to do is done before. */
static void whole(char **arguments)
{
    const char *preload = getenv("BENCH_PRELOAD");
    double plain[MOST_SAMPLES], under[MOST_SAMPLES];

    command(arguments, NULL);
    for (int i = 0; i < samples(); i++) {
        if (i % 2)
            under[i] = command(arguments, preload);
        plain[i] = command(arguments, NULL);
        if (i % 2 == 0)
            under[i] = command(arguments, preload);
    }
    report("plain", plain, samples());
    report("under", under, samples());
}

int main(int argc, char **argv)
{
    double values[MOST_SAMPLES];

    if (argc > 1 && strcmp(argv[1], "nothing") == 0)
        return 0;
    pin_last();
    if (argc > 2 && strcmp(argv[1], "whole") == 0) {
        whole(argv + 2);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "resident") == 0) {
        values[0] = resident();
        report("resident", values, 1);
        return 0;
    }
    if (getenv("BENCH_PRELOAD"))
        setenv("LD_PRELOAD", getenv("BENCH_PRELOAD"), 1);
    start_up();
    for (int i = 0; i < samples(); i++)
        values[i] = start_up();
    report("start", values, samples());
    return 0;
}
