/* mmioshim dirty: what a dirty bitmap says. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dirty_view.h"
#include "tool.h"

#define MAX_FILE ((size_t)1 << 30) /* the bitmap of 32 TB of RAM */

static int help(void)
{
    puts("Usage: mmioshim dirty [OPTIONS] FILE\n"
         "Prints which pages of RAM a file made by MMIOSHIM_DIRTY marks as written: ranges and counts for each bank.\n"
         "FILE - is standard input.\n"
         "\nOptions:\n"
         "  -j, --json       one JSON object\n"
         "  --png OUT.png    a picture: a panel for each bank, a pixel or block for each page\n"
         "  -h, --help       this text");
    return 0;
}

/* All of a stream, growing as it comes: the size of the file is not believed. NULL: reported. */
static u8 *read_stream(FILE *f, const char *path, size_t *size)
{
    size_t room = 1 << 16;
    u8 *data = tool_alloc(room);

    *size = 0;
    for (;;) {
        u8 *larger;

        *size += fread(data + *size, 1, room - *size, f);
        if (*size < room || room >= MAX_FILE)
            break;
        room *= 2;
        larger = realloc(data, room);
        if (!larger) {
            tool_error("%s: out of memory", path);
            free(data);
            return NULL;
        }
        data = larger;
    }
    if (!ferror(f) && *size < MAX_FILE)
        return data;
    tool_error("%s: %s", path, ferror(f) ? strerror(errno) : "too large for a dirty bitmap");
    free(data);
    return NULL;
}

static u8 *read_path(const char *path, size_t *size)
{
    FILE *f;
    u8 *data;

    if (strcmp(path, "-") == 0)
        return read_stream(stdin, "standard input", size);
    f = fopen(path, "rbe");
    if (!f) {
        tool_error("%s: %s", path, strerror(errno));
        return NULL;
    }
    data = read_stream(f, path, size);
    fclose(f);
    return data;
}

int cmd_dirty(int argc, char **argv)
{
    static struct dirtyfile file;
    struct dirty_view view;
    char text[256];
    struct fmt error = FMT_INIT(text);
    size_t size;
    u8 *data;
    int ret;

    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return help();
    ret = dirty_view_options(&view, argc, argv);
    if (ret >= 0 && ret != 1)
        tool_error("usage: mmioshim dirty [--json] [--png OUT.png] FILE");
    if (ret != 1)
        return TOOL_ERROR;
    data = read_path(argv[1], &size);
    if (!data)
        return TOOL_FAILED;
    if (dirtyfile_read(&file, data, size, &error) < 0) {
        tool_error("%s: %s", argv[1], fmt_end(&error));
        ret = TOOL_FAILED;
    } else {
        ret = dirty_view_show(&view, &file);
    }
    free(data);
    return ret;
}
