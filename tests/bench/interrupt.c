/*
 * interrupt clint: nanoseconds from the store that raises a software interrupt, of the CLINT of the map `virt`, to the first
 * instruction of the handler that the program has for its signal: "latency".
 * interrupt kill: the same from the system call by which a thread sends itself a signal.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#include "measure.h"

#define MSIP ((volatile uint32_t *)0x02000000ul)

static volatile uint64_t arrived;
static int pid, tid;

static void by_device(int sig)
{
    arrived = __rdtsc();
    (void)sig;
    *MSIP = 0;
}

static void by_call(int sig)
{
    arrived = __rdtsc();
    (void)sig;
}

SITE void device(void)
{
    *MSIP = 1;
}

SITE void call(void)
{
    syscall(SYS_tgkill, pid, tid, SIGIO);
}

/* Mean ticks of one, over as many as fit into the time of a sample; how long a tick is. */
static double sample(void (*cause)(void))
{
    uint64_t begin = __rdtsc(), sum = 0;
    double start = now(), end;
    long n = 0;

    do {
        uint64_t before = __rdtsc();

        cause();
        sum += arrived - before;
        n++;
        end = now();
    } while (end - start < sample_ns());
    return (double)sum / (double)n * (end - start) / (double)(__rdtsc() - begin);
}

int main(int argc, char **argv)
{
    int kill_only = argc > 1 && strcmp(argv[1], "kill") == 0;
    struct sigaction action = {.sa_handler = kill_only ? by_call : by_device};
    double values[MOST_SAMPLES];

    if (argc < 2)
        return 2;
    pin_last();
    pid = getpid();
    tid = (int)syscall(SYS_gettid);
    sigaction(SIGIO, &action, NULL);
    sample(kill_only ? call : device); /* warms up */
    for (int i = 0; i < samples(); i++)
        values[i] = sample(kill_only ? call : device);
    report("latency", values, samples());
    return 0;
}
