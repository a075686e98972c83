/*
 * The access of a patched site: a short way for registers that nobody wants to
 * see logged, and the way of every trap, by trap_site(), for everything else.
 */
#include "base/mem.h"
#include "patch/site.h"
#include "trap/log.h"
#include "trap/signals.h"
#include "trap/trap.h"
#include "base/trapsafe.h"

_Static_assert(offsetof(struct call, late) == 320 && offsetof(struct call, patch) == 360 &&
                   offsetof(struct call_patch, full) == 24 && offsetof(struct call, resume) == 328 &&
                   offsetof(struct call, mask) == 160 && offsetof(struct call, stack) == 216,
               "entry.S");
_Static_assert(offsetof(struct patch_site, function) == 40 && offsetof(struct patch_site, behind) == 104 &&
                   offsetof(struct patch_block, r11) == 80 && offsetof(struct patch_block, call) == 104,
               "entry.S");

__thread struct patch_block patch_block;

/*
 * A window that this thread has used: what an access need not look up again. Good for as long as no alias changes.
 */
struct known {
    u64 base, size; /* in the program */
    u64 epoch;      /* of the aliases, when it was looked up */
    u64 offset;     /* of base in the device */
    struct bus_device *device;
    u8 *storage;    /* plain memory behind base; NULL: the device is asked */
    __typeof__(((struct mmioshim_class *)0)->read) read;
    __typeof__(((struct mmioshim_class *)0)->write) write;
    u32 widths;     /* that the device takes as a whole */
    int prot;
};

#define KNOWN 16

/* In struct thread. */
struct patch_thread {
    struct known known[KNOWN]; /* by page */
    const struct known *held; /* of a read-modify-write under way; NULL: it takes the long way */
    bool biased;             /* its device is held so */
    struct trap trap;        /* of one that takes the long way */
};

_Static_assert(sizeof(struct patch_thread) <= sizeof(((struct thread *)0)->patch), "there is room");

/* Called by entry.S. */
void patch_late(void);
void patch_end(struct call *call);

static struct thread *thread_of(struct call *call)
{
    return (struct thread *)((char *)call - offsetof(struct thread, call));
}

static struct patch_thread *own(struct call *call)
{
    return (struct patch_thread *)(void *)thread_of(call)->patch;
}

/* --- the long way --- */

/* So that the next access takes the short one. */
static void remember(struct patch_thread *own, u64 addr)
{
    struct known *known = &own->known[(addr >> PAGE_SHIFT) % KNOWN];
    const struct mmioshim_class *class;
    u32 epoch = alias_version();
    struct trap_place place;

    known->size = 0;
    if (epoch == 1 || clock_virtual(trap_the_bus()->machine->arena) || !trap_place(addr, &place))
        return;
    class = place.device->dev.class;
    *known = (struct known){.base = place.window.base, .size = place.window.size, .epoch = epoch, .offset = place.offset,
                          .device = place.device, .read = class->read, .write = class->write, .prot = place.prot,
                          .widths = class->widths ? class->widths & 15u : 15};
    if (class->storage)
        known->storage = class->storage(&place.device->dev, place.offset, place.window.size);
    if (class->storage && !known->storage)
        known->size = 0;
}

/* The program's registers: those that trampoline and entry.S have put away. */
static void read_registers(struct cpu_state *state, const struct patch_site *site, const struct call *call,
                           const struct patch_frame *f)
{
    const struct patch_block *b = &patch_block;
    const u64 gpr[16] = {b->rax, b->rcx, f->rdx, f->rbx, call->patch.rsp, f->rbp, f->rsi, f->rdi,
                         f->r8, f->r9, f->r10, b->r11, f->r12, f->r13, f->r14, f->r15};

    memcpy(state->gpr, gpr, sizeof(gpr));
    state->rip = site->at;
    state->rflags = f->flags;
}

static u64 outcome(struct trap *t, struct call *call, enum trap_site_answer answer, enum patch_outcome done)
{
    int status;

    switch (answer) {
    case TRAP_SITE_WAIT:
        return PATCH_AGAIN;
    case TRAP_SITE_NONE:
        return PATCH_DECLINE;
    case TRAP_SITE_DONE:
        break;
    }
    if (likely(!trap_site_requests(t, &status)))
        return done;
    call->patch.status = (u64)status;
    return PATCH_END;
}

