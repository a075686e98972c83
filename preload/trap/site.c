/* Accesses of patched sites: the same route, with the rest of what a handler of faults does around it. */
#include "base/mem.h"
#include "calls/calls.h"
#include "trap/log.h"
#include "trap/route.h"
#include "base/trapsafe.h"

void trap_site_begin(struct trap *t, struct thread *thread, const struct cpu_insn *insn)
{
    memset(t, 0, sizeof(*t));
    t->thread = thread;
    t->insn = insn;
}

/* Does the operand lie in one window, where the program may do this, and not over the end of its page? */
static bool site_takes(struct trap *t, u64 addr, unsigned n, bool write)
{
    return trap_finds(t, addr) && n <= t->near.size - (addr - t->near.base) && t->near.span.kind == VIEW_WINDOW &&
           near_allows(t->near.prot, write) && (n <= 8 || addr % n == 0);
}

bool trap_site_hold(struct trap *t, u64 addr, unsigned n)
{
    return site_takes(t, addr, n, true) && route_hold(t, addr, n);
}

void trap_site_release(struct trap *t)
{
    route_end(t);
}

struct site_access {
    struct trap *t;
    u64 addr;
    void *data;
    unsigned n;
    bool write, done;
};

static void site_route(void *argument)
{
    struct site_access *a = argument;

    a->done = route_program(a->t, a->addr, a->data, a->n, a->write);
}

/* A pipe that nobody reads raises a signal, which is taken back; names and frames are found by libraries that use vectors. */
static void site_logged(struct site_access *a)
{
    u64 saved;

    signals_mask(&saved);
    a->t->thread->blocked = saved;
    calls_guarded(site_route, a);
    signals_restore(&saved);
}

enum trap_site_answer trap_site(struct trap *t, u64 addr, void *data, unsigned n, bool write)
{
    struct site_access a = {t, addr, data, n, write, false};

    if (!site_takes(t, addr, n, write))
        return TRAP_SITE_NONE;
    if (log_wanted())
        site_logged(&a);
    else
        site_route(&a);
    if (a.done)
        return TRAP_SITE_DONE;
    if (t->wait)
        bus_wait(t->wait, 50);
    return t->wait ? TRAP_SITE_WAIT : TRAP_SITE_NONE;
}
