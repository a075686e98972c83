/* A tracer that steps through its child, one instruction after the other. */
#ifndef F_TRACER_H
#define F_TRACER_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/user.h>
#include <sys/wait.h>

static inline uint64_t rip_of(pid_t pid)
{
    struct user_regs_struct regs;

    ptrace(PTRACE_GETREGS, pid, 0, &regs);
    return regs.rip;
}

/* A pushfq that was stepped over keeps the trap flag, and brings it back: not the program's doing. */
static inline bool stepped(pid_t pid)
{
    struct user_regs_struct regs;
    siginfo_t info;

    ptrace(PTRACE_GETSIGINFO, pid, 0, &info);
    if (info.si_code != TRAP_TRACE)
        return false;
    ptrace(PTRACE_GETREGS, pid, 0, &regs);
    regs.eflags &= ~0x100ul;
    ptrace(PTRACE_SETREGS, pid, 0, &regs);
    return true;
}

/* One instruction. A signal (a fault of a bad pointer, in the library) stays the child's; `with` is injected. */
static inline void step_with(pid_t pid, int with)
{
    int status;

    do {
        ptrace(PTRACE_SINGLESTEP, pid, 0, with);
        if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
            return;
        with = WSTOPSIG(status);
    } while (with != SIGTRAP);
}

static inline void step(pid_t pid)
{
    step_with(pid, 0);
}

#endif
