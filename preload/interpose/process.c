/*
 * The life of the process: exec, exit, fork. fork itself needs no wrapper:
 * glibc runs atfork handlers for every fork of its own, those inside daemon()
 * and forkpty() too. vfork is never wrapped.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fds.h"
#include "base/mem.h"
#include "base/sys.h"
#include "interpose/interpose.h"
#include "interpose/program.h"
#include "trap/backtrace.h"
#include "trap/signals.h"
#include "trap/thread.h"
#include "trap/trap.h"

static struct process_hooks hooks;
static int self; /* pid; a vfork child has another one, and owns nothing of what it sees in memory */

/* --- exit --- */

static void finish(bool flush)
{
    if (interpose_machine && sys_getpid() == self)
        hooks.finish(flush);
}

static void at_exit(void *unused)
{
    (void)unused;
    finish(true);
}

/* quick_exit flushes nothing. */
static void end_quickly(void *unused)
{
    (void)unused;
    finish(false);
}

EXPORT void _exit(int status)
{
    finish(false);
    sys_exit_group(status);
}

EXPORT void _Exit(int status)
{
    _exit(status);
}

/* Runs with the program's stack, outside the handler: like a call of exit() at the place of the access. */
static __attribute__((noreturn)) void end_here(int status)
{
    exit(status);
}

void trap_end_program(ucontext_t *uc, int status)
{
    greg_t *regs;

    if (!uc)
        end_here(status);
    regs = uc->uc_mcontext.gregs;
    regs[REG_RSP] = (greg_t)((((u64)regs[REG_RSP] - 128) & ~(u64)15) - 8);
    regs[REG_RIP] = (greg_t)end_here;
    regs[REG_RDI] = status;
    regs[REG_EFL] &= ~(greg_t)0x400; /* DF */
}

/* --- exec --- */

struct exec_state {
    bool own;    /* not a vfork child */
    bool leaves; /* the new program will not load us */
    u64 mask;
};

static bool preloads_us(char *const envp[])
{
    for (char *const *e = envp; e && *e; e++)
        if (strncmp(*e, "LD_PRELOAD=", 11) == 0 && strstr(*e, "mmioshim"))
            return true;
    return false;
}

/* Will an exec of this path come to something, as far as can be told? A bare name is looked up by execvp later. */
static bool executable(const char *path)
{
    return !path || !strchr(path, '/') || sys(SYS_faccessat, AT_FDCWD, path, X_OK) == 0;
}

static struct exec_state before_exec(const char *path, char *const envp[])
{
    struct exec_state s = {.own = sys_getpid() == self, .leaves = (!preloads_us(envp) || !program_takes_libraries(path)) && executable(path)};

    if (!interpose_machine)
        return s;
    signals_mask(&s.mask);
    if (!s.leaves)
        fds_inherit(true);
    if (s.own) {
        hooks.before_exec(s.leaves);
        signals_restore(&s.mask);
        signals_before_exec();
    } else {
        member_expect(interpose_machine->arena, !s.leaves);
        signals_restore(&s.mask);
    }
    return s;
}

static int exec_failed(const struct exec_state *s, int ret)
{
    int saved = errno;
    u64 mask;

    if (!interpose_machine)
        return ret;
    if (!s->leaves)
        fds_inherit(false);
    if (s->own) {
        signals_exec_failed();
        signals_mask(&mask);
        hooks.exec_failed(s->leaves);
        signals_restore(&mask);
    } else {
        member_expect(interpose_machine->arena, -(int)!s->leaves);
    }
    errno = saved;
    return ret;
}

#define EXEC(path, envp, call) \
    struct exec_state s = before_exec(path, envp); \
    return exec_failed(&s, call)

EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
    EXEC(path, envp, REAL(execve)(path, argv, envp));
}

EXPORT int execv(const char *path, char *const argv[])
{
    EXEC(path, environ, REAL(execv)(path, argv));
}

EXPORT int execvp(const char *file, char *const argv[])
{
    EXEC(file, environ, REAL(execvp)(file, argv));
}

EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
    EXEC(file, envp, REAL(execvpe)(file, argv, envp));
}

EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
    EXEC(NULL, envp, REAL(fexecve)(fd, argv, envp));
}

EXPORT int execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
    EXEC(NULL, envp, REAL(execveat)(dir, path, argv, envp, flags));
}

/* Counts the arguments up to NULL, and copies them into an array of the caller's frame. */
#define COLLECT(first, list, argv) \
    size_t argc_ = 1; \
    va_list list; \
    va_start(list, first); \
    while (va_arg(list, const char *)) \
        argc_++; \
    va_end(list); \
    char **argv = __builtin_alloca((argc_ + 1) * sizeof(*argv)); \
    va_start(list, first); \
    argv[0] = (char *)(uintptr_t)(first); \
    for (size_t i_ = 1; i_ <= argc_; i_++) \
        argv[i_] = va_arg(list, char *)

