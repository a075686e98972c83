#include "cpu/plan.h"
#include "base/trapsafe.h"

bool stub_enter(struct stub_frame *frame);
extern const u8 stub_abort[], stub_fetch_load[], stub_fetch_stop[];

/* The stub that this thread is in; cpu_stub_fault writes into it from the fault handler. */
struct running {
    const u8 *code;
    int signal, si_code;
    u64 addr;
};

static __thread struct running *running __attribute__((tls_model("initial-exec")));

bool stub_run(struct run *run, struct stub_frame *frame, const u8 *scratch, u64 addr, unsigned size)
{
    struct running self = {.code = frame->code};
    struct running *outer = running;
    bool faulted;

    running = &self;
    faulted = stub_enter(frame);
    running = outer;
    if (!faulted)
        return true;
    if (self.addr - (u64)self.code < STUB_SLOT)
        self.addr = run->state->rip;
    else if (self.addr - (u64)scratch < size)
        self.addr = addr + (self.addr - (u64)scratch);
    run_signal(run, self.signal, self.si_code, self.addr);
    return false;
}

u64 cpu_stub_fault(u64 rip, int signal, int code, u64 addr)
{
    struct running *r = running;

    if (rip - (u64)stub_fetch_load < (u64)(stub_fetch_stop - stub_fetch_load))
        return (u64)stub_fetch_stop;
    if (!r || rip - (u64)r->code >= STUB_SLOT)
        return 0;
    r->signal = signal;
    r->si_code = code;
    r->addr = addr;
    return (u64)stub_abort;
}
