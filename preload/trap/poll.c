#include "trap/poll.h"

#include <time.h>

#include "base/mem.h"
#include "base/trapsafe.h"

/* A run is long when it has so many reads and has taken so long: one that sleeps between its looks waits for somebody. */
#define LONG_READS 100000u
#define LONG_TIME  (2 * (u64)1000000000)
#define LOOK       1024u /* reads from one look at the clock to the next */

static u64 value_of(const struct trace_record *rec)
{
    u64 value = 0;

    memcpy(&value, rec->value, MIN(rec->width, 8u));
    return value;
}

bool poll_goes_on(const struct poll *p, const struct trace_record *rec)
{
    if (!p->run || p->pc != rec->pc || p->addr != rec->addr || rec->op != TRACE_READ || p->width != rec->width ||
        p->value != value_of(rec) || p->tid != rec->tid)
        return false;
    return p->stack == rec->stack && p->device == rec->device && p->reg == rec->reg && p->type == rec->type &&
           p->flags == rec->flags;
}

void poll_begin(struct poll *p, const struct trace_record *rec, u64 accesses)
{
    p->run = rec->op == TRACE_READ && rec->width <= 8;
    if (!p->run)
        return;
    p->pc = rec->pc;
    p->addr = rec->addr;
    p->value = value_of(rec);
    p->seq = rec->seq;
    p->tid = rec->tid;
    p->pid = rec->pid;
    p->width = rec->width;
    p->stack = rec->stack;
    p->device = rec->device;
    p->reg = rec->reg;
    p->element = rec->element;
    p->pid_ordinal = rec->pid_ordinal;
    p->tid_ordinal = rec->tid_ordinal;
    p->type = rec->type;
    p->flags = rec->flags;
    p->said = false;
    p->before = accesses;
    p->since = 0;
}

static u64 monotonic(void)
{
    struct timespec t = {0, 0};

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

/* Can the register change although no program touches its device? */
static bool may_change(const struct poll *p, const struct bus *bus)
{
    const struct bus_device *d;

    if (p->flags & TRACE_UNASSIGNED || p->device >= bus->ndevices)
        return false; /* nobody is there */
    d = &bus->devices[p->device];
    if (p->reg >= d->dev.class->nregisters || !(d->dev.class->registers[p->reg].flags & MMIOSHIM_REG_VOLATILE))
        return false;
    /* By its host end, if it has one; by time, if it is of those that take none. */
    return !d->dev.class->backends || d->backend.ops;
}

bool poll_endless(struct poll *p, const struct bus *bus, u64 accesses)
{
    if (likely(p->run % LOOK) || p->said)
        return false;
    if (p->device != TRACE_NONE && accesses - p->before != p->run - 1) { /* somebody else is there: look anew */
        p->before = accesses - (p->run - 1);
        p->since = 0;
    }
    if (!p->since)
        p->since = monotonic();
    if (p->run < LONG_READS || monotonic() - p->since < LONG_TIME || may_change(p, bus))
        return false;
    p->said = true;
    return true;
}
