/*
 * start: microseconds from the fork to the end of a program that does nothing, which BENCH_PRELOAD, if set, is
 * preloaded into. start resident: kB of memory of this process. start nothing: that program.
 */
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

int main(int argc, char **argv)
{
    double values[MOST_SAMPLES];

    if (argc > 1 && strcmp(argv[1], "nothing") == 0)
        return 0;
    pin_last();
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
