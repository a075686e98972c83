#include "trap/log.h"

#include <time.h>

#include "base/errname.h"
#include "base/mem.h"
#include "base/sys.h"
#include "memory/dirty.h"
#include "trap/backtrace.h"
#include "trap/bump.h"
#include "trap/sink.h"
#include "base/trapsafe.h"

static struct bus *bus;
static bool json, lint_on, header_done, touched;
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

static void lose(struct thread *t)
{
    __atomic_fetch_add(&bus->machine->arena->counters.lost, 1, __ATOMIC_RELAXED);
    t->counts.lost++;
}

/* A holder that was killed between taking a number and writing the line took that event with it. */
static void take_log(struct thread *t)
{
    struct arena *arena = bus->machine->arena;

    lock_take(&arena->log_lock, &t->self);
    if (unlikely(arena->log_writing)) {
        lose(t);
        arena->log_writing = 0;
    }
}

static void release_log(struct thread *t)
{
    lock_release(&bus->machine->arena->log_lock, &t->self);
}

/* --- numbers --- */

static u64 quiet_accesses(const struct arena_device *d)
{
    return __atomic_load_n(&d->quiet[0], __ATOMIC_RELAXED) + __atomic_load_n(&d->quiet[1], __ATOMIC_RELAXED);
}

/* Has next_seq been told of all quiet accesses? It is told before that is noted, so that none is overlooked. */
static bool all_numbered(struct arena *arena)
{
    bool all = __atomic_load_n(&arena->quiet_holes, __ATOMIC_RELAXED) == __atomic_load_n(&arena->numbered_holes, __ATOMIC_ACQUIRE);

    for (u32 i = 0; i < arena->ndevices && all; i++) {
        const struct arena_device *d = &arena_devices(arena)[i];

        all = quiet_accesses(d) == __atomic_load_n(&d->numbered, __ATOMIC_ACQUIRE);
    }
    return all;
}

static void number_one(struct arena *arena, u64 *numbered, u64 quiet)
{
    if (quiet == *numbered)
        return;
    __atomic_fetch_add(&arena->next_seq, quiet - *numbered, __ATOMIC_RELAXED);
    __atomic_store_n(numbered, quiet, __ATOMIC_RELEASE);
}

/* The log's lock is held. */
static void number_quiet(struct arena *arena)
{
    number_one(arena, &arena->numbered_holes, __atomic_load_n(&arena->quiet_holes, __ATOMIC_RELAXED));
    for (u32 i = 0; i < arena->ndevices; i++)
        number_one(arena, &arena_devices(arena)[i].numbered, quiet_accesses(&arena_devices(arena)[i]));
}

u64 log_number(struct thread *t, bool locked)
{
    struct arena *arena = bus->machine->arena;

    if (unlikely(arena->quiet_begun) && (locked || !all_numbered(arena))) {
        if (!locked)
            take_log(t);
        number_quiet(arena);
        if (!locked)
            release_log(t);
    }
    return __atomic_add_fetch(&arena->next_seq, 1, __ATOMIC_RELAXED);
}

/* --- the [MEM] block --- */

static void print_map(struct fmt *out)
{
    const struct machine_desc *desc = bus->machine->desc;

    for (u32 i = 0; i < desc->nbanks; i++) {
        struct trace_bank bank = {desc->banks[i].name, desc->banks[i].range};

        trace_print_bank(out, &bank, json);
    }
    for (u32 i = 0; i < bus->ndevices; i++)
        trace_print_window(out, &bus->names[i], json);
}

static void header(void)
{
    static char text[1 << 20];
    struct fmt f = FMT_INIT(text);
    bool first;

    if (header_done || !sink_first(&first))
        return;
    header_done = true;
    if (!first)
        return;
    print_map(&f);
    sink_put(text, f.len, thread_self()->blocked);
}

/* --- records --- */

