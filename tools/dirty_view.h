/* A dirty bitmap for people: as text, as JSON and as a picture. */
#ifndef MMIOSHIM_TOOLS_DIRTY_VIEW_H
#define MMIOSHIM_TOOLS_DIRTY_VIEW_H

#include "trace/dirtyfile.h"

struct dirty_view {
    bool json;
    const char *png; /* NULL: none; "-": standard output */
};

/*
 * Takes the options of one command (--json, --png FILE, --png=FILE) out of argv and returns the number of words
 * left behind argv[0]; -1: something unknown, reported.
 */
int dirty_view_options(struct dirty_view *view, int argc, char **argv);

/* Shows it as asked: text unless JSON, or a picture, is wanted. 0, or TOOL_FAILED, reported. */
int dirty_view_show(const struct dirty_view *view, const struct dirtyfile *file);

/* Draws the banks, one panel each, 512 pixels wide. 0, or -1, reported. */
int dirty_draw(const struct dirtyfile *file, const char *path);

#endif
