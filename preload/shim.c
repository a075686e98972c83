/*
 * The order of bring-up and tear-down. The constructor runs before those of
 * the program and of its libraries, and before libc's own (-z initfirst):
 * getenv and environ are still NULL then.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/debug.h"
#include "base/errname.h"
#include "base/mem.h"
#include "base/sys.h"
#include "bus/bus.h"
#include "bus/ports.h"
#include "config/options.h"
#include "cpu/cpu.h"
#include "interpose/huge.h"
#include "interpose/interpose.h"
#include "libc_init.h"
#include "memory/dirty.h"
#include "memory/dma.h"
#include "memory/huge.h"
#include "memory/load.h"
#include "memory/ram.h"
#include "patch/patch.h"
#include "pci/pci.h"
#include "trap/backtrace.h"
#include "trap/irq.h"
#include "trap/log.h"
#include "trap/serve.h"
#include "trap/signals.h"
#include "trap/sink.h"
#include "trap/thread.h"
#include "trap/trap.h"
#include "trap/worker.h"
#include "tree/overlay.h"
#include "tree/own.h"
#include "tree/tree.h"

#define OWN_ERROR 125

static struct options options;
static struct machine_desc desc;
static struct machine machine;
static struct view view, ports;
static struct bus bus;
static char *dirty_path;
static bool finished;

static void say(const char *text)
{
    char line[2048];
    struct fmt f = FMT_INIT(line);

    fmt_str(&f, "mmioshim: ");
    fmt_str(&f, text);
    fmt_char(&f, '\n');
    sys_write(2, line, f.len);
}

static __attribute__((noreturn)) void refuse(struct fmt *error)
{
    say(fmt_end(error));
    sys_exit_group(OWN_ERROR);
}

/* --- the end of the process --- */

/* Changes whenever somebody did something to the machine. */
static u64 activity(void)
{
    struct arena_counters c = machine_totals(machine.arena);

    return c.accesses + dirty_count(machine.arena) + c.lint + machine.arena->next_stack;
}

static void save_bitmap(void)
{
    char text[512];
    struct fmt f = FMT_INIT(text);
    long ret;

    if (!dirty_path || dirty_mode() == DIRTY_OFF)
        return;
    ret = dirty_save(&machine, dirty_path);
    if (ret == 0)
        return;
    fmt_printf(&f, "MMIOSHIM_DIRTY=%s: cannot be written: %s", dirty_path, errname(ret));
    say(fmt_end(&f));
}

static void last_one(struct thread *t, bool touched)
{
    u64 now = activity();

    save_bitmap();
    touched = touched || now != machine.arena->finished;
    log_finish(t, touched, touched);
    if (touched)
        machine.arena->killed = 0;
    machine.arena->finished = activity();
    if (!touched)
        debug(PROC, 1, "nothing touched the machine");
}

/* This process leaves the machine: its pages are collected, and the last one (true) writes [DIRTY] and [EXIT]. */
static bool leave(void)
{
    struct thread *t = thread_self();
    struct member_rest rest;
    u64 before;

    if (!t || __atomic_exchange_n(&finished, true, __ATOMIC_ACQ_REL))
        return false;
    irq_signals_leave();
    before = dirty_count(machine.arena);
    dirty_collect();
    if (dirty_count(machine.arena) != before)
        log_touch(t);
    lane_drop(&t->self);
    rest = member_leave(machine.arena, &t->self);
    if (rest.none)
        worker_end(&bus);
    if (rest.none)
        last_one(t, log_touched());
    else
        log_finish(t, false, rest.untouched);
    return rest.none;
}

static void dying(void)
{
    sink_hurry();
    leave();
}

static void finish(bool flush)
{
    u64 mask;

    signals_mask(&mask);
    if (leave())
        bus_stop(&bus); /* not before an exec, which may fail: descriptors close by themselves there */
    signals_restore(&mask);
    if (option_choice(&options, OPT_LINT) == 2 && log_lint_count()) {
        /* Buffered output of the program is its own; glibc flushes it after us when it ends by exit(). */
        if (flush)
            fflush(NULL);
        sys_exit_group(1);
    }
}

static void before_exec(bool leaves)
{
    dirty_collect();
    irq_signals_leave();
    log_flush(thread_self());
    if (leaves)
        leave();
}

static u32 own_flags(void)
{
    return (dirty_mode() == DIRTY_UFFD ? MEMBER_SCANNED : 0) | (ports_any() ? MEMBER_PORTS : 0);
}

static void exec_failed(bool left)
{
    if (left) {
        member_join(machine.arena, &thread_self()->self, own_flags());
        finished = false;
    }
    irq_signals_stay();
}

