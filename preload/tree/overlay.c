#include "tree/overlay.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/errname.h"
#include "base/mem.h"
#include "base/sys.h"
#include "tree/tree.h"

#define TOPS 64

static char root[TREE_PATH];
static size_t length;
static char tops[TOPS][TREE_NAME]; /* names in it */
static u32 ntops;                  /* more than TOPS: they are not all here */

bool overlay_used(void)
{
    return length != 0;
}

bool overlay_top(const char *name, size_t n)
{
    if (ntops > TOPS)
        return true;
    for (u32 i = 0; i < ntops; i++)
        if (strlen(tops[i]) == n && memcmp(tops[i], name, n) == 0)
            return true;
    return false;
}

/* Tells each entry of a directory until somebody has enough. Layout: getdents(2), struct linux_dirent64. */
static long each_entry(int fd, bool (*enough)(void *context, const char *name, u8 type), void *context)
{
    u8 entries[4096];
    long n;

    while ((n = sys(SYS_getdents64, fd, entries, sizeof(entries))) > 0)
        for (long at = 0; at < n;) {
            const char *name = (const char *)entries + at + 19;
            u16 size;

            memcpy(&size, entries + at + 16, sizeof(size));
            if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && enough(context, name, entries[at + 18]))
                return 1;
            at += size;
        }
    return n;
}

static bool add_top(void *context, const char *name, u8 type)
{
    (void)context, (void)type;
    if (ntops < TOPS && strlen(name) < TREE_NAME)
        memcpy(tops[ntops++], name, strlen(name) + 1);
    else
        ntops = TOPS + 1;
    return false;
}

struct nth {
    u32 left;
    char *name;
    u8 *type;
};

static bool is_nth(void *context, const char *name, u8 type)
{
    struct nth *n = context;

    if (n->left--)
        return false;
    memcpy(n->name, name, strlen(name) + 1);
    *n->type = type;
    return true;
}

bool overlay_list(const char *path, u32 index, char name[256], u8 *type)
{
    struct nth nth = {index, name, type};
    char real[TREE_PATH];
    long fd, found;

    if (!length || !overlay_path(path, real))
        return false;
    fd = sys_open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    found = each_entry((int)fd, is_nth, &nth);
    sys_close((int)fd);
    return found == 1;
}

int overlay_start(const char *directory, struct fmt *error)
{
    long fd, ret;

    if (!*directory || strcmp(directory, "none") == 0)
        return 0;
    fd = sys_open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    ret = fd < 0 ? fd : each_entry((int)fd, add_top, NULL);
    if (fd >= 0)
        sys_close((int)fd);
    if (ret < 0 || strlen(directory) >= sizeof(root)) {
        fmt_printf(error, "%s; allowed: a directory", ret < 0 ? errname(ret) : "too long");
        return -1;
    }
    length = strlen(directory);
    memcpy(root, directory, length + 1);
    while (length > 1 && root[length - 1] == '/')
        root[--length] = 0;
    return 0;
}

bool overlay_path(const char *path, char *real)
{
    size_t n = strlen(path);

    if (n >= TREE_PATH - length)
        return false;
    memcpy(real, root, length);
    memcpy(real + length, path, n + 1);
    return true;
}

enum overlay_kind overlay_find(const char *path)
{
    char real[TREE_PATH];
    struct stat st = {0};

    if (!length || !overlay_path(path, real) || sys(SYS_lstat, real, &st) < 0)
        return OVERLAY_NONE;
    return S_ISDIR(st.st_mode) ? OVERLAY_DIR : S_ISLNK(st.st_mode) ? OVERLAY_LINK : OVERLAY_FILE;
}

bool overlay_strip(char *path, long *n)
{
    if (!length || *n < (long)length || memcmp(path, root, length) != 0 || (path[length] != '/' && path[length]))
        return false;
    *n -= (long)length;
    memmove(path, path + length, (size_t)*n + 1);
    if (!*n) {
        memcpy(path, "/", 2);
        *n = 1;
    }
    return true;
}
