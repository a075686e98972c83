#include "backends/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/sys.h"

#include "base/trapsafe.h"

#define MOST_FDS 4u
#define FIRST    3   /* what the helper's descriptors begin with */
#define ASIDE    100 /* they are out of each other's way from here on */

/* In the child: what is kept gets its place, the rest is closed. */
static void place_descriptors(const int *fds, u32 nfds)
{
    int moved[MOST_FDS];

    for (u32 i = 0; i < nfds; i++)
        moved[i] = (int)sys_fcntl(fds[i], F_DUPFD, ASIDE);
    for (u32 i = 0; i < nfds; i++)
        sys(SYS_dup3, moved[i], FIRST + (int)i, 0);
    sys(SYS_close_range, FIRST + (int)nfds, INT32_MAX, 0);
    sys_close(0);
    sys_open("/dev/null", O_RDWR, 0);
    sys(SYS_dup3, 0, 1, 0);
    sys(SYS_dup3, 0, 2, 0);
}

/* Signals that the program has chosen to ignore are ignored across exec, and what it blocks is blocked. */
static void plain_signals(void)
{
    static const struct {
        u64 handler, flags, restorer, mask;
    } plain = {0, 0, 0, 0};
    u64 none = 0;

    for (int sig = 1; sig <= 64; sig++)
        sys(SYS_rt_sigaction, sig, &plain, NULL, 8);
    sys(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &none, NULL, 8);
}

static void __attribute__((noreturn)) become(const char *path, const char *const *argv, const int *fds, u32 nfds)
{
    static const char *const none[] = {NULL};

    place_descriptors(fds, nfds);
    plain_signals();
    sys(SYS_execve, path, argv, none);
    sys_exit_group(127);
}

long helper_start(const char *path, const char *const *argv, const int *fds, u32 nfds)
{
    long pid = sys(SYS_clone, 0, 0, 0, 0, 0);

    if (pid == 0)
        become(path, argv, fds, MIN(nfds, MOST_FDS));
    return pid;
}

/* Between the program and the helper, because a child that calls exec announces its end by SIGCHLD, whatever it was made with. */
static void __attribute__((noreturn)) stand_between(const char *path, const char *const *argv, int out)
{
    long pid = sys(SYS_clone, 0, 0, 0, 0, 0);

    if (pid == 0) {
        sys(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
        become(path, argv, &out, 1);
    }
    sys_close(out);
    if (pid > 0)
        sys(SYS_wait4, pid, NULL, __WALL, NULL);
    sys_exit_group(0);
}

static u64 milliseconds(void)
{
    struct timespec t = {0, 0};

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

/* False: it has not come to its end in time. */
static bool read_all(int fd, u64 until, struct fmt *answer)
{
    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        u64 now = milliseconds(), left = until > now ? until - now : 0;
        struct timespec timeout = {(time_t)(left / 1000), (long)(left % 1000 * 1000000)};
        char buf[256];
        long n = sys(SYS_ppoll, &p, 1, &timeout, NULL, 8);

        if (n == 0)
            return false;
        if (n < 0)
            continue;
        n = sys_read(fd, buf, sizeof(buf));
        if (n == 0)
            return true;
        if (n > 0)
            fmt_mem(answer, buf, (size_t)n);
        else if (n != -EINTR)
            return false;
    }
}

bool helper_ask(const char *path, const char *const *argv, int seconds, struct fmt *answer)
{
    u64 all = ~(u64)0, saved;
    int fds[2];
    bool ended;
    long pid;

    if (sys(SYS_pipe2, fds, O_CLOEXEC) < 0)
        return false;
    sys(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &all, &saved, 8);
    pid = sys(SYS_clone, 0, 0, 0, 0, 0);
    if (pid == 0)
        stand_between(path, argv, fds[1]);
    sys_close(fds[1]);
    ended = pid > 0 && read_all(fds[0], milliseconds() + (u64)seconds * 1000, answer);
    if (pid > 0) {
        if (!ended)
            sys(SYS_kill, pid, SIGKILL);
        sys(SYS_wait4, pid, NULL, __WCLONE, NULL);
    }
    sys(SYS_rt_sigprocmask, 2, &saved, NULL, 8);
    sys_close(fds[0]);
    fmt_end(answer);
    return ended && answer->len;
}