static void child(void)
{
    char text[256];
    struct fmt error = FMT_INIT(text);

    finished = false;
    cpu_after_fork();
    patch_after_fork();
    irq_signals_after_fork();
    alias_after_fork();
    huge_after_fork();
    dirty_start(&machine, &view, dirty_mode() == DIRTY_UFFD ? DIRTY_AUTO : dirty_mode(), &error);
    member_join(machine.arena, &thread_self()->self, own_flags());
    log_after_fork(false);
    debug(PROC, 2, "child of fork, dirty pages: %s", dirty_mode_name());
}

static const struct lock_self *own_self(void)
{
    return &thread_self()->self;
}

/* --- bring-up --- */

static bool wants_virtual_time(void)
{
    return option_choice(&options, OPT_CLOCK) == 1;
}

static int create(void *context, struct machine *m, struct fmt *error)
{
    struct arena_plan plan;

    bus_plan(&bus, &plan, context, options.value[OPT_ATTACH], wants_virtual_time());
    if (plan.create(plan.context, m, error) < 0 || pci_create(m, error) < 0)
        return -1;
    return ram_load(m, options.value[OPT_LOAD], error);
}

/* Functions that are attached to the PCI bus. */
static int complete(void *context, struct machine_desc *d, struct fmt *error)
{
    (void)context;
    return pci_attach(d, options.value[OPT_ATTACH], error);
}

static int attach(struct fmt *error)
{
    struct arena_plan plan;

    bus_plan(&bus, &plan, &desc, options.value[OPT_ATTACH], wants_virtual_time());
    plan.create = create;
    plan.complete = complete;
    return machine_attach(&machine, &desc, options.value[OPT_MACHINE], options.value[OPT_MAP], options.given[OPT_MAP],
                          &plan, error);
}

static int build_view(struct fmt *error)
{
    void *storage = sys_pages(view_bytes(&desc)), *more = sys_pages(view_ports_bytes(&desc));

    if (!storage || !more) {
        fmt_str(error, "machine: no memory for its map");
        return -1;
    }
    view_build(&view, &desc, storage, &machine.arena->map_version);
    view_build_ports(&ports, &desc, more, &machine.arena->map_version);
    return 0;
}

/* Whatever this process held before exec, it holds no more. */
static void forget_locks(void)
{
    const struct lock_self *self = &thread_self()->self;

    lanes_forget(self);
    lock_forget(&machine.arena->members_lock, self);
    lock_forget(&machine.arena->log_lock, self);
    lock_forget(&machine.arena->irqs.lock, self);
    lock_forget(&huge_of(machine.arena)->lock, self);
    lock_forget(&machine.arena->events_lock, self);
    for (u32 i = 0; i < machine.arena->ndevices; i++)
        lock_forget(&arena_devices(machine.arena)[i].lock, self);
}

/* What can fail, in order. */
static int bring_up(struct fmt *error)
{
    static const enum dirty_mode modes[] = {DIRTY_AUTO, DIRTY_UFFD, DIRTY_MPROTECT, DIRTY_OFF};
    static const enum unassigned answers[] = {UNASSIGNED_ONES, UNASSIGNED_ZERO, UNASSIGNED_FAULT};

    if (cpu_init(error) < 0 || backtrace_init(error) < 0)
        return -1;
    dma_start(&machine, &view);
    huge_start(&machine);
    trap_start(&bus, &view, &ports);
    member_join(machine.arena, &thread_self()->self, 0);
    ports_start(machine.arena);
    if (bus_start(&bus, &machine, answers[option_choice(&options, OPT_UNASSIGNED)], options.value[OPT_ATTACH], error) < 0)
        return -1;
    if (pci_start(&bus, &view, &ports, options.value[OPT_ATTACH], error) < 0)
        return -1;
    if (log_start(&bus, &options, error) < 0)
        return -1;
    trap_serve_start();
    return dirty_start(&machine, &view, modes[option_choice(&options, OPT_DIRTY_MODE)], error);
}

/* Announces host ends that the user must find, such as the name of a pty. */
static void announce(void)
{
    for (u32 i = 0; i < bus.ndevices && !machine.joined; i++)
        for (u32 end = 0; end < bus.devices[i].nends; end++) {
            const struct backend *b = bus_end_at(&bus.devices[i], end);
            char text[256];
            struct fmt f = FMT_INIT(text);

            if (!b->name[0])
                continue;
            fmt_printf(&f, "%s: %s", bus.devices[i].dev.name, b->name);
            say(fmt_end(&f));
        }
}

/* --- the environment of children --- */

static char *keep(const char *name, const struct fmt *value)
{
    size_t n = strlen(name);
    char *text = sys_pages(n + value->len + 2);

    if (text) {
        memcpy(text, name, n);
        text[n] = '=';
        memcpy(text + n + 1, value->buf, value->len);
    }
    return text;
}

