/*
 * The life of the process: exec, exit, fork. A child that shares our memory
 * (vfork, posix_spawn) passes by until it execs.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fds.h"
#include "base/lanes.h"
#include "base/mem.h"
#include "base/sys.h"
#include "interpose/interpose.h"
#include "interpose/paths.h"
#include "interpose/program.h"
#include "memory/dirty.h"
#include "trap/backtrace.h"
#include "trap/resume.h"
#include "trap/signals.h"
#include "trap/thread.h"
#include "patch/patch.h"
#include "trap/trap.h"

static struct process_hooks hooks;
static int self; /* pid; a vfork child has another one, and owns nothing of what it sees in memory */

bool process_own(void)
{
    return sys_getpid() == self;
}

bool process_own_here(void)
{
    return !thread_self()->apart;
}

/* --- exit --- */

static void finish(bool flush)
{
    if (interpose_machine && process_own())
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

enum call_answer call_exit_group(struct call *call)
{
    (void)call;
    if (process_own())
        calls_guarded(end_quickly, NULL);
    return CALL_PASS;
}

void trap_end(int status)
{
    exit(status);
}

/* Runs with the program's stack, outside the handler: like a call of exit() at the place of the access. */
static void end_here(int status)
{
    trap_end(status);
}

void trap_end_program(ucontext_t *uc, int status)
{
    greg_t *regs;

    if (!uc) {
        calls_redirect(end_here, status);
        return;
    }
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
};

/* The environment of the new program, read with care: does it preload us? */
static bool preloads_us(u64 envp)
{
    char text[4096];
    u64 entry;

    for (; envp && probe_read(&entry, envp, sizeof(entry)) && entry; envp += sizeof(entry))
        if (probe_read(text, entry, 11) && memcmp(text, "LD_PRELOAD=", 11) == 0 &&
            interpose_string(entry, text, sizeof(text)) && strstr(text, "mmioshim"))
            return true;
    return false;
}

static bool takes_us(const char *path, u64 envp)
{
    return preloads_us(envp) && (!path || program_takes_libraries(path));
}

static struct exec_state before_exec(const char *path, u64 envp)
{
    struct exec_state s = {.own = process_own()};

    s.leaves = !takes_us(path, envp) && (!path || sys(SYS_faccessat, AT_FDCWD, path, X_OK) == 0);
    if (!s.leaves)
        fds_inherit(true);
    if (s.own)
        hooks.before_exec(s.leaves);
    else
        member_expect(interpose_machine->arena, !s.leaves);
    signals_before_exec();
    return s;
}

static void exec_failed(const struct exec_state *s)
{
    if (!s->leaves)
        fds_inherit(false);
    signals_exec_failed();
    if (s->own)
        hooks.exec_failed(s->leaves);
    else
        member_expect(interpose_machine->arena, -(int)!s->leaves);
}

struct exec {
    struct call *call;
    const char *path; /* NULL: relative to a descriptor */
    u64 envp;
    u64 given; /* first argument */
};

static void run_exec(void *argument)
{
    struct exec *e = argument;
    struct exec_state s = before_exec(e->path, e->envp);
    const u64 *a = e->call->a;

    e->call->ret = (u64)calls_wait((long)e->call->nr, e->given, a[1], a[2], a[3], a[4], 0);
    exec_failed(&s);
}

static enum call_answer exec(struct exec *e)
{
    calls_guarded(run_exec, e);
    return (long)e->call->ret == CALLS_AGAIN ? CALL_AGAIN : CALL_DONE;
}

enum call_answer call_execve(struct call *call)
{
    char path[4096];
    struct exec e = {call, path, call->a[2], call->a[0]};
    struct tree_walk w;

    if (!interpose_string(call->a[0], path, sizeof(path)))
        return CALL_PASS;
    if (paths_find(AT_FDCWD, call->a[0], true, &w)) {
        if (w.where != TREE_HOST)
            return call_done(call, w.where == TREE_FAILED ? w.error : -EACCES);
        if (w.moved) {
            e.path = w.path;
            e.given = (u64)w.path;
        }
    }
    return exec(&e);
}

enum call_answer call_execveat(struct call *call)
{
    struct exec e = {call, NULL, call->a[3], call->a[0]};

    return exec(&e);
}

/* --- fork --- */

static void fork_child(void *unused)
{
    (void)unused;
    self = sys_getpid();
    fds_own();
    thread_after_fork();
    calls_after_fork();
    signals_after_fork();
    hooks.child();
}

struct fork {
    u64 flags;
    u64 stack; /* the child's stack pointer, 0: the same */
    u64 room;  /* bytes below it, as far as they are known */
    u64 args[11]; /* of clone3 */
};

/* False: the call is the kernel's alone: a thread, or a child that shares memory (vfork, posix_spawn). */
static bool is_fork(const struct call *call, struct fork *f)
{
    memset(f, 0, sizeof(*f));
    if (call->nr == SYS_clone) {
        f->flags = call->a[0];
        f->stack = call->a[1];
        f->room = UINT64_MAX;
    } else if (call->nr == SYS_clone3) {
        if (call->a[1] < 64 || call->a[1] > sizeof(f->args) || !probe_read(f->args, call->a[0], call->a[1]))
            return false;
        f->flags = f->args[0];
        f->stack = f->args[5] ? f->args[5] + f->args[6] : 0;
        f->room = f->args[6];
        f->args[5] = f->args[6] = 0;
    }
    return call->nr != SYS_vfork && !(f->flags & (CLONE_VM | CLONE_SETTLS));
}

/*
 * A thread has no alternate stack before calls_born() gives it ours: until then no write to its own must fault, which
 * may be RAM that nobody wrote, with dirty pages tracked by mprotect.
 */
static void open_stack(const struct fork *f)
{
    u64 first = MIN(f->room, 4 * PAGE_SIZE);

    if (f->stack > first)
        dirty_allow(f->stack - first, first);
}

/* The child goes on here, on its copy of our stack. */
static long do_fork(const struct call *call, const struct fork *f)
{
    if (call->nr == SYS_fork)
        return sys(SYS_fork);
    if (call->nr == SYS_clone3)
        return sys(SYS_clone3, f->args, call->a[1]);
    return sys(SYS_clone, f->flags, 0, call->a[2], call->a[3], call->a[4]);
}

enum call_answer call_clone(struct call *call)
{
    struct fork f;
    long pid;

    if (!is_fork(call, &f)) {
        open_stack(&f);
        /* A thread without storage of its own shares its creator's: it is met as long as the two do not call at once. */
        if ((f.flags & (CLONE_VM | CLONE_VFORK | CLONE_SETTLS | CLONE_THREAD)) != CLONE_VM)
            return CALL_APART;
        calls_alone();
        patch_stop(); /* trampolines keep registers in that storage, whether they make an access or not */
        return CALL_PASS;
    }
    if (!process_own())
        return CALL_PASS;
    member_expect(interpose_machine->arena, 1);
    alias_hold(); /* the child gets a whole table, and mappings that agree with it */
    patch_hold(); /* and no text that is half changed */
    pid = do_fork(call, &f);
    if (pid)
        patch_release();
    if (pid)
        alias_release();
    if (pid < 0)
        member_expect(interpose_machine->arena, -1);
    if (pid == 0) {
        calls_guarded(fork_child, NULL);
        if (f.stack)
            call->rsp = f.stack;
    }
    return call_done(call, pid);
}

/* --- what the program forbids itself --- */

/* System calls of ours may be refused from now on, or kill. */
static void sandboxed(void)
{
    lanes_sandboxed();
    resume_never();
    tree_sandboxed();
    patch_freeze();
}

enum call_answer call_prctl(struct call *call)
{
    if ((u32)call->a[0] == PR_SET_SECCOMP)
        sandboxed();
    return CALL_PASS;
}

enum call_answer call_seccomp(struct call *call)
{
    if ((u32)call->a[0] == SECCOMP_SET_MODE_STRICT || (u32)call->a[0] == SECCOMP_SET_MODE_FILTER)
        sandboxed();
    return CALL_PASS;
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
    __typeof__(&__libc_start_main) real = (__typeof__(real))dlsym(RTLD_NEXT, "__libc_start_main");

    return real(function, argc, argv, init, fini, loader_fini, stack_end);
}

int __cxa_atexit(void (*function)(void *), void *argument, void *dso);
int __cxa_at_quick_exit(void (*function)(void *), void *dso);

void process_begin(const struct process_hooks *given)
{
    hooks = *given;
    self = sys_getpid();
    fds_own();
    /* Registered before anything of the program, and for no DSO: runs after everything of the program. */
    __cxa_atexit(at_exit, NULL, NULL);
    __cxa_at_quick_exit(end_quickly, NULL);
}