EXPORT int execl(const char *path, const char *first, ...)
{
    COLLECT(first, list, argv);
    va_end(list);
    return execv(path, argv);
}

EXPORT int execlp(const char *file, const char *first, ...)
{
    COLLECT(first, list, argv);
    va_end(list);
    return execvp(file, argv);
}

EXPORT int execle(const char *path, const char *first, ...)
{
    COLLECT(first, list, argv);
    char *const *envp = va_arg(list, char *const *);

    va_end(list);
    return execve(path, argv, envp);
}

static int spawn(int (*real)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
                             char *const[], char *const[]),
                 pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
    bool ours = preloads_us(envp) && program_takes_libraries(path);
    int ret;

    if (!interpose_machine || !ours)
        return real(pid, path, actions, attributes, argv, envp);
    /* The child copies the descriptor table; should another thread exec meanwhile, it too inherits them, which is harmless. */
    fds_inherit(true);
    member_expect(interpose_machine->arena, 1);
    ret = real(pid, path, actions, attributes, argv, envp);
    if (ret)
        member_expect(interpose_machine->arena, -1);
    fds_inherit(false);
    return ret;
}

EXPORT int posix_spawn(pid_t *restrict pid, const char *restrict path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *restrict attributes, char *const argv[restrict],
                       char *const envp[restrict])
{
    return spawn(REAL(posix_spawn), pid, path, actions, attributes, argv, envp);
}

EXPORT int posix_spawnp(pid_t *restrict pid, const char *restrict file, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *restrict attributes, char *const argv[restrict],
                        char *const envp[restrict])
{
    return spawn(REAL(posix_spawnp), pid, file, actions, attributes, argv, envp);
}

/* libc makes these children past posix_spawn's PLT entry. */
static bool begin_shell(void)
{
    if (!interpose_machine || !preloads_us(environ))
        return false;
    fds_inherit(true);
    member_expect(interpose_machine->arena, 1);
    return true;
}

EXPORT int system(const char *command)
{
    bool began = command && begin_shell();
    int ret = REAL(system)(command);
    int saved = errno;

    if (began)
        fds_inherit(false);
    errno = saved;
    return ret;
}

EXPORT FILE *popen(const char *command, const char *mode)
{
    bool began = begin_shell();
    FILE *stream = REAL(popen)(command, mode);
    int saved = errno;

    if (began && !stream)
        member_expect(interpose_machine->arena, -1);
    if (began)
        fds_inherit(false);
    errno = saved;
    return stream;
}

/* --- fork --- */

static __thread u64 fork_mask; /* two threads may fork at once */

static void fork_prepare(void)
{
    if (sys_getpid() != self)
        return;
    signals_mask(&fork_mask);
    member_expect(interpose_machine->arena, 1);
}

static void fork_parent(void)
{
    if (sys_getpid() == self)
        signals_restore(&fork_mask);
}

static void fork_child(void)
{
    self = sys_getpid();
    fds_own();
    thread_after_fork();
    signals_after_fork();
    hooks.child();
    signals_restore(&fork_mask);
}

/* _Fork runs no atfork handlers (POSIX.1-2024). */
pid_t _Fork(void);
EXPORT pid_t _Fork(void)
{
    pid_t pid;
    u64 mask;

    if (!interpose_machine)
        return REAL(_Fork)();
    signals_mask(&mask);
    member_expect(interpose_machine->arena, 1);
    pid = REAL(_Fork)();
    if (pid == 0) {
        fork_mask = mask;
        fork_child();
    } else {
        if (pid < 0)
            member_expect(interpose_machine->arena, -1);
        signals_restore(&mask);
    }
    return pid;
}

/* --- start --- */

typedef int (*main_function)(int, char **, char **);

int __libc_start_main(main_function function, int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*loader_fini)(void), void *stack_end);

/* Tells where main() is, also in a program without symbols: the place where call stacks end. */
EXPORT int __libc_start_main(main_function function, int argc, char **argv, void (*init)(void), void (*fini)(void),
                             void (*loader_fini)(void), void *stack_end)
{
    backtrace_set_main((u64)function);
    return REAL(__libc_start_main)(function, argc, argv, init, fini, loader_fini, stack_end);
}

int __cxa_atexit(void (*function)(void *), void *argument, void *dso);
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso);
int __cxa_at_quick_exit(void (*function)(void *), void *dso);

void process_begin(const struct process_hooks *given)
{
    hooks = *given;
    self = sys_getpid();
    fds_own();
    /* Registered before anything of the program, and for no DSO: runs after everything of the program. */
    __cxa_atexit(at_exit, NULL, NULL);
    __cxa_at_quick_exit(end_quickly, NULL);
    __register_atfork(fork_prepare, fork_parent, fork_child, NULL);
}
