/*
 * MMIOSHIM_OVERLAY: a directory of the user's whose files stand at their paths below "/", before those of the tree and of
 * the host. Its directories add to what is there.
 */
#ifndef MMIOSHIM_TREE_OVERLAY_H
#define MMIOSHIM_TREE_OVERLAY_H

#include "base/fmt.h"

/* Absolute path of the directory, "" for none. 0, or -1 with one line that begins with what is wrong. Ordinary context. */
int overlay_start(const char *directory, struct fmt *error);
bool overlay_used(void);
/* Does it hold this name below "/"? */
bool overlay_top(const char *name, size_t length);

enum overlay_kind { OVERLAY_NONE, OVERLAY_FILE, OVERLAY_DIR, OVERLAY_LINK };

/* What it has at an absolute path; links are not followed. */
enum overlay_kind overlay_find(const char *path);
/* Its own path of that, of TREE_PATH bytes. False: it is too long. */
bool overlay_path(const char *path, char *real);
/* The other way, in place: a path that the kernel tells becomes the one that the program knows. */
bool overlay_strip(char *path, long *length);

/* The n-th entry of its directory at a path, without dots, and its type as of readdir(3). False: there are no more. */
bool overlay_list(const char *path, u32 n, char name[256], u8 *type);

#endif
