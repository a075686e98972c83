/*
 * Machine descriptions for the sub-commands: what the library takes, and
 * device tree source as well. Ordinary context.
 */
#ifndef MMIOSHIM_TOOLS_MAPS_H
#define MMIOSHIM_TOOLS_MAPS_H

#include <stdbool.h>
#include <stddef.h>

#include "config/machine.h"

/* Does the name end in .dts? */
bool tool_is_source(const char *path);

/*
 * Runs dtc on a source file. The blob goes into a new file in $TMPDIR (or
 * /tmp) whose name is written to out_path (size bytes); the caller unlinks it.
 * 0, or TOOL_ERROR after dtc's or our own message on standard error, and no file is left.
 */
int tool_compile_dts(const char *path, char *out_path, size_t size);

/* Loads a built-in map, a blob or a source file. 0, or TOOL_ERROR after a message on standard error. */
int tool_load_map(const char *arg, struct machine_desc *desc);

#endif
