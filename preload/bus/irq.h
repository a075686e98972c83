/*
 * Interrupt lines: from devices through controllers to harts, as the device
 * tree wires them (config/interrupts.h).
 *
 * A device changes a line while it is locked. Whoever made the access hands
 * the change on when no device is locked any more (irq_deliver), to a
 * controller under that controller's own lock, or to a hart; a controller
 * whose own lines change in turn asks for the next round. So no thread ever
 * holds two of these locks. Changes may overtake each other on the way: what
 * arrives last is told the level as it is then.
 *
 * Every line is also something to wait for: its events are counted, in the
 * arena, for all processes of the machine.
 */
#ifndef MMIOSHIM_BUS_IRQ_H
#define MMIOSHIM_BUS_IRQ_H

#include "bus/bus.h"

enum irq_end { IRQ_NOWHERE, IRQ_DEVICE, IRQ_HART };

/* Where a line of a device goes, in this process's numbers. */
struct irq_route {
    u8 end;     /* enum irq_end */
    u32 target; /* device or hart */
    u32 number; /* of the interrupt, there */
};

/* --- bring-up: ordinary context --- */

/* How many lines the device of a window of this class has. */
u32 irq_lines(const struct machine_desc *desc, u32 window, const struct mmioshim_class *class);
/*
 * The machine is made: which harts there are, and which signals (mmioshim,irq-signal) their interrupts have. 0, or -1
 * with one line.
 */
int irq_create(struct machine *machine, struct fmt *error);
/* Routes of all devices in this process. False: no memory. */
bool irq_start(struct bus *bus);
/* Who is told that an interrupt of a hart has become pending; no lock is held. */
void irq_watch(void (*pending)(u32 hart, u32 number, const struct lock_self *self));

/* --- delivery: trap or worker --- */

/* struct mmioshim_host's irq(). The device is locked. */
void irq_raise(struct mmioshim_device *dev, unsigned line, bool level);
/* An event that is no level: a message of a PCI function, which is locked. line: one of its own, never raised. */
void irq_message(struct mmioshim_device *dev, unsigned line);
/* Hands a change on. No device is locked; asks for more by bus_requests. */
void irq_deliver(struct bus *bus, const struct bus_irq *irq, const struct lock_self *self);
/* Hands on how all lines are. */
void irq_deliver_all(struct bus *bus, const struct lock_self *self);

/* --- events --- */

/*
 * What counts: a rising edge (`edge`), which is kept for later when it comes while the event is masked; or a high
 * level: again when the event is unmasked and the line is still, or again, high. once: an event masks itself, and
 * whoever handled it unmasks it, as UIO does. At first: level, neither masked nor once. Any context; not inside a device.
 */
void irq_event_set(struct bus *bus, u32 device, u32 line, bool edge, bool once, const struct lock_self *self);
void irq_event_mask(struct bus *bus, u32 device, u32 line, bool masked, const struct lock_self *self);
bool irq_event_masked(struct bus *bus, u32 device, u32 line);
/* How many there were so far; wraps. 0 for a line that is not there. */
u32 irq_event_count(struct bus *bus, u32 device, u32 line);
/*
 * Waits until there were more or fewer than `seen`, in whatever process they happen. 0, -EAGAIN: there are already,
 * -ETIMEDOUT, -EINTR, -EINVAL: no such line. ns: at most so long, CLOCK_NEVER: for ever. May sleep.
 */
long irq_event_wait(struct bus *bus, u32 device, u32 line, u32 seen, u64 ns);
/*
 * A descriptor that is readable while there are events that irq_event_read() has not told of; events before it was
 * opened do not count. Everything that hands on a descriptor hands it on. flags: of O_CLOEXEC, O_NONBLOCK and
 * O_ACCMODE. -EINVAL: no such line, -ENOSPC: the machine has no more of them, -EMFILE and the like. Signals are masked, no device is locked; so below.
 */
int irq_event_open(struct bus *bus, u32 device, u32 line, int flags, const struct lock_self *self);
/* The line of such a descriptor, whoever opened it. False: it is none of this machine. Any context. */
bool irq_event_line(struct bus *bus, int fd, u32 *device, u32 *line);
/*
 * *count: how many events there were so far; the descriptor is unreadable until there are more. 0, -EAGAIN: no more than
 * the last time, -EBADF: no such descriptor. Does not wait, whatever the flags are.
 */
long irq_event_read(struct bus *bus, int fd, u32 *count, const struct lock_self *self);

#endif
