#include "tools/maps.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tool.h"

extern char **environ;

bool tool_is_source(const char *path)
{
    size_t n = strlen(path);

    return n >= 4 && strcmp(path + n - 4, ".dts") == 0;
}

static int fail(const char *path, const char *what)
{
    tool_error("%s: %s", path, what);
    return TOOL_ERROR;
}

/* An empty file that nobody else can have prepared. 0 or -1 with errno. */
static int make_temporary(char *out_path, size_t size)
{
    const char *directory = getenv("TMPDIR");
    int n, fd;

    if (!directory || !*directory)
        directory = "/tmp";
    n = snprintf(out_path, size, "%s/mmioshim-XXXXXX.dtb", directory);
    if (n < 0 || (size_t)n >= size) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkstemps(out_path, 4);
    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

/* Runs dtc to its end. -1: it could not be started (errno), else its wait status. */
static int run_dtc(const char *path, const char *out_path)
{
    /* an operand that starts with '-' would be an option */
    char *input = tool_format("%s%s", path[0] == '-' ? "./" : "", path);
    int status, result;
    pid_t pid;
    /* -q: no warnings, they are about style */
    char *const argv[] = {(char[]){"dtc"}, (char[]){"-q"},  (char[]){"-I"},         (char[]){"dts"}, (char[]){"-O"},
                          (char[]){"dtb"}, (char[]){"-o"}, (char *)(uintptr_t)out_path, input,           NULL};

    result = posix_spawnp(&pid, "dtc", NULL, NULL, argv, environ);
    free(input);
    if (result != 0) {
        errno = result;
        return -1;
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return status;
}

int tool_compile_dts(const char *path, char *out_path, size_t size)
{
    int status;

    if (access(path, R_OK) < 0)
        return fail(path, strerror(errno));
    if (make_temporary(out_path, size) < 0) {
        tool_error("%s: no temporary file for the blob: %s", path, strerror(errno));
        return TOOL_ERROR;
    }
    status = run_dtc(path, out_path);
    if (status == 0)
        return 0;
    unlink(out_path);
    if (status < 0 && errno == ENOENT)
        return fail(path, "dtc is not installed, which compiles device tree source (Debian: device-tree-compiler)");
    if (status < 0)
        return fail(path, strerror(errno));
    return fail(path, "dtc refused the device tree source");
}

/* One byte more than a blob may have, to see that a file is larger. Never freed: desc points into it. */
static long read_blob(const char *path, void **blob)
{
    FILE *file = fopen(path, "rb");
    size_t size;

    if (!file)
        return -1;
    *blob = tool_alloc(MACHINE_MAX_FDT + 1);
    size = fread(*blob, 1, MACHINE_MAX_FDT + 1, file);
    if (ferror(file)) {
        fclose(file);
        return -1;
    }
    fclose(file);
    return (long)size;
}

static int load_source(const char *path, struct machine_desc *desc, struct fmt *error)
{
    char temporary[4096];
    void *blob;
    long size;

    if (tool_compile_dts(path, temporary, sizeof(temporary)) != 0)
        return TOOL_ERROR;
    size = read_blob(temporary, &blob);
    unlink(temporary);
    if (size < 0)
        return fail(path, "the compiled blob cannot be read");
    if (machine_parse(desc, blob, (size_t)size, error) < 0)
        return fail(path, fmt_end(error));
    return 0;
}

int tool_load_map(const char *arg, struct machine_desc *desc)
{
    char text[1024];
    struct fmt error = FMT_INIT(text);

    if (tool_is_source(arg))
        return load_source(arg, desc, &error);
    if (machine_load(desc, arg, &error) == 0)
        return 0;
    tool_error("%s", fmt_end(&error));
    return TOOL_ERROR;
}
