/* Unix sockets of the host ends that have frames. Any context with signals masked. */
#ifndef MMIOSHIM_BACKENDS_LOCAL_H
#define MMIOSHIM_BACKENDS_LOCAL_H

#include "backends/backend.h"

#define LOCAL_PATH 108u /* bytes of a path, terminator included (unix(7)) */

/* A socket that does not block, with a number above those of the program. -errno. */
long local_socket(int type);
/* Any descriptor, moved there. */
long local_high(long fd);
/* 0 or -errno; -EINPROGRESS and the like do not happen to Unix sockets, -EAGAIN does: its owner accepts nobody now. */
long local_connect(int fd, const char *path);
/* Binds it. A socket that somebody left behind there, and whose end is gone, is removed first. */
long local_bind(int fd, const char *path);
/* Could a socket be bound there (or be found there, later)? 0, or -1 with one line. ordinary */
int local_check(const struct backend *b, int type, const char *path, bool ours, struct fmt *error);
/* Takes the value of an option for a path. 0, or -1 with one line. ordinary */
int local_path(const struct backend *b, const char *value, char path[LOCAL_PATH], struct fmt *error);

#endif
