/*
 * tracer step PROGRAM ARGUMENT...: runs it, and steps through what lies between
 * two breakpoints of its own; prints the offsets of the instructions it stood
 * at within the range that the first one tells (rdi, rsi).
 * tracer attach PROGRAM ARGUMENT...: runs it, and attaches to it, steps a few
 * instructions and lets it go, until it has ended.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pid_t pid;
static int status;

static struct user_regs_struct registers(void)
{
    struct user_regs_struct regs;

    if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) != 0)
        exit(91);
    return regs;
}

/* Goes on, with the signal it stopped for; false: it has ended. */
static int go_on(int how)
{
    long sig = WIFSTOPPED(status) && WSTOPSIG(status) != SIGTRAP ? WSTOPSIG(status) : 0;

    if (ptrace(how, pid, NULL, sig) != 0 || waitpid(pid, &status, 0) != pid)
        exit(92);
    return WIFSTOPPED(status);
}

static int is_trap(void)
{
    return WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP;
}

static void step_through(void)
{
    struct user_regs_struct regs = registers();
    unsigned long from = regs.rdi, to = regs.rsi, inside = 0, outside = 0, last = 0;

    while (go_on(PTRACE_SINGLESTEP)) {
        regs = registers();
        if (is_trap() && regs.rdi == 0 && regs.rsi == 0 && outside > 0 && inside > 0 &&
            (ptrace(PTRACE_PEEKTEXT, pid, regs.rip - 1, NULL) & 0xff) == 0xcc)
            break;
        if (regs.rip - from < to - from && (regs.rip != last || is_trap())) {
            /* A stop for a signal, and the same place again: once. */
            if (regs.rip != last)
                printf("%#lx\n", (unsigned long)(regs.rip - from));
            last = regs.rip;
            inside++;
        } else if (regs.rip - from >= to - from) {
            outside++;
        }
    }
    fprintf(stderr, "inside %lu outside %lu\n", inside, outside);
}

static int ended(void)
{
    if (WIFSIGNALED(status))
        fprintf(stderr, "ended by signal %d\n", WTERMSIG(status));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 90;
}

static int step(void)
{
    if (waitpid(pid, &status, 0) != pid)
        return 92;
    while (go_on(PTRACE_CONT))
        if (is_trap())
            step_through();
    return ended();
}

/* Stops of signals that come meanwhile are passed on; the last stop is left to PTRACE_DETACH. */
static int look(unsigned steps)
{
    if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) != 0 || waitpid(pid, &status, 0) != pid)
        return 0;
    while (WIFSTOPPED(status) && WSTOPSIG(status) != SIGSTOP)
        if (!go_on(PTRACE_CONT))
            return 0;
    if (!WIFSTOPPED(status))
        return 0;
    ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
    if (waitpid(pid, &status, 0) != pid)
        return 0;
    for (unsigned i = 0; i < steps && WIFSTOPPED(status); i++)
        go_on(PTRACE_SINGLESTEP);
    if (!WIFSTOPPED(status))
        return 0;
    return ptrace(PTRACE_DETACH, pid, NULL, WSTOPSIG(status) != SIGTRAP ? WSTOPSIG(status) : 0) == 0;
}

static int attach(void)
{
    struct timespec moment = {0, 1000000};
    unsigned looks = 0;

    status = 0x7f; /* stopped, as it were */
    for (;;) {
        nanosleep(&moment, NULL);
        if (waitpid(pid, &status, WNOHANG) == pid)
            break;
        if (!look(looks % 7)) {
            if (WIFSTOPPED(status))
                return 92;
            break;
        }
        looks++;
    }
    printf("looks %u\n", looks);
    return ended();
}

int main(int argc, char **argv)
{
    int stepping = argc > 2 && strcmp(argv[1], "step") == 0;

    if (argc < 3)
        return 99;
    pid = fork();
    if (pid == 0) {
        if (stepping)
            ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        execv(argv[2], argv + 2);
        _exit(127);
    }
    return stepping ? step() : attach();
}
