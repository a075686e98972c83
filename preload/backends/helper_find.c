/* Where the helper is: what this code is in, the library or a program of ours, was installed with it. */
#include <dlfcn.h>
#include <fcntl.h>

#include "backends/helper.h"

#include "base/mem.h"
#include "base/sys.h"

/* The file that this code is in, with no link and no relative part in its path. False: not to be found. */
static bool own_path(char path[HELPER_PATH])
{
    char link[64];
    struct fmt f = FMT_INIT(link);
    Dl_info info;
    long fd, n = -1;

    if (!dladdr((void *)(uintptr_t)helper_find, &info) || !info.dli_fname)
        return false;
    fd = sys_open(strchr(info.dli_fname, '/') ? info.dli_fname : "/proc/self/exe", O_PATH | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    fmt_printf(&f, "/proc/self/fd/%d", (int)fd);
    n = sys_readlink(fmt_end(&f), path, HELPER_PATH - 1);
    sys_close((int)fd);
    path[n > 0 ? n : 0] = 0;
    return n > 0;
}

bool helper_find(const char *name, char path[HELPER_PATH])
{
    static const char *const places[] = {"", "mmioshim/"};
    char own[HELPER_PATH];
    char *slash;

    if (!own_path(own) || !(slash = strrchr(own, '/')))
        return false;
    for (u32 i = 0; i < ARRAY_SIZE(places); i++) {
        struct fmt f = {.buf = path, .cap = HELPER_PATH};

        fmt_mem(&f, own, (size_t)(slash + 1 - own));
        fmt_printf(&f, "%s%s", places[i], name);
        fmt_end(&f);
        if (!f.full && sys(SYS_faccessat, AT_FDCWD, path, 1 /* X_OK */) == 0)
            return true;
    }
    return false;
}
