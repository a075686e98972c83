#include "bus/listeners.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/fmt.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/trapsafe.h"

#define PREFIX "mmioshim-irq-" /* behind the zero byte of an abstract name, before 16 digits */
#define DIGITS 16
#define LENGTH ((socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(PREFIX) + DIGITS))

/* --- names --- */

static struct sockaddr_un address_of(u64 token)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct fmt name = {.buf = address.sun_path + 1, .cap = sizeof(address.sun_path) - 1};

    fmt_str(&name, PREFIX);
    fmt_hexpad(&name, token, DIGITS);
    return address;
}

/* 0: it is no such socket. */
static u64 token_of(int fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNSPEC};
    socklen_t length = sizeof(address);
    u64 token = 0;

    if (sys(SYS_getsockname, fd, &address, &length) < 0 || address.sun_family != AF_UNIX || length != LENGTH ||
        address.sun_path[0] || memcmp(address.sun_path + 1, PREFIX, sizeof(PREFIX) - 1) != 0)
        return 0;
    for (unsigned i = 0; i < DIGITS; i++) {
        char c = address.sun_path[sizeof(PREFIX) + i];

        token = token << 4 | (u64)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return token;
}

static int make_socket(int flags)
{
    return (int)sys(SYS_socket, AF_UNIX, SOCK_DGRAM | flags, 0);
}

/* The kernel's number of this process's network namespace; 0: it tells nobody. Asked each time: unshare(2) changes it. */
static u64 network(void)
{
    struct stat st = {0};
    long fd = sys_open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC, 0);

    if (fd < 0)
        return 0;
    sys_fstat((int)fd, &st);
    sys_close((int)fd);
    return st.st_ino;
}

/* --- the table: events_lock is held --- */

static u32 used(struct arena *arena)
{
    return MIN(__atomic_load_n(&arena->listeners_used, __ATOMIC_ACQUIRE), ARENA_LISTENERS);
}

static struct arena_listener *find(struct arena *arena, u64 token)
{
    for (u32 i = 0, n = token ? used(arena) : 0; i < n; i++)
        if (__atomic_load_n(&arena->listeners[i].token, __ATOMIC_RELAXED) == token)
            return &arena->listeners[i];
    return NULL;
}

static void forget(struct arena *arena, struct arena_listener *l)
{
    u32 n = used(arena);

    __atomic_store_n(&l->token, 0, __ATOMIC_RELAXED);
    while (n && !arena->listeners[n - 1].token)
        n--;
    __atomic_store_n(&arena->listeners_used, n, __ATOMIC_RELEASE);
}

/* Leaves a datagram, or (NULL) only looks whether there is anybody. A place that is nobody's any more is free. */
static bool call(struct arena *arena, struct arena_listener *l, const u32 *count)
{
    struct sockaddr_un address = address_of(l->token);
    int fd = make_socket(SOCK_CLOEXEC | SOCK_NONBLOCK);
    long ret;

    if (fd < 0)
        return false;
    if (count)
        ret = sys(SYS_sendto, fd, count, sizeof(*count), MSG_DONTWAIT | MSG_NOSIGNAL, &address, LENGTH);
    else
        ret = sys(SYS_connect, fd, &address, LENGTH);
    sys_close(fd);
    if (ret == -ECONNREFUSED && l->network == network())
        forget(arena, l);
    return ret >= 0;
}

/* NULL: it is full. */
static struct arena_listener *find_room(struct arena *arena)
{
    u32 n = used(arena);

    for (u32 i = 0; i < n; i++)
        if (!arena->listeners[i].token)
            return &arena->listeners[i];
    if (n < ARENA_LISTENERS)
        return &arena->listeners[n];
    for (u32 i = 0; i < n; i++)
        if (!call(arena, &arena->listeners[i], NULL) && !arena->listeners[i].token)
            return &arena->listeners[i];
    return NULL;
}

