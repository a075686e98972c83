#include "run_map.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/types.h"
#include "maps.h"
#include "tool.h"

/* FNV-1a, 64 bits: names a file; its contents are compared as well. */
static u64 hash(const u8 *bytes, size_t n)
{
    u64 h = 0xcbf29ce484222325;

    for (size_t i = 0; i < n; i++)
        h = (h ^ bytes[i]) * 0x100000001b3;
    return h;
}

static bool same_contents(int fd, const u8 *blob, size_t size)
{
    u8 *copy = tool_alloc(size + 1);
    bool same = pread(fd, copy, size + 1, 0) == (ssize_t)size && memcmp(copy, blob, size) == 0;

    free(copy);
    return same;
}

/* Is the file there, ours alone, and what we would write? Directories for temporary files are everybody's. */
static bool cached(const char *path, const u8 *blob, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    bool good;

    if (fd < 0)
        return false;
    good = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 0777) == 0600 &&
           same_contents(fd, blob, size);
    close(fd);
    return good;
}

static bool write_whole(int fd, const u8 *bytes, size_t n)
{
    while (n) {
        ssize_t done = write(fd, bytes, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        bytes += done;
        n -= (size_t)done;
    }
    return true;
}

/* A new file under another name, then renamed: nobody ever reads half of it. */
static int store(const char *path, const u8 *blob, size_t size)
{
    char *temporary = tool_format("%s.XXXXXX", path);
    int fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
    int ret = -1;

    if (fd >= 0) {
        bool good = write_whole(fd, blob, size);

        if (close(fd) == 0 && good && rename(temporary, path) == 0)
            ret = 0;
        else
            unlink(temporary);
    }
    if (ret < 0)
        tool_error("%s: %s", path, strerror(errno));
    free(temporary);
    return ret;
}

/* Reads a file as far as a blob may go and removes it. NULL: reported. */
static u8 *take_file(const char *path, size_t *size)
{
    u8 *blob = tool_alloc(MACHINE_MAX_FDT + 1);
    FILE *f = fopen(path, "rbe");

    *size = f ? fread(blob, 1, MACHINE_MAX_FDT + 1, f) : 0;
    if (!f || ferror(f) || *size > MACHINE_MAX_FDT) {
        tool_error("%s: %s", path, f && !ferror(f) ? "the compiled map is larger than 2 MB" : strerror(errno));
        free(blob);
        blob = NULL;
    }
    if (f)
        fclose(f);
    unlink(path);
    return blob;
}

const char *run_map_value(const char *map)
{
    const char *dir = getenv("TMPDIR");
    char compiled[PATH_MAX], *path;
    size_t size;
    u8 *blob;

    if (!tool_is_source(map))
        return map;
    if (tool_compile_dts(map, compiled, sizeof(compiled)) != 0)
        return NULL;
    blob = take_file(compiled, &size);
    if (!blob)
        return NULL;
    path = tool_format("%s/mmioshim-%u-%016lx.dtb", dir && *dir ? dir : "/tmp", (unsigned)geteuid(), hash(blob, size));
    if (!cached(path, blob, size) && store(path, blob, size) < 0) {
        free(path);
        path = NULL;
    }
    free(blob);
    return path;
}
