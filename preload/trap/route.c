/*
 * The memory that a trapped instruction sees: windows go to their devices,
 * RAM that shares a page with a window to the RAM file, everything else is the
 * program's own memory. And the I/O ports, where there is nothing but windows.
 */
#include <sys/mman.h>

#include "base/mem.h"
#include "base/sys.h"
#include "bus/irq.h"
#include "bus/ports.h"
#include "memory/dirty.h"
#include "memory/ram.h"
#include "trap/backtrace.h"
#include "trap/log.h"
#include "trap/probe.h"
#include "trap/route.h"
#include "trap/serve.h"
#include "trap/trap.h"
#include "trap/worker.h"
#include "base/trapsafe.h"

static struct bus *bus;
static const struct view *view, *ports;

/* Whose addresses an access has: the program's; the machine's, for read and write of /dev/mem; or numbers of ports. */
enum space { SPACE_PROGRAM, SPACE_MACHINE, SPACE_PORTS };

/* A stretch of an access with one owner. */
struct segment {
    u64 addr;    /* in its space */
    u64 machine; /* in the machine, if trapped; or the port */
    unsigned length;
    bool trapped; /* always, of ports */
    enum space space;
    int prot; /* what the program may do there */
    struct view_span span; /* owner, if trapped */
};

bool trap_has_ports(void)
{
    return bus->machine->desc->ioports;
}

/* Bytes behind port 0xffff belong to nobody: the gap above the last window goes on there. */
static void port_segment(struct segment *s, u64 port, unsigned n)
{
    u64 after;

    s->addr = s->machine = port;
    s->length = n;
    s->trapped = true;
    s->span = view_find(ports, port);
    after = range_last(s->span.range) - port;
    if (after < n - 1)
        s->length = (unsigned)after + 1;
}

/* What read and write of /dev/mem reach: the machine's address, with the rights of nobody's mapping. */
static void machine_segment(struct segment *s, u64 addr, unsigned n)
{
    s->addr = s->machine = addr;
    s->length = (unsigned)MIN(n, PAGE_SIZE - (addr & ~PAGE_MASK));
    s->trapped = near_traps(addr);
    if (!s->trapped)
        return;
    s->span = view_find(view, addr);
    s->length = (unsigned)MIN(s->length, range_last(s->span.range) - addr + 1);
}

/*
 * First segment of [addr, addr+n). Filled in place: a struct that is returned is copied,
 * word behind word.
 */
static void next_segment(struct trap *t, struct segment *s, enum space space, u64 addr, unsigned n)
{
    const struct near *near = &t->near;

    s->space = space;
    if (unlikely(space != SPACE_PROGRAM)) {
        s->prot = PROT_READ | PROT_WRITE;
        if (space == SPACE_PORTS)
            port_segment(s, addr, n);
        else
            machine_segment(s, addr, n);
        return;
    }
    s->addr = addr;
    s->trapped = trap_finds(t, addr);
    if (!s->trapped) {
        s->length = (unsigned)MIN(n, PAGE_SIZE - (addr & ~PAGE_MASK));
        return;
    }
    s->length = (unsigned)MIN(n, near->size - (addr - near->base));
    s->machine = near->machine + (addr - near->base);
    s->span = near->span;
    s->prot = near->prot;
}

/* Offset within the device. */
static u64 device_offset(const struct segment *s)
{
    return s->machine - s->span.range.base + s->span.offset;
}

/* --- locks --- */

static void lock_device(struct trap *t, struct bus_device *d)
{
    for (unsigned i = 0; i < t->nlocked; i++)
        if (t->locked[i] == d)
            return;
    if (t->nlocked == TRAP_DEVICES)
        return;
    bus_lock(d, &t->thread->self);
    t->locked[t->nlocked++] = d;
}

static void unlock_devices(struct trap *t)
{
    while (t->nlocked)
        bus_unlock(t->locked[--t->nlocked], &t->thread->self);
}

/* The lowest number, from one on, of a device that an access touches; UINT32_MAX: there is none. */
static u32 lowest_device(struct trap *t, const struct segment *first, unsigned n, u32 from)
{
    struct segment s = *first;
    u32 lowest = UINT32_MAX;

    for (u64 addr = s.addr, end = s.addr + n;;) {
        if (s.trapped && s.span.kind == VIEW_WINDOW && s.span.index >= from)
            lowest = MIN(lowest, s.span.index);
        addr += s.length;
        if (addr == end)
            return lowest;
        next_segment(t, &s, first->space, addr, (unsigned)(end - addr));
    }
}

