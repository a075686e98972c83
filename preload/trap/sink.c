#include "trap/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/fds.h"
#include "base/mem.h"
#include "base/sys.h"
#include "base/trapsafe.h"

enum log_kind { LOG_NONE, LOG_STDERR, LOG_FILE };

static struct arena *arena;
static enum log_kind kind;
static bool per_process, torn, dead, regular, hurried;
static int access_mode = O_WRONLY | O_APPEND;
static u64 stderr_dev, stderr_ino;
static char path_name[256]; /* with %p: the name within its directory */

bool sink_wanted(void)
{
    return kind != LOG_NONE;
}

bool sink_per_process(void)
{
    return per_process;
}

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
    fd = sys(SYS_openat, fds_get(FD_LOG_DIR), fmt_end(&f), access_mode | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return fd < 0 ? (int)fd : fds_adopt(FD_LOG, (int)fd);
}

int sink_descriptor(void)
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

/* Has somebody asked the program to end, and waits for us? Signals are masked while the log is written. */
static bool asked_to_end(u64 blocked)
{
    u64 ends = (u64)1 << (SIGHUP - 1) | (u64)1 << (SIGINT - 1) | (u64)1 << (SIGQUIT - 1) | (u64)1 << (SIGTERM - 1);
    u64 pending = 0;

    sys(SYS_rt_sigpending, &pending, sizeof(pending));
    return pending & ends & ~blocked;
}

/*
 * Waits until a pipe or terminal takes more. False: its reader does not come on, and the program was asked to end:
 * that must not wait for a log. Nothing to wait for with files.
 */
static bool wait_for_room(int fd, u64 blocked)
{
    struct {
        int fd;
        short events, revents;
    } p = {fd, 4 /* POLLOUT */, 0};

    if (regular)
        return true;
    while (sys(SYS_poll, &p, 1, 50) == 0)
        if (hurried || asked_to_end(blocked))
            return false;
    return true;
}

bool sink_put(const char *text, size_t len, u64 blocked)
{
    int fd = sink_descriptor();
    size_t done = 0;

    if (fd < 0 || !wait_for_room(fd, blocked))
        return false;
    if (torn && sys_write(fd, "\n", 1) == 1)
        torn = false;
    while (done < len && wait_for_room(fd, blocked)) {
        /* A pipe that is ready takes PIPE_BUF bytes without blocking (pipe(7)). */
        long n = sys_write(fd, text + done, regular ? len - done : MIN(len - done, (size_t)4096));

        if (n == -EINTR || n == -EAGAIN)
            continue;
        if (n == -EPIPE || n == -EFBIG) {
            sys_drain(n == -EPIPE ? SIGPIPE : SIGXFSZ);
            dead = true; /* nothing more can follow, and this happens once */
        }
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    torn = torn || (done > 0 && done < len);
    return done == len;
}

/* Is this the first time that the machine writes to this file? Log lock held. */
static bool first_for_file(int fd)
{
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

bool sink_first(bool *first)
{
    int fd = sink_descriptor();

    *first = fd >= 0 && first_for_file(fd);
    return fd >= 0;
}

void sink_hurry(void)
{
    hurried = true;
}

void sink_give_up(void)
{
    kind = LOG_FILE;
    dead = true;
}

void sink_after_fork(void)
{
    torn = false;
    if (per_process)
        fds_close(FD_LOG);
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

/*
 * The descriptor that the program before exec had open, if it is of this very file: a process that gave up its rights,
 * or its root, could not open it again. Also, it must not stay behind in the program's sight.
 */
static int inherited(const char *path)
{
    int first = fds_floor();

    for (int fd = first; fd < first + 64; fd++) {
        char link[40], target[4096];
        struct fmt f = FMT_INIT(link);
        long flags = sys_fcntl(fd, F_GETFL, 0), n;

        if (flags < 0 || (flags & (O_ACCMODE | O_APPEND)) != access_mode || fds_ours(fd))
            continue;
        fmt_printf(&f, "/proc/self/fd/%d", fd);
        n = sys_readlink(fmt_end(&f), target, sizeof(target) - 1);
        if (n > 0 && (size_t)n == strlen(path) && memcmp(target, path, (size_t)n) == 0)
            return fd;
    }
    return -1;
}

static long open_file(const char *path, bool joined)
{
    struct stat st = {0};
    long fd = joined ? inherited(path) : -1;

    if (fd < 0)
        fd = sys_open(path, access_mode | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
    if (fd < 0)
        return fd;
    fd = fds_adopt(FD_LOG, (int)fd);
    fds_share(FD_LOG);
    regular = fd >= 0 && sys_fstat((int)fd, &st) == 0 && S_ISREG(st.st_mode);
    if (fd >= 0 && sys_fstat((int)fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size && first_for_file((int)fd)) {
        /* An old transcript. The identity is noted with the [MEM] block, so take the note back. */
        sys(SYS_ftruncate, fd, 0);
        for (u32 i = 0; i < ARENA_LOGS; i++)
            if (arena->logs[i].dev == st.st_dev && arena->logs[i].ino == st.st_ino)
                arena->logs[i] = (struct arena_log){0};
    }
    return fd;
}

bool sink_mappable(void)
{
    return regular || dead || kind == LOG_NONE;
}

long sink_open(struct arena *a, const char *path, bool joined, bool mapped)
{
    struct stat st = {0};

    arena = a;
    if (mapped)
        access_mode = O_RDWR;
    if (strcmp(path, "none") == 0)
        return 0;
    if (strcmp(path, "-") == 0) {
        if (sys_fstat(2, &st) < 0)
            return 0; /* the program was started without standard error */
        regular = S_ISREG(st.st_mode);
        stderr_dev = st.st_dev;
        stderr_ino = st.st_ino;
        kind = LOG_STDERR;
        return 0;
    }
    kind = LOG_FILE;
    per_process = has_pid(path);
    regular = per_process;
    return per_process ? open_directory(path) : open_file(path, joined);
}
