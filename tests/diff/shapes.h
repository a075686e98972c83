/*
 * Instructions with a memory operand in the code of installed libraries, one
 * of each shape (insn_shape).
 */
#ifndef MMIOSHIM_TESTS_DIFF_SHAPES_H
#define MMIOSHIM_TESTS_DIFF_SHAPES_H

#include "base/types.h"

#define SHAPES_MAX 65536u

struct shape {
    u8 bytes[15];
    u8 length;
};

struct harvest {
    struct shape *shapes;
    unsigned count;
    unsigned files;
    unsigned long bytes, instructions, with_memory;
};

/* Disassembles code of the files in `directory`, at most `most` bytes of it, those named first first. */
void shapes_harvest(struct harvest *h, const char *directory, unsigned long most);

#endif