static u64 full_once(struct patch_site *site, u64 address, struct call *call, const struct patch_frame *f, bool write)
{
    struct trap t;
    u64 got;

    trap_site_begin(&t, thread_of(call), site->insn);
    read_registers(&t.state, site, call, f);
    got = outcome(&t, call, trap_site(&t, address, patch_block.scratch, site->insn->size, write), PATCH_DONE);
    if (got == PATCH_DONE)
        remember(own(call), address);
    return got;
}

static u64 full_load(struct patch_site *site, u64 address, struct call *call, const struct patch_frame *f)
{
    return full_once(site, address, call, f, false);
}

static u64 full_store(struct patch_site *site, u64 address, struct call *call, const struct patch_frame *f)
{
    return full_once(site, address, call, f, true);
}

/* The device stays locked between the two accesses. */
static u64 full_modify(struct patch_site *site, u64 address, struct call *call, const struct patch_frame *f)
{
    struct trap *t = &own(call)->trap;
    enum trap_site_answer answer;

    trap_site_begin(t, thread_of(call), site->insn);
    read_registers(&t->state, site, call, f);
    if (!trap_site_hold(t, address, site->insn->size))
        return PATCH_DECLINE;
    answer = trap_site(t, address, patch_block.scratch, site->insn->size, false);
    if (answer != TRAP_SITE_DONE) {
        trap_site_release(t);
        return answer == TRAP_SITE_WAIT ? PATCH_AGAIN : PATCH_DECLINE;
    }
    remember(own(call), address);
    return PATCH_HELD;
}

static u64 full_modify_end(struct patch_site *site, u64 address, struct call *call, const struct patch_frame *f)
{
    struct trap *t = &own(call)->trap;

    (void)f;
    /* The instruction cannot be made again from here: a device that waits is waited for. */
    while (trap_site(t, address, patch_block.scratch, site->insn->size, true) == TRAP_SITE_WAIT)
        ;
    trap_site_release(t);
    return outcome(t, call, TRAP_SITE_DONE, PATCH_DONE_AGAIN);
}

static __attribute__((noinline)) u64
ask_full(struct call *call, u64 (*full)(struct patch_site *, u64, struct call *, const struct patch_frame *))
{
    call->patch.full = (u64)full;
    return PATCH_FULL;
}

/* --- the short way --- */

static inline const struct known *known_of(const struct patch_thread *own, u64 address, unsigned n)
{
    const struct known *known = &own->known[(address >> PAGE_SHIFT) % KNOWN];
    u64 at = address - known->base;

    if (unlikely(at >= known->size || known->size - at < n || known->epoch != alias_version() || !(known->widths & n) ||
                 log_wanted()))
        return NULL;
    return known;
}

/* The device has something to say beside the value. */
static __attribute__((noinline)) void odd_answer(struct thread *t, const struct known *known, u64 offset, unsigned n, bool write,
                                                 enum mmioshim_status status)
{
    struct bus_note note;

    bus_answered(trap_the_bus(), known->device, offset, patch_block.scratch, n, write, status, &note);
    log_count(t, (u16)known->device->dev.index, write, &note);
}

static __attribute__((noinline)) u64 requested(struct thread *t, struct call *call, u64 done)
{
    struct trap trap;

    trap_site_begin(&trap, t, NULL);
    return outcome(&trap, call, TRAP_SITE_DONE, done);
}

/* Copies of 1, 2, 4 or 8 bytes, indivisible where they are aligned. */
static inline void copy(void *to, const void *from, unsigned n)
{
    if (n == 4)
        __builtin_memcpy(to, from, 4);
    else if (n == 1)
        *(volatile u8 *)to = *(const volatile u8 *)from;
    else if (n == 8)
        __builtin_memcpy(to, from, 8);
    else
        __builtin_memcpy(to, from, 2);
}

