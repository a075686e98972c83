#include "trap/log_end.h"

#include <time.h>

#include "base/mem.h"
#include "base/sys.h"
#include "memory/dirty.h"
#include "trap/ring.h"
#include "trap/sink.h"
#include "base/trapsafe.h"

static void dirty_note(struct fmt *f, u64 killed, u64 missing)
{
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
static void put(struct thread *t, enum log_format format, const struct fmt *text)
{
    struct fmt mark = FMT_INIT(t->text);
    struct timespec now = {0, 0};

    if (format == LOG_MMIOTRACE) {
        clock_gettime(CLOCK_REALTIME, &now);
        trace_print_mmiotrace_mark(&mark, (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec, text->buf, text->len);
        text = &mark;
    }
    sink_put(text->buf, text->len, t->blocked);
}

static u64 last_number(const struct machine *machine)
{
    return __atomic_load_n(&machine->arena->next_seq, __ATOMIC_RELAXED);
}

void log_end_dirty(struct thread *t, struct machine *machine, enum log_format format)
{
    struct arena *arena = machine->arena;
    u64 pages = dirty_count(arena);
    u64 n = dirty_ranges(machine->desc, arena, NULL, 0);
    struct range *ranges = sys_pages((n + 1) * sizeof(*ranges));
    struct fmt f = {.cap = 4096 + n * 48};
    char note_text[160], *line = sys_pages(f.cap);
    struct fmt note = FMT_INIT(note_text);
    bool all = ranges && line;
    u64 most = all ? n : MIN(n, (u64)ARRAY_SIZE(few));

    f.buf = all ? line : short_line;
    f.cap = all ? f.cap : sizeof(short_line);
    dirty_ranges(machine->desc, arena, all ? ranges : few, most);
    dirty_note(&note, arena->killed, n - most);
    if (format == LOG_RING) {
        ring_dirty(t, last_number(machine), dirty_mode_name(), pages, arena->pages, all ? ranges : few, most,
                   note.len ? note_text : NULL);
    } else {
        trace_print_dirty(&f, dirty_mode_name(), pages, arena->pages, all ? ranges : few, most,
                          note.len ? note_text : NULL, format == LOG_JSON);
        put(t, format, &f);
    }
    if (ranges)
        sys_munmap(ranges, (n + 1) * sizeof(*ranges));
    if (line)
        sys_munmap(line, 4096 + n * 48);
}

void log_end_exit(struct thread *t, struct machine *machine, enum log_format format, const struct arena_counters *c)
{
    char text[256];
    struct fmt f = FMT_INIT(text);
    struct trace_totals totals = {c->accesses, c->reads, c->writes, c->lint, c->lost};

    if (format == LOG_RING) {
        ring_exit(t, last_number(machine), &totals);
        return;
    }
    trace_print_exit(&f, &totals, format == LOG_JSON);
    put(t, format, &f);
}

