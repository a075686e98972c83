#include "trap/log.h"

#include <time.h>

#include "base/errname.h"
#include "base/mem.h"
#include "base/sys.h"
#include "memory/dirty.h"
#include "trap/backtrace.h"
#include "trap/bump.h"
#include "trap/ring.h"
#include "trap/sink.h"
#include "base/trapsafe.h"

/* In the order of options.def. */
enum format { FORMAT_TEXT, FORMAT_JSON, FORMAT_MMIOTRACE, FORMAT_RING };

static struct bus *bus;
static enum format format;
static bool json, binary, lint_on, header_done, touched;
static unsigned show, max_frames;
static struct trace_filter filter;
static struct arena_counters mine;
static u16 pid_ordinal; /* of this process, 0: not yet given */

bool log_touched(void)
{
    return touched;
}

u64 log_lint_count(void)
{
    return mine.lint;
}

/* --- names for the printers --- */

static void name_pc(void *context, u64 pc, struct fmt *out)
{
    (void)context;
    backtrace_where(pc, out);
}

static const char *name_frame(void *context, u32 stack, unsigned i)
{
    (void)context;
    return backtrace_frame(stack, i);
}

static void name_insn(void *context, const struct trace_record *r, struct fmt *out)
{
    (void)context;
    /* Address 0: operands relative to rip are shown as such, and the transcript is the same from run to run. */
    cpu_disassemble(r->insn, r->insn_len, 0, out);
}

static const char *name_stack(void *context, u32 stack, size_t *length);

static struct trace_names names(void)
{
    return (struct trace_names){bus->names, bus->ndevices, NULL, name_pc, name_frame, name_stack, name_insn};
}

/* Stacks as they were last printed, by id. Under the log's lock; one that is pushed out is rendered again. */
static struct kept_stack {
    u32 id;
    u32 length;
    const char *text;
} kept_stacks[1024];

static const char *name_stack(void *context, u32 stack, size_t *length)
{
    struct kept_stack *k = &kept_stacks[stack % ARRAY_SIZE(kept_stacks)];
    static char buf[16384];
    struct fmt f = FMT_INIT(buf);
    struct trace_names n = names();
    char *text;

    (void)context;
    if (k->id != stack || !k->text) {
        trace_print_stack(&f, stack, &n);
        text = f.full ? NULL : bump_alloc(f.len + 1);
        if (!text)
            return NULL;
        memcpy(text, buf, f.len);
        *k = (struct kept_stack){stack, (u32)f.len, text};
    }
    *length = k->length;
    return k->text;
}

/* --- the log's lock --- */

static void lose(u64 n)
{
    __atomic_fetch_add(&bus->machine->arena->counters.lost, n, __ATOMIC_RELAXED);
    mine.lost += n;
    if (binary)
        ring_lost(n);
}

/* Numbers that were given so far. */
static u64 last_number(void)
{
    return __atomic_load_n(&bus->machine->arena->next_seq, __ATOMIC_RELAXED);
}

static u64 next_number(void)
{
    return __atomic_add_fetch(&bus->machine->arena->next_seq, 1, __ATOMIC_RELAXED);
}

/* A holder that was killed between taking a number and writing the line took that event with it. */
static void take_log(struct thread *t)
{
    struct arena *arena = bus->machine->arena;

    lock_take(&arena->log_lock, &t->self);
    if (unlikely(arena->log_writing)) {
        lose(1);
        arena->log_writing = 0;
    }
}

