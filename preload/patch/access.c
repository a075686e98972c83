/*
 * The access of a patched site: a short way for registers that nobody wants to
 * see logged, and the way of every trap, by trap_site(), for everything else.
 */
#include "base/mem.h"
#include "patch/site.h"
#include "trap/backtrace.h"
#include "trap/log.h"
#include "trap/near.h"
#include "trap/signals.h"
#include "trap/trap.h"
#include "base/trapsafe.h"

_Static_assert(offsetof(struct call, late) == 320 && offsetof(struct call, patch) == 360 &&
                   offsetof(struct call_patch, full) == 24 && offsetof(struct call, resume) == 328 &&
                   offsetof(struct call, mask) == 160 && offsetof(struct call, stack) == 216,
               "entry.S");
_Static_assert(offsetof(struct patch_site, function) == 40 && offsetof(struct patch_site, behind) == 104 &&
                   offsetof(struct patch_block, r11) == 80 && offsetof(struct patch_block, flags) == 88 &&
                   offsetof(struct patch_block, call) == 104,
               "entry.S");

__thread struct patch_block patch_block;

/*
 * A window that this thread has used, whose accesses nobody wants records of, or only binary ones: what an access need not
 * look up again. Good for as long as no alias changes, which ends with a fork, too.
 */
struct known {
    u64 base;    /* in the program */
    u64 room[4]; /* places for accesses of 1, 2, 4 and 8 bytes; 0: the device does not take that width */
    u64 epoch;   /* of the aliases, when it was looked up */
    u8 *storage; /* plain memory behind base; NULL: the device is asked */
    u64 *quiet;  /* its counters, see log_quiet() */
    const struct lock *lock;
    struct bus_device *device;
    u64 offset;  /* of base in the device */
    u64 machine; /* of base in the machine */
    const u64 *version; /* of what moves on the bus, and what it was when it was looked up; else `seen`, which stays */
    u64 seen;
    __typeof__(((struct mmioshim_class *)0)->read) read;
    __typeof__(((struct mmioshim_class *)0)->write) write;
};

#define KNOWN 16

/* In struct thread. */
struct patch_thread {
    struct known known[KNOWN]; /* by page */
    const struct known *held; /* of a read-modify-write under way; NULL: it takes the long way */
    bool biased;             /* its device is held so */
    u32 stack;               /* of its records */
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
    const u64 *version = &trap_the_bus()->machine->arena->map_version;
    u64 seen = __atomic_load_n(version, __ATOMIC_ACQUIRE);
    u32 epoch = alias_version();
    struct trap_place place;

