/*
 * What the two halves of the socket kind know of each other: socket.c opens it
 * and moves bytes, socket_box.c has its descriptors, which all processes of a
 * machine must have.
 */
#ifndef MMIOSHIM_BACKENDS_SOCKET_H
#define MMIOSHIM_BACKENDS_SOCKET_H

#include "backends/backend.h"

/* Takes the descriptors over (-1: none) and puts them into a box for other processes. 0 or -errno. ordinary */
long socket_box_make(struct backend *b, int listener, int talk);
/* The same for those that are in a box. 0 or -errno. ordinary */
long socket_box_adopt(struct backend *b, int box);
u64 socket_box_identity(const struct backend *b, int fd);
void socket_box_close(struct backend *b);

/* The descriptors now; -1: none. */
int socket_listener(const struct backend *b);
int socket_talk(const struct backend *b);
/* The connection is another (-1: none), or its input has ended: for all processes of the machine. Locked. */
void socket_changed(struct backend *b, int talk, bool half);
/* Does what another process did. Locked. */
void socket_follow(struct backend *b);

#endif
