/*
 * The program that `mmioshim run` is to execute: where it is, and whether a
 * preloaded library can reach it at all.
 */
#ifndef MMIOSHIM_TOOLS_PROGRAM_H
#define MMIOSHIM_TOOLS_PROGRAM_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Looks the program up as execvp(3) does. 0 and its path (malloc), or TOOL_NOT_EXECUTABLE or TOOL_NOT_FOUND,
 * reported.
 */
int program_find(const char *name, char **path);

struct program_facts {
    bool elf;         /* no script */
    bool asan;        /* built with AddressSanitizer */
    bool asan_shared; /* whose run-time library is a shared one, which insists on being first */
};

/*
 * Looks at the file, for scripts at their interpreter. 0, or TOOL_ERROR after a line that says why the
 * library cannot get into it. A file that cannot be read is taken as good.
 */
int program_check(const char *path, struct program_facts *facts);

#endif
