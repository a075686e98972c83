/* Where a machine description comes from: built in, or a file. */
#include <errno.h>
#include <fcntl.h>

#include "base/debug.h"
#include "base/errname.h"
#include "base/mem.h"
#include "base/sys.h"
#include "config/machine.h"
#include "config/maps.h"
#include "config/options.h"

#define FDT_MAGIC_BYTES "\xd0\x0d\xfe\xed"

const struct builtin_map *builtin_map_find(const char *name)
{
    for (unsigned i = 0; i < builtin_map_count; i++)
        if (strcmp(builtin_maps[i].name, name) == 0)
            return &builtin_maps[i];
    return NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

static void say_allowed(struct fmt *error)
{
    fmt_str(error, "; allowed:");
    for (unsigned i = 0; i < builtin_map_count; i++)
        fmt_printf(error, " %s,", builtin_maps[i].name);
    fmt_str(error, " or a device tree blob FILE.dtb");
}

static int unreadable(const char *map, long result, struct fmt *error)
{
    bool path = strchr(map, '/') || ends_with(map, ".dtb");

    if (result == -ENOENT && !path)
        fmt_str(error, "neither a built-in map nor a file");
    else
        fmt_printf(error, "cannot be read: %s", errname(result));
    say_allowed(error);
    return -1;
}

/* Is it a blob? Source is told apart, because users of dtc mix the two up. */
static int check_kind(const char *map, const char *text, size_t size, struct fmt *error)
{
    static const char source[] = "/dts-v1/";

    if (size >= 4 && memcmp(text, FDT_MAGIC_BYTES, 4) == 0)
        return 0;
    if (ends_with(map, ".dts") || (size >= sizeof(source) - 1 && memcmp(text, source, sizeof(source) - 1) == 0)) {
        fmt_str(error, "device tree source, not a blob; use `mmioshim run -m FILE.dts`, or compile it with dtc");
        return -1;
    }
    fmt_str(error, "not a device tree blob (no FDT magic)");
    say_allowed(error);
    return -1;
}

static int load_file(struct machine_desc *desc, const char *map, struct fmt *error)
{
    const size_t room = MACHINE_MAX_FDT + PAGE_SIZE;
    char *text = sys_pages(room);
    long size;

    if (!text) {
        fmt_str(error, "out of memory");
        return -1;
    }
    size = sys_read_file(map, text, room);
    if (size >= 0 && (u64)size < room)
        sys_munmap(text + page_up((u64)size), room - page_up((u64)size));
    if (size < 0)
        return unreadable(map, size, error);
    if (check_kind(map, text, (size_t)size, error) < 0)
        return -1;
    return machine_parse(desc, text, (size_t)size, error);
}

int machine_load(struct machine_desc *desc, const char *map, struct fmt *error)
{
    const struct builtin_map *builtin = builtin_map_find(map);
    struct fmt before = *error;
    int result;

    option_show(error, map);
    fmt_str(error, ": ");
    if (builtin)
        result = machine_parse(desc, builtin->blob, builtin->size, error);
    else
        result = load_file(desc, map, error);
    if (result == 0) {
        *error = before;
        debug(MAP, 1, "%s: %u banks, %u windows, hash %lx", map, desc->nbanks, desc->nwindows, desc->hash);
    }
    return result;
}