/* An event of which whoever made it did not see that somebody listens is one before. */
static bool enter(struct arena *arena, const struct arena_listener *new, const u32 *count)
{
    struct arena_listener *l = find_room(arena);
    u32 n = l ? (u32)(l - arena->listeners) + 1 : 0;

    if (!l)
        return false;
    l->device = new->device;
    l->line = new->line;
    l->told = 0;
    l->network = new->network;
    __atomic_store_n(&l->token, new->token, __ATOMIC_RELEASE);
    __atomic_store_n(&arena->listeners_used, MAX(n, used(arena)), __ATOMIC_SEQ_CST);
    l->seen = __atomic_load_n(count, __ATOMIC_SEQ_CST);
    return true;
}

/* A name of its own, with what it was opened for in its last bits: the socket itself is for both. 0 or -errno. */
static long name(int fd, int flags, u64 *token)
{
    struct sockaddr_un address;

    if (sys(SYS_getrandom, token, sizeof(*token), GRND_NONBLOCK) != sizeof(*token) || *token <= O_ACCMODE)
        return -EAGAIN;
    *token = (*token & ~(u64)O_ACCMODE) | (u64)(flags & O_ACCMODE);
    address = address_of(*token);
    return sys(SYS_bind, fd, &address, LENGTH);
}

/* --- what others call --- */

int listener_open(struct arena *arena, u32 device, u32 line, const u32 *count, int flags, const struct lock_self *self)
{
    struct arena_listener new = {.device = device, .line = line, .network = network()};
    int fd = make_socket(flags & (SOCK_CLOEXEC | SOCK_NONBLOCK));
    long ret = fd < 0 ? fd : name(fd, flags, &new.token);

    if (ret == 0) {
        lock_take(&arena->events_lock, self);
        ret = enter(arena, &new, count) ? 0 : -ENOSPC;
        lock_release(&arena->events_lock, self);
    }
    if (ret < 0 && fd >= 0)
        sys_close(fd);
    return ret < 0 ? (int)ret : fd;
}

bool listener_line(struct arena *arena, int fd, u32 *device, u32 *line)
{
    const struct arena_listener *l = find(arena, used(arena) ? token_of(fd) : 0);

    if (!l)
        return false;
    *device = l->device;
    *line = l->line;
    return true;
}

int listener_access(int fd)
{
    u64 token = token_of(fd);

    return token ? (int)(token & O_ACCMODE) : -1;
}

static bool listens(const struct arena_listener *l, u32 device, u32 line)
{
    return __atomic_load_n(&l->token, __ATOMIC_ACQUIRE) && l->device == device && l->line == line;
}

static void tell(struct arena *arena, u32 device, u32 line, const u32 *count)
{
    for (u32 i = 0; i < used(arena); i++) {
        struct arena_listener *l = &arena->listeners[i];
        u32 now = __atomic_load_n(count, __ATOMIC_ACQUIRE);

        if (listens(l, device, line) && !l->told && l->seen != now)
            l->told = call(arena, l, &now);
    }
}

void listeners_tell(struct arena *arena, u32 device, u32 line, const u32 *count, const struct lock_self *self)
{
    bool any = false;

    for (u32 i = 0, n = used(arena); i < n && !any; i++)
        any = listens(&arena->listeners[i], device, line);
    if (!any)
        return;
    lock_take(&arena->events_lock, self);
    tell(arena, device, line, count);
    lock_release(&arena->events_lock, self);
}

/* Whoever dies in between leaves a descriptor that is told of the next event. */
static bool take(struct arena_listener *l, int fd, u32 now)
{
    bool more = l->seen != now;
    u32 datagram;

    l->told = 0;
    l->seen = now;
    while (sys(SYS_recvfrom, fd, &datagram, sizeof(datagram), MSG_DONTWAIT, NULL, NULL) >= 0)
        ;
    return more;
}

bool listener_read(struct arena *arena, int fd, const u32 *count, u32 *events, const struct lock_self *self)
{
    u64 token = token_of(fd);
    struct arena_listener *l;
    bool more = false;

    lock_take(&arena->events_lock, self);
    l = find(arena, token);
    if (l) {
        *events = __atomic_load_n(count, __ATOMIC_ACQUIRE);
        more = take(l, fd, *events);
    }
    lock_release(&arena->events_lock, self);
    return more;
}
