#include "bus/transfers.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/debug.h"
#include "base/fds.h"
#include "base/mem.h"
#include "base/process.h"
#include "base/sys.h"
#include "bus/dma.h"
#include "bus/host.h"
#include "base/trapsafe.h"

#define DEPTH    BACKEND_SLOTS
#define ATTEMPTS 2 /* helpers in a row that answer nothing, until requests fail */

struct running {
    struct mmioshim_transfer what;
    u64 done;       /* bytes that have been moved, */
    u32 now;        /* and that are asked for */
    u32 piece, at;  /* where in RAM they go or come from */
    int error;
    bool ended;
    bool asked;     /* the helper has it, */
    bool answered;  /* and has said `error` */
};

struct transfers {
    int socket, memory; /* -1: no helper */
    long pid;
    u8 *data;
    u32 head, count;    /* of the ring */
    u32 forgotten;      /* requests that the helper has, and whose end nobody waits for */
    bool heard;         /* this helper has answered something */
    u32 attempts;
    struct running ring[DEPTH];
};

static bool worker;

void transfers_start(void)
{
    worker = true;
}

static const struct backend_disk *disk_of(const struct bus_device *d)
{
    return d->backend.ops ? d->backend.ops->disk : NULL;
}

bool transfers_later(struct mmioshim_device *dev)
{
    const struct backend_disk *disk = disk_of(bus_device_of(dev));

    return disk && disk->serve;
}

static struct running *nth(struct transfers *t, u32 i)
{
    return &t->ring[(t->head + i) % DEPTH];
}

static u32 slot_of(const struct transfers *t, const struct running *r)
{
    return (u32)(r - t->ring);
}

/* --- whose it is --- */

static bool alive(const struct arena_process *p)
{
    /* One in another namespace cannot be asked after. */
    return p->pid && (p->namespace != process_namespace() || process_alive(p->pid, p->start));
}

static struct arena_process name_process(u32 pid)
{
    return (struct arena_process){pid, 0, process_start(pid), process_namespace()};
}

/* Does this process serve the disk? Two workers, which cannot ring each other's bell, must not. */
static bool mine(struct bus_device *d)
{
    struct arena_process *server = &d->shared->server;
    u32 self = (u32)sys_getpid();

    if (likely(server->pid == self && server->namespace == process_namespace()))
        return true;
    if (alive(server))
        return false;
    *server = name_process(self);
    return true;
}

static struct transfers *transfers_of(struct bus_device *d)
{
    struct transfers *t = d->transfers;

    if (t || !worker)
        return t;
    t = sys_pages(sizeof(*t));
    if (t)
        t->socket = t->memory = -1;
    d->transfers = t;
    return t;
}

/* --- the helper --- */

/* Messages go to descriptor 2, whoever that is. */
static int move_up(int fd)
{
    int high = (int)sys_fcntl(fd, 1030 /* F_DUPFD_CLOEXEC */, fds_floor());

    sys_close(fd);
    return high;
}

static bool share_memory(struct transfers *t)
{
    long p;

    if (t->data)
        return true;
    t->memory = (int)sys(SYS_memfd_create, "mmioshim-disk", 1 /* MFD_CLOEXEC */);
    t->memory = t->memory < 0 ? -1 : move_up(t->memory);
    if (t->memory < 0 || sys(SYS_ftruncate, t->memory, (u64)DEPTH * BACKEND_SLOT) < 0)
        return false;
    p = (long)sys_mmap(NULL, (size_t)DEPTH * BACKEND_SLOT, PROT_READ | PROT_WRITE, MAP_SHARED, t->memory, 0);
    if (sys_failed(p))
        return false;
    t->data = (u8 *)p;
    return true;
}

/*
 * A helper of a worker that was killed first ends what it had begun: else a write of its could reach the server behind one
 * that we make, and undo it.
 */
static int predecessor(const struct bus_device *d)
{
    const struct arena_process *p = &d->shared->helper;

    if (!p->pid || p->namespace != process_namespace() || !process_alive(p->pid, p->start))
        return -1;
    return (int)sys(SYS_pidfd_open, p->pid, 0);
}

