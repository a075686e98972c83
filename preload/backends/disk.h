/* Disks that are a part of a file: b->size bytes from b->base on. */
#ifndef MMIOSHIM_BACKENDS_DISK_H
#define MMIOSHIM_BACKENDS_DISK_H

#include "backends/backend.h"

extern const struct backend_disk disk_file_ops;

#endif
