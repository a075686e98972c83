/*
 * mmioshim-nbd: speaks to an NBD server for a disk of a machine. Started by
 * the library, by a machine's worker; not for people.
 *
 *   mmioshim-nbd size SOCKET EXPORT readonly|readwrite    "ok BYTES" or what is wrong, to descriptor 3
 *   mmioshim-nbd serve SOCKET EXPORT readonly|readwrite   requests from descriptor 3, data in the memory file 4; asks
 *                                                         the server for nothing while process 5 (a pidfd) lives
 *
 * The messages are those of preload/backends/backend.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <libnbd.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backends/backend.h"

enum { CHANNEL = 3, MEMORY = 4, BEFORE = 5 };

#define DRAIN 30000 /* ms that requests get to end when nobody waits for them any more */

/* A request that the server has. */
struct running {
    int64_t cookie; /* 0: none */
    struct backend_request request;
    bool flushing; /* it is done, and is being made safe */
};

struct session {
    struct nbd_handle *nbd;
    uint8_t *memory;
    struct running running[BACKEND_SLOTS];
    unsigned nrunning;
    bool orphan; /* nobody asks, or listens, any more */
};

static struct nbd_handle *connect_to(char **argv)
{
    struct nbd_handle *nbd = nbd_create();

    if (nbd && nbd_set_export_name(nbd, argv[3]) == 0 && nbd_connect_unix(nbd, argv[2]) == 0)
        return nbd;
    return NULL;
}

/* --- size --- */

/* libnbd begins its messages with the name of the function. */
static const char *why(void)
{
    const char *text = nbd_get_error(), *colon = text ? strstr(text, ": ") : NULL;

    return colon ? colon + 2 : text ? text : "no memory";
}

static int say_size(char **argv)
{
    struct nbd_handle *nbd = connect_to(argv);
    int64_t size = nbd ? nbd_get_size(nbd) : -1;

    if (size < 0)
        dprintf(CHANNEL, "%s", why());
    else if (size == 0 || size % 512)
        dprintf(CHANNEL, "its size is not a multiple of 512");
    else if (strcmp(argv[4], "readonly") != 0 && nbd_is_read_only(nbd) != 0)
        dprintf(CHANNEL, "it is read only; attach it with readonly");
    else
        dprintf(CHANNEL, "ok %lld", (long long)size);
    nbd_close(nbd);
    return 0;
}

/* --- requests --- */

static void answer(struct session *s, uint32_t slot, int error)
{
    struct backend_answer a = {.slot = slot, .error = error};

    if (!s->orphan && send(CHANNEL, &a, sizeof(a), MSG_NOSIGNAL) < 0)
        s->orphan = true;
}

static int error_of(void)
{
    int error = nbd_get_errno();

    return error ? -error : -EIO;
}

/* A server that has no command for it: by writes. */
static int write_zeroes(struct session *s, uint64_t position, uint64_t length)
{
    static const uint8_t zeroes[1 << 20];

    while (length) {
        size_t n = length < sizeof(zeroes) ? (size_t)length : sizeof(zeroes);

        if (nbd_pwrite(s->nbd, zeroes, n, position, 0) < 0)
            return error_of();
        position += n;
        length -= n;
    }
    return 0;
}

/* Gives a request to the server: its cookie; 0: there is nothing for the server to do; -1: it cannot be, see libnbd's errno. */
static int64_t begin(struct session *s, const struct backend_request *r)
{
    uint8_t *data = s->memory + (size_t)r->slot * BACKEND_SLOT;
    uint32_t safe = r->safe && nbd_can_fua(s->nbd) == 1 ? LIBNBD_CMD_FLAG_FUA : 0;
    uint32_t keep = r->what == BACKEND_ZERO ? LIBNBD_CMD_FLAG_NO_HOLE : 0;

    switch (r->what) {
    case BACKEND_READ:
        return nbd_aio_pread(s->nbd, data, r->length, r->position, NBD_NULL_COMPLETION, 0);
    case BACKEND_WRITE:
        return nbd_aio_pwrite(s->nbd, data, r->length, r->position, NBD_NULL_COMPLETION, safe);
    case BACKEND_FLUSH:
        return nbd_can_flush(s->nbd) == 1 ? nbd_aio_flush(s->nbd, NBD_NULL_COMPLETION, 0) : 0;
    case BACKEND_DISCARD:
        return nbd_can_trim(s->nbd) == 1 ? nbd_aio_trim(s->nbd, r->length, r->position, NBD_NULL_COMPLETION, safe) : 0;
    default:
        return nbd_aio_zero(s->nbd, r->length, r->position, NBD_NULL_COMPLETION, safe | keep);
    }
}

static bool changes(const struct backend_request *r)
{
    return r->what != BACKEND_READ && r->what != BACKEND_FLUSH;
}