/* Locks are taken in the order of numbers: what has a lower address now may have a higher one soon, since BARs move. */
static void lock_all(struct trap *t, const struct segment *first, unsigned n)
{
    if (likely(first->length == n) && first->trapped && first->span.kind == VIEW_WINDOW)
        lock_device(t, &bus->devices[first->span.index]);
    for (u32 i = 0; first->length != n && (i = lowest_device(t, first, n, i)) != UINT32_MAX; i++)
        lock_device(t, &bus->devices[i]);
}

static void route_begin(void *context, u64 addr, unsigned n)
{
    struct trap *t = context;
    struct segment s;

    next_segment(t, &s, SPACE_PROGRAM, addr, n);
    lock_all(t, &s, n);
    t->kept = t->bracketed = true;
}

bool route_hold(void *context, u64 addr, unsigned n)
{
    struct trap *t = context;
    struct segment s;

    next_segment(t, &s, SPACE_PROGRAM, addr, n);
    if (!s.trapped || s.span.kind != VIEW_WINDOW || s.length != n)
        return false;
    lock_device(t, &bus->devices[s.span.index]);
    t->kept = true;
    return true;
}

void route_end(void *context)
{
    struct trap *t = context;

    t->kept = t->bracketed = false;
    unlock_devices(t);
}

/* --- one access --- */

struct access {
    struct trap *trap;
    struct trace_record rec;
    struct bus_note note;
    bool quiet;  /* nobody wants a record of it */
    bool logged; /* some byte of it lies in a window or a hole */
};

static void note_first(struct access *a, const struct segment *s, const struct bus_note *note)
{
    if (a->logged)
        return;
    a->logged = true;
    a->rec.addr = s->machine;
    a->rec.device = s->span.kind == VIEW_WINDOW ? (u16)s->span.index : TRACE_NONE;
    if (a->quiet)
        return;
    a->rec.offset = s->span.kind == VIEW_WINDOW ? device_offset(s) : s->machine;
    a->rec.reg = note->reg;
    a->rec.element = note->element;
    if (note->unassigned)
        a->rec.flags |= TRACE_UNASSIGNED;
}

static bool carved_access(const struct segment *s, void *data, bool write)
{
    u8 *host = ram_carved(s->machine);

    if (!host)
        return false;
    if (write) {
        memcpy(host, data, s->length);
        dirty_mark(s->machine, s->length);
    } else {
        memcpy(data, host, s->length);
    }
    return true;
}

/* The bytes of one segment. False: they cannot be reached. */
static bool segment_access(struct access *a, const struct segment *s, void *data, bool write)
{
    struct trap *t = a->trap;
    struct bus_note later, *note = a->logged ? &later : &a->note; /* the first segment's is what is told */
    struct bus_device *d;

    if (!s->trapped)
        return write ? probe_write(s->addr, data, s->length) : probe_read(data, s->addr, s->length);
    if (!near_allows(s->prot, write))
        return false;
    if (s->span.kind == VIEW_RAM)
        return carved_access(s, data, write);
    if (s->span.kind == VIEW_NONE) {
        *note = (struct bus_note){.reg = TRACE_NONE, .unassigned = true};
        note->fault = !bus_nobody(bus, write ? (u8[64]){0} : data, s->length);
    } else {
        d = &bus->devices[s->span.index];
        if (bus_access(bus, d, device_offset(s), data, s->length, write, note) == MMIOSHIM_WAIT) {
            t->wait = d;
            return false;
        }
    }
    t->refused = t->refused || note->fault;
    note_first(a, s, note);
    return true;
}

static void log_it(struct access *a, const u8 *data, unsigned n, bool write)
{
    a->trap->accesses++;
    bus_tick(bus);
    if (a->quiet) {
        log_count(a->trap->thread, a->rec.device, write, &a->note);
        return;
    }
    a->rec.op = write ? TRACE_WRITE : TRACE_READ;
    a->rec.width = n;
    memcpy(a->rec.value, data, n);
    log_access(a->trap->thread, &a->rec, &a->trap->state, a->trap->insn, &a->note);
}

/* On hardware the process would be gone by now. Said once a process: it is about its start-up, not about the register. */
static void lint_permission(struct access *a, u16 port, unsigned n)
{
    static u32 said; /* by this pid: a child of fork speaks for itself */
    u32 pid = a->trap->thread->self.pid;
    struct fmt f = FMT_INIT(a->note.text);

    if (a->note.rule || ports_granted(port, n) || __atomic_exchange_n(&said, pid, __ATOMIC_RELAXED) == pid)
        return;
    a->note.rule = "port-permission";
    fmt_str(&f, "neither iopl(3) nor ioperm: on hardware this is a SIGSEGV");
    fmt_end(&f);
}

static void note_failed(struct trap *t, const struct segment *s)
{
    t->failed_at = s->addr;
    t->failed_own = !s->trapped;
    t->failed_modify = t->bracketed;
}

