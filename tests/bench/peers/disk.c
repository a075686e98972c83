/*
 * disk PROGRAM ACCELERATOR KERNEL FILE: nanoseconds of a block that a guest of PROGRAM, QEMU, reads and writes through
 * its virtio disk, with FILE in the page cache behind it (disk_guest.c). The guest counts ticks of the time stamp counter,
 * which goes on under both of QEMU's accelerators as it does here.
 */
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include "measure.h"

#define FINISHED (0x15 << 1 | 1) /* what isa-debug-exit makes of the guest's last word */
#define WAYS     4

static struct way {
    char name[16];
    double values[MOST_SAMPLES];
    int count;
} ways[WAYS];

/* A KVM that runs protected mode without pages by its emulator says nothing of KVM. */
static int emulates(const char *accelerator)
{
    static const char *const names[] = {"read-1", "read-32", "write-1", "write-32"};

    if (strcmp(accelerator, "kvm") != 0 || access("/sys/module/kvm_pvm", F_OK) != 0)
        return 0;
    for (int i = 0; i < WAYS; i++)
        report_nothing(names[i], "KVM of this machine (kvm_pvm) emulates the guest");
    return 1;
}

static double ticks_each_ns(void)
{
    double start = now(), end;
    uint64_t first = __rdtsc();

    while ((end = now()) < start + 2e7)
        ;
    return (double)(__rdtsc() - first) / (end - start);
}

static pid_t begin(char **argv, const char *append, int *out)
{
    char accelerator[32], drive[4200];
    const char *const arguments[] = {
        argv[1], "-accel", accelerator, "-M", "microvm", "-m", "16", "-nodefaults", "-display", "none", "-no-reboot",
        "-global", "virtio-mmio.force-legacy=false", "-drive", drive, "-device", "virtio-blk-device,drive=disk",
        "-chardev", "stdio,id=out", "-device", "isa-debugcon,iobase=0xe9,chardev=out",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", argv[3], "-append", append, NULL};
    posix_spawn_file_actions_t actions;
    int ends[2];
    pid_t pid;

    snprintf(accelerator, sizeof(accelerator), "%s", argv[2]);
    snprintf(drive, sizeof(drive), "file=%s,format=raw,if=none,id=disk,cache=writeback", argv[4]);
    if (pipe(ends) != 0)
        exit(1);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    if (posix_spawnp(&pid, argv[1], &actions, NULL, (char *const *)arguments, environ) != 0) {
        fprintf(stderr, "%s does not start\n", argv[1]);
        exit(1);
    }
    close(ends[1]);
    *out = ends[0];
    return pid;
}

/* The same way on and on, then the next. */
static void keep(const char *name, double value)
{
    struct way *way = ways;

    while (way < ways + WAYS - 1 && way->name[0] && strcmp(way->name, name) != 0)
        way++;
    snprintf(way->name, sizeof(way->name), "%s", name);
    if (way->count < MOST_SAMPLES)
        way->values[way->count++] = value;
}

int main(int argc, char **argv)
{
    uint64_t requests, ticks;
    char name[16], append[48];
    double each;
    int out, status;
    pid_t pid;
    FILE *f;

    if (argc != 5)
        return 2;
    if (emulates(argv[2]))
        return 0;
    each = ticks_each_ns();
    snprintf(append, sizeof(append), "%.0f %d", sample_ns() * each / 65536 + 1, samples());
    pid = begin(argv, append, &out);
    f = fdopen(out, "r");
    while (fscanf(f, "%15s %" SCNx64 " %" SCNx64, name, &requests, &ticks) == 3)
        keep(name, (double)ticks / each / (double)requests);
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != FINISHED || !ways[WAYS - 1].count) {
        fprintf(stderr, "%s: the guest did not come to its end (status 0x%x)\n", argv[1], status);
        return 1;
    }
    for (int i = 0; i < WAYS; i++)
        report(ways[i].name, ways[i].values, ways[i].count);
    return 0;
}