static bool make_helper(struct bus_device *d, struct transfers *t)
{
    int ends[2], after;

    if (!share_memory(t) || sys(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return false;
    ends[0] = move_up(ends[0]);
    after = predecessor(d);
    t->pid = backend_serve(&d->backend, d->dev.class->end(&d->dev), ends[1], t->memory, after);
    sys_close(ends[1]);
    if (after >= 0)
        sys_close(after);
    if (t->pid < 0) {
        sys_close(ends[0]);
        return false;
    }
    d->shared->helper = name_process((u32)t->pid);
    t->socket = ends[0];
    t->heard = false;
    debug(DEV, 1, "%s: made the helper: %d", d->dev.name, (int)t->pid);
    return true;
}

/* --- data --- */

/* Where in RAM the next bytes of a transfer are. A driver's buffer is in the log where it begins, once. */
static u32 next_piece(struct mmioshim_device *dev, struct running *r, u32 most, u64 *addr)
{
    const struct mmioshim_piece *p = &r->what.pieces[r->piece];
    u32 n = MIN(most, p->length - r->at);

    *addr = p->addr + r->at;
    if (!r->at && !bus_dma_begin(dev, p->addr, p->length, r->what.what == MMIOSHIM_DISK_READ))
        return 0;
    r->at += n;
    if (r->at == p->length) {
        r->piece++;
        r->at = 0;
    }
    return n;
}

/* Moves what is asked for between RAM and the slot. False: refused. */
static bool move(struct mmioshim_device *dev, struct running *r, u8 *data)
{
    bool inwards = r->what.what == MMIOSHIM_DISK_READ;

    for (u32 left = r->now, n; left; left -= n, data += n) {
        u64 addr;

        n = r->piece < r->what.npieces ? next_piece(dev, r, left, &addr) : 0;
        if (!n || !(inwards ? bus_dma_store(dev, addr, data, n) : bus_dma_fetch(dev, addr, data, n)))
            return false;
    }
    return true;
}

/* --- requests --- */

static void fail(struct running *r, int error)
{
    r->error = error;
    r->asked = r->answered = false;
    r->ended = true;
}

static bool send_request(struct transfers *t, struct running *r)
{
    static const u8 whats[] = {
        [MMIOSHIM_DISK_FLUSH] = BACKEND_FLUSH, [MMIOSHIM_DISK_DISCARD] = BACKEND_DISCARD, [MMIOSHIM_DISK_ZERO] = BACKEND_ZERO,
        [MMIOSHIM_DISK_ZERO_UNMAP] = BACKEND_ZERO_UNMAP, [MMIOSHIM_DISK_READ] = BACKEND_READ, [MMIOSHIM_DISK_WRITE] = BACKEND_WRITE,
    };
    bool data = r->what.what == MMIOSHIM_DISK_READ || r->what.what == MMIOSHIM_DISK_WRITE;
    struct backend_request request = {
        .slot = slot_of(t, r),
        .what = whats[r->what.what],
        .safe = r->what.safe,
        .position = r->what.position + r->done,
        .length = data ? r->now : r->what.length,
    };

    r->asked = true;
    return t->socket >= 0 && sys(SYS_sendto, t->socket, &request, sizeof(request), MSG_NOSIGNAL, NULL, 0) >= 0;
}

/* The next part of a transfer, or all of it. A helper that is gone is found out where its socket is looked at. */
static void ask(struct mmioshim_device *dev, struct transfers *t, struct running *r)
{
    bool data = r->what.what == MMIOSHIM_DISK_READ || r->what.what == MMIOSHIM_DISK_WRITE;

    r->answered = false;
    r->now = data ? (u32)MIN(r->what.length - r->done, BACKEND_SLOT) : 0;
    if (r->what.what == MMIOSHIM_DISK_WRITE && !move(dev, r, t->data + (size_t)slot_of(t, r) * BACKEND_SLOT))
        fail(r, -EFAULT);
    else
        send_request(t, r);
}

static void go_on(struct mmioshim_device *dev, struct transfers *t, struct running *r)
{
    r->asked = r->answered = false;
    if (r->error) {
        fail(r, r->error);
        return;
    }
    if (r->what.what == MMIOSHIM_DISK_READ && !move(dev, r, t->data + (size_t)slot_of(t, r) * BACKEND_SLOT)) {
        fail(r, -EFAULT);
        return;
    }
    r->done += r->now;
    if (r->now && r->done < r->what.length)
        ask(dev, t, r);
    else
        r->ended = true;
}

/* --- services --- */

int transfers_begun(struct mmioshim_device *dev)
{
    struct bus_device *d = bus_device_of(dev);
    struct transfers *t = transfers_of(d);

    if (!worker)
        dev->host->wake(dev);
    return t && mine(d) && !t->forgotten ? (int)t->count : -1;
}

bool transfers_begin(struct mmioshim_device *dev, const struct mmioshim_transfer *transfer)
{
    struct bus_device *d = bus_device_of(dev);
    struct transfers *t = transfers_of(d);
    struct running *r;

    if (!t || t->count == DEPTH || t->forgotten || (t->socket < 0 && !make_helper(d, t)))
        return false;
    r = nth(t, t->count++);
    r->what = *transfer;
    r->done = 0;
    r->piece = r->at = 0;
    r->error = 0;
    r->ended = r->asked = r->answered = false;
    ask(dev, t, r);
    return true;
}

bool transfers_ended(struct mmioshim_device *dev, int *error)
{
    struct transfers *t = transfers_of(bus_device_of(dev));

    if (!t)
        return false;
    for (u32 i = 0; i < t->count; i++)
        if (nth(t, i)->answered)
            go_on(dev, t, nth(t, i));
    if (!t->count || !t->ring[t->head].ended)
        return false;
    *error = t->ring[t->head].error;
    t->head = (t->head + 1) % DEPTH;
    t->count--;
    return true;
}

void transfers_forget(struct mmioshim_device *dev)
{
    struct transfers *t = transfers_of(bus_device_of(dev));

    for (; t && t->count; t->count--, t->head = (t->head + 1) % DEPTH) {
        struct running *r = &t->ring[t->head];

        t->forgotten += r->asked && !r->answered;
        r->asked = r->answered = false;
    }
}

/* --- what the helper says --- */

int transfers_descriptor(const struct bus_device *d)
{
    return d->transfers ? d->transfers->socket : -1;
}

/* The helper has gone. What it did not answer is asked for again; not for ever. */
static void replace_helper(struct bus_device *d, struct transfers *t)
{
    bool hopeless;

    sys_close(t->socket);
    t->socket = -1;
    sys(SYS_kill, t->pid, 9 /* SIGKILL: its socket may be all that is gone */);
    sys(SYS_wait4, t->pid, NULL, __WALL, NULL);
    t->forgotten = 0;
    t->attempts = t->heard ? 0 : t->attempts + 1;
    hopeless = t->attempts >= ATTEMPTS;
    debug(DEV, 1, "%s: the helper is gone%s", d->dev.name, hopeless ? ", as was the one before" : "");
    if (hopeless || !t->count || !make_helper(d, t))
        t->attempts = 0;
    for (u32 i = 0; i < t->count; i++) {
        struct running *r = nth(t, i);

        if (!r->asked || r->answered)
            continue;
        if (t->socket >= 0) {
            send_request(t, r);
        } else {
            r->error = -EIO;
            r->answered = true;
        }
    }
}

static void hear(struct transfers *t, const struct backend_answer *a)
{
    struct running *r = &t->ring[a->slot % DEPTH];

    t->heard = true;
    if (r->asked && !r->answered) {
        r->error = a->error;
        r->answered = true;
    } else if (t->forgotten) {
        t->forgotten--;
    }
}

bool transfers_receive(struct bus_device *d)
{
    struct transfers *t = d->transfers;
    struct backend_answer a;
    bool any = false;
    long n;

    while (t && t->socket >= 0) {
        n = sys(SYS_recvfrom, t->socket, &a, sizeof(a), MSG_DONTWAIT, NULL, NULL);
        if (n == -EAGAIN)
            break;
        if (n == -EINTR)
            continue;
        any = true;
        if (n == sizeof(a))
            hear(t, &a);
        else
            replace_helper(d, t);
        if (n != sizeof(a))
            break;
    }
    return any;
}

void transfers_drop(struct bus_device *d)
{
    struct transfers *t = d->transfers;

    if (!t)
        return;
    if (d->shared->server.pid == (u32)sys_getpid())
        d->shared->server.pid = 0;
    if (t->socket >= 0)
        sys_close(t->socket);
    t->socket = -1;
    t->count = t->forgotten = 0;
    /* It may still write to the memory that they share. */
    sys_munmap(t->data, t->data ? (size_t)DEPTH * BACKEND_SLOT : 0);
    t->data = NULL;
    if (t->memory >= 0)
        sys_close(t->memory);
    t->memory = -1;
}
