#include "trap/irq.h"

#include "base/debug.h"
#include "base/process.h"
#include "base/sys.h"
#include "bus/irq.h"
#include "trap/sigstate.h"
#include "base/trapsafe.h"

#define MARK 0x51524900 /* si_errno of our signals: nobody sends such */

u64 irq_signals_mine;

static struct arena_irqs *irqs;
static u64 known; /* signals that interrupts have */

static u32 harts(void)
{
    return MIN(irqs->nharts, ARENA_HARTS);
}

static unsigned signal_of(u32 hart, u32 number)
{
    unsigned sig = irqs->hart[hart].signal[number & 63];

    return sig < ARENA_SIGNALS ? sig : 0;
}

/* Is it this process that is told? */
static bool is_mine(int sig)
{
    const struct arena_vector *v = &irqs->vector[sig];
    const struct thread *t = thread_self();

    return __atomic_load_n(&v->pid, __ATOMIC_RELAXED) == t->self.pid && v->start == t->self.start;
}

/* An interrupt that is pending and has this signal: its number, as the hart would take it; -1: none. */
static int pending_number(int sig, bool *thread)
{
    /* RISC-V Privileged Architecture, "Machine Interrupt Registers": MEI, MSI, MTI, SEI, SSI, STI. */
    static const u8 order[] = {11, 3, 7, 9, 1, 5};

    for (u32 i = 0; i < harts(); i++) {
        u64 all = __atomic_load_n(&irqs->hart[i].pending, __ATOMIC_ACQUIRE);

        for (u32 k = 0; k < ARRAY_SIZE(order) + 64 && all; k++) {
            u32 number = k < ARRAY_SIZE(order) ? order[k] : k - (u32)ARRAY_SIZE(order);

            if (!(all >> number & 1) || signal_of(i, number) != (unsigned)sig)
                continue;
            *thread = irqs->hart[i].threaded >> number & 1;
            return (int)number;
        }
    }
    return -1;
}

static void send(int sig, int number, bool thread, const struct arena_vector *to)
{
    siginfo_t info = {.si_signo = sig, .si_code = SI_QUEUE, .si_errno = MARK};
    struct thread *t = thread_self();
    long ret;

    info.si_pid = (pid_t)t->self.pid;
    if (to->pid == t->self.pid)
        masks_wait(t, sig);
    info.si_value.sival_int = number;
    if (thread)
        ret = sys(SYS_rt_tgsigqueueinfo, to->pid, to->tid, sig, &info);
    else
        ret = sys(SYS_rt_sigqueueinfo, to->pid, sig, &info);
    debug(DEV, 2, "interrupt %d: signal %d to %u: %d", number, sig, to->pid, (int)ret);
}

/* Is that process still there, and can it be reached? It is asked after when it is another one. */
static bool reachable(const struct arena_vector *v, const struct lock_self *self)
{
    if (!v->pid || v->namespace != process_namespace())
        return false;
    return (v->pid == self->pid && v->start == self->start) || process_alive(v->pid, v->start);
}

/* No lock is held. */
static void became_pending(u32 hart, u32 number, const struct lock_self *self)
{
    unsigned sig = signal_of(hart, number);
    struct arena_vector to;

    if (!sig)
        return;
    lock_take(&irqs->lock, self);
    to = irqs->vector[sig];
    lock_release(&irqs->lock, self);
    if (reachable(&to, self))
        send((int)sig, (int)number, irqs->hart[hart].threaded >> number & 1, &to);
}

u64 irq_pending(u64 signals)
{
    u64 found = 0;
    bool thread;

    for (u64 left = thread_self() ? signals : 0; left; left &= left - 1) {
        int sig = __builtin_ctzll(left) + 1;

        if (is_mine(sig) && pending_number(sig, &thread) >= 0)
            found |= signal_bit(sig);
    }
    return found;
}

void irq_tell_again(u64 signals)
{
    for (; signals; signals &= signals - 1) {
        int sig = __builtin_ctzll(signals) + 1, number;
        bool thread;

        if ((number = pending_number(sig, &thread)) >= 0)
            send(sig, number, thread, &irqs->vector[sig]);
    }
}

bool irq_arrives(int sig, siginfo_t *info)
{
    bool thread;
    int number;

    if (likely(info->si_errno != MARK || info->si_code != SI_QUEUE || !irqs))
        return true;
    number = is_mine(sig) && signals_handled(sig) ? pending_number(sig, &thread) : -1;
    info->si_errno = 0;
    info->si_value.sival_int = number; /* another one than when it was sent, perhaps */
    return number >= 0;
}

static void set_vector(int sig, bool mine)
{
    const struct lock_self *self = &thread_self()->self;
    struct arena_vector *v = &irqs->vector[sig];

    lock_take(&irqs->lock, self);
    if (mine)
        *v = (struct arena_vector){self->pid, self->tid, self->start, process_namespace()};
    else if (v->pid == self->pid && v->start == self->start)
        *v = (struct arena_vector){0};
    lock_release(&irqs->lock, self);
}

void irq_handler_set(int sig, bool handler)
{
    u64 bit = signal_bit(sig);

    if (likely(!(known & bit)) || !thread_self())
        return;
    set_vector(sig, handler);
    if (!handler) {
        __atomic_fetch_and(&irq_signals_mine, ~bit, __ATOMIC_RELAXED);
        return;
    }
    __atomic_fetch_or(&irq_signals_mine, bit, __ATOMIC_RELAXED);
    irq_tell_again(irq_pending(bit));
}

void irq_signals_leave(void)
{
    for (u64 left = irq_signals_mine; left; left &= left - 1)
        set_vector(__builtin_ctzll(left) + 1, false);
}

void irq_signals_stay(void)
{
    for (u64 left = irq_signals_mine; left; left &= left - 1)
        irq_handler_set(__builtin_ctzll(left) + 1, true);
}

void irq_signals_after_fork(void)
{
    irq_signals_mine = 0;
}

void irq_signals_start(struct bus *bus)
{
    irqs = &bus->machine->arena->irqs;
    for (u32 i = 0; i < harts(); i++)
        for (u32 number = 0; number < 64; number++)
            if (signal_of(i, number))
                known |= signal_bit((int)signal_of(i, number));
    irq_watch(became_pending);
}
