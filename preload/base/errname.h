/*
 * Error numbers in words, without libc's strerror (locale, allocation).
 * Any context.
 */
#ifndef MMIOSHIM_BASE_ERRNAME_H
#define MMIOSHIM_BASE_ERRNAME_H

/* "ENOENT (no such file or directory)" for 2 and for -2; "unknown error" for what Linux does not define. */
const char *errname(long negative_or_positive);

#endif
