#include "trap/worker.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/debug.h"
#include "base/fds.h"
#include "base/mem.h"
#include "base/process.h"
#include "base/sys.h"
#include "bus/outside.h"
#include "bus/transfers.h"
#include "trap/bell.h"
#include "trap/log.h"
#include "trap/sink.h"
#include "trap/trap.h"
#include "base/trapsafe.h"

#define MOST_INPUTS 48  /* host ends that are looked at */
#define FIXED       3 /* descriptors beside these */
#define KEPT        (MOST_INPUTS * 2 + FD_COUNT + 4)
#define PATIENCE    1000 /* ms between two looks at members that cannot be watched */
#define AFTER_DEATH 10   /* ms until one that was killed is replaced */
/* Rings that are polled, ns: without a pause for so long behind the last that moved, then with one, then no more */
#define SPIN        100000
#define PAUSE       50000
#define STILL       50000000
#define PAUSE_SHARE 16       /* who wants it always gets a pause of this part of the time that nothing moved, */
#define PAUSE_MOST  10000000 /* so much at most */
#define BACK_OFF    100  /* ms until a host end that lied about input is looked at again */

static bool here;

bool worker_here(void)
{
    return here;
}

/* --- what it sleeps on --- */

struct watch {
    struct bus *bus;
    struct thread *t;
    int bell;
    int guard;                     /* who makes another one when this one is killed, as a descriptor; -1: nobody */
    int member;                    /* a process of the machine, as a descriptor; -1: none can be watched */
    u32 ninputs;
    u32 input[MOST_INPUTS];        /* devices with a host end, */
    u32 end[MOST_INPUTS];          /* and which of theirs it is */
    u64 quiet_until[MOST_INPUTS];  /* ns: it lied */
    u64 outside;                   /* ns: when host ends that are held only here want to be looked after */
    u32 npolled;
    struct {
        u32 device;
        u64 moved, next; /* ns: when something moved, and when it is looked at next; 0: it is not polled */
    } polled[MOST_INPUTS]; /* devices that can be */
    u32 nlater;
    u32 later[MOST_INPUTS];        /* devices with a disk that answers later */
};

/* A living process of the machine. False: none is left. */
static bool find_member(struct watch *w)
{
    struct arena *arena = w->bus->machine->arena;
    const struct arena_member *m = arena_at(arena, arena->members);
    u32 n = MIN(__atomic_load_n(&arena->members_used, __ATOMIC_ACQUIRE), ARENA_MEMBERS);
    bool alive = false;

    for (u32 i = 0; i < n && w->member < 0; i++) {
        u32 pid = __atomic_load_n(&m[i].pid, __ATOMIC_RELAXED);

        if (!pid)
            continue;
        if (m[i].namespace != process_namespace()) {
            alive = true; /* it cannot be asked after */
            continue;
        }
        if (!process_alive(pid, m[i].start))
            continue;
        alive = true;
        w->member = (int)sys(SYS_pidfd_open, pid, 0);
    }
    return alive || __atomic_load_n(&arena->pending, __ATOMIC_RELAXED);
}

static u32 *wanted_ends(const struct watch *w, u32 i)
{
    return &w->bus->devices[w->input[i]].shared->input_wanted;
}

static bool wanted(const struct watch *w, u32 i)
{
    return __atomic_load_n(wanted_ends(w, i), __ATOMIC_ACQUIRE) >> w->end[i] & 1;
}

static struct backend *end_of(const struct watch *w, u32 i)
{
    return bus_end_at(&w->bus->devices[w->input[i]], w->end[i]);
}

/* What other processes did to it. */
static void follow(const struct watch *w, struct bus_device *d, struct backend *b)
{
    if (!b->ops->follow || __atomic_load_n(b->epoch, __ATOMIC_ACQUIRE) == b->socket.seen)
        return;
    bus_lock(d, &w->t->self);
    b->ops->follow(b);
    bus_unlock(d, &w->t->self);
}

