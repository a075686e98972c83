/*
 * What the kinds of host end that are a descriptor have in common. Any context
 * with signals masked.
 */
#ifndef MMIOSHIM_BACKENDS_DESCRIPTOR_H
#define MMIOSHIM_BACKENDS_DESCRIPTOR_H

#include "backends/backend.h"

/* As the operations of the same name. */
unsigned descriptor_poll(struct backend *b, unsigned events, int timeout_ms);
long descriptor_read(struct backend *b, void *buf, size_t n);
/* At most one byte, so that what poll promised is enough room on every kind of file. */
long descriptor_write(struct backend *b, const void *buf, size_t n);
/* Closes in and out if the end owns them. */
void descriptor_close(struct backend *b);

#endif
