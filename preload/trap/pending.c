/* A SIGSEGV that was sent while the program blocks it: SIGSEGV is never blocked in the kernel, so it is kept here. */
#include "base/mem.h"
#include "base/sys.h"
#include "trap/sigstate.h"
#include "base/trapsafe.h"

static struct pending process_segv; /* sent to the process, found a thread that blocks it */

/* Standard signals do not queue: the first one stays. */
static void keep(struct pending *p, const siginfo_t *info)
{
    u32 empty = 0;

    if (!__atomic_compare_exchange_n(&p->state, &empty, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    p->info = *info;
    __atomic_store_n(&p->state, 2, __ATOMIC_RELEASE);
}

static bool take(struct pending *p, siginfo_t *info)
{
    u32 full = 2;

    if (!__atomic_compare_exchange_n(&p->state, &full, 3, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return false;
    *info = p->info;
    __atomic_store_n(&p->state, 0, __ATOMIC_RELEASE);
    return true;
}

void pending_keep(struct thread *t, const siginfo_t *info)
{
    if (signals_own_memory())
        keep(info->si_code == SI_TKILL ? &t->segv_pending : &process_segv, info);
}

bool pending_any(const struct thread *t)
{
    return __atomic_load_n(&t->segv_pending.state, __ATOMIC_RELAXED) | __atomic_load_n(&process_segv.state, __ATOMIC_RELAXED);
}

bool signals_segv_pending(void)
{
    struct thread *t = thread_self();

    return t && pending_any(t) && signals_own_memory();
}

bool signals_take_segv(siginfo_t *info)
{
    struct thread *t = thread_self();

    return signals_segv_pending() && (take(&t->segv_pending, info) || take(&process_segv, info));
}

void pending_discard(struct thread *t)
{
    siginfo_t info;

    take(&t->segv_pending, &info);
    take(&process_segv, &info);
}

void signals_send(int sig, const siginfo_t *info)
{
    sys(SYS_rt_tgsigqueueinfo, sys_getpid(), sys_gettid(), sig, info);
}

void pending_send(void)
{
    siginfo_t info;

    while (signals_take_segv(&info))
        signals_send(SIGSEGV, &info);
}

void pending_after_fork(void)
{
    process_segv.state = 0;
}
