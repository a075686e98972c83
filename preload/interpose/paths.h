/* Paths that the program gives: are they of the tree? In a call. */
#ifndef MMIOSHIM_INTERPOSE_PATHS_H
#define MMIOSHIM_INTERPOSE_PATHS_H

#include "interpose/interpose.h"
#include "tree/tree.h"

/* The text of a path that the program gives. False: it is empty or cannot be read, which the kernel will say; or there is no tree. */
#define PATHS_TEXT (TREE_PATH + 8) /* interpose_string() may leave the last bytes unused */
bool paths_text(u64 given, char path[PATHS_TEXT]);
/* Where a string of the program leads. False: the host's, as it is given; or it cannot be read, which the kernel will say. */
bool paths_find(int dir, u64 given, bool follow, struct tree_walk *w);
/* The same by the rules of openat2(2): RESOLVE_ flags. */
bool paths_find_within(int dir, u64 given, bool follow, u64 resolve, struct tree_walk *w);
/* The kernel's answer for a path of the host: as it is given, or as a link of the tree has it, in place of argument `arg`. */
enum call_answer paths_moved(struct call *call, unsigned arg, const struct tree_walk *w);
/* Makes what is missing at the end of a path in a directory of the tree. 0 or -errno. */
long paths_make(const struct tree_walk *w, bool directory, u32 mode);

#endif
