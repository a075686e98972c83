/* What a program file is, as far as exec must know. Ordinary context, vfork children too. */
#ifndef MMIOSHIM_INTERPOSE_PROGRAM_H
#define MMIOSHIM_INTERPOSE_PROGRAM_H

#include <stdbool.h>

/*
 * Will the dynamic loader run for it, so that it may load us? False only where the file says that it will not: a
 * static ELF, or a script for one. NULL, bare names, and what cannot be read: true.
 */
bool program_takes_libraries(const char *path);

#endif
