/* Where the program's own code is: an interrupted rip must lie there. */
#ifndef STRESS_TEXT_H
#define STRESS_TEXT_H

#include <stdbool.h>
#include <stdint.h>

/* Looks at what is loaded now: the program, its libraries, the loader, the vdso; not libmmioshim.so and what that loads. */
void text_learn(void);
/* Async-signal-safe. */
bool text_has(uint64_t rip);

/* Instructions of the program itself that signals found it at. text_dump: their addresses as in the file, one a line. */
void text_seen(uint64_t rip);
void text_dump(const char *path);

#endif
