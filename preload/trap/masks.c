/* Signal masks as the program believes them to be. */
#include <errno.h>

#include "base/mem.h"
#include "base/sys.h"
#include "trap/sigstate.h"
#include "base/trapsafe.h"

/* In a call with a deferred signal, the kernel's is ours for the moment. */
u64 masks_kernel(void)
{
    struct call *call = calls_current();
    u64 mask = 0;

    if (call && call->deferred)
        return call->mask;
    sys(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
    return mask;
}

long masks_set_kernel(u64 mask)
{
    struct call *call = calls_current();
    long ret = sys(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8);

    if (call)
        call->mask = mask;
    return ret;
}

/* Does SIGCANCEL stand in for SIGSEGV there? */
u64 masks_held(const struct thread *t, u64 kernel)
{
    return t->held_really ? 0 : kernel & HELD;
}

/* The mask as the program believes it to be. */
u64 masks_program(const struct thread *t, u64 kernel)
{
    return (kernel & ~HELD) | (t->held_really ? HELD : 0) | (t->segv_blocked || masks_held(t, kernel) ? SEGV : 0);
}

/* Blocks or unblocks SIGSEGV in the program's view; what of that is the kernel's business is returned. */
static u64 view_segv(struct thread *t, u64 kernel, bool block, u64 here)
{
    bool was = t->segv_blocked || masks_held(t, kernel);

    if (block && was)
        return masks_held(t, kernel);
    if (!block && masks_held(t, kernel))
        t->segv_open = here;
    if (block && here - t->segv_open + 0x8000 < 0x10000) {
        t->segv_open = 0;
        return HELD; /* most likely still in the handler that unblocked it: it ends with that */
    }
    t->segv_blocked = block;
    return 0;
}

static u64 combine(int how, u64 mask, u64 set)
{
    return how == SIG_BLOCK ? mask | set : how == SIG_UNBLOCK ? mask & ~set : set;
}

/* A vfork child's mask is for what it execs: just as it wants it. */
static long child_procmask(struct thread *t, int how, const u64 *set, u64 *old)
{
    u64 kernel = masks_kernel(), view = masks_program(t, kernel), next;

    if (old)
        *old = view;
    if (!set)
        return 0;
    if (how != SIG_BLOCK && how != SIG_UNBLOCK && how != SIG_SETMASK)
        return -EINVAL;
    t->child_masked = (u32)sys_getpid();
    next = combine(how, view, *set);
    return masks_set_kernel(next);
}

long signals_procmask(int how, const u64 *set, u64 *old, u64 sp)
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
        kernel = (next & ~SEGV) | view_segv(t, kernel, next & SEGV, sp);
        t->held_really = next & HELD;
        ret = masks_set_kernel(kernel);
        if (!(next & SEGV) && pending_any(t))
            masks_send_kept(t);
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

void signals_late(void)
{
    struct thread *t = thread_self();

    if (pending_any(t) && !signals_blocks_segv())
        masks_send_kept(t);
}

u64 signals_wait_mask(u64 mask, bool *ends)
{
    struct thread *t = thread_self();

    t->call.waiting = mask & SEGV ? SIGNALS_WAIT_BLOCKED : SIGNALS_WAIT_OPEN;
    *ends = !(mask & SEGV) && pending_any(t) && signals_own_memory();
    if (*ends) {
        t->segv_once = true;
        t->call.waiting = 0;
        masks_send_kept(t);
    }
    return signals_safe_mask(mask);
}

bool signals_blocks_segv(void)
{
    struct thread *t = thread_self();

    return t->segv_blocked || masks_held(t, masks_kernel());
}
