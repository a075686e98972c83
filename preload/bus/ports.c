#include "bus/ports.h"

#include <errno.h>

#include "base/sys.h"
#include "config/machine.h"
#include "base/trapsafe.h"

/* Bit per port, 1 = granted by ioperm. Changed with atomic operations: threads share it. */
static u64 granted[MACHINE_PORTS / 64];
static unsigned iopl_level;
static bool any, inherited; /* inherited: over exec, nobody knows which ports */
static struct arena *arena; /* NULL: nothing is kept over exec */

void ports_start(struct arena *a)
{
    arena = a;
    /* Between fork and exec system(3) and its like run no code of ours: the parent's entry speaks for the child. */
    inherited = (member_flags(a, (u32)sys_getpid()) | member_flags(a, (u32)sys(SYS_getppid))) & MEMBER_PORTS;
    any = inherited;
}

bool ports_any(void)
{
    return any;
}

static void keep_over_exec(void)
{
    struct lock_self self = {.pid = (u32)sys_getpid()};

    any = true;
    if (arena)
        member_flag(arena, &self, MEMBER_PORTS);
}

long ports_iopl(unsigned level)
{
    if (level > 3)
        return -EINVAL;
    __atomic_store_n(&iopl_level, level, __ATOMIC_RELAXED);
    if (level == 3)
        keep_over_exec();
    return 0;
}

/* Bits first to last, both included, of one word. */
static u64 bits(unsigned first, unsigned last)
{
    return ~(u64)0 >> (63 - (last - first)) << first;
}

/* Linux arch/x86/kernel/ioport.c: nothing at all is an error as well as too much. */
long ports_ioperm(u64 from, u64 num, bool on)
{
    if (num == 0 || from >= MACHINE_PORTS || num > MACHINE_PORTS - from)
        return -EINVAL;
    while (num) {
        unsigned first = from & 63, n = (unsigned)MIN(num, (u64)(64 - first));
        u64 mask = bits(first, first + n - 1);

        if (on)
            __atomic_fetch_or(&granted[from / 64], mask, __ATOMIC_RELAXED);
        else
            __atomic_fetch_and(&granted[from / 64], ~mask, __ATOMIC_RELAXED);
        from += n;
        num -= n;
    }
    if (on)
        keep_over_exec();
    return 0;
}

bool ports_granted(u16 port, unsigned n)
{
    if (inherited || __atomic_load_n(&iopl_level, __ATOMIC_RELAXED) == 3)
        return true;
    for (u32 p = port; p < (u32)port + n; p++)
        if (p >= MACHINE_PORTS || !(__atomic_load_n(&granted[p / 64], __ATOMIC_RELAXED) >> (p & 63) & 1))
            return false;
    return true;
}
