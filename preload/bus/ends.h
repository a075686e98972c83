/*
 * Host ends that processes of a machine share by descriptor, such as the
 * master of a pty: another process cannot open it again, it inherits it over
 * exec, or takes it from a living member. Ordinary context.
 */
#ifndef MMIOSHIM_BUS_ENDS_H
#define MMIOSHIM_BUS_ENDS_H

#include "bus/bus.h"

/* The pty master with this number in this process or in another member: a descriptor of our own, or -1. */
int ends_find_pty(struct machine *machine, u32 number);
/* Number of a pty master (tty_ioctl TIOCGPTN); false: it is none. */
bool ends_pty_number(int fd, u32 *number);

#endif
