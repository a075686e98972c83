/*
 * Signals: SIGSEGV and its kin stay ours, and the program reads back what it
 * set. Source for what each call means: signal-safety and the manual pages of
 * the calls, POSIX.1-2017.
 */
#include "trap/signals.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <unistd.h>

#include "base/mem.h"
#include "interpose/interpose.h"

#define SA_RESTORER_ 0x04000000u

/* --- actions --- */

static struct kernel_action to_kernel(const struct sigaction *act)
{
    struct kernel_action k = {
        .handler = (u64)act->sa_sigaction,
        .flags = (u64)(unsigned)act->sa_flags | SA_RESTORER_,
        .restorer = (u64)signals_restorer,
    };

    memcpy(&k.mask, &act->sa_mask, 8);
    return k;
}

static void from_kernel(const struct kernel_action *k, struct sigaction *act)
{
    memset(act, 0, sizeof(*act));
    act->sa_sigaction = (void (*)(int, siginfo_t *, void *))k->handler;
    act->sa_flags = (int)(unsigned)(k->flags & ~(u64)SA_RESTORER_);
    memcpy(&act->sa_mask, &k->mask, 8);
}

EXPORT int sigaction(int sig, const struct sigaction *restrict act, struct sigaction *restrict old)
{
    struct kernel_action k, was;
    long ret;

    if (!interpose_machine)
        return REAL(sigaction)(sig, act, old);
    if (sig == 32 || sig == 33) /* glibc keeps these for itself */
        return (int)interpose_result(-EINVAL);
    if (act)
        k = to_kernel(act);
    ret = signals_action(sig, act ? &k : NULL, &was);
    if (ret == 0 && old)
        from_kernel(&was, old);
    return (int)interpose_result(ret);
}

static sighandler_t set_handler(int sig, sighandler_t handler, int flags, u64 mask)
{
    struct sigaction act = {.sa_handler = handler, .sa_flags = flags}, old;

    if (handler == SIG_ERR) {
        errno = EINVAL;
        return SIG_ERR;
    }
    memcpy(&act.sa_mask, &mask, 8);
    return sigaction(sig, &act, &old) < 0 ? SIG_ERR : old.sa_handler;
}

static u64 interrupting; /* siginterrupt(): signals whose handlers signal() sets interrupt calls */

/* BSD semantics: the call restarts, the handler stays (signal(2)). The mask is glibc's; the program may read it back. */
EXPORT sighandler_t signal(int sig, sighandler_t handler)
{
    u64 mask = sig >= 1 && sig < SIGNALS ? signal_bit(sig) : 0;
    int flags = __atomic_load_n(&interrupting, __ATOMIC_RELAXED) & mask ? 0 : SA_RESTART;

    return interpose_machine ? set_handler(sig, handler, flags, mask) : REAL(signal)(sig, handler);
}

EXPORT int siginterrupt(int sig, int interrupt)
{
    struct sigaction act;

    if (!interpose_machine)
        return ((int (*)(int, int))interpose_find("siginterrupt"))(sig, interrupt); /* its declaration says: deprecated */
    if (sigaction(sig, NULL, &act) < 0)
        return -1;
    if (interrupt) {
        __atomic_fetch_or(&interrupting, signal_bit(sig), __ATOMIC_RELAXED);
        act.sa_flags &= ~SA_RESTART;
    } else {
        __atomic_fetch_and(&interrupting, ~signal_bit(sig), __ATOMIC_RELAXED);
        act.sa_flags |= SA_RESTART;
    }
    return sigaction(sig, &act, NULL);
}

sighandler_t bsd_signal(int sig, sighandler_t handler);
EXPORT sighandler_t bsd_signal(int sig, sighandler_t handler)
{
    return signal(sig, handler);
}

sighandler_t ssignal(int sig, sighandler_t handler);
EXPORT sighandler_t ssignal(int sig, sighandler_t handler)
{
    return signal(sig, handler);
}

/* System V semantics: one shot, and not blocked meanwhile. */
EXPORT sighandler_t sysv_signal(int sig, sighandler_t handler)
{
    return interpose_machine ? set_handler(sig, handler, (int)SA_RESETHAND | SA_NODEFER | SA_INTERRUPT, 0)
                             : REAL(sysv_signal)(sig, handler);
}

sighandler_t __sysv_signal(int sig, sighandler_t handler);
EXPORT sighandler_t __sysv_signal(int sig, sighandler_t handler)
{
    return sysv_signal(sig, handler);
}

static int change_mask(int how, int sig)
{
    u64 set;

    if (sig < 1 || sig >= SIGNALS)
        return (int)interpose_result(-EINVAL);
    set = signal_bit(sig);
    return (int)interpose_result(signals_procmask(how, &set, NULL));
}

EXPORT int sighold(int sig)
{
    return change_mask(SIG_BLOCK, sig);
}

EXPORT int sigrelse(int sig)
{
    return change_mask(SIG_UNBLOCK, sig);
}

EXPORT int sigignore(int sig)
{
    return set_handler(sig, SIG_IGN, 0, 0) == SIG_ERR ? -1 : 0;
}

