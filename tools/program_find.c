#include "program.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

/* 0, or why the file cannot be executed, as execve(2) would say. */
static int executable(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return errno;
    if (S_ISDIR(st.st_mode))
        return EISDIR;
    if (!S_ISREG(st.st_mode) || access(path, X_OK) < 0)
        return EACCES;
    return 0;
}

/* A candidate that is there but cannot be executed is remembered, and the search goes on. */
static int search(const char *name, const char *dirs, char **path)
{
    int why = ENOENT;

    for (;;) {
        size_t n = strcspn(dirs, ":");
        int error;

        *path = n ? tool_format("%.*s/%s", (int)n, dirs, name) : tool_format("./%s", name);
        error = executable(*path);
        if (error == 0)
            return 0;
        free(*path);
        *path = NULL;
        if (error == EACCES)
            why = EACCES;
        if (!dirs[n])
            return why;
        dirs += n + 1;
    }
}

int program_find(const char *name, char **path)
{
    const char *dirs = getenv("PATH");
    int error;

    if (strchr(name, '/') || !*name) {
        *path = tool_format("%s", name);
        error = executable(name);
    } else {
        error = search(name, dirs ? dirs : "/bin:/usr/bin", path);
    }
    if (error == 0)
        return 0;
    tool_error("%s: %s", name, strerror(error));
    return error == ENOENT ? TOOL_NOT_FOUND : TOOL_NOT_EXECUTABLE;
}