/* LD_PRELOAD: entries with a slash become absolute (ld.so(8): separated by spaces or colons). */
static void absolute_preload(char **slot, const char *cwd)
{
    static char buf[8192];
    struct fmt f = FMT_INIT(buf);
    const char *p = *slot + strlen("LD_PRELOAD=");
    bool changed = false;
    char *text;

    while (*p) {
        const char *end = p;
        bool slash = false;

        while (*end && *end != ':' && *end != ' ')
            slash |= *end++ == '/';
        if (slash && *p != '/') {
            fmt_printf(&f, "%s/", cwd);
            changed = true;
        }
        fmt_mem(&f, p, (size_t)(end - p));
        if (*end)
            fmt_char(&f, *end++);
        p = end;
    }
    if (changed && !f.full && (text = keep("LD_PRELOAD", &f)))
        *slot = text;
}

/* Children may be elsewhere: every relative path in the environment becomes absolute. */
static void make_absolute(char **envp)
{
    static char buf[16384];
    char cwd[4096];
    long n = sys(SYS_getcwd, cwd, sizeof(cwd));

    if (n <= 0 || cwd[0] != '/')
        return;
    for (char **e = envp; *e; e++) {
        if (strncmp(*e, "LD_PRELOAD=", 11) == 0)
            absolute_preload(e, cwd);
        for (unsigned i = 0; i < OPT_COUNT; i++) {
            const char *name = option_rows[i].variable;
            size_t len = strlen(name);
            struct fmt f = FMT_INIT(buf);
            char *text;

            if (strncmp(*e, name, len) != 0 || (*e)[len] != '=' || !option_absolute(i, *e + len + 1, cwd, &f) || f.full)
                continue;
            if ((text = keep(name, &f)))
                *e = text;
        }
    }
}

/* Where the bitmap goes, absolute; that it can be written there is found out now, not at the end. */
static int remember_dirty_path(struct fmt *error)
{
    static char path[4096];
    struct fmt f = FMT_INIT(path);
    char dir[4096];
    struct fmt d = FMT_INIT(dir);
    const char *value = options.value[OPT_DIRTY], *slash;
    long ret;

    if (!*value)
        return 0;
    fmt_str(&f, value); /* made absolute before */
    fmt_end(&f);
    slash = strrchr(path, '/');
    fmt_mem(&d, path, slash && slash > path ? (size_t)(slash - path) : 1);
    ret = sys(SYS_faccessat, AT_FDCWD, fmt_end(&d), W_OK);
    if (ret < 0 && !machine.joined) {
        fmt_printf(error, "MMIOSHIM_DIRTY=%s: cannot be written: %s; allowed: a path", value, errname(ret));
        return -1;
    }
    dirty_path = path;
    return 0;
}

__attribute__((constructor)) static void start(int argc, char **argv, char **envp)
{
    static const struct process_hooks hooks = {before_exec, exec_failed, finish, child};
    char text[1024];
    struct fmt error = FMT_INIT(text);

    if (getauxval(AT_SECURE) || !envp)
        return;
    if (options_read(&options, envp, &error) < 0)
        refuse(&error);
    debug_parse(options.value[OPT_DEBUG], &error);
    /* Values are made absolute first, so that a machine knows its map by one name wherever its processes are. */
    make_absolute(envp);
    options_read(&options, envp, &error);
    if (!thread_self() || attach(&error) < 0 || build_view(&error) < 0)
        refuse(&error);
    lanes_start(arena_lanes(machine.arena), true);
    forget_locks();
    fmt_printf(&error, "MMIOSHIM_MAP=%s: ", machine.arena->map);
    if (ram_map(&machine, &view, &error) < 0) {
        if (!machine.joined)
            refuse(&error);
        say(fmt_end(&error));
        member_stays_out(machine.arena, &thread_self()->self);
        return;
    }
    error.len = 0;
    libc_init(argc, argv, envp);
    if (bring_up(&error) < 0)
        refuse(&error);
    member_flag(machine.arena, &thread_self()->self, own_flags());
    if (remember_dirty_path(&error) < 0)
        refuse(&error);
    announce();
    irq_signals_start(&bus);
    signals_start(trap_signal, dying);
    process_begin(&hooks);
    fmt_printf(&error, "MMIOSHIM_OVERLAY=%s: ", options.value[OPT_OVERLAY]);
    if (overlay_start(options.value[OPT_OVERLAY], &error) < 0)
        refuse(&error);
    tree_own = process_own_here;
    tree_self = own_self;
    tree_start(&bus, &view, &ports);
    interpose_start(&machine, &view);
    if (option_choice(&options, OPT_PATCH) == 0 && bus.unassigned != UNASSIGNED_FAULT)
        patch_start();
    worker_resume(&bus);
    debug(DIRTY, 1, "dirty pages: %s", dirty_mode_name());
    debug(MEM, 1, "%u banks, %u windows, %u of ports, %u ranges of trapped pages", desc.nbanks, desc.nwindows,
          desc.nports, view.ntrapped);
    debug(PROC, 2, "%s the machine %s", machine.joined ? "joined" : "made", machine.arena->map);
}