EXPORT sighandler_t sigset(int sig, sighandler_t handler)
{
    u64 before = 0;
    sighandler_t old;

    if (sig < 1 || sig >= SIGNALS) {
        errno = EINVAL;
        return SIG_ERR;
    }
    signals_procmask(SIG_BLOCK, NULL, &before);
    if (handler == SIG_HOLD) {
        struct sigaction act;

        if (change_mask(SIG_BLOCK, sig) < 0 || sigaction(sig, NULL, &act) < 0)
            return SIG_ERR;
        return before & signal_bit(sig) ? SIG_HOLD : act.sa_handler;
    }
    old = set_handler(sig, handler, 0, 0);
    if (old == SIG_ERR || change_mask(SIG_UNBLOCK, sig) < 0)
        return SIG_ERR;
    return before & signal_bit(sig) ? SIG_HOLD : old;
}

/* --- masks --- */

EXPORT int sigprocmask(int how, const sigset_t *restrict set, sigset_t *restrict old)
{
    u64 k = 0, was = 0;
    long ret;

    if (!interpose_machine)
        return REAL(sigprocmask)(how, set, old);
    if (set) {
        memcpy(&k, set, 8);
        if (how != SIG_UNBLOCK)
            k &= ~(signal_bit(32) | signal_bit(33));
    }
    ret = signals_procmask(how, set ? &k : NULL, &was);
    if (ret == 0 && old) {
        memset(old, 0, sizeof(*old));
        memcpy(old, &was, 8);
    }
    return (int)interpose_result(ret);
}

EXPORT int pthread_sigmask(int how, const sigset_t *restrict set, sigset_t *restrict old)
{
    int saved = errno;
    int ret;

    if (!interpose_machine)
        return REAL(pthread_sigmask)(how, set, old);
    ret = sigprocmask(how, set, old) < 0 ? errno : 0;
    errno = saved;
    return ret;
}

EXPORT int sigpending(sigset_t *set)
{
    int ret = REAL(sigpending)(set);

    if (ret == 0 && interpose_machine && signals_segv_pending())
        sigaddset(set, SIGSEGV);
    return ret;
}

/* Does a wait for one of these signals end at once? SIGSEGV comes before others in the kernel's order, too. */
static bool waited(const sigset_t *set, siginfo_t *info)
{
    return interpose_machine && sigismember(set, SIGSEGV) == 1 && signals_take_segv(info);
}

EXPORT int sigwait(const sigset_t *restrict set, int *restrict sig)
{
    siginfo_t info;

    if (!waited(set, &info))
        return REAL(sigwait)(set, sig);
    *sig = SIGSEGV;
    return 0;
}

EXPORT int sigwaitinfo(const sigset_t *restrict set, siginfo_t *restrict info)
{
    siginfo_t found;

    if (!waited(set, &found))
        return REAL(sigwaitinfo)(set, info);
    if (info)
        *info = found;
    return SIGSEGV;
}

EXPORT int sigtimedwait(const sigset_t *restrict set, siginfo_t *restrict info, const struct timespec *restrict timeout)
{
    siginfo_t found;

    if (!waited(set, &found))
        return REAL(sigtimedwait)(set, info, timeout);
    if (info)
        *info = found;
    return SIGSEGV;
}

/* A mask for the time of a call, without what must not be blocked; NULL stays NULL. */
static const sigset_t *safe(const sigset_t *mask, sigset_t *copy)
{
    u64 k;

    if (!mask || !interpose_machine)
        return mask;
    *copy = *mask;
    memcpy(&k, mask, 8);
    k = signals_safe_mask(k);
    memcpy(copy, &k, 8);
    return copy;
}

EXPORT int sigsuspend(const sigset_t *mask)
{
    sigset_t copy;

    return REAL(sigsuspend)(safe(mask, &copy));
}

EXPORT int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
    sigset_t copy;

    return REAL(ppoll)(fds, n, timeout, safe(mask, &copy));
}

EXPORT int pselect(int n, fd_set *restrict r, fd_set *restrict w, fd_set *restrict e,
                   const struct timespec *restrict timeout, const sigset_t *restrict mask)
{
    sigset_t copy;

    return REAL(pselect)(n, r, w, e, timeout, safe(mask, &copy));
}

EXPORT int epoll_pwait(int fd, struct epoll_event *events, int most, int timeout, const sigset_t *mask)
{
    sigset_t copy;

    return REAL(epoll_pwait)(fd, events, most, timeout, safe(mask, &copy));
}

EXPORT int epoll_pwait2(int fd, struct epoll_event *events, int most, const struct timespec *timeout,
                        const sigset_t *mask)
{
    sigset_t copy;

    return REAL(epoll_pwait2)(fd, events, most, timeout, safe(mask, &copy));
}

EXPORT int sigaltstack(const stack_t *restrict stack, stack_t *restrict old)
{
    if (!interpose_machine)
        return REAL(sigaltstack)(stack, old);
    return (int)interpose_result(signals_altstack(stack, old, (u64)__builtin_frame_address(0)));
}
