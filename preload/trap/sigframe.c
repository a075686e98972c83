#include "trap/sigframe.h"

#include <stddef.h>

#include "base/mem.h"
#include "cpu/plan.h"
#include "trap/backtrace.h"
#include "trap/signals.h"
#include "base/trapsafe.h"

/* The kernel's ucontext: glibc's has more behind it. */
struct kernel_ucontext {
    u64 flags;
    u64 link;
    stack_t stack;
    u64 mcontext[32]; /* 23 registers, the pointer to the FPU state, 8 reserved */
    u64 sigmask;
};

struct frame {
    u64 restorer;
    struct kernel_ucontext uc;
    siginfo_t info;
};

_Static_assert(sizeof(struct kernel_ucontext) == 304, "struct ucontext of the kernel");
_Static_assert(offsetof(ucontext_t, uc_mcontext) == offsetof(struct kernel_ucontext, mcontext), "registers");
_Static_assert(offsetof(ucontext_t, uc_sigmask) == offsetof(struct kernel_ucontext, sigmask), "mask");

#define FPU_POINTER 23 /* index in mcontext */

/* struct _fpx_sw_bytes at offset 464 of the FPU state: magic, size with the second magic. */
static u64 fpu_size(const u8 *fpu)
{
    u32 magic, size;

    memcpy(&magic, fpu + 464, 4);
    memcpy(&size, fpu + 468, 4);
    return magic == 0x46505853 && size >= 512 && size <= 65536 ? size : 512;
}

/* A handler starts with the default rights of protection keys (pkeys(7)), as ours just did. Returns what is present then. */
static u64 pkru_reset(u8 *fpu)
{
    u64 features;
    u32 pkru, zero;

    memcpy(&features, fpu + 472, 8);
    if (!(features & xstate_enabled() & XC_PKRU))
        return 0;
    __asm__ volatile("rdpkru" : "=a"(pkru), "=d"(zero) : "c"(0));
    memcpy(fpu + xstate_component(XC_PKRU_INDEX)->offset, &pkru, sizeof(pkru));
    return XC_PKRU;
}

/* It starts with the FPU in its initial state: no other component present, MXCSR with its default. */
static void fpu_reset(u8 *fpu)
{
    u32 mxcsr = 0x1f80, magic;
    u16 control = 0x37f;
    u64 present;

    memcpy(&magic, fpu + 464, 4);
    memcpy(fpu + 24, &mxcsr, 4);
    memcpy(fpu, &control, 2);
    if (magic != 0x46505853)
        return;
    present = pkru_reset(fpu);
    memcpy(fpu + XSTATE_BV, &present, 8);
}

/*
 * The program's restorer will run, and call rt_sigreturn by an instruction that may never come to us. So the frame that
 * it finds leads back to where it was called, as it were, and from there on ours goes back through the handler's.
 */
static bool push_way_back(const struct sigframe_plan *plan, const ucontext_t *uc, const struct frame *handled, u64 *at)
{
    struct frame frame = {.restorer = plan->restorer, .uc = handled->uc, .info = handled->info};
    u64 uc_at = *at + offsetof(struct frame, uc);

    frame.uc.mcontext[REG_RIP] = (u64)signals_return;
    frame.uc.mcontext[REG_RSP] = uc_at;
    frame.uc.mcontext[REG_EFL] &= ~(u64)0x500; /* DF, TF */
    frame.uc.mcontext[FPU_POINTER] = 0;
    frame.uc.stack = uc->uc_stack;
    frame.uc.sigmask = plan->mask;
    *at = ((*at - sizeof(frame)) & ~(u64)15) - 8;
    return probe_write(*at, &frame, sizeof(frame));
}

bool sigframe_push(const struct sigframe_plan *plan, const siginfo_t *info, ucontext_t *uc)
{
    greg_t *regs = uc->uc_mcontext.gregs;
    u8 *fpu = (u8 *)uc->uc_mcontext.fpregs;
    u64 size = fpu ? fpu_size(fpu) : 0;
    u64 fpu_at = (plan->top - size) & ~(u64)63;
    u64 at = ((fpu_at - sizeof(struct frame)) & ~(u64)15) - 8, rsp = at;
    struct frame frame;

    memset(&frame, 0, sizeof(frame));
    frame.restorer = (u64)signals_return;
    memcpy(&frame.uc, uc, sizeof(frame.uc));
    frame.uc.mcontext[FPU_POINTER] = fpu ? fpu_at : 0;
    frame.uc.stack = plan->seen_stack;
    frame.uc.sigmask = plan->seen_mask;
    memcpy(&frame.info, info, sizeof(frame.info));
    if (!probe_write(fpu_at, fpu, size) || !probe_write(at, &frame, sizeof(frame)))
        return false;
    if (plan->restorer && !push_way_back(plan, uc, &frame, &rsp))
        return false;
    if (fpu)
        fpu_reset(fpu);
    regs[REG_RSP] = (greg_t)rsp;
    regs[REG_RIP] = (greg_t)plan->handler;
    regs[REG_RDI] = plan->sig;
    regs[REG_RSI] = (greg_t)(at + offsetof(struct frame, info));
    regs[REG_RDX] = (greg_t)(at + offsetof(struct frame, uc));
    regs[REG_RAX] = 0;
    regs[REG_EFL] &= ~(greg_t)(0x400 | 0x100 | 0x10000 | 0x40000); /* DF, TF, RF, AC */
    memcpy(&uc->uc_sigmask, &plan->mask, 8);
    return true;
}
