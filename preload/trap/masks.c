/* Signal masks as the program believes them to be. */
#include <errno.h>

#include "base/mem.h"
#include "base/sys.h"
#include "trap/irq.h"
#include "trap/sigstate.h"
#include "base/trapsafe.h"

/* In a call with a deferred signal, the kernel's is ours for the moment. One may be deferred right before it is read. */
u64 masks_kernel(void)
{
    struct call *call = calls_current();
    u64 mask = 0;

    sys(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
    return call && call->deferred ? call->mask : mask;
}

/*
 * Who deferred a signal blocked them all until the call is over, and that is when the new mask comes. One may be deferred
 * right before the mask is set, and stay pending under it: all are blocked again.
 */
long masks_set_kernel(u64 mask)
{
    struct call *call = calls_current();
    u64 all = ~SIGNALS_SYNCHRONOUS;
    long ret = 0;

    if (!call || !call->deferred)
        ret = sys(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8);
    if (!call)
        return ret;
    if (__atomic_load_n(&call->deferred, __ATOMIC_RELAXED))
        sys(SYS_rt_sigprocmask, SIG_BLOCK, &all, NULL, 8);
    call->mask = mask;
    return ret;
}

/* The mask as the program believes it to be. */
u64 masks_program(const struct thread *t, u64 kernel)
{
    return kernel | (t->segv_blocked ? SEGV : 0);
}

u64 masks_interrupted(const struct thread *t, const ucontext_t *uc)
{
    return t->waited || t->segv_once ? t->wait_mask : masks_program(t, mask_of(uc));
}

static u64 combine(int how, u64 mask, u64 set)
{
    return how == SIG_BLOCK ? mask | set : how == SIG_UNBLOCK ? mask & ~set : set;
}

/* A vfork child's mask is for what it execs: just as it wants it. */
static long child_procmask(struct thread *t, int how, const u64 *set, u64 *old)
{
    bool own = t->child_masked == (u32)sys_getpid();
    u64 kernel = masks_kernel(), view = own ? kernel : masks_program(t, kernel);

    if (old)
        *old = view;
    if (!set)
        return 0;
    if (how != SIG_BLOCK && how != SIG_UNBLOCK && how != SIG_SETMASK)
        return -EINVAL;
    t->child_masked = (u32)sys_getpid();
    return masks_set_kernel(combine(how, view, *set));
}

long signals_procmask(int how, const u64 *set, u64 *old)
{
    struct thread *t = thread_self();
    u64 kernel = masks_kernel(), view, next;
    long ret = 0;

    if (!t)
        return sys(SYS_rt_sigprocmask, how, set, old, 8);
    if (!signals_own_memory())
        return child_procmask(t, how, set, old);
    view = masks_program(t, kernel);
    if (set) {
        if (how != SIG_BLOCK && how != SIG_UNBLOCK && how != SIG_SETMASK)
            return -EINVAL;
        next = combine(how, view, *set);
        t->segv_blocked = next & SEGV;
        ret = masks_set_kernel(next & ~SEGV);
        if (!t->segv_blocked && pending_any(t))
            masks_send_kept(t);
        irq_tell_again(irq_unblocked(view & ~next));
    }
    if (old)
        *old = view;
    return ret;
}

/* In a call: what is sent now must wait in the kernel until the program goes on. */
void masks_send_kept(struct thread *t)
{
    if (calls_inside() && !t->call.deferred) {
        t->call.mask = masks_kernel();
        t->call.deferred = 1;
    }
    sys(SYS_rt_sigprocmask, SIG_BLOCK, &(u64){SEGV}, NULL, 8);
    pending_send();
}

void masks_wait(struct thread *t, int sig)
{
    u64 all = ~SIGNALS_SYNCHRONOUS, was;

    if (!calls_inside())
        return;
    sys(SYS_rt_sigprocmask, SIG_BLOCK, &all, &was, 8);
    if (t->call.deferred || (was & all) == all) /* somebody has blocked them, and will unblock them */
        return;
    if (was & signal_bit(sig)) {
        sys(SYS_rt_sigprocmask, SIG_SETMASK, &was, NULL, 8);
        return;
    }
    t->call.mask = was;
    t->call.deferred = 1;
}

static bool wait_ends(struct thread *t)
{
    if ((t->wait_mask & SEGV) || !pending_any(t) || !signals_own_memory())
        return false;
    t->segv_once = true;
    t->call.waiting = 0;
    masks_send_kept(t);
    return true;
}

bool signals_late(void)
{
    struct thread *t = thread_self();

    if (t->call.waiting)
        return wait_ends(t);
    if (pending_any(t) && !t->segv_blocked)
        masks_send_kept(t);
    return false;
}

u64 signals_wait_mask(u64 mask, bool *ends)
{
    struct thread *t = thread_self();

    /* What stays pending is sent again when it is unblocked, and here it is, for the length of the wait. */
    irq_tell_again(irq_unblocked(masks_kernel() & ~mask));
    t->wait_mask = mask & ~(signal_bit(SIGKILL) | signal_bit(SIGSTOP));
    t->call.waiting = 1;
    *ends = wait_ends(t);
    return signals_safe_mask(mask);
}

void signals_waited_for(u64 set)
{
    irq_tell_again(irq_unblocked(set & masks_kernel()));
}
