/* Virtual time goes on when the program waits. */
#include "bus/irq.h"
#include "trap/irq.h"
#include "trap/log.h"
#include "trap/trap.h"
#include "trap/worker.h"
#include "base/trapsafe.h"

static void serve(struct thread *t)
{
    struct bus *bus = trap_the_bus();
    struct trap trap = {.thread = t};
    u64 saved;

    signals_mask(&saved);
    t->blocked = saved;
    bus_serve_due(bus, &t->self);
    trap_requests(&trap);
    signals_restore(&saved);
}

u64 trap_waits(u64 most)
{
    struct arena *arena = trap_the_bus()->machine->arena;
    struct thread *t = thread_self();
    u64 begin, passed = 0, pending;

    if (!log_touched() || irq_pending(irq_signals_mine))
        return 0;
    if (!clock_virtual(arena)) {
        worker_resume(trap_the_bus()); /* it may have been killed */
        return 0;
    }
    begin = clock_now(arena);
    do {
        u64 before = clock_now(arena);

        clock_jump(arena, most - passed);
        serve(t);
        pending = irq_pending(irq_signals_mine);
        passed = clock_now(arena) - begin;
        if (clock_now(arena) == before) /* nobody waits for any time */
            break;
    } while (!pending && passed < most);
    return pending;
}
