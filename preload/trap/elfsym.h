/*
 * Names of functions out of an ELF file, read piece by piece: nothing is
 * mapped, so a file that is truncated meanwhile cannot fault. The file may be
 * hostile. Trap context.
 */
#ifndef MMIOSHIM_TRAP_ELFSYM_H
#define MMIOSHIM_TRAP_ELFSYM_H

#include "base/types.h"

struct elf_source {
    int fd;   /* an open file, or -1: an image in memory */
    u64 base; /* of that image */
    u64 size; /* bytes of that image */
};

#define ELF_NAME 512 /* longest name that is kept, terminator included */

struct elf_function {
    u64 start; /* as linked: add the load bias */
    u64 size;  /* bytes; 0: the table does not say */
    char name[ELF_NAME];
};

/* Copies n bytes from an offset; false when they are not all there. */
bool elf_read(const struct elf_source *source, u64 offset, void *buf, size_t n);

/*
 * The function that contains `address` (as linked). Functions win over
 * unnamed kinds of symbols, global names over local ones, plain names over
 * those with leading underscores. A symbol without a size counts when it is
 * the nearest one before the address and in the same section.
 * `buf` is working space, at least 4 KiB.
 */
bool elf_find_function(const struct elf_source *source, u64 address, struct elf_function *found, void *buf,
                       size_t bufsize);

#endif
