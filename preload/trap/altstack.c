/* The program's alternate stack: the kernel has ours. Linux kernel/signal.c, do_sigaltstack() and what is around it. */
#include <errno.h>

#include "base/sys.h"
#include "trap/sigstate.h"
#include "base/trapsafe.h"

#define AUTODISARM ((int)(1u << 31)) /* SS_AUTODISARM */
#define ROOM       2048              /* MINSIGSTKSZ of the kernel's ABI */

static bool contains(const stack_t *s, u64 sp)
{
    return sp - (u64)s->ss_sp - 1 < s->ss_size;
}

/* SS_DISABLE, SS_ONSTACK, or 0: there is one, and it is free. */
static int state(const stack_t *s, u64 sp)
{
    if (!s->ss_size)
        return SS_DISABLE;
    return !(s->ss_flags & AUTODISARM) && contains(s, sp) ? SS_ONSTACK : 0;
}

static long set(stack_t *now, const stack_t *stack, u64 sp)
{
    int mode = stack->ss_flags & ~AUTODISARM;
    stack_t next = *stack;

    if (state(now, sp) == SS_ONSTACK)
        return -EPERM;
    if (mode != 0 && mode != SS_DISABLE && mode != SS_ONSTACK)
        return -EINVAL;
    if (mode == SS_DISABLE)
        next.ss_sp = NULL, next.ss_size = 0;
    else if (next.ss_size < ROOM)
        return -ENOMEM;
    *now = next;
    return 0;
}

long signals_altstack(const stack_t *stack, stack_t *old, u64 sp)
{
    struct thread *t = thread_self();
    stack_t now = t->altstack;
    long ret;

    if (old) {
        *old = now;
        old->ss_flags = state(&now, sp) | (now.ss_flags & AUTODISARM);
    }
    if (!stack)
        return 0;
    ret = set(&now, stack, sp);
    if (ret == 0 && signals_own_memory())
        t->altstack = now;
    return ret;
}

u64 altstack_top(const struct thread *t, u64 sp)
{
    return state(&t->altstack, sp) == 0 ? (u64)t->altstack.ss_sp + t->altstack.ss_size : 0;
}

void altstack_entered(struct thread *t)
{
    if (t->altstack.ss_flags & AUTODISARM)
        t->altstack = (stack_t){.ss_flags = SS_DISABLE};
}

void altstack_returned(struct thread *t, const stack_t *stack, u64 sp)
{
    set(&t->altstack, stack, sp);
}