static bool route(struct trap *t, enum space space, u64 addr, u8 *data, unsigned n, bool write)
{
    struct segment s;
    struct access a;
    bool reached = true;

    next_segment(t, &s, space, addr, n);
    a.trap = t;
    a.logged = false;
    a.quiet = !log_wanted();
    if (!a.quiet)
        memset(&a.rec, 0, offsetof(struct trace_record, insn));
    a.rec.type = space == SPACE_PORTS ? TRACE_PORT : TRACE_MMIO;
    t->wait = NULL;
    if (!t->kept)
        lock_all(t, &s, n);
    for (unsigned done = 0;;) {
        reached = segment_access(&a, &s, data + done, write);
        if (!reached)
            note_failed(t, &s);
        done += s.length;
        if (done == n || !reached)
            break;
        next_segment(t, &s, space, addr + done, n - done);
    }
    if (a.logged && space == SPACE_PORTS && t->insn->length) /* no system call's: /dev/port and its kin need no privilege */
        lint_permission(&a, (u16)addr, n);
    if (a.logged)
        log_it(&a, data, n, write);
    if (!t->kept)
        unlock_devices(t);
    return reached && !t->refused;
}

/* Most accesses: one window has all the bytes, and nobody wants a record. Declined: any other, and nothing has happened. */
static enum trap_answer route_window(struct trap *t, u64 addr, void *data, unsigned n, bool write)
{
    const struct near *near = &t->near;
    u64 at = addr - near->base, offset;
    struct bus_device *d;
    struct bus_note note;
    bool waits;

    if (at >= near->size || n > near->size - at || near->span.kind != VIEW_WINDOW || !near_allows(near->prot, write) ||
        log_wanted())
        return TRAP_DECLINED;
    d = &bus->devices[near->span.index];
    offset = at + near->machine - near->span.range.base + near->span.offset;
    if (!t->kept)
        lock_device(t, d);
    waits = bus_access(bus, d, offset, data, n, write, &note) == MMIOSHIM_WAIT;
    if (!waits) {
        t->refused = t->refused || note.fault;
        t->accesses++;
        bus_tick(bus);
        log_count(t->thread, (u16)near->span.index, write, &note);
    }
    if (!t->kept)
        unlock_devices(t);
    return waits ? TRAP_DECLINED : t->refused ? TRAP_FAILED : TRAP_HANDLED;
}

bool route_program(struct trap *t, u64 addr, void *data, unsigned n, bool write)
{
    enum trap_answer answer = route_window(t, addr, data, n, write);

    return answer == TRAP_DECLINED ? route(t, SPACE_PROGRAM, addr, data, n, write) : answer == TRAP_HANDLED;
}

static bool route_read(void *context, u64 addr, void *buf, unsigned n)
{
    return route_program(context, addr, buf, n, false);
}

static bool route_write(void *context, u64 addr, const void *buf, unsigned n)
{
    return route_program(context, addr, (void *)(uintptr_t)buf, n, true);
}

static bool route_port_read(void *context, u16 port, void *buf, unsigned n)
{
    return route(context, SPACE_PORTS, port, buf, n, false);
}

static bool route_port_write(void *context, u16 port, const void *buf, unsigned n)
{
    return route(context, SPACE_PORTS, port, (u8 *)(uintptr_t)buf, n, true);
}

static bool segment_reach(const struct segment *s, bool write)
{
    u8 byte;

    if (!s->trapped) /* it lies in one page */
        return write ? probe_writable(s->addr) : probe_read(&byte, s->addr, 1);
    return near_allows(s->prot, write) && (s->span.kind != VIEW_RAM || ram_carved(s->machine));
}

static bool route_reach(void *context, u64 addr, unsigned n, bool write)
{
    struct trap *t = context;

    t->wait = NULL;
    for (unsigned done = 0; done < n;) {
        struct segment s;

        next_segment(t, &s, SPACE_PROGRAM, addr + done, n - done);
        if (!segment_reach(&s, write)) {
            t->result.fault_addr = addr + done;
            note_failed(t, &s);
            return false;
        }
        done += s.length;
    }
    return true;
}

static bool route_retry(void *context)
{
    return ((struct trap *)context)->wait != NULL;
}

static bool route_ours(void *context, u64 addr, unsigned n)
{
    return trap_finds(context, addr) || (n > 1 && trap_finds(context, addr + n - 1));
}

const struct cpu_bus trap_bus = {
    .read = route_read,
    .write = route_write,
    .reach = route_reach,
    .begin = route_begin,
    .end = route_end,
    .hold = route_hold,
    .retry = route_retry,
    .ours = route_ours,
    .port_read = route_port_read,
    .port_write = route_port_write,
};

/* --- after the access --- */

