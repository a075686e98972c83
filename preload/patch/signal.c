/* What a signal that meets a thread around a patched site sees: the program, before or behind the access. */
#include "base/mem.h"
#include "base/sys.h"
#include "patch/rooms.h"
#include "trap/thread.h"
#include "base/trapsafe.h"

#define FLAGS_KEPT 0xd5u /* SF ZF AF PF CF, as lahf puts them; and the bit that is always 1 not */
#define FLAG_OF    0x800u

static bool within(u64 rip, const char *from, const char *to)
{
    return rip - (u64)from < (u64)(to - from);
}

static void give_flags_back(greg_t *regs)
{
    u64 flags = (patch_block.flags >> 8 & FLAGS_KEPT) | (patch_block.flags & 1 ? FLAG_OF : 0);

    regs[REG_EFL] = (greg_t)(((u64)regs[REG_EFL] & ~(u64)(FLAGS_KEPT | FLAG_OF)) | flags);
}

static void give_back(greg_t *regs, unsigned state)
{
    if (state & TRAMPOLINE_RAX)
        regs[REG_RAX] = (greg_t)patch_block.rax;
    if (state & TRAMPOLINE_RCX)
        regs[REG_RCX] = (greg_t)patch_block.rcx;
    if (state & TRAMPOLINE_R11)
        regs[REG_R11] = (greg_t)patch_block.r11;
    if (state & TRAMPOLINE_FLAGS)
        give_flags_back(regs);
    if (state & TRAMPOLINE_PUSHED)
        regs[REG_RSP] += 8;
    if (state & TRAMPOLINE_COUNTED)
        regs[REG_RCX] += 1;
}

static struct trampoline_mark mark_of(const struct patch_site *s, u64 rip)
{
    return trampoline_mark_at(s->mark, s->marks, (unsigned)(rip - s->code));
}

/* In a trampoline. */
static bool seen_in_trampoline(const struct patch_site *s, greg_t *regs, bool fault)
{
    u64 rip = (u64)regs[REG_RIP];
    struct trampoline_mark m;

    if (rip < s->code) { /* the jump that leads to it */
        regs[REG_RIP] = (greg_t)s->at;
        return true;
    }
    m = mark_of(s, rip);
    if ((m.state & TRAMPOLINE_AFTER) && !fault) {
        regs[REG_RIP] = (greg_t)s->slow;
        return false;
    }
    give_back(regs, m.state);
    regs[REG_RIP] = (greg_t)(s->at + m.back);
    return true;
}

/* Between trampolines and access.c, when the thread is not marked any more. */
static bool seen_in_entry(greg_t *regs, const struct call *call)
{
    u64 rip = (u64)regs[REG_RIP];
    const struct patch_site *s;

    if (within(rip, patch_left, patch_left_end)) {
        s = (const struct patch_site *)regs[REG_R11];
        regs[REG_RIP] = (greg_t)s->slow;
        return false;
    }
    s = (const struct patch_site *)regs[REG_R11];
    if (call->patch.later == s->slow) {
        regs[REG_RIP] = (greg_t)s->slow;
        return false;
    }
    regs[REG_RIP] = (greg_t)s->again;
    return seen_in_trampoline(s, regs, true);
}

bool patch_interrupted(ucontext_t *uc, bool fault)
{
    greg_t *regs = uc->uc_mcontext.gregs;
    u64 rip = (u64)regs[REG_RIP], insn;
    const struct patch_site *s = rooms_site_of(rip);

    if (s)
        return seen_in_trampoline(s, regs, fault);
    if (within(rip, patch_left, patch_left_end) || within(rip, patch_gone, patch_gone_end))
        return seen_in_entry(regs, &thread_self()->call);
    if ((insn = patch_leads_to(rip)))
        regs[REG_RIP] = (greg_t)insn;
    return true;
}

void patch_inside(ucontext_t *uc)
{
    greg_t *regs = uc->uc_mcontext.gregs;
    u64 rip = (u64)regs[REG_RIP];
    bool returned = within(rip, patch_returned, patch_left);

    if (!returned && !within(rip, patch_leave, patch_gone))
        return;
    regs[REG_RIP] = (greg_t)(returned ? patch_returned : patch_leave);
    regs[REG_RSP] = (greg_t)(thread_self()->call.stack - PATCH_PUSHED);
}

bool patch_stopped(ucontext_t *uc)
{
    greg_t *regs = uc->uc_mcontext.gregs;
    u64 code = patch_code_of((u64)regs[REG_RIP]);

    if (!code)
        return false;
    regs[REG_RIP] = (greg_t)code;
    return true;
}

bool patch_holds(u64 rip)
{
    return rooms_have(rip);
}
