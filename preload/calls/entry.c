/* The C side of entry.S: which function a call goes to, and what signals that arrive around a call are shown. */
#include <errno.h>
#include <signal.h>

#include "base/mem.h"
#include "base/process.h"
#include "base/sys.h"
#include "calls/site.h"
#include "calls/vectors.h"
#include "patch/patch.h"
#include "trap/signals.h"
#include "trap/stepping.h"
#include "trap/thread.h"
#include "base/trapsafe.h"

#define RESTART_SYSCALL 219 /* the kernel's own number when it goes on with an interrupted sleep */

_Static_assert(offsetof(struct call, rsp) == 56 && offsetof(struct call, rbx) == 72 && offsetof(struct call, site) == 120 &&
                   offsetof(struct call, again) == 144 && offsetof(struct call, changed) == 168 &&
                   offsetof(struct call, stack) == 216 && offsetof(struct call, waiting) == 224 &&
                   offsetof(struct call, changing) == 232 && offsetof(struct call, here) == 240 &&
                   offsetof(struct call, resume) == 328 && offsetof(struct call, late) == 320,
               "entry.S");

__attribute__((visibility("hidden"))) extern __thread struct call *calls_here;
__thread struct call *calls_here;

static const call_function *functions;
static __thread bool alone;

/* Called by entry.S. */
void calls_dispatch(struct call *call);
void calls_born(void);
long calls_wait_here(long nr, long a, long b, long c, long d, long e, long f, const u64 *deferred);

bool calls_inside(void)
{
    return functions && thread_self() && !calls_here && !alone;
}

struct call *calls_current(void)
{
    return calls_inside() ? &thread_self()->call : NULL;
}

void calls_thread(struct call *call)
{
    call->here = call;
    if (functions)
        calls_here = call;
}

void calls_alone(void)
{
    struct thread *t = thread_self();

    alone = true;
    t->call.here = NULL;
    lane_drop(&t->self);
    t->self.laneless = true;
}

u64 calls_site(const struct call *call)
{
    return call->site->at + 2;
}

void calls_redirect(void (*function)(int), int argument)
{
    struct call *call = &thread_self()->call;

    call->redirect = (u64)function;
    call->a[0] = (u64)argument;
    call->rsp = ((call->rsp - 128) & ~(u64)15) - 8;
}

void calls_dispatch(struct call *call)
{
    const struct site *site = call->site;
    call_function function = call->nr < CALL_MAX ? functions[call->nr] : NULL;
    enum call_answer answer = function ? function(call) : CALL_PASS;

    if (unlikely(call->late)) {
        call->late = false;
        if (signals_late()) {
            call->ret = (u64)-EINTR;
            answer = CALL_DONE;
        }
    }
    if (unlikely(call->redirect)) {
        call->next = call->again = call->redirect;
        call->redirect = 0;
        return;
    }
    if (answer == CALL_DONE) {
        call->next = call->again = site->behind;
        return;
    }
    call->ret = call->nr;
    call->again = site->restart;
    call->changing = answer == CALL_CHANGED;
    call->next = answer == CALL_CHANGED ? (u64)calls_changed
                 : answer == CALL_AGAIN ? site->restart
                 : answer == CALL_APART ? site->tail - STUB_TAIL + STUB_APART
                                        : site->tail;
}

long calls_wait(long nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
    return calls_wait_here(nr, (long)a, (long)b, (long)c, (long)d, (long)e, (long)f, &thread_self()->call.deferred);
}

void calls_born(void)
{
    bool known = calls_here;
    struct thread *t = thread_self();

    if (!t)
        return;
    if (alone)
        return;
    if (!known && calls_here) /* new: the kernel gives a thread no alternate stack */
        thread_install_stack(t);
    calls_here = &t->call;
}

/* --- signals --- */

static void give_arguments(greg_t *regs, const struct call *call)
{
    static const int order[6] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9};

    for (unsigned i = 0; i < 6; i++)
        regs[order[i]] = (greg_t)call->a[i];
}

