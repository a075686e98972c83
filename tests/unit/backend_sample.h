/* What tests of host ends share: temporary places, and standing in for descriptors 0 and 1. */
#ifndef MMIOSHIM_TESTS_BACKEND_SAMPLE_H
#define MMIOSHIM_TESTS_BACKEND_SAMPLE_H

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include "backends/backend.h"
#include "base/types.h"

static char error_text[1024];
static struct fmt error = FMT_INIT(error_text);

static inline int open_end(struct backend *b, const char *spec)
{
    error.len = 0;
    error.full = false;
    memset(error_text, 0, sizeof(error_text));
    return backend_open(b, spec, &error);
}

/* As in the trap: every signal is masked. */
static inline void mask_signals(void)
{
    sigset_t all;

    sigfillset(&all);
    sigdelset(&all, SIGALRM); /* the test's own time limit */
    sigprocmask(SIG_SETMASK, &all, NULL);
}

static inline bool is_pending(int signal)
{
    sigset_t set;

    sigpending(&set);
    return sigismember(&set, signal);
}

static inline char *temporary_directory(void)
{
    static char path[] = "/tmp/mmioshim-unit-XXXXXX";

    CHECK(mkdtemp(path) != NULL);
    return path;
}

static inline double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#endif
