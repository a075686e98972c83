/*
 * The worker: a process of the machine that serves devices at their time, and
 * when their host ends have input, while the program sleeps or does something
 * else. There is none until a device asks for one; it belongs to no program:
 * it is nobody's child, in a session of its own, has all signals blocked and no
 * descriptor of the program but what it looks at for input and where the log
 * goes. It ends with the last process of the machine; when it dies, whoever
 * needs it next makes another one. It sleeps in ppoll(2); its bell is a
 * datagram socket with an abstract name (unix(7)), which also tells whether it
 * lives.
 */
#ifndef MMIOSHIM_TRAP_WORKER_H
#define MMIOSHIM_TRAP_WORKER_H

#include "bus/bus.h"
#include "trap/thread.h"

/* Wakes it, so that it looks at what devices want; makes one if there is none. No lock is held. Any context. */
void worker_ring(struct bus *bus, struct thread *t);
/* Makes sure that there is one if a device waits for a time or has a host end outside: this process joins, or is about to sleep. */
void worker_resume(struct bus *bus);
/* The last process is gone. */
void worker_end(struct bus *bus);
/* Is this process it? */
bool worker_here(void);

#endif
