/* Named machines on disk: shared by the library and the `machine` command. Ordinary context. */
#ifndef MMIOSHIM_MEMORY_NAMED_H
#define MMIOSHIM_MEMORY_NAMED_H

#include "memory/arena.h"

#define NAMED_DIR "/var/tmp/mmioshim-"

/* Appends the directory of a machine, terminated. */
void named_path(struct fmt *f, const char *name);
/* Opens the directory, which must be ours alone, and locks it until the descriptor is closed. Descriptor, or -1 with one line. */
int named_open(const char *name, bool create, struct fmt *error);
/* Maps the state that an open file holds. NULL with *why. */
struct arena *arena_open(int fd, const char **why);

/* Do the tables lie where they must, and do the devices fit the map? */
bool arena_sound(struct arena *arena, const struct machine_desc *desc);

#endif
