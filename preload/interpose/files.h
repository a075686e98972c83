#ifndef MMIOSHIM_INTERPOSE_FILES_H
#define MMIOSHIM_INTERPOSE_FILES_H

#include <stdbool.h>

/* Is this descriptor the machine's /dev/mem, however it was come by? */
bool files_is_mem(int fd);

#include <stddef.h>
#include <sys/types.h>

/*
 * read and write of /dev/mem: accesses at the machine addresses from `offset` on. Bytes moved, or -1 with errno set:
 * EFAULT where nobody is (and MMIOSHIM_UNASSIGNED=fault), or where the buffer cannot be reached.
 */
ssize_t files_mem_move(void *buf, size_t n, unsigned long offset, bool write);
/* The same at the descriptor's own offset, which moves on. */
ssize_t files_mem_stream(int fd, void *buf, size_t n, bool write);

#endif
