/*
 * Host ends that processes of a machine share by descriptor, such as the
 * master of a pty: another process cannot open it again, it inherits it over
 * exec, or takes it from a living member. Ordinary context.
 */
#ifndef MMIOSHIM_BUS_ENDS_H
#define MMIOSHIM_BUS_ENDS_H

#include "bus/bus.h"

/* The descriptor of a kind of end with this identity, in this process or in another member: one of our own, or -1. */
int ends_find(struct machine *machine, const struct backend_ops *ops, u64 identity);

#endif
