#ifndef MMIOSHIM_INTERPOSE_FILES_H
#define MMIOSHIM_INTERPOSE_FILES_H

#include <stdbool.h>

/* Is this descriptor the machine's /dev/mem, however it was come by? */
bool files_is_mem(int fd);

#endif