static void fill_who(struct thread *t, struct trace_record *rec)
{
    struct arena *arena = bus->machine->arena;
    struct timespec now = {0, 0};

    if (!pid_ordinal)
        pid_ordinal = (u16)__atomic_add_fetch(&arena->pid_ordinals, 1, __ATOMIC_RELAXED);
    if (!t->tid_ordinal)
        t->tid_ordinal = (u16)__atomic_add_fetch(&arena->tid_ordinals, 1, __ATOMIC_RELAXED);
    rec->pid = t->self.pid;
    rec->tid = t->self.tid;
    rec->pid_ordinal = pid_ordinal;
    rec->tid_ordinal = t->tid_ordinal;
    clock_gettime(CLOCK_REALTIME, &now);
    rec->time = (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
}

static void print(struct fmt *f, const struct trace_record *rec)
{
    struct trace_names n = names();

    if (json)
        trace_print_json(f, rec, &n, show);
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
static void print_lint(struct fmt *f, const struct trace_record *access, const struct bus_note *note)
{
    struct trace_record rec = *access;
    size_t n = strlen(note->rule) + 1;

    rec.type = TRACE_LINT;
    rec.stack = 0;
    memcpy(rec.text, note->rule, n);
    copy_text(&rec, note->rule, n - 1);
    memcpy(rec.text + n, note->text, strlen(note->text) + 1);
    print(f, &rec);
}

/* Ids are given and shown in the order of the log: under its lock. */
static void write_access(struct thread *t, struct trace_record *rec, const struct bus_note *note, struct backtrace *stack)
{
    struct fmt f = FMT_INIT(t->text);
    struct trace_names n = names();
    bool fresh = false;

    header();
    if (stack)
        rec->stack = backtrace_number(stack, &bus->machine->arena->next_stack, &fresh);
    if (fresh && json)
        trace_print_json_stack(&f, rec->stack, &n);
    print(&f, rec);
    if (note->rule && lint_on)
        print_lint(&f, rec, note);
    if (!sink_put(t->text, f.len, t->blocked))
        lose(t);
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

void log_access(struct thread *t, struct trace_record *rec, const struct cpu_state *state, const struct cpu_insn *insn,
                const struct bus_note *note)
{
    struct arena *arena = bus->machine->arena;
    struct trace_names n;
    struct backtrace stack;
    bool wanted;

    log_touch(t);
    if (note->rule && lint_on)
        count_lint(t);
    count(t, rec->device, rec->op == TRACE_WRITE);
    n = names();
    fill_who(t, rec);
    rec->pc = state->rip;
    rec->insn_len = insn->length;
    memcpy(rec->insn, insn->bytes, insn->length);
    wanted = trace_filter_match(&filter, rec, &n);
    if (wanted && max_frames) {
        if (unlikely(!t->recall))
            t->recall = recall_make();
        backtrace_take(t->recall, state, max_frames, &stack);
    }
    take_log(t);
    arena->log_writing = wanted;
    rec->seq = log_number(t, true);
    if (wanted)
        write_access(t, rec, note, max_frames ? &stack : NULL);
    arena->log_writing = 0;
    release_log(t);
}

void log_event(struct thread *t, struct trace_record *rec, const char *text)
{
    struct fmt f = FMT_INIT(t->text);

    log_touch(t);
    if (rec->type == TRACE_LINT && lint_on)
        count_lint(t);
    if (!sink_wanted() || (rec->type == TRACE_LINT && !lint_on))
        return;
    fill_who(t, rec);
    if (text)
        copy_text(rec, text, strlen(text));
    take_log(t);
    header();
    print(&f, rec);
    if (!sink_put(t->text, f.len, t->blocked))
        lose(t);
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

static void write_dirty(void)
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
    trace_print_dirty(&f, dirty_mode_name(), pages, arena->pages, all ? ranges : few, most, note.len ? note_text : NULL, json);
    sink_put(f.buf, f.len, thread_self()->blocked);
    if (ranges)
        sys_munmap(ranges, (n + 1) * sizeof(*ranges));
    if (line)
        sys_munmap(line, 4096 + n * 48);
}

static void write_exit(const struct arena_counters *c)
{
    char text[256];
    struct fmt f = FMT_INIT(text);
    struct trace_totals totals = {c->accesses, c->reads, c->writes, c->lint, c->lost};

    trace_print_exit(&f, &totals, json);
    sink_put(text, f.len, thread_self()->blocked);
}

void log_finish(struct thread *t, bool last, bool last_to_touch)
{
    struct arena *arena = bus->machine->arena;
    struct arena_counters totals, own = mine();

    if (!sink_wanted() || !(sink_per_process() ? touched : last))
        return;
    take_log(t);
    header();
    if (last_to_touch && dirty_mode() != DIRTY_OFF)
        write_dirty();
    totals = machine_totals(arena);
    write_exit(sink_per_process() ? &own : &totals);
    release_log(t);
}

void log_after_fork(void)
{
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

int log_start(struct bus *b, const struct options *options, struct fmt *error)
{
    const char *path = options->value[OPT_LOG];
    struct thread *t = thread_self();
    const char *why;
    long got;

    bus = b;
    json = option_choice(options, OPT_LOG_FORMAT) == 1;
    show = option_flags(options, OPT_LOG_SHOW);
    max_frames = (unsigned)option_number(options, OPT_BACKTRACE);
    lint_on = option_choice(options, OPT_LINT) != 1;
    trace_filter_parse(&filter, options->value[OPT_LOG_FILTER], &why);
    take_log(t);
    got = sink_open(b->machine->arena, path, b->machine->joined);
    release_log(t);
    if (got >= 0)
        return 0;
    if (b->machine->joined) { /* a descendant goes on, though it may have lost its rights, or its root */
        sink_give_up();
        return 0;
    }
    fmt_printf(error, "MMIOSHIM_LOG=%s: cannot be written: %s; allowed: a path (%%p = pid), -, none", path, errname(got));
    return -1;
}
