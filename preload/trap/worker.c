#include "trap/worker.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "base/debug.h"
#include "base/fds.h"
#include "base/mem.h"
#include "base/process.h"
#include "base/sys.h"
#include "bus/transfers.h"
#include "trap/log.h"
#include "trap/sink.h"
#include "trap/trap.h"
#include "base/trapsafe.h"

#define MOST_INPUTS 48  /* host ends that are looked at */
#define FIXED       3 /* descriptors beside these */
#define KEPT        (MOST_INPUTS * 2 + 4)
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

/* --- the bell --- */

static socklen_t bell_address(const struct arena *arena, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, arena->bell, sizeof(arena->bell));
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(arena->bell));
}

static bool bell_named(const struct arena *arena)
{
    return arena->bell[1];
}

static int bell_socket(void)
{
    return (int)sys(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* A socket whose name the kernel chose: a zero byte and five digits (unix(7), "Autobind feature"). */
static int bell_make(struct arena *arena)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(address);
    int fd = bell_socket();

    if (fd >= 0 && sys(SYS_bind, fd, &address, sizeof(sa_family_t)) == 0 &&
        sys(SYS_getsockname, fd, &address, &length) == 0) {
        memcpy(arena->bell, address.sun_path, sizeof(arena->bell));
        return fd;
    }
    if (fd >= 0)
        sys_close(fd);
    return -1;
}

/* False: nobody hears it. loud: it wakes the worker. */
static bool bell_reaches(const struct arena *arena, bool loud)
{
    struct sockaddr_un address;
    socklen_t length = bell_address(arena, &address);
    int fd = bell_named(arena) ? bell_socket() : -1;
    long ret;

    if (fd < 0)
        return false;
    if (loud)
        ret = sys(SYS_sendto, fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL, &address, length);
    else
        ret = sys(SYS_connect, fd, &address, length);
    sys_close(fd);
    return ret >= 0 || ret == -EAGAIN; /* full: it has more than enough to wake up for */
}

static bool bell_ring(const struct arena *arena)
{
    return bell_reaches(arena, true);
}

static void bell_drain(int bell)
{
    char byte;

    while (sys(SYS_recvfrom, bell, &byte, 1, MSG_DONTWAIT, NULL, NULL) >= 0)
        ;
}

/* --- what it sleeps on --- */

struct watch {
    struct bus *bus;
    struct thread *t;
    int bell;
    int guard;                     /* who makes another one when this one is killed, as a descriptor; -1: nobody */
    int member;                    /* a process of the machine, as a descriptor; -1: none can be watched */
    u32 ninputs;
    u32 input[MOST_INPUTS];        /* devices with a host end */
    u64 quiet_until[MOST_INPUTS];  /* ns: it lied */
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

static u32 *wanted(const struct watch *w, u32 i)
{
    return &w->bus->devices[w->input[i]].shared->input_wanted;
}

/* The host end of an input that is to be looked at now, else -1. */
static int input_fd(const struct watch *w, u32 i, u64 now)
{
    const struct backend *b = bus_end(&w->bus->devices[w->input[i]]);

    if (!__atomic_load_n(wanted(w, i), __ATOMIC_ACQUIRE) || b->ended || now < w->quiet_until[i])
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

    if (w->member < 0)
        next = MIN(next, now + (u64)PATIENCE * 1000000);
    for (u32 i = 0; i < w->npolled; i++)
        if (w->polled[i].next)
            next = MIN(next, w->polled[i].next);
    for (u32 i = 0; i < w->ninputs; i++)
        if (*wanted(w, i) && now < w->quiet_until[i])
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
        if (__atomic_load_n(&w->bus->devices[i].shared->wake, __ATOMIC_RELAXED))
            return true;
    return false;
}

static void succeed(struct watch *w);

static void sleep_on(struct watch *w)
{
    struct pollfd fds[MOST_INPUTS * 2 + FIXED] = {{w->bell, POLLIN, 0}, {w->member, POLLIN, 0}, {w->guard, POLLIN, 0}};
    u64 now = monotonic(), until = wake_time(w, now), left = until > now ? until - now : 0;
    struct timespec timeout = {(time_t)(left / 1000000000), (long)(left % 1000000000)};

    for (u32 i = 0; i < w->ninputs; i++)
        fds[i + FIXED] = (struct pollfd){input_fd(w, i, now), POLLIN, 0};
    for (u32 i = 0; i < w->nlater; i++)
        fds[w->ninputs + i + FIXED] = (struct pollfd){transfers_descriptor(later(w, i)), POLLIN, 0};
    if (woken(w))
        return;
    sys(SYS_ppoll, fds, w->ninputs + w->nlater + FIXED, until == CLOCK_NEVER ? NULL : &timeout, NULL, 8);
    bell_drain(w->bell);
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

        if (w->quiet_until[i] != 1)
            continue;
        w->quiet_until[i] = 0;
        bus_lock(d, &w->t->self);
        __atomic_store_n(wanted(w, i), 0, __ATOMIC_RELEASE);
        if (d->dev.class->service)
            d->dev.class->service(&d->dev);
        if (__atomic_load_n(wanted(w, i), __ATOMIC_RELAXED)) /* there was nothing for the device */
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
    serve_woken(w);
    serve_later(w);
    serve_polled(w);
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
    if (w->guard >= 0)
        sys_exit_group(0);
    sys_close(w->bell);
    if (!find_member(w))
        sys_exit_group(0);
    w->bell = bell_make(w->bus->machine->arena);
    if (w->bell < 0)
        sys_exit_group(1);
}

/* --- the guard --- */

static void be_worker(struct watch *w)
{
    struct thread *t = w->t;
    u16 pid = t->pid_ordinal, tid = t->tid_ordinal;

    sys(SYS_prctl, PR_SET_NAME, "mmioshim-worker");
    thread_after_fork();
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
    stand_guard(w);
    serve_left(w);
}

static void __attribute__((noreturn)) worker_loop(struct watch *w)
{
    serve_left(w);
    for (;;) {
        serve(w);
        if (w->member < 0 && !find_member(w))
            leave_or_stay(w);
        sleep_on(w);
    }
}

/* --- how it comes to be --- */

/* Host ends that can be looked at; those of the program's own numbers get numbers of ours. */
static void collect_inputs(struct watch *w)
{
    for (u32 i = 0; i < w->bus->ndevices && w->ninputs < MOST_INPUTS; i++) {
        struct backend *b = bus_end(&w->bus->devices[i]);

        if (w->bus->devices[i].dev.class->poll && w->npolled < MOST_INPUTS)
            w->polled[w->npolled++].device = i;
        if (b->ops && b->ops->disk && b->ops->disk->serve && w->nlater < MOST_INPUTS)
            w->later[w->nlater++] = i;
        if (!b->ops || b->in < 0 || b->ops->disk)
            continue;
        if (b->in <= 2)
            b->in = (int)sys_fcntl(b->in, 1030 /* F_DUPFD_CLOEXEC */, fds_floor());
        b->out = -1;
        b->mute = true;
        w->input[w->ninputs++] = i;
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

static void close_descriptors(const struct watch *w)
{
    int keep[KEPT];
    u32 n = 0;

    keep[n++] = w->bell;
    keep[n++] = sink_descriptor();
    keep[n++] = fds_get(FD_RAM);
    for (u32 i = 0; i < w->bus->ndevices && n < KEPT - MOST_INPUTS; i++)
        if (w->bus->devices[i].backend.ops && w->bus->devices[i].backend.ops->disk)
            keep[n++] = bus_end(&w->bus->devices[i])->in;
    for (u32 i = 0; i < w->ninputs; i++)
        keep[n++] = bus_end(&w->bus->devices[w->input[i]])->in;
    close_others(keep, n);
}

static void __attribute__((noreturn)) become_worker(struct bus *bus, struct thread *t, int bell)
{
    struct watch w = {.bus = bus, .t = t, .bell = bell, .guard = -1, .member = -1};

    here = true;
    sys(SYS_setsid);
    sys(SYS_chdir, "/");
    log_after_fork(true);
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
}

void worker_end(struct bus *bus)
{
    if (!here)
        bell_ring(bus->machine->arena);
}
