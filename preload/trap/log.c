#include "trap/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include "base/errname.h"
#include "base/fds.h"
#include "base/mem.h"
#include "base/sys.h"
#include "memory/dirty.h"
#include "trap/backtrace.h"
#include "base/trapsafe.h"

enum log_kind { LOG_NONE, LOG_STDERR, LOG_FILE };

static struct bus *bus;
static enum log_kind kind;
static bool json, per_process, lint_on, torn, dead, header_done, touched;
static unsigned show, max_frames;
static struct trace_filter filter;
static u64 stderr_dev, stderr_ino;
static char path_name[256]; /* with %p: the name within its directory */
static struct arena_counters mine;
static u16 pid_ordinal; /* of this process, 0: not yet given */

bool log_wanted(void)
{
    return kind != LOG_NONE;
}

bool log_touched(void)
{
    return touched;
}

u64 log_lint_count(void)
{
    return mine.lint;
}

/* --- where lines go --- */

static bool same_stderr(void)
{
    struct stat st = {0};

    return sys_fstat(2, &st) == 0 && st.st_dev == stderr_dev && st.st_ino == stderr_ino;
}

/* Opens the %p log of this process: late, because a process that never touches the machine writes nothing. */
static int open_own(void)
{
    char name[300];
    struct fmt f = FMT_INIT(name);
    long fd;

    for (const char *p = path_name; *p; p++) {
        if (p[0] == '%' && p[1] == 'p') {
            fmt_dec(&f, (u64)sys_getpid());
            p++;
        } else {
            fmt_char(&f, *p);
        }
    }
    fd = sys(SYS_openat, fds_get(FD_LOG_DIR), fmt_end(&f), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
    return fd < 0 ? (int)fd : fds_adopt(FD_LOG, (int)fd);
}

static int log_fd(void)
{
    if (dead)
        return -1;
    if (kind == LOG_STDERR) {
        dead = !same_stderr();
        return dead ? -1 : 2;
    }
    if (per_process && fds_get(FD_LOG) < 0)
        open_own();
    return fds_get(FD_LOG);
}

/*
 * A write to a pipe without a reader raises SIGPIPE, one beyond RLIMIT_FSIZE
 * SIGXFSZ. Neither must reach the program: they are masked now, so they wait,
 * and are taken away. The log is not written again, so that this happens once.
 */
static void log_is_over(int sig)
{
    u64 set = (u64)1 << (sig - 1);
    struct timespec none = {0, 0};

    sys(SYS_rt_sigtimedwait, &set, NULL, &none, sizeof(set));
    dead = true;
}

/* Writes whole lines. False: they are lost, all or their end. */
static bool put(const char *text, size_t len)
{
    int fd = log_fd();
    size_t done = 0;

    if (fd < 0)
        return false;
    if (torn && sys_write(fd, "\n", 1) == 1)
        torn = false;
    while (done < len) {
        long n = sys_write(fd, text + done, len - done);

        if (n == -EINTR)
            continue;
        if (n == -EAGAIN) {
            /* The program made the description non-blocking: wait for it, as a blocking write would. */
            struct {
                int fd;
                short events, revents;
            } p = {fd, 4 /* POLLOUT */, 0};

            sys(SYS_poll, &p, 1, -1);
            continue;
        }
        if (n == -EPIPE || n == -EFBIG) {
            log_is_over(n == -EPIPE ? SIGPIPE : SIGXFSZ);
            break;
        }
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    torn = torn || (done > 0 && done < len);
    return done == len;
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
    cpu_disassemble(r->insn, r->insn_len, r->pc, out);
}

static struct trace_names names(void)
{
    return (struct trace_names){bus->names, bus->ndevices, NULL, name_pc, name_frame, name_insn};
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

/* Is this the first time that the machine writes to this file? Log lock held. */
static bool first_for_file(int fd)
{
    struct arena *arena = bus->machine->arena;
    struct stat st = {0};
    u64 session = kind == LOG_STDERR ? arena->session : 0;
    struct arena_log *slot = NULL;

    if (sys_fstat(fd, &st) < 0)
        return false;
    for (u32 i = 0; i < ARENA_LOGS; i++) {
        struct arena_log *l = &arena->logs[i];

        if (!l->ino && !l->dev && !slot)
            slot = l;
        if (l->dev == st.st_dev && l->ino == st.st_ino) {
            /* Same identity but emptied, or a new life of the machine on a terminal: begin again. */
            if (l->session == session && !(S_ISREG(st.st_mode) && kind == LOG_FILE && st.st_size == 0))
                return false;
            slot = l;
            break;
        }
    }
    if (slot)
        *slot = (struct arena_log){st.st_dev, st.st_ino, session};
    return true;
}

static void header(void)
{
    static char text[1 << 20];
    struct fmt f = FMT_INIT(text);
    int fd;

    if (header_done)
        return;
    fd = log_fd();
    if (fd < 0)
        return;
    header_done = true;
    if (!first_for_file(fd))
        return;
    print_map(&f);
    put(text, f.len);
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

static void lose(u64 n)
{
    __atomic_fetch_add(&bus->machine->arena->counters.lost, n, __ATOMIC_RELAXED);
    mine.lost += n;
}

static void touch(struct thread *t)
{
    if (likely(touched))
        return;
    touched = true;
    member_flag(bus->machine->arena, &t->self, MEMBER_TOUCHED);
}

static void count(const struct trace_record *rec)
{
    struct arena_counters *c = &bus->machine->arena->counters;

    __atomic_fetch_add(&c->accesses, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(rec->op == TRACE_WRITE ? &c->writes : &c->reads, 1, __ATOMIC_RELAXED);
    mine.accesses++;
    if (rec->op == TRACE_WRITE)
        mine.writes++;
    else
        mine.reads++;
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

    header();
    if (stack->count)
        rec->stack = backtrace_id(stack->frames, stack->count, &bus->machine->arena->next_stack, &fresh);
    if (fresh && json)
        trace_print_json_stack(&f, rec->stack, &n);
    print(&f, rec);
    if (note->rule && lint_on)
        print_lint(&f, rec, note);
    if (!put(t->text, f.len))
        lose(1);
}

static void count_lint(void)
{
    __atomic_fetch_add(&bus->machine->arena->counters.lint, 1, __ATOMIC_RELAXED);
    mine.lint++;
}

void log_access(struct thread *t, struct trace_record *rec, const struct cpu_state *state, const struct cpu_insn *insn,
                const struct bus_note *note)
{
    struct arena *arena = bus->machine->arena;
    struct trace_names n = names();
    struct stack stack;
    bool wanted;

    stack.count = 0;
    touch(t);
    rec->type = TRACE_MMIO;
    if (note->rule && lint_on)
        count_lint();
    if (kind == LOG_NONE) {
        __atomic_add_fetch(&arena->next_seq, 1, __ATOMIC_RELAXED);
        count(rec);
        return;
    }
    fill_who(t, rec);
    rec->pc = state->rip;
    rec->insn_len = insn->length;
    memcpy(rec->insn, insn->bytes, insn->length);
    wanted = trace_filter_match(&filter, rec, &n);
    if (wanted && max_frames)
        stack.count = backtrace_capture(state, stack.frames, max_frames);
    lock_take(&arena->log_lock, &t->self);
    rec->seq = ++arena->next_seq;
    count(rec);
    if (wanted)
        write_access(t, rec, note, &stack);
    lock_release(&arena->log_lock, &t->self);
}

void log_event(struct thread *t, struct trace_record *rec, const char *text)
{
    struct arena *arena = bus->machine->arena;
    struct fmt f = FMT_INIT(t->text);

    touch(t);
    if (rec->type == TRACE_LINT && lint_on)
        count_lint();
    if (kind == LOG_NONE || (rec->type == TRACE_LINT && !lint_on))
        return;
    fill_who(t, rec);
    if (text)
        copy_text(rec, text, strlen(text));
    lock_take(&arena->log_lock, &t->self);
    header();
    print(&f, rec);
    if (!put(t->text, f.len))
        lose(1);
    lock_release(&arena->log_lock, &t->self);
}

/* --- the end --- */

static void dirty_note(struct fmt *f)
{
    u64 killed = bus->machine->arena->killed;

    if (killed)
        fmt_printf(f, "pages that only %lu killed process%s wrote are missing", killed, killed == 1 ? "" : "es");
    fmt_end(f);
}

static void write_dirty(void)
{
    struct arena *arena = bus->machine->arena;
    u64 pages = dirty_count(arena);
    u64 n = dirty_ranges(bus->machine->desc, arena, NULL, 0);
    struct range *ranges = sys_pages((n + 1) * sizeof(*ranges));
    struct fmt f = {.cap = 4096 + n * 48};
    char note_text[96];
    struct fmt note = FMT_INIT(note_text);

    f.buf = sys_pages(f.cap);
    if (!ranges || !f.buf)
        return;
    dirty_ranges(bus->machine->desc, arena, ranges, n);
    dirty_note(&note);
    trace_print_dirty(&f, dirty_mode_name(), pages, arena->pages, ranges, n, note.len ? note_text : NULL, json);
    put(f.buf, f.len);
    sys_munmap(ranges, (n + 1) * sizeof(*ranges));
    sys_munmap(f.buf, f.cap);
}

static void write_exit(const struct arena_counters *c)
{
    char text[256];
    struct fmt f = FMT_INIT(text);
    struct trace_totals totals = {c->accesses, c->reads, c->writes, c->lint, c->lost};

    trace_print_exit(&f, &totals, json);
    put(text, f.len);
}

void log_finish(struct thread *t, bool last)
{
    struct arena *arena = bus->machine->arena;

    if (kind == LOG_NONE || !(last || (per_process && touched)))
        return;
    lock_take(&arena->log_lock, &t->self);
    header();
    if (last && dirty_mode() != DIRTY_OFF)
        write_dirty();
    write_exit(per_process ? &mine : &arena->counters);
    lock_release(&arena->log_lock, &t->self);
}

void log_after_fork(void)
{
    pid_ordinal = 0;
    touched = false;
    torn = false;
    if (!per_process)
        return;
    mine = (struct arena_counters){0};
    header_done = false;
    fds_close(FD_LOG);
    backtrace_renumber();
}

/* --- bring-up --- */

static bool has_pid(const char *path)
{
    const char *percent = path;

    while ((percent = strchr(percent, '%'))) {
        if (percent[1] == 'p')
            return true;
        percent++;
    }
    return false;
}

/* Splits at the last slash, and keeps the directory open: the program may change its own, or its root. */
static long open_directory(const char *path)
{
    char dir[256];
    struct fmt f = FMT_INIT(dir);
    struct fmt name = FMT_INIT(path_name);
    const char *slash = strrchr(path, '/');
    long fd;

    fmt_mem(&f, slash ? path : ".", slash ? MAX((size_t)(slash - path), (size_t)1) : 1);
    fmt_str(&name, slash ? slash + 1 : path);
    fmt_end(&name);
    fd = sys_open(fmt_end(&f), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    return fd < 0 ? fd : fds_adopt(FD_LOG_DIR, (int)fd);
}

static long open_file(const char *path)
{
    struct stat st = {0};
    long fd = sys_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);

    if (fd < 0)
        return fd;
    fd = fds_adopt(FD_LOG, (int)fd);
    if (fd >= 0 && sys_fstat((int)fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size && first_for_file((int)fd)) {
        /* An old transcript. The identity is noted with the [MEM] block, so take the note back. */
        struct arena *arena = bus->machine->arena;

        sys(SYS_ftruncate, fd, 0);
        for (u32 i = 0; i < ARENA_LOGS; i++)
            if (arena->logs[i].dev == st.st_dev && arena->logs[i].ino == st.st_ino)
                arena->logs[i] = (struct arena_log){0};
    }
    return fd;
}

static long open_log(const char *path)
{
    struct stat st = {0};

    if (strcmp(path, "none") == 0)
        return 0;
    if (strcmp(path, "-") == 0) {
        if (sys_fstat(2, &st) < 0)
            return 0; /* the program was started without standard error */
        stderr_dev = st.st_dev;
        stderr_ino = st.st_ino;
        kind = LOG_STDERR;
        return 0;
    }
    kind = LOG_FILE;
    per_process = has_pid(path);
    return per_process ? open_directory(path) : open_file(path);
}

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
    lock_take(&b->machine->arena->log_lock, &t->self);
    got = open_log(path);
    lock_release(&b->machine->arena->log_lock, &t->self);
    if (got >= 0)
        return 0;
    fmt_printf(error, "MMIOSHIM_LOG=%s: cannot be written: %s; allowed: a path (%%p = pid), -, none", path, errname(got));
    return -1;
}
