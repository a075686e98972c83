/* Runs single instructions and catches what they do: the signal side of runner.h. */
#include "runner.h"

#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* Layout known to runner.S. */
struct run {
    u64 gpr[16];
    u64 flags, mask;
    void *area;
    u64 code;
    u64 branched;
};

int runner_enter(struct run *run);
extern char runner_return[], runner_branched[], runner_recover[];

#define CODE      ((u8 *)0x3e000000) /* below 2 GiB: rip-relative operands and prefix 67 reach the windows */
#define GS_BASE   0x20000000u
#define SEEN      0xe7u /* x87, SSE, AVX, AVX-512 */

u64 components;
unsigned area_size;
static struct ending *ending; /* of the instruction that runs */

/* ---- signals ---- */

static void on_signal(int signal, siginfo_t *info, void *context)
{
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    static const char text[] = "# a signal where no instruction of the test runs\n";
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

    if (!ending) {
        if (write(1, text, sizeof(text) - 1) < 0)
            _exit(3);
        _exit(2);
    }
    ending->signal = signal;
    ending->code = info->si_code;
    ending->addr = (u64)info->si_addr;
    ending->write = signal == SIGSEGV && info->si_code != SI_KERNEL && (regs[REG_ERR] & 2);
    for (int i = 0; i < 16; i++)
        ending->state.gpr[i] = (u64)regs[order[i]];
    ending->state.flags = (u64)regs[REG_EFL];
    ending->state.rip = (u64)regs[REG_RIP];
    memcpy(ending->state.area, ((ucontext_t *)context)->uc_mcontext.fpregs, area_size);
    regs[REG_RIP] = (greg_t)runner_recover;
    regs[REG_EFL] = 0x202;
}

static void catch_signals(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    stack_t stack = {.ss_size = 1 << 17};

    stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sigaltstack(&stack, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
        sigaction(signals[i], &sa, NULL);
}

/* ---- code ---- */

/* jmp *0(%rip), and the address behind it. */
static void put_jump(u8 *at, const void *to)
{
    static const u8 jump[6] = {0xff, 0x25, 0, 0, 0, 0};
    u64 address = (u64)to;

    memcpy(at, jump, 6);
    memcpy(at + 6, &address, 8);
}

u64 runner_branch_target(void)
{
    return (u64)CODE + 4096 + 2; /* so that the address in the jump is aligned */
}

u64 runner_place(const u8 *bytes, unsigned length, unsigned site)
{
    u8 *at = CODE + 63 * site; /* some cross a cache line */
    unsigned pad = -((unsigned)(u64)at + length + 6) & 7;

    memcpy(at, bytes, length);
    memset(at + length, 0x90 /* nop */, pad); /* the jump's address is aligned: AC may be set */
    put_jump(at + length + pad, runner_return);
    return (u64)at;
}

u64 runner_gs_base(void)
{
    return GS_BASE;
}

u64 runner_fs_base(void)
{
    unsigned long base = 0;

    syscall(SYS_arch_prctl, ARCH_GET_FS, &base);
    return base;
}

static void find_components(void)
{
    unsigned low, high, a, b, c, d;

    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    components = low & SEEN;
    area_size = 576;
    for (unsigned i = 2; i < 8; i++)
        if (components >> i & 1) {
            __cpuid_count(0xd, i, a, b, c, d);
            area_size = MAX(area_size, a + b);
        }
    if (area_size > AREA_BYTES) {
        printf("Bail out! the XSAVE area has %u bytes\n", area_size);
        exit(1);
    }
}

/* ---- segment registers: in 64-bit mode only gs means anything, but they can be loaded and read ---- */

static u16 initial[3];

static void read_segments(u16 segment[3])
{
    __asm__ volatile("mov %%ds, %0; mov %%es, %1; mov %%gs, %2" : "=r"(segment[0]), "=r"(segment[1]), "=r"(segment[2]));
}

static void take_segments(struct ending *end)
{
    unsigned long base = 0;

    read_segments(end->segment);
    syscall(SYS_arch_prctl, ARCH_GET_GS, &base);
    end->gs_base = base;
    if (memcmp(end->segment, initial, sizeof(initial)) == 0 && base == GS_BASE)
        return;
    __asm__ volatile("mov %0, %%ds; mov %1, %%es; mov %2, %%gs" : : "r"(initial[0]), "r"(initial[1]), "r"(initial[2]));
    syscall(SYS_arch_prctl, ARCH_SET_GS, GS_BASE);
}

void runner_image(const struct state *s, u64 mask, bool compacted, u8 image[AREA_BYTES])
{
    static u8 own[AREA_BYTES] __attribute__((aligned(64)));
    u32 all = (u32)components, eax = all;

    /* The compiler's own vector registers are back before it goes on. */
#define MAKE(instruction) \
    __asm__ volatile("xsave64 %1; xrstor64 %3; mov %5, %0; " instruction " %2; mov %4, %0; xrstor64 %1" \
                     : "+a"(eax), "+m"(own), "+m"(*(u8(*)[AREA_BYTES])image) \
                     : "m"(s->area), "r"(all), "r"((u32)mask), "d"(0))
    if (compacted)
        MAKE("xsavec64");
    else
        MAKE("xsave64");
#undef MAKE
}

void runner_init(void)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;

    find_components();
    if (mmap(CODE, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1, 0) != CODE) {
        printf("Bail out! no memory at %p\n", (void *)CODE);
        exit(1);
    }
    put_jump((u8 *)runner_branch_target(), runner_branched);
    read_segments(initial);
    syscall(SYS_arch_prctl, ARCH_SET_GS, GS_BASE);
    catch_signals();
}

void runner_run(const struct state *start, struct ending *end)
{
    struct run run = {.flags = start->flags, .mask = components, .area = end->state.area, .code = start->rip};

    memcpy(run.gpr, start->gpr, sizeof(run.gpr));
    memcpy(end->state.area, start->area, area_size);
    end->signal = end->code = 0;
    end->addr = end->state.rip = 0;
    end->write = false;
    ending = end;
    if (runner_enter(&run) == 0) {
        memcpy(end->state.gpr, run.gpr, sizeof(run.gpr));
        end->state.flags = run.flags;
    }
    ending = NULL;
    take_segments(end);
    end->branched = run.branched;
}
