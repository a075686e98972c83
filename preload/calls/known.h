/*
 * Sites that need not be searched for. What sites_find() finds in a file is
 * known when the library is built, for the libraries that every process has: a
 * host program (known/list.c) writes the table, known.c in the build directory.
 * A file is known by its build id, which its linker made from all of its
 * contents, and every site by its bytes; any other file is searched.
 */
#ifndef MMIOSHIM_CALLS_KNOWN_H
#define MMIOSHIM_CALLS_KNOWN_H

#include <link.h>

#include "calls/site.h"

struct known_site {
    u32 at;  /* from the beginning of the text */
    u32 sum; /* of the bytes that are overwritten */
    u16 nr;
    u8 tactic;
    i8 gap; /* distance to it from behind the call */
    u8 prev, next;
};

struct known_file {
    u8 id[BUILD_ID];
    u32 size;         /* of the text; 0 ends the table */
    u32 first, count; /* in known_sites */
};

extern const struct known_file known_files[];
extern const struct known_site known_sites[];

/* Calls each() for all code of a module that is not writable, with what its program headers tell of it. */
void known_texts(const struct dl_phdr_info *info, void (*each)(void *context, const struct text *text), void *context);
/* A site as the table has it. */
struct known_site known_pack(const struct text *text, const struct found *found);
/* As sites_find(), from the table. False: the text is not in it, or is not what it was (each() may have been called). */
bool known_find(const struct text *text, void (*each)(void *context, const struct found *found), void *context);

#endif
