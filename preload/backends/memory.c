/*
 * memory: a disk whose bytes live with the machine, in its RAM file behind
 * RAM. All of its processes see them; they are gone with it, and a named
 * machine keeps them as long as it keeps its RAM.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "backends/descriptor.h"
#include "backends/disk.h"

#include "base/errname.h"
#include "base/mem.h"
#include "base/range.h"
#include "base/sys.h"

#include "base/trapsafe.h"

#define MOST ((u64)1 << 40) /* bytes of one disk */

/* "64M": bytes, or so many of 1024, 1024^2, 1024^3. False: nothing of the kind, or not whole sectors. */
static bool parse_size(const char *text, u64 *bytes)
{
    static const char units[] = "KMG";
    const char *unit;
    u64 n = 0;

    if (*text < '1' || *text > '9')
        return false;
    for (; *text >= '0' && *text <= '9' && n <= MOST; text++)
        n = 10 * n + (u64)(*text - '0');
    unit = *text ? strchr(units, *text) : NULL;
    if (unit) {
        n = n <= MOST ? n << (10 * (unit - units + 1)) : n;
        text++;
    }
    *bytes = n;
    return !*text && n <= MOST && n % 512 == 0;
}

/* A file that would be longer than RLIMIT_FSIZE raises SIGXFSZ, which is not the program's. */
static long grow(int fd, u64 size)
{
    u64 signal = (u64)1 << (SIGXFSZ - 1), before = 0;
    long ret;

    sys(SYS_rt_sigprocmask, SIG_BLOCK, &signal, &before, sizeof(signal));
    ret = sys(SYS_ftruncate, fd, size);
    if (ret == -EFBIG)
        sys_drain(SIGXFSZ);
    sys(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
    return ret;
}

/* Nobody has opened it yet: the disk gets its place. */
static long take_place(struct backend *b, u64 size)
{
    struct stat st = {0};
    long ret = sys_fstat(b->store, &st);

    b->base = page_up((u64)st.st_size);
    b->size = size;
    return ret < 0 ? ret : grow(b->store, b->base + size);
}

/* Files of a named machine may be damaged. */
static bool place_sound(const struct backend *b, u64 size)
{
    struct stat st = {0};

    return b->size == size && sys_fstat(b->store, &st) == 0 && range_contains((struct range){0, (u64)st.st_size}, b->base, size);
}

static int memory_open(struct backend *b, const char *spec, struct fmt *error)
{
    char argument[8], option[64];
    struct fmt a = FMT_INIT(argument), o = FMT_INIT(option);
    const char *text;
    u64 size = 0;
    long ret = 0;

    backend_next(&spec, &a);
    if (argument[0] || a.full)
        return backend_refuse(b->ops, argument, error);
    while (backend_next(&spec, &o)) {
        text = backend_value(option, "size");
        if (strcmp(option, "readonly") != 0 && (!text || !parse_size(text, &size)))
            return backend_refuse(b->ops, option, error);
    }
    if (!size || b->store < 0) {
        fmt_str(error, "memory needs a size: size=BYTES, in whole sectors of 512, or with K, M or G behind, 1T at most");
        return -1;
    }
    if (!b->size)
        ret = take_place(b, size);
    else if (!place_sound(b, size))
        ret = -EINVAL;
    b->in = b->out = ret < 0 ? (int)ret : (int)sys_fcntl(b->store, F_DUPFD_CLOEXEC, 3);
    if (b->in < 0) {
        fmt_printf(error, "cannot have %lu bytes for a disk: %s", size, errname(b->in));
        return -1;
    }
    b->owns = true;
    return 0;
}

const struct backend_ops backend_memory = {
    .name = "memory",
    .options = ",size=BYTES[K|M|G][,readonly]",
    .doc = "a disk that lives and ends with the machine",
    .open = memory_open,
    .close = descriptor_close,
    .disk = &disk_file_ops,
};
