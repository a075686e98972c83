#ifndef MMIOSHIM_INTERPOSE_FILES_H
#define MMIOSHIM_INTERPOSE_FILES_H

#include "base/types.h"

/*
 * read and write of /dev/mem: accesses at the machine addresses from `offset` on. Bytes moved, or -EFAULT where nobody
 * is (and MMIOSHIM_UNASSIGNED=fault), or where the buffer cannot be reached.
 */
long files_mem_move(u64 buf, u64 n, u64 offset, bool write);
/* The same at the descriptor's own offset, which moves on. */
long files_mem_stream(int fd, u64 buf, u64 n, bool write);

#endif
