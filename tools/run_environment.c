#include "run_environment.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

#ifndef LIBDIR
#define LIBDIR "/usr/local/lib"
#endif

#define LIBRARY "libmmioshim.so"

/* Absolute path of the library in a directory, NULL: it is not there. */
static char *library_in(const char *dir, const char *below)
{
    char *path = tool_format("%s%s/" LIBRARY, dir, below);
    char *real = realpath(path, NULL);

    free(path);
    if (real && access(real, R_OK) < 0) {
        free(real);
        real = NULL;
    }
    return real;
}

/* Beside the command (a build tree), in lib beside its bin (a prefix that was moved), where it was built for. */
static char *find_library(void)
{
    char self[PATH_MAX] = "";
    char *slash, *path = NULL;

    if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
        self[0] = 0;
    slash = strrchr(self, '/');
    if (slash) {
        *slash = 0;
        path = library_in(self, "");
        if (!path)
            path = library_in(self, "/../lib");
    }
    if (!path)
        path = library_in(LIBDIR, "");
    if (!path)
        tool_error(LIBRARY " is neither in %s nor in %s/../lib nor in " LIBDIR, self, self);
    return path;
}

/* Length of the first entry of LD_PRELOAD, which is separated by blanks and colons (ld.so(8)). */
static size_t entry_length(const char *list)
{
    return strcspn(list, ": ");
}

/* Run-time libraries of sanitizers refuse to start unless they come first. */
static bool is_sanitizer(const char *entry, size_t n)
{
    static const char *const names[] = {"libasan.so", "liblsan.so", "libtsan.so", "libclang_rt."};
    const char *name = memrchr(entry, '/', n);

    name = name ? name + 1 : entry;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t len = strlen(names[i]);

        if ((size_t)(entry + n - name) >= len && strncmp(name, names[i], len) == 0)
            return true;
    }
    return false;
}

static bool listed(const char *list, const char *path)
{
    size_t len = strlen(path);

    while (*list) {
        size_t n = entry_length(list);

        if (n == len && strncmp(list, path, n) == 0)
            return true;
        list += n + (list[n] != 0);
    }
    return false;
}

int environment_preload(void)
{
    const char *old = getenv("LD_PRELOAD");
    char *library = find_library(), *list;
    size_t first = 0;

    if (!library)
        return TOOL_ERROR;
    if (library[entry_length(library)]) {
        tool_error("%s: LD_PRELOAD cannot hold a path with a blank or a colon; move or copy the library", library);
        return TOOL_ERROR;
    }
    if (!old || !*old) {
        setenv("LD_PRELOAD", library, 1);
    } else if (!listed(old, library)) {
        while (old[first] && is_sanitizer(old + first, entry_length(old + first))) {
            first += entry_length(old + first);
            first += strspn(old + first, ": ");
        }
        if (first && old[first - 1] != ':' && old[first - 1] != ' ')
            list = tool_format("%s:%s", old, library);
        else
            list = tool_format("%.*s%s%s%s", (int)first, old, library, old[first] ? ":" : "", old + first);
        setenv("LD_PRELOAD", list, 1);
        free(list);
    }
    free(library);
    return 0;
}

#define ORDER_OPTION "verify_asan_link_order"

void environment_allow_order(void)
{
    const char *old = getenv("ASAN_OPTIONS");
    char *options;

    if (old && strstr(old, ORDER_OPTION))
        return;
    options = tool_format("%s%s" ORDER_OPTION "=0", old ? old : "", old && *old ? ":" : "");
    setenv("ASAN_OPTIONS", options, 1);
    free(options);
}
