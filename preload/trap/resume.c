#include "trap/resume.h"

#include "base/mem.h"
#include "cpu/plan.h"
#include "base/trapsafe.h"

#define WAYS     128u /* threads that have one; as in restorer.S */
#define WAY_SIZE 16u
#define WAY_LAST 8u /* offset of the jump, when rsp is the program's already */

/* Where each thread goes on: a cache line of its own. */
struct slot {
    u64 rip;
} __attribute__((aligned(64)));

__attribute__((visibility("hidden"))) extern struct slot resume_slots[WAYS];
struct slot resume_slots[WAYS];
__attribute__((visibility("hidden"))) extern const u8 resume_ways[WAYS][WAY_SIZE];
__attribute__((visibility("hidden"))) extern const char resume_unmasked[], resume_context[], resume_end[];
__attribute__((visibility("hidden"), noreturn)) void resume_leave(ucontext_t *uc, u64 components, struct slot *slot,
                                                                  const u8 *way);
static bool never;

void resume_never(void)
{
    never = true;
}

/* TF, RF, NT and AC (SDM vol. 1, 3.4.3): popf would act on them here already, or cannot set them. */
#define FLAGS_OTHER (0x100 | 0x10000 | 0x4000 | 0x40000)
/* cs and ss in REG_CSGSFS: those of 64-bit programs (Linux arch/x86/include/asm/segment.h). */
#define SEGMENTS_MASK  0xffff00000000ffff
#define SEGMENTS_USUAL 0x002b000000000033

static bool shadow_stack(void)
{
    u64 ssp = 0;

    __asm__ volatile("rdsspq %0" : "+r"(ssp)); /* does nothing where there is none */
    return ssp != 0;
}

/* May the program reach memory as it is by default? Else our stack would be out of reach before we are through. */
static bool keys_open(const u8 *fpu)
{
    u64 in_use;
    u32 pkru;

    memcpy(&in_use, fpu + XSTATE_BV, sizeof(in_use));
    if (!(in_use & XC_PKRU))
        return true;
    memcpy(&pkru, fpu + xstate_component(XC_PKRU_INDEX)->offset, sizeof(pkru));
    return (pkru & 3) == 0;
}

/* struct _fpx_sw_bytes, in the legacy region of the frame's state (Linux arch/x86/include/uapi/asm/sigcontext.h). */
struct state {
    u32 magic, size;
    u64 components;
};

#define STATE_AT    464
#define STATE_MAGIC 0x46505853

/* Of a signal frame: siginfo, ucontext, alignment, the red zone. */
#define FRAME_REST 1024
/* SIGSEGV and its kin, sent, are never blocked; and one signal whose handler blocks all others comes last. */
#define FRAMES_MORE 6

static bool room_for(const struct thread *t, const ucontext_t *uc, const struct state *state, u32 frames)
{
    return (u64)(frames + FRAMES_MORE) * (state->size + FRAME_REST) < (u64)uc - (u64)t->stack;
}

void resume(const struct thread *t, ucontext_t *uc, u32 signals)
{
    const greg_t *regs = uc->uc_mcontext.gregs;
    const u8 *fpu = (const u8 *)uc->uc_mcontext.fpregs;
    u32 way = t->number - 1;
    struct state state;

    if (never || way >= WAYS || !fpu || (regs[REG_EFL] & FLAGS_OTHER) ||
        ((u64)regs[REG_CSGSFS] & SEGMENTS_MASK) != SEGMENTS_USUAL || !resume_on_stack(t, (u64)uc) ||
        resume_on_stack(t, (u64)regs[REG_RSP]) || shadow_stack())
        return;
    memcpy(&state, fpu + STATE_AT, sizeof(state));
    if (state.magic != STATE_MAGIC || !keys_open(fpu) || !room_for(t, uc, &state, signals))
        return;
    resume_leave(uc, state.components, &resume_slots[way], resume_ways[way]);
}

static bool within(u64 rip, const char *from, const char *to)
{
    return rip - (u64)from < (u64)(to - from);
}

bool resume_interrupted(ucontext_t *uc)
{
    greg_t *regs = uc->uc_mcontext.gregs;
    u64 rip = (u64)regs[REG_RIP], way = rip - (u64)resume_ways, left = (u64)regs[REG_RSP];
    const ucontext_t *to;

    if (way < sizeof(resume_ways[0]) * WAYS && way % WAY_SIZE == WAY_LAST) {
        regs[REG_RIP] = (greg_t)resume_slots[way / WAY_SIZE].rip;
        return true;
    }
    if (within(rip, resume_unmasked, resume_context))
        left += 8;
    else if (!within(rip, resume_context, resume_end) && way >= sizeof(resume_ways[0]) * WAYS)
        return false;
    to = (const ucontext_t *)left;
    memcpy(regs, to->uc_mcontext.gregs, (REG_EFL + 1) * sizeof(*regs));
    return true;
}
