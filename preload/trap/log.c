#include "trap/log.h"

#include <time.h>

#include "base/errname.h"
#include "base/mem.h"
#include "base/sys.h"
#include "memory/dirty.h"
#include "trap/backtrace.h"
#include "trap/bump.h"
#include "trap/log_end.h"
#include "trap/log_names.h"
#include "trap/log_own.h"
#include "trap/poll.h"
#include "trap/ring.h"
#include "trap/sink.h"
#include "base/trapsafe.h"

static struct bus *bus;
static enum log_format format;
static bool json, binary, fold, lint_on, header_done, touched;
static unsigned show, max_frames;
static struct trace_filter filter;
static struct thread_counts before; /* of the parent, when this process was forked */
static u16 pid_ordinal; /* of this process, 0: not yet given */

bool log_quiet_begun;

bool log_touched(void)
{
    return touched;
}

/* What this process did. */
static struct arena_counters mine(void)
{
    struct thread_counts all = thread_counts();
    u64 reads = all.accesses[0] - before.accesses[0], writes = all.accesses[1] - before.accesses[1];

    return (struct arena_counters){reads + writes, reads, writes, all.lint - before.lint, all.lost - before.lost};
}

u64 log_lint_count(void)
{
    return mine().lint;
}

/* --- the log's lock --- */

static void lose(struct thread *t, u64 n)
{
    __atomic_fetch_add(&bus->machine->arena->counters.lost, n, __ATOMIC_RELAXED);
    t->counts.lost += n;
    if (binary)
        ring_lost(n);
}

/* The last number that was given. */
static u64 last_number(void)
{
    return __atomic_load_n(&bus->machine->arena->next_seq, __ATOMIC_RELAXED);
}

struct arena *log_arena(void)
{
    return bus->machine->arena;
}

/* A holder that was killed between taking a number and writing the line took that event with it. */
void log_take(struct thread *t)
{
    struct arena *arena = bus->machine->arena;

    lock_take(&arena->log_lock, &t->self);
    if (unlikely(arena->log_writing)) {
        lose(t, 1);
        arena->log_writing = 0;
    }
}

void log_release(struct thread *t)
{
    lock_release(&bus->machine->arena->log_lock, &t->self);
}

/* --- the [MEM] block --- */

