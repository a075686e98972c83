/*
 * Signals: SIGSEGV and its kin stay ours, and the program reads back what it
 * set. What each call means: rt_sigaction(2) and so on, in the kernel's order
 * of checks.
 */
#include "trap/signals.h"

#include <errno.h>

#include "base/mem.h"
#include "base/sys.h"
#include "interpose/interpose.h"
#include "interpose/waits.h"
#include "trap/backtrace.h"
#include "trap/thread.h"

#define MASK_SIZE 8 /* the only size of a mask that the kernel takes */
#define KERNEL_UCONTEXT (offsetof(ucontext_t, uc_sigmask) + MASK_SIZE) /* glibc's has more behind it */

static long action(const struct call *call)
{
    struct kernel_action act, old;
    long ret;

    if (call->a[3] != MASK_SIZE)
        return -EINVAL;
    if (call->a[1] && !probe_read(&act, call->a[1], sizeof(act)))
        return -EFAULT;
    if (call->a[0] > INT32_MAX)
        return -EINVAL;
    ret = signals_action((int)call->a[0], call->a[1] ? &act : NULL, &old);
    if (ret == 0 && call->a[2] && !probe_write(call->a[2], &old, sizeof(old)))
        return -EFAULT;
    return ret;
}

enum call_answer call_sigaction(struct call *call)
{
    return call_done(call, action(call));
}

static long procmask(const struct call *call)
{
    u64 set, old;
    long ret;

    if (call->a[3] != MASK_SIZE)
        return -EINVAL;
    if (call->a[1] && !probe_read(&set, call->a[1], sizeof(set)))
        return -EFAULT;
    ret = signals_procmask((int)call->a[0], call->a[1] ? &set : NULL, &old);
    if (ret == 0 && call->a[2] && !probe_write(call->a[2], &old, sizeof(old)))
        return -EFAULT;
    return ret;
}

enum call_answer call_sigprocmask(struct call *call)
{
    return call_done(call, procmask(call));
}

enum call_answer call_sigaltstack(struct call *call)
{
    stack_t stack, old;
    long ret;

    if (call->a[0] && !probe_read(&stack, call->a[0], sizeof(stack)))
        return call_done(call, -EFAULT);
    ret = signals_altstack(call->a[0] ? &stack : NULL, &old, call->rsp);
    if (ret == 0 && call->a[1] && !probe_write(call->a[1], &old, sizeof(old)))
        ret = -EFAULT;
    return call_done(call, ret);
}

/*
 * By a program that goes back without the way that its handler was given. The frame is changed once: nothing that
 * comes now may make the program do the call again.
 */
enum call_answer call_sigreturn(struct call *call)
{
    u64 all = ~(u64)0;
    ucontext_t uc;

    if (!probe_read(&uc, call->rsp, KERNEL_UCONTEXT) || (u64)uc.uc_mcontext.gregs[REG_RIP] == (u64)signals_return)
        return CALL_PASS;
    sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, MASK_SIZE);
    if (call->deferred)
        return CALL_AGAIN;
    signals_leave(&uc, call->rsp);
    probe_write(call->rsp, &uc, KERNEL_UCONTEXT);
    return CALL_PASS;
}

/* --- a SIGSEGV that is kept --- */

enum call_answer call_sigpending(struct call *call)
{
    u64 set = 0;
    long ret;

    if (!signals_segv_pending() || call->a[1] > MASK_SIZE)
        return CALL_PASS;
    ret = sys(SYS_rt_sigpending, &set, MASK_SIZE);
    set |= signal_bit(SIGSEGV);
    if (ret == 0 && !probe_write(call->a[0], &set, call->a[1]))
        ret = -EFAULT;
    return call_done(call, ret);
}

enum call_answer call_sigtimedwait(struct call *call)
{
    siginfo_t info;
    u64 set;

    if (call->a[3] != MASK_SIZE || !probe_read(&set, call->a[0], sizeof(set)))
        return CALL_PASS;
    signals_waited_for(set);
    if (!(set & signal_bit(SIGSEGV)) || !signals_take_segv(&info))
        return CALL_PASS;
    if (call->a[1] && !probe_write(call->a[1], &info, sizeof(info)))
        return call_done(call, -EFAULT);
    return call_done(call, SIGSEGV);
}

/* --- waits with another mask --- */

/* The mask at `from` is the call's; the kernel gets one without SIGSEGV, which *slot will point at. */
static enum call_answer wait_with(struct call *call, u64 from, u64 *slot)
{
    u64 mask;
    bool ends;

    if (!from || !probe_read(&mask, from, sizeof(mask)))
        return CALL_PASS;
    call->scratch[0] = signals_wait_mask(mask, &ends);
    if (ends)
        return call_done(call, -EINTR);
    *slot = (u64)&call->scratch[0];
    return CALL_CHANGED;
}

static enum call_answer wait_argument(struct call *call, unsigned at)
{
    memcpy(call->changed, call->a, sizeof(call->changed));
    return wait_with(call, call->a[at], &call->changed[at]);
}

enum call_answer call_sigsuspend(struct call *call)
{
    if (call->a[1] != MASK_SIZE)
        return CALL_PASS;
    return waits_for(call, CLOCK_NEVER) == CALL_DONE ? CALL_DONE : wait_argument(call, 0);
}

enum call_answer call_ppoll(struct call *call)
{
    return call->a[4] == MASK_SIZE ? wait_argument(call, 3) : CALL_PASS;
}

enum call_answer call_epoll_pwait(struct call *call)
{
    return call->a[5] == MASK_SIZE ? wait_argument(call, 4) : CALL_PASS;
}

/* Its last argument points at the mask's address and size. */
enum call_answer call_pselect(struct call *call)
{
    enum call_answer answer;

    if (!call->a[5] || !probe_read(&call->scratch[1], call->a[5], 16) || call->scratch[2] != MASK_SIZE)
        return CALL_PASS;
    memcpy(call->changed, call->a, sizeof(call->changed));
    answer = wait_with(call, call->scratch[1], &call->scratch[1]);
    call->changed[5] = (u64)&call->scratch[1];
    return answer;
}