static void release_log(struct thread *t)
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
    struct trace_names n = names();

    if (format == FORMAT_MMIOTRACE) {
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
    struct trace_names n = names();

    if (json)
        trace_print_json(f, rec, &n, show);
    else if (format == FORMAT_MMIOTRACE)
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
static void count(u16 device, bool write)
{
    struct arena *arena = bus->machine->arena;

    if (device != TRACE_NONE)
        ++*(write ? &arena_devices(arena)[device].writes : &arena_devices(arena)[device].reads);
    else
        __atomic_fetch_add(write ? &arena->counters.writes : &arena->counters.reads, 1, __ATOMIC_RELAXED);
    ++*(write ? &mine.writes : &mine.reads);
    mine.accesses++;
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

/* The call stack of an access, without its id yet. */
struct stack {
    u64 frames[TRACE_FRAMES];
    unsigned count;
};

/* Ids are given and shown in the order of the log: under its lock. */
static void write_access(struct thread *t, struct trace_record *rec, const struct bus_note *note, const struct stack *stack)
{
    struct fmt f = FMT_INIT(t->text);
    struct trace_names n = names();
    bool fresh = false;

    header(rec->time);
    if (stack->count)
        rec->stack = backtrace_id(stack->frames, stack->count, &bus->machine->arena->next_stack, &fresh);
    if (fresh && json)
        trace_print_json_stack(&f, rec->stack, &n);
    print(&f, rec);
    if (note->rule && lint_on)
        print_lint(&f, rec, note);
    if (!sink_put(t->text, f.len, t->blocked))
        lose(1);
}

static void count_lint(void)
{
    __atomic_fetch_add(&bus->machine->arena->counters.lint, 1, __ATOMIC_RELAXED);
    mine.lint++;
}

bool log_wanted(void)
{
    return sink_wanted();
}

void log_count(struct thread *t, u16 device, bool write, const struct bus_note *note)
{
    log_touch(t);
    if (note->rule && lint_on)
        count_lint();
    count(device, write);
    t->unnumbered++;
}

void log_settle(struct thread *t)
{
    if (!t->unnumbered)
        return;
    __atomic_fetch_add(&bus->machine->arena->next_seq, t->unnumbered, __ATOMIC_RELAXED);
    t->unnumbered = 0;
}

/* No lock: readers bring the events into the order of their numbers. */
static void ring_access(struct thread *t, struct trace_record *rec, const struct bus_note *note, const struct stack *stack)
{
    bool fresh = false;

    if (stack->count)
        rec->stack = backtrace_id(stack->frames, stack->count, &bus->machine->arena->next_stack, &fresh);
    if (unlikely(fresh))
        ring_stack(t, rec->stack);
    rec->seq = next_number();
    if (unlikely(!ring_put(t, rec, rec->seq)))
        lose(1);
    else if (unlikely(note->rule && lint_on)) {
        struct trace_record lint = lint_record(rec, note);

        ring_put(t, &lint, rec->seq);
    }
}

static void line_access(struct thread *t, struct trace_record *rec, const struct bus_note *note, const struct stack *stack,
                        bool wanted)
{
    struct arena *arena = bus->machine->arena;

    fill_who(t, rec);
    take_log(t);
    arena->log_writing = wanted;
    rec->seq = next_number();
    if (wanted)
        write_access(t, rec, note, stack);
    arena->log_writing = 0;
    release_log(t);
}

void log_access(struct thread *t, struct trace_record *rec, const struct cpu_state *state, const struct cpu_insn *insn,
                const struct bus_note *note)
{
    struct trace_names n;
    struct stack stack;
    bool wanted;

    log_touch(t);
    if (note->rule && lint_on)
        count_lint();
    count(rec->device, rec->op == TRACE_WRITE);
    n = names();
    stack.count = 0;
    give_ordinals(t);
    rec->pc = state->rip;
    rec->insn_len = insn->length;
    memcpy(rec->insn, insn->bytes, insn->length);
    wanted = trace_filter_match(&filter, rec, &n);
    if (wanted && max_frames)
        stack.count = backtrace_capture(state, stack.frames, max_frames);
    if (!binary)
        line_access(t, rec, note, &stack, wanted);
    else if (wanted)
        ring_access(t, rec, note, &stack);
    else
        next_number();
}

void log_event(struct thread *t, struct trace_record *rec, const char *text)
{
    struct fmt f = FMT_INIT(t->text);

    log_touch(t);
    if (rec->type == TRACE_LINT && lint_on)
        count_lint();
    if (!sink_wanted() || (rec->type == TRACE_LINT && !lint_on))
        return;
    give_ordinals(t);
    if (text)
        copy_text(rec, text, strlen(text));
    if (binary) {
        if (!ring_put(t, rec, last_number()))
            lose(1);
        return;
    }
    fill_who(t, rec);
    take_log(t);
    header(rec->time);
    print(&f, rec);
    if (!sink_put(t->text, f.len, t->blocked))
        lose(1);
    release_log(t);
}

/* --- the end --- */

static void dirty_note(struct fmt *f, u64 missing)
{
    u64 killed = bus->machine->arena->killed;

    if (killed)
        fmt_printf(f, "pages that only %lu killed process%s wrote are missing", killed, killed == 1 ? "" : "es");
    if (missing)
        fmt_printf(f, "%sno memory for %lu more ranges", killed ? ", " : "", missing);
    fmt_end(f);
}

/* For a program that left no memory, or no mapping, for the whole line. */
static struct range few[64];
static char short_line[4096 + ARRAY_SIZE(few) * 48];

/* [DIRTY] or [EXIT] */
static void put_summary(struct thread *t, const struct fmt *text)
{
    struct fmt mark = FMT_INIT(t->text);

    if (format == FORMAT_MMIOTRACE) {
        trace_print_mmiotrace_mark(&mark, wall_clock(), text->buf, text->len);
        text = &mark;
    }
    sink_put(text->buf, text->len, t->blocked);
}

static void write_dirty(struct thread *t)
{
    struct arena *arena = bus->machine->arena;
    u64 pages = dirty_count(arena);
    u64 n = dirty_ranges(bus->machine->desc, arena, NULL, 0);
    struct range *ranges = sys_pages((n + 1) * sizeof(*ranges));
    struct fmt f = {.cap = 4096 + n * 48};
    char note_text[160], *line = sys_pages(f.cap);
    struct fmt note = FMT_INIT(note_text);
    bool all = ranges && line;
    u64 most = all ? n : MIN(n, (u64)ARRAY_SIZE(few));

    f.buf = all ? line : short_line;
    f.cap = all ? f.cap : sizeof(short_line);
    dirty_ranges(bus->machine->desc, arena, all ? ranges : few, most);
    dirty_note(&note, n - most);
    if (binary) {
        ring_dirty(t, last_number(), dirty_mode_name(), pages, arena->pages, all ? ranges : few, most,
                   note.len ? note_text : NULL);
    } else {
        trace_print_dirty(&f, dirty_mode_name(), pages, arena->pages, all ? ranges : few, most,
                          note.len ? note_text : NULL, json);
        put_summary(t, &f);
    }
    if (ranges)
        sys_munmap(ranges, (n + 1) * sizeof(*ranges));
    if (line)
        sys_munmap(line, 4096 + n * 48);
}

static void write_exit(struct thread *t, const struct arena_counters *c)
{
    char text[256];
    struct fmt f = FMT_INIT(text);
    struct trace_totals totals = {c->accesses, c->reads, c->writes, c->lint, c->lost};

    if (binary) {
        ring_exit(t, last_number(), &totals);
        return;
    }
    trace_print_exit(&f, &totals, json);
    put_summary(t, &f);
}

void log_finish(struct thread *t, bool last, bool last_to_touch)
{
    struct arena *arena = bus->machine->arena;
    struct arena_counters totals;

    if (!sink_wanted() || !(sink_per_process() ? touched : last))
        return;
    take_log(t);
    if (!binary)
        header(wall_clock());
    if (last_to_touch && dirty_mode() != DIRTY_OFF)
        write_dirty(t);
    totals = machine_totals(arena);
    write_exit(t, sink_per_process() ? &mine : &totals);
    if (binary)
        ring_close(t, true);
    release_log(t);
}

void log_after_fork(void)
{
    pid_ordinal = 0;
    touched = false;
    sink_after_fork();
    if (binary)
        ring_after_fork(sink_per_process());
    mine = (struct arena_counters){0};
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
    format = (enum format)option_choice(options, OPT_LOG_FORMAT);
    json = format == FORMAT_JSON;
    binary = format == FORMAT_RING;
    show = option_flags(options, OPT_LOG_SHOW);
    max_frames = (unsigned)option_number(options, OPT_BACKTRACE);
    lint_on = option_choice(options, OPT_LINT) != 1;
    trace_filter_parse(&filter, options->value[OPT_LOG_FILTER], &why);
    if (binary && strcmp(path, "-") == 0)
        return refuse_ring(path, "a binary transcript needs a file", error);
    take_log(t);
    got = sink_open(b->machine->arena, path, b->machine->joined, binary);
    release_log(t);
    if (got >= 0 && binary && ring_start(b, *options->value[OPT_LOG_FILTER] && strcmp(options->value[OPT_LOG_FILTER], "all")) < 0)
        return refuse_ring(path, "a binary transcript needs a regular file", error);
    if (got >= 0)
        return 0;
    if (b->machine->joined) { /* a descendant goes on, though it may have lost its rights, or its root */
        sink_give_up();
        return 0;
    }
    fmt_printf(error, "MMIOSHIM_LOG=%s: cannot be written: %s; allowed: a path (%%p = pid), -, none", path, errname(got));
    return -1;
}