/* The host end of an input that is to be looked at now, else -1. */
static int input_fd(const struct watch *w, u32 i, u64 now)
{
    struct backend *b = end_of(w, i);

    follow(w, &w->bus->devices[w->input[i]], b);
    if (!wanted(w, i) || b->ended || now < w->quiet_until[i])
        return -1;
    return b->in;
}

static u64 monotonic(void)
{
    struct timespec t = {0, 0};

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

static u64 wake_time(const struct watch *w, u64 now)
{
    struct arena *arena = w->bus->machine->arena;
    u64 next = clock_virtual(arena) ? CLOCK_NEVER : clock_next(arena);

    next = MIN(next, w->outside);
    if (w->member < 0)
        next = MIN(next, now + (u64)PATIENCE * 1000000);
    for (u32 i = 0; i < w->npolled; i++)
        if (w->polled[i].next)
            next = MIN(next, w->polled[i].next);
    for (u32 i = 0; i < w->ninputs; i++)
        if (wanted(w, i) && now < w->quiet_until[i])
            next = MIN(next, w->quiet_until[i]);
    return next;
}

static struct bus_device *later(const struct watch *w, u32 i)
{
    return &w->bus->devices[w->later[i]];
}

/* Does a device want to be served that asked for it while it was? */
static bool woken(const struct watch *w)
{
    for (u32 i = 0; i < w->bus->ndevices; i++)
        if (__atomic_load_n(&w->bus->devices[i].shared->wake, __ATOMIC_RELAXED) && outside_mine(&w->bus->devices[i]))
            return true;
    return false;
}

static void succeed(struct watch *w);

static void sleep_on(struct watch *w)
{
    struct pollfd fds[FIXED + 2 * MOST_INPUTS + 2 * OUTSIDE_MOST] = {
        {w->bell, POLLIN, 0}, {w->member, POLLIN, 0}, {w->guard, POLLIN, 0}};
    u64 now = monotonic(), until = wake_time(w, now), left = until > now ? until - now : 0;
    struct timespec timeout = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
    struct pollfd *outside;
    u32 n;

    for (u32 i = 0; i < w->ninputs; i++)
        fds[FIXED + i] = (struct pollfd){input_fd(w, i, now), POLLIN, 0};
    for (u32 i = 0; i < w->nlater; i++)
        fds[FIXED + w->ninputs + i] = (struct pollfd){transfers_descriptor(later(w, i)), POLLIN, 0};
    outside = fds + FIXED + w->ninputs + w->nlater;
    n = FIXED + w->ninputs + w->nlater + outside_descriptors(outside);
    if (woken(w))
        return;
    sys(SYS_ppoll, fds, n, until == CLOCK_NEVER ? NULL : &timeout, NULL, 8);
    bell_drain(w->bell);
    outside_looked(outside);
    if (fds[1].revents) {
        sys_close(w->member);
        w->member = -1;
    }
    if (fds[2].revents) {
        sys_close(w->guard);
        w->guard = -1;
        succeed(w);
    }
    for (u32 i = 0; i < w->ninputs; i++)
        if (fds[i + FIXED].revents)
            w->quiet_until[i] = 1; /* it says that it has something */
}

/* --- what it does --- */

static void serve_inputs(struct watch *w)
{
    u64 now = monotonic();

    for (u32 i = 0; i < w->ninputs; i++) {
        struct bus_device *d = &w->bus->devices[w->input[i]];
        int before;

        if (w->quiet_until[i] != 1)
            continue;
        w->quiet_until[i] = 0;
        bus_lock(d, &w->t->self);
        before = end_of(w, i)->in;
        __atomic_fetch_and(wanted_ends(w, i), ~(1u << w->end[i]), __ATOMIC_RELEASE);
        if (d->dev.class->service)
            d->dev.class->service(&d->dev);
        /* There was nothing for the device, and nobody came or went. */
        if (wanted(w, i) && end_of(w, i)->in == before)
            w->quiet_until[i] = now + (u64)BACK_OFF * 1000000;
        bus_unlock(d, &w->t->self);
    }
}

static void serve_woken(struct watch *w)
{
    for (u32 i = 0; i < w->bus->ndevices; i++)
        if (__atomic_exchange_n(&w->bus->devices[i].shared->wake, 0, __ATOMIC_ACQUIRE))
            bus_serve(w->bus, i, &w->t->self);
}

static void serve_later(struct watch *w)
{
    for (u32 i = 0; i < w->nlater; i++)
        if (transfers_receive(later(w, i)))
            bus_serve(w->bus, w->later[i], &w->t->self);
}

/* The last look; false: there was nothing, and there is no more until it is asked for. The device is locked. */
static bool rests(struct bus_device *d)
{
    if (d->shared->polled == MMIOSHIM_POLL_MOVING && d->dev.class->poll(&d->dev, true))
        return false;
    if (d->shared->polled == MMIOSHIM_POLL_MOVING)
        d->shared->polled = MMIOSHIM_POLL_OFF;
    return true;
}

/* When a device is to be looked at again, in which nothing moved for so long. */
static u64 pause_of(const struct bus_device *d, u64 still)
{
    if (still < SPIN)
        return 0;
    return d->shared->polled == MMIOSHIM_POLL_ALWAYS ? MIN(MAX(still / PAUSE_SHARE, PAUSE), PAUSE_MOST) : PAUSE;
}

static void poll_one(struct watch *w, u32 i, u64 now)
{
    struct bus_device *d = &w->bus->devices[w->polled[i].device];
    bool moved = !w->polled[i].next; /* it has just been asked for */

    bus_lock(d, &w->t->self);
    moved |= d->shared->polled && d->dev.class->poll(&d->dev, false);
    if (!moved && d->shared->polled == MMIOSHIM_POLL_MOVING && now - w->polled[i].moved >= STILL)
        moved = !rests(d);
    bus_unlock(d, &w->t->self);
    if (moved)
        w->polled[i].moved = now;
    w->polled[i].next = d->shared->polled ? now + pause_of(d, now - w->polled[i].moved) : 0;
}

static void serve_polled(struct watch *w)
{
    u64 now = w->npolled ? monotonic() : 0;

    for (u32 i = 0; i < w->npolled; i++)
        if (w->polled[i].next ? now >= w->polled[i].next
                              : __atomic_load_n(&w->bus->devices[w->polled[i].device].shared->polled, __ATOMIC_ACQUIRE))
            poll_one(w, i, now);
}

static void serve(struct watch *w)
{
    struct trap trap = {.thread = w->t};

    if (!clock_virtual(w->bus->machine->arena))
        bus_serve_due(w->bus, &w->t->self);
    serve_inputs(w);
    outside_serve(&w->t->self, monotonic()); /* connections first: without one, frames are lost */
    serve_woken(w);
    serve_later(w);
    serve_polled(w);
    w->outside = outside_serve(&w->t->self, monotonic());
    trap_requests(&trap);
}

/* Who was here before may have been killed in the middle of it. */
static void serve_left(struct watch *w)
{
    for (u32 i = 0; i < w->nlater; i++)
        bus_serve(w->bus, w->later[i], &w->t->self);
}

/*
 * Somebody may have come, and rung in vain, while we were about to go. A guard has the bell too, and sees to that when we are
 * gone.
 */
static void leave_or_stay(struct watch *w)
{
    if (w->guard >= 0) {
        outside_leave();
        sys_exit_group(0);
    }
    sys_close(w->bell);
    if (!find_member(w)) {
        outside_leave();
        sys_exit_group(0);
    }
    w->bell = bell_make(w->bus->machine->arena);
    if (w->bell < 0)
        sys_exit_group(1);
}

/* --- the guard --- */

static void be_worker(struct watch *w)
{
    struct thread *t = w->t;
    u16 pid = t->pid_ordinal, tid = t->tid_ordinal;
    u64 mask = ~((u64)1 << (SIGBUS - 1)); /* a mapped disk may be cut (base/guard.h) */

    sys(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &mask, NULL, 8);
    sys(SYS_prctl, PR_SET_NAME, "mmioshim-worker");
    thread_after_fork();
    fds_own();
    t->self.laneless = true;
    t->pid_ordinal = pid; /* in the log it is who made it */
    t->tid_ordinal = tid;
    t->blocked = ~(u64)0;
}

/*
 * Makes the worker, and another one whenever that was killed: a program that only looks at RAM would never find out. Returns in
 * the worker. Where no process is to be had it works itself.
 */
static void stand_guard(struct watch *w)
{
    struct timespec moment = {0, AFTER_DEATH * 1000000};
    u32 self = (u32)sys_getpid();
    int status;
    long pid;

    sys(SYS_prctl, PR_SET_NAME, "mmioshim-guard");
    for (;;) {
        pid = sys(SYS_clone, 0, 0, 0, 0, 0);
        if (pid <= 0) {
            w->guard = pid == 0 ? (int)sys(SYS_pidfd_open, self, 0) : -1;
            be_worker(w);
            return;
        }
        status = 0;
        while (sys(SYS_wait4, pid, &status, __WALL, NULL) == -EINTR)
            ;
        if (WIFEXITED(status))
            leave_or_stay(w);
        else
            sys(SYS_nanosleep, &moment, NULL);
    }
}

/* The guard was killed: this worker becomes one, and the next takes over from it. */
static void succeed(struct watch *w)
{
    for (u32 i = 0; i < w->nlater; i++)
        transfers_drop(later(w, i));
    outside_leave();
    stand_guard(w);
    outside_hold(w->bus);
    serve_left(w);
}

static void __attribute__((noreturn)) worker_loop(struct watch *w)
{
    outside_hold(w->bus);
    serve_left(w);
    for (;;) {
        serve(w);
        if (w->member < 0 && !find_member(w))
            leave_or_stay(w);
        sleep_on(w);
    }
}

/* --- how it comes to be --- */

/* Host ends of rings that may be polled: the worker does with them what any process does. */
static bool served_here(const struct backend *b)
{
    return b->ops && (b->ops->disk || b->ops->packets);
}

/* Devices whose rings can be polled, and those with disks that answer later. */
static void collect_devices(struct watch *w)
{
    for (u32 i = 0; i < w->bus->ndevices; i++) {
        const struct backend_ops *ops = w->bus->devices[i].backend.ops;

        if (w->bus->devices[i].dev.class->poll && w->npolled < MOST_INPUTS)
            w->polled[w->npolled++].device = i;
        if (ops && ops->disk && ops->disk->serve && w->nlater < MOST_INPUTS)
            w->later[w->nlater++] = i;
    }
}

/* Host ends that can be looked at; those of the program's own numbers get numbers of ours. */
static void collect_inputs(struct watch *w)
{
    for (u32 i = 0; i < w->bus->ndevices; i++)
        for (u32 end = 0; end < w->bus->devices[i].nends && w->ninputs < MOST_INPUTS; end++) {
            struct backend *b = bus_end_at(&w->bus->devices[i], end);

            if (served_here(b) || (b->in < 0 && !b->ops->follow))
                continue;
            if (b->in >= 0 && b->in <= 2)
                b->in = (int)sys_fcntl(b->in, 1030 /* F_DUPFD_CLOEXEC */, fds_floor());
            if (!b->ops->follow)
                b->out = -1;
            b->mute = !b->ops->follow;
            w->input[w->ninputs] = i;
            w->end[w->ninputs++] = end;
        }
}

/* Closes all descriptors but those in the list. */
static void close_others(const int *keep, u32 n)
{
    int from = 0;

    for (;;) {
        int next = INT32_MAX;

        for (u32 i = 0; i < n; i++)
            if (keep[i] >= from && keep[i] < next)
                next = keep[i];
        if (next > from)
            sys(SYS_close_range, from, next - 1, 0);
        if (next == INT32_MAX)
            return;
        from = next + 1;
    }
}

static bool may_change(const struct watch *w)
{
    bool any = false;

    for (u32 i = 0; i < w->ninputs; i++)
        any |= end_of(w, i)->ops->follow != NULL;
    return any;
}

static void close_descriptors(const struct watch *w)
{
    int keep[KEPT];
    u32 n = 0;

    keep[n++] = w->bell;
    keep[n++] = sink_descriptor();
    keep[n++] = fds_get(FD_RAM);
    for (u32 i = 0; i < w->bus->ndevices && n + 2 <= KEPT - MOST_INPUTS; i++)
        if (served_here(&w->bus->devices[i].backend)) {
            keep[n++] = bus_end(&w->bus->devices[i])->in;
            keep[n++] = w->bus->devices[i].backend.out;
        }
    for (u32 i = 0; i < w->ninputs; i++)
        keep[n++] = end_of(w, i)->in;
    /* Those that may change have others behind them. */
    for (int fd = fds_next(0); may_change(w) && fd >= 0 && n < KEPT; fd = fds_next(fd + 1))
        keep[n++] = fd;
    close_others(keep, n);
}

static void __attribute__((noreturn)) become_worker(struct bus *bus, struct thread *t, int bell)
{
    struct watch w = {.bus = bus, .t = t, .bell = bell, .guard = -1, .member = -1};

    here = true;
    sys(SYS_setsid);
    sys(SYS_chdir, "/");
    fds_own();
    log_after_fork(true);
    collect_devices(&w);
    collect_inputs(&w);
    close_descriptors(&w);
    transfers_start();
    stand_guard(&w);
    worker_loop(&w);
}

/* Twice, so that it is nobody's child; the one in between ends at once, and tells nobody (no signal at its end). */
static void fork_worker(struct bus *bus, struct thread *t, int bell)
{
    u64 all = ~(u64)0, saved;
    long pid;

    sys(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &all, &saved, 8);
    pid = sys(SYS_clone, 0, 0, 0, 0, 0);
    if (pid == 0) {
        if (sys(SYS_clone, 0, 0, 0, 0, 0) == 0)
            become_worker(bus, t, bell);
        sys_exit_group(0);
    }
    if (pid > 0)
        sys(SYS_wait4, pid, NULL, __WCLONE, NULL);
    sys(SYS_rt_sigprocmask, 2, &saved, NULL, 8);
    debug(PROC, 1, "made the worker: %d", (int)(pid < 0 ? pid : 0));
}

void worker_ring(struct bus *bus, struct thread *t)
{
    struct arena *arena = bus->machine->arena;
    int bell;

    if (here || bell_ring(arena))
        return;
    lock_take(&arena->worker_lock, &t->self);
    bell = bell_ring(arena) ? -1 : bell_make(arena); /* unless somebody else has made one meanwhile */
    lock_release(&arena->worker_lock, &t->self);
    if (bell < 0)
        return;
    fork_worker(bus, t, bell);
    sys_close(bell);
}

void worker_resume(struct bus *bus)
{
    struct arena *arena = bus->machine->arena;

    if (!clock_virtual(arena) && clock_next(arena) != CLOCK_NEVER && !bell_reaches(arena, false))
        worker_ring(bus, thread_self());
    if (unlikely(outside_waits(bus))) {
        worker_ring(bus, thread_self());
        outside_wait(bus);
    }
}

void worker_end(struct bus *bus)
{
    if (!here)
        bell_ring(bus->machine->arena);
}