    memset(known->room, 0, sizeof(known->room));
    if (epoch == 1 || clock_virtual(trap_the_bus()->machine->arena) || (log_wanted() && !log_is_lean()) || !trap_place(addr, &place))
        return;
    class = place.device->dev.class;
    *known = (struct known){.base = place.window.base, .epoch = epoch, .offset = place.offset, .device = place.device,
                            .machine = place.machine, .version = place.moves ? version : &known->seen, .seen = seen,
                            .quiet = place.device->shared->quiet, .lock = &place.device->shared->lock,
                            .read = class->read, .write = class->write};
    if (class->storage && !place.moves) /* where nothing is asked, nothing is looked at either */
        known->storage = class->storage(&place.device->dev, place.offset, place.window.size);
    if (!near_allows(place.prot, true))
        return; /* mapped for reading only: a write is to fault */
    for (unsigned i = 0; i < 4; i++)
        if ((!class->widths || (class->widths >> i & 1)) && place.window.size >= (u64)1 << i)
            known->room[i] = place.window.size - ((u64)1 << i) + 1;
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

static inline const struct known *known_of(struct call *call, u64 address)
{
    return &own(call)->known[(address >> PAGE_SHIFT) % KNOWN];
}

/* May an access of 1 << width bytes take it? */
static inline bool known_takes(const struct known *known, u64 address, unsigned width)
{
    return likely(address - known->base < known->room[width] && known->epoch == alias_raw_version());
}

/* Is the device where it was? */
static inline bool known_stays(const struct known *known)
{
    return likely(__atomic_load_n(known->version, __ATOMIC_ACQUIRE) == known->seen);
}

static inline void count(struct thread *t, const struct known *known, bool write)
{
    known->quiet[write]++;
    t->counts.accesses[write]++;
}

/* Copies of 1, 2, 4 or 8 bytes, indivisible where they are aligned. */
static inline void copy(void *to, const void *from, unsigned width)
{
    if (width == 0)
        *(volatile u8 *)to = *(const volatile u8 *)from;
    else if (width == 1)
        __builtin_memcpy(to, from, 2);
    else if (width == 2)
        __builtin_memcpy(to, from, 4);
    else
        __builtin_memcpy(to, from, 8);
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

/* One access of a device that is held. False: nothing happened, it waits for something. */
static inline __attribute__((always_inline)) bool ask(struct thread *t, const struct known *known, u64 address, unsigned width,
                                                      bool write)
{
    u64 at = address - known->base;
    enum mmioshim_status status;
    uint64_t value = 0;
    unsigned n = 1u << width;

    if (known->storage) {
        copy(write ? known->storage + at : patch_block.scratch, write ? patch_block.scratch : known->storage + at, width);
        count(t, known, write);
        return true;
    }
    if (write)
        copy(&value, patch_block.scratch, width);
    status = write ? known->write(&known->device->dev, known->offset + at, n, value)
                   : known->read(&known->device->dev, known->offset + at, n, &value);
    if (unlikely(status == MMIOSHIM_WAIT))
        return false;
    if (!write)
        copy(patch_block.scratch, &value, width);
    if (likely(status == MMIOSHIM_OK))
        count(t, known, write);
    else
        odd_answer(t, known, known->offset + at, n, write, status);
    return true;
}

static inline u64 leave(struct thread *t, struct call *call, const struct known *known, bool biased, u64 done)
{
    bus_leave(known->device, &t->self, biased);
    return unlikely(bus_requested()) ? requested(t, call, done) : done;
}

/* Has the program set DF? Devices and what is called for them do not expect it: the long way clears it meanwhile. */
static inline bool backward(void)
{
    return __builtin_ia32_readeflags_u64() & 0x400;
}

/* Any device, held in any way. */
static inline __attribute__((always_inline)) u64 any(struct call *call, const struct known *known, u64 address, unsigned width,
                                                     bool write)
{
    struct thread *t = thread_of(call);
    bool biased;

    if (unlikely(backward()) || !known_stays(known))
        return ask_full(call, write ? full_store : full_load);
    biased = bus_enter(known->device, &t->self);
    if (likely(ask(t, known, address, width, write)))
        return leave(t, call, known, biased, PATCH_DONE);
    bus_leave(known->device, &t->self, biased);
    return ask_full(call, write ? full_store : full_load);
}

/* Plain memory behind a lock that is ours. */
static inline __attribute__((always_inline)) u64
quick(u64 address, struct call *call, unsigned width, bool write, u64 (*otherwise)(struct call *, const struct known *, u64))
{
    const struct known *known = known_of(call, address);
    struct thread *t = thread_of(call);
    u8 *storage;

    if (unlikely(!known_takes(known, address, width)))
        return ask_full(call, write ? full_store : full_load);
    if (!known->storage || unlikely(!lock_enter(known->lock, &t->self)))
        return otherwise(call, known, address);
    storage = known->storage + (address - known->base);
    copy(write ? storage : patch_block.scratch, write ? patch_block.scratch : storage, width);
    count(t, known, write);
    lock_exit(&t->self);
    return PATCH_DONE;
}

/* For each width, so that it is a constant. */
#define QUICK(name, width, write)                                                                                 \
    static __attribute__((noinline)) u64 any_##name(struct call *call, const struct known *known, u64 address)   \
    {                                                                                                             \
        return any(call, known, address, width, write);                                                           \
    }                                                                                                             \
    static u64 name(struct patch_site *site, u64 address, struct call *call)                                      \
    {                                                                                                             \
        (void)site;                                                                                               \
        return quick(address, call, width, write, any_##name);                                                    \
    }
QUICK(load_1, 0, false)
QUICK(load_2, 1, false)
QUICK(load_4, 2, false)
QUICK(load_8, 3, false)
QUICK(store_1, 0, true)
QUICK(store_2, 1, true)
QUICK(store_4, 2, true)
QUICK(store_8, 3, true)

static unsigned width_of(const struct patch_site *site)
{
    return (unsigned)__builtin_ctz(site->insn->size);
}

static bool short_width(const struct patch_site *site)
{
    unsigned n = site->insn->size;

    return n <= 8 && (n & (n - 1)) == 0;
}

/* --- the lean way: binary records --- */

/* As entry.S has pushed it. */
static u64 program_rbp(const struct call *call)
{
    return ((const struct patch_frame *)(call->stack - sizeof(struct patch_frame)))->rbp;
}

/* The call stack, if it is in the transcript already. */
static bool lean_stack(struct thread *t, const struct patch_site *site, const struct call *call, u32 *stack)
{
    unsigned frames = log_frames();

    *stack = frames && t->recall ? backtrace_quick(t->recall, site->at, call->patch.rsp, program_rbp(call), frames) : 0;
    return *stack || !frames;
}

static void lean_record(struct thread *t, const struct patch_site *site, const struct known *known, u64 address, bool write,
                        u32 stack, struct bus_note *note)
{
    const struct cpu_insn *insn = site->insn;
    struct trace_record rec;

    memset(&rec, 0, offsetof(struct trace_record, value));
    rec.type = TRACE_MMIO;
    rec.op = write ? TRACE_WRITE : TRACE_READ;
    rec.flags = note->unassigned ? TRACE_UNASSIGNED : 0;
    rec.width = insn->size;
    rec.device = (u16)known->device->dev.index;
    rec.reg = note->reg;
    rec.element = note->element;
    rec.offset = known->offset + (address - known->base);
    rec.addr = known->machine + (address - known->base);
    rec.pc = site->at;
    rec.insn_len = insn->length;
    memcpy(rec.insn, insn->bytes, 15);
    rec.stack = stack;
    memcpy(rec.value, patch_block.scratch, insn->size);
    log_lean(t, &rec, note);
}

/* The device is held. False: nothing happened, it waits for something. */
static bool lean_ask(struct thread *t, const struct patch_site *site, const struct known *known, u64 address, bool write, u32 stack)
{
    u64 offset = known->offset + (address - known->base);
    struct bus_note note;

    if (bus_access(trap_the_bus(), known->device, offset, patch_block.scratch, site->insn->size, write, &note) == MMIOSHIM_WAIT)
        return false;
    lean_record(t, site, known, address, write, stack, &note);
    return true;
}

static u64 lean(struct patch_site *site, u64 address, struct call *call, bool write)
{
    const struct known *known = known_of(call, address);
    struct thread *t = thread_of(call);
    bool biased;
    u32 stack;

    if (unlikely(!known_takes(known, address, width_of(site)) || backward() || !known_stays(known) || !lean_stack(t, site, call, &stack)))
        return ask_full(call, write ? full_store : full_load);
    biased = bus_enter(known->device, &t->self);
    if (likely(lean_ask(t, site, known, address, write, stack)))
        return leave(t, call, known, biased, PATCH_DONE);
    bus_leave(known->device, &t->self, biased);
    return ask_full(call, write ? full_store : full_load);
}

static u64 lean_load(struct patch_site *site, u64 address, struct call *call)
{
    return lean(site, address, call, false);
}

static u64 lean_store(struct patch_site *site, u64 address, struct call *call)
{
    return lean(site, address, call, true);
}

static u64 long_load(struct patch_site *site, u64 address, struct call *call)
{
    (void)site, (void)address;
    return ask_full(call, full_load);
}

static u64 long_store(struct patch_site *site, u64 address, struct call *call)
{
    (void)site, (void)address;
    return ask_full(call, full_store);
}

/* A part of a read-modify-write of a device that is held. */
static bool ask_part(struct thread *t, const struct patch_site *site, const struct known *known, u64 address, bool write)
{
    if (unlikely(log_is_lean()))
        return lean_ask(t, site, known, address, write, own(&t->call)->stack);
    return ask(t, known, address, width_of(site), write);
}

static u64 modify(struct patch_site *site, u64 address, struct call *call)
{
    const struct known *known = known_of(call, address);
    struct patch_thread *p = own(call);
    struct thread *t = thread_of(call);

    p->held = NULL;
    if (unlikely(!short_width(site) || !known_takes(known, address, width_of(site)) || backward() || !known_stays(known) ||
                 (log_is_lean() && !lean_stack(t, site, call, &p->stack))))
        return ask_full(call, full_modify);
    p->biased = bus_enter(known->device, &t->self);
    p->held = known;
    if (likely(ask_part(t, site, known, address, false)))
        return PATCH_HELD;
    p->held = NULL;
    bus_leave(known->device, &t->self, p->biased);
    return ask_full(call, full_modify);
}

static u64 modify_end(struct patch_site *site, u64 address, struct call *call)
{
    struct patch_thread *p = own(call);
    struct thread *t = thread_of(call);
    const struct known *known = p->held;

    if (unlikely(!known))
        return ask_full(call, full_modify_end);
    /* The instruction cannot be made again from here: a device that waits is waited for, by nobody else meanwhile. */
    while (unlikely(!ask_part(t, site, known, address, true)))
        bus_wait(known->device, 50);
    return leave(t, call, known, p->biased, PATCH_DONE_AGAIN);
}

typedef u64 (*site_function)(struct patch_site *, u64, struct call *);

void patch_functions(struct patch_site *site, enum trampoline_kind kind)
{
    static const site_function short_ones[2][4] = {{load_1, load_2, load_4, load_8}, {store_1, store_2, store_4, store_8}};
    static const site_function lean_ones[2] = {lean_load, lean_store}, long_ones[2] = {long_load, long_store};
    bool write = kind == TRAMPOLINE_STORE;
    site_function function = long_ones[write];

    if (kind == TRAMPOLINE_MODIFY)
        function = modify;
    else if (short_width(site) && !log_wanted())
        function = short_ones[write][width_of(site)];
    else if (short_width(site) && log_is_lean())
        function = lean_ones[write];
    site->function = (u64)function;
    site->function_again = (u64)modify_end;
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
