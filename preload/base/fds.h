/*
 * Our descriptors: high, close-on-exec, and known, so that the wrappers of
 * close and dup2 can tell them from the program's.
 */
#ifndef MMIOSHIM_BASE_FDS_H
#define MMIOSHIM_BASE_FDS_H

#include "base/types.h"

enum fd_use {
    FD_ARENA,   /* inherited over exec */
    FD_RAM,     /* inherited over exec */
    FD_MEM,     /* stands for /dev/mem; inherited over exec */
    FD_CWD,     /* the working directory, where it is of the tree; inherited over exec */
    FD_LOG,
    FD_LOG_DIR,
    FD_UFFD,
    FD_PAGEMAP,
    FD_MAPS,
    FD_BACKEND, /* first of FD_BACKENDS host ends */
    FD_BACKENDS = 48,
    FD_COUNT = FD_BACKEND + FD_BACKENDS,
};

/* A use for one more descriptor of a host end, or 0: there are FD_BACKENDS. Ordinary context. */
enum fd_use fds_reserve(void);
/* Moves a descriptor out of the program's way and remembers it. The new number, or -errno (the old one is closed). */
int fds_adopt(enum fd_use use, int fd);
int fds_get(enum fd_use use); /* -1: none */
void fds_close(enum fd_use use);
/* Is it one of ours? The program must not see or close it. */
bool fds_ours(int fd);
/* The program wants this number (dup2): moves ours elsewhere. */
void fds_yield(int fd);
/* A descriptor that a new program must inherit too, beside those of the machine. */
void fds_share(enum fd_use use);
/* These descriptors are this process's: at start, and in the child of fork. */
void fds_own(void);
/* Are they? In a vfork child they are its parent's: what it does to its own is not known to the table. */
bool fds_owned(void);
/*
 * Clears close-on-exec on what a new program must inherit, and sets it again: calls nest. A vfork child has a
 * descriptor table of its own, and does it for itself.
 */
void fds_inherit(bool inherit);
/* Where ours begin: what was inherited of ours lies at or a little above this number. */
int fds_floor(void);
/* Lowest number of ours that is >= from, or -1: for close_range. */
int fds_next(int from);

#endif