static void end(struct session *s, struct running *r, int error)
{
    r->cookie = 0;
    s->nrunning--;
    answer(s, r->request.slot, error);
}

/* The server has done it; what is to be safe and could not be told so is flushed. */
static void done(struct session *s, struct running *r)
{
    bool flush = r->request.safe && changes(&r->request) && !r->flushing && nbd_can_fua(s->nbd) != 1 && nbd_can_flush(s->nbd) == 1;

    r->flushing = flush;
    r->cookie = flush ? nbd_aio_flush(s->nbd, NBD_NULL_COMPLETION, 0) : 0;
    if (r->cookie > 0)
        return;
    end(s, r, r->cookie < 0 ? error_of() : 0);
}

static bool sound(const struct session *s, const struct backend_request *r)
{
    bool data = r->what == BACKEND_READ || r->what == BACKEND_WRITE;

    return r->slot < BACKEND_SLOTS && !s->running[r->slot].cookie && r->what <= BACKEND_ZERO_UNMAP &&
           (!data || r->length <= BACKEND_SLOT);
}

static void take(struct session *s, const struct backend_request *r)
{
    struct running *run = &s->running[r->slot];
    bool zero = r->what == BACKEND_ZERO || r->what == BACKEND_ZERO_UNMAP;

    *run = (struct running){.request = *r};
    s->nrunning++;
    if (zero && nbd_can_zero(s->nbd) != 1) {
        int error = write_zeroes(s, r->position, r->length);

        if (error)
            end(s, run, error);
        else
            done(s, run);
        return;
    }
    run->cookie = begin(s, r);
    if (run->cookie < 0)
        end(s, run, error_of());
    else if (run->cookie == 0)
        end(s, run, 0);
}

static void take_all(struct session *s)
{
    struct backend_request r;
    ssize_t n;

    while ((n = recv(CHANNEL, &r, sizeof(r), MSG_DONTWAIT)) == sizeof(r)) {
        if (sound(s, &r))
            take(s, &r);
        else
            answer(s, r.slot, -EINVAL);
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        s->orphan = true;
}

static void complete_all(struct session *s)
{
    int64_t cookie;

    while ((cookie = nbd_aio_peek_command_completed(s->nbd)) > 0)
        for (unsigned i = 0; i < BACKEND_SLOTS; i++) {
            struct running *r = &s->running[i];

            if (r->cookie != cookie)
                continue;
            if (nbd_aio_command_completed(s->nbd, cookie) > 0)
                done(s, r);
            else
                end(s, r, error_of());
            break;
        }
}

/* False: the server is gone. */
static bool wait_for_more(struct session *s)
{
    unsigned direction = nbd_aio_get_direction(s->nbd);
    struct pollfd fds[2] = {{s->orphan ? -1 : CHANNEL, POLLIN, 0}, {nbd_aio_get_fd(s->nbd), 0, 0}};
    int ready;

    fds[1].events = (short)(direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0);
    fds[1].events |= (short)(direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0);
    ready = poll(fds, 2, s->orphan ? DRAIN : -1);
    if (ready == 0)
        return false;
    if (fds[1].revents & (POLLIN | POLLHUP | POLLERR))
        nbd_aio_notify_read(s->nbd);
    else if (fds[1].revents & POLLOUT)
        nbd_aio_notify_write(s->nbd);
    if (fds[0].revents)
        take_all(s);
    complete_all(s);
    return !nbd_aio_is_dead(s->nbd) && !nbd_aio_is_closed(s->nbd);
}

static int serve(char **argv)
{
    static struct session s;
    struct pollfd before = {BEFORE, POLLIN, 0};

    if (fcntl(BEFORE, F_GETFD) >= 0)
        poll(&before, 1, 2 * DRAIN);
    s.memory = mmap(NULL, (size_t)BACKEND_SLOTS * BACKEND_SLOT, PROT_READ | PROT_WRITE, MAP_SHARED, MEMORY, 0);
    s.nbd = connect_to(argv);
    if (!s.nbd || s.memory == MAP_FAILED)
        return 1;
    while (!s.orphan || s.nrunning)
        if (!wait_for_more(&s))
            return 1;
    nbd_shutdown(s.nbd, 0);
    nbd_close(s.nbd);
    return 0;
}

int main(int argc, char **argv)
{
    prctl(PR_SET_NAME, "mmioshim-nbd");
    if (argc == 5 && strcmp(argv[1], "size") == 0)
        return say_size(argv);
    if (argc == 5 && strcmp(argv[1], "serve") == 0)
        return serve(argv);
    fputs("mmioshim-nbd: started by libmmioshim.so for disks of MMIOSHIM_ATTACH\n", stderr);
    return 125;
}
