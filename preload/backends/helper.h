/*
 * The helper: a program beside the library that does what needs libraries which
 * have no place in somebody's program. tools/helper/ has it.
 */
#ifndef MMIOSHIM_BACKENDS_HELPER_H
#define MMIOSHIM_BACKENDS_HELPER_H

#include "base/fmt.h"
#include "base/types.h"

#define HELPER_PATH 4096

/*
 * Finds the program: beside the file that this code is in, or in mmioshim/ there. False: in neither. ordinary
 */
bool helper_find(const char *name, char path[HELPER_PATH]);
/*
 * Runs it with these arguments and no environment; descriptors of the list become 3, 4 ... of it, 0 to 2 are
 * /dev/null, it has no others. Its pid, a child of this process whose end raises SIGCHLD, or -errno. Signals masked.
 */
long helper_start(const char *path, const char *const *argv, const int *fds, u32 nfds);
/*
 * Runs it to its end and takes what it writes to descriptor 3, at most `seconds`. False: it did not begin, or not
 * end. Nobody's child: this process is told nothing of its end. ordinary
 */
bool helper_ask(const char *path, const char *const *argv, int seconds, struct fmt *answer);

#endif
