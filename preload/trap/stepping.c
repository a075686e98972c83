#include "trap/stepping.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/sys.h"
#include "trap/backtrace.h"
#include "base/trapsafe.h"

#define WAYS       16 /* threads that are stepped at the same time */
#define STUB_SIZE  64
#define STUB_LEAVE 48
#define BREAKPOINT 0xcc

/* struct rseq_cs of the kernel's ABI; it wants them aligned to 32 bytes. */
struct sequence {
    u32 version, flags;
    u64 start, length, leave;
};

/* Offsets are known to stepping.S. */
struct way {
    struct sequence sequence;
    u64 rax; /* what the stub exchanges: our value, then the program's */
    u64 rcx;
    u64 at;     /* where the instruction is that the debugger steps */
    u64 behind; /* where the program goes on */
    u32 owner;  /* thread */
    u32 process;
    u32 tries;  /* 0: not on its way */
    greg_t regs[23];
} __attribute__((aligned(256)));

_Static_assert(sizeof(struct way) == 512 && offsetof(struct way, rax) == 32 && offsetof(struct way, at) == 48,
               "stepping.S");

__attribute__((visibility("hidden"))) extern struct way stepping_ways[WAYS];
__attribute__((visibility("hidden"))) extern const u8 stepping_stubs[WAYS][STUB_SIZE];
__attribute__((visibility("hidden"))) extern u64 stepping_pages[WAYS][PAGE_SIZE / 8];
struct way stepping_ways[WAYS];
/*
 * The first word of each is where the abort address jumps to. It is one instruction, and leaves but one mark: the page
 * was taken out of the page table before, and is in it again.
 */
u64 stepping_pages[WAYS][PAGE_SIZE / 8] __attribute__((aligned(PAGE_SIZE)));
static bool used;

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

/* --- the mark --- */

/* A page of its own mapping, so that the kernel maps it only when it is read itself; and of this process. */
static bool own_page(struct way *w)
{
    u64 *page = stepping_pages[w - stepping_ways];
    u32 pid = (u32)sys_getpid();

    if (w->process == pid)
        return true;
    if (sys_failed((long)sys_mmap(page, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0)))
        return false;
    w->process = pid;
    return true;
}

/* Was the abort address executed? Where that cannot be known: yes. */
static bool executed(const struct way *w)
{
    u64 page = (u64)stepping_pages[w - stepping_ways], entry;
    long fd = sys_open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0), n;

    if (fd < 0)
        return true;
    n = sys_pread((int)fd, &entry, 8, page / PAGE_SIZE * 8);
    sys_close((int)fd);
    return n != 8 || entry >> 63; /* present: Documentation/admin-guide/mm/pagemap.rst */
}

/* --- ways --- */

static struct way *way_of(u32 tid)
{
    for (unsigned i = 0; i < WAYS; i++)
        if (stepping_ways[i].owner == tid)
            return &stepping_ways[i];
    return NULL;
}

/* This thread's, made of that of a thread that is gone. */
static struct way *take_way(u32 tid)
{
    struct way *w = way_of(tid);

    for (unsigned i = 0; !w && i < WAYS; i++) {
        u32 owner = __atomic_load_n(&stepping_ways[i].owner, __ATOMIC_RELAXED);

        if ((owner == 0 || sys(SYS_tgkill, sys_getpid(), owner, 0) < 0) &&
            __atomic_compare_exchange_n(&stepping_ways[i].owner, &owner, tid, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            w = &stepping_ways[i];
            w->tries = 0;
        }
    }
    return w && own_page(w) ? w : NULL;
}

/* gdb's places for copies: behind room for two breakpoints at the program's entry, 16 bytes each. */
#define COPIES  2
#define COPY_AT 2
#define COPY    16
#define TRIES   (4 * (COPIES + 1))

/* By turns: the instruction itself, and its copies, from which the debugger moves the result back. */
static void send(struct way *w, ucontext_t *uc)
{
    u64 stub = (u64)stepping_stubs[w - stepping_ways], *page = stepping_pages[w - stepping_ways];
    unsigned turn = w->tries++ % (COPIES + 1);
    u64 start = turn ? getauxval(AT_ENTRY) + COPY_AT + (turn - 1) * COPY : w->at;

    page[0] = w->behind + (start - w->at);
    sys(SYS_madvise, page, PAGE_SIZE, MADV_DONTNEED);
    w->sequence = (struct sequence){.start = start, .length = 1, .leave = stub + STUB_LEAVE};
    w->rax = (u64)&w->sequence;
    w->rcx = (u64)rseq_offset + RSEQ_CS;
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)stub;
}

/* The kernel puts them in this order; what comes behind rsp is no register of the instruction's. */
static bool same(const struct way *w, const greg_t *regs)
{
    for (unsigned i = 0; i <= REG_RSP; i++)
        if (w->regs[i] != regs[i])
            return false;
    return true;
}

bool stepping_again(ucontext_t *uc)
{
    greg_t *regs = uc->uc_mcontext.gregs;
    struct way *w = used ? way_of((u32)sys_gettid()) : NULL;
    u8 byte;

    if (!w || !w->tries)
        return false;
    if (w->at != (u64)regs[REG_RIP] || !same(w, regs) || executed(w)) {
        w->tries = 0;
        return false;
    }
    if (w->tries < TRIES && probe_read(&byte, w->at, 1) && byte == BREAKPOINT) {
        send(w, uc);
        return true;
    }
    w->tries = 0;
    regs[REG_RIP] = (greg_t)w->behind;
    return true;
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
    struct way *w = has_rseq() && (u64)regs[REG_RIP] != at ? take_way((u32)sys_gettid()) : NULL;

    if (!w)
        return;
    used = true;
    memcpy(w->regs, regs, sizeof(w->regs));
    w->at = at;
    w->behind = (u64)regs[REG_RIP];
    w->tries = 0;
    send(w, uc);
}

void stepping_interrupted(ucontext_t *uc)
{
    greg_t *regs = uc->uc_mcontext.gregs;
    u64 offset = (u64)regs[REG_RIP] - (u64)stepping_stubs, within = offset % STUB_SIZE;
    struct way *w = &stepping_ways[offset / STUB_SIZE];

    if (offset >= sizeof(stepping_stubs[0]) * WAYS)
        return;
    /* Behind each exchange; the abort address and what comes before the first exchange leave both alone. */
    if (within >= 7 && within < 25)
        regs[REG_RAX] = (greg_t)w->rax;
    if (within >= 14 && within < 32)
        regs[REG_RCX] = (greg_t)w->rcx;
    w->tries = 0;
    regs[REG_RIP] = (greg_t)w->behind;
}