/* False: nothing happened, the device waits for something. The device is locked. */
static inline bool quick_read(struct thread *t, const struct known *known, u64 at, unsigned n)
{
    enum mmioshim_status status;
    uint64_t value;

    if (known->storage) {
        copy(patch_block.scratch, known->storage + at, n);
    } else {
        status = known->read(&known->device->dev, known->offset + at, n, &value);
        if (status == MMIOSHIM_WAIT)
            return false;
        __builtin_memcpy(patch_block.scratch, &value, 8);
        if (unlikely(status != MMIOSHIM_OK)) {
            odd_answer(t, known, known->offset + at, n, false, status);
            return true;
        }
    }
    log_quiet(t, known->device->shared, false);
    return true;
}

static inline bool quick_write(struct thread *t, const struct known *known, u64 at, unsigned n)
{
    enum mmioshim_status status;
    uint64_t value = 0;

    if (known->storage) {
        copy(known->storage + at, patch_block.scratch, n);
    } else {
        copy(&value, patch_block.scratch, n);
        status = known->write(&known->device->dev, known->offset + at, n, value);
        if (status == MMIOSHIM_WAIT)
            return false;
        if (unlikely(status != MMIOSHIM_OK)) {
            odd_answer(t, known, known->offset + at, n, true, status);
            return true;
        }
    }
    log_quiet(t, known->device->shared, true);
    return true;
}

static inline u64 leave(struct thread *t, struct call *call, const struct known *known, bool biased, u64 done)
{
    bus_leave(known->device, &t->self, biased);
    return unlikely(bus_requested()) ? requested(t, call, done) : done;
}

u64 patch_load(struct patch_site *site, u64 address, struct call *call)
{
    struct thread *t = thread_of(call);
    unsigned n = site->insn->size;
    const struct known *known = known_of(own(call), address, n);
    bool biased;

    if (unlikely(!known))
        return ask_full(call, full_load);
    biased = bus_enter(known->device, &t->self);
    if (likely(quick_read(t, known, address - known->base, n)))
        return leave(t, call, known, biased, PATCH_DONE);
    bus_leave(known->device, &t->self, biased);
    return ask_full(call, full_load);
}

u64 patch_store(struct patch_site *site, u64 address, struct call *call)
{
    struct thread *t = thread_of(call);
    unsigned n = site->insn->size;
    const struct known *known = known_of(own(call), address, n);
    bool biased;

    if (unlikely(!known))
        return ask_full(call, full_store);
    biased = bus_enter(known->device, &t->self);
    if (likely(quick_write(t, known, address - known->base, n)))
        return leave(t, call, known, biased, PATCH_DONE);
    bus_leave(known->device, &t->self, biased);
    return ask_full(call, full_store);
}

u64 patch_modify(struct patch_site *site, u64 address, struct call *call)
{
    struct patch_thread *p = own(call);
    struct thread *t = thread_of(call);
    unsigned n = site->insn->size;
    const struct known *known = known_of(p, address, n);

    p->held = known;
    if (unlikely(!known))
        return ask_full(call, full_modify);
    p->biased = bus_enter(known->device, &t->self);
    if (likely(quick_read(t, known, address - known->base, n)))
        return PATCH_HELD;
    bus_leave(known->device, &t->self, p->biased);
    return ask_full(call, full_modify);
}

u64 patch_modify_end(struct patch_site *site, u64 address, struct call *call)
{
    struct patch_thread *p = own(call);
    struct thread *t = thread_of(call);
    const struct known *known = p->held;

    if (unlikely(!known))
        return ask_full(call, full_modify_end);
    /* The instruction cannot be made again from here: a device that waits is waited for, by nobody else meanwhile. */
    while (unlikely(!quick_write(t, known, address - known->base, site->insn->size)))
        bus_wait(known->device, 50);
    return leave(t, call, known, p->biased, PATCH_DONE_AGAIN);
}

/* --- the ends --- */

void patch_late(void)
{
    thread_self()->call.late = false;
    signals_late();
}

void patch_end(struct call *call)
{
    int status = (int)call->patch.status;

    if (call->deferred) {
        call->deferred = 0;
        signals_restore(&call->mask);
    }
    trap_end(status);
}
