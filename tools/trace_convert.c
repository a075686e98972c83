/* mmioshim trace convert: a transcript in another format. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/options.h"
#include "tool.h"
#include "trace.h"
#include "trace_write.h"

static const char help[] =
    "Usage: mmioshim trace convert [OPTIONS] FILE\n"
    "Writes a transcript in another format. FILE - is standard input.\n"
    "\n"
    "  -t, --to FORMAT    text (the default), json, mmiotrace (the Linux kernel's), chrome\n"
    "                     (for ui.perfetto.dev), vcd (for wave viewers such as GTKWave)\n"
    "  -o, --output FILE  where it goes; else to standard output\n"
    "  --show LIST        what else text and JSON show: time, pid, insn, joined by commas\n"
    "  -h, --help         this text\n";

struct request {
    const struct trace_writer *writer;
    const char *output;
    unsigned show;
    const char *path;
};

static int show_flags(const char *list, unsigned *show)
{
    struct options options = {0};
    char text[256];
    struct fmt error = FMT_INIT(text);

    if (option_check(OPT_LOG_SHOW, list, &error) < 0) {
        tool_error("--show=%s: unknown word; allowed: %s", list, option_rows[OPT_LOG_SHOW].values);
        return -1;
    }
    options.value[OPT_LOG_SHOW] = list;
    *show = option_flags(&options, OPT_LOG_SHOW);
    return 0;
}

static int set_writer(struct request *r, const char *name)
{
    r->writer = trace_writer_find(name);
    if (r->writer)
        return 0;
    tool_error("unknown format '%s'; known: %s", name, trace_writer_names);
    return -1;
}

/* 0; 1: help was printed; -1: reported. */
static int read_request(struct request *r, int argc, char **argv)
{
    static const struct option known[] = {
        {"to", required_argument, NULL, 't'},
        {"output", required_argument, NULL, 'o'},
        {"show", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c, ret = set_writer(r, "text");

    optind = 0;
    opterr = 0;
    while (ret == 0 && (c = getopt_long(argc, argv, ":t:o:h", known, NULL)) != -1) {
        if (c == 't') {
            ret = set_writer(r, optarg);
        } else if (c == 'o') {
            r->output = optarg;
        } else if (c == 's') {
            ret = show_flags(optarg, &r->show);
        } else if (c == 'h') {
            fputs(help, stdout);
            return 1;
        } else {
            tool_error(c == ':' ? "option '%s' needs a value" : "unknown option '%s'; known: -t -o --show -h", argv[optind - 1]);
            return -1;
        }
    }
    if (ret == 0 && optind + 1 != argc) {
        tool_error("usage: mmioshim trace convert [-t FORMAT] [-o FILE] [--show LIST] FILE");
        return -1;
    }
    r->path = argv[optind];
    return ret;
}

static void write_all(struct trace_output *out, struct trace_input *in, const struct trace_writer *w)
{
    enum trace_item item;

    w->begin(out, in);
    while ((item = trace_input_next(in)) != ITEM_END)
        w->item(out, in, item);
    if (w->end)
        w->end(out, in);
    trace_output_flush(out);
    free(out->buf.buf);
}

/* The output must not be the input: it is emptied first. */
static FILE *open_output(const struct request *r, const struct trace_file *file)
{
    struct stat st;
    FILE *f;

    if (!r->output || strcmp(r->output, "-") == 0)
        return stdout;
    if (stat(r->output, &st) == 0 && file->ino && st.st_ino == file->ino && st.st_dev == file->dev) {
        tool_error("%s: is the transcript itself", r->output);
        return NULL;
    }
    f = fopen(r->output, "we");
    if (!f)
        tool_error("%s: %s", r->output, strerror(errno));
    return f;
}

static int convert(const struct request *r, struct trace_file *file, struct trace_input *in)
{
    struct trace_output out = {.show = r->show};
    bool insn = strcmp(r->writer->name, "json") == 0 || r->show & TRACE_SHOW_INSN;
    int ret = 0;

    if (r->writer->needs_time && !in->timed) {
        tool_error("%s: %s needs times, which this transcript has not; log with MMIOSHIM_LOG_FORMAT=ring", file->path,
                   r->writer->name);
        return TOOL_FAILED;
    }
    if (in->format == TRACE_RING && insn)
        ret = trace_needs_decoder();
    out.file = ret ? NULL : open_output(r, file);
    if (!out.file)
        return ret ? ret : TOOL_FAILED;
    write_all(&out, in, r->writer);
    if (out.file == stdout)
        return 0; /* main() looks after it */
    ret = ferror(out.file);
    if (fclose(out.file) != 0 || ret) {
        tool_error("%s: %s", r->output, strerror(errno));
        return TOOL_FAILED;
    }
    return 0;
}

int trace_convert(int argc, char **argv)
{
    struct request r = {0};
    struct trace_file file;
    struct trace_input in;
    int ret = read_request(&r, argc, argv), damaged;

    if (ret)
        return ret > 0 ? 0 : TOOL_ERROR;
    ret = trace_file_open(&file, &in, r.path);
    if (ret)
        return ret;
    ret = convert(&r, &file, &in);
    damaged = trace_file_close(&file, &in);
    return ret ? ret : damaged;
}
