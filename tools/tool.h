/*
 * What the sub-commands of `mmioshim` share. Ordinary programs: stdio and
 * malloc are fine here. Each cmd_NAME gets its own name as argv[0], prints its
 * help for --help, and returns the exit status.
 */
#ifndef MMIOSHIM_TOOLS_TOOL_H
#define MMIOSHIM_TOOLS_TOOL_H

#include <stdbool.h>
#include <stddef.h>

/* The build says which version it is. */
#ifndef VERSION
#define VERSION "0.1.0"
#endif

enum {
    TOOL_FAILED = 1,           /* a command could not do what it was asked */
    TOOL_ERROR = 125,          /* bad usage, and every error of `run` itself, as env(1) */
    TOOL_NOT_EXECUTABLE = 126,
    TOOL_NOT_FOUND = 127,
};

int cmd_run(int argc, char **argv);
int cmd_map(int argc, char **argv);
int cmd_dirty(int argc, char **argv);
int cmd_devices(int argc, char **argv);
int cmd_decode(int argc, char **argv);
int cmd_machine(int argc, char **argv);
int cmd_trace(int argc, char **argv);

/* "mmioshim CMD: text" as one line on standard error. */
void tool_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Never NULL: without memory the command ends with TOOL_ERROR. */
void *tool_alloc(size_t bytes);
char *tool_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
