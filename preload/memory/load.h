/* Initial contents of RAM, and the file with the dirty bitmap. Ordinary context (dirty file: any). */
#ifndef MMIOSHIM_MEMORY_LOAD_H
#define MMIOSHIM_MEMORY_LOAD_H

#include "memory/arena.h"

/* MMIOSHIM_LOAD, "FILE@ADDRESS;...": into the RAM file of a machine that is being made. 0, or -1 with one line. */
int ram_load(const struct machine *machine, const char *spec, struct fmt *error);
/* Writes the dirty bitmap to a temporary file and renames it. 0 or -errno. Any context, signals masked. */
long dirty_save(const struct machine *machine, const char *path);

#endif