static void log_irq(struct thread *thread, const struct bus_irq *irq)
{
    struct trace_record rec = {.type = TRACE_IRQ, .device = (u16)irq->device, .reg = TRACE_NONE};

    rec.addr = irq->number;
    rec.width = irq->level;
    rec.flags = irq->message ? TRACE_MESSAGE : 0;
    log_event(thread, &rec, NULL);
}

/* Each round may ask for more: a controller whose line changes, a device that was served. */
bool trap_site_requests(struct trap *t, int *status)
{
    const struct lock_self *self = &t->thread->self;
    struct bus_requests r;
    bool end = false;

    while (unlikely(bus_take_requests(&r))) {
        for (u32 i = 0; i < r.nirqs; i++) {
            log_irq(t->thread, &r.irqs[i]);
            irq_deliver(bus, &r.irqs[i], self);
        }
        if (r.more)
            irq_deliver_all(bus, self);
        if (r.functions)
            bus->functions->settle(bus, self);
        if (r.nsoon)
            trap_serve(t, bus, &r);
        if (r.due)
            bus_serve_due(bus, self);
        if (r.ring)
            worker_ring(bus, t->thread);
        if (r.reset)
            bus_reset(bus, self);
        if (r.end)
            *status = r.status;
        end = end || r.end;
    }
    return end;
}

void trap_requests(struct trap *t)
{
    int status;

    if (unlikely(trap_site_requests(t, &status)))
        trap_end_program(t->uc, status);
}

bool trap_place(u64 addr, struct trap_place *place)
{
    struct range reached;
    struct segment s;
    struct alias a;

    if (!alias_find(addr, &a))
        return false;
    s.machine = a.machine + (addr - a.range.base);
    s.span = view_find(view, s.machine);
    if (s.span.kind != VIEW_WINDOW)
        return false;
    reached = (struct range){a.machine, a.range.size};
    place->window = range_clip(s.span.range, reached);
    s.machine = place->machine = place->window.base;
    place->window.base += a.range.base - a.machine;
    place->device = &bus->devices[s.span.index];
    place->offset = device_offset(&s);
    place->moves = s.span.index >= machine_fixed(bus->machine->desc);
    place->prot = a.prot;
    return true;
}

struct bus *trap_the_bus(void)
{
    return bus;
}

/* The program's registers at its system call. */
static void caller_state(struct cpu_state *state, const struct call *call)
{
    const u64 regs[16] = {call->ret, 0, call->a[2], call->rbx, call->rsp, call->rbp, call->a[1], call->a[0],
                          call->a[4], call->a[5], call->a[3], 0, call->r12, call->r13, call->r14, call->r15};

    memcpy(state->gpr, regs, sizeof(regs));
    state->rip = calls_site(call);
    state->rflags = call->flags;
}

void trap_lint_buffer(u64 machine, const char *call)
{
    struct trace_record rec = {.type = TRACE_LINT, .device = TRACE_NONE, .reg = TRACE_NONE};
    struct view_span span = view_find(view, machine);
    char text[TRACE_TEXT];
    struct fmt f = FMT_INIT(text);
    const char *rule = "call-buffer";

    fmt_mem(&f, rule, strlen(rule) + 1);
    fmt_printf(&f, "%s with a buffer in a window: copied through the device", call);
    fmt_end(&f);
    memcpy(rec.text, text, sizeof(text));
    if (span.kind == VIEW_WINDOW)
        rec.device = (u16)span.index;
    log_event(thread_self(), &rec, NULL);
}

void trap_diagnose_port(u16 port, struct fmt *out)
{
    struct view_span s = view_find(ports, port);

    fmt_printf(out, "I/O port %s %s", s.kind == VIEW_NONE ? "of" : "in",
               s.kind == VIEW_NONE ? "nobody" : bus->machine->desc->windows[s.index].name);
}

static bool access_apart(enum space space, u64 addr, void *data, unsigned width, bool write)
{
    static const struct cpu_insn none;
    struct trap t;
    u64 saved;
    bool done;

    memset(&t, 0, sizeof(t));
    t.thread = thread_self();
    t.insn = &none;
    caller_state(&t.state, &t.thread->call);
    signals_mask(&saved);
    do {
        done = route(&t, space, addr, data, width, write);
        if (t.wait)
            bus_wait(t.wait, 50);
    } while (t.wait);
    trap_requests(&t);
    signals_restore(&saved);
    return done && !t.refused;
}

bool trap_access(u64 machine_addr, void *data, unsigned width, bool write)
{
    return access_apart(SPACE_MACHINE, machine_addr, data, width, write);
}

bool trap_access_port(u32 port, void *data, unsigned width, bool write)
{
    return access_apart(SPACE_PORTS, port, data, width, write);
}

void trap_start(struct bus *b, const struct view *v, const struct view *p)
{
    bus = b;
    view = v;
    ports = p;
    near_start(v);
}
