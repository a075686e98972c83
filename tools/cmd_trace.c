/* mmioshim trace: reads transcripts. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpu/cpu.h"
#include "tool.h"
#include "trace.h"

static const char help[] =
    "Usage: mmioshim trace convert [-t FORMAT] [-o FILE] [--show LIST] FILE\n"
    "       mmioshim trace stats [--json] FILE\n"
    "       mmioshim trace report FILE\n"
    "Reads a transcript: binary (MMIOSHIM_LOG_FORMAT=ring), text or JSON lines. FILE - is standard input.\n"
    "\n"
    "  convert  writes it in another format\n"
    "  stats    counts accesses by device, register and place in the program\n"
    "  report   a summary: time, devices, call stacks, polls, findings\n"
    "  --help   this text; after a verb: its own\n";

static const struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
} verbs[] = {{"convert", trace_convert}, {"stats", trace_stats}, {"report", trace_report}};

/* --- the file --- */

/* Files up to this size are copied: a program that still writes to one must not change it under the reader. */
#define COPY_UP_TO ((size_t)1 << 30)

/* All of a stream, growing as it comes. */
static bool read_all(struct trace_file *file, int fd, size_t expected)
{
    size_t room = 0;

    for (;;) {
        ssize_t n;

        if (room - file->size < 4096) {
            size_t wanted = room ? room * 2 : expected + (1 << 16);
            u8 *larger = realloc(file->data, wanted);

            if (!larger)
                return false;
            file->data = larger;
            room = wanted;
        }
        n = read(fd, file->data + file->size, room - file->size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        file->size += (size_t)n;
    }
}

static bool load(struct trace_file *file, int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return false;
    if (S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return false;
    }
    if (!S_ISREG(st.st_mode))
        return read_all(file, fd, 0);
    file->dev = st.st_dev;
    file->ino = st.st_ino;
    if ((size_t)st.st_size <= COPY_UP_TO)
        return read_all(file, fd, (size_t)st.st_size);
    file->size = (size_t)st.st_size;
    file->data = mmap(NULL, file->size, PROT_READ, MAP_PRIVATE, fd, 0);
    file->mapped = file->data != MAP_FAILED;
    return file->mapped;
}

static void unload(struct trace_file *file)
{
    if (file->mapped)
        munmap(file->data, file->size);
    else
        free(file->data);
}

int trace_file_open(struct trace_file *file, struct trace_input *input, const char *path)
{
    bool in = strcmp(path, "-") == 0;
    int fd = in ? 0 : open(path, O_RDONLY | O_CLOEXEC);
    char text[256];
    struct fmt error = FMT_INIT(text);
    bool ok;

    *file = (struct trace_file){.path = in ? "standard input" : path};
    ok = fd >= 0 && load(file, fd);
    if (!ok)
        tool_error("%s: %s", file->path, strerror(errno));
    if (fd > 0)
        close(fd);
    if (!ok)
        return TOOL_FAILED;
    if (trace_input_open(input, file->data, file->size, &error) == 0)
        return 0;
    tool_error("%s: %s", file->path, fmt_end(&error));
    unload(file);
    return TOOL_FAILED;
}

int trace_file_close(struct trace_file *file, struct trace_input *input)
{
    int ret = 0;

    if (input->damage.len) {
        tool_error("%s: %s", file->path, fmt_end(&input->damage));
        ret = TOOL_FAILED;
    }
    trace_input_close(input);
    unload(file);
    return ret;
}

int trace_needs_decoder(void)
{
    char text[256];
    struct fmt error = FMT_INIT(text);

    if (cpu_init(&error) == 0)
        return 0;
    tool_error("%s", fmt_end(&error));
    return TOOL_FAILED;
}

int cmd_trace(int argc, char **argv)
{
    if (argc < 2) {
        fputs(help, stderr);
        return TOOL_ERROR;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        fputs(help, stdout);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].run(argc - 1, argv + 1);
    tool_error("unknown %s '%s'; known: convert, stats, report", argv[1][0] == '-' ? "option" : "verb", argv[1]);
    return TOOL_ERROR;
}
