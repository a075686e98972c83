/* The parts of the stress program, one or more actions each. */
#ifndef STRESS_PARTS_H
#define STRESS_PARTS_H

#include "run.h"

struct set {
    const struct function *all;
    unsigned n;
};

/* The functions linked into this program, or those of the library that STRESS_LIBRARY names. */
extern struct set own_set;
/* The functions of a library; ends the program if it has none. */
struct set set_of(void *library);
/* Those functions that `filter` lets pass. */
void run_set(struct set set, unsigned rounds, uint64_t seed, bool filter(const struct function *f));

void single(int argc, char **argv), exact(int argc, char **argv), repeatable(int argc, char **argv), devices(int argc, char **argv);
void threads(int argc, char **argv), cancel(int argc, char **argv), forks(int argc, char **argv);
void profile(int argc, char **argv), states(int argc, char **argv);
void reload(int argc, char **argv), mapped(int argc, char **argv), rewritten(int argc, char **argv), jit(int argc, char **argv);
void faults(int argc, char **argv), crash(int argc, char **argv), stepped(int argc, char **argv);

#endif
