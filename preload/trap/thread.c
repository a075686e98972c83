#include "trap/thread.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/process.h"
#include "base/sys.h"
#include "base/trapsafe.h"

#define SLOTS 65536u /* reserved address space; more threads than that share nothing and get none */

__thread struct thread *thread_current;

/* Every slot ever made. A slot whose thread has ended is taken again: no exit hook is needed for that. */
static struct thread **slots;
static u32 nslots;
static u32 hand; /* where the search for ended threads goes on */

static u32 process_id;
static u64 process_started;

static void read_process(void)
{
    process_id = (u32)sys_getpid();
    process_started = process_start(process_id);
}

static bool ended(u32 tid)
{
    return sys(SYS_tgkill, process_id, tid, 0) == -ESRCH;
}

/* Takes over a slot of a thread that is gone, *from, looking at some of them: what they cost stays bounded. */
static struct thread *recycle(u32 tid, u32 *from)
{
    u32 n = __atomic_load_n(&nslots, __ATOMIC_ACQUIRE);

    for (u32 i = 0; i < MIN(n, 64u); i++) {
        struct thread *t = __atomic_load_n(&slots[__atomic_fetch_add(&hand, 1, __ATOMIC_RELAXED) % n], __ATOMIC_ACQUIRE);
        u32 owner = t ? __atomic_load_n(&t->self.tid, __ATOMIC_RELAXED) : tid;

        *from = owner;
        if (owner != tid && (owner == 0 || ended(owner)) &&
            __atomic_compare_exchange_n(&t->self.tid, &owner, tid, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            return t;
    }
    return NULL;
}

static struct thread *make(u32 tid)
{
    size_t bytes = PAGE_SIZE + CALL_STACK + PAGE_SIZE + THREAD_STACK + page_up(sizeof(struct thread));
    u8 *p = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct thread *t;
    u32 at;

    if (sys_failed((long)p))
        return NULL;
    sys_mprotect(p, PAGE_SIZE, PROT_NONE);
    sys(SYS_madvise, p, bytes, MADV_DONTDUMP);
    p += PAGE_SIZE + CALL_STACK;
    sys_mprotect(p, PAGE_SIZE, PROT_NONE);
    t = (void *)(p + PAGE_SIZE + THREAD_STACK);
    t->stack = p + PAGE_SIZE;
    t->call.stack = (u64)p;
    t->self.tid = tid;
    if (!slots) {
        struct thread **table = sys_pages(SLOTS * sizeof(*slots)), **none = NULL;

        if (table && !__atomic_compare_exchange_n(&slots, &none, table, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            sys_munmap(table, SLOTS * sizeof(*slots));
    }
    at = slots ? __atomic_fetch_add(&nslots, 1, __ATOMIC_ACQ_REL) : SLOTS;
    if (at < SLOTS) {
        t->number = at + 1;
        __atomic_store_n(&slots[at], t, __ATOMIC_RELEASE);
    } else {
        __atomic_store_n(&nslots, SLOTS, __ATOMIC_RELAXED);
    }
    return t;
}

static void inherit_lane(struct lock_self *self, u32 from)
{
    lane_inherit(self, from);
    if ((u32)sys_getpid() == process_id)
        return;
    /* A task with our memory that is no thread of ours looks to others as if it had ended. */
    lane_drop(self);
    self->laneless = true;
}

static struct thread *take(u32 tid)
{
    u32 from = 0;
    struct thread *t = slots ? recycle(tid, &from) : NULL;

    if (!t)
        t = make(tid);
    if (t) {
        if (!process_id)
            read_process();
        t->self.pid = process_id;
        t->self.start = process_started;
        inherit_lane(&t->self, from);
        t->tid_ordinal = 0;
        t->pid_ordinal = 0;
        t->ring.ready = 0;
        t->segv_blocked = t->segv_once = t->waited = false;
        t->child_masked = 0;
        t->segv_pending.state = 0;
        t->call.deferred = t->call.waiting = 0;
        t->altstack = (stack_t){.ss_flags = SS_DISABLE};
    }
    return t;
}

void thread_install_stack(struct thread *thread)
{
    stack_t ours = {.ss_sp = thread->stack, .ss_size = THREAD_STACK};

    sys(SYS_sigaltstack, &ours, NULL);
}

struct thread *thread_make(void)
{
    thread_current = take((u32)sys_gettid());
    if (thread_current)
        calls_thread(&thread_current->call);
    return thread_current;
}

void thread_each(void (*each)(struct thread *thread, void *context), void *context)
{
    u32 n = MIN(__atomic_load_n(&nslots, __ATOMIC_ACQUIRE), SLOTS);

    for (u32 i = 0; i < n; i++) {
        struct thread *t = __atomic_load_n(&slots[i], __ATOMIC_ACQUIRE);

        if (t)
            each(t, context);
    }
}

void thread_after_fork(void)
{
    struct thread *t = thread_self();

    process_after_fork();
    lanes_after_fork();
    read_process();
    if (!t)
        return;
    t->self = (struct lock_self){.tid = (u32)sys_gettid(), .pid = process_id, .start = process_started};
    t->tid_ordinal = t->pid_ordinal = 0;
}

struct thread_counts thread_counts(void)
{
    struct thread_counts sum = {0};
    u32 n = slots ? MIN(__atomic_load_n(&nslots, __ATOMIC_ACQUIRE), SLOTS) : 0;

    for (u32 i = 0; i < n; i++) {
        const struct thread *t = __atomic_load_n(&slots[i], __ATOMIC_ACQUIRE);

        if (!t)
            continue;
        sum.accesses[0] += t->counts.accesses[0];
        sum.accesses[1] += t->counts.accesses[1];
        sum.lint += t->counts.lint;
        sum.lost += t->counts.lost;
    }
    return sum;
}

void signals_mask(u64 *saved)
{
    u64 all = ~SIGNALS_SYNCHRONOUS;

    sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, saved, sizeof(all));
}

void signals_restore(const u64 *saved)
{
    sys(SYS_rt_sigprocmask, SIG_SETMASK, saved, NULL, sizeof(*saved));
}
