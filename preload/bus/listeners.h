/*
 * Who listens to an interrupt line by a descriptor: one that poll, select and
 * epoll find readable while there are events that were not read, in every
 * process of the machine that has it.
 *
 * It is a datagram socket with an abstract name (unix(7)), by which the line is
 * known to whoever has the descriptor, and the descriptor to whoever has an
 * event to tell: fork, exec and SCM_RIGHTS hand it on like any other. In it lies
 * one datagram while there is something to read, and none otherwise. The name
 * stands in a table of the arena. When the last copy of the descriptor is
 * closed, however that came about, nobody answers to the name, and the next to
 * call it frees its place.
 *
 * Abstract names belong to a network namespace: from within another one nobody
 * can be reached.
 */
#ifndef MMIOSHIM_BUS_LISTENERS_H
#define MMIOSHIM_BUS_LISTENERS_H

#include "memory/arena.h"

/*
 * A descriptor for a line of a device that has had *count events so far. flags: of O_CLOEXEC, O_NONBLOCK and O_ACCMODE; the descriptor
 * is nobody's yet, the lowest that is free. -ENOSPC: the machine has ARENA_LISTENERS already; other -errno. Any context,
 * signals masked, no lock held; as are the others.
 */
int listener_open(struct arena *arena, u32 device, u32 line, const u32 *count, int flags, const struct lock_self *self);
/* The line that a descriptor listens to; false: it is no listener of this machine. No lock is taken. */
bool listener_line(struct arena *arena, int fd, u32 *device, u32 *line);
/* What it was opened for: of O_ACCMODE; -1: it is no listener. */
int listener_access(int fd);
/* Events of a line were counted: *count of them by now. */
void listeners_tell(struct arena *arena, u32 device, u32 line, const u32 *count, const struct lock_self *self);
/* The descriptor becomes unreadable until there are more than *count. How many there are; false: none since the last time. */
bool listener_read(struct arena *arena, int fd, const u32 *count, u32 *events, const struct lock_self *self);

#endif