/* A call with other arguments did not begin, or is over. The mask of a wait is in effect only for a signal that ended it. */
static u64 changed_over(const struct site *site, greg_t *regs, struct call *call, bool before, bool just_now)
{
    give_arguments(regs, call);
    call->waited = call->waiting && just_now && regs[REG_RAX] == -EINTR;
    call->waiting = call->changing = 0;
    return before ? site->restart : site->behind;
}

/* In a stub: the call has not begun, or is over. */
static u64 seen_in_stub(const struct site *site, u64 rip, greg_t *regs)
{
    struct call *call = thread_self() ? &thread_self()->call : NULL;
    u64 offset = rip - (site->tail - STUB_TAIL);

    if (offset >= STUB_APART && call && call->changing)
        return changed_over(site, regs, call, offset == STUB_APART, offset == STUB_APART + 2);

    if (offset < STUB_FIXED && site->tactic == TACTIC_PREV) /* only the first of them is still where it was */
        return offset ? rip : site->at - site->before;
    if (offset < STUB_TAIL || offset == STUB_APART)
        return site->restart;
    if (offset < STUB_AFTER)
        return regs[REG_RAX] == RESTART_SYSCALL ? rip : site->restart;
    return offset > STUB_APART || (site->tactic == TACTIC_NEXT && offset > STUB_AFTER) ? rip : site->behind;
}

static bool within(u64 rip, const char *from, const char *to)
{
    return rip - (u64)from < (u64)(to - from);
}

/* Between the program and us, either way. */
static u64 seen_in_entry(u64 rip, greg_t *regs, struct call *call)
{
    if (within(rip, calls_native, calls_stored))
        return ((const struct site *)regs[REG_R11])->restart;
    if (within(rip, calls_stored, calls_entered))
        return call->site->restart;
    if (within(rip, calls_left, calls_leave_end)) {
        call->waiting = call->changing = 0;
        regs[REG_RAX] = (greg_t)call->ret;
        return call->again;
    }
    if (rip == (u64)calls_restored)
        return call->site->behind;
    if (within(rip, calls_apart, calls_apart_end))
        return call->changing ? changed_over(call->site, regs, call, false, false) : rip;
    if (within(rip, calls_changed, calls_changed_end))
        return changed_over(call->site, regs, call, true, false);
    return rip;
}

bool calls_interrupted(ucontext_t *uc, bool fault)
{
    greg_t *regs = uc->uc_mcontext.gregs;
    const struct site *site;
    u64 rip;

    stepping_interrupted(uc);
    rip = (u64)regs[REG_RIP];
    if (!functions)
        return true;
    if (thread_self())
        thread_self()->call.waited = thread_self()->call.waited_in == uc;
    if (calls_inside()) {
        if (within(rip, calls_wait_begin, calls_wait_after))
            regs[REG_RIP] = (greg_t)calls_wait_restart;
        patch_inside(uc);
        return false;
    }
    if (!patch_interrupted(uc, fault))
        return false;
    rip = (u64)regs[REG_RIP];
    if (within(rip, calls_native, calls_apart_end) && thread_self())
        regs[REG_RIP] = (greg_t)seen_in_entry(rip, regs, &thread_self()->call);
    else if ((site = calls_site_of(rip)))
        regs[REG_RIP] = (greg_t)seen_in_stub(site, rip, regs);
    return true;
}

void calls_defer(int sig, const siginfo_t *info, ucontext_t *uc, u64 also)
{
    struct call *call = &thread_self()->call;
    u64 all = ~SIGNALS_SYNCHRONOUS | also, now;

    /* First: from here on no signal comes on top of this one, nor this one itself again (SA_NODEFER). */
    sys(SYS_rt_sigprocmask, SIG_BLOCK, &all, NULL, 8);
    memcpy(&now, &uc->uc_sigmask, 8);
    /* Those that came, and were deferred, have what handlers of ours below them block; or all, if this one did. */
    if ((now & all) != all)
        call->mask = call->deferred ? call->mask & now : now;
    call->deferred = 1;
    memcpy(&uc->uc_sigmask, &all, 8);
    sys(SYS_rt_tgsigqueueinfo, sys_getpid(), sys_gettid(), sig, info);
}

