/* What libunwind gets instead of some functions of libc: unwind_open.c says why. */
#include <sys/mman.h>
#include <time.h>

#include "base/mem.h"
#include "base/sys.h"
#include "trap/unwind_lib.h"

#include "base/trapsafe.h"

/*
 * The lock of its allocator: the owner's thread id in the first word of the
 * mutex. A few instructions are done under it. An owner that does not exist
 * (it died, or it is a thread that fork left in the parent) is replaced.
 */
static int import_lock(void *mutex)
{
    u32 self = (u32)sys_gettid(), *word = mutex;
    const struct timespec pause = {0, 50000};

    for (;;) {
        u32 owner = 0;

        if (__atomic_compare_exchange_n(word, &owner, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return 0;
        if (owner == self)
            return 0;
        if (sys(SYS_tgkill, sys_getpid(), owner, 0) < 0)
            __atomic_compare_exchange_n(word, &owner, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
        else
            sys(SYS_nanosleep, &pause, NULL);
    }
}

static int import_unlock(void *mutex)
{
    __atomic_store_n((u32 *)mutex, 0, __ATOMIC_RELEASE);
    return 0;
}

/* Asynchronous signals are masked or deferred in the trap already. */
static int import_sigprocmask(int how, const void *set, void *old)
{
    (void)how;
    (void)set;
    (void)old;
    return 0;
}

static void *import_mmap(void *addr, size_t len, int prot, int flags, int fd, long offset)
{
    void *p = sys_mmap(addr, len, prot, flags, fd, (u64)offset);

    return sys_failed((long)p) ? MAP_FAILED : p;
}

static int import_munmap(void *addr, size_t len)
{
    return sys_munmap(addr, len) < 0 ? -1 : 0;
}

/*
 * At its start it opens a pipe to try local addresses with. We never ask it
 * to, and the descriptors would show in the program. A program that uses the
 * same library makes it ask again.
 */
static int import_pipe2(int fds[2], int flags)
{
    return unwind_lib.space && sys(SYS_pipe2, fds, flags) == 0 ? 0 : -1;
}

const struct unwind_import unwind_imports[] = {
    {"pthread_mutex_lock", (void *)import_lock},
    {"pthread_mutex_unlock", (void *)import_unlock},
    {"sigprocmask", (void *)import_sigprocmask},
    {"mmap", (void *)import_mmap},
    {"munmap", (void *)import_munmap},
    {"pipe2", (void *)import_pipe2},
    {"memcpy", (void *)memcpy},
    {"memmove", (void *)memmove},
    {"memset", (void *)memset},
    {"strlen", (void *)strlen},
};
const unsigned unwind_nimports = ARRAY_SIZE(unwind_imports);
