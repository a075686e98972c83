/*
 * A tool that maps a BAR and then takes SIGSEGV for itself, as those do that try whether a register is there: FILE.
 * Its handler must run for its own faults alone, and leave them by siglongjmp.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static sigjmp_buf back;
static volatile sig_atomic_t faults;
static void *volatile fault_at;

static void handler(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    faults++;
    fault_at = info->si_addr;
    siglongjmp(back, 1);
}

static int readable(const volatile uint32_t *at, uint32_t *value)
{
    if (sigsetjmp(back, 1))
        return 0;
    *value = *at;
    return 1;
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    int fd = argc == 2 ? open(argv[1], O_RDWR | O_SYNC) : -1;
    struct stat st;
    volatile uint32_t *bar;
    uint32_t value = 0;

    if (fd < 0 || fstat(fd, &st) < 0)
        return 2;
    bar = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (bar == MAP_FAILED)
        return 3;
    close(fd);
    sigaction(SIGSEGV, &action, NULL);
    bar[1] = 0xcafe;
    for (int i = 0; i < 20; i++) {
        if (!readable(bar + 1, &value) || value != 0xcafe)
            return 4;
        if (readable((const volatile uint32_t *)0x18, &value) || fault_at != (void *)0x18)
            return 5;
    }
    munmap((void *)bar, (size_t)st.st_size);
    if (readable(bar, &value))
        return 6;
    printf("%d faults, all the program's\n", (int)faults);
    return 0;
}