static u64 wall_clock(void)
{
    struct timespec now = {0, 0};

    clock_gettime(CLOCK_REALTIME, &now);
    return (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
}

static void print_map(struct fmt *out, u64 time)
{
    const struct machine_desc *desc = bus->machine->desc;
    struct trace_names n = log_names(bus);

    if (format == LOG_MMIOTRACE) {
        trace_print_mmiotrace_begin(out, &n, time);
        return;
    }

    for (u32 i = 0; i < desc->nbanks; i++) {
        struct trace_bank bank = {desc->banks[i].name, desc->banks[i].range};

        trace_print_bank(out, &bank, json);
    }
    for (u32 i = 0; i < bus->ndevices; i++)
        trace_print_window(out, &bus->names[i], json);
}

/* time: of the first event */
static void header(u64 time)
{
    static char text[1 << 20];
    struct fmt f = FMT_INIT(text);
    bool first;

    if (header_done || !sink_first(&first))
        return;
    header_done = true;
    if (!first)
        return;
    print_map(&f, time);
    sink_put(text, f.len, thread_self()->blocked);
}

/* --- records --- */

static void give_ordinals(struct thread *t)
{
    struct arena *arena = bus->machine->arena;

    if (likely(t->tid_ordinal && t->pid_ordinal))
        return;
    if (!pid_ordinal)
        pid_ordinal = (u16)__atomic_add_fetch(&arena->pid_ordinals, 1, __ATOMIC_RELAXED);
    t->pid_ordinal = pid_ordinal;
    if (!t->tid_ordinal)
        t->tid_ordinal = (u16)__atomic_add_fetch(&arena->tid_ordinals, 1, __ATOMIC_RELAXED);
}

static void fill_who(struct thread *t, struct trace_record *rec)
{
    give_ordinals(t);
    rec->pid = t->self.pid;
    rec->tid = t->self.tid;
    rec->pid_ordinal = t->pid_ordinal;
    rec->tid_ordinal = t->tid_ordinal;
    rec->time = wall_clock();
}

static void print(struct fmt *f, const struct trace_record *rec)
{
    struct trace_names n = log_names(bus);

    if (json)
        trace_print_json(f, rec, &n, show);
    else if (format == LOG_MMIOTRACE)
        trace_print_mmiotrace(f, rec, &n);
    else
        trace_print_text(f, rec, &n, show);
}

void log_touch(struct thread *t)
{
    if (likely(touched))
        return;
    touched = true;
    member_flag(bus->machine->arena, &t->self, MEMBER_TOUCHED);
}

/* The device's lock is held, so its counters need no atomics; a hole has no device, and no lock. */
static void count(struct thread *t, u16 device, bool write)
{
    struct arena *arena = bus->machine->arena;

    if (device != TRACE_NONE)
        ++*(write ? &arena_devices(arena)[device].writes : &arena_devices(arena)[device].reads);
    else
        __atomic_fetch_add(write ? &arena->counters.writes : &arena->counters.reads, 1, __ATOMIC_RELAXED);
    t->counts.accesses[write]++;
}

static void copy_text(struct trace_record *rec, const char *text, size_t len)
{
    len = MIN(len, sizeof(rec->text) - 1);
    memcpy(rec->text, text, len);
    rec->text[len] = 0;
}

/* The lint line of an access: "rule\0text". */
static struct trace_record lint_record(const struct trace_record *access, const struct bus_note *note)
{
    struct trace_record rec = *access;
    size_t n = strlen(note->rule) + 1;

    rec.type = TRACE_LINT;
    rec.stack = 0;
    memcpy(rec.text, note->rule, n);
    memcpy(rec.text + n, note->text, strlen(note->text) + 1);
    return rec;
}

static void print_lint(struct fmt *f, const struct trace_record *access, const struct bus_note *note)
{
    struct trace_record rec = lint_record(access, note);

    print(f, &rec);
}

/* --- polls --- */

u64 log_polls(const struct thread *t)
{
    return t->poll ? t->poll->run : 0;
}

/* The reads that are not in the transcript yet. Log lock held. */
static void say_folded(struct thread *owner, void *context)
{
    struct thread *t = context;
    struct poll *p = owner->poll;
    u64 n = p ? p->folded : 0;
    struct fmt f = FMT_INIT(t->text);
    struct trace_record rec;

    if (!n)
        return;
    p->folded = 0;
    memset(&rec, 0, sizeof(rec));
    rec.type = TRACE_REPEAT;
    rec.device = rec.reg = TRACE_NONE;
    rec.seq = p->seq;
    rec.pid = p->pid;
    rec.tid = p->tid;
    rec.time = wall_clock();
    memcpy(rec.value, &n, sizeof(n));
    print(&f, &rec);
    if (!sink_put(t->text, f.len, t->blocked))
        lose(t, n);
}

static void forget_folded(struct thread *owner, void *unused)
{
    (void)unused;
    if (owner->poll)
        owner->poll->run = owner->poll->folded = 0;
}

void log_flush(struct thread *t)
{
    if (!fold || !sink_wanted())
        return;
    if (binary) {
        ring_repeat_ends(t, last_number());
        return;
    }
    log_take(t);
    thread_each(say_folded, t);
    log_release(t);
}

/* All that the device was asked so far; its lock is held. */
static u64 accesses_of(u16 device)
{
    const struct arena_device *d = &arena_devices(bus->machine->arena)[device];

    return device == TRACE_NONE ? 0 : d->reads + d->writes + d->quiet[0] + d->quiet[1];
}

static struct poll *poll_of(struct thread *t)
{
    if (unlikely(!t->poll) && (t->poll = bump_alloc(sizeof(*t->poll))))
        memset(t->poll, 0, sizeof(*t->poll));
    return t->poll;
}

/* A finding that has the call stack with it: it is about a loop, not about an access. */
static void say_endless(struct thread *t, const struct trace_record *access)
{
    static const char text[] = "endless-poll\0the value cannot change: nobody else uses the device, nothing else happens to it";
    struct trace_record rec = *access;

    rec.type = TRACE_LINT;
    rec.stack = t->poll->stack;
    memcpy(rec.text, text, sizeof(text));
    log_event(t, &rec, NULL);
}

/* Is the access, with its number and its stack, one more of a run? If it is in the transcript, it begins one. */
static bool polls_again(struct thread *t, const struct trace_record *rec, const struct bus_note *note)
{
    struct poll *p = poll_of(t);

    if (!(fold || lint_on) || !p)
        return false;
    if (note->rule && lint_on)
        p->run = 0; /* it has something to say of its own */
    if (likely(!poll_goes_on(p, rec)))
        return false;
    p->run++;
    return true;
}

/* After it was written. */
static void follow_poll(struct thread *t, const struct trace_record *rec, const struct bus_note *note, bool again)
{
    if (!(fold || lint_on) || !t->poll)
        return;
    if (!again) {
        poll_begin(t->poll, rec, accesses_of(rec->device));
        if (note->rule && lint_on)
            t->poll->run = 0;
    } else if (lint_on && poll_endless(t->poll, bus, accesses_of(rec->device))) {
        say_endless(t, rec);
    }
}

/* --- accesses --- */

/* fresh: its stack is new in this transcript. Log lock held. */
static void write_access(struct thread *t, struct trace_record *rec, const struct bus_note *note, bool fresh)
{
    struct fmt f = FMT_INIT(t->text);
    struct trace_names n = log_names(bus);

    header(rec->time);
    say_folded(t, t);
    if (fresh && json)
        trace_print_json_stack(&f, rec->stack, &n);
    print(&f, rec);
    if (note->rule && lint_on)
        print_lint(&f, rec, note);
    if (!sink_put(t->text, f.len, t->blocked))
        lose(t, 1);
}

static void count_lint(struct thread *t)
{
    __atomic_fetch_add(&bus->machine->arena->counters.lint, 1, __ATOMIC_RELAXED);
    t->counts.lint++;
}

bool log_wanted(void)
{
    return sink_wanted();
}

void log_quiet_begin(struct thread *t)
{
    log_touch(t);
    __atomic_store_n(&bus->machine->arena->quiet_begun, 1, __ATOMIC_RELEASE);
    log_quiet_begun = true;
}

void log_count(struct thread *t, u16 device, bool write, const struct bus_note *note)
{
    struct arena *arena = bus->machine->arena;

    if (note->rule && lint_on)
        count_lint(t);
    if (likely(device != TRACE_NONE)) {
        log_quiet(t, &arena_devices(arena)[device], write);
        return;
    }
    log_quiet_begin(t);
    count(t, device, write);
    __atomic_fetch_add(&arena->quiet_holes, 1, __ATOMIC_RELAXED);
}

/* stack: without its number yet; NULL: none is wanted. */
static u32 number_stack(struct backtrace *stack, bool *fresh)
{
    *fresh = false;
    return stack ? backtrace_number(stack, &bus->machine->arena->next_stack, fresh) : 0;
}

/* No lock: readers bring the events into the order of their numbers. rec->stack is there. */
static void ring_access(struct thread *t, struct trace_record *rec, const struct bus_note *note)
{
    bool again;

    rec->tid = t->self.tid;
    again = polls_again(t, rec, note);
    if (t->ring.repeat && !(again && fold))
        ring_repeat_ends(t, last_number());
    rec->seq = log_number(t, false);
    if (unlikely(!(again && fold ? ring_repeat(t, t->poll->seq, rec->seq) : ring_put(t, rec, rec->seq)))) {
        lose(t, 1);
    } else if (unlikely(note->rule && lint_on)) {
        struct trace_record lint = lint_record(rec, note);

        ring_put(t, &lint, rec->seq);
    }
    follow_poll(t, rec, note, again);
}

static void name_stack(struct thread *t, u32 stack)
{
    ring_repeat_ends(t, last_number());
    ring_stack(t, stack);
}

/* Numbers of accesses and of stacks are given in the order of the lines: under the log's lock. */
static void line_access(struct thread *t, struct trace_record *rec, const struct bus_note *note, struct backtrace *stack,
                        bool wanted)
{
    struct arena *arena = bus->machine->arena;
    bool again = false, fresh;

    fill_who(t, rec);
    log_take(t);
    arena->log_writing = wanted;
    rec->seq = log_number(t, true);
    if (wanted) {
        rec->stack = number_stack(stack, &fresh);
        again = polls_again(t, rec, note);
        if (again && fold)
            t->poll->folded++;
        else
            write_access(t, rec, note, fresh);
    }
    arena->log_writing = 0;
    log_release(t);
    if (wanted)
        follow_poll(t, rec, note, again);
}

bool log_is_lean(void)
{
    return binary && sink_wanted();
}

unsigned log_frames(void)
{
    return max_frames;
}

void log_lean(struct thread *t, struct trace_record *rec, const struct bus_note *note)
{
    struct trace_names names = log_names(bus);

    log_touch(t);
    if (note->rule && lint_on)
        count_lint(t);
    count(t, rec->device, rec->op == TRACE_WRITE);
    give_ordinals(t);
    if (trace_filter_match(&filter, rec, &names))
        ring_access(t, rec, note);
    else
        log_number(t, false);
}

void log_access(struct thread *t, struct trace_record *rec, const struct cpu_state *state, const struct cpu_insn *insn,
                const struct bus_note *note)
{
    struct trace_names n;
    struct backtrace stack;
    bool wanted, fresh;

    log_touch(t);
    if (note->rule && lint_on)
        count_lint(t);
    count(t, rec->device, rec->op == TRACE_WRITE);
    n = log_names(bus);
    give_ordinals(t);
    rec->pc = state->rip;
    rec->insn_len = insn->length;
    memcpy(rec->insn, insn->bytes, insn->length);
    wanted = trace_filter_match(&filter, rec, &n);
    if (wanted && max_frames) {
        if (unlikely(!t->recall))
            t->recall = recall_make();
        backtrace_take(t->recall, state, max_frames, &stack);
    }
    if (!binary) {
        line_access(t, rec, note, max_frames ? &stack : NULL, wanted);
    } else if (wanted) {
        rec->stack = number_stack(max_frames ? &stack : NULL, &fresh);
        if (unlikely(fresh))
            name_stack(t, rec->stack);
        ring_access(t, rec, note);
    } else {
        log_number(t, false);
    }
}

void log_event(struct thread *t, struct trace_record *rec, const char *text)
{
    struct fmt f = FMT_INIT(t->text);

    log_touch(t);
    if (rec->type == TRACE_LINT && lint_on)
        count_lint(t);
    if (!sink_wanted() || (rec->type == TRACE_LINT && !lint_on))
        return;
    give_ordinals(t);
    if (text)
        copy_text(rec, text, strlen(text));
    if (binary) {
        ring_repeat_ends(t, last_number());
        if (!ring_put(t, rec, rec->type == TRACE_LINT && rec->seq ? rec->seq : last_number()))
            lose(t, 1);
        return;
    }
    fill_who(t, rec);
    log_take(t);
    header(rec->time);
    say_folded(t, t);
    print(&f, rec);
    if (!sink_put(t->text, f.len, t->blocked))
        lose(t, 1);
    log_release(t);
}

/* --- the end --- */

void log_finish(struct thread *t, bool last, bool last_to_touch)
{
    struct arena *arena = bus->machine->arena;
    struct arena_counters totals, own = mine();

    log_flush(t);
    if (!sink_wanted() || !(sink_per_process() ? touched : last))
        return;
    log_take(t);
    if (!binary)
        header(wall_clock());
    if (last_to_touch && dirty_mode() != DIRTY_OFF)
        log_end_dirty(t, bus->machine, format);
    totals = machine_totals(arena);
    log_end_exit(t, bus->machine, format, sink_per_process() ? &own : &totals);
    if (binary)
        ring_close(t, true);
    log_release(t);
}

void log_after_fork(bool worker)
{
    thread_each(forget_folded, NULL);
    if (worker && sink_per_process())
        sink_give_up();
    else if (binary)
        ring_after_fork(sink_per_process());
    if (worker)
        return;
    pid_ordinal = 0;
    touched = log_quiet_begun = false;
    sink_after_fork();
    before = thread_counts();
    if (!sink_per_process())
        return;
    header_done = false;
    backtrace_renumber();
}

/* --- bring-up --- */

static int refuse_ring(const char *path, const char *why, struct fmt *error)
{
    fmt_printf(error, "MMIOSHIM_LOG=%s: %s (MMIOSHIM_LOG_FORMAT=ring); allowed: a path (%%p = pid), none", path, why);
    return -1;
}

int log_start(struct bus *b, const struct options *options, struct fmt *error)
{
    const char *path = options->value[OPT_LOG];
    struct thread *t = thread_self();
    const char *why;
    long got;

    bus = b;
    format = (enum log_format)option_choice(options, OPT_LOG_FORMAT);
    json = format == LOG_JSON;
    binary = format == LOG_RING;
    fold = option_choice(options, OPT_LOG_FOLD) == 1;
    show = option_flags(options, OPT_LOG_SHOW);
    max_frames = (unsigned)option_number(options, OPT_BACKTRACE);
    lint_on = option_choice(options, OPT_LINT) != 1;
    trace_filter_parse(&filter, options->value[OPT_LOG_FILTER], &why);
    if (binary && strcmp(path, "-") == 0)
        return refuse_ring(path, "a binary transcript needs a file", error);
    log_take(t);
    got = sink_open(b->machine->arena, path, b->machine->joined, binary);
    log_release(t);
    if (got >= 0 && binary && ring_start(b, *options->value[OPT_LOG_FILTER] && strcmp(options->value[OPT_LOG_FILTER], "all")) < 0)
        return refuse_ring(path, "a binary transcript needs a regular file that can be mapped", error);
    if (got >= 0)
        return 0;
    if (b->machine->joined) { /* a descendant goes on, though it may have lost its rights, or its root */
        sink_give_up();
        return 0;
    }
    fmt_printf(error, "MMIOSHIM_LOG=%s: cannot be written: %s; allowed: a path (%%p = pid), -, none", path, errname(got));
    return -1;
}
