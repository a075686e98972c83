/*
 * Looks for the descriptors of a machine: among those that this process
 * inherited, then among those of its ancestors. Ordinary context.
 */
#ifndef MMIOSHIM_MEMORY_FIND_H
#define MMIOSHIM_MEMORY_FIND_H

#include "base/types.h"

#define FOUND_FILES 64 /* ours, those of outer machines, and the /dev/mem descriptors of the program */

/* Descriptors of one process that carry our names, opened here (or inherited). */
struct found_machine {
    int arena_fd; /* the candidate */
    int files[FOUND_FILES];
    unsigned nfiles;
    u32 pid;   /* 0: this process */
    u32 depth; /* generations looked at */
};

void find_begin(struct found_machine *found);
/* Next process that has an arena; false: there is none. */
bool find_next(struct found_machine *found);
/* The descriptor of the file with this identity, -1: not among them. It is the caller's from then on. */
int found_file(const struct found_machine *found, u64 dev, u64 ino);
/* Closes what this candidate opened. */
void find_drop(struct found_machine *found);

#endif
