#include "trap/stepping.h"

#include <signal.h>

#include "base/mem.h"
#include "base/sys.h"
#include "base/trapsafe.h"

#define WAYS      64 /* threads that are stepped at the same time */
#define STUB_SIZE 64
#define STUB_ABORT 48
#define PATIENCE  16

/* struct rseq_cs of the kernel's ABI; it wants them aligned to 32 bytes. */
struct sequence {
    u32 version, flags;
    u64 start, length, leave;
};

/* Offsets are known to stepping.S. */
struct way {
    struct sequence sequence;
    u64 rax;    /* what the stub exchanges: our value, then the program's */
    u64 rcx;
    u64 at;     /* the instruction with the breakpoint */
    u64 behind; /* where the program goes on */
    u32 owner;  /* thread */
    u32 again;  /* returns in a row that look the same */
    u64 rsp, rdi, rsi;
    u64 spare[4];
} __attribute__((aligned(128)));

_Static_assert(sizeof(struct way) == 128 && offsetof(struct way, rax) == 32 && offsetof(struct way, behind) == 56,
               "stepping.S");

__attribute__((visibility("hidden"))) extern struct way stepping_ways[WAYS];
__attribute__((visibility("hidden"))) extern const u8 stepping_stubs[WAYS][STUB_SIZE];
struct way stepping_ways[WAYS];

/* glibc 2.35 and later. */
extern const i64 rseq_offset __asm__("__rseq_offset") __attribute__((weak));
extern const u32 rseq_size __asm__("__rseq_size") __attribute__((weak));

#define RSEQ_CPU_ID 4 /* offset of cpu_id in struct rseq: negative while it is not registered */
#define RSEQ_CS     8

static bool has_rseq(void)
{
    i32 cpu;

    if (!&rseq_size || !&rseq_offset || !rseq_size)
        return false;
    __asm__("movl %%fs:(%1), %0" : "=r"(cpu) : "r"(rseq_offset + RSEQ_CPU_ID));
    return cpu >= 0;
}

/* This thread's, or that of a thread that has not been stepped for a while. */
static struct way *way_of(u32 tid)
{
    struct way *w;

    for (unsigned i = 0; i < WAYS; i++)
        if (stepping_ways[i].owner == tid)
            return &stepping_ways[i];
    for (unsigned i = 0; i < WAYS; i++) {
        u32 owner = __atomic_load_n(&stepping_ways[i].owner, __ATOMIC_RELAXED);

        w = &stepping_ways[i];
        if ((owner == 0 || sys(SYS_tgkill, sys_getpid(), owner, 0) < 0) &&
            __atomic_compare_exchange_n(&w->owner, &owner, tid, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            return w;
    }
    return NULL;
}

/*
 * Displaced stepping runs a copy of the instruction elsewhere, outside the sequence, where it traps again and again:
 * the registers are then always the same.
 */
static bool in_vain(struct way *w, const greg_t *regs, u64 at)
{
    bool same = w->at == at && w->rax == (u64)regs[REG_RAX] && w->rcx == (u64)regs[REG_RCX] &&
                w->rsp == (u64)regs[REG_RSP] && w->rdi == (u64)regs[REG_RDI] && w->rsi == (u64)regs[REG_RSI];

    w->again = same ? w->again + 1 : 0;
    w->rsp = (u64)regs[REG_RSP];
    w->rdi = (u64)regs[REG_RDI];
    w->rsi = (u64)regs[REG_RSI];
    return w->again >= PATIENCE;
}

bool stepping_signal_waits(const ucontext_t *uc)
{
    u64 pending = 0, mask;

    if (sys(SYS_rt_sigpending, &pending, 8) < 0)
        return false;
    memcpy(&mask, &uc->uc_sigmask, 8);
    return pending & ~mask;
}

void stepping_return(ucontext_t *uc, u64 at)
{
    greg_t *regs = uc->uc_mcontext.gregs;
    struct way *w = has_rseq() && (u64)regs[REG_RIP] != at ? way_of((u32)sys_gettid()) : NULL;
    u64 stub;

    if (!w)
        return;
    if (in_vain(w, regs, at)) {
        w->again = 0;
        return;
    }
    stub = (u64)stepping_stubs[w - stepping_ways];
    w->sequence = (struct sequence){.start = at, .length = 1, .leave = stub + STUB_ABORT};
    w->rax = (u64)&w->sequence;
    w->rcx = (u64)rseq_offset + RSEQ_CS;
    w->at = at;
    w->behind = (u64)regs[REG_RIP];
    regs[REG_RIP] = (greg_t)stub;
}

void stepping_interrupted(ucontext_t *uc)
{
    greg_t *regs = uc->uc_mcontext.gregs;
    u64 offset = (u64)regs[REG_RIP] - (u64)stepping_stubs, within = offset % STUB_SIZE;
    const struct way *w = &stepping_ways[offset / STUB_SIZE];

    if (offset >= sizeof(stepping_stubs[0]) * WAYS)
        return;
    /* Behind each exchange; the abort address and what comes before the first exchange leave both alone. */
    if (within >= 7 && within < 25)
        regs[REG_RAX] = (greg_t)w->rax;
    if (within >= 14 && within < 32)
        regs[REG_RCX] = (greg_t)w->rcx;
    regs[REG_RIP] = (greg_t)w->behind;
}
