/* The environment that `mmioshim run` gives to the program. */
#ifndef MMIOSHIM_TOOLS_RUN_ENVIRONMENT_H
#define MMIOSHIM_TOOLS_RUN_ENVIRONMENT_H

#include <stdbool.h>

/* Puts libmmioshim.so into LD_PRELOAD. 0, or TOOL_ERROR, reported. */
int environment_preload(void);

/* A program with a shared AddressSanitizer ends at once unless that is told to accept a library before it. */
void environment_allow_order(void);

#endif
