/* The verbs of `mmioshim trace`. Each gets its own name as argv[0] and returns the exit status. */
#ifndef MMIOSHIM_TOOLS_TRACE_H
#define MMIOSHIM_TOOLS_TRACE_H

#include "trace_input.h"

int trace_convert(int argc, char **argv);
int trace_stats(int argc, char **argv);
int trace_report(int argc, char **argv);

/* A transcript in memory. */
struct trace_file {
    const char *path;
    u8 *data;
    size_t size;
    bool mapped;
    u64 dev, ino; /* 0: no file */
};

/* Reads a file ("-": standard input) and says what kind it is. 0, or the exit status, reported. */
int trace_file_open(struct trace_file *file, struct trace_input *input, const char *path);
/* What was found damaged is said; the exit status. */
int trace_file_close(struct trace_file *file, struct trace_input *input);
/* Disassembly is wanted. 0, or the exit status, reported. */
int trace_needs_decoder(void);

#endif