/* --- going on --- */

/* As calls_resume pushes them. */
struct resumed {
    u64 r8, r9, r10, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rsp, flags;
};

u64 calls_frame(const struct resumed *regs, struct call *call);

/* Linux arch/x86/include/uapi/asm/ucontext.h. */
#define UC_FP_XSTATE     1u
#define UC_SIGCONTEXT_SS 2u
#define UC_STRICT_SS     4u

static u64 segments(void)
{
    u64 cs, ss;

    __asm__("movq %%cs, %0" : "=r"(cs));
    __asm__("movq %%ss, %0" : "=r"(ss));
    return cs | ss << 48;
}

#define FLAG_TF 0x100

/*
 * TF in flags that were pushed: of a tracer that steps, or of the program itself? It would stay behind when the tracer
 * is gone; what the program has set is set now, too.
 */
static u64 own_flags(u64 flags)
{
    u64 now;

    if (likely(!(flags & FLAG_TF)))
        return flags;
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\tpopq %0\n\tlea 128(%%rsp), %%rsp" : "=r"(now) : : "memory");
    return (now & FLAG_TF) && !process_traced() ? flags : flags & ~(u64)FLAG_TF;
}

/* Called by entry.S: a signal frame, low on our stack. What rsp is to be at rt_sigreturn. */
u64 calls_frame(const struct resumed *r, struct call *call)
{
    struct thread *t = (struct thread *)((char *)call - offsetof(struct thread, call));
    u64 base = (call->stack - CALL_STACK / 2) & ~(u64)63;
    ucontext_t *uc = (ucontext_t *)(base + 64);
    u8 *vectors = (u8 *)((base + 64 + sizeof(*uc) + 63) & ~(u64)63);
    const greg_t regs[23] = {
        [REG_R8] = (greg_t)r->r8, [REG_R9] = (greg_t)r->r9, [REG_R10] = (greg_t)r->r10, [REG_R11] = (greg_t)call->resume.r11,
        [REG_R12] = (greg_t)r->r12, [REG_R13] = (greg_t)r->r13, [REG_R14] = (greg_t)r->r14, [REG_R15] = (greg_t)r->r15,
        [REG_RDI] = (greg_t)r->rdi, [REG_RSI] = (greg_t)r->rsi, [REG_RBP] = (greg_t)r->rbp, [REG_RBX] = (greg_t)r->rbx,
        [REG_RDX] = (greg_t)r->rdx, [REG_RAX] = (greg_t)call->resume.rax, [REG_RCX] = (greg_t)call->resume.rcx,
        [REG_RSP] = (greg_t)r->rsp, [REG_RIP] = (greg_t)call->resume.rip, [REG_EFL] = (greg_t)own_flags(r->flags),
        [REG_CSGSFS] = (greg_t)segments(),
    };

    memset(uc, 0, offsetof(ucontext_t, uc_sigmask)); /* the kernel's ends there, with the mask */
    uc->uc_flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_SS;
    uc->uc_stack = (stack_t){.ss_sp = t->stack, .ss_size = THREAD_STACK};
    memcpy(uc->uc_mcontext.gregs, regs, sizeof(regs));
    uc->uc_mcontext.fpregs = (fpregset_t)(void *)vectors;
    memcpy(&uc->uc_sigmask, &call->mask, 8);
    vectors_save(vectors);
    call->deferred = 0;
    return (u64)uc;
}

/* --- start --- */

void calls_table(const call_function *table)
{
    functions = table;
    calls_thread(&thread_self()->call);
}
