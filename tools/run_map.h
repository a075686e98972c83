/* Maps given to `mmioshim run` as device-tree source. */
#ifndef MMIOSHIM_TOOLS_RUN_MAP_H
#define MMIOSHIM_TOOLS_RUN_MAP_H

/*
 * What MMIOSHIM_MAP must say for `-m map`: the text itself, or for FILE.dts the path of the compiled blob. The
 * program and all its descendants open that file, also long after this process is gone: it stays, named by its
 * contents, so that the same source is the same file. NULL: the reason is reported.
 */
const char *run_map_value(const char *map);

#endif
