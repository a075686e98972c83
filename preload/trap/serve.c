#include "trap/serve.h"

#include "base/sys.h"
#include "bus/dma.h"
#include "bus/iommu.h"
#include "trap/log.h"
#include "trap/signals.h"
#include "base/trapsafe.h"

static void log_dma(const struct bus_dma *dma)
{
    struct trace_record rec = {.type = TRACE_DMA, .device = (u16)dma->device, .reg = TRACE_NONE};

    rec.op = dma->write ? TRACE_WRITE : TRACE_READ;
    rec.addr = dma->addr;
    rec.width = (u32)dma->length;
    rec.flags = dma->ok ? 0 : TRACE_FAILED;
    log_event(thread_self(), &rec, NULL);
}

/*
 * A host end may fault (base/guard.h), which the program must not have blocked. Is that to be undone meanwhile? One that
 * somebody has sent would come with it.
 */
static bool faults_blocked(const struct thread *t)
{
    u64 pending = 0;

    if (likely(!(t->blocked & SIGNALS_SYNCHRONOUS)))
        return false;
    sys(SYS_rt_sigpending, &pending, sizeof(pending));
    return !(pending & SIGNALS_SYNCHRONOUS);
}

/* Devices do what the access set going. What they write to may raise a signal, which is taken back. */
void trap_serve(struct trap *t, struct bus *bus, const struct bus_requests *r)
{
    bool masked = t->uc && !faults_blocked(t->thread); /* by the kernel, in the handler */
    u64 saved;

    if (!masked) {
        signals_mask(&saved);
        if (!t->uc)
            t->thread->blocked = saved;
    }
    for (u32 i = 0; i < r->nsoon; i++)
        bus_serve(bus, r->soon[i], &t->thread->self);
    if (!masked)
        signals_restore(&saved);
}

static const struct lock_self *who(void)
{
    return &thread_self()->self;
}

void trap_serve_start(void)
{
    if (log_wanted())
        bus_dma_watch(log_dma);
    bus_iommu_who(who);
}
